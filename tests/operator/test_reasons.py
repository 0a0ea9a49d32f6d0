"""Every word that the operator can say is reached by a test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from autohas_api.status import ConditionType, Phase
from autohas_api.testing import changed
from autohas_operator.course import DeleteJob
from autohas_operator.testing.builders import condition, ended_pod, observed, stored_job, stored_pod
from autohas_operator.testing.decisions import CREATED, JOB, RUNNING, SEARCH, decide, verdict
from autohas_operator.testing.words import said

HERE = Path(__file__)


def test_every_reason_phase_and_condition_is_asserted_somewhere() -> None:
    """Words that no test expects are words that nobody has seen."""
    texts = "".join(path.read_text() for path in HERE.parent.glob("test_*.py"))
    words = said()

    assert {"Reporting", "SearchStalled", "EntropyBelowThreshold", "NumericalFailure"} <= words
    assert [word for word in sorted(words) if f'"{word}"' not in texts] == []
    assert [phase.name for phase in Phase if f"Phase.{phase.name}" not in texts] == []
    assert [kind.name for kind in ConditionType if f"ConditionType.{kind.name}" not in texts] == []


def test_a_job_that_failed_for_reasons_of_its_own_is_quoted() -> None:
    """A reason of the Job controller that this operator does not know is JobFailed, in the controller's words."""
    job = stored_job(SEARCH, conditions=[condition("Failed", "MaxFailedIndexesExceeded", "more than one index")])

    assert verdict(decide(observed(SEARCH, job), RUNNING).status, ConditionType.SUCCEEDED) == ("False", "JobFailed")


def test_a_job_that_is_renewed_or_replaced_says_why() -> None:
    """JobRenewed after three interruptions with progress, SpecChanged after an edit in the first gap."""
    often = RUNNING.model_copy(update={"starts": 3})
    renewed = decide(observed(SEARCH, JOB, ended_pod(JOB, code=75)), often)
    replaced = decide(observed(changed(SEARCH, "spec.algorithm", {"seed": 7}), JOB))

    assert isinstance(renewed.action, DeleteJob)
    assert verdict(renewed.status, ConditionType.TRAINER_READY) == ("False", "JobRenewed")
    assert isinstance(replaced.action, DeleteJob)
    assert verdict(replaced.status, ConditionType.TRAINER_READY) == ("False", "SpecChanged")


NO_PROGRESS = RUNNING.model_copy(update={"starts": 3, "checkpoint": None})
FEW = RUNNING.model_copy(update={"starts": 2})


@pytest.mark.parametrize("before", [NO_PROGRESS, FEW], ids=["no progress", "two only"])
def test_a_job_is_not_renewed_without_progress_or_too_early(before: object) -> None:
    """A trainer that gets nowhere is held back by the Job's own back-off."""
    assert decide(observed(SEARCH, JOB, ended_pod(JOB, code=75)), before).action is None  # type: ignore[arg-type]  # a Status


def test_before_the_first_checkpoint_nothing_is_promised() -> None:
    """CheckpointReady is unknown."""
    assert verdict(CREATED, ConditionType.CHECKPOINT_READY) == ("Unknown", "NoneYet")


def test_a_pod_that_finds_no_node_is_announced_under_a_name_that_tells() -> None:
    """The event stands beside those of pods: TrainerUnschedulable."""
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no GPU"}
    pod = stored_pod(JOB, scheduled=False, conditions=[unschedulable])

    assert [(a.type, a.reason) for a in decide(observed(SEARCH, JOB, pod), CREATED).announcements] == [("Warning", "TrainerUnschedulable")]
