"""`spec.objective`: the metric to optimise, and an optional cost penalty."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from autohas_api.base.expressions import Expression, choose, field
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.objective_metrics import METRICS
from autohas_api.base.rules import more_than, rule


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


_GOAL = field("goal")


def _goal(metrics: tuple[str, ...], bound: Expression, fate: str) -> Rule:
    """A bound of the goal when the metric is one of `metrics`; `fate` follows the goal in the message."""
    return rule(~_GOAL.is_given | ~field("metric").is_in(metrics) | bound, f"goal{fate}", at=".goal", message_of_values=_GOAL + fate)


class Objective(Model):
    """Metric to optimise, and an optional cost penalty."""

    metric: Literal[tuple(METRICS)] = Field(  # type: ignore[valid-type]  # the table's names
        default="accuracy",
        description="Metric. accuracy: fraction of correctly classified examples. f1: mean F1 of the classes. auc: area "
        "under the ROC curve, with more than two classes the mean of one-versus-rest. top5: fraction of examples "
        "whose class is among the five largest outputs. log_loss: cross-entropy in nats. perplexity: its "
        "exponential. bpb: bits per byte of text. rmse, mae: root mean squared and mean absolute error in the unit "
        "of the target. r2: explained fraction of the variance. rmse, mae and r2 make the task a regression, which "
        "csv, parquet and entrypoint support.",
    )
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

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~field("direction").is_given
            | choose(field("metric").is_in(_MINIMIZED), field("direction").equals("Minimize"), field("direction").equals("Maximize")),
            f"direction must be the metric's own: Maximize for {', '.join(_MAXIMIZED)}, Minimize for {', '.join(_MINIMIZED)}; or"
            " leave it out",
            at=".direction",
        ),
        *(_goal((name,), _GOAL.number <= 1, f' is more than 1: {name} is a share, write 95 % as "0.95"') for name in _SHARES),
        _goal(("r2",), _GOAL.number <= 1, " is more than 1: r2 is the explained share of the variance"),
        _goal((*_SHARES, "r2"), _GOAL.number > 0, " must be greater than 0: every candidate reaches it"),
        _goal(_ERRORS, _GOAL.number > 0, f" must be greater than 0: no candidate reaches it, {', '.join(_ERRORS)} are never less"),
    )
