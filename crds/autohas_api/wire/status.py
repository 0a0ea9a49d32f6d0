"""`status`: what the operator writes. Phases and condition types stand here, reasons in `autohas_api.wire.reasons`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.model import Model
from autohas_api.wire.compared_methods import MAX_COMPARED
from autohas_api.wire.fields import Count
from autohas_api.wire.messages import MAX_EFFECTS, MAX_RUNNERS_UP

ShortText = Annotated[str, StringConstraints(max_length=128)]
Time = Annotated[str, StringConstraints(max_length=32, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

MAX_LOST_PODS: Final = 64
"""Number of lost pods of one Job that status keeps: more than the 51 failures after which a Job with the largest backoffLimit fails."""
LostPods = Annotated[list[ShortText], Field(max_length=MAX_LOST_PODS, json_schema_extra={"x-kubernetes-list-type": "set"})]


class Phase(StrEnum):
    """Summary of the search's state in one word, recomputed at every pass."""

    PENDING = "Pending"
    REJECTED = "Rejected"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    INTERRUPTED = "Interrupted"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    FINALIZING = "Finalizing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ConditionType(StrEnum):
    """Types of conditions; the first pass sets all of them."""

    ACCEPTED = "Accepted"
    ADMITTED = "Admitted"
    TRAINER_READY = "TrainerReady"
    CHECKPOINT_READY = "CheckpointReady"
    CONVERGED = "Converged"
    SUSPENDED = "Suspended"
    RECONCILIATION_PAUSED = "ReconciliationPaused"
    SUCCEEDED = "Succeeded"
    FINISHED = "Finished"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Condition(Model):
    """A condition with the fields of metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=316)] = Field(description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: Count = Field(default=0, description="Generation of the spec that the operator last reconciled.")
    last_transition_time: Time = Field(description="Time of the last change of status.")
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{0,62}$", max_length=64)] = Field(
        description="Machine-readable reason of the last transition, in CamelCase; docs/troubleshooting.md explains each."
    )
    message: Annotated[str, StringConstraints(max_length=2048)] = Field(description="Human-readable explanation.")


class NamedValue(Model):
    """One decision of the winner."""

    name: Annotated[str, StringConstraints(max_length=63)] = Field(description="Name of the decision.")
    value: Annotated[str, StringConstraints(max_length=64)] = Field(description="Chosen value or choice.")


class Scores(Model):
    """Scores, as decimal strings."""

    metric: ShortText = Field(description="Metric of the objective.")
    test: ShortText = Field(description="Score of the winner on the test split, which is evaluated once.")
    test_mean: ShortText | None = Field(default=None, description="Mean test score of the winner over training.seeds trainings.")
    test_standard_deviation: ShortText | None = Field(default=None, description="Sample standard deviation of these test scores.")
    test_seeds: Count | None = Field(default=None, description="Number of trainings in the mean, without those that diverged.")
    selection: ShortText = Field(description="Score of the winner on the selection split.")
    default_test: ShortText | None = Field(default=None, description="Test score of the default configuration, trained for as many steps.")
    default_selection: ShortText | None = Field(default=None, description="Selection score of the default configuration.")


class Importance(Model):
    """The effect of changing one decision of the default, as decimal strings."""

    decision: Annotated[str, StringConstraints(max_length=63)] = Field(description="Name of the decision.")
    value: Annotated[str, StringConstraints(max_length=64)] = Field(description="Value to which it was changed.")
    effect: ShortText = Field(
        description="Gain over the default after 1/9 of a training (1/27 of the longest one with budget.for Model), as a fraction of the"
        " loss of a constant answer; positive is better."
    )
    standard_error: ShortText = Field(description="Standard error of the difference over the compared examples.")


_MAP_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class RunnerUpStatus(Model):
    """One of the next best candidates."""

    name: ShortText = Field(description="Name of the candidate, as in the report.")
    fraction: ShortText = Field(description="Share of a training after which it was compared last; compare scores of equal shares only.")
    selection: ShortText = Field(description="Its score on the selection split at that comparison.")
    parameters: Count | None = Field(default=None, description="Trainable parameters of its network; absent for own training code.")
    cost: ShortText | None = Field(default=None, description="Cost of its network in units of objective.cost.metric.")
    changes: Annotated[list[NamedValue], Field(max_length=192, json_schema_extra=_MAP_BY_NAME)] = Field(
        description="Decisions in which it differs from the winner; learning_rate is the rate that its optimizer got."
    )


class MethodStatus(Model):
    """What one method of algorithm.compare reached over its seeds, as decimal strings."""

    name: ShortText = Field(description="Name of the method, which is also that of the folder of its runs; search is the search itself.")
    test: ShortText | None = Field(default=None, description="Mean test score of its runs; absent if all of them failed.")
    test_standard_deviation: ShortText | None = Field(default=None, description="Sample standard deviation of these scores.")
    runs: Count = Field(description="Number of runs in the mean.")
    failed: Count | None = Field(default=None, description="Number of runs whose default configuration diverged.")
    difference: ShortText | None = Field(
        default=None,
        description="Mean of the search minus this method on the same seed; positive if the search is better. Absent if a run failed.",
    )
    difference_low: ShortText | None = Field(default=None, description="Lower end of its 95 % interval; absent below three seeds.")
    difference_high: ShortText | None = Field(default=None, description="Upper end of its 95 % interval.")
    t: ShortText | None = Field(default=None, description="Its paired t statistic; absent below three seeds.")
    wins: Count | None = Field(default=None, description="Number of seeds on which the search is better.")
    ties: Count | None = Field(default=None, description="Number of seeds on which both are equal.")
    losses: Count | None = Field(default=None, description="Number of seeds on which the search is worse; a failed run is worse than any.")


class SearchResult(Model):
    """The result of a search."""

    hyperparameters: Annotated[list[NamedValue], Field(max_length=64, json_schema_extra=_MAP_BY_NAME)] = Field(
        description="Hyperparameters of the winner; learning_rate is the rate that its optimizer got."
    )
    architecture: Annotated[list[NamedValue], Field(max_length=128, json_schema_extra=_MAP_BY_NAME)] = Field(
        description="Active architecture decisions of the winner."
    )
    scores: Scores = Field(description="Scores of the winner and of the default configuration.")
    parameters: Count = Field(description="Trainable parameters of the winner.")
    cost: ShortText | None = Field(default=None, description="Cost of the winner in units of objective.cost.metric.")
    trainings: ShortText = Field(description="Cost of the whole search in units of one full training.")
    active_seconds: ShortText | None = Field(
        default=None, description="Seconds of work of all trainers; work that was repeated after a kill counts once."
    )
    stop_reason: ShortText = Field(description="Why the search ended.")
    model_path: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="Folder of model.safetensors, preprocessing.json and config.yaml on the checkpoint claim."
    )
    configuration_digest: ShortText = Field(description="SHA-256 of the configuration.")
    model_digest: ShortText = Field(description="SHA-256 of the trained weights.")
    digest: ShortText = Field(description="SHA-256 of configuration, score and weights; equal for equal runs.")
    importance: Annotated[list[Importance], Field(max_length=MAX_EFFECTS)] | None = Field(
        default=None, description="Largest effects of single changes to the default, the largest first; absent if none were measured."
    )
    runners_up: Annotated[list[RunnerUpStatus], Field(max_length=MAX_RUNNERS_UP)] | None = Field(
        default=None, description="Next best candidates, the longest trained and best first; absent if nothing else was compared."
    )
    comparison: Annotated[list[MethodStatus], Field(max_length=MAX_COMPARED, json_schema_extra=_MAP_BY_NAME)] | None = Field(
        default=None, description="Methods of algorithm.compare, the search first; compare.html on the claim says more."
    )


class CheckpointStatus(Model):
    """The newest durable checkpoint."""

    step: Count = Field(description="Number of steps at its writing, over all stages.")
    time: Time = Field(description="Time at which it was written.")
    digest: ShortText = Field(description="SHA-256 of its manifest.")


class TrainerStatus(Model):
    """Image and identity of the newest attempt. The image is pinned when a trainer has started with it: later attempts use it too."""

    image: Annotated[str, StringConstraints(max_length=512)] = Field(description="Image of the newest attempt.")
    pinned_image: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None,
        description="Image with which a trainer of this search last started; later attempts use it unless spec.trainer.image names"
        " another.",
    )
    run_as_user: Count | None = Field(
        default=None, description="User of its pods, who owns the files on the claim; absent if the cluster assigns it."
    )
    fs_group: Count | None = Field(default=None, description="File-system group of its pods; absent if the cluster assigns it.")
    image_pull_secrets: Annotated[list[Annotated[str, StringConstraints(max_length=253)]], Field(max_length=64)] | None = Field(
        default=None, description="Names of the image pull Secrets of its pods, from the chart and from the search."
    )


class Status(Model):
    """Observed state of a search, written by the operator only."""

    observed_generation: Count | None = Field(default=None, description="Generation of the spec that the operator last reconciled.")
    phase: Phase | None = Field(default=None, description="Summary of the state in one word; programs should read conditions.")
    stage: ShortText | None = Field(default=None, description="Stage in the trainer's last report.")
    progress: ShortText | None = Field(default=None, description="Share of the planned steps, for example 42%.")
    run: ShortText | None = Field(
        default=None,
        description="Present run of algorithm.compare and number of runs, for example 3/20; stage and best are of this run.",
    )
    eta: ShortText | None = Field(default=None, description="Estimated time left, for example 1h30m.")
    best: ShortText | None = Field(default=None, description="Selection score of the leading candidate; after success the test score.")
    entropy: ShortText | None = Field(default=None, description="Normalised entropy of the policy, from 1 (uniform) to 0 (decided).")
    attempt: Count | None = Field(default=None, description="Number of the newest Job, from 1.")
    job_uid: ShortText | None = Field(
        default=None, description="Uid of the newest Job, noted when the operator created it; while it exists, other Jobs are ignored."
    )
    starts: Count | None = Field(default=None, description="Number of trainer processes so far; without a claim, of those that reported.")
    interruptions: Count | None = Field(
        default=None,
        description="Number of trainers that were stopped from outside (preemption, eviction, lost node); no suspensions.",
    )
    failures: Count | None = Field(
        default=None,
        description="Failures of earlier Jobs that count towards failurePolicy.backoffLimit. Such Jobs were replaced because of a lost"
        " node, or of a sidecar that outlived the trainer.",
    )
    lost_pods: LostPods | None = Field(
        default=None,
        description="Uids of the newest Job's pods that were lost with their node or its container runtime. The Job counts them as"
        " failures, the operator as interruptions, even after they are deleted.",
    )
    start_time: Time | None = Field(default=None, description="Time at which the first Job was created.")
    completion_time: Time | None = Field(default=None, description="Time at which the search ended.")
    last_report_time: Time | None = Field(default=None, description="Time of the trainer's last report.")
    last_notice: Count | None = Field(default=None, description="Id of the newest notice that was posted as an event.")
    trainer: TrainerStatus | None = Field(default=None, description="Image and identity of the newest attempt.")
    checkpoint: CheckpointStatus | None = Field(default=None, description="Newest durable checkpoint.")
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = Field(default_factory=list, description="Conditions of the search.")
    result: SearchResult | None = Field(default=None, description="Result, once the search has succeeded.")
