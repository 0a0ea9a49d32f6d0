"""Messages for checkpoints on the pod's own disk do not promise that anything is kept."""

from __future__ import annotations

from typing import Any

from autohas_api.base.names import LABEL_QUEUE
from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType, Phase
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import Plan
from autohas_operator.testing.builders import NOW_S, ended_pod, observe, report, running_pod, stored_job, stored_search
from autohas_operator.testing.decisions import after, decide
from autohas_operator.wording import timestamp

CLAIM = stored_search()
OWN_DISK = stored_search(durable=False)


def _words(decided: Plan, kind: ConditionType) -> str:
    explanation = verdict_of(decided.status, kind)
    return "" if explanation is None else explanation.message


def _running(search: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    job = stored_job(search)
    return job, after(observe(search), observe(search, job, running_pod(job), report=report(search)))


def test_a_suspended_search_says_whether_anything_is_kept() -> None:
    """A step is named only if its checkpoint outlives the pod."""
    for search, words in (
        (CLAIM, "the checkpoint of step 400 is kept; set spec.suspend to false to continue"),
        (
            OWN_DISK,
            "its checkpoints are gone with it (checkpoint.storage names no claim); with spec.suspend false the search starts from zero",
        ),
    ):
        _, running = _running(search)
        resting = decide(observe(with_change(search, "spec.suspend", value=True)), running)

        assert resting.status.phase is Phase.SUSPENDED
        assert _words(resting, ConditionType.SUSPENDED) == f"no pod is left, and {words}"


def test_an_interrupted_search_says_what_the_next_pod_does() -> None:
    """It continues, or it starts from zero."""
    for search, words in (
        (CLAIM, "the next pod continues from the checkpoint at about"),
        (OWN_DISK, "the next pod starts from zero (its checkpoints were on the pod's own disk) at about"),
    ):
        job, running = _running(search)
        over = ended_pod(job, code=75, ended_s=NOW_S + 2)

        assert words in _words(decide(observe(search, job, over), running, at_s=NOW_S + 3), ConditionType.TRAINER_READY)


def test_a_search_that_loses_its_quota_says_what_becomes_of_its_work() -> None:
    """A queue takes the Job's quota back."""
    for search, words in ((CLAIM, "the search continues from the checkpoint"), (OWN_DISK, "starts from zero")):
        queued = with_change(search, "metadata.labels", {LABEL_QUEUE: "team"})
        job, running = _running(queued)
        resumed = {"type": "Suspended", "status": "False", "reason": "JobResumed", "lastTransitionTime": timestamp(NOW_S + 3)}
        admitted = decide(observe(queued, {**job, "status": {"conditions": [resumed]}}, running_pod(job)), running)
        evicted = decide(observe(queued, with_change(job, "spec.suspend", value=True)), admitted.status)

        assert "lost its quota" in _words(evicted, ConditionType.ADMITTED)
        assert words in _words(evicted, ConditionType.ADMITTED)


def test_only_a_trainer_that_runs_has_a_time_to_go() -> None:
    """While it is stopped, no end can be estimated."""
    job, running = _running(CLAIM)
    stopped = decide(observe(CLAIM, job, ended_pod(job, code=75), report=report(CLAIM)), running)

    assert running.eta == "1h30m"
    assert (stopped.status.phase, stopped.status.eta) == (Phase.INTERRUPTED, None)


def test_a_back_off_after_a_pod_that_is_gone_promises_no_time() -> None:
    """The end of that pod is unknown."""
    job, running = _running(CLAIM)
    waiting = decide(observe(CLAIM, {**job, "status": {"failed": 1}}), running, at_s=NOW_S + 30)

    assert _words(waiting, ConditionType.TRAINER_READY).endswith(
        "10 s after the end of a pod that is gone, doubled each time up to 10 minutes"
    )
