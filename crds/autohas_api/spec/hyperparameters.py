"""`spec.searchSpace.hyperparameters`: the hyperparameters that the search may choose, and what each one is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.decimals import decimal_between
from autohas_api.base.model import DECIMAL_PATTERN, Decimal, Model, Rule

DecisionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$", min_length=1, max_length=63)]
Choice = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MAX_CHOICES: Final = 32
Choices = Annotated[list[Choice], Field(min_length=1, max_length=MAX_CHOICES, json_schema_extra={"x-kubernetes-list-type": "set"})]
MAX_BATCH: Final = 65536
MAX_MIXUP: Final = 100
"""Largest alpha: above it every share is a half."""
LARGEST_SHARE: Final = 0.999999
"""Largest momentum, dropout or label smoothing: closer to 1 than a millionth, an update never ends and nothing is left to learn from."""
LEAST_WIDTH: Final = 1e-9
"""Of a range, in its largest value: 32 bases within are further apart than the spacing of doubles, a ten-millionth of this."""
_CEL_DECIMAL: Final = DECIMAL_PATTERN.replace("\\", "\\\\")


class Role(StrEnum):
    """What a decision changes, and so which stage may search it: see docs/algorithm.md."""

    ARCHITECTURE = "Architecture"
    UPDATE_RULE = "UpdateRule"
    TRAINING = "Training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A hyperparameter of the recipe: how its range is given, and the bounds of its values."""

    role: Role
    kind: Literal["continuous", "integer", "categorical"]
    minimum: float = 0.0
    below: float = math.inf
    choices: tuple[str, ...] = ()


KNOWN: Final[dict[str, Known]] = {
    "learning_rate": Known(role=Role.UPDATE_RULE, kind="continuous"),
    "optimizer": Known(role=Role.UPDATE_RULE, kind="categorical", choices=("sgd", "rmsprop", "adam")),
    "momentum": Known(role=Role.UPDATE_RULE, kind="continuous", below=1.0),
    "weight_decay": Known(role=Role.TRAINING, kind="continuous"),
    "dropout": Known(role=Role.TRAINING, kind="continuous", below=1.0),
    "label_smoothing": Known(role=Role.TRAINING, kind="continuous", below=1.0),
    "mixup": Known(role=Role.TRAINING, kind="continuous"),
    "batch_size": Known(role=Role.TRAINING, kind="integer", minimum=2),
}
"""Hyperparameters by name; the recipe has a field for each."""


class Continuous(Model):
    """A continuous range, searched as a linear combination of `numBases` categorical bases."""

    min: Decimal = Field(description="Smallest value, a quoted decimal.")
    max: Decimal = Field(description="Largest value, a quoted decimal; must be greater than min.")
    scale: Literal["Linear", "Log"] = Field(default="Linear", description="Spacing of the bases. Log needs min > 0 and combines exponents.")
    num_bases: int = Field(
        default=8,
        ge=2,
        le=MAX_CHOICES,
        description="Number of categorical bases between min and max, both included. RandomSearch draws from the range itself.",
    )
    mixing: Literal["OneHot", "TopK"] = Field(
        default="OneHot",
        description="How bases combine in a sample (strategies OneStep and Paired). OneHot: the value is one of the bases."
        " TopK: the mean of topK draws, of which several may be the same basis.",
    )
    top_k: Annotated[int, Field(ge=2, le=MAX_CHOICES)] | None = Field(default=None, description="Draws in a TopK sample. Absent: 2.")
    derive: Literal["Argmax", "Expectation"] | None = Field(
        default=None,
        description="How the controller's value is read (strategies OneStep and Paired). Argmax: its most likely basis."
        " Expectation: all bases weighed by their probabilities; it races against the most likely basis."
        " Absent: Expectation where mixing is TopK, else Argmax.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="double(self.min) < double(self.max)",
            message="max must be greater than min",
            field_path=".max",
            holds=lambda c: float(c.min) < float(c.max),
        ),
        Rule(
            expression=f"double(self.max) <= double(self.min) || double(self.max) - double(self.min) >= {LEAST_WIDTH} * double(self.max)",
            message="the range is too narrow for different bases: max must exceed min by at least a billionth of itself",
            field_path=".max",
            holds=lambda c: float(c.max) <= float(c.min) or float(c.max) - float(c.min) >= LEAST_WIDTH * float(c.max),
        ),
        Rule(
            expression="self.scale != 'Log' || double(self.min) > 0.0",
            message="min must be greater than 0 when scale is Log",
            field_path=".min",
            holds=lambda c: c.scale != "Log" or float(c.min) > 0,
        ),
        Rule(
            expression="!has(self.topK) || self.mixing == 'TopK'",
            message="topK must not be given unless mixing is TopK",
            field_path=".topK",
            holds=lambda c: c.top_k is None or c.mixing == "TopK",
        ),
        Rule(
            expression="!has(self.topK) || self.topK <= self.numBases",
            message="topK must be at most numBases",
            field_path=".topK",
            holds=lambda c: c.top_k is None or c.top_k <= c.num_bases,
        ),
        Rule(
            expression="self.mixing != 'TopK' || !has(self.derive) || self.derive == 'Expectation'",
            message="derive must not be Argmax when mixing is TopK: the samples are means of bases, and so is what they teach",
            field_path=".derive",
            holds=lambda c: c.mixing != "TopK" or c.derive != "Argmax",
        ),
        Rule(
            expression="double(self.min) >= 0.0",
            message="min must not be negative",
            field_path=".min",
            holds=lambda c: float(c.min) >= 0,
        ),
    )


class Integer(Model):
    """Whole numbers from min to at most max, at most 32 of them."""

    min: int = Field(ge=1, le=1_000_000, description="Smallest value.")
    max: int = Field(ge=1, le=1_000_000, description="Largest value that may be reached; must be greater than min.")
    step: int = Field(default=1, ge=1, le=1_000_000, description="Linear: distance of neighbours. Log: ratio of neighbours, at least 2.")
    scale: Literal["Linear", "Log"] = Field(default="Linear", description="Linear: min, min+step, ... Log: min, min*step, ...")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="self.min < self.max",
            message="max must be greater than min",
            field_path=".max",
            holds=lambda i: i.min < i.max,
        ),
        Rule(
            expression="self.scale != 'Log' || self.step >= 2",
            message="step must be at least 2 when scale is Log: it is the ratio of neighbours",
            field_path=".step",
            holds=lambda i: i.scale != "Log" or i.step >= 2,  # noqa: PLR2004 - the bound itself
        ),
        Rule(
            expression="self.min >= self.max || (self.scale == 'Log' ? self.min * self.step : self.min + self.step) <= self.max",
            message="only min itself is in the range: step must be small enough for a second value",
            field_path=".step",
            holds=lambda i: i.min >= i.max or (i.min * i.step if i.scale == "Log" else i.min + i.step) <= i.max,
        ),
        Rule(
            expression=f"self.scale == 'Log' || (self.max - self.min) / self.step < {MAX_CHOICES}",
            message=f"at most {MAX_CHOICES} values: enlarge step",
            field_path=".step",
            holds=lambda i: i.scale == "Log" or (i.max - i.min) // i.step < MAX_CHOICES,
        ),
    )


class Categorical(Model):
    """A set of named choices."""

    choices: Choices = Field(description="The choices.")


class Condition(Model):
    """Makes a decision active only while another decision has one of the given choices."""

    decision: DecisionName = Field(description="Name of the decision looked at.")
    values: Choices = Field(description="The choices of that decision under which this one is active.")


def _num_ranges(h: Hyperparameter) -> int:
    return sum(given is not None for given in (h.continuous, h.integer, h.categorical))


def _default_fits(h: Hyperparameter) -> bool:
    if h.default is None:
        return True
    if h.continuous is not None:
        if not _is_decimal(h.default):
            return False
        return float(h.continuous.min) <= float(h.default) <= float(h.continuous.max)
    if h.integer is not None:
        return re.fullmatch(r"[0-9]{1,7}", h.default) is not None and h.integer.min <= int(h.default) <= h.integer.max
    return h.categorical is None or h.default in h.categorical.choices


def _is_decimal(text: str) -> bool:
    return re.fullmatch(DECIMAL_PATTERN, text) is not None


def _given(kind: str, names: tuple[str, ...]) -> Callable[[Hyperparameter], bool]:
    return lambda h: h.name not in names or getattr(h, kind) is not None


def _quoted(names: Iterable[str]) -> str:
    """A CEL list's inside."""
    return ", ".join(f"'{name}'" for name in names)


def _kind_rule(kind: str) -> Rule:
    """Each known name takes one kind of range."""
    names = tuple(name for name, known in KNOWN.items() if known.kind == kind)
    return Rule(
        expression=f"!(self.name in [{_quoted(names)}]) || has(self.{kind})",
        message=f"{', '.join(names)}: the range must be given as {kind}",
        field_path=".name",
        holds=_given(kind, names),
    )


_BELOW_ONE: Final = tuple(name for name, known in KNOWN.items() if known.below == 1)
_OPTIMIZERS: Final = KNOWN["optimizer"].choices
_KIND_RULES: Final = (
    *(_kind_rule(kind) for kind in ("continuous", "integer", "categorical")),
    Rule(
        expression=f"!(self.name in [{_quoted(_BELOW_ONE)}]) || !has(self.continuous) || double(self.continuous.max) <= {LARGEST_SHARE}",
        message=f"max of {', '.join(_BELOW_ONE)} must be less than 1, at most {LARGEST_SHARE}",
        field_path=".continuous.max",
        holds=lambda h: h.name not in _BELOW_ONE or h.continuous is None or float(h.continuous.max) <= LARGEST_SHARE,
    ),
    Rule(
        expression=f"self.name != 'mixup' || !has(self.continuous) || double(self.continuous.max) <= {MAX_MIXUP}.0",
        message=f"max of mixup must be at most {MAX_MIXUP}",
        field_path=".continuous.max",
        holds=lambda h: h.name != "mixup" or h.continuous is None or float(h.continuous.max) <= MAX_MIXUP,
    ),
    Rule(
        expression="self.name != 'batch_size' || !has(self.integer) || self.integer.min >= 2",
        message="min of batch_size must be at least 2",
        field_path=".integer.min",
        holds=lambda h: h.name != "batch_size" or h.integer is None or h.integer.min >= KNOWN["batch_size"].minimum,
    ),
    Rule(
        expression=f"self.name != 'batch_size' || !has(self.integer) || self.integer.max <= {MAX_BATCH}",
        message=f"max of batch_size must be at most {MAX_BATCH}, as recipe.batchSize",
        field_path=".integer.max",
        holds=lambda h: h.name != "batch_size" or h.integer is None or h.integer.max <= MAX_BATCH,
    ),
    Rule(
        expression=f"self.name != 'optimizer' || !has(self.categorical) || self.categorical.choices.all(c, c in [{_quoted(_OPTIMIZERS)}])",
        message=f"choices of optimizer must be among {', '.join(_OPTIMIZERS)}",
        field_path=".categorical.choices",
        holds=lambda h: h.name != "optimizer" or h.categorical is None or set(h.categorical.choices) <= set(_OPTIMIZERS),
    ),
)
"""Each known name with its own bounds."""


class Hyperparameter(Model):
    """One hyperparameter that the search chooses, with exactly one kind of range."""

    name: DecisionName = Field(
        description="learning_rate (absolute peak for sgd; adam and rmsprop take a hundredth of it), optimizer, momentum (of sgd; beta1 of"
        " adam), weight_decay (L2 factor of weights), dropout, label_smoothing, mixup (alpha) or batch_size (a full training then takes as"
        " many examples, in fewer or more steps). With an entrypoint also own names, which its code obeys; they need a default."
    )
    continuous: Continuous | None = Field(
        default=None, description="A range of numbers (learning_rate, momentum, weight_decay, dropout, label_smoothing, mixup)."
    )
    integer: Integer | None = Field(default=None, description="A range of whole numbers (batch_size).")
    categorical: Categorical | None = Field(default=None, description="Named choices (optimizer).")
    default: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Value in the default configuration; absent: the recipe's. Must be within the range or one of the choices.",
    )
    when: Condition | None = Field(
        default=None,
        description="Search this hyperparameter only under a condition on a categorical or integer hyperparameter or on an architecture"
        " decision; otherwise it takes its default.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="[has(self.continuous), has(self.integer), has(self.categorical)].filter(x, x).size() == 1",
            message="exactly one of continuous, integer and categorical must be given",
            holds=lambda h: _num_ranges(h) == 1,
        ),
        *_KIND_RULES,
        Rule(
            expression="!has(self.default) || !has(self.continuous) || (self.default.matches('"
            + DECIMAL_PATTERN.replace("\\", "\\\\")
            + "')"
            " && double(self.default) >= double(self.continuous.min) && double(self.default) <= double(self.continuous.max))",
            message="default must be a decimal between continuous.min and continuous.max",
            field_path=".default",
            holds=lambda h: h.continuous is None or _default_fits(h),
        ),
        Rule(
            expression="!has(self.default) || !has(self.integer) || (self.default.matches('^[0-9]{1,7}$')"
            " && int(self.default) >= self.integer.min && int(self.default) <= self.integer.max)",
            message="default must be a whole number between integer.min and integer.max",
            field_path=".default",
            holds=lambda h: h.integer is None or _default_fits(h),
        ),
        Rule(
            expression="!has(self.default) || !has(self.categorical) || self.default in self.categorical.choices",
            message="default must be one of categorical.choices",
            field_path=".default",
            holds=lambda h: h.categorical is None or _default_fits(h),
        ),
        Rule(
            expression="!has(self.when) || self.when.decision != self.name",
            message="a hyperparameter must not depend on itself",
            field_path=".when.decision",
            holds=lambda h: h.when is None or h.when.decision != h.name,
        ),
    )


def bases(minimum: float, maximum: float, count: int, scale: str) -> tuple[float, ...]:
    """`count` values from minimum to maximum, both exact: evenly spaced, or evenly spaced exponents for Log."""
    if scale == "Log":
        low, high = math.log(minimum), math.log(maximum)
        inner = [math.exp(low + (high - low) * i / (count - 1)) for i in range(1, count - 1)]
    else:
        inner = [minimum + (maximum - minimum) * i / (count - 1) for i in range(1, count - 1)]
    return (minimum, *inner, maximum)


def choices_of(declared: Hyperparameter) -> tuple[str, ...]:
    """The choices that a hyperparameter's range becomes."""
    match declared.continuous, declared.integer, declared.categorical:
        case Continuous() as c, _, _:
            low, high = float(c.min), float(c.max)
            return tuple(decimal_between(base, low, high) for base in bases(low, high, c.num_bases, c.scale))
        case _, Integer() as i, _:
            return tuple(str(value) for value in _integers(i))
        case _:
            assert declared.categorical is not None  # noqa: S101 - a rule of the model
            return tuple(declared.categorical.choices)


def _integers(declared: Integer) -> list[int]:
    if declared.scale == "Linear":
        return list(range(declared.min, declared.max + 1, declared.step))
    values = [declared.min]
    while values[-1] * declared.step <= declared.max:
        values.append(values[-1] * declared.step)
    return values
