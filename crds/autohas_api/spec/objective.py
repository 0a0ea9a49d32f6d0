"""`spec.objective`: the metric to optimise, and an optional cost penalty."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from autohas_api.base.expressions import Expression, choose, field
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.objective_metrics import METRICS, TaskKind
from autohas_api.base.rules import exactly_one, more_than, never_together, rule
from autohas_api.spec.entrypoint import Entrypoint


class Cost(Model):
    """Penalty on the cost of a network, which is part of the objective."""

    metric: Literal["parameters", "macs", "latencyMilliseconds"] = Field(
        default="parameters",
        description="Cost of a network T. parameters: number of trainable parameters. macs: multiply-accumulate "
        "operations of the forward pass of one example. latencyMilliseconds: duration of that forward pass on"
        " the training device, from a table that is measured before the first step.",
    )
    target: Decimal = Field(description="Target cost T0 in the unit of metric, a decimal greater than 0.")
    weight: Decimal = Field(default="-0.1", description="Weight of the penalty, a decimal of at least -10 and less than 0.")
    form: Literal["Absolute", "Soft", "Hard"] = Field(
        default="Absolute",
        description="Objective of a network with quality Q and cost T. Absolute: Q + weight*|T/T0 - 1|. Soft: "
        "Q*(T/T0)^weight. Hard: Q*min(1, (T/T0)^weight).",
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
_ERRORS: Final = tuple(name for name, metric in METRICS.items() if metric.direction == "Minimize")
_MAXIMIZED: Final = tuple(name for name in METRICS if name not in _MINIMIZED)


_DEFAULT: Final = "accuracy"
_GOAL = field("goal")


def is_metric_in(metrics: tuple[str, ...], objective: str = "") -> Expression:
    """Whether the metric of the objective at a path is built in and one of `metrics`; accuracy is the one that need not be written."""
    metric, custom = field(f"{objective}metric"), field(f"{objective}customMetric")
    is_named = metric.is_given & metric.is_in(metrics)
    return is_named | (~metric.is_given & ~custom.is_given) if _DEFAULT in metrics else is_named


def _goal(metrics: tuple[str, ...], bound: Expression, fate: str) -> Rule:
    """A bound of the goal when the metric is one of `metrics`; `fate` follows the goal in the message."""
    return rule(~_GOAL.is_given | ~is_metric_in(metrics) | bound, f"goal{fate}", at=".goal", message_of_values=_GOAL + fate)


class CustomMetric(Model):
    """Metric of custom code."""

    entrypoint: Entrypoint | None = Field(
        default=None,
        description="Function as package.module:object. The trainer calls it with outputs and targets as keywords; it returns what each "
        "example contributes to the mean, or one number for all of them.",
    )
    name: Annotated[str, StringConstraints(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)] | None = Field(
        default=None, description="Instead of entrypoint: the metric of this name that evaluate of task.training returns."
    )
    direction: Literal["Maximize", "Minimize"] = Field(description="Whether larger or smaller values are better.")
    targets: Literal["Classes", "Numbers"] = Field(
        default="Classes", description="What the targets are, which decides on the loss of trainings: cross-entropy, or squared error."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("entrypoint", "name"),
        *(
            rule(
                ~field(name).is_given | ~field(name).matches(f"{start}({'|'.join(METRICS)})$"),
                f"must not have the name of a built-in metric ({', '.join(METRICS)}): choose another name, or give metric",
                at=f".{name}",
            )
            for name, start in (("entrypoint", ":"), ("name", "^"))
        ),
    )


class Objective(Model):
    """Metric to optimise, and an optional cost penalty."""

    metric: Literal[tuple(METRICS)] | None = Field(  # type: ignore[valid-type]  # the table's names
        default=None,
        description="Metric. If neither it nor customMetric is set, accuracy. accuracy: fraction of correctly classified examples. f1: "
        "mean F1 of the classes. auc: area "
        "under the ROC curve, with more than two classes the mean of one-versus-rest. top5: fraction of examples "
        "whose class is among the five largest outputs. log_loss: cross-entropy in nats. perplexity: its "
        "exponential. bpb: bits per byte of text. rmse, mae: root mean squared and mean absolute error in the unit "
        "of the target. r2: explained fraction of the variance. rmse, mae and r2 make the task a regression, which "
        "csv, parquet and entrypoint support.",
    )
    custom_metric: CustomMetric | None = Field(default=None, description="Metric of custom code, instead of metric.")
    direction: Literal["Maximize", "Minimize"] | None = Field(
        default=None,
        description="Direction of the metric, for readers of the file; must be the metric's own. If not set, the metric's own.",
    )
    goal: Decimal | None = Field(
        default=None,
        description="Value of the metric on the selection split at which the search stops comparing: the first candidate "
        "that reaches it is trained to the end and returned. A decimal greater than 0, for accuracy, f1, auc, "
        "top5 and r2 at most 1. If not set, the search uses its whole budget.",
    )
    cost: Cost | None = Field(default=None, description="Penalty on the cost of a network. If not set, only the metric counts.")

    @model_validator(mode="after")
    def _name_metric(self) -> Self:
        """Write the metric that is not written."""
        if self.metric is None and self.custom_metric is None:
            object.__setattr__(self, "metric", _DEFAULT)
        return self

    @property
    def metric_name(self) -> str:
        """The metric's name: that of a built-in one, of the custom function, or of what own training returns."""
        if self.custom_metric is None:
            return str(self.metric)
        return self.custom_metric.name or str(self.custom_metric.entrypoint).partition(":")[2]

    @property
    def kind(self) -> TaskKind:
        """What the targets are."""
        if self.custom_metric is None:
            return METRICS[str(self.metric)].kind
        return TaskKind.REGRESSION if self.custom_metric.targets == "Numbers" else TaskKind.CLASSIFICATION

    @property
    def better(self) -> Literal["Maximize", "Minimize"]:
        """The direction in which the metric gets better."""
        return METRICS[str(self.metric)].direction if self.custom_metric is None else self.custom_metric.direction

    rules: ClassVar[tuple[Rule, ...]] = (
        never_together("metric", "customMetric"),
        never_together("direction", "customMetric"),
        rule(
            ~field("customMetric").is_given | ~field("cost").is_given | field("cost.form").equals("Absolute"),
            "form must be Absolute with customMetric: the others multiply the metric, whose sign and scale are unknown",
            at=".cost.form",
        ),
        rule(
            ~field("direction").is_given
            | choose(is_metric_in(_MINIMIZED), field("direction").equals("Minimize"), field("direction").equals("Maximize")),
            f"direction must be the metric's own: Maximize for {', '.join(_MAXIMIZED)}, Minimize for {', '.join(_MINIMIZED)}; or"
            " leave it out",
            at=".direction",
        ),
        *(_goal((name,), _GOAL.number <= 1, f' is more than 1: {name} is a share, write 95 % as "0.95"') for name in _SHARES),
        _goal(("r2",), _GOAL.number <= 1, " is more than 1: r2 is the explained share of the variance"),
        _goal((*_SHARES, "r2"), _GOAL.number > 0, " must be greater than 0: every candidate reaches it"),
        _goal(_ERRORS, _GOAL.number > 0, f" must be greater than 0: no candidate reaches it, {', '.join(_ERRORS)} are never less"),
    )
