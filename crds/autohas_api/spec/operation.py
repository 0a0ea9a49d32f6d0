"""How the search is operated: `spec.checkpoint`, `.failurePolicy`, `.cleanup`, `.monitoring`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from autohas_api.base.kube_types import DnsName
from autohas_api.base.model import Model, Rule
from autohas_api.base.names import TRAINER_PORT
from autohas_api.base.rules import exactly_one


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
    """Metrics port, cardinality limit and profile of the trainer. A change takes effect with the next Job."""

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
    profile_steps: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Number of steps that torch.profiler records after the first 10 steps of the search, into profile.json in the working "
        "folder. If not set, none.",
    )
