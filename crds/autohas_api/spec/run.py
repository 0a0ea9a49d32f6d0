"""How the search runs: `spec.algorithm`, `.budget`, `.training`, `.checkpoint`, `.failurePolicy`, `.cleanup`, `.monitoring`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from autohas_api.base.expressions import field
from autohas_api.base.kube_types import DnsName
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.names import TRAINER_PORT
from autohas_api.base.rules import between, exactly_one, inside, more_than, not_negative, only_with, rule

MIN_STEPS: Final = 9
"""Of a full training in a search: its first rung is a ninth."""


class AutoHAS(Model):
    """Knobs of AutoHAS; the defaults are measured ones."""

    strategy: Literal["Lanes", "OneStep", "Paired"] = Field(
        default="Lanes",
        description="Lanes: hyperparameters by successive halving of prefixes of full trainings, then architecture by REINFORCE. "
        "OneStep: both by REINFORCE on temporary weights one step ahead. "
        "Paired: as OneStep, but several update rules are compared on one gradient and one reward batch.",
    )
    policy_learning_rate: Decimal = Field(default="0.1", description="Adam step size of the controller's logits; greater than 0.")
    warmup_fraction: Decimal = Field(
        default="0.25", description="Share of the supernet steps with uniform sampling before the controller learns, 0 to 0.9."
    )
    shared_update: Literal["Reference", "Sampled"] | None = Field(
        default=None,
        description="Whose hyperparameters move the shared weights while they are searched (OneStep only)."
        " Reference: those that the controller derives for the sample's architecture. Sampled: the sample's own. Absent: Reference.",
    )
    temporary_batch: Literal["Shared", "Own"] | None = Field(
        default=None,
        description="Which batch makes the temporary weights (OneStep and Paired)."
        " Shared: the step's training batch. Own: a second one, at the price of a second gradient. Absent: Shared.",
    )
    paired_samples: Annotated[int, Field(ge=2, le=32)] | None = Field(
        default=None, description="Update rules compared on one gradient (Paired only). Absent: 4."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        only_with("sharedUpdate", "strategy", "OneStep"),
        only_with("temporaryBatch", "strategy", "OneStep", "Paired"),
        only_with("pairedSamples", "strategy", "Paired"),
        more_than("policyLearningRate", 0),
        between("warmupFraction", 0, 0.9),
    )


class RandomSharing(Model):
    """Knobs of random search with weight sharing (Li & Talwalkar)."""

    num_samples: int = Field(
        default=100,
        ge=2,
        le=10000,
        description="Configurations scored on the shared weights; the ten best are scored again on the whole reward split, and the best of"
        " these is trained.",
    )


class Algorithm(Model):
    """Which search."""

    name: Literal["AutoHAS", "RandomSharing", "RandomSearch"] = Field(
        default="AutoHAS",
        description="AutoHAS: a learned controller. RandomSharing: the one-shot control, uniform sampling, best of n."
        " RandomSearch: the multi-trial control, one full training per trial.",
    )
    seed: int = Field(default=0, ge=0, le=9007199254740991, description="Every random draw is keyed by it.")
    auto_has: AutoHAS | None = Field(default=None, alias="autoHAS", description="Knobs of AutoHAS.")
    random_sharing: RandomSharing | None = Field(default=None, description="Knobs of RandomSharing.")

    rules: ClassVar[tuple[Rule, ...]] = (only_with("autoHAS", "name", "AutoHAS"), only_with("randomSharing", "name", "RandomSharing"))


class EarlyStopping(Model):
    """When the supernet has nothing left to teach; the race then begins early and what was saved is not spent."""

    plateau_steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Rewarded supernet steps in a row without a rise of the averaged reward by minDelta; the first 20 rewards only fill the"
        " average. Absent: a plateau does not end the supernet.",
    )
    min_delta: Decimal | None = Field(default=None, description="Rise of the averaged reward that counts, at least 0; absent: 0.001.")
    normalized_entropy_below: Decimal | None = Field(
        default=None, description="Normalised entropy of the policy (1 uniform, 0 decided) below which it has converged; above 0, below 1."
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
    """What the search may cost."""

    trainings: Decimal = Field(
        default="5.5",
        description="Total cost in units of one full training (training.steps), final training included.",
    )
    max_active_seconds: int | None = Field(
        default=None,
        ge=1,
        le=315_360_000,
        description="Seconds of work, interruptions left out, within which the search ends with a result: stages are cut short so that the"
        " final training of the winner still fits. Absent: no limit.",
    )
    start_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="Seconds in which a Job must get its trainer to start (queue, node, image, volumes), else the search fails; until"
        " the first Job is made they count from acceptance, or from the end of the last suspension or pause. Absent: no limit.",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="When the supernet may end early; absent: it takes its share of the budget."
    )

    rules: ClassVar[tuple[Rule, ...]] = (between("trainings", 1, 10_000),)


class Training(Model):
    """The final training of the winner: the unit of the budget."""

    steps: int = Field(ge=MIN_STEPS, le=100_000_000, description="Training steps of one full training.")
    seeds: int = Field(
        default=1,
        ge=1,
        le=20,
        description="Trainings of the winner with different seeds; more than 1 gives mean and standard deviation of the test score,"
        " and each costs one training of the budget. The model that is kept is that of the first.",
    )


class PersistentVolumeClaimStorage(Model):
    """Checkpoints on a claim, under `<namespace>/<name>/<uid>/`."""

    claim_name: DnsName = Field(description="Name of a claim in the search's namespace.")


class EmptyDirStorage(Model):
    """Checkpoints that live and die with the pod: a new pod starts at step 0."""


class Storage(Model):
    """Exactly one of persistentVolumeClaim and emptyDir."""

    persistent_volume_claim: PersistentVolumeClaimStorage | None = Field(
        default=None, description="A PersistentVolumeClaim (claim) in the search's namespace."
    )
    empty_dir: EmptyDirStorage | None = Field(default=None, description="The pod's own disk; not durable.")

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("persistentVolumeClaim", "emptyDir"),)


class Checkpoint(Model):
    """How often and where the search's state is kept."""

    period_seconds: int = Field(default=300, ge=1, le=86400, description="Seconds between checkpoints.")
    keep_last: int = Field(default=2, ge=2, le=20, description="Checkpoints kept; an older one serves when the newest is torn.")
    storage: Storage = Field(
        default_factory=lambda: Storage(empty_dir=EmptyDirStorage()),
        description="Where checkpoints, the model and result.json are kept.",
        json_schema_extra={"default": {"emptyDir": {}}},
    )


class FailurePolicy(Model):
    """What a failing trainer may cost."""

    backoff_limit: int = Field(
        default=6,
        ge=0,
        le=50,
        description="Trainer failures (not interruptions) of one attempt before the search fails: each new Job (after a suspension, a"
        " renewal or a deleted Job) begins at 0, except where a lost node or a sidecar ended the Job before. A change counts from the next"
        " Job.",
    )
    max_interruptions: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Interruptions (preemption, eviction, lost node; not suspensions) after which the search fails. Absent: no limit.",
    )
    stall_timeout_seconds: int = Field(
        default=900,
        ge=60,
        le=86400,
        description="Seconds without a finished step, or batch of a comparison, after which the trainer is stopped and repeated from its"
        " checkpoint; four times as much before the first step and in the final training's evaluation. A change takes effect at the next"
        " attempt.",
    )


class Cleanup(Model):
    """What becomes of the Job and its pods when the search has ended."""

    ttl_seconds_after_finished: int = Field(
        default=3600,
        ge=0,
        le=31_536_000,
        alias="ttlSecondsAfterFinished",
        description="Seconds after the end, the result stored, until Job, pods and their logs are deleted.",
    )


class Monitoring(Model):
    """What the trainer shows of itself. A change takes effect at the next attempt."""

    metrics_port: int = Field(
        default=TRAINER_PORT, ge=1024, le=65535, description="TCP port on which the trainer serves /metrics, /progress and /healthz."
    )
    per_choice_limit: int = Field(
        default=512,
        ge=0,
        le=2000,
        description="Most probabilities exported as metrics; with more choices than this, the likeliest of each decision; 0: none.",
    )
