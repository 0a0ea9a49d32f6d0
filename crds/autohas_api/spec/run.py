"""How the search runs: `spec.budget`, `.training`, `.checkpoint`, `.failurePolicy`, `.cleanup`, `.monitoring`."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from autohas_api.base.expressions import field
from autohas_api.base.kube_types import DnsName
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.names import TRAINER_PORT
from autohas_api.base.rules import between, exactly_one, inside, not_negative, only_with, rule

MIN_STEPS: Final = 9
"""Of a full training in a search: its first rung is a ninth."""


class EarlyStopping(Model):
    """Criteria that end the supernet before its budget is spent; the race then starts early."""

    plateau_steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Number of rewarded supernet steps without a rise of the mean reward by minDelta that ends the "
        "supernet. The first 20 rewards only initialise the mean. If not set, a plateau does not end the "
        "supernet.",
    )
    min_delta: Decimal | None = Field(
        default=None,
        description="Smallest rise of the mean reward that resets the count of plateauSteps, a decimal of at least 0. If not set, 0.001.",
    )
    normalized_entropy_below: Decimal | None = Field(
        default=None,
        description="Normalised entropy of the policy (1 is uniform, 0 is decided) below which the supernet ends, a "
        "decimal between 0 and 1, both excluded. If not set, a low entropy does not end the supernet.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            field("plateauSteps").given | field("normalizedEntropyBelow").given,
            "at least one of plateauSteps and normalizedEntropyBelow must be given",
        ),
        only_with("minDelta", "plateauSteps"),
        not_negative("minDelta", is_optional=True),
        inside("normalizedEntropyBelow", 0, 1, is_optional=True),
    )


class Budget(Model):
    """Limits of what the search may cost."""

    trainings: Decimal = Field(
        default="5.5",
        description="Cost of the whole search in units of one full training (training.steps), the final training "
        "included; a decimal from 1 to 10000.",
    )
    max_active_seconds: int | None = Field(
        default=None,
        ge=1,
        le=315_360_000,
        description="Time limit in seconds of work, without interruptions and suspensions. Stages are cut short so that "
        "the search still ends with a result within the limit. If not set, there is no limit.",
    )
    start_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="Seconds within which each Job must start its trainer (queue, node, image, volumes); the search fails"
        " otherwise. Before the first Job exists, the time counts from acceptance, or from the end of the "
        "last suspension or pause. If not set, there is no limit.",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="Criteria that end the supernet early. If not set, the supernet uses its share of the budget."
    )

    rules: ClassVar[tuple[Rule, ...]] = (between("trainings", 1, 10_000),)


class Training(Model):
    """A full training: its length, which is the unit of the budget, and the number of trainings of the winner."""

    steps: int = Field(
        ge=MIN_STEPS, le=100_000_000, description="Number of optimizer steps of one full training at the recipe's batch size."
    )
    seeds: int = Field(
        default=1,
        ge=1,
        le=20,
        description="Number of trainings of the winner, each with another seed. More than 1 reports the mean and the "
        "standard deviation of the test score; each further training costs 1 of budget.trainings. The model "
        "of the first one is kept.",
    )


class PersistentVolumeClaimStorage(Model):
    """Checkpoints on a PersistentVolumeClaim, under `<namespace>/<name>/<uid>/`."""

    claim_name: DnsName = Field(description="Name of a PersistentVolumeClaim in the namespace of the search.")


class EmptyDirStorage(Model):
    """Checkpoints on the pod's own disk: a new pod starts at step 0."""


class Storage(Model):
    """Storage of checkpoints and results: exactly one of persistentVolumeClaim and emptyDir."""

    persistent_volume_claim: PersistentVolumeClaimStorage | None = Field(
        default=None, description="PersistentVolumeClaim that keeps checkpoints and results beyond the life of a pod."
    )
    empty_dir: EmptyDirStorage | None = Field(
        default=None, description="Disk of the pod, which is deleted with the pod: a new pod starts the search again."
    )

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("persistentVolumeClaim", "emptyDir"),)


class Checkpoint(Model):
    """Interval, number and storage of checkpoints."""

    period_seconds: int = Field(default=300, ge=1, le=86400, description="Seconds between two checkpoints.")
    keep_last: int = Field(
        default=2, ge=2, le=20, description="Number of newest checkpoints that are kept. An older one is restored if the newest is damaged."
    )
    storage: Storage = Field(
        default_factory=lambda: Storage(empty_dir=EmptyDirStorage()),
        description="Storage of checkpoints, of the model and of result.json. If not set, an emptyDir.",
        json_schema_extra={"default": {"emptyDir": {}}},
    )


class FailurePolicy(Model):
    """Retry limits and stall timeout of the trainer."""

    backoff_limit: int = Field(
        default=6,
        ge=0,
        le=50,
        description="Number of trainer failures within one Job before the search fails; interruptions do not count. A new"
        " Job (after a suspension, a recreation or a deletion) starts at 0, unless a lost node or a sidecar "
        "ended the Job before. A change takes effect with the next Job.",
    )
    max_interruptions: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Number of interruptions (preemption, eviction, lost node) after which the search fails; suspensions "
        "do not count. If not set, there is no limit.",
    )
    stall_timeout_seconds: int = Field(
        default=900,
        ge=60,
        le=86400,
        description="Seconds without a finished step or evaluation batch after which the trainer is killed and restarted "
        "from its checkpoint. The timeout is four times as long before the first step and during the "
        "evaluation of the final training. A change takes effect with the next Job.",
    )


class Cleanup(Model):
    """Deletion of the Job and its pods after the search has finished."""

    ttl_seconds_after_finished: int = Field(
        default=3600,
        ge=0,
        le=31_536_000,
        alias="ttlSecondsAfterFinished",
        description="Seconds after the search has finished and its result is stored until the Job, its pods and their logs are deleted.",
    )


class Monitoring(Model):
    """Metrics port and cardinality limit of the trainer. A change takes effect with the next Job."""

    metrics_port: int = Field(
        default=TRAINER_PORT, ge=1024, le=65535, description="TCP port on which the trainer serves /metrics, /progress and /healthz."
    )
    per_choice_limit: int = Field(
        default=512,
        ge=0,
        le=2000,
        description="Maximum number of exported choice probabilities. A search with more choices exports only the most "
        "likely choice of each decision; 0 exports none.",
    )
