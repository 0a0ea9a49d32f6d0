"""A trainer that a probe stopped: what distinguishes a stall from a crash, a preemption or a deletion."""

from __future__ import annotations

import pytest

from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.records.observed import WarningEvent
from autohas_operator.testing.builders import NOW_S, ended_pod, observe
from autohas_operator.testing.decisions import JOB, RUNNING, SEARCH, decide, verdict


@pytest.mark.parametrize("code", [75, 137])
def test_a_trainer_that_stalled_is_called_what_it_is(code: int) -> None:
    """Stopped by its liveness probe: the kubelet's event distinguishes it from a preemption or a crash."""
    unhealthy = WarningEvent(reason="Unhealthy", message="Liveness probe failed: HTTP probe failed with statuscode: 503", time_s=NOW_S)
    stalled = decide(observe(SEARCH, JOB, ended_pod(JOB, code=code, ended_s=NOW_S + 1), warning=unhealthy), RUNNING)
    explanation = verdict_of(stalled.status, ConditionType.TRAINER_READY)

    assert explanation is not None
    assert explanation.reason == "Stalled"
    assert "failurePolicy.stallTimeoutSeconds" in explanation.message
    assert ("Warning", "SearchStalled") in [(a.type, a.reason) for a in stalled.announcements]


@pytest.mark.parametrize(("later_s", "reason"), [(150, "Stalled"), (151, "TrainerFailed")])
def test_a_look_that_failed_long_before_the_end_is_not_its_cause(later_s: int, reason: str) -> None:
    """With 120 s of grace and probes 30 s apart, a pod that is killed 151 s after a failed probe was not stopped because of it."""
    unhealthy = WarningEvent(reason="Unhealthy", message="Liveness probe failed: timeout", time_s=NOW_S)
    killed = with_change(ended_pod(JOB, code=137, ended_s=NOW_S + later_s), "spec.terminationGracePeriodSeconds", 120)
    decided = decide(observe(SEARCH, JOB, killed, warning=unhealthy), RUNNING, at_s=NOW_S + later_s + 1)

    assert verdict(decided.status, ConditionType.TRAINER_READY) == ("False", reason)


@pytest.mark.parametrize(("ended_s", "reason"), [(1800, "Stalled"), (1799, "Interrupted")])
def test_a_trainer_that_never_began_is_called_stalled_too(ended_s: float, reason: str) -> None:
    """Half an hour of imports and data without a search; a failed probe in a shorter life means nothing."""
    unhealthy = WarningEvent(reason="Unhealthy", message="Startup probe failed: HTTP probe failed with statuscode: 503", time_s=NOW_S)
    over = ended_pod(JOB, code=75, ended_s=NOW_S + ended_s)
    decided = decide(observe(SEARCH, JOB, over, warning=unhealthy), RUNNING, at_s=NOW_S + ended_s + 1)

    assert verdict(decided.status, ConditionType.TRAINER_READY) == ("False", reason)
