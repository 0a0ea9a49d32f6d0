"""The usual search with its Job and pod, and decisions about them: what tests of `plan` begin with."""

from __future__ import annotations

from autohas_api.wire.status import ConditionType, Status
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import Plan, plan
from autohas_operator.records.observed import Observed
from autohas_operator.testing.builders import NOW_S, PODS, observe, report, running_pod, stored_job, stored_search

SEARCH = stored_search()
JOB = stored_job(SEARCH)
POD = running_pod(JOB)


def decide(observed: Observed, previous: Status | None = None, *, at_s: float = NOW_S + 1) -> Plan:
    """One decision, one second after the beginning."""
    return plan(observed, previous if previous is not None else Status(), PODS, at_s)


def after(*views: Observed, at_s: float = NOW_S + 1) -> Status:
    """The status after passes over these views, one second apart."""
    status = Status()
    for second, view in enumerate(views):
        status = decide(view, status, at_s=at_s + second).status
    return status


def verdict(status: Status, kind: ConditionType) -> tuple[str, str]:
    """Status and reason of a condition."""
    current = verdict_of(status, kind)
    return ("", "") if current is None else (current.status, current.reason)


CREATED = after(observe(SEARCH))
RUNNING = after(observe(SEARCH), observe(SEARCH, JOB, POD, report=report(SEARCH)))
