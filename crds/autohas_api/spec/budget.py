"""`spec.budget` and `spec.training`: what the search may cost, and the full training that is its unit."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from autohas_api.algorithms.best_model import MODEL_RUNGS
from autohas_api.algorithms.rungs import DEFAULT_RUNGS, Rungs
from autohas_api.base.expressions import field
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.rules import between, exactly_one, inside, not_negative, only_with, rule

MIN_STEPS: Final = 9
"""Of a full training in a search: its first rung is a ninth."""
MAX_STEPS: Final = 100_000_000
_MAX_EPOCHS: Final = 1_000_000
_EPOCHS: Final = rule(
    ~field("epochs").is_given | ((field("epochs").number > 0) & (field("epochs").number <= _MAX_EPOCHS)),
    f"epochs must be greater than 0 and at most {_MAX_EPOCHS}",
    at=".epochs",
)


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
            field("plateauSteps").is_given | field("normalizedEntropyBelow").is_given,
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
        description="Cost of the whole search in trainings of the default configuration, the final training "
        "included. A configuration whose training takes twice the computation counts twice. A decimal from 1 to 10000.",
    )
    purpose: Literal["Configuration", "Model"] | None = Field(
        default=None,
        alias="for",
        description="Purpose of the budget. Configuration: the best configuration, with a model of one full training. Model: the best "
        "model; the search takes a part of the budget, and the winner's training all the rest. If not set, Configuration.",
    )
    max_active_seconds: int | None = Field(
        default=None,
        ge=1,
        le=315_360_000,
        description="Time limit in seconds of work, without interruptions and suspensions. Stages are cut short so that "
        "the search still ends with a result within the limit. With algorithm.compare it is the limit of each run. If not"
        " set, there is no limit.",
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

    rungs: Rungs | None = Field(
        default=None,
        description="Lengths of training at which the trials of a multi-trial algorithm are compared; only with an algorithm that cuts"
        " trials short. If not set, 1/9, 1/3 and all of a training.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (between("trainings", 1, 10_000),)

    @property
    def rungs_of_training(self) -> Rungs:
        """The rungs of a training, as given or as every algorithm has them."""
        return MODEL_RUNGS if self.is_for_model else self.rungs or DEFAULT_RUNGS

    @property
    def is_for_model(self) -> bool:
        """Whether the winner's training takes what is left of the budget."""
        return self.purpose == "Model"


class Training(Model):
    """A full training: its length, which is the unit of the budget, and the number of trainings of the winner."""

    given_steps: int | None = Field(
        default=None,
        alias="steps",
        ge=MIN_STEPS,
        le=MAX_STEPS,
        description="Number of optimizer steps of one full training at the recipe's batch size.",
    )
    epochs: Decimal | None = Field(
        default=None,
        description="Length of one full training in passes over the training examples that are in no other split, a decimal greater"
        " than 0, in place of steps. The number of steps is rounded up.",
    )
    seeds: int = Field(
        default=1,
        ge=1,
        le=20,
        description="Number of trainings of the winner, each with another seed. More than 1 reports the mean and the "
        "standard deviation of the test score; each further training costs 1 of budget.trainings. The model "
        "of the first one is kept.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("steps", "epochs"), _EPOCHS)

    @property
    def length(self) -> str:
        """Length of one full training as text, as the spec gives it."""
        return f"{self.epochs} epochs" if self.given_steps is None else f"{self.given_steps:,} steps"

    @property
    def steps(self) -> int:
        """Number of optimizer steps of one full training.

        Raises:
            ValueError: epochs are given in their place, and `autohas_api.budget.epochs` has not turned them into steps.
        """
        if self.given_steps is None:
            raise ValueError("the number of steps depends on the data, which are not read yet")
        return self.given_steps
