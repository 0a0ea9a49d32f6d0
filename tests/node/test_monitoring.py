"""Everything that the dashboards and alerts ask, asked of a real Prometheus that scrapes a real search."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from crd_fixtures import wait_until_served
from line import GIVEN, NAMESPACE, OPERATOR_NAMESPACE, Line, durable
from queries import has_data, panel_queries, parts, selectors, variable_queries
from scraping import configuration
from testcluster import binaries, chart, levels
from testcluster.cluster import Cluster
from testcluster.prometheus import Prometheus
from testcluster.waiting import until

pytestmark = pytest.mark.node
SEARCH = "watched"
COMPARISON = "compared"
"""A comparison of strategy OneFactor on one seed."""
MONITORS = {
    "serviceMonitor": {"enabled": True, "interval": "1s"},
    "podMonitor": {"enabled": True, "interval": "1s"},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
}
VARIABLES = {
    "namespace": NAMESPACE,
    "name": SEARCH,
    "decision": "stage1_width",
    "job": "autohas-operator",
    "__rate_interval": "15s",
    "__range": "30m",
}
WITHOUT_DATA = {
    f'autohas_trainer_gpu_memory_bytes{{namespace="{NAMESPACE}",name="{SEARCH}"}}': "the node has no GPU",
    f'max (autohas_trainer_mfu_ratio{{namespace="{NAMESPACE}",name="{SEARCH}"}})': "the peak of its CPU is not known",
}
"""The queries of both dashboards that this cluster cannot answer, and why."""
OF_THE_COMPARISON = (
    *(
        f'max by (change) (label_join(last_over_time(autohas_trainer_{name}{{namespace="{NAMESPACE}",name="{SEARCH}"}}[30m]), '
        f'"change", ": ", "decision", "choice"))'
        for name in ("effect_ratio", "effect_standard_error_ratio")
    ),
    *(f'max (autohas_trainer_{name}{{namespace="{NAMESPACE}",name="{SEARCH}"}})' for name in ("run", "runs")),
)
"""The queries that the comparison answers: the strategy of the search, Lanes, measures no single changes, and it has one run."""
FAULTS = (
    'rate(autohas_reconcile_errors_total{reason="ApiError"}[15s]) > 0',
    'rate(autohas_api_request_duration_seconds_count{resource="jobs",code="500"}[15s]) > 0',
)
"""What is to be seen of a webhook that fails: passes that end with an error, and requests that are refused."""
KEEP = "AUTOHAS_DASHBOARD_DATA"
"""Names a folder: what every panel was answered is kept there, for `python -m benchmarks.dashboards`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A Prometheus that saw a search from beginning to end, a failure, a kill and faults; times are seconds since the epoch."""

    line: Line
    server: Prometheus
    start_s: float
    end_s: float

    def asked(self, expr: str) -> list[dict[str, Any]]:
        """The series of a query over the whole time, of the comparison where only that has them."""
        name = COMPARISON if expr in OF_THE_COMPARISON else SEARCH
        expr = expr.replace(f'name="{SEARCH}"', f'name="{name}"')
        return self.server.query_range(expr, start_s=self.start_s, end_s=self.end_s, step_s=1)

    def growth(self, one: dict[str, Any]) -> float:
        """By how much a counter grew; one that was not there at the beginning began at 0."""
        was_there = one["values"][0][0] - self.start_s < 1
        return float(one["values"][-1][1]) - (float(one["values"][0][1]) if was_there else 0.0)

    @property
    def dashboards(self) -> dict[str, dict[str, Any]]:
        """As Grafana's sidecar finds them: in ConfigMaps with its label."""
        found = self.line.cluster.kubectl.json("get", "-n", OPERATOR_NAMESPACE, "configmaps", "-l", "grafana_dashboard=1")["items"]
        return {name: json.loads(text) for item in found for name, text in item["data"].items()}

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The rules, as prometheus-operator finds them."""
        rule = self.line.cluster.kubectl.json("get", "-n", OPERATOR_NAMESPACE, "prometheusrule", "autohas-operator")
        return [found for group in rule["spec"]["groups"] for found in group["rules"]]


@pytest.fixture(scope="module", name="line")
def _line(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    if node_cluster.node is None:
        levels.leave_out(GIVEN)
    for name in ("servicemonitors", "podmonitors", "prometheusrules"):
        file = binaries.prometheus_operator_crds() / f"monitoring.coreos.com_{name}.yaml"
        node_cluster.kubectl("apply", "--server-side", "-f", file)
        wait_until_served(node_cluster.kubectl, f"{name}.monitoring.coreos.com")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    node_cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    chart.install(node_cluster, f"--set-json=metrics={json.dumps(MONITORS)}", "--set=operator.pollPeriodSeconds=1", restart=False)
    claim = tmp_path_factory.mktemp("watched")
    node_cluster.local_volume("watched", claim, namespace=NAMESPACE)
    line = Line(cluster=node_cluster, claim=claim)
    yield line
    line.clear()
    chart.install(node_cluster, "--reset-values", restart=False)


@contextmanager
def failing_webhook(cluster: Cluster) -> Iterator[None]:
    """Meanwhile the API server answers the creation of Jobs with 500: it must call a webhook that no server answers."""
    webhook = {
        "name": "absent.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"], "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    cluster.kubectl.apply({**kind, "metadata": {"name": "absent"}, "webhooks": [webhook]})
    try:
        yield
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", "absent")


@pytest.fixture(scope="module", name="watched")
def _watched(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A Prometheus that scrapes three searches: one falls silent, is killed and succeeds, one whose Job is refused fails, one compares."""
    kubectl = line.cluster.kubectl
    pods = kubectl.json("get", "-n", OPERATOR_NAMESPACE, "podmonitor", "autohas-trainer")
    services = kubectl.json("get", "-n", OPERATOR_NAMESPACE, "servicemonitor", "autohas-operator")
    rules = kubectl.json("get", "-n", OPERATOR_NAMESPACE, "prometheusrule", "autohas-operator")["spec"]
    scraped = configuration(pods, services, line.cluster.kubeconfig)
    server = Prometheus.start(tmp_path_factory.mktemp("prometheus"), scraped, rules)
    try:
        until(lambda: server.query("autohas_operator_build_info"), what="the operator is scraped", deadline_s=60)
        start_s = time.time()
        line.apply(durable(SEARCH, {"spec.budget.maxActiveSeconds": 86400}, claim="watched", steps=300))
        line.works(SEARCH)
        until(lambda: server.query("autohas_trainer_steps_total"), what="the first pod is scraped", deadline_s=60)
        with line.holding_trainer(SEARCH):
            until(lambda: server.query("autohas_progress_poll_failures_total"), what="a read of progress has failed", deadline_s=60)
        line.kill_trainer_in(SEARCH, Stage.RACE)
        with failing_webhook(line.cluster):
            line.apply(with_change(durable("unlucky", claim="watched"), "spec.task.data", {"name": "idx", "path": "/nowhere"}))
            until(lambda: all(server.query(fault) for fault in FAULTS), what="the refusals are counted", deadline_s=60)
        line.wait(SEARCH, "Finished", 500)
        line.wait("unlucky", "Finished")
        line.apply(
            durable(COMPARISON, {"spec.algorithm": {"autoHAS": {"strategy": "OneFactor"}, "compare": {"seeds": 1}}}, claim="watched")
        )
        line.wait(COMPARISON, "Finished", 600)
        ends = f'count_over_time(autohas_search_phase{{name="{COMPARISON}",phase="Succeeded"}}[1m]) > 5'
        until(lambda: server.query(ends), what="the end has been scraped some times", deadline_s=60)
        assert server.query('autohas_search_phase{name="unlucky",phase="Failed"}')
        yield Watched(line=line, server=server, start_s=start_s, end_s=time.time())
    finally:
        server.stop()


def test_every_panel_of_both_dashboards_has_data(watched: Watched) -> None:
    """Each query is executed over the life of the search; one without a single number of its own fails, by name.

    A zero that a panel shows in place of nothing is no number of its own; both sides of an `or` are asked.
    """
    answers = {query: watched.asked(query.expr) for board in watched.dashboards.values() for query in panel_queries(board, VARIABLES)}
    if folder := os.environ.get(KEEP):
        kept = [
            {"dashboard": q.dashboard, "panel": q.panel, "kind": q.kind, "unit": q.unit, "legend": q.legend, "series": series}
            for q, series in answers.items()
        ]
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "panels.json").write_text(json.dumps({"start": watched.start_s, "end": watched.end_s, "panels": kept}))
    assert set(watched.dashboards) == {"autohas-search.json", "autohas-fleet.json"}
    assert [str(query) for query, series in answers.items() if not has_data(series) and query.expr not in WITHOUT_DATA] == []
    asked = {part: str(query) for query in answers for part in parts(query.expr)}
    empty = {part: query for part, query in asked.items() if not has_data(watched.asked(part))}
    assert sorted(empty) == sorted(WITHOUT_DATA), list(empty.values())


def test_every_variable_of_both_dashboards_has_values(watched: Watched) -> None:
    """Grafana finds something to choose from."""
    empty = [
        f"{board['title']} / {name}: {expr}"
        for board in watched.dashboards.values()
        for name, expr in variable_queries(board, VARIABLES)
        if not has_data(watched.asked(expr))
    ]
    assert empty == []


def test_every_alert_asks_for_metrics_that_are_there(watched: Watched) -> None:
    """Each expression is executed; each metric in it has series, and these have the labels that it asks for."""
    unknown = []
    for alert in watched.alerts:
        watched.asked(alert["expr"])
        for metric, labels in selectors(watched.server, alert["expr"]):
            found = [one["metric"] for one in watched.asked(metric)]
            is_there = any(set(labels) <= set(one) for one in found)
            unknown += [] if is_there else [f"{alert['alert']}: {metric} {labels}"]
    assert unknown == []
    assert len(watched.alerts) >= 10


def test_a_search_that_ends_well_raises_no_alert(watched: Watched) -> None:
    """No alert fires for a short search with one kill in it; the one that fires is about the search that failed."""
    fired = {(one["metric"]["alertname"], one["metric"]["namespace"]) for one in watched.asked('ALERTS{alertstate="firing"}')}
    assert fired == {("AutoHASSearchFailed", NAMESPACE)}


def test_series_carry_the_search_not_what_scraped_it(watched: Watched) -> None:
    """With honorLabels, Prometheus keeps namespace and name; a trainer's series are those of its search over both pods."""
    phases = watched.asked(f'autohas_search_phase{{namespace="{NAMESPACE}",name="{SEARCH}"}}')
    steps = watched.asked(f'autohas_trainer_steps_total{{namespace="{NAMESPACE}",name="{SEARCH}"}}')

    assert {"Starting", "Running", "Succeeded"} <= {one["metric"]["phase"] for one in phases}
    assert len({one["metric"]["pod"] for one in steps}) == 2
    assert {one["metric"]["attempt"] for one in steps} == {"1"}
    assert watched.asked('{exported_namespace!=""}') == []


def test_speed_and_waiting_are_measured_in_a_real_search(watched: Watched) -> None:
    """From the `/metrics` of its trainer: examples per second, and the share of time that it waits for data; peaks of memory by stage."""
    own = f'{{namespace="{NAMESPACE}",name="{SEARCH}"}}'

    def values(metric: str) -> list[float]:
        return [float(value) for one in watched.asked(metric + own) for _, value in one["values"]]

    speeds, shares, peaks = (values(f"autohas_trainer_{name}") for name in ("examples_per_second", "data_wait_ratio", "peak_memory_bytes"))

    assert max(speeds) > 10
    assert shares
    assert all(0 <= share <= 1 for share in shares)
    assert min(peaks) > 2**20


def test_outcomes_and_restarts_are_what_happened(watched: Watched) -> None:
    """Two searches succeeded, one failed; one trainer was killed and started again."""
    names = ("autohas_searches_finished_total", "autohas_search_restarts_total", "autohas_trainer_exits_total")
    grown = {
        (one["metric"]["__name__"], one["metric"].get("result", one["metric"].get("reason", ""))): watched.growth(one)
        for name in names
        for one in watched.asked(f'{name}{{namespace="{NAMESPACE}"}}')
    }
    assert {key: number for key, number in grown.items() if number} == {
        ("autohas_searches_finished_total", "Succeeded"): 2,
        ("autohas_searches_finished_total", "Failed"): 1,
        ("autohas_search_restarts_total", ""): 1,
        ("autohas_trainer_exits_total", "Killed"): 1,
        ("autohas_trainer_exits_total", "Data"): 1,
        ("autohas_trainer_exits_total", "Result"): 2,
    }


def test_the_rules_in_the_cluster_are_the_generated_ones(watched: Watched) -> None:
    """Nothing was lost between the generator, Helm and the API server; Helm adds which operator is ours."""
    generated = yaml.safe_load((chart.CHART / "files" / "alerts.yaml").read_text())["groups"][0]["rules"]
    (down,) = (rule for rule in generated if rule["alert"] == "AutoHASOperatorDown")
    down["expr"] = f'absent(autohas_operator_build_info{{job="autohas-operator",namespace="{OPERATOR_NAMESPACE}"}})'
    assert watched.alerts == generated
