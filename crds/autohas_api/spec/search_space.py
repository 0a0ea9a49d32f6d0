"""`spec.searchSpace`: what may vary."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autohas_api.base.expressions import Expression, field, literal
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import rule
from autohas_api.spec.hyperparameters import Choice, Choices, DecisionName, Hyperparameter, RateFactors, When, not_on_itself


class ArchitectureDecision(Model):
    """Restricts (fewer choices), pins (one choice) or re-defaults one decision of the template."""

    name: DecisionName = Field(description="Name of the template's decision.")
    choices: Choices | None = Field(
        default=None, description="The choices left to the search, of the template's; absent: all. One choice pins the decision."
    )
    default: Choice | None = Field(
        default=None, description="Choice in the default configuration; absent: the template's, or the first choice left."
    )
    when: When | None = Field(
        default=None,
        description="Search this decision only under a condition; otherwise it takes its default."
        " Only for decisions without a condition of their own.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~field("default").is_given | ~field("choices").is_given | field("default").is_in(field("choices")),
            "default must be one of choices",
            at=".default",
        ),
        not_on_itself("a decision"),
    )


class Architecture(Model):
    """Which architecture decisions are searched."""

    decisions: list[ArchitectureDecision] = Field(
        default_factory=list,
        max_length=128,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Changes to the template's decisions. Empty: all of them are searched as the template has them.",
    )


class InitialPoint(Model):
    """A configuration that is tried beside the default."""

    values: Annotated[dict[str, Choice], Field(max_length=192)] = Field(
        description="Hyperparameters and architecture decisions by name; what is left out stands at its default."
    )


def _is_searched(optimizer: str) -> Expression:
    """Whether `optimizer` is a choice of the search, or has no factor."""
    has_factor = field("rateFactors", of="h").is_given & field(f"rateFactors.{optimizer}", of="h").is_given
    is_choice = field("categorical", of="h").is_given & literal(optimizer).is_in(field("categorical.choices", of="h"))
    hyperparameters = field("hyperparameters")
    return ~hyperparameters.some("h", has_factor) | hyperparameters.some("h", field("name", of="h").equals("optimizer") & is_choice)


class SearchSpace(Model):
    """What varies: hyperparameters, architecture, or both. Absent architecture: the template's defaults are kept."""

    hyperparameters: list[Hyperparameter] = Field(
        default_factory=list,
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Hyperparameters to search; the others keep the recipe's values.",
    )
    architecture: Architecture | None = Field(default=None, description="Present: the template's architecture decisions are searched.")
    initial_points: list[InitialPoint] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Configurations to try beside the default: as lanes, as candidates of the race, as first samples or trials.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            field("architecture").is_given | (field("hyperparameters").size > 0),
            "nothing to search: give hyperparameters, architecture or both",
        ),
        *(
            rule(
                _is_searched(name),
                f"rateFactors must not have {name} unless it is a choice of the searched optimizer: where only one optimizer trains,"
                " learning_rate is its rate",
                at=".hyperparameters",
            )
            for name in RateFactors.model_fields
        ),
    )
