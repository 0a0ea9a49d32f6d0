"""`spec.task` and `spec.objective`: what is trained, and what is better."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import Expression, choose, field, literal
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.objective_metrics import METRICS
from autohas_api.base.rules import between, exactly_one, in_range, inside, more_than, not_negative, rule
from autohas_api.spec.hyperparameters import DEFAULT_RATES, LARGEST_SHARE, MAX_BATCH, MAX_MIXUP

ArgumentValue = Annotated[str, StringConstraints(max_length=1024)]
Arguments = Annotated[dict[str, ArgumentValue], Field(max_length=32)]
Entrypoint = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$", max_length=253)
]
"""`package.module:object`, from the trainer's image or its PYTHONPATH."""


_NAME = field("name")


class Data(Model):
    """Where examples come from."""

    name: Literal["digits", "idx", "csv", "image-folder"] | None = Field(
        default=None,
        description="digits: 8x8 handwritten digits that scikit-learn ships. idx: a folder of MNIST-style IDX files."
        " csv: a table with a header, to learn a class or, with metric rmse or mae, a number."
        " image-folder: train/CLASS/*.png or .jpg, and perhaps test/CLASS/*.",
    )
    entrypoint: Entrypoint | None = Field(
        default=None,
        description="Custom data instead of name: package.module:object, called with path (when given) and arguments as keywords;"
        " its splits() returns the examples.",
    )
    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="Where the trainer sees the data. idx: a folder. csv: a file, plain or gzipped, or a folder with train.csv and perhaps"
        " test.csv. image-folder: the folder that holds train, or the folders of the classes. A leading ~ is the home folder on a"
        " laptop; a pod has none.",
    )
    arguments: Arguments = Field(
        default_factory=dict,
        description="digits: variant (original, shifted). idx: trainLimit, testLimit (use only the first N examples)."
        " csv: target (required: the column to learn), categorical, numeric and ignore (column names, separated by commas), missing"
        " (error, impute), delimiter (one character, or tab), header (true, or false: columns are called 1, 2, ...), testFile (next to"
        " path) or testFraction (default 0.2)."
        " image-folder: size (px, for example 32 or 24x32), grayscale (true, false), background (white, black or #rrggbb, behind"
        " transparent parts), testFolder (default test) or testFraction (without test images; default 0.2)."
        " entrypoint: whatever it takes.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("name", "entrypoint"),
        rule(~_NAME.is_given | _NAME.equals("digits") | field("path").is_given, "path must be given unless name is digits", at=".path"),
        rule(
            ~_NAME.is_given | _NAME.differs("digits") | ~field("path").is_given,
            "path must not be given when name is digits, which is built in",
            at=".path",
        ),
        rule(
            ~_NAME.is_given | _NAME.differs("csv") | literal("target").is_in(field("arguments")),
            "arguments.target must name the column to learn when name is csv",
            at=".arguments",
        ),
    )

    @property
    def label(self) -> str:
        """How people call it: the name, or the entrypoint."""
        return self.name or self.entrypoint or ""


class ModelTemplate(Model):
    """The family of networks."""

    template: Literal["mlp", "conv-small"] | None = Field(
        default=None, description="mlp: fully connected, 1 to 3 layers. conv-small: residual convolutional network for small images."
    )
    entrypoint: Entrypoint | None = Field(
        default=None,
        description="A custom model instead of template: package.module:object, called with the shape of one input, the number of outputs"
        " and arguments as keywords; gives a torch.nn.Module, or a model with decisions, which searchSpace.architecture must then list.",
    )
    arguments: Arguments | None = Field(default=None, description="Keywords for entrypoint; templates take none.")

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("template", "entrypoint"),
        rule(
            ~field("arguments").is_given | field("arguments").size.equals(0) | field("entrypoint").is_given,
            "arguments must not be given without entrypoint: templates take none",
            at=".arguments",
        ),
    )

    @property
    def label(self) -> str:
        """How people call it: the template, or the entrypoint."""
        return self.template or self.entrypoint or ""


class Recipe(Model):
    """The default training configuration: what is trained when nothing is searched."""

    batch_size: int = Field(default=64, ge=2, le=MAX_BATCH, description="Examples per training step.")
    optimizer: Literal["sgd", "rmsprop", "adam"] = Field(default="sgd", description="Update rule.")
    learning_rate: Decimal | None = Field(
        default=None,
        description="Peak learning rate of the optimizer. Absent: 0.1 for sgd, 0.001 for rmsprop and adam.",
    )
    schedule: Literal["Cosine", "Constant"] = Field(
        default="Cosine", description="Shape of the learning rate after the warm-up: Cosine falls to 0 at the last step."
    )
    warmup_fraction: Decimal = Field(default="0.05", description="Share of the steps over which the rate rises linearly, 0 to 0.5.")
    weight_decay: Decimal = Field(default="1e-4", description="L2 factor of weights (not biases and normalisation).")
    momentum: Decimal = Field(default="0.9", description="Momentum of sgd, beta1 of adam; rmsprop has none. 0 to below 1.")
    dropout: Decimal = Field(
        default="0",
        description="Share of features dropped in stand-alone trainings, 0 to below 1: hidden units of mlp, the head's inputs else.",
    )
    label_smoothing: Decimal = Field(default="0", description="Share of each label spread evenly over all classes, 0 to below 1.")
    mixup: Decimal = Field(
        default="0",
        description="Alpha of mixup in stand-alone trainings: examples are mixed in a share drawn from Beta(alpha, alpha). 0: none.",
    )
    class_weights: Literal["Uniform", "Balanced"] = Field(
        default="Uniform",
        description="Weight of each class in the training loss. Balanced: in inverse proportion to its number of examples."
        " Metrics are never weighted. Classification only.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~field("learningRate").is_given | (field("learningRate").number > 0), "learningRate must be greater than 0", at=".learningRate"
        ),
        between("warmupFraction", 0, 0.5),
        not_negative("weightDecay"),
        *(
            rule(in_range(name, 0, LARGEST_SHARE), f"{name} must be at least 0 and less than 1, at most {LARGEST_SHARE}", at=f".{name}")
            for name in ("momentum", "dropout", "labelSmoothing")
        ),
        between("mixup", 0, MAX_MIXUP),
    )

    def rate_of(self, optimizer: str) -> str:
        """The peak learning rate where `optimizer` trains and no other rate is searched."""
        return self.learning_rate or DEFAULT_RATES[optimizer]


class Splits(Model):
    """How the training data is divided; the test data is never part of it."""

    reward: Decimal = Field(default="0.1", description="Share of the training data that rewards the controller.")
    selection: Decimal = Field(default="0.1", description="Share of the training data that chooses between candidates.")
    stratify: bool = Field(default=True, description="Keep the class shares equal in every split.")

    rules: ClassVar[tuple[Rule, ...]] = (inside("reward", 0, 0.5), inside("selection", 0, 0.5))


class Task(Model):
    """What is trained: data, family of networks, default recipe."""

    data: Data = Field(description="Where examples come from.")
    model: ModelTemplate = Field(description="The family of networks.")
    recipe: Recipe = Field(default_factory=Recipe, description="The default configuration: a candidate and a control everywhere.")
    splits: Splits = Field(default_factory=Splits, description="How the training data is divided.")

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~field("data.name").is_given
            | field("data.name").differs("csv")
            | ~field("model.template").is_given
            | field("model.template").differs("conv-small"),
            "template conv-small needs images, csv is a table: use mlp",
            at=".model.template",
        ),
    )


class Cost(Model):
    """A price on size, added to the objective."""

    metric: Literal["parameters", "macs", "latencyMilliseconds"] = Field(
        default="parameters",
        description="parameters: number of trainable parameters. macs: multiply-accumulates of one forward of one example."
        " latencyMilliseconds: duration of that forward on the run's device, from a table measured before the first step.",
    )
    target: Decimal = Field(description="The cost aimed at, in units of the metric; greater than 0.")
    weight: Decimal = Field(default="-0.1", description="Strength of the penalty; less than 0, at least -10.")
    form: Literal["Absolute", "Soft", "Hard"] = Field(
        default="Absolute",
        description="Absolute: Q + weight*|T/T0 - 1|. Soft: Q*(T/T0)^weight. Hard: Q*min(1, (T/T0)^weight).",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        more_than("target", 0),
        rule(
            field("metric").equals("latencyMilliseconds") | (field("target").number <= 0) | (field("target").number >= 1),
            "target must be at least 1 when metric is parameters or macs: these are counted",
            at=".target",
        ),
        rule(
            (field("weight").number < 0) & (field("weight").number >= -10),  # noqa: PLR2004 - the bound itself
            "weight must be less than 0 and at least -10",
            at=".weight",
        ),
    )


_SHARES: Final = tuple(name for name, metric in METRICS.items() if metric.is_share)
_MINIMIZED: Final = tuple(name for name, metric in METRICS.items() if metric.direction == "Minimize")
_ERRORS: Final = tuple(name for name, metric in METRICS.items() if not metric.is_share)


_GOAL = field("goal")


def _goal(metrics: tuple[str, ...], bound: Expression, fate: str) -> Rule:
    """A bound of the goal when the metric is one of `metrics`; `fate` follows the goal in the message."""
    return rule(~_GOAL.is_given | ~field("metric").is_in(metrics) | bound, f"goal{fate}", at=".goal", message_of_values=_GOAL + fate)


class Objective(Model):
    """What is better."""

    metric: Literal["accuracy", "f1", "auc", "log_loss", "rmse", "mae"] = Field(
        default="accuracy",
        description="accuracy: share of examples classified correctly. f1: mean of the classes' F1. auc: area under the ROC curve,"
        " with more than two classes the mean of each against the rest. log_loss: cross-entropy in nats."
        " rmse, mae: root mean squared and mean absolute error in the target's unit; they make the task a regression (csv and"
        " entrypoint only).",
    )
    direction: Literal["Maximize", "Minimize"] | None = Field(
        default=None, description="Which way the metric is better, for readers: must be the metric's own. Absent: the metric's own."
    )
    goal: Decimal | None = Field(
        default=None,
        description="Metric on the selection split that is good enough, above 0 and, for accuracy, f1 and auc, at most 1: the first"
        " candidate that is compared and reaches it is finished and returned. Absent: the whole budget is used.",
    )
    cost: Cost | None = Field(default=None, description="A price on size; absent: only the metric counts.")

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~field("direction").is_given
            | choose(field("metric").is_in(_MINIMIZED), field("direction").equals("Minimize"), field("direction").equals("Maximize")),
            "direction must be the metric's own: Maximize for accuracy, f1, auc, Minimize for log_loss, rmse, mae; or leave it out",
            at=".direction",
        ),
        *(_goal((name,), _GOAL.number <= 1, f' is more than 1: {name} is a share, write 95 % as "0.95"') for name in _SHARES),
        _goal(_SHARES, _GOAL.number > 0, " must be greater than 0: every candidate reaches it"),
        _goal(_ERRORS, _GOAL.number > 0, f" must be greater than 0: no candidate reaches it, {', '.join(_ERRORS)} are never less"),
    )
