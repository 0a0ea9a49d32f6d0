"""The queries of the dashboards and of the alerts, as Grafana and Prometheus would send them, and what came back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testcluster.prometheus import Prometheus

_ZERO = " or vector(0)"
"""What a panel says for a person's sake when there is nothing to count. It always has data, so it proves nothing."""
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), *(?P<label>\w+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelQuery:
    """One target of one panel, its variables filled in."""

    dashboard: str
    panel: str
    kind: str
    unit: str
    legend: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel}: {self.expr}"


def panel_queries(dashboard: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[PanelQuery]:
    """Every query of a dashboard."""
    for panel in dashboard["panels"]:
        assert panel["type"] == "row" or panel["targets"], f"{panel['title']} asks nothing"
        for target in panel.get("targets", []):
            yield PanelQuery(
                dashboard=dashboard["title"],
                panel=panel["title"],
                kind=panel["type"],
                unit=panel["fieldConfig"]["defaults"]["unit"],
                legend=target["legendFormat"],
                expr=filled(target["expr"], variables),
            )


def variable_queries(dashboard: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each variable of a dashboard with a query that answers when Grafana finds values for it."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        match = _LABEL_VALUES.fullmatch(variable["definition"])
        assert match, variable["definition"]
        yield variable["name"], f"count by ({match['label']}) ({filled(match['selector'], variables)})"


def filled(expr: str, variables: Mapping[str, str]) -> str:
    """The expression with every variable replaced; one that is left is an error."""
    for name in sorted(variables, key=len, reverse=True):
        expr = expr.replace(f"${name}", variables[name])
    assert "$" not in expr, f"unknown variable in {expr}"
    return expr


def parts(expr: str) -> tuple[str, ...]:
    """What of a query must have data of its own: each side of an `or`, without constants that stand in for nothing."""
    return tuple(expr.replace(_ZERO, "").split(" or "))


def has_data(series: list[dict[str, Any]]) -> bool:
    """Whether any value is a number."""
    return any(math.isfinite(float(value)) for one in series for _, value in one["values"])


def selectors(server: Prometheus, expr: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every metric of an expression with the labels that it asks for."""
    pending = [server.parse(expr)]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            if node.get("type") in ("vectorSelector", "matrixSelector"):
                yield node["name"], tuple(m["name"] for m in node["matchers"] if m["name"] != "__name__")
            pending += node.values()
