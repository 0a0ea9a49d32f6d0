"""Conditions: one verdict per type, merged into those of the previous status. Pure.

`lastTransitionTime` changes only when `status` flips. A repeated verdict equals the stored one, so nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NewType

from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import Condition, ConditionType, Phase, Status
from autohas_operator.wording import clean, epoch, timestamp

StoredReason = NewType("StoredReason", str)
"""A reason read back from status: one of `Reason` or `Phase`, or a word of another version of the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Status, reason and message of one condition."""

    status: Literal["True", "False", "Unknown"]
    reason: Reason | Phase | StoredReason
    message: str


def verdict_of(status: Status, kind: ConditionType) -> Verdict | None:
    """The verdict that is stored in the status, if any."""
    condition = next((c for c in status.conditions if c.type == kind), None)
    if condition is None:
        return None
    return Verdict(status=condition.status, reason=StoredReason(condition.reason), message=condition.message)


def last_flip_s(status: Status, *kinds: ConditionType) -> float | None:
    """The latest transition of these conditions, in seconds since the epoch."""
    flips = (epoch(c.last_transition_time) for c in status.conditions if c.type in kinds)
    return max((flip for flip in flips if flip is not None), default=None)


def is_durable(status: Status) -> bool:
    """Whether checkpoints outlive their pod, as CheckpointReady says from the first pass on."""
    verdict = verdict_of(status, ConditionType.CHECKPOINT_READY)
    return verdict is None or verdict.reason != Reason.NOT_DURABLE


def continuation(status: Status) -> str:
    """What the next trainer does, as a predicate for a sentence."""
    return "continues from the checkpoint" if is_durable(status) else "starts from zero (its checkpoints were on the pod's own disk)"


def is_finished(status: Status) -> bool:
    """Whether the search has ended for good."""
    verdict = verdict_of(status, ConditionType.FINISHED)
    return verdict is not None and verdict.status == "True"


_EXPLAINED_BY: Final = {
    Phase.REJECTED: ConditionType.ACCEPTED,
    Phase.QUEUED: ConditionType.ADMITTED,
    Phase.SUSPENDED: ConditionType.SUSPENDED,
    Phase.SUCCEEDED: ConditionType.SUCCEEDED,
    Phase.FAILED: ConditionType.SUCCEEDED,
}
"""The condition whose reason and message explain a phase; TrainerReady for the others."""
_TRUE_IN: Final = {
    Phase.SUCCEEDED: ConditionType.READY,
    Phase.SUSPENDED: ConditionType.READY,  # as its spec asks: Flux must not wait for a search that is suspended on purpose
    Phase.REJECTED: ConditionType.STALLED,
    Phase.FAILED: ConditionType.STALLED,
}
"""The summary condition that is True; Reconciling for the other phases."""


def add_summary(phase: Phase, verdicts: Mapping[ConditionType, Verdict]) -> dict[ConditionType, Verdict]:
    """The verdicts with the summary conditions, which repeat the condition that explains the phase."""
    why = verdicts[_EXPLAINED_BY.get(phase, ConditionType.TRAINER_READY)]
    return {**verdicts, **summary_verdicts(phase, why)}


def summary_verdicts(phase: Phase, why: Verdict) -> dict[ConditionType, Verdict]:
    """Ready, Reconciling and Stalled as kstatus reads them. Exactly one is True; its message and that of Ready explain the phase.

    Ready has the reason of the explaining condition, which `kubectl get` shows; the reason of the others is the phase.
    Source: the conditions of sigs.k8s.io/cli-utils/pkg/kstatus, which Helm 4 and Flux wait by.
    """
    true = _TRUE_IN.get(phase, ConditionType.RECONCILING)
    return {
        kind: Verdict(
            status="True" if kind is true else "False",
            reason=why.reason if kind is ConditionType.READY else phase,
            message=f"{why.reason}: {why.message}"
            if kind in (true, ConditionType.READY)
            else f"the phase is {phase.value}; see the condition {true.value}",
        )
        for kind in (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
    }


def merge_conditions(previous: Status, verdicts: Mapping[ConditionType, Verdict], generation: int, now_s: float) -> list[Condition]:
    """All conditions in the order of `ConditionType`; `verdicts` must have every type."""
    before = {c.type: c for c in previous.conditions}
    return [_merge(before.get(kind), kind, verdicts[kind], generation, now_s) for kind in ConditionType]


def _merge(before: Condition | None, kind: ConditionType, verdict: Verdict, generation: int, now_s: float) -> Condition:
    has_flipped = before is None or before.status != verdict.status
    return Condition(
        type=kind.value,
        status=verdict.status,
        observed_generation=generation,
        last_transition_time=timestamp(now_s) if has_flipped or before is None else before.last_transition_time,
        reason=str(verdict.reason),
        message=clean(verdict.message),
    )
