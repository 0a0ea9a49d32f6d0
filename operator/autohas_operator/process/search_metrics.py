"""Metrics of single searches, read from the cache at every scrape: they never differ from it, and end with the search.

A search that has ended keeps its series for one more hour, so that alerts and dashboards see the end; the counters of `metrics` keep
the outcome.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autohas_api.wire.status import ConditionType, Phase
from autohas_operator.cluster.cache import Cache
from autohas_operator.records.observed import Key
from autohas_operator.wording import epoch

KEPT_AFTER_END_S: Final = 3600.0
_UNSEEN: Final = "NotSeenYet"
"""The reason of a search that the operator has not reconciled yet."""
_AT_REST: Final = frozenset({Phase.RUNNING, Phase.SUSPENDED, Phase.SUCCEEDED, Phase.FAILED})


class SearchMetrics(Collector):
    """Gauges over all searches; with `per_search` also a phase series and one series per condition for each search."""

    def __init__(self, cache: Cache, clock: Callable[[], float], *, per_search: bool) -> None:
        """`clock` gives seconds since the epoch."""
        self._cache = cache
        self._clock = clock
        self._per_search = per_search

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One scrape; it may run in another thread, so it copies the records first."""
        searches = [(record.key, _mapping(record.status)) for record in tuple(self._cache.searches.values())]
        yield _phases(searches)
        yield _waits(searches)
        if self._per_search:
            shown = [(key, status) for key, status in searches if not self._is_long_over(status)]
            yield _phase_of_each(shown)
            yield _conditions_of_each(shown)

    def _is_long_over(self, status: dict[str, Any]) -> bool:
        ended_s = epoch(status.get("completionTime"))
        return ended_s is not None and self._clock() - ended_s > KEPT_AFTER_END_S


Searches = list[tuple[Key, dict[str, Any]]]


def _phases(searches: Searches) -> GaugeMetricFamily:
    family = GaugeMetricFamily("autohas_searches", "Searches by phase.", labels=["phase"])
    counted = Counter(_phase(status) for _, status in searches)
    for phase in Phase:
        family.add_metric([phase.value], counted[phase.value])
    return family


def _waits(searches: Searches) -> GaugeMetricFamily:
    """Searches that do not run, by reason: that of Accepted where it is False, otherwise that of TrainerReady."""
    family = GaugeMetricFamily(
        "autohas_searches_waiting", "Searches that neither run nor are suspended nor have ended, by reason.", labels=["reason"]
    )
    counted = Counter(_reason(status) for _, status in searches if _phase(status) not in _AT_REST)
    for reason, number in sorted(counted.items()):
        family.add_metric([reason], number)
    return family


def _phase_of_each(searches: Searches) -> GaugeMetricFamily:
    text = "Always 1; the label is the phase of the search."
    family = GaugeMetricFamily("autohas_search_phase", text, labels=["namespace", "name", "phase"])
    for key, status in searches:
        family.add_metric([key.namespace, key.name, _phase(status)], 1)
    return family


def _conditions_of_each(searches: Searches) -> GaugeMetricFamily:
    text = "Always 1; the labels are the type, status (True, False or Unknown) and reason of the condition."
    family = GaugeMetricFamily("autohas_search_condition", text, labels=["namespace", "name", "type", "status", "reason"])
    for key, status in searches:
        for condition in status.get("conditions", []):
            family.add_metric([key.namespace, key.name, condition["type"], condition["status"], condition["reason"]], 1)
    return family


def _mapping(text: str) -> dict[str, Any]:
    """The status as a dict; only the operator writes it, and the API server validates it."""
    status: dict[str, Any] = json.loads(text)
    return status


def _phase(status: dict[str, Any]) -> str:
    return str(status.get("phase") or Phase.PENDING)


def _reason(status: dict[str, Any]) -> str:
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    accepted, ready = conditions.get(ConditionType.ACCEPTED), conditions.get(ConditionType.TRAINER_READY)
    blamed = accepted if accepted is not None and accepted["status"] == "False" else ready
    return _UNSEEN if blamed is None else str(blamed["reason"])
