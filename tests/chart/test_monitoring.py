"""Dashboards and alerts as they are generated: well-formed, asking only for what is exported, firing when they should."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from autohas_api.generate.monitoring import alerts, fleet, one_search
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import Effect
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.metrics import Metrics
from autohas_operator.process.search_metrics import SearchMetrics
from autohas_trainer.events import CheckpointWritten, EffectMeasured, SearchStarted, StepUse
from autohas_trainer.reporting.http.metrics import build_registry
from autohas_trainer.reporting.sinks.live_state import ComparedRun, LiveState
from queries import filled, parts
from reporting_fixtures import FakeClock, candidate, checkpoint_info, policy, run_info, supernet_step
from testcluster import binaries, levels

DASHBOARDS = [one_search.build(), fleet.build()]
_METRIC = re.compile(r"\b(?:autohas|process)_[a-z_]+\b(?=[{\[) ]|$)")
_SUFFIXES = ("_bucket", "_count", "_sum", "_total")


def expressions() -> list[str]:
    """Every expression of both dashboards and of the alerts."""
    panels = [panel for board in DASHBOARDS for panel in board["panels"]]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [*asked, *(alert.expr for alert in alerts.ALERTS)]


def operator_registry() -> CollectorRegistry:
    metrics = Metrics()
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0, lambda: 0.5)
    metrics.watch_queue(queue)
    metrics.add(SearchMetrics(Cache(), lambda: 0.0, per_search=True))
    return metrics.registry


def trainer_registry(folder: Path) -> CollectorRegistry:
    clock = FakeClock()
    state = LiveState(clock)
    info = run_info(folder, with_change(a_search(), "spec.budget.maxActiveSeconds", 86400))
    assert info.environment is not None
    state.enter_run(ComparedRun(number=2, num_runs=3, num_finished=1, steps_before=100, seconds_before=9.0, starts=1))
    state.emit(SearchStarted(info=replace(info, environment=replace(info.environment, gpu="NVIDIA L4"))))
    for step in range(1, 20):
        state.emit(replace(supernet_step(step), use=StepUse(num_examples=64, flops=1e9, waited_s=0.01)))
        clock.now += 0.1
    state.emit(policy(19))
    state.emit(candidate("lane 1", 1 / 9, 0.6))
    state.emit(EffectMeasured(effect=Effect(decision="depth", value="4", effect=0.05, standard_error=0.01)))
    state.emit(CheckpointWritten(info=checkpoint_info(2), seconds=0.2, size_bytes=1234))
    return build_registry(state.snapshot, lambda: 530.0, clock, lambda: {"peak": 1})


def list_exported(folder: Path) -> set[str]:
    """Names of both sides."""
    return {metric.name for registry in (operator_registry(), trainer_registry(folder)) for metric in registry.collect()}


def test_every_metric_asked_for_is_exported(tmp_path: Path) -> None:
    """By the operator or by the trainer; suffixes of counters and histograms taken off."""
    exported = list_exported(tmp_path)
    asked = {name for expr in expressions() for name in _METRIC.findall(expr)}
    unknown = {name for name in asked if name not in exported and not any(name.removesuffix(suffix) in exported for suffix in _SUFFIXES)}

    assert len(asked) > 40
    assert unknown == set()


def test_every_metric_of_ours_is_shown_or_alerts(tmp_path: Path) -> None:
    """Every exported metric is used by a dashboard or an alert."""
    text = " ".join(expressions())
    assert {name for name in list_exported(tmp_path) if name.startswith("autohas_") and name not in text} == set()


@pytest.mark.parametrize(
    ("expr", "asked"),
    [
        ("sum(a) or vector(0)", ("sum(a)",)),
        ("(sum(rate(a[5m])) or vector(0)) / sum(b)", ("(sum(rate(a[5m]))) / sum(b)",)),
        ("a or b", ("a", "b")),
        ("sum(a)", ("sum(a)",)),
    ],
)
def test_a_zero_in_place_of_nothing_is_no_data(expr: str, asked: tuple[str, ...]) -> None:
    """What the node test asks of a query: the constant is taken off, both sides of an `or` are queries of their own."""
    assert parts(expr) == asked


def test_no_query_is_cut_inside_brackets() -> None:
    """Each part of each dashboard's query closes what it opens, so that Prometheus can answer it."""
    pieces = [part for board in DASHBOARDS for panel in board["panels"] for q in panel.get("targets", []) for part in parts(q["expr"])]

    assert len(pieces) > 40
    assert [piece for piece in pieces if any(piece.count(a) != piece.count(b) for a, b in ("()", "{}", "[]"))] == []


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board["uid"])
def test_panels_are_whole_and_do_not_overlap(board: dict[str, Any]) -> None:
    """Each has title, description, unit and a query with the chosen data source; no two share a cell; numbers are unique."""
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own
        if panel["type"] == "row":
            continue
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert board["editable"] is False


@pytest.fixture(scope="module", name="prometheus")
def _prometheus() -> Path:
    if reason := levels.why_no_control_plane():
        levels.leave_out(reason)
    return binaries.prometheus()


def promtool(folder: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run([folder / "promtool", *arguments], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.control_plane
def test_alerts_fire_when_they_should_and_only_then(prometheus: Path, tmp_path: Path) -> None:
    """Promtool's own unit tests: for each alert one history that raises it, and one healthy search that raises none."""
    (tmp_path / "alerts.json").write_text(json.dumps(alerts.build()))
    cases = [*(_case(*case) for case in FIRING), _healthy()]
    (tmp_path / "tests.json").write_text(json.dumps({"rule_files": ["alerts.json"], "evaluation_interval": "1m", "tests": cases}))

    assert {name for name, *_ in FIRING} == {alert.name for alert in alerts.ALERTS}
    assert "SUCCESS" in promtool(prometheus, "check", "rules", "--lint=all", "--lint-fatal", "alerts.json", cwd=tmp_path)
    assert "SUCCESS" in promtool(prometheus, "test", "rules", "tests.json", cwd=tmp_path)


@pytest.mark.control_plane
def test_single_changes_outlast_their_trainer_and_are_one_bar_each(prometheus: Path, tmp_path: Path) -> None:
    """Prometheus itself answers the panel's queries: half an hour after the end, over both pods of a search that was killed once."""
    (panel,) = (panel for panel in one_search.build()["panels"] if panel["title"] == "Single changes")
    variables = {"namespace": "ml", "name": "fashion", "__range": "2h"}
    shown = {"depth: 4": (0.05, 0.01), "learning_rate: 0.3": (-0.2, 0.02)}
    series = [
        {"series": f'{metric}{{{_ONE},pod="{pod}",decision="{decision}",choice="{choice}"}}', "values": f"_x{begin} {value}x10"}
        for metric, place in (("autohas_trainer_effect_ratio", 0), ("autohas_trainer_effect_standard_error_ratio", 1))
        for pod, begin in (("a", 0), ("b", 20))
        for decision, choice in (change.split(": ") for change in shown)
        for value in (shown[f"{decision}: {choice}"][place],)
    ]
    questions = [
        {
            "expr": filled(target["expr"], variables),
            "eval_time": "60m",
            "exp_samples": [{"labels": f'{{change="{change}"}}', "value": values[place]} for change, values in shown.items()],
        }
        for place, target in enumerate(panel["targets"])
    ]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": questions}
    (tmp_path / "tests.json").write_text(json.dumps({"evaluation_interval": "1m", "tests": [case]}))

    assert "SUCCESS" in promtool(prometheus, "test", "rules", "tests.json", cwd=tmp_path)


_ONE = 'namespace="ml",name="fashion"'
_BUILD = ("autohas_operator_build_info", "1x300")
FIRING: tuple[tuple[str, str, dict[str, str], list[tuple[str, str]]], ...] = (
    (
        "AutoHASSearchStalled",
        "30m",
        {},
        [(f'autohas_trainer_steps_total{{{_ONE},stage="Race"}}', "5x60"), (f"autohas_trainer_progress_ratio{{{_ONE}}}", "0.5x60")],
    ),
    (
        "AutoHASCheckpointStale",
        "15m",
        {},
        [(f'autohas_search_condition{{{_ONE},type="CheckpointReady",status="False",reason="Stale"}}', "1x60")],
    ),
    ("AutoHASRestartLoop", "30m", {}, [(f"autohas_trainer_starts_total{{{_ONE}}}", "1x10 2x5 3x5 4x40")]),
    (
        "AutoHASRestartLoop",  # on the pods' own disks each trainer takes itself for the first
        "30m",
        {},
        [(f'autohas_trainer_starts_total{{{_ONE},pod="{pod}"}}', f"_x{5 * number} 1x5") for number, pod in enumerate("abcd")],
    ),
    (
        "AutoHASPendingTooLong",
        "90m",
        {},
        [
            (f'autohas_search_phase{{{_ONE},phase="Starting"}}', "1x40"),
            (f'autohas_search_phase{{{_ONE},phase="Interrupted"}}', "_x40 1x80"),
        ],
    ),
    (
        "AutoHASQueuedTooLong",
        "1445m",
        {},
        [(f'autohas_search_phase{{{_ONE},phase="Queued"}}', "1x1500")],
    ),
    (
        "AutoHASSearchFailed",
        "20m",
        {"namespace": "ml"},
        [('autohas_searches_finished_total{namespace="ml",result="Failed"}', "0x10 1x60")],
    ),
    (
        "AutoHASSearchFailed",  # the first thing that a new operator saw: the series begins at 1
        "20m",
        {"namespace": "ml"},
        [('autohas_searches_finished_total{namespace="ml",result="Failed"}', "_x10 1x60")],
    ),
    ("AutoHASSearchRejected", "16m", {}, [(f'autohas_search_phase{{{_ONE},phase="Rejected"}}', "1x60")]),
    (
        "AutoHASPolicyCollapsedEarly",
        "10m",
        {},
        [(f"autohas_policy_normalized_entropy_ratio{{{_ONE}}}", "0.01x60"), (f"autohas_trainer_progress_ratio{{{_ONE}}}", "0.3x60")],
    ),
    (
        "AutoHASNonFiniteLosses",
        "30m",
        {},
        [(f"autohas_trainer_non_finite_losses_total{{{_ONE}}}", "0+2x60"), (f"autohas_trainer_steps_total{{{_ONE}}}", "0+10x60")],
    ),
    (
        "AutoHASDeadlineAtRisk",
        "30m",
        {},
        [
            (f"autohas_trainer_active_seconds_total{{{_ONE}}}", "600x60"),
            (f"autohas_trainer_remaining_seconds{{{_ONE}}}", "600x60"),
            (f"autohas_trainer_active_limit_seconds{{{_ONE}}}", "1000x60"),
        ],
    ),
    ("AutoHASTrainerTargetDown", "15m", {}, [(f'autohas_search_phase{{{_ONE},phase="Running"}}', "1x60")]),
    ("AutoHASOperatorDown", "6m", {}, []),
    (
        "AutoHASReconcileErrors",
        "40m",
        {"reason": "ForbiddenError", "job": "autohas-operator"},
        [
            ('autohas_reconcile_errors_total{job="autohas-operator",reason="ForbiddenError"}', "0+3x60"),
            ('autohas_reconcile_errors_total{job="autohas-operator",reason="ConflictError"}', "0+9x60"),
            ('autohas_reconcile_duration_seconds_count{job="autohas-operator",result="ok"}', "0+10x60"),
            ('autohas_reconcile_duration_seconds_count{job="another",result="ok"}', "0+90x60"),  # a calm release next to it
        ],
    ),
    ("AutoHASSearchNotReconciled", "40m", {}, [("autohas_workqueue_oldest_failing_seconds", "0x5 0+60x60")]),
    ("AutoHASSeriesTruncated", "10m", {}, [(f"autohas_policy_series_truncated{{{_ONE}}}", "1x60")]),
)
"""Alert, when to look, labels apart from namespace and name, and the history as promtool writes it."""
_FLEET = ("AutoHASOperatorDown", "AutoHASReconcileErrors", "AutoHASSearchFailed", "AutoHASSearchNotReconciled")


def _case(name: str, at: str, labels: dict[str, str], history: list[tuple[str, str]]) -> dict[str, Any]:
    alert = next(alert for alert in alerts.ALERTS if alert.name == name)
    of = {} if name in _FLEET else {"namespace": "ml", "name": "fashion"}
    everything = {**of, **labels}
    values = {"{{ $labels.%s }}" % key: value for key, value in everything.items()} | {"{{ $value }}": "3"}  # noqa: UP031 - braces
    values |= {"{{ $value | humanizeDuration }}": "34m 0s"}
    texts = {"summary": alert.summary, "description": alert.description}
    for before, after in values.items():
        texts = {key: text.replace(before, after) for key, text in texts.items()}
    expected = {"exp_labels": {**everything, "severity": alert.severity}, "exp_annotations": texts}
    series = [*history, *([] if name == "AutoHASOperatorDown" else [_BUILD])]
    return {
        "name": f"{name} fires",
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series],
        "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": [expected]}],
    }


def _healthy() -> dict[str, Any]:
    series = [
        _BUILD,
        (f"autohas_trainer_steps_total{{{_ONE}}}", "0+60x200"),
        (f"autohas_trainer_non_finite_losses_total{{{_ONE}}}", "0+1x200"),
        (f"autohas_trainer_progress_ratio{{{_ONE}}}", "0+0.005x200"),
        (f"autohas_trainer_starts_total{{{_ONE}}}", "1x100 2x100"),
        (f"autohas_trainer_active_seconds_total{{{_ONE}}}", "0+60x200"),
        (f"autohas_trainer_remaining_seconds{{{_ONE}}}", "12000-60x200"),
        (f"autohas_trainer_active_limit_seconds{{{_ONE}}}", "12000x200"),
        (f"autohas_policy_normalized_entropy_ratio{{{_ONE}}}", "1-0.004x200"),
        (f"autohas_policy_series_truncated{{{_ONE}}}", "0x200"),
        (f'autohas_search_phase{{{_ONE},phase="Starting"}}', "1x30"),
        (f'autohas_search_phase{{{_ONE},phase="Running"}}', "_x30 1x170"),
        ('autohas_search_phase{namespace="ml",name="patient",phase="Queued"}', "1x200"),  # a queue may take hours
        ('autohas_search_phase{namespace="ml",name="edited",phase="Rejected"}', "1x10"),
        ('autohas_searches_finished_total{namespace="ml",result="Failed"}', "4x30 4x170"),  # of yesterday
        ('autohas_searches_finished_total{namespace="ml",result="Succeeded"}', "0+1x200"),
        (f'autohas_search_condition{{{_ONE},type="CheckpointReady",status="True",reason="Fresh"}}', "1x200"),
        ('autohas_reconcile_errors_total{reason="ConflictError"}', "0+9x200"),
        ('autohas_reconcile_duration_seconds_count{result="ok"}', "0+10x200"),
        ("autohas_workqueue_oldest_failing_seconds", "0+60x30 0x170"),
    ]
    return {
        "name": "a healthy search",
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series],
        "alert_rule_test": [
            {"eval_time": at, "alertname": alert.name, "exp_alerts": []} for alert in alerts.ALERTS for at in ("60m", "180m")
        ],
    }


@pytest.mark.control_plane
@pytest.mark.parametrize("side", ["operator", "trainer"])
def test_pages_pass_prometheus_own_lint(prometheus: Path, tmp_path: Path, side: str) -> None:
    """`promtool check metrics`: names, units, suffixes, types and help texts follow the conventions."""
    registry = operator_registry() if side == "operator" else trainer_registry(tmp_path)
    done = subprocess.run([prometheus / "promtool", "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
