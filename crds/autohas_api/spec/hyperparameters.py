"""`spec.searchSpace.hyperparameters`: the hyperparameters that the search may choose, and what each one is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal, get_args

from pydantic import Field, StringConstraints

from autohas_api.base.condition import MAX_CHOICES, Choice, DecisionName, When
from autohas_api.base.decimals import decimal_between
from autohas_api.base.expressions import Expression, choose, field, variable
from autohas_api.base.model import DECIMAL_PATTERN, Decimal, Model, Rule
from autohas_api.base.rules import exactly_one, not_negative, one_of, only_with, rule
from autohas_api.templates.template_spec import OptimizerName

Choices = Annotated[list[Choice], Field(min_length=1, max_length=MAX_CHOICES, json_schema_extra={"x-kubernetes-list-type": "set"})]
MIN_BATCH: Final = 2
MAX_BATCH: Final = 65536
MAX_MIXUP: Final = 100
"""Largest alpha: above it every share is a half."""
MAX_WARMUP: Final = 0.5
"""Largest share of a training in which the learning rate rises."""
LARGEST_SHARE: Final = 0.999999
"""Largest momentum, average, dropout or label smoothing: closer to 1, an update never ends and nothing is left to learn."""
LEAST_WIDTH: Final = 1e-9
"""Of a range, in its largest value: 32 bases within are further apart than the spacing of doubles, a ten-millionth of this."""


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
    is_positive: bool = False


OPTIMIZERS: Final[tuple[OptimizerName, ...]] = get_args(OptimizerName)
ScheduleName = Literal["Cosine", "Constant", "Linear", "OneCycle", "WSD", "Step"]
"""Values of `spec.task.recipe.schedule`."""

KNOWN: Final[dict[str, Known]] = {
    "learning_rate": Known(role=Role.UPDATE_RULE, kind="continuous"),
    "optimizer": Known(role=Role.UPDATE_RULE, kind="categorical", choices=OPTIMIZERS),
    "momentum": Known(role=Role.UPDATE_RULE, kind="continuous", below=1.0),
    "weight_decay": Known(role=Role.UPDATE_RULE, kind="continuous"),
    "dropout": Known(role=Role.TRAINING, kind="continuous", below=1.0),
    "label_smoothing": Known(role=Role.TRAINING, kind="continuous", below=1.0),
    "mixup": Known(role=Role.TRAINING, kind="continuous"),
    "batch_size": Known(role=Role.TRAINING, kind="integer", minimum=MIN_BATCH),
    "nesterov": Known(role=Role.TRAINING, kind="categorical", choices=("true", "false")),
    "beta2": Known(role=Role.TRAINING, kind="continuous", below=1.0),
    "epsilon": Known(role=Role.TRAINING, kind="continuous", is_positive=True),
    "gradient_clip": Known(role=Role.TRAINING, kind="continuous", is_positive=True),
    "ema": Known(role=Role.TRAINING, kind="continuous", below=1.0, is_positive=True),
    "schedule": Known(role=Role.TRAINING, kind="categorical", choices=get_args(ScheduleName)),
    "schedule_floor": Known(role=Role.TRAINING, kind="continuous", below=1.0),
    "warmup_fraction": Known(role=Role.TRAINING, kind="continuous"),
}
"""Hyperparameters by name; the recipe has a field for each."""


_MIN, _MAX = field("min").number, field("max").number
_IS_LOG = field("scale").equals("Log")


DEFAULT_RATES: Final[Mapping[str, str]] = {"sgd": "0.1", "rmsprop": "0.001", "adam": "0.001", "adamw": "0.001"}
"""Peak learning rate of an optimizer where the recipe gives none. For all but sgd: the usual one of Adam (Kingma & Ba)."""
DEFAULT_DECAYS: Final[Mapping[str, str]] = {"sgd": "1e-4", "rmsprop": "1e-4", "adam": "1e-4", "adamw": "0.01"}
"""Weight decay of an optimizer where the recipe gives none. adamw multiplies it by the learning rate, so that a useful one is larger:
0.01 is PyTorch's default."""


class Continuous(Model):
    """Continuous range, which the search represents by `numBases` values, its bases."""

    min: Decimal = Field(description="Smallest value, a decimal of at least 0.")
    max: Decimal = Field(description="Largest value, a decimal greater than min.")
    scale: Literal["Linear", "Log"] = Field(
        default="Linear",
        description="Spacing of the bases. Linear: equal differences. Log: equal ratios, and means of bases are "
        "geometric; min must be greater than 0.",
    )
    num_bases: int = Field(
        default=8,
        ge=2,
        le=MAX_CHOICES,
        description="Number of bases, min and max included. RandomSearch samples the range itself.",
    )
    mixing: Literal["OneHot", "TopK", "Gaussian"] | None = Field(
        default=None,
        description="Value of a sample; only with strategy OneStep or Paired. OneHot: one basis. TopK: the mean of topK "
        "bases, which are drawn with replacement. Gaussian: any value of the range, and the mean is derived. If not set, "
        "Gaussian; TopK with preset Published.",
    )
    top_k: Annotated[int, Field(ge=2, le=MAX_CHOICES)] | None = Field(
        default=None, description="Number of bases in a sample; only with mixing TopK, at most numBases. If not set, 2."
    )
    derive: Literal["Argmax", "Expectation"] | None = Field(
        default=None,
        description="Value that is derived from the controller; only with mixing OneHot or TopK. Argmax: the most "
        "likely basis. Expectation: the mean of all bases weighted by their probabilities, which competes "
        "with the most likely basis in the race. If not set, Expectation with mixing TopK, else Argmax.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(_MIN < _MAX, "max must be greater than min", at=".max"),
        rule(
            (_MAX <= _MIN) | (_MAX - _MIN >= _MAX * LEAST_WIDTH),
            "the range is too narrow for different bases: max must exceed min by at least a billionth of itself",
            at=".max",
        ),
        rule(field("scale").differs("Log") | (_MIN > 0), "min must be greater than 0 when scale is Log", at=".min"),
        only_with("topK", "mixing", "TopK", has_default=False),
        only_with("derive", "mixing", "OneHot", "TopK", has_default=False),
        rule(~field("topK").is_given | (field("topK") <= field("numBases")), "topK must be at most numBases", at=".topK"),
        rule(
            ~field("derive").is_given | ~field("mixing").is_given | field("mixing").differs("TopK") | field("derive").equals("Expectation"),
            "derive must not be Argmax when mixing is TopK: the samples are means of bases, and so is what they teach",
            at=".derive",
        ),
        not_negative("min"),
    )


class Integer(Model):
    """Range of integers, at most 32 of them."""

    min: int = Field(ge=1, le=1_000_000, description="Smallest value.")
    max: int = Field(ge=1, le=1_000_000, description="Upper bound of the values; must be greater than min.")
    step: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="Difference of neighbouring values with scale Linear; their ratio with scale Log, at least 2.",
    )
    scale: Literal["Linear", "Log"] = Field(
        default="Linear", description="Spacing of the values. Linear: min, min+step, min+2*step, ... Log: min, min*step, min*step^2, ..."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(field("min") < field("max"), "max must be greater than min", at=".max"),
        rule(
            ~_IS_LOG | (field("step") >= 2),  # noqa: PLR2004 - the bound itself
            "step must be at least 2 when scale is Log: it is the ratio of neighbours",
            at=".step",
        ),
        rule(
            (field("min") >= field("max")) | (choose(_IS_LOG, field("min") * field("step"), field("min") + field("step")) <= field("max")),
            "only min itself is in the range: step must be small enough for a second value",
            at=".step",
        ),
        rule(
            _IS_LOG | ((field("max") - field("min")) // field("step") < MAX_CHOICES),
            f"at most {MAX_CHOICES} values: enlarge step",
            at=".step",
        ),
    )


class Categorical(Model):
    """Set of named choices."""

    choices: Choices = Field(description="Names of the choices.")


def not_on_itself(what: str) -> Rule:
    """A decision is not its own condition."""
    return rule(
        ~field("when").is_given | field("when.decision").differs(field("name")), f"{what} must not depend on itself", at=".when.decision"
    )


_NAME, _DEFAULT = field("name"), field("default")


def _kind_rule(kind: str) -> Rule:
    """Each known name takes one kind of range."""
    names = tuple(name for name, known in KNOWN.items() if known.kind == kind)
    return rule(~_NAME.is_in(names) | field(kind).is_given, f"{', '.join(names)}: the range must be given as {kind}", at=".name")


def _bound(names: tuple[str, ...], kind: str, bound: Expression, message: str, at: str) -> Rule:
    """A bound of the range of some hyperparameters."""
    return rule(~one_of(_NAME, names) | ~field(kind).is_given | bound, message, at=f".{kind}.{at}")


def _default_fits(kind: str, fits: Expression, message: str) -> Rule:
    return rule(~_DEFAULT.is_given | ~field(kind).is_given | fits, f"default must be {message}", at=".default")


_BELOW_ONE: Final = tuple(name for name, known in KNOWN.items() if known.below == 1)
_POSITIVE: Final = tuple(name for name, known in KNOWN.items() if known.is_positive)
_CHOSEN: Final = tuple(name for name, known in KNOWN.items() if known.choices)
_KIND_RULES: Final = (
    *(_kind_rule(kind) for kind in ("continuous", "integer", "categorical")),
    _bound(
        _BELOW_ONE,
        "continuous",
        field("continuous.max").number <= LARGEST_SHARE,
        f"max of {', '.join(_BELOW_ONE)} must be less than 1, at most {LARGEST_SHARE}",
        "max",
    ),
    _bound(("mixup",), "continuous", field("continuous.max").number <= MAX_MIXUP, f"max of mixup must be at most {MAX_MIXUP}", "max"),
    _bound(
        ("warmup_fraction",),
        "continuous",
        field("continuous.max").number <= MAX_WARMUP,
        f"max of warmup_fraction must be at most {MAX_WARMUP}",
        "max",
    ),
    _bound(_POSITIVE, "continuous", field("continuous.min").number > 0, f"min of {', '.join(_POSITIVE)} must be greater than 0", "min"),
    _bound(("batch_size",), "integer", field("integer.min") >= MIN_BATCH, f"min of batch_size must be at least {MIN_BATCH}", "min"),
    _bound(
        ("batch_size",),
        "integer",
        field("integer.max") <= MAX_BATCH,
        f"max of batch_size must be at most {MAX_BATCH}, as recipe.batchSize",
        "max",
    ),
    *(
        _bound(
            (name,),
            "categorical",
            field("categorical.choices").every("c", variable("c").is_in(KNOWN[name].choices)),
            f"choices of {name} must be among {', '.join(KNOWN[name].choices)}",
            "choices",
        )
        for name in _CHOSEN
    ),
)
"""Each known name with its own bounds."""


class RateFactors(Model):
    """Factors of the learning rate, one for each optimizer."""

    sgd: Decimal | None = Field(default=None, description="Factor for sgd, a decimal greater than 0. If not set, 1.")
    rmsprop: Decimal | None = Field(default=None, description="Factor for rmsprop, a decimal greater than 0. If not set, 1.")
    adam: Decimal | None = Field(default=None, description="Factor for adam, a decimal greater than 0. If not set, 1.")
    adamw: Decimal | None = Field(default=None, description="Factor for adamw, a decimal greater than 0. If not set, 1.")

    rules: ClassVar[tuple[Rule, ...]] = tuple(
        rule(~field(name).is_given | (field(name).number > 0), f"{name} must be greater than 0", at=f".{name}") for name in OPTIMIZERS
    )


class Hyperparameter(Model):
    """Hyperparameter to search, with exactly one kind of range."""

    name: DecisionName = Field(
        description="Name of the hyperparameter: learning_rate (peak learning rate of the optimizer, before rateFactors),"
        " optimizer, momentum (of sgd; beta1 of adam and adamw), weight_decay, dropout, label_smoothing, mixup (alpha), "
        "batch_size (the number of examples of a full training stays the same), nesterov, beta2, epsilon, gradient_clip, "
        "ema, schedule, schedule_floor or warmup_fraction, as the fields of the recipe. "
        "A task with an entrypoint may have custom names, which its code reads; they need a default."
    )
    continuous: Continuous | None = Field(
        default=None, description="Continuous range, for all but optimizer, nesterov, schedule and batch_size."
    )
    integer: Integer | None = Field(default=None, description="Range of integers, for batch_size.")
    categorical: Categorical | None = Field(default=None, description="Set of named choices, for optimizer, nesterov and schedule.")
    default: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Value in the default configuration; must be within the range or one of the choices. If not set, the "
        "value of the recipe.",
    )
    rate_factors: RateFactors | None = Field(
        default=None,
        description="Factors of the learning rate for each optimizer; only for learning_rate, and only if optimizer is "
        "searched. The learning rate of an optimizer is the value times its factor.",
    )
    when: When | None = Field(
        default=None,
        description="Condition under which the hyperparameter is searched, on a categorical or integer hyperparameter or "
        "on an architecture decision. Where it does not hold, the hyperparameter has its default.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("continuous", "integer", "categorical"),
        *_KIND_RULES,
        _default_fits(
            "continuous",
            _DEFAULT.matches(DECIMAL_PATTERN)
            & (_DEFAULT.number >= field("continuous.min").number)
            & (_DEFAULT.number <= field("continuous.max").number),
            "a decimal between continuous.min and continuous.max",
        ),
        _default_fits(
            "integer",
            _DEFAULT.matches("^[0-9]{1,7}$") & (_DEFAULT.integer >= field("integer.min")) & (_DEFAULT.integer <= field("integer.max")),
            "a whole number between integer.min and integer.max",
        ),
        _default_fits("categorical", _DEFAULT.is_in(field("categorical.choices")), "one of categorical.choices"),
        not_on_itself("a hyperparameter"),
        only_with("rateFactors", "name", "learning_rate"),
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
