"""`status`: what the operator writes. Phases and condition types stand here, reasons in `autohas_api.wire.reasons`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.model import Model
from autohas_api.wire.messages import Count

ShortText = Annotated[str, StringConstraints(max_length=128)]
Time = Annotated[str, StringConstraints(max_length=32, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

MAX_LOST_PODS: Final = 64
"""Lost pods of one Job that are remembered: more than the 51 after which a Job with the largest backoffLimit gives up."""
LostPods = Annotated[list[ShortText], Field(max_length=MAX_LOST_PODS, json_schema_extra={"x-kubernetes-list-type": "set"})]


class Phase(StrEnum):
    """One word for people, derived from observations at every pass."""

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
    """The conditions; all are set on the first visit."""

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
    """As metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=316)] = Field(description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: Count = Field(default=0, description="Generation of the spec that was looked at.")
    last_transition_time: Time = Field(description="When status last changed.")
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{0,62}$", max_length=64)] = Field(
        description="One CamelCase word for programs."
    )
    message: Annotated[str, StringConstraints(max_length=2048)] = Field(description="A sentence for people.")


class NamedValue(Model):
    """One decision of the result."""

    name: Annotated[str, StringConstraints(max_length=63)] = Field(description="Name of the decision.")
    value: Annotated[str, StringConstraints(max_length=64)] = Field(description="Chosen value or choice.")


class Scores(Model):
    """Scores as decimals."""

    metric: ShortText = Field(description="The objective's metric.")
    test: ShortText = Field(description="Score of the winner on the test split, read once.")
    test_mean: ShortText | None = Field(default=None, description="Mean test score of the winner over training.seeds trainings.")
    test_standard_deviation: ShortText | None = Field(default=None, description="Sample standard deviation of these test scores.")
    test_seeds: Count | None = Field(default=None, description="Trainings behind the mean: one that diverged is left out.")
    selection: ShortText = Field(description="Score of the winner on the selection split.")
    default_test: ShortText | None = Field(default=None, description="Test score of the default configuration, trained as long.")
    default_selection: ShortText | None = Field(default=None, description="Selection score of the default configuration.")


_MAP_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class SearchResult(Model):
    """What was found."""

    hyperparameters: Annotated[list[NamedValue], Field(max_length=64, json_schema_extra=_MAP_BY_NAME)] = Field(
        description="Hyperparameters of the winner; learning_rate is the rate that its optimizer got."
    )
    architecture: Annotated[list[NamedValue], Field(max_length=128, json_schema_extra=_MAP_BY_NAME)] = Field(
        description="Active architecture decisions of the winner."
    )
    scores: Scores = Field(description="Scores of the winner and of the default configuration.")
    parameters: Count = Field(description="Trainable parameters of the winner.")
    cost: ShortText | None = Field(default=None, description="What the winner costs in units of objective.cost.metric.")
    trainings: ShortText = Field(description="Cost of the whole search in units of one full training.")
    active_seconds: ShortText | None = Field(
        default=None, description="Seconds that its trainers worked; what a kill repeated counts once."
    )
    stop_reason: ShortText = Field(description="Why the search ended.")
    model_path: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="Folder of model.safetensors, preprocessing.json and config.yaml on the checkpoint claim."
    )
    configuration_digest: ShortText = Field(description="SHA-256 of the configuration.")
    model_digest: ShortText = Field(description="SHA-256 of the trained weights.")
    digest: ShortText = Field(description="SHA-256 of configuration, score and weights; equal for equal runs.")


class CheckpointStatus(Model):
    """The newest durable checkpoint."""

    step: Count = Field(description="Steps done over all stages.")
    time: Time = Field(description="When it was written.")
    digest: ShortText = Field(description="SHA-256 of its manifest.")


class TrainerStatus(Model):
    """What the newest attempt runs as. Its image is pinned once a trainer has started with it: later attempts run it again."""

    image: Annotated[str, StringConstraints(max_length=512)] = Field(description="Image of the newest attempt.")
    pinned_image: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None,
        description="Image that a trainer of this search started with last; later attempts run it again unless spec.trainer.image names"
        " another.",
    )
    run_as_user: Count | None = Field(
        default=None, description="User of its pods, whose files are on the claim; absent: the cluster's choice."
    )
    fs_group: Count | None = Field(default=None, description="File-system group of its pods; absent: the cluster's choice.")
    image_pull_secrets: Annotated[list[Annotated[str, StringConstraints(max_length=253)]], Field(max_length=64)] | None = Field(
        default=None, description="Names of the Secrets that its pods pull the image with, the chart's and the search's."
    )


class Status(Model):
    """What the operator observed, written by it alone."""

    observed_generation: Count | None = Field(default=None, description="Generation of the spec that was looked at.")
    phase: Phase | None = Field(default=None, description="One word for people; programs read conditions.")
    stage: ShortText | None = Field(default=None, description="Stage that the trainer reported last.")
    progress: ShortText | None = Field(default=None, description="Share of the planned steps, for example 42%.")
    eta: ShortText | None = Field(default=None, description="Estimated time left, for example 1h30m.")
    best: ShortText | None = Field(default=None, description="Selection score of the leading candidate; after success the test score.")
    entropy: ShortText | None = Field(default=None, description="Normalised entropy of the policy, 1 to 0.")
    attempt: Count | None = Field(default=None, description="Number of the newest Job, from 1.")
    job_uid: ShortText | None = Field(
        default=None, description="Uid of the newest Job, noted when the operator made it: no other Job counts while that one is there."
    )
    starts: Count | None = Field(default=None, description="Trainer processes so far; on a pod's own disk those that reported.")
    interruptions: Count | None = Field(
        default=None, description="Trainers stopped through no fault of their own (preemption, eviction, lost node; not suspensions)."
    )
    failures: Count | None = Field(
        default=None,
        description="Failures of earlier Jobs that count towards failurePolicy.backoffLimit, because those Jobs were replaced for what they"
        " cannot count: a lost node, or a sidecar that outlived the trainer.",
    )
    lost_pods: LostPods | None = Field(
        default=None,
        description="Uids of the newest Job's pods that were lost with their node or its container runtime. The Job counts them as"
        " failures; they stay interruptions after they are deleted.",
    )
    start_time: Time | None = Field(default=None, description="When the first Job was created.")
    completion_time: Time | None = Field(default=None, description="When the search ended.")
    last_report_time: Time | None = Field(default=None, description="When the trainer last reported.")
    last_notice: Count | None = Field(default=None, description="Identifier of the newest notice made an event.")
    trainer: TrainerStatus | None = Field(default=None, description="What the newest attempt runs as.")
    checkpoint: CheckpointStatus | None = Field(default=None, description="Newest durable checkpoint.")
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = Field(default_factory=list, description="The search's conditions.")
    result: SearchResult | None = Field(default=None, description="What was found.")
