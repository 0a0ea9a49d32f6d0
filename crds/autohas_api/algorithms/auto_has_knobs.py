"""The settings of AutoHAS, and what follows where they are not given."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from autohas_api.base.expressions import field
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.rules import between, more_than, only_with, rule

__all__ = ["HYPERPARAMETER_WINDOW", "PAIRED_SAMPLES", "AutoHAS", "HyperparameterWindow"]

HYPERPARAMETER_WINDOW: Final = (0.05, 0.20)
"""Share of the supernet steps in which OneStep and Paired sample and learn hyperparameters unless the spec says otherwise; then they
are frozen.

Ours: rewards one step ahead prefer too large rates before the window and, after it, rates that are 10 to 100 times too small
(measured, docs/algorithm.md). Where no architecture is searched, nothing is learned afterwards: the supernet ends with the window, and its
budget pays for a longer schedule."""
MIN_WINDOW: Final = 0.01
"""Share of the supernet's steps: 100 steps then have one in the window."""
_WHOLE_SUPERNET: Final = (0.0, 1.0)
_WITH_CONTROLLER: Final = ("Lanes", "OneStep", "Paired")
POLICY_LEARNING_RATE: Final = 0.1
"""Ours: TuNAS's step is made for batches of thousands of images."""
WARMUP_FRACTION: Final = 0.25
"""Source: TuNAS, which leaves the controller alone in the first quarter."""
PAIRED_SAMPLES: Final = 4


class HyperparameterWindow(Model):
    """Part of the supernet's steps in which hyperparameters are sampled and learned."""

    begin: Decimal = Field(alias="from", description="Begin as a fraction of the supernet's steps, a decimal of at least 0.")
    end: Decimal = Field(alias="to", description="End as a fraction, a decimal greater than from and at most 1.")

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            (field("from").number >= 0) & (field("from").number < field("to").number) & (field("to").number <= 1),
            "to must be greater than from, and both must be from 0 to 1",
            at=".to",
        ),
        rule(
            (field("to").number <= field("from").number) | (field("to").number - field("from").number >= MIN_WINDOW - 1e-9),
            f"to must be at least from + {MIN_WINDOW}: a narrower window may hold no step of the supernet",
            at=".to",
        ),
    )


_PUBLISHED: Final = {"sharedUpdate": "Sampled", "temporaryBatch": "Own", "result": "Argmax"}
"""What preset Published sets, next to the window; a value that differs is refused."""
_AGREES: Final = tuple(~field(name).is_given | field(name).equals(value) for name, value in _PUBLISHED.items())
_WINDOW: Final = field("hyperparameterWindow")
_WINDOW_IS_WHOLE: Final = ~_WINDOW.is_given | (
    (field("hyperparameterWindow.from").number <= 0) & (field("hyperparameterWindow.to").number >= 1)
)


class AutoHAS(Model):
    """Settings of algorithm AutoHAS."""

    strategy: Literal["OneFactor", "Lanes", "OneStep", "Paired"] = Field(
        default="OneFactor",
        description="How configurations are searched. OneFactor: one decision of the default changed at a time, then what helped "
        "combined, each for 1/9 of a training; no shared weights and no controller. Lanes: successive halving over the first "
        "parts of full trainings, then REINFORCE for the architecture. OneStep: REINFORCE for hyperparameters and architecture "
        "together, rewarded after one step of temporary weights. Paired: as OneStep, with several update "
        "rules compared on one gradient and one reward batch.",
    )
    preset: Literal["Published"] | None = Field(
        default=None,
        description="Settings as a whole; only with strategy OneStep. Published: the form of the AutoHAS paper, which is "
        "sharedUpdate Sampled, temporaryBatch Own, hyperparameterWindow from 0 to 1 and result Argmax; no update "
        "is taken back.",
    )
    policy_learning_rate: Decimal | None = Field(
        default=None,
        description="Learning rate of the controller: of Adam for logits, of the natural gradient for ranges with mixing "
        "Gaussian. A decimal greater than 0; not with strategy OneFactor. If not set, 0.1.",
    )
    warmup_fraction: Decimal | None = Field(
        default=None,
        description="Fraction of the supernet's steps that sample uniformly before the controller learns, a decimal from 0 to "
        "0.9; not with strategy OneFactor. If not set, 0.25; 0 with preset Published.",
    )
    hyperparameter_window: HyperparameterWindow | None = Field(
        default=None,
        description="Part of the supernet's steps in which hyperparameters are sampled and learned; only with strategy "
        "OneStep or Paired. After it they are frozen. If not set, from 0.05 to 0.2.",
    )
    shared_update: Literal["Reference", "Sampled"] | None = Field(
        default=None,
        description="Hyperparameters that update the shared weights; only with strategy OneStep. Reference: those that "
        "the controller derives for the sampled architecture. Sampled: the sampled ones. If not set, "
        "Reference.",
    )
    temporary_batch: Literal["Shared", "Own"] | None = Field(
        default=None,
        description="Training batch that produces the temporary weights; only with strategy OneStep or Paired. Shared: "
        "the batch of the step. Own: a second batch, which costs a second gradient. If not set, Shared.",
    )
    paired_samples: Annotated[int, Field(ge=2, le=32)] | None = Field(
        default=None, description="Number of update rules that are compared on one gradient; only with strategy Paired. If not set, 4."
    )
    result: Literal["Race", "Argmax"] | None = Field(
        default=None,
        description="What follows the supernet; only with strategy OneStep or Paired. Race: candidates and the default are "
        "trained and compared. Argmax: the derived configuration is trained, and compared with nothing. If not set, "
        "Race.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        only_with("preset", "strategy", "OneStep"),
        only_with("sharedUpdate", "strategy", "OneStep"),
        *(only_with(name, "strategy", "OneStep", "Paired") for name in ("hyperparameterWindow", "temporaryBatch", "result")),
        *(only_with(name, "strategy", *_WITH_CONTROLLER) for name in ("policyLearningRate", "warmupFraction")),
        only_with("pairedSamples", "strategy", "Paired"),
        rule(
            ~field("preset").is_given | (_AGREES[0] & _AGREES[1] & _AGREES[2] & _WINDOW_IS_WHOLE),
            f"preset Published sets {', '.join(f'{name} to {value}' for name, value in _PUBLISHED.items())} and hyperparameterWindow"
            " from 0 to 1: remove what differs, or remove preset",
            at=".preset",
        ),
        more_than("policyLearningRate", 0, is_optional=True),
        between("warmupFraction", 0, 0.9, is_optional=True),
    )

    @property
    def is_published(self) -> bool:
        """Whether the search has the published form."""
        return self.preset == "Published"

    @property
    def controller_rate(self) -> float:
        """Step size of the controller."""
        return POLICY_LEARNING_RATE if self.policy_learning_rate is None else float(self.policy_learning_rate)

    @property
    def uniform_share(self) -> float:
        """Share of the supernet's steps before the controller learns the architecture."""
        if self.warmup_fraction is not None:
            return float(self.warmup_fraction)
        return 0.0 if self.is_published else WARMUP_FRACTION

    @property
    def window(self) -> tuple[float, float]:
        """Begin and end of the window of the hyperparameters, as shares of the supernet's steps."""
        if self.hyperparameter_window is not None:
            return float(self.hyperparameter_window.begin), float(self.hyperparameter_window.end)
        return _WHOLE_SUPERNET if self.is_published else HYPERPARAMETER_WINDOW

    @property
    def commits_sample(self) -> bool:
        """Whether the sampled hyperparameters update the shared weights."""
        return self.is_published or self.shared_update == "Sampled"

    @property
    def has_own_batch(self) -> bool:
        """Whether temporary weights come from a gradient of their own."""
        return self.is_published or self.temporary_batch == "Own"

    @property
    def num_paired(self) -> int:
        """Update rules that Paired compares on one gradient."""
        return self.paired_samples or PAIRED_SAMPLES

    @property
    def has_guard(self) -> bool:
        """Whether an update of the window that harms its own training batch is taken back."""
        return not self.is_published

    @property
    def has_lag(self) -> bool:
        """Whether a supernet step is learned from one step later, so that nothing waits for the device; the published form does not."""
        return not self.is_published

    @property
    def has_race(self) -> bool:
        """Whether candidates are compared after the supernet; Lanes always compares."""
        return not self.is_published and self.result != "Argmax"
