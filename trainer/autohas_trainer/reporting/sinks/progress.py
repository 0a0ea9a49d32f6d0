"""Builds the messages of /progress and /healthz from a snapshot. Pure: the time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autohas_api.base.names import MAX_PROGRESS_BYTES
from autohas_api.budget.progress_steps import stage_steps
from autohas_api.wire.messages import Progress, Stage, TopChoice, encode_progress
from autohas_trainer.events import PolicyRecord
from autohas_trainer.reporting.sinks.live_state import Snapshot

__all__ = ["DEFAULT_STALL_TIMEOUT_S", "Health", "build_progress", "eta_seconds", "health_of", "shrink_and_encode"]

DEFAULT_STALL_TIMEOUT_S: Final = 900.0
_PATIENCE: Final = 4
"""Factor of the stall timeout where the engine emits few events: before the first step, and in Evaluate, which writes the model."""
_MAX_TOP: Final = 64
_MIN_ETA_STEPS: Final = 10
_NOTICE_TEXT: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The answer to a liveness probe."""

    is_alive: bool
    text: str


def health_of(snapshot: Snapshot, now: float, stall_timeout_s: float) -> Health:
    """Judge the search alive while its last event is younger than the stall timeout."""
    age = now - snapshot.active_at
    is_quiet_phase = snapshot.latest is None or snapshot.stage is Stage.EVALUATE
    limit = stall_timeout_s * (_PATIENCE if is_quiet_phase else 1)
    activity = f"stage {snapshot.stage}, step {snapshot.position}" if snapshot.info is not None else "loading data"
    if snapshot.run is not None:
        activity = f"run {snapshot.run.number} of {snapshot.run.num_runs}, {activity}"
    if age > limit:
        return Health(is_alive=False, text=f"stalled: nothing happened for {age:.0f} s (limit {limit:.0f} s), {activity}\n")
    return Health(is_alive=True, text=f"ok: {activity}, last sign of life {max(age, 0.0):.1f} s ago\n")


def eta_seconds(snapshot: Snapshot) -> float | None:
    """Estimate the seconds until the end of all stages and, in a comparison, of all runs; None until enough steps were timed."""
    remaining, run = _eta_of_search(snapshot), snapshot.run
    if remaining is None or run is None:
        return remaining
    whole = run.seconds_before / run.num_finished if run.num_finished else snapshot.active_seconds(snapshot.latest_at) + remaining
    return round(remaining + (run.num_runs - run.num_finished - 1) * whole, 1)


def _eta_of_search(snapshot: Snapshot) -> float | None:
    """The same of this search alone, from the cost per second of this process."""
    info, first, latest = snapshot.info, snapshot.first, snapshot.latest
    if info is None or first is None or latest is None or snapshot.steps == 0:
        return None
    if snapshot.outcome is not None:
        return 0.0
    seconds, cost = snapshot.latest_at - snapshot.first_at, latest.cost - first.cost
    if sum(snapshot.steps_by_stage.values()) <= _MIN_ETA_STEPS or seconds <= 0 or cost <= 0:
        return None
    per_step = info.plan.predicted_trainings / sum(stage_steps(info.plan).values())
    remaining = per_step * max(0, snapshot.steps - snapshot.position)
    return round(remaining * seconds / cost, 1)


def build_progress(snapshot: Snapshot, now: float) -> Progress | None:
    """Build the message, or return None before the search started."""
    info = snapshot.info
    if info is None:
        return None
    policy, leader, run = snapshot.policy, snapshot.leader, snapshot.run
    return Progress(
        search_uid=info.identity.search_uid,
        pod_uid=info.identity.pod_uid,
        attempt=info.identity.attempt,
        stage=snapshot.stage,
        step=snapshot.total_position,
        steps=snapshot.steps if run is None else run.steps_before + (run.num_runs - run.num_finished) * snapshot.steps,
        run=None if run is None else run.number,
        runs=None if run is None else run.num_runs,
        percent=round(100 * snapshot.total_share, 2),
        eta_seconds=eta_seconds(snapshot),
        best=leader.metric if leader is not None else None,
        entropy=min(1.0, max(0.0, policy.normalized_entropy)) if policy is not None else None,
        top=_top(policy, {d.name: d.choices for d in info.space.decisions}) if policy is not None else [],
        space_digest=info.space_digest,
        checkpoint=snapshot.total_checkpoint,
        starts=snapshot.starts,
        interruptions=info.interruptions if run is None else run.starts - 1,
        active_seconds=round(snapshot.active_seconds(now), 3),
        stop_reason=snapshot.stop_reason if run is None else None,  # the end of a run is not that of the comparison
        notices=list(snapshot.notices),
    )


def _top(policy: PolicyRecord, choices: dict[str, tuple[str, ...]]) -> list[TopChoice]:
    """Return the likeliest choice of each decision in the space's order; of too many decisions, those with the lowest entropy."""
    choices_shown = []
    for name, row in policy.probabilities.items():
        best = max(range(len(row)), key=row.__getitem__)
        choices_shown.append(TopChoice(decision=name, choice=choices[name][best], probability=min(1.0, max(0.0, round(row[best], 4)))))
    if len(choices_shown) > _MAX_TOP:
        decided = sorted(range(len(choices_shown)), key=lambda i: (policy.entropy.get(choices_shown[i].decision, 1.0), i))[:_MAX_TOP]
        choices_shown = [choices_shown[i] for i in sorted(decided)]
    return choices_shown


def shrink_and_encode(progress: Progress) -> bytes:
    """Encode to one line of JSON within MAX_PROGRESS_BYTES: shortens notices first, then drops old notices and top choices."""
    while True:
        try:
            return encode_progress(progress)
        except ValueError:
            progress = _shorten(progress)


def _shorten(progress: Progress) -> Progress:
    notices = progress.notices
    if any(len(n.message) > _NOTICE_TEXT for n in notices):
        shortened = [n.replace(message=n.message[: _NOTICE_TEXT - 1] + "…") for n in notices]
        return progress.replace(notices=shortened)
    if len(notices) > 1:
        return progress.replace(notices=notices[len(notices) // 2 :])
    if progress.top:
        return progress.replace(top=progress.top[: len(progress.top) // 2])
    raise ValueError(f"progress does not fit into {MAX_PROGRESS_BYTES} bytes")
