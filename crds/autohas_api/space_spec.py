"""`spec.searchSpace`: what may vary."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from autohas_api.model import Decimal, Model, Rule

DecisionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$", min_length=1, max_length=63)]
Choice = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Choices = Annotated[list[Choice], Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})]


class Continuous(Model):
    """A continuous range, searched as a linear combination of `numBases` categorical bases."""

    min: Decimal = Field(description="Smallest value, a quoted decimal.")
    max: Decimal = Field(description="Largest value, a quoted decimal; must be greater than min.")
    scale: Literal["Linear", "Log"] = Field(default="Linear", description="Spacing of the bases. Log needs min > 0 and combines exponents.")
    num_bases: int = Field(default=8, ge=2, le=32, description="Number of categorical bases between min and max, both included.")
    mixing: Literal["OneHot"] = Field(default="OneHot", description="How bases combine. OneHot: the value is one of the bases.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="double(self.min) < double(self.max)",
            message="max must be greater than min",
            field_path=".max",
            holds=lambda c: float(c.min) < float(c.max),
        ),
        Rule(
            expression="self.scale != 'Log' || double(self.min) > 0.0",
            message="min must be greater than 0 when scale is Log",
            field_path=".min",
            holds=lambda c: c.scale != "Log" or float(c.min) > 0,
        ),
    )


class Hyperparameter(Model):
    """One hyperparameter that the search chooses."""

    name: Literal["learning_rate", "weight_decay"] = Field(
        description="learning_rate is the absolute peak of the schedule; weight_decay is the L2 factor of weights (not biases)."
    )
    continuous: Continuous = Field(description="The range searched.")
    default: Decimal | None = Field(
        default=None,
        description="Value in the default configuration; absent: the recipe's. Must lie within the range.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="!has(self.default) || (double(self.default) >= double(self.continuous.min)"
            " && double(self.default) <= double(self.continuous.max))",
            message="default must lie between continuous.min and continuous.max",
            field_path=".default",
            holds=lambda h: h.default is None or float(h.continuous.min) <= float(h.default) <= float(h.continuous.max),
        ),
        Rule(
            expression="double(self.continuous.min) >= 0.0",
            message="continuous.min must not be negative",
            field_path=".continuous.min",
            holds=lambda h: float(h.continuous.min) >= 0,
        ),
    )


class Condition(Model):
    """Makes a decision active only while another decision has one of the given choices."""

    decision: DecisionName = Field(description="Name of the decision looked at.")
    values: Choices = Field(description="The choices of that decision under which this one is active.")


class ArchitectureDecision(Model):
    """Restricts (fewer choices), pins (one choice) or re-defaults one decision of the template."""

    name: DecisionName = Field(description="Name of the template's decision.")
    choices: Choices | None = Field(
        default=None, description="The choices left to the search, of the template's; absent: all. One choice pins the decision."
    )
    default: Choice | None = Field(
        default=None, description="Choice in the default configuration; absent: the template's, or the first choice left."
    )
    when: Condition | None = Field(
        default=None,
        description="Search this decision only under a condition; otherwise it takes its default."
        " Only for decisions without a condition of their own.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="!has(self.default) || !has(self.choices) || self.default in self.choices",
            message="default must be one of choices",
            field_path=".default",
            holds=lambda d: d.default is None or d.choices is None or d.default in d.choices,
        ),
        Rule(
            expression="!has(self.when) || self.when.decision != self.name",
            message="a decision must not depend on itself",
            field_path=".when.decision",
            holds=lambda d: d.when is None or d.when.decision != d.name,
        ),
    )


class Architecture(Model):
    """Which architecture decisions are searched."""

    decisions: list[ArchitectureDecision] = Field(
        default_factory=list,
        max_length=128,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Changes to the template's decisions. Empty: all of them are searched as the template has them.",
    )


class SearchSpace(Model):
    """What varies: hyperparameters, architecture, or both. Absent architecture: the template's defaults are kept."""

    hyperparameters: list[Hyperparameter] = Field(
        default_factory=list,
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Hyperparameters to search; the others keep the recipe's values.",
    )
    architecture: Architecture | None = Field(default=None, description="Present: the template's architecture decisions are searched.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="has(self.architecture) || (has(self.hyperparameters) && self.hyperparameters.size() > 0)",
            message="nothing to search: give hyperparameters, architecture or both",
            holds=lambda s: s.architecture is not None or len(s.hyperparameters) > 0,
        ),
    )
