"""CheckpointReady while the trainer cannot be reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autohas_api.base.digest import sha256
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import CheckpointInfo
from autohas_api.wire.status import ConditionType
from autohas_operator.records.observed import Observed
from autohas_operator.testing.builders import (
    NOW_S,
    ended_pod,
    interrupted_text,
    observe,
    report,
    running_pod,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.decisions import JOB, POD, RUNNING, SEARCH, decide, verdict
from autohas_operator.wording import timestamp

BLOCKED = replace(report(SEARCH), misses=3, problem="no connection")
UNREACHABLE = ("Unknown", "ProgressUnreachable")


def test_an_unreachable_trainer_is_not_called_stale() -> None:
    """A NetworkPolicy blocks the polls: Fresh for two periods and a minute after the last checkpoint, then Unknown, without an event."""
    seen = observe(SEARCH, JOB, POD, report=BLOCKED)
    early = decide(seen, RUNNING, at_s=NOW_S + 659)
    late = decide(seen, early.status, at_s=NOW_S + 661)

    assert verdict(early.status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert verdict(late.status, ConditionType.CHECKPOINT_READY) == UNREACHABLE
    assert late.announcements == ()


def test_polls_that_come_through_again_tell_fresh_from_stale() -> None:
    """The trainer reports its newest checkpoint: one of this minute, or still the old one."""
    blocked = decide(observe(SEARCH, JOB, POD, report=BLOCKED), RUNNING, at_s=NOW_S + 661).status
    newest = CheckpointInfo(step=900, time=NOW_S + 690, digest=sha256("newer"))
    fresh = observe(SEARCH, JOB, POD, report=report(SEARCH, at_s=NOW_S + 700, checkpoint=newest))
    stale = observe(SEARCH, JOB, POD, report=report(SEARCH, at_s=NOW_S + 700))

    assert verdict(decide(fresh, blocked, at_s=NOW_S + 700).status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert verdict(decide(stale, blocked, at_s=NOW_S + 700).status, ConditionType.CHECKPOINT_READY) == ("False", "Stale")


def test_an_operator_that_was_away_for_an_hour_calls_nothing_stale_before_it_has_asked() -> None:
    """Its status is an hour old, and so is the newest checkpoint in it."""
    assert decide(observe(SEARCH, JOB, POD), RUNNING, at_s=NOW_S + 3600).status == RUNNING


PAUSES = [
    ("suspended", observe(stored_search(suspend=True))),
    ("queued", observe(SEARCH, with_change(JOB, "spec.suspend", True))),  # noqa: FBT003 - JSON
    ("without a node", observe(SEARCH, JOB, stored_pod(JOB, uid="pod-2", created_s=NOW_S + 60, scheduled=False))),
    ("reading its data", observe(SEARCH, JOB, running_pod(JOB, uid="pod-2", created_s=NOW_S + 60, started=False))),
]


@pytest.mark.parametrize("pause", [case[1] for case in PAUSES], ids=[case[0] for case in PAUSES])
def test_a_checkpoint_does_not_grow_old_while_no_trainer_works(pause: Observed) -> None:
    """The first report after an hour causes no warning; two periods and a minute of work without a checkpoint do."""
    resting = decide(pause, RUNNING, at_s=NOW_S + 60).status
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": timestamp(NOW_S + 3600)}
    pod = running_pod(JOB, uid="pod-2", created_s=NOW_S + 60)
    pod["status"]["conditions"].append(ready)
    first, later, late = (
        observe(SEARCH, JOB, pod, report=report(SEARCH, at_s=NOW_S + 3600 + age_s, pod_uid="pod-2", starts=2)) for age_s in (1, 660, 661)
    )
    resumed = decide(first, resting, at_s=NOW_S + 3601)
    fresh = decide(later, resumed.status, at_s=NOW_S + 3600 + 660).status
    stale = decide(late, resumed.status, at_s=NOW_S + 3600 + 661)

    assert verdict(resumed.status, ConditionType.CHECKPOINT_READY) == verdict(fresh, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert "CheckpointStale" not in [a.reason for a in resumed.announcements]
    assert verdict(stale.status, ConditionType.CHECKPOINT_READY) == ("False", "Stale")
    assert "CheckpointStale" in [a.reason for a in stale.announcements]


def test_what_could_not_be_heard_is_not_stale_when_it_has_ended() -> None:
    """Unknown stays while nothing is trained, unless the termination message names a checkpoint of its end."""
    blocked = decide(observe(SEARCH, JOB, POD, report=BLOCKED), RUNNING, at_s=NOW_S + 661).status
    silent = ended_pod(JOB, code=75, ended_s=NOW_S + 700)
    word = interrupted_text(SEARCH, step=900, starts=1, checkpoint_digest=sha256("last"))
    telling = ended_pod(JOB, code=75, message=word, ended_s=NOW_S + 700)
    after = [decide(observe(SEARCH, JOB, pod, report=BLOCKED), blocked, at_s=NOW_S + 701).status for pod in (silent, telling)]

    assert [verdict(status, ConditionType.CHECKPOINT_READY) for status in after] == [UNREACHABLE, ("True", "Fresh")]
