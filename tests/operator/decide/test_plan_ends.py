"""The decision about attempts and ends: deleted Jobs, results, failures, rejections."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.actions import CreateAttempt, DeleteJob
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import plan
from autohas_operator.errors import Blamed, Blocker
from autohas_operator.records.observed import WarningEvent
from autohas_operator.testing.builders import (
    NOW_S,
    PODS,
    condition,
    ended_pod,
    error_text,
    interrupted_text,
    observe,
    report,
    result_text,
    running_pod,
    stored_job,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.decisions import JOB, POD, RUNNING, SEARCH, decide, verdict


def test_a_job_deleted_by_hand_is_followed_by_the_next_attempt() -> None:
    """Attempt 2 is created, with the image of the first, and announced as an interruption."""
    before = RUNNING.replace(trainer=RUNNING.trainer)
    decided = plan(observe(SEARCH), before, replace(PODS, image="trainer:2"), NOW_S + 50)

    assert isinstance(decided.action, CreateAttempt)
    assert decided.action.job["metadata"]["name"].endswith("-2")
    assert decided.action.job["spec"]["template"]["spec"]["containers"][0]["image"] == "trainer:1"
    assert decided.status.attempt == 2


TERMINATING = with_change(POD, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")


@pytest.mark.parametrize("pod", [POD, TERMINATING, stored_pod(JOB)], ids=["running", "terminating", "pending"])
def test_no_attempt_while_a_pod_is_left(pod: dict[str, Any]) -> None:
    """Two trainers never share a checkpoint."""
    decided = decide(observe(SEARCH, pod), RUNNING)

    assert decided.action is None
    assert decided.status.phase is Phase.INTERRUPTED
    assert verdict(decided.status, ConditionType.TRAINER_READY) == ("False", "WaitingForPodTermination")


def test_an_ended_orphan_does_not_block_the_next_attempt() -> None:
    """A pod that is over writes nothing, whatever orphaned it."""
    assert isinstance(decide(observe(SEARCH, ended_pod(JOB, code=75)), RUNNING).action, CreateAttempt)


def test_a_search_edited_before_its_attempt_was_noted_replaces_its_job() -> None:
    """The operator was killed between create and status write, and the spec has been edited since."""
    edited = with_change(SEARCH, "spec.algorithm", {"seed": 7})

    decided = decide(observe(edited, JOB))

    assert decided.action == DeleteJob(name=JOB["metadata"]["name"], uid="job-1")


def test_a_spec_that_looks_different_after_an_upgrade_keeps_its_job() -> None:
    """Once the attempt is noted, the API server forbids edits; new defaults of a newer CRD are not edits."""
    edited = with_change(SEARCH, "spec.algorithm", {"seed": 0})

    assert decide(observe(edited, JOB, POD, report=report(SEARCH)), RUNNING).action is None


def test_a_job_that_is_not_ours_is_never_adopted() -> None:
    """Labels alone do not make a Job ours."""
    foreign = with_change(JOB, "metadata.ownerReferences", [])

    assert isinstance(decide(observe(SEARCH, foreign)).action, CreateAttempt)


def test_a_job_that_is_deleted_after_its_result_still_succeeds() -> None:
    """A result is a result, whatever becomes of the Job."""
    leaving = with_change(JOB, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")

    assert decide(observe(SEARCH, leaving, ended_pod(JOB, code=0, message=result_text(SEARCH))), RUNNING).status.phase is Phase.SUCCEEDED


def test_a_stricter_operator_does_not_reject_what_has_begun() -> None:
    """Acceptance is judged before the first attempt; an upgrade changes nothing for running searches."""
    poor = with_change(SEARCH, "spec.budget", {"trainings": "1"})

    assert decide(observe(poor, JOB, POD, report=report(SEARCH)), RUNNING).status.phase is Phase.RUNNING


def test_an_old_event_does_not_explain_a_new_wait() -> None:
    """The quota was short before the start; now the Job backs off after an interruption."""
    old = WarningEvent(reason="FailedCreate", message="exceeded quota", time_s=NOW_S - 60)

    assert verdict(decide(observe(SEARCH, JOB, warning=old), RUNNING, at_s=NOW_S + 90).status, ConditionType.TRAINER_READY) == (
        "False",
        "BackOff",
    )


def test_a_valid_result_ends_the_search() -> None:
    """The result is expanded and copied, best is the test score, Succeeded and Finished are True."""
    seen = observe(SEARCH, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH), reason="Completed"))
    decided = decide(seen, RUNNING, at_s=NOW_S + 99)
    status = decided.status

    assert decided.needs_fresh_reads
    assert status.phase is Phase.SUCCEEDED
    assert verdict(status, ConditionType.SUCCEEDED) == ("True", "ResultStored")
    assert verdict(status, ConditionType.FINISHED) == ("True", "Succeeded")
    assert (status.best, status.progress, status.eta) == ("0.93", "100%", None)
    assert status.result is not None
    assert status.result.model_path == f"ml/fashion/{SEARCH['metadata']['uid']}/"
    assert {v.name for v in status.result.hyperparameters} == {"learning_rate", "weight_decay"}
    assert [a.reason for a in decided.announcements] == ["ResultStored"]


def test_a_result_says_how_often_it_was_tested_and_how_long_trainers_worked() -> None:
    """A mean comes with its number of trainings; one training has no mean."""
    repeated = {"test_mean": 0.92, "test_standard_deviation": 0.01, "seeds": 4, "active_seconds": 61.25}
    texts = (result_text(SEARCH, **repeated), result_text(SEARCH))
    many, one = (decide(observe(SEARCH, JOB, ended_pod(JOB, code=0, message=text)), RUNNING).status.result for text in texts)

    assert many is not None
    assert (many.scores.test_mean, many.scores.test_standard_deviation, many.scores.test_seeds) == ("0.92", "0.01", 4)
    assert many.active_seconds == "61.25"
    assert one is not None
    assert (one.scores.test_mean, one.scores.test_seeds) == (None, None)


EFFECT = {"decision": 2, "choice": 0, "effect": 0.0125, "standardError": 0.004}


def test_effects_become_names_and_decimals() -> None:
    """Importance keeps the trainer's order, and is absent where the algorithm measured no effects."""
    rate = {"decision": 0, "choice": -1, "value": "0.123", "effect": -2.5e-05, "standardError": 0}
    texts = (result_text(SEARCH, effects=[EFFECT, rate]), result_text(SEARCH))
    some, none = (decide(observe(SEARCH, JOB, ended_pod(JOB, code=0, message=text)), RUNNING).status.result for text in texts)

    assert some is not None
    assert some.to_json()["importance"] == [
        {"decision": "depth", "value": "1", "effect": "0.0125", "standardError": "0.004"},
        {"decision": "learning_rate", "value": "0.123", "effect": "-2.5e-05", "standardError": "0"},
    ]
    assert none is not None
    assert "importance" not in none.to_json()


RUNNER_UP = {"name": "depth 1", "fraction": 0.333333, "score": 0.91, "parameters": 1200, "cost": 2.5, "changes": {"depth": "1"}}


def test_runners_up_become_decimals() -> None:
    """In the trainer's order; absent where nothing else was compared."""
    texts = (result_text(SEARCH, runnersUp=[RUNNER_UP]), result_text(SEARCH))
    some, none = (decide(observe(SEARCH, JOB, ended_pod(JOB, code=0, message=text)), RUNNING).status.result for text in texts)

    assert some is not None
    assert some.to_json()["runnersUp"] == [
        {
            "name": "depth 1",
            "fraction": "0.333",
            "selection": "0.91",
            "parameters": 1200,
            "cost": "2.5",
            "changes": [{"name": "depth", "value": "1"}],
        }
    ]
    assert none is not None
    assert "runnersUp" not in none.to_json()


COMPARING = stored_search(algorithm={"name": "AutoHAS", "compare": {"seeds": 3}})
OWN_ROW = {"method": "search", "test": 0.93, "deviation": 0.01, "runs": 3}
OTHER_ROW = {
    "method": "random-halving",
    "test": 0.9,
    "runs": 2,
    "failed": 1,
    "wins": 2,
    "ties": 0,
    "losses": 1,
    "difference": 0.03,
    "low": -0.01,
    "high": 0.07,
    "t": 1.23456,
}


def test_a_comparison_becomes_rows_by_name() -> None:
    """The user's search first, and the last run is done; absent where nothing was compared."""
    job, text = stored_job(COMPARING), result_text(COMPARING, comparison=[OWN_ROW, OTHER_ROW])
    status = decide(observe(COMPARING, job, ended_pod(job, code=0, message=text)), RUNNING.replace(run="8/9")).status
    alone = decide(observe(SEARCH, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH))), RUNNING).status
    some, none = status.result, alone.result

    assert (status.run, alone.run) == ("9/9", None)
    assert some is not None
    assert some.to_json()["comparison"] == [
        {"name": "search", "test": "0.93", "testStandardDeviation": "0.01", "runs": 3},
        {
            "name": "random-halving",
            "test": "0.9",
            "runs": 2,
            "failed": 1,
            "wins": 2,
            "ties": 0,
            "losses": 1,
            "difference": "0.03",
            "differenceLow": "-0.01",
            "differenceHigh": "0.07",
            "t": "1.23",
        },
    ]
    assert none is not None
    assert "comparison" not in none.to_json()


def test_a_result_without_the_comparison_that_was_asked_for_is_not_believed() -> None:
    """An image that ran the search alone did not do what the spec says; an empty list had no room in the message, and is believed."""
    job = stored_job(COMPARING)
    texts = (result_text(COMPARING), result_text(COMPARING, comparison=[]))
    lacking, full = (decide(observe(COMPARING, job, ended_pod(job, code=0, message=text)), RUNNING).status for text in texts)

    assert (lacking.phase, full.phase) == (Phase.FAILED, Phase.SUCCEEDED)
    assert lacking.result is None
    assert full.result is not None
    assert full.result.comparison is None
    assert "result has no comparison, which algorithm.compare asks for" in str(lacking.to_json())


def test_a_finished_search_is_left_alone() -> None:
    """Whatever happens to Job and pods, only observedGeneration changes."""
    seen = observe(SEARCH, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH)))
    done = decide(seen, RUNNING).status

    decided = decide(observe(with_change(SEARCH, "metadata.generation", 2)), done)

    assert decided.action is None
    assert decided.status == done.replace(observed_generation=2)


HOSTILE_RESULTS = {
    "comparison that nothing asked for": result_text(SEARCH, comparison=[OWN_ROW]),
    "runner-up of another space": result_text(SEARCH, runnersUp=[{**RUNNER_UP, "changes": {"height": "1"}}]),
    "text": "Traceback (most recent call last): boom",
    "nan": result_text(SEARCH).replace("0.93", "NaN"),
    "infinite": result_text(SEARCH).replace("0.93", "1e999"),
    "deep": "[" * 4000,
    "list": "[]",
    "long": "x" * 5000,
    "other kind": interrupted_text(SEARCH),
    "other search": result_text(SEARCH).replace(SEARCH["metadata"]["uid"], "other"),
    "other pod": result_text(SEARCH, pod_uid="pod-2"),
    "other attempt": result_text(SEARCH, attempt=2),
    "other version": result_text(SEARCH).replace('"version":1', '"version":2'),
    "other score": result_text(SEARCH, test_score=0.99),
    "other configuration": result_text(SEARCH, configuration_digest="sha256:" + "0" * 64),
    "too few choices": result_text(SEARCH, choices=[0]),
    "choice out of range": result_text(SEARCH).replace('"choices":[', '"choices":[64,'),
    "effect of no decision": result_text(SEARCH, effects=[EFFECT | {"decision": 99}]),
    "effect of no choice": result_text(SEARCH, effects=[EFFECT | {"choice": 50}]),
    "effect of no value": result_text(SEARCH, effects=[EFFECT | {"choice": -1}]),
    "effect of a value outside the range": result_text(SEARCH, effects=[EFFECT | {"decision": 0, "choice": -1, "value": "1e9"}]),
    "effect of both choice and value": result_text(SEARCH, effects=[EFFECT | {"value": "1"}]),
    "effect that is not finite": result_text(SEARCH, effects=[EFFECT]).replace("0.0125", "1e999"),
    "negative standard error": result_text(SEARCH, effects=[EFFECT]).replace("0.004", "-0.004"),
    "too many effects": result_text(SEARCH, effects=[EFFECT] * 8).replace('"effects":[', '"effects":[' + json.dumps(EFFECT) + ","),
    "lone surrogate": '"\ud800"',
}


@pytest.mark.parametrize("text", HOSTILE_RESULTS.values(), ids=HOSTILE_RESULTS)
def test_exit_code_0_with_anything_but_a_valid_result_is_never_success(text: str) -> None:
    """The search fails with ResultInvalid and no result is stored."""
    status = decide(observe(SEARCH, JOB, ended_pod(JOB, code=0, message=text)), RUNNING).status

    assert status.phase is Phase.FAILED
    assert verdict(status, ConditionType.SUCCEEDED) == ("False", "ResultInvalid")
    assert status.result is None
    assert Status.model_validate_json(status.model_dump_json(by_alias=True, exclude_none=True)) == status


FAILED_JOB = stored_job(SEARCH, conditions=[condition("Failed", "PodFailurePolicy", "Container trainer failed with exit code 78 matching")])
EXHAUSTED_JOB = stored_job(SEARCH, conditions=[condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")])
FAILURES = [
    (FAILED_JOB, ended_pod(JOB, code=64, message=error_text(SEARCH, "no such flag", code=64)), "ConfigError", "no such flag"),
    (FAILED_JOB, ended_pod(JOB, code=78, message=error_text(SEARCH, "no GPU here", code=78)), "ConfigError", "no GPU here"),
    (FAILED_JOB, ended_pod(JOB, code=65, message=error_text(SEARCH, "no file labels", code=65)), "DataError", "no file labels"),
    (FAILED_JOB, ended_pod(JOB, code=66), "NoUsableCheckpoint", "exit code 66"),
    (FAILED_JOB, ended_pod(JOB, code=70, message="loss is nan"), "NumericalFailure", "loss is nan"),
    (FAILED_JOB, None, "ConfigError", "exit code 78"),
    (
        EXHAUSTED_JOB,
        ended_pod(JOB, code=1, message="KeyError: 'x'\n\x1b[31mred\x00"),
        "BackoffLimitExceeded",
        "KeyError: 'x'; the log ends: [31mred",
    ),
    (EXHAUSTED_JOB, ended_pod(JOB, code=137, reason="OOMKilled"), "BackoffLimitExceeded", "OOMKilled"),
    (EXHAUSTED_JOB, None, "BackoffLimitExceeded", "backoff limit"),
]


@pytest.mark.parametrize(("job", "pod", "reason", "words"), FAILURES, ids=[f"{f[2]}-{i}" for i, f in enumerate(FAILURES)])
def test_a_failed_job_fails_the_search_in_the_trainers_words(
    job: dict[str, Any], pod: dict[str, Any] | None, reason: str, words: str
) -> None:
    """The reason follows the exit code, the message is the trainer's sentence, printable and short."""
    decided = decide(observe(SEARCH, job, *([pod] if pod else [])), RUNNING)
    explanation = verdict_of(decided.status, ConditionType.SUCCEEDED)

    assert explanation is not None
    assert (explanation.status, explanation.reason) == ("False", reason)
    assert words in explanation.message
    assert explanation.message.isprintable()
    assert decided.status.phase is Phase.FAILED
    assert verdict(decided.status, ConditionType.TRAINER_READY) == ("False", "Finished")
    named = ["NumericalFailure"] if reason == "NumericalFailure" else []
    assert [a.reason for a in decided.announcements] == [*named, "SearchFailed"]


def test_a_search_without_a_usable_checkpoint_does_not_call_it_fresh() -> None:
    """CheckpointReady has the trainer's message; any other end keeps its verdict."""
    durable = stored_search(durable=True)
    job = stored_job(durable)
    before = decide(observe(durable, job, running_pod(job), report=report(durable))).status
    failed = {**job, "status": FAILED_JOB["status"]}
    ends = {
        code: decide(observe(durable, failed, ended_pod(job, code=code, message=error_text(durable, "each is damaged", code=code))), before)
        for code in (65, 66)
    }
    lost = verdict_of(ends[66].status, ConditionType.CHECKPOINT_READY)

    assert verdict(ends[65].status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert lost is not None
    assert (lost.status, lost.reason) == ("False", "RestoreFailed")
    assert "each is damaged" in lost.message


COMPLETE_JOB = stored_job(SEARCH, conditions=[condition("Complete")])


def test_a_complete_job_without_its_pod_is_repeated_once() -> None:
    """Intention first, then the delete, then attempt 2; lost again, the search fails with ResultMissing."""
    gone = observe(SEARCH, COMPLETE_JOB)
    noted = decide(gone, RUNNING)
    deleting = decide(gone, noted.status)
    repeating = decide(observe(SEARCH), deleting.status)
    second = stored_job(SEARCH, 2, conditions=[condition("Complete")])
    lost = decide(observe(SEARCH, second), repeating.status)

    assert noted.action is None
    assert noted.needs_fresh_reads
    assert verdict(noted.status, ConditionType.SUCCEEDED) == ("Unknown", "ResultMissing")
    assert isinstance(deleting.action, DeleteJob)
    assert isinstance(repeating.action, CreateAttempt)
    assert verdict(repeating.status, ConditionType.SUCCEEDED) == ("Unknown", "RecoveringResult")
    assert verdict(lost.status, ConditionType.SUCCEEDED) == ("False", "ResultMissing")


def test_a_repetition_is_remembered_over_a_restart_before_its_status_write() -> None:
    """Job 2 is there and complete, status still says attempt 1: no third attempt."""
    noted = decide(observe(SEARCH, COMPLETE_JOB), RUNNING).status
    second = stored_job(SEARCH, 2, conditions=[condition("Complete")])

    assert decide(observe(SEARCH, second), noted).status.phase is Phase.FAILED


def test_a_repetition_that_speaks_succeeds() -> None:
    """The trainer found its result and reported it again."""
    noted = decide(observe(SEARCH, COMPLETE_JOB), RUNNING).status
    second = stored_job(SEARCH, 2)
    pod = ended_pod(second, code=0, message=result_text(SEARCH, attempt=2))

    assert decide(observe(SEARCH, second, pod), noted).status.phase is Phase.SUCCEEDED


def test_a_spec_that_cannot_work_is_rejected_until_it_is_edited() -> None:
    """No Job is created, the message names the field, and the edited spec starts."""
    wrong = with_change(SEARCH, "spec.budget", {"trainings": "1"})
    rejected = decide(observe(wrong))
    corrected = decide(observe(with_change(SEARCH, "metadata.generation", 2)), rejected.status)
    explanation = verdict_of(rejected.status, ConditionType.ACCEPTED)

    assert rejected.action is None
    assert rejected.status.phase is Phase.REJECTED
    assert verdict(rejected.status, ConditionType.TRAINER_READY) == ("False", "NotAccepted")
    assert verdict(rejected.status, ConditionType.SUCCEEDED) == ("Unknown", "NotAccepted")
    assert explanation is not None
    assert "spec.budget.trainings: must be at least" in explanation.message
    assert [a.reason for a in rejected.announcements] == ["SearchRejected"]
    assert len(rejected.status.conditions) == len(ConditionType)
    assert isinstance(corrected.action, CreateAttempt)
    assert corrected.status.phase is Phase.STARTING


def test_a_service_account_must_be_one_that_the_platform_allows() -> None:
    """No Job with it is created; the message names field, value and list; a running Job stays."""
    wish = with_change(SEARCH, "spec.trainer", {"serviceAccountName": "admin"})
    refused = decide(observe(wish))
    allowed = plan(observe(wish), Status(), replace(PODS, service_accounts=("admin",)), NOW_S)
    withdrawn = plan(observe(wish, JOB, POD, report=report(SEARCH)), RUNNING, replace(PODS, service_accounts=()), NOW_S)
    explanation = verdict_of(refused.status, ConditionType.ACCEPTED)

    assert refused.action is None
    assert explanation is not None
    assert (explanation.status, explanation.reason) == ("False", "ServiceAccountNotAllowed")
    assert 'spec.trainer.serviceAccountName: "admin"' in explanation.message
    assert explanation.message.endswith("trainer.serviceAccounts): none")
    assert isinstance(allowed.action, CreateAttempt)
    assert withdrawn.status.phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("blamed", "reason", "phase", "kind"),
    [
        (Blamed.SPEC, Reason.TEMPLATE_REJECTED, Phase.REJECTED, ConditionType.ACCEPTED),
        (Blamed.TRAINER, Reason.JOB_FORBIDDEN, Phase.PENDING, ConditionType.TRAINER_READY),
        (Blamed.TRAINER, Reason.NAME_CONFLICT, Phase.PENDING, ConditionType.TRAINER_READY),
        (Blamed.TRAINER, Reason.JOB_NOT_CREATED, Phase.PENDING, ConditionType.TRAINER_READY),
        (Blamed.TRAINER, Reason.NAME_STILL_TERMINATING, Phase.PENDING, ConditionType.TRAINER_READY),
    ],
)
def test_a_refused_create_is_shown_and_not_counted_as_an_attempt(blamed: Blamed, reason: Reason, phase: Phase, kind: ConditionType) -> None:
    """The spec stays editable: no attempt is noted."""
    status = decide(observe(SEARCH, blocker=Blocker(blamed=blamed, reason=reason, message="m"))).status

    assert status.phase is phase
    assert status.attempt is None
    assert verdict(status, kind) == ("False", reason.value)


def test_a_search_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    """No action, no status change, no event."""
    leaving = with_change(SEARCH, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")

    decided = decide(observe(leaving), RUNNING)

    assert (decided.action, decided.status, decided.announcements) == (None, RUNNING, ())
