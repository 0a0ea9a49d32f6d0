"""The search space as data: every decision with its choices, in one fixed order.

Both sides resolve it from the spec and the template's declaration: the trainer samples from it, the operator maps the choice
indices of the termination message to names. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from autohas_api.base.condition import When
from autohas_api.base.decimals import decimal, decimal_between, exact_decimal
from autohas_api.base.model import DECIMAL_PATTERN
from autohas_api.space.rates import recipe_rate
from autohas_api.spec.hyperparameters import KNOWN, Continuous, Hyperparameter, Role, bases, choices_of
from autohas_api.spec.search import Spec
from autohas_api.spec.search_space import Architecture, ArchitectureDecision
from autohas_api.templates.table import TEMPLATES
from autohas_api.templates.template_spec import TemplateDecision

__all__ = [
    "OFF_GRID",
    "Configuration",
    "Decision",
    "Range",
    "Role",
    "Space",
    "bases",
    "decimal",
    "exact_decimal",
    "initial_points",
    "list_decisions",
    "reads_decisions_from_code",
    "recipe_value",
    "resolve",
]

DEFAULT_TOP_K = 2

OFF_GRID = -1
"""Index of a value that is not one of the choices: another default, or a number between two bases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The continuous range behind a decision's choices, which are its bases.

    Attributes:
        minimum: Smallest value.
        maximum: Largest value.
        is_log: Whether exponents are combined, not values.
        num_mixed: Number of bases, drawn with replacement, that a sample averages; 1 is a single basis.
        expects: Whether the derived value is the expectation over all bases: where it is asked for, and where samples are means.
        is_gaussian: Whether samples come from a Gaussian over the range instead of its bases.
    """

    minimum: float
    maximum: float
    is_log: bool
    num_mixed: int = 1
    expects: bool = False
    is_gaussian: bool = False

    def holds(self, value: str) -> bool:
        """Whether a text is a decimal of this range."""
        return re.fullmatch(DECIMAL_PATTERN, value) is not None and self.minimum <= float(value) <= self.maximum

    def position(self, value: float) -> float:
        """Where a value lies: 0 at the minimum, 1 at the maximum and beyond; by exponents on a log scale."""
        inside = min(max(value, self.minimum), self.maximum)
        if self.is_log:
            return math.log(inside / self.minimum) / math.log(self.maximum / self.minimum)
        return (inside - self.minimum) / (self.maximum - self.minimum)

    def at(self, position: float) -> float:
        """The value at a position from 0 to 1."""
        if self.is_log:
            return self.minimum * math.pow(self.maximum / self.minimum, position)
        return self.minimum + position * (self.maximum - self.minimum)

    def write(self, value: float) -> str:
        """A computed value of this range, with as few digits as tell it apart."""
        return decimal_between(value, self.minimum, self.maximum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision: `choices` are architecture choices or decimals; a value of a range need not be one of its bases."""

    name: str
    role: Role
    choices: tuple[str, ...]
    default: str
    when: When | None = None
    range: Range | None = None

    @property
    def is_searched(self) -> bool:
        """Whether there is more than one choice."""
        return len(self.choices) > 1

    @property
    def is_ordered(self) -> bool:
        """Whether all choices are numbers."""
        return all(re.fullmatch(DECIMAL_PATTERN, choice) is not None for choice in self.choices)

    @property
    def fixed(self) -> str:
        """The value where none is drawn: the only choice, otherwise the default."""
        return self.choices[0] if len(self.choices) == 1 else self.default

    def allows(self, value: str) -> bool:
        """Whether `value` is allowed."""
        return value in self.choices or value == self.default or (self.range is not None and self.range.holds(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One choice for every decision of a space, in the space's order; inactive decisions hold their default."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All decisions, hyperparameters first, then architecture, but parents before the decisions that depend on them."""

    decisions: tuple[Decision, ...]

    @property
    def default(self) -> Configuration:
        """The default configuration."""
        return Configuration(values=tuple(d.default for d in self.decisions))

    def is_active(self, decision: Decision, values: Mapping[str, str]) -> bool:
        """Whether `decision` matters given the choices of the decisions before it (a chain of conditions)."""
        by_name = {d.name: d for d in self.decisions}
        conditions = []
        while decision.when is not None:
            conditions.append(decision.when)
            decision = by_name[decision.when.decision]
        return all(values[when.decision] in when.values for when in reversed(conditions))

    def configuration(self, values: Mapping[str, str]) -> Configuration:
        """The canonical configuration: inactive decisions are set to their default."""
        active: dict[str, bool] = {}  # parents come first, so one look at each decision is enough
        for decision in self.decisions:
            when = decision.when
            active[decision.name] = when is None or (active[when.decision] and values[when.decision] in when.values)
        return Configuration(values=tuple(values[d.name] if active[d.name] else d.default for d in self.decisions))

    def as_mapping(self, configuration: Configuration) -> dict[str, str]:
        """Decision name to choice."""
        return {d.name: value for d, value in zip(self.decisions, configuration.values, strict=True)}

    def indices(self, configuration: Configuration) -> tuple[int, ...]:
        """Choice indices in order; OFF_GRID where the value is none of the choices."""
        return tuple(d.choices.index(v) if v in d.choices else OFF_GRID for d, v in zip(self.decisions, configuration.values, strict=True))

    def searched_decisions(self, *roles: Role) -> tuple[Decision, ...]:
        """The decisions with more than one choice, of the given roles (all roles when none is given)."""
        return tuple(d for d in self.decisions if d.is_searched and (not roles or d.role in roles))

    def size(self) -> int:
        """Number of distinct active combinations: conditions make a forest, so choices add and siblings multiply."""
        under: dict[tuple[str, str], int] = {}  # by parent and its choice; each decision is counted once, since a chain has countless paths
        whole = 1
        for decision in reversed(self.decisions):
            combinations = sum(under.get((decision.name, choice), 1) for choice in decision.choices)
            if decision.when is None:
                whole *= combinations
                continue
            for value in set(decision.when.values):
                parent = (decision.when.decision, value)
                under[parent] = under.get(parent, 1) * combinations
        return whole


def resolve(spec: Spec) -> Space:
    """The space of a valid spec, which `autohas_api.accept.acceptance` has checked."""
    hyperparameters = tuple(_hyperparameter(h, spec) for h in spec.search_space.hyperparameters)
    changes = spec.search_space.architecture
    overrides = {d.name: d for d in changes.decisions} if changes is not None else {}
    architecture = [
        _architecture(declared if changes is not None else _pin(declared), overrides.get(declared.name))
        for declared in declared_decisions(spec)
    ]
    return Space(decisions=tuple(_parents_first([*hyperparameters, *architecture])))


def declared_decisions(spec: Spec) -> tuple[TemplateDecision, ...]:
    """The model's decisions: the template's, or those that the spec lists for an entrypoint, which only the trainer can import."""
    if spec.task.model.template is not None:
        return TEMPLATES[spec.task.model.template].decisions
    listed = spec.search_space.architecture.decisions if spec.search_space.architecture is not None else []
    return tuple(
        TemplateDecision(
            name=d.name,
            choices=tuple(d.choices or ()),
            default=d.default or "",
            when=d.when,
        )
        for d in listed
    )


def reads_decisions_from_code(spec: Spec) -> bool:
    """Whether the search has all decisions of an entrypoint's model and lists none: only the trainer, which imports it, knows the space."""
    architecture = spec.search_space.architecture
    return spec.task.model.entrypoint is not None and architecture is not None and not architecture.decisions


def list_decisions(spec: Spec, decisions: Iterable[TemplateDecision]) -> Spec:
    """The spec that lists the decisions which it reads from code."""
    listed = [ArchitectureDecision(name=d.name, choices=list(d.choices), default=d.default, when=d.when) for d in decisions]
    return spec.replace(search_space=spec.search_space.replace(architecture=Architecture(decisions=listed)))


def recipe_value(spec: Spec, name: str) -> str:
    """The recipe's value of a known hyperparameter, as a decision writes it."""
    recipe, optimizer = spec.task.recipe, spec.task.optimizer
    texts = {
        "optimizer": optimizer,
        "schedule": recipe.schedule,
        "nesterov": "true" if recipe.nesterov else "false",
        "batch_size": str(recipe.batch_size),
    }
    if name in texts:
        return texts[name]
    if name == "learning_rate":
        return recipe_rate(spec)
    value = recipe.decay_of(optimizer) if name == "weight_decay" else getattr(recipe, name)
    return exact_decimal(float(value or _UNSET_VALUES[name]))


_UNSET_VALUES: Final = {"beta2": "0.999", "epsilon": "1e-8", "gradient_clip": "0", "ema": "0", "schedule_floor": "0"}
"""What a recipe means that does not set a known hyperparameter; a clip or an ema of 0 stands for none."""


def _hyperparameter(declared: Hyperparameter, spec: Spec) -> Decision:
    default = declared.default or recipe_value(spec, declared.name)
    return Decision(
        name=declared.name,
        role=KNOWN[declared.name].role if declared.name in KNOWN else Role.TRAINING,
        choices=choices_of(declared),
        default=exact_decimal(float(default)) if declared.continuous is not None else default,
        when=declared.when,
        range=_range(declared.continuous, spec.algorithm.row.mixing) if declared.continuous is not None else None,
    )


def _range(c: Continuous, default_mixing: str) -> Range:
    mixing = c.mixing or default_mixing
    num_mixed = (c.top_k or DEFAULT_TOP_K) if mixing == "TopK" else 1
    return Range(
        minimum=float(c.min),
        maximum=float(c.max),
        is_log=c.scale == "Log",
        num_mixed=num_mixed,
        expects=c.derive == "Expectation" or num_mixed > 1,
        is_gaussian=mixing == "Gaussian",
    )


def initial_points(spec: Spec, space: Space) -> tuple[Configuration, ...]:
    """The configurations that the spec adds to the default, in its order; values that they leave out are those of the default."""
    default = space.as_mapping(space.default)
    points = (initial.values for initial in spec.search_space.initial_points)
    ranges = {d.name: d.range for d in space.decisions}
    return tuple(
        space.configuration({**default, **{name: exact_decimal(float(v)) if ranges[name] else v for name, v in values.items()}})
        for values in points
    )


def _pin(declared: TemplateDecision) -> TemplateDecision:
    """The decision with its default as the only choice: no architecture is searched."""
    return replace(declared, choices=(declared.default,))


def _architecture(declared: TemplateDecision, change: ArchitectureDecision | None) -> Decision:
    choices, default, when = declared.choices, declared.default, declared.when
    if change is not None:
        if change.choices is not None:
            choices = tuple(c for c in declared.choices if c in change.choices)
            default = default if default in choices else choices[0]
        default = change.default or default
        when = change.when or when
    return Decision(name=declared.name, role=Role.ARCHITECTURE, choices=choices, default=default, when=when)


def _parents_first(decisions: list[Decision]) -> list[Decision]:
    """Stable order in which every decision follows the parent of its condition."""
    ordered: list[Decision] = []
    placed: set[str] = set()
    waiting = list(decisions)
    while waiting:
        index = next((i for i, d in enumerate(waiting) if d.when is None or d.when.decision in placed), None)
        if index is None:
            raise ValueError("conditions form a cycle")
        ordered.append(waiting.pop(index))
        placed.add(ordered[-1].name)
    return ordered
