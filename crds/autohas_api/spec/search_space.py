"""`spec.searchSpace`: the hyperparameters and architecture decisions to search."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autohas_api.base.condition import Choice, DecisionName, When
from autohas_api.base.expressions import Expression, field, literal
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import rule
from autohas_api.spec.hyperparameters import Choices, Hyperparameter, RateFactors, not_on_itself


class ArchitectureDecision(Model):
    """Change of one decision of the template: fewer choices, another default, or a condition."""

    name: DecisionName = Field(description="Name of the decision in the template.")
    choices: Choices | None = Field(
        default=None,
        description="Choices to search, a subset of those of the template; one choice pins the decision. If not set, all "
        "choices of the template.",
    )
    default: Choice | None = Field(
        default=None,
        description="Choice in the default configuration. If not set, the default of the template, or the first choice if"
        " choices exclude it.",
    )
    when: When | None = Field(
        default=None,
        description="Condition under which the decision is searched; only for decisions that have no condition in the "
        "template. Where it does not hold, the decision has its default.",
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
    """Architecture decisions to search."""

    decisions: list[ArchitectureDecision] = Field(
        default_factory=list,
        max_length=128,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Changes of the template's decisions. If empty, all decisions are searched as the template, or the"
        " entrypoint's model, defines them. Decisions of an entrypoint are listed whole.",
    )


class InitialPoint(Model):
    """Configuration that is tried in addition to the default."""

    values: Annotated[dict[str, Choice], Field(max_length=192)] = Field(
        description="Values of hyperparameters and choices of architecture decisions by name. Names that are left out have their defaults."
    )


def _is_searched(optimizer: str) -> Expression:
    """Whether `optimizer` is a choice of the search, or has no factor."""
    has_factor = field("rateFactors", of="h").is_given & field(f"rateFactors.{optimizer}", of="h").is_given
    is_choice = field("categorical", of="h").is_given & literal(optimizer).is_in(field("categorical.choices", of="h"))
    hyperparameters = field("hyperparameters")
    return ~hyperparameters.some("h", has_factor) | hyperparameters.some("h", field("name", of="h").equals("optimizer") & is_choice)


class SearchSpace(Model):
    """Hyperparameters and architecture decisions to search: at least one of the two."""

    hyperparameters: list[Hyperparameter] = Field(
        default_factory=list,
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Hyperparameters to search. The others have the values of the recipe.",
    )
    architecture: Architecture | None = Field(
        default=None, description="Architecture decisions to search. If not set, the architecture is the default of the template."
    )
    initial_points: list[InitialPoint] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Configurations that are tried in addition to the default: as lanes, as candidates of the race, or as"
        " the first samples or trials.",
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
