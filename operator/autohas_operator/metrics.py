"""The operator's metrics, in a registry of their own so that several operators fit into one process.

Labels are bounded: no metric here has the name of a search as a label; those of `process.search_metrics` do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from autohas_api.base.names import CONTRACT_VERSION
from autohas_api.wire.status import ConditionType, Status

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_PASS_SECONDS: Final = (*_SECONDS, 30.0, 60.0, 300.0)
"""A pass waits for several requests and for the write limit, behind thousands of other passes after an outage."""
_DECISION_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
_WAIT_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
_RESULTS: Final = ("Succeeded", "Failed")
_DURATION_SECONDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 2 * 3600.0, 4 * 3600.0, 8 * 3600.0, 24 * 3600.0, 72 * 3600.0)

KEPT_WITHOUT_SEARCH_S: Final = 3600.0
"""Series of an empty namespace are kept this long, so that the last outcome is scraped."""


class QueueState(Protocol):
    """The part of `autohas_operator.cluster.workqueue.WorkQueue` that a scrape reads."""

    def __len__(self) -> int: ...
    @property
    def num_delayed(self) -> int:
        """See there."""

    @property
    def num_failing(self) -> int:
        """See there."""

    @property
    def oldest_failing_s(self) -> float:
        """See there."""


class Metrics:
    """All counters, and the gauges that are read at scrape time."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        registry = self.registry
        self._reconciles = Histogram(
            "autohas_reconcile_duration_seconds",
            "Duration of one pass over one search, requests and waits for their turn included.",
            ["result"],
            buckets=_PASS_SECONDS,
            registry=registry,
        )
        self._decisions = Histogram(
            "autohas_reconcile_decide_seconds",
            "Duration of one decision, from the observed state to the next status: it makes no request, but blocks the event loop.",
            buckets=_DECISION_SECONDS,
            registry=registry,
        )
        self._errors = Counter("autohas_reconcile_errors", "Passes that ended with an error, by its kind.", ["reason"], registry=registry)
        text = "Passes that met a blocker and showed it in a condition, by the condition's reason."
        self._blocked = Counter("autohas_reconcile_blocked", text, ["reason"], registry=registry)
        self._requests = Histogram(
            "autohas_api_request_duration_seconds",
            "Duration of requests to the API server; code 0 means no answer.",
            ["verb", "resource", "code"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._polls = Counter("autohas_progress_polls", "Reads of /progress.", registry=registry)
        self._poll_failures = Counter(
            "autohas_progress_poll_failures", "Reads of /progress without a usable answer, by cause.", ["reason"], registry=registry
        )
        self._dropped_events = Counter(
            "autohas_events_dropped", "Events not posted: superseded by a newer one, too old, too many, or refused.", registry=registry
        )
        self._add_failures()
        self._add_searches()
        build = Gauge("autohas_operator_build_info", "Version of this operator; always 1.", ["version", "contract"], registry=registry)
        build.labels(distribution_version(), str(CONTRACT_VERSION)).set(1)

    def _add_failures(self) -> None:
        """Metrics about objects, lists and namespaces that the operator cannot read."""
        registry = self.registry
        text = "Objects of watches and lists that the operator could not read and ignored."
        self._unreadable = Counter("autohas_objects_unreadable", text, ["resource"], registry=registry)
        self._resync_failures = Counter("autohas_resync_failures", "Resyncs (complete lists) that failed.", registry=registry)
        text = "Configured namespaces that the operator cannot read."
        self._lost_namespaces = Gauge("autohas_namespaces_unreadable", text, registry=registry)
        text = "Namespaces whose Lease another operator holds."
        self._taken_namespaces = Gauge("autohas_namespaces_taken", text, registry=registry)

    def _add_searches(self) -> None:
        """Metrics about the course of searches. Creation times are whole seconds, so durations are exact to a second."""
        registry = self.registry
        self._to_job = Histogram(
            "autohas_search_created_to_job_seconds", "From a search's creation to its first Job.", buckets=_WAIT_SECONDS, registry=registry
        )
        self._to_report = Histogram(
            "autohas_search_created_to_report_seconds",
            "From a search's creation to the trainer's first report: includes quota, scheduling, image pull and data.",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self._durations = Histogram(
            "autohas_search_duration_seconds",
            "From a search's creation to its end.",
            ["result"],
            buckets=_DURATION_SECONDS,
            registry=registry,
        )
        self._finished = Counter("autohas_searches_finished", "Searches that ended.", ["namespace", "result"], registry=registry)
        for result in _RESULTS:
            self._durations.labels(result)  # rate() does not see the first increase of a series that begins with it
        self._restarts = Counter("autohas_search_restarts", "Restarts of trainers.", ["namespace"], registry=registry)
        text = "Exits of trainers that the operator had seen running, by cause."
        self._exits = Counter("autohas_trainer_exits", text, ["namespace", "reason"], registry=registry)
        self._empty_since_s: dict[str, float] = {}
        """Namespaces without a search, with the time since when; see KEPT_WITHOUT_SEARCH_S."""

    def observe_first_job(self, age_s: float) -> None:
        """The operator created the first Job of a search, which is `age_s` old."""
        self._to_job.observe(max(0.0, age_s))

    def observe_status(self, namespace: str, before: Status, after: Status, age_s: float) -> None:
        """The operator wrote a new status of a search, which is `age_s` old."""
        for result in _RESULTS:
            self._finished.labels(namespace, result)
        restarts = max(0, (after.starts or 0) - before.starts) if before.starts is not None else 0
        self._restarts.labels(namespace).inc(restarts)
        if before.last_report_time is None and after.last_report_time is not None:
            self._to_report.observe(max(0.0, age_s))
        if before.completion_time is None and after.completion_time is not None:
            succeeded = next(c for c in after.conditions if c.type == ConditionType.SUCCEEDED)
            result = "Succeeded" if succeeded.status == "True" else "Failed"
            self._finished.labels(namespace, result).inc()
            self._durations.labels(result).observe(max(0.0, age_s))

    def count_trainer_exit(self, namespace: str, reason: str) -> None:
        """A running trainer has ended; `reason` is one of `autohas_operator.decide.trainer_exits.end_word`."""
        self._exits.labels(namespace, reason).inc()

    def observe_pass(self, result: str, seconds: float) -> None:
        """A pass has ended with `result` ok, retry or gone."""
        self._reconciles.labels(result).observe(seconds)

    def time_decision(self) -> AbstractContextManager[object]:
        """Time the decision in the `with` block, also one that raises."""
        return self._decisions.time()

    def count_error(self, reason: str) -> None:
        """A pass has ended with an error."""
        self._errors.labels(reason).inc()

    def count_blocked(self, reason: str) -> None:
        """A pass met a blocker that a condition shows; the reasons are the operator's own."""
        self._blocked.labels(reason).inc()

    def declare_resource(self, resource: str) -> None:
        """Start the counter of unreadable objects of this resource at 0, so that rate() sees the first one."""
        self._unreadable.labels(resource)

    def count_unreadable(self, resource: str) -> None:
        """The operator ignored an object that it could not read."""
        self._unreadable.labels(resource).inc()

    def count_resync_failure(self) -> None:
        """A resync has failed."""
        self._resync_failures.inc()

    def set_unreadable_namespaces(self, number: int) -> None:
        """Set the number of configured namespaces that cannot be read."""
        self._lost_namespaces.set(number)

    def expire_namespaces(self, namespaces: set[str], now_s: float) -> None:
        """Remove the series of namespaces that have had no search for KEPT_WITHOUT_SEARCH_S.

        `namespaces` are those with searches now; `now_s` is the time of a monotonic clock.
        """
        empty = {labels["namespace"] for _, labels in self._namespaced_series()} - namespaces
        self._empty_since_s = {name: self._empty_since_s.get(name, now_s) for name in empty}
        for counter, labels in self._namespaced_series():
            if now_s - self._empty_since_s.get(labels["namespace"], now_s) >= KEPT_WITHOUT_SEARCH_S:
                counter.remove(*labels.values())

    def _namespaced_series(self) -> list[tuple[Counter, dict[str, str]]]:
        """The series with a namespace as a label."""
        counters = (self._finished, self._restarts, self._exits)
        collected = [(counter, family.samples) for counter in counters for family in counter.collect()]
        return [(counter, sample.labels) for counter, samples in collected for sample in samples if sample.name.endswith("_total")]

    def observe_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """A request to the API server has ended with this status (0: no answer)."""
        self._requests.labels(verb, resource, str(status)).observe(seconds)

    def count_poll(self, failure: str | None) -> None:
        """The poller read a trainer once; `failure` is the cause when the answer is not usable."""
        self._polls.inc()
        if failure is not None:
            self._poll_failures.labels(failure).inc()

    def set_taken_namespaces(self, count: int) -> None:
        """Set the number of namespaces whose Lease another operator holds."""
        self._taken_namespaces.set(count)

    def count_dropped_event(self) -> None:
        """An event was not posted."""
        self._dropped_events.inc()

    def watch_queue(self, queue: QueueState) -> None:
        """Add gauges that read the queue at scrape time."""
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("autohas_workqueue_depth", "Searches that wait for a worker.", queue.__len__),
            ("autohas_workqueue_delayed", "Searches that wait for their requeue time.", lambda: queue.num_delayed),
            ("autohas_workqueue_failing", "Searches whose last pass ended with an error.", lambda: queue.num_failing),
            (
                "autohas_workqueue_oldest_failing_seconds",
                "Seconds the longest-failing search has been failing (0 if none).",
                lambda: queue.oldest_failing_s,
            ),
        )
        for name, text, read in gauges:
            Gauge(name, text, registry=self.registry).set_function(read)

    def add(self, collector: Collector) -> None:
        """Register a collector that is called at every scrape."""
        self.registry.register(collector)

    def render(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


def distribution_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("autohas")
    except PackageNotFoundError:
        return "unknown"
