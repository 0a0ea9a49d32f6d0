"""A trainer that no longer answers its liveness probe is stopped like a slow one, but has another message."""

from __future__ import annotations

from autohas_api.wire.status import ConditionType
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.records.observed import WarningEvent
from autohas_operator.testing.builders import NOW_S, ended_pod, observe
from autohas_operator.testing.decisions import JOB, RUNNING, SEARCH, decide

SILENCE = (
    'Liveness probe failed: Get "http://10.244.0.8:9464/healthz": context deadline exceeded'
    " (Client.Timeout exceeded while awaiting headers)"
)
"""Event of a kubelet 1.35 whose trainer was frozen by SIGSTOP, as in tests/node/test_suspend.py."""


def test_a_frozen_trainer_is_not_blamed_for_slow_steps() -> None:
    """Three probes without an answer end a pod after 90 s, whatever stallTimeoutSeconds is: raising it would not help."""
    unhealthy = WarningEvent(reason="Unhealthy", message=SILENCE, time_s=NOW_S)
    stalled = decide(observe(SEARCH, JOB, ended_pod(JOB, code=137, ended_s=NOW_S + 30), warning=unhealthy), RUNNING)
    explanation = verdict_of(stalled.status, ConditionType.TRAINER_READY)

    assert explanation is not None
    assert explanation.reason == "Stalled"
    assert "because 3 probes of /healthz, 30 s apart, had no answer within 5 s" in explanation.message
    assert "stallTimeoutSeconds" not in explanation.message
    assert SILENCE in explanation.message
