"""What the operator exports about searches: gauges from the cache, counters from status changes, and when series go."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autohas_api.wire.status import Condition, Status
from autohas_operator.cluster.cache import Cache
from autohas_operator.decide.trainer_exits import end_word
from autohas_operator.metrics import Metrics
from autohas_operator.process.search_metrics import KEPT_AFTER_END_S, SearchMetrics
from autohas_operator.records.observed import Key
from autohas_operator.settings import SettingError, read_settings
from autohas_operator.testing.builders import NOW_S, ended_pod, report, running_pod, stored_job, stored_search
from autohas_operator.testing.fake_cluster import FakeCluster
from autohas_operator.wording import timestamp

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: Metrics) -> Samples:
    """Every sample by name and labels, as Prometheus parses it."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def labels(values: Samples, name: str) -> list[dict[str, str]]:
    return [dict(pairs) for sample, pairs in values if sample == name]


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "m",
        "lastTransitionTime": timestamp(NOW_S),
        "observedGeneration": 1,
    }


def scrape(*statuses: dict[str, Any], per_search: bool = True, now_s: float = NOW_S) -> Samples:
    """The samples of a cache with one search per status, named s0, s1, ..."""
    cache, metrics = Cache(), Metrics()
    for number, status in enumerate(statuses):
        search = stored_search(f"s{number}")
        search["metadata"]["uid"] = f"uid-{number}"
        cache.put_search({**search, "status": status})
    metrics.add(SearchMetrics(cache, lambda: now_s, per_search=per_search))
    return samples(metrics)


RUNNING = {
    "phase": "Running",
    "conditions": [condition("Accepted", "True", "Valid"), condition("TrainerReady", "True", "Reporting")],
}
STARTING = {"phase": "Starting", "conditions": [condition("TrainerReady", "False", "Unschedulable")]}
REJECTED = {
    "phase": "Rejected",
    "conditions": [condition("Accepted", "False", "InvalidSpec"), condition("TrainerReady", "False", "NotAccepted")],
}
SUSPENDED = {"phase": "Suspended", "conditions": [condition("TrainerReady", "False", "SuspendRequested")]}
ENDED = {"phase": "Succeeded", "completionTime": timestamp(NOW_S), "conditions": [condition("Finished", "True", "Succeeded")]}


def test_searches_are_counted_by_phase_and_by_what_they_wait_for() -> None:
    """Every phase has its series, also at 0; one that no pass has seen is Pending; one that runs, rests or has ended waits for nothing."""
    values = scrape(RUNNING, STARTING, STARTING, REJECTED, ENDED, SUSPENDED, {})

    assert values["autohas_searches", (("phase", "Starting"),)] == 2
    assert values["autohas_searches", (("phase", "Pending"),)] == 1
    assert values["autohas_searches", (("phase", "Failed"),)] == 0
    assert {
        waits["reason"]: values["autohas_searches_waiting", (("reason", waits["reason"]),)]
        for waits in labels(values, "autohas_searches_waiting")
    } == {
        "Unschedulable": 2,
        "InvalidSpec": 1,
        "NotSeenYet": 1,
    }


def test_a_search_has_one_phase_series_and_one_per_condition() -> None:
    """Labels carry phase, status and reason; values are always 1."""
    values = scrape(RUNNING)

    assert values["autohas_search_phase", (("name", "s0"), ("namespace", "ml"), ("phase", "Running"))] == 1
    assert labels(values, "autohas_search_condition") == [
        {"namespace": "ml", "name": "s0", "type": "Accepted", "status": "True", "reason": "Valid"},
        {"namespace": "ml", "name": "s0", "type": "TrainerReady", "status": "True", "reason": "Reporting"},
    ]


@pytest.mark.parametrize(("age_s", "is_there"), [(0.0, True), (KEPT_AFTER_END_S, True), (KEPT_AFTER_END_S + 1, False)])
def test_the_series_of_a_search_go_an_hour_after_its_end(age_s: float, is_there: bool) -> None:  # noqa: FBT001 - a column of the table
    """The fleet's count by phase keeps it."""
    values = scrape(ENDED, now_s=NOW_S + age_s)

    assert bool(labels(values, "autohas_search_phase")) is is_there
    assert bool(labels(values, "autohas_search_condition")) is is_there
    assert values["autohas_searches", (("phase", "Succeeded"),)] == 1


def test_series_of_single_searches_can_be_switched_off() -> None:
    """The fleet's stay."""
    names = {name for name, _ in scrape(RUNNING, per_search=False)}

    assert "autohas_searches" in names
    assert not {"autohas_search_phase", "autohas_search_condition"} & names


def test_the_series_of_a_deleted_search_go_with_it() -> None:
    """The collector reads the cache at every scrape and stores nothing itself."""
    cache, metrics = Cache(), Metrics()
    metrics.add(SearchMetrics(cache, lambda: NOW_S, per_search=True))
    search = {**stored_search(), "status": RUNNING}
    cache.put_search(search)
    assert labels(samples(metrics), "autohas_search_phase")
    cache.forget(search)
    assert not labels(samples(metrics), "autohas_search_phase")


def test_switches_of_the_settings_are_true_or_false() -> None:
    """Anything else says what is allowed."""
    assert read_settings([], {}).per_search_metrics is True
    assert read_settings([], {"AUTOHAS_PER_SEARCH_METRICS": "False"}).per_search_metrics is False
    with pytest.raises(SettingError, match='AUTOHAS_PER_SEARCH_METRICS is "no" and must be true or false'):
        read_settings([], {"AUTOHAS_PER_SEARCH_METRICS": "no"})


def test_only_growth_of_starts_is_a_restart() -> None:
    """The first start is no restart; a trainer whose disk was not durable counts from there on."""
    metrics = Metrics()
    for before, after in pairwise([None, 1, 2, 4, 1, 2]):
        metrics.observe_status("ml", Status(starts=before), Status(starts=after), 5.0)
    values = samples(metrics)

    assert values["autohas_search_restarts_total", (("namespace", "ml"),)] == 4
    assert values["autohas_searches_finished_total", (("namespace", "ml"), ("result", "Succeeded"))] == 0


@pytest.mark.parametrize(
    ("code", "reason", "disruption", "word"),
    [
        (0, "Completed", False, "Result"),
        (75, "Error", False, "Interrupted"),
        (143, "Error", True, "Disrupted"),
        (255, "Unknown", False, "Lost"),
        (137, "ContainerStatusUnknown", False, "Lost"),
        (137, "OOMKilled", False, "OOMKilled"),
        (137, "Error", False, "Killed"),
        (66, "Error", False, "NoCheckpoint"),
        (1, "Error", False, "Bug"),
        (42, "Error", False, "Other"),
    ],
)
def test_a_trainer_that_was_seen_alive_ends_once(code: int, reason: str, disruption: Any, word: str) -> None:
    """By cause; an exit before the start of this operator is not counted again."""
    ends: list[str] = []
    cache = Cache(lambda pod: ends.append(end_word(pod)))
    search = stored_search()
    job = stored_job(search)
    over = ended_pod(job, code=code, reason=reason)
    over["status"]["conditions"] += [{"type": "DisruptionTarget", "status": "True"}] if disruption else []
    for number, pod in enumerate([running_pod(job), over, over]):
        cache.put_pod({**pod, "metadata": {**pod["metadata"], "resourceVersion": str(number + 1)}})
    Cache(lambda pod: ends.append("again")).put_pod(over)

    assert ends == [word]


@pytest.mark.parametrize(("status", "result"), [("True", "Succeeded"), ("False", "Failed")])
def test_an_end_is_counted_once(status: Any, result: str) -> None:
    """With the age that the search had."""
    metrics = Metrics()
    time = timestamp(NOW_S)
    succeeded = Condition(type="Succeeded", status=status, last_transition_time=time, reason="R", message="m")
    ended = Status(completion_time=time, conditions=[succeeded])
    metrics.observe_status("ml", Status(), ended, 120.0)
    metrics.observe_status("ml", ended, ended.replace(observed_generation=2), 130.0)
    values = samples(metrics)

    assert values["autohas_searches_finished_total", (("namespace", "ml"), ("result", result))] == 1
    assert values["autohas_search_duration_seconds_sum", (("result", result),)] == 120


def test_the_series_of_a_namespace_go_an_hour_after_its_last_search() -> None:
    """Counters stay while there is a search and an hour longer; the other namespace keeps its own."""
    metrics = Metrics()
    for namespace in ("ml", "gone"):
        metrics.observe_status(namespace, Status(starts=1), Status(starts=3), 5.0)
        metrics.count_trainer_exit(namespace, "Result")
    left = []
    for served, now_s in [({"ml", "gone"}, 0), ({"ml"}, 600), ({"ml", "gone"}, 4000), ({"ml"}, 4600), ({"ml"}, 8199), ({"ml"}, 8200)]:
        metrics.expire_namespaces(served, now_s)
        values = samples(metrics)
        left.append({pairs["namespace"] for name, _ in values for pairs in labels(values, name) if "namespace" in pairs})

    assert left == [{"ml", "gone"}] * 5 + [{"ml"}]
    assert samples(metrics)["autohas_search_restarts_total", (("namespace", "ml"),)] == 2


def test_a_life_leaves_its_waits() -> None:
    """From creation to Job and to the first report, each observed once, by the fake cluster's clock."""

    async def scenario() -> Samples:
        cluster = FakeCluster()
        search = stored_search()
        cluster.apply(search)
        cluster.api.now_s += 4
        await cluster.settle()
        pod = running_pod(cluster.job)
        cluster.put_pod(pod)
        cluster.api.now_s += 30
        await cluster.settle()
        for _ in range(2):
            cluster.operator.report(report(search, at_s=cluster.api.now_s), Key("ml", "fashion"))
            await cluster.wait(20)
        return samples(cluster.operator.metrics)

    values = asyncio.run(scenario())
    assert (values["autohas_search_created_to_job_seconds_count", ()], values["autohas_search_created_to_job_seconds_sum", ()]) == (1, 4)
    assert values["autohas_search_created_to_report_seconds_count", ()] == 1
    assert values["autohas_search_created_to_report_seconds_sum", ()] == 54


class Slow:
    """Each write waits 40 s for its turn."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._world = cluster

    async def before(self, verb: str, plural: str) -> None:
        if verb in ("create", "update"):
            self._world.api.now_s += 40

    async def after(self, verb: str, plural: str) -> None:
        """An answer takes no time."""


def test_a_decision_is_timed_without_the_requests_of_its_pass() -> None:
    """ConfigMap, Job and status wait 40 s each: the pass takes 120 s, within its buckets; its two decisions wait for nothing."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.apply(stored_search())
        cluster.api.fault = Slow(cluster)
        await cluster.operator.watch()
        await cluster.operator.work()
        values = samples(cluster.operator.metrics)
        passes = {
            bound: values["autohas_reconcile_duration_seconds_bucket", (("le", bound), ("result", "ok"))] for bound in ("60.0", "300.0")
        }

        assert passes == {"60.0": 0, "300.0": 1}
        assert values["autohas_reconcile_duration_seconds_sum", (("result", "ok"),)] == 120
        assert values["autohas_reconcile_decide_seconds_count", ()] == 2
        assert values["autohas_reconcile_decide_seconds_sum", ()] < 40

    asyncio.run(play())
