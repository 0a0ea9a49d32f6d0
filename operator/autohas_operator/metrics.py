"""The operator's own metrics, in a registry of their own so that several operators fit into one process.

Labels are bounded: nothing here carries the name of a search.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autohas_api.names import CONTRACT_VERSION
from autohas_api.status import Phase

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """All counters, and the gauges that are read at scrape time."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._reconciles = Histogram(
            "autohas_reconcile_duration_seconds", "Duration of one pass over one search.", ["result"], buckets=_SECONDS, registry=registry
        )
        self._errors = Counter("autohas_reconcile_errors", "Passes that ended with an error, by its kind.", ["reason"], registry=registry)
        self._requests = Histogram(
            "autohas_api_request_duration_seconds",
            "Requests to the API server; code 0 is no answer.",
            ["verb", "resource", "code"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._polls = Counter("autohas_status_polls", "Reads of /progress.", registry=registry)
        self._poll_failures = Counter(
            "autohas_status_poll_failures", "Reads of /progress that gave nothing usable, by cause.", ["reason"], registry=registry
        )
        self._dropped_events = Counter("autohas_events_dropped", "Events not posted: too many, or refused.", registry=registry)
        build = Gauge("autohas_operator_build_info", "Version of this operator; always 1.", ["version", "contract"], registry=registry)
        build.labels(distribution_version(), str(CONTRACT_VERSION)).set(1)

    def reconciled(self, result: str, seconds: float) -> None:
        """One pass has ended; `result` is ok, retry or gone."""
        self._reconciles.labels(result).observe(seconds)

    def failed(self, reason: str) -> None:
        """One pass ended with an error."""
        self._errors.labels(reason).inc()

    def api_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """One request was answered, or not (status 0)."""
        self._requests.labels(verb, resource, str(status)).observe(seconds)

    def polled(self, failure: str | None) -> None:
        """One trainer was asked."""
        self._polls.inc()
        if failure is not None:
            self._poll_failures.labels(failure).inc()

    def event_dropped(self) -> None:
        """One event was not posted."""
        self._dropped_events.inc()

    def watch_queue(self, depth: Callable[[], int], delayed: Callable[[], int]) -> None:
        """Read the queue's gauges at scrape time."""
        gauge = Gauge("autohas_workqueue_depth", "Searches that wait for a worker.", registry=self.registry)
        gauge.set_function(depth)
        later = Gauge("autohas_workqueue_delayed", "Searches that wait for their time.", registry=self.registry)
        later.set_function(delayed)

    def watch_phases(self, phases: Callable[[], Mapping[str, int]]) -> None:
        """Count searches by phase at scrape time."""
        self.registry.register(_Phases(phases))

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)


class _Phases(Collector):
    """Searches by phase, counted when asked: never out of step with the cache."""

    def __init__(self, count: Callable[[], Mapping[str, int]]) -> None:
        self._count = count

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("autohas_searches", "Searches by phase.", labels=["phase"])
        counted = Tally(self._count())
        for phase in Phase:
            family.add_metric([phase.value], counted[phase.value])
        yield family


def distribution_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("autohas")
    except PackageNotFoundError:
        return "unknown"
