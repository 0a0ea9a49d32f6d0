"""Panels and dashboards as Grafana's JSON. Pure; knows nothing of what is shown.

Source: Grafana's dashboard JSON model, schema version 39 (Grafana 11 and later).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal["timeseries", "stat", "gauge", "state-timeline", "status-history", "xychart", "heatmap", "table", "barchart"]
_SCHEMA_VERSION: Final = 39
_COLUMNS: Final = 24
_ROW_HEIGHT: Final = 1
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression; `legend` is Grafana's template of a series' name. `instant`: only its newest value is asked for."""

    expr: str
    legend: str = ""
    instant: bool = False
    format: Literal["time_series", "table", "heatmap"] = "time_series"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. `width` in 24ths, `unit` one of Grafana's, `options` and `custom` those of its kind; `repeat` names a variable."""

    title: str
    description: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    minimum: float | None = None
    maximum: float | None = None
    color: str = "palette-classic"
    options: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)
    mappings: tuple[dict[str, Any], ...] = ()
    transformations: tuple[dict[str, Any], ...] = ()
    repeat: str = ""
    max_points: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A headline with panels below it, left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the head of a dashboard: the values of a label. `multi`: several or all at once, joined to a regular expression."""

    name: str
    label: str
    query: str
    multi: bool = False
    hidden: bool = False


def dashboard(*, uid: str, title: str, description: str, variables: Sequence[Variable], rows: Sequence[Row]) -> dict[str, Any]:
    """The whole dashboard: not editable in Grafana, because the next upgrade would undo it."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["autohas"],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": _SCHEMA_VERSION,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), *map(_variable, variables)]},
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "tags": ["autohas"], "title": "AutoHAS", "asDropdown": False, "keepTime": True}],
        "panels": list(_place(rows)),
    }


def _place(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Panels with their places and numbers: a row is filled from the left, then the next line begins."""
    number, y = 1, 0
    for row in rows:
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": _ROW_HEIGHT}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        number, y, x, height = number + 1, y + _ROW_HEIGHT, 0, 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
            number, x, height = number + 1, x + panel.width, max(height, panel.height)
        y += height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    bounds = {"min": panel.minimum, "max": panel.maximum}
    defaults = {
        "unit": panel.unit,
        "color": {"mode": panel.color},
        "mappings": list(panel.mappings),
        "thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}]},
        "custom": {**_CUSTOM.get(panel.kind, {}), **panel.custom},
        **{key: value for key, value in bounds.items() if value is not None},
    }
    repeat = {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": _COLUMNS // panel.width} if panel.repeat else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [_target(query, index) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {**_OPTIONS.get(panel.kind, {}), **panel.options},
        "transformations": list(panel.transformations),
        **repeat,
        **({"maxDataPoints": panel.max_points} if panel.max_points is not None else {}),
    }


def _target(query: Query, index: int) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": not query.instant,
        "instant": query.instant,
        "format": query.format,
    }


def _datasource() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "hide": 0, "current": {}}


def _variable(variable: Variable) -> dict[str, Any]:
    every = {"allValue": ".*", "current": {"text": "All", "value": "$__all"}} if variable.multi else {"current": {}}
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": DATASOURCE,
        "definition": variable.query,
        "query": {"query": variable.query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "hide": 2 if variable.hidden else 0,
        "includeAll": variable.multi,
        "multi": variable.multi,
        **every,
    }


_LEGEND: Final = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
_TOOLTIP: Final = {"mode": "multi", "sort": "desc"}
_CUSTOM: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 5, "showPoints": "auto", "spanNulls": True},
    "state-timeline": {"fillOpacity": 80, "lineWidth": 0},
    "status-history": {"fillOpacity": 90, "lineWidth": 0},
    "xychart": {"show": "points+lines", "pointSize": {"fixed": 4}, "lineWidth": 1},
    "barchart": {"fillOpacity": 80, "lineWidth": 0},
}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": _TOOLTIP},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "graphMode": "none", "colorMode": "value"},
    "gauge": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
    "state-timeline": {"showValue": "never", "mergeValues": True, "legend": {**_LEGEND, "showLegend": False}, "tooltip": _TOOLTIP},
    "status-history": {"showValue": "never", "rowHeight": 0.95, "legend": {**_LEGEND, "showLegend": False}, "tooltip": _TOOLTIP},
    "heatmap": {"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Blues"}, "cellGap": 1},
    "xychart": {"mapping": "auto", "legend": _LEGEND, "tooltip": {"mode": "single"}},
    "barchart": {"orientation": "horizontal", "showValue": "auto", "stacking": "none", "legend": _LEGEND, "tooltip": _TOOLTIP},
    "table": {"showHeader": True, "cellHeight": "sm"},
}
