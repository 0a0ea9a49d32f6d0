"""Messages of a trainer: the termination message at its exit, and `/progress` while it runs, with their codecs.

Readers ignore unknown fields and reject a wrong size, version or identity and numbers that are not finite. A message that
cannot be read never changes the status.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from autohas_api.base.condition import DecisionName
from autohas_api.base.digest import canonical
from autohas_api.base.model import BY_ALIAS, Model
from autohas_api.base.names import CONTRACT_VERSION, MAX_PROGRESS_BYTES, MAX_TERMINATION_MESSAGE_BYTES
from autohas_api.base.spec_errors import field_errors_of
from autohas_api.wire.compared_methods import MAX_COMPARED, MethodOutcome
from autohas_api.wire.fields import ChoiceText, Count, Digest, Identity, NotNegative, Score, Seconds, Share, Text
from autohas_api.wire.reasons import NoticeReason

MAX_NOTICES: Final = 16
MAX_EFFECTS: Final = 8
"""Effects in a termination message and in status; result.json has all of them."""
MAX_RUNNERS_UP: Final = 3
"""Runners-up in a termination message and in status; result.json has every candidate."""
NOTICE_TYPES: Final[dict[str, Literal["Normal", "Warning"]]] = {
    NoticeReason.CHECKPOINT_RESTORED: "Normal",
    NoticeReason.DATA_CONVERTED: "Normal",
    NoticeReason.GOAL_REACHED: "Normal",
    NoticeReason.GOAL_MISSED: "Warning",
    NoticeReason.POLICY_CONVERGED: "Normal",
    NoticeReason.LATENCY_MEASURED: "Normal",
    NoticeReason.REWARD_PLATEAU: "Normal",
    NoticeReason.TIME_BUDGET_REACHED: "Normal",
    NoticeReason.RESTORE_FAILED: "Warning",
    NoticeReason.ENVIRONMENT_CHANGED: "Warning",
    NoticeReason.UPDATE_REJECTED: "Warning",
    NoticeReason.SUPERNET_RESTARTED: "Warning",
    NoticeReason.SUPERNET_DIVERGED: "Warning",
    NoticeReason.CHECKPOINT_FAILED: "Warning",
    NoticeReason.WINNER_DIVERGED: "Warning",
    NoticeReason.REPEAT_DIVERGED: "Warning",
    NoticeReason.CANDIDATE_FAILED: "Warning",
    NoticeReason.POLICY_COLLAPSED: "Warning",
    NoticeReason.BUDGET_MOVED: "Normal",
    NoticeReason.BUDGET_LEFT: "Normal",
    NoticeReason.SUPERNET_SHORT: "Warning",
    NoticeReason.SHARED_LEARNING_RATE: "Warning",
    NoticeReason.WORK_UNCOUNTED: "Warning",
    NoticeReason.PRECISION_UNUSED: "Warning",
    NoticeReason.COMPILE_FAILED: "Warning",
    NoticeReason.FEW_EPOCHS: "Warning",
    NoticeReason.SMALL_SELECTION: "Warning",
    NoticeReason.BUDGET_EXCEEDED: "Warning",
    NoticeReason.CANDIDATE_UNAFFORDABLE: "Warning",
    NoticeReason.SEARCH_WORTH: "Normal",
    NoticeReason.TRAIN_LONGER: "Warning",
    NoticeReason.PUBLISHED_FORM: "Normal",
    NoticeReason.WEAK_REWARD: "Warning",
}
"""Every reason that a trainer may give for a notice, with the type of the event that it becomes."""


NOTICES_PER_START: Final = 10_000
"""Range of notice ids of one process: process n numbers its notices from n times this, so that ids grow over all processes."""
NOTICES_PER_RUN: Final = NOTICES_PER_START * 1_000_000
"""Range of notice ids of one run of a comparison: those of a million processes."""


class Stage(StrEnum):
    """Stages of a search in the order in which they run; a search without one of them skips it."""

    LANES = "Lanes"
    WARMUP = "Warmup"
    SUPERNET = "Supernet"
    RACE = "Race"
    EVALUATE = "Evaluate"


class StopReason(StrEnum):
    """Why a search ended with a result."""

    COMPLETED = "Completed"
    """Every stage did what was planned."""
    BUDGET = "Budget"
    """budget.maxActiveSeconds cut stages short."""
    PLATEAU = "Plateau"
    """budget.earlyStopping.plateauSteps without a rise of the averaged reward ended the supernet."""
    CONVERGED = "Converged"
    """The policy's entropy fell below budget.earlyStopping.normalizedEntropyBelow."""
    GOAL_REACHED = "GoalReached"
    """A candidate reached objective.goal."""


class Message(Model):
    """Base of the messages: identity of the sender, and version of the protocol."""

    model_config = ConfigDict(extra="ignore", strict=False)

    version: Literal[1] = Field(default=CONTRACT_VERSION)
    search_uid: Identity
    pod_uid: Identity
    attempt: Count


class Effect(Model):
    """What changing one decision of the default did: the paired difference of the objective to the default.

    That is after 1/9 of a training, and with budget.for Model after 1/27 of the longest one that the budget pays for.
    A change whose training diverged has none.
    """

    decision: Annotated[str, StringConstraints(max_length=63)]
    value: Annotated[str, StringConstraints(max_length=64)]
    """What the decision was changed to."""
    effect: Score
    """In units of the objective, higher is better."""
    standard_error: NotNegative
    """Of the mean of the paired differences over the examples of the selection split."""

    def in_indices(self, decision: int, choices: Sequence[str]) -> IndexedEffect:
        """The compact form; `decision` is the index of the decision, which has these `choices`."""
        is_choice = self.value in choices
        return IndexedEffect(
            decision=decision,
            choice=choices.index(self.value) if is_choice else -1,
            value=None if is_choice else self.value,
            effect=_round(self.effect),
            standard_error=_round(self.standard_error),
        )


class IndexedEffect(Model):
    """An `Effect` as the termination message has it: indices in the space's order, as in `Result.choices`."""

    model_config = ConfigDict(extra="ignore", strict=False)

    decision: Annotated[int, Field(ge=0, lt=192)]
    choice: Annotated[int, Field(ge=-1, le=64)]
    value: Annotated[str, StringConstraints(max_length=32)] | None = None
    """The decimal where the choice is -1, else absent."""
    effect: Score
    standard_error: NotNegative


def order_effects(effects: Iterable[Effect]) -> tuple[Effect, ...]:
    """The effects, the largest first, whatever its sign; equal ones keep their order."""
    return tuple(sorted(effects, key=lambda effect: -abs(effect.effect)))


class RunnerUp(Model):
    """One of the next best candidates: where it differs from the winner, how it compared, and what its network costs."""

    model_config = ConfigDict(extra="ignore", strict=False)

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    fraction: Share
    """Share of a training after which it was compared last: scores after different shares cannot be compared."""
    score: Score
    """The metric on the selection split at that comparison."""
    parameters: Count | None = None
    """Trainable parameters; None where only own code could build the network again to count them."""
    cost: Score | None = None
    """In units of objective.cost.metric; None without a cost."""
    changes: Annotated[dict[DecisionName, ChoiceText], Field(max_length=192)]
    """Decisions that are active in it and have another value than in the winner, as they are trained."""


class Result(Message):
    """The search is done: choice indices in the space's order (-1: the default, which is no basis), scores, digests."""

    kind: Literal["Result"] = "Result"
    choices: Annotated[list[Annotated[int, Field(ge=-1, le=64)]], Field(max_length=192)]
    values: Annotated[list[Annotated[str, StringConstraints(max_length=32)]], Field(max_length=64)]
    """Of each hyperparameter, in the space's order: its decimal where the choice is -1, else empty (own choices may be long)."""
    test_score: Score
    selection_score: Score
    default_test_score: Score | None = None
    default_selection_score: Score | None = None
    trainings: Score
    """Cost of the whole search in units of one full training."""
    parameters: Count
    cost: Score | None = None
    """Cost of the winner in units of objective.cost.metric; None without a cost."""
    test_mean: Score | None = None
    """Mean test score over training.seeds trainings of the winner; None with one seed."""
    test_standard_deviation: Score | None = None
    """Sample standard deviation of the same."""
    seeds: Count = 1
    """Trainings of the winner that were finished and tested."""
    stop_reason: StopReason
    active_seconds: Seconds = 0.0
    """Seconds of work over all processes; work that is repeated after a kill counts once."""
    configuration_digest: Digest
    model_digest: Digest
    digest: Digest
    effects: Annotated[list[IndexedEffect], Field(max_length=MAX_EFFECTS)] | None = None
    """The largest effects of single changes, the largest first; None of an algorithm that measures none."""
    architecture: Annotated[dict[DecisionName, ChoiceText], Field(max_length=128)] | None = None
    """Active decisions by name, where the trainer has read them from the model's code: `choices` are those of hyperparameters then."""
    architecture_omitted: Count = 0
    """Active decisions that found no room in the message; result.json has all of them."""
    named_effects: Annotated[list[Effect], Field(max_length=MAX_EFFECTS)] | None = None
    """As `effects`, of a search whose decisions the operator does not know."""
    runners_up: Annotated[list[RunnerUp], Field(max_length=MAX_RUNNERS_UP)] | None = None
    """The next best candidates, the longest trained and best first, as many as have room; None where there is none."""
    comparison: Annotated[list[MethodOutcome], Field(max_length=MAX_COMPARED)] | None = None
    """A row for each method of `algorithm.compare`, the user's search first; empty where it finds no room, None without a comparison."""


class Interrupted(Message):
    """Stopped on request; a checkpoint is written."""

    kind: Literal["Interrupted"] = "Interrupted"
    step: Count
    """Of the checkpoint; steps after it are repeated."""
    stage: Stage
    checkpoint_digest: Digest | None = None
    starts: Count = 0
    """Trainer processes of the search so far, this one included; 0 if the process was stopped before it counted them."""


class Error(Message):
    """The search cannot continue: an error message for people, and the exit code."""

    kind: Literal["Error"] = "Error"
    exit_code: Annotated[int, Field(ge=1, le=255)]
    message: Text


TerminationMessage = Annotated[Result | Interrupted | Error, Field(discriminator="kind")]


class CheckpointInfo(Model):
    """The newest durable checkpoint."""

    model_config = ConfigDict(extra="ignore", strict=False)

    step: Count
    time: Seconds
    """Seconds since the epoch."""
    digest: Digest


class TopChoice(Model):
    """The most likely choice of one decision."""

    model_config = ConfigDict(extra="ignore", strict=False)

    decision: Annotated[str, StringConstraints(max_length=63)]
    choice: Annotated[str, StringConstraints(max_length=64)]
    probability: Share


class Notice(Model):
    """Message for people, which the operator posts once as an event."""

    model_config = ConfigDict(extra="ignore", strict=False)

    id: Count
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{0,62}$")]
    message: Text
    time: Seconds


class Progress(Message):
    """`/progress`: absolute and monotonic, so that a lost or repeated report does no harm."""

    stage: Stage
    step: Count
    """Steps done over all stages."""
    steps: Count
    """Steps planned over all stages; of a comparison, as if the runs to come had as many steps as the present one."""
    run: Count | None = None
    """Number of the present run of a comparison, from 1; None without one."""
    runs: Count | None = None
    """Runs of the comparison."""
    percent: Annotated[float, Field(allow_inf_nan=False, ge=0, le=100)]
    eta_seconds: Seconds | None = None
    best: Score | None = None
    """Selection score of the leading candidate."""
    entropy: Share | None = None
    """Normalised entropy of the policy, 1 = uniform."""
    top: Annotated[list[TopChoice], Field(max_length=64)] = Field(default_factory=list)
    space_digest: Digest | None = None
    """Digest of space.json, in which the trainer has written the decisions that it read from the model's code."""
    checkpoint: CheckpointInfo | None = None
    starts: Annotated[int, Field(ge=0, le=1_000_000)]
    """Processes that worked on this search so far."""
    interruptions: Annotated[int, Field(ge=0, le=1_000_000)]
    active_seconds: Seconds
    stop_reason: StopReason | None = None
    """Why the search ends before its planned end; None while it follows the plan."""
    notices: Annotated[list[Notice], Field(max_length=MAX_NOTICES)] = Field(default_factory=list)


class MessageError(Exception):
    """A trainer's message cannot be used; the text says why, for a condition or an event."""


class VersionError(MessageError):
    """The message is of another version of the contract: operator and trainer image are incompatible."""


def encode_progress(progress: Progress) -> bytes:
    """One line of JSON.

    Raises:
        ValueError: longer than the operator accepts (a bug of the writer).
    """
    return _encode(progress, MAX_PROGRESS_BYTES)


def encode_termination_message(message: Message) -> bytes:
    """One line of JSON: a Result, Interrupted or Error.

    Raises:
        ValueError: longer than the kubelet keeps (a bug of the writer).
    """
    return _encode(message, MAX_TERMINATION_MESSAGE_BYTES)


def _round(value: float) -> float:
    """Six significant digits, which is more than an effect has."""
    return float(f"{value:.6g}")


def _encode(message: Message, limit: int) -> bytes:
    line = canonical(message.to_json()).encode()
    if len(line) > limit:
        raise ValueError(f"message of {len(line)} bytes exceeds {limit}")
    return line


def decode_progress(raw: bytes) -> Progress:
    """Read `/progress`.

    Raises:
        MessageError: too long, not JSON, wrong version, wrong shape, not finite.
    """
    progress: Progress = _decode(raw, MAX_PROGRESS_BYTES, TypeAdapter(Progress))
    return progress


def decode_termination_message(raw: bytes) -> Result | Interrupted | Error:
    """Read a termination message.

    Raises:
        MessageError: as for `decode_progress`.
    """
    message: Result | Interrupted | Error = _decode(raw, MAX_TERMINATION_MESSAGE_BYTES, TypeAdapter(TerminationMessage))
    return message


def _decode(raw: bytes, limit: int, adapter: TypeAdapter[Any]) -> Any:  # noqa: ANN401 - the adapter's type
    if len(raw) > limit:
        raise MessageError(f"message is longer than {limit} bytes")
    try:
        value = json.loads(raw, parse_constant=_reject_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"message is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MessageError("message must be a JSON object")
    if value.get("version") != CONTRACT_VERSION:
        raise VersionError(f"message has version {str(value.get('version'))[:20]}, expected {CONTRACT_VERSION}")
    try:
        return adapter.validate_python(value, **BY_ALIAS)
    except ValidationError as error:
        problem = field_errors_of(error)[0]
        raise MessageError(f"message is malformed: {str(problem)[:300]}") from error


def _reject_constant(text: str) -> float:
    raise ValueError(f"{text} is not allowed")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value
