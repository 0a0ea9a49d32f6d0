"""Which image an attempt uses, what the platform lets a search name, and how each refusal is resolved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autohas_api.spec.search import IMMUTABLE_ONCE_STARTED, MUTABLE_WHILE_SUSPENDED, transition_rules
from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.actions import CreateAttempt, DeleteJob
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import Plan, plan
from autohas_operator.settings import PodSettings
from autohas_operator.testing.builders import NOW_S, PODS, ended_pod, observe, report, running_pod, stored_job, stored_pod, stored_search
from autohas_operator.testing.decisions import CREATED, JOB, RUNNING, SEARCH, decide, verdict

MISSPELT = replace(PODS, image="autohas-trainer:no-such-tag")
CORRECTED = replace(PODS, image="autohas-trainer:0.1.0")


def image_of(decided: Plan) -> str:
    assert isinstance(decided.action, CreateAttempt)
    return str(decided.action.job["spec"]["template"]["spec"]["containers"][0]["image"])


def job_with(image: str) -> dict[str, Any]:
    """The Job of a search without an image of its own, under a chart with this image."""
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    return with_change(JOB, "spec.template.spec.containers", [{**container, "image": image}])


def waiting_pod(job: dict[str, Any], reason: str = "ImagePullBackOff") -> dict[str, Any]:
    return stored_pod(job, state={"waiting": {"reason": reason, "message": "not found"}})


def test_an_image_that_was_never_pulled_is_not_kept() -> None:
    """`helm upgrade` to a tag that is not there, a search, `helm rollback`: the Job is replaced by one with the chart's image."""
    job = job_with(MISSPELT.image)
    created = plan(observe(SEARCH), Status(), MISSPELT, NOW_S).status
    waiting = plan(observe(SEARCH, job, waiting_pod(job)), created, MISSPELT, NOW_S + 30)
    corrected = plan(observe(SEARCH, job, waiting_pod(job)), waiting.status, CORRECTED, NOW_S + 60)
    following = plan(observe(SEARCH), corrected.status, CORRECTED, NOW_S + 90)
    explanation = verdict_of(corrected.status, ConditionType.TRAINER_READY)

    assert waiting.action is None
    assert verdict(waiting.status, ConditionType.TRAINER_READY) == ("False", "ImagePullFailed")
    assert corrected.action == DeleteJob(name="fashion-5ea4c400-1", uid="job-1")
    assert explanation is not None
    assert explanation.reason == "JobReplaced"
    assert explanation.message == (
        "Job fashion-5ea4c400-1 cannot pull image autohas-trainer:no-such-tag, with which no trainer has started;"
        " the next attempt uses autohas-trainer:0.1.0"
    )
    assert image_of(following) == "autohas-trainer:0.1.0"


NEVER_STARTED = [
    waiting_pod(job_with(MISSPELT.image), "CreateContainerError"),
    stored_pod(job_with(MISSPELT.image), scheduled=False),
    ended_pod(job_with(MISSPELT.image), code=128, reason="StartError"),
]


@pytest.mark.parametrize("pod", NEVER_STARTED, ids=["not created", "not scheduled", "not started"])
def test_only_a_trainer_that_started_pins_its_image(pod: dict[str, Any]) -> None:
    """A suspension deletes the Job: the next one uses the chart's current image."""
    job = job_with(MISSPELT.image)
    created = plan(observe(SEARCH), Status(), MISSPELT, NOW_S).status
    seen = plan(observe(SEARCH, job, pod), created, MISSPELT, NOW_S + 30).status

    assert image_of(plan(observe(SEARCH), seen, CORRECTED, NOW_S + 90)) == "autohas-trainer:0.1.0"


@pytest.mark.parametrize("pod", [running_pod(JOB), ended_pod(JOB, code=1)], ids=["running", "failed before its first report"])
def test_the_image_of_a_trainer_that_started_is_taken_again(pod: dict[str, Any]) -> None:
    """Whether it reported or not, the checkpoint has the format of that version."""
    started = decide(observe(SEARCH, JOB, pod), CREATED).status

    assert image_of(plan(observe(SEARCH), started, CORRECTED, NOW_S + 90)) == "trainer:1"


def test_a_status_of_an_older_operator_keeps_its_image_when_a_trainer_reported() -> None:
    """It wrote no pinnedImage: the image of an attempt that has reported counts."""
    assert RUNNING.trainer is not None
    older = RUNNING.replace(trainer=RUNNING.trainer.replace(pinned_image=None))
    unheard = older.replace(last_report_time=None)

    assert image_of(plan(observe(SEARCH), older, CORRECTED, NOW_S + 90)) == "trainer:1"
    assert image_of(plan(observe(SEARCH), unheard, CORRECTED, NOW_S + 90)) == "autohas-trainer:0.1.0"


STRICT = replace(PODS, image="charts.example/autohas-trainer:2", allowed_images=("registry.example/team",))


def test_the_charts_own_image_always_passes() -> None:
    """Named in the search, as docs/troubleshooting.md advises for VersionSkew, or pinned and of the same repository."""
    assert RUNNING.trainer is not None
    named = with_change(SEARCH, "spec.trainer", {"image": STRICT.image})
    pinned = RUNNING.trainer.replace(image="charts.example/autohas-trainer:1", pinned_image="charts.example/autohas-trainer:1")
    earlier = RUNNING.replace(trainer=pinned)

    assert image_of(plan(observe(named), Status(), STRICT, NOW_S)) == STRICT.image
    assert image_of(plan(observe(SEARCH), earlier, STRICT, NOW_S)) == "charts.example/autohas-trainer:1"


def test_a_pinned_image_is_held_against_the_list_before_each_job() -> None:
    """Even if status pins it, an image that the platform does not allow is not started, and the message says what to do."""
    decided = plan(observe(SEARCH), RUNNING, STRICT, NOW_S)
    explanation = verdict_of(decided.status, ConditionType.ACCEPTED)

    assert (decided.action, decided.status.phase) == (None, Phase.REJECTED)
    assert explanation is not None
    assert explanation.reason == "ImageNotAllowed"
    assert explanation.message == (
        'status.trainer.pinnedImage: "trainer:1" must begin with an entry of the chart value trainer.allowedImages:'
        " registry.example/team; name another in spec.trainer.image"
    )


LISTS = replace(PODS, priority_classes=("research", "batch"), runtime_classes=("nvidia",), schedulers=("volcano",))
LISTED = [
    ("priorityClassName", "urgent", "PriorityClassNotAllowed", "trainer.priorityClasses): research, batch"),
    ("runtimeClassName", "kata", "RuntimeClassNotAllowed", "trainer.runtimeClasses): nvidia"),
    ("schedulerName", "mine", "SchedulerNotAllowed", "trainer.schedulers): volcano"),
]


@pytest.mark.parametrize(("field", "name", "reason", "listed"), LISTED)
def test_a_class_must_be_one_of_the_platforms(field: str, name: str, reason: str, listed: str) -> None:
    """Priority, runtime and scheduler: no Job, and the message has path, value and list; an empty list allows any."""
    wish = with_change(SEARCH, "spec.trainer", {field: name})
    refused, free = plan(observe(wish), Status(), LISTS, NOW_S), plan(observe(wish), Status(), PODS, NOW_S)
    explanation = verdict_of(refused.status, ConditionType.ACCEPTED)

    assert (refused.action, refused.status.phase) == (None, Phase.REJECTED)
    assert explanation is not None
    assert (explanation.status, explanation.reason) == ("False", reason)
    assert "must be one that the platform allows (chart value" in explanation.message
    assert explanation.message == f'spec.trainer.{field}: "{name}" must be one that the platform allows (chart value {listed}'
    assert isinstance(free.action, CreateAttempt)


def test_what_is_on_the_lists_passes() -> None:
    """The default scheduler is always allowed."""
    wish = {"priorityClassName": "batch", "runtimeClassName": "nvidia", "schedulerName": "volcano"}

    for trainer in (wish, {"schedulerName": "default-scheduler"}, {}):
        assert isinstance(plan(observe(with_change(SEARCH, "spec.trainer", trainer)), Status(), LISTS, NOW_S).action, CreateAttempt)


@pytest.mark.parametrize("pods", [PODS, replace(PODS, priority_classes=("system-node-critical",))], ids=["no list", "on the list"])
def test_a_system_priority_is_never_allowed(pods: PodSettings) -> None:
    """Not even by a list, because such pods preempt the cluster's own. A search stored before the schema refused it is refused here."""
    begun = with_change(SEARCH, "spec.trainer", {"priorityClassName": "system-node-critical"})
    decided = plan(observe(begun), RUNNING, pods, NOW_S)
    explanation = verdict_of(decided.status, ConditionType.ACCEPTED)

    assert (decided.action, decided.status.phase) == (None, Phase.REJECTED)
    assert explanation is not None
    assert explanation.message.startswith('spec.trainer.priorityClassName: "system-node-critical" must not begin with system-')


REFUSALS: dict[str, tuple[dict[str, Any], PodSettings]] = {
    "image": ({"image": "mine:1"}, STRICT),
    "serviceAccountName": ({"serviceAccountName": "admin"}, PODS),
    "priorityClassName": ({"priorityClassName": "urgent"}, LISTS),
    "runtimeClassName": ({"runtimeClassName": "kata"}, LISTS),
    "schedulerName": ({"schedulerName": "mine"}, LISTS),
    "volumes": ({"volumes": [{"name": "v", "csi": {"driver": "nfs.csi.k8s.io"}}]}, PODS),
    "initContainers": ({"initContainers": [{"name": "fetch", "image": "mine:1"}]}, STRICT),
}


@pytest.mark.parametrize(("field", "wish", "pods"), [(field, *case) for field, case in REFUSALS.items()], ids=REFUSALS)
def test_a_refused_search_without_a_job_can_be_suspended(field: str, wish: dict[str, Any], pods: PodSettings) -> None:
    """Phase Suspended with the refusal in Accepted: the field can then be edited, and its checkpoints stay usable."""
    before = RUNNING.replace(phase=Phase.REJECTED)
    resting = plan(observe(stored_search(trainer=wish, suspend=True)), before, pods, NOW_S + 60)
    edited = plan(observe(stored_search(trainer={"image": pods.image})), resting.status, pods, NOW_S + 120)
    explanation = verdict_of(resting.status, ConditionType.ACCEPTED)

    assert (resting.action, resting.status.phase) == (None, Phase.SUSPENDED)
    assert explanation is not None
    assert explanation.status == "False"
    assert f"spec.trainer.{field}" in explanation.message
    assert isinstance(edited.action, CreateAttempt)
    assert verdict(edited.status, ConditionType.ACCEPTED) == ("True", "Valid")


def test_everything_that_the_platform_judges_may_be_edited_at_rest() -> None:
    """While Suspended or Rejected: otherwise a search could not continue after a list becomes stricter."""
    rules = {path: expression for expression, _, path in transition_rules()}

    assert set(REFUSALS) <= set(MUTABLE_WHILE_SUSPENDED)
    for field in REFUSALS:
        assert "oldSelf.status.phase == 'Rejected'" in rules[f".spec.trainer.{field}"]
        assert "oldSelf.status.phase == 'Suspended'" in rules[f".spec.trainer.{field}"]
    assert "trainer" not in IMMUTABLE_ONCE_STARTED


def test_a_running_search_is_not_judged_by_new_lists() -> None:
    """The running Job stays; only the next one is refused."""
    wish = with_change(SEARCH, "spec.trainer", {"priorityClassName": "urgent"})
    job = stored_job(wish)
    running = plan(observe(wish, job, running_pod(job), report=report(wish)), CREATED, PODS, NOW_S + 1).status

    assert plan(observe(wish, job, running_pod(job), report=report(wish)), running, LISTS, NOW_S + 2).status.phase is Phase.RUNNING
