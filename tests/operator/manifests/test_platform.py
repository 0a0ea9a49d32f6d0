"""The platform's lists and defaults for trainer pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.actions import CreateAttempt
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import Plan, plan
from autohas_operator.settings import PodSettings, SettingError, read_settings
from autohas_operator.testing.builders import NOW_S, PODS, observe, report, running_pod, stored_job
from autohas_operator.testing.decisions import JOB, POD, RUNNING, SEARCH
from autohas_operator.trainer_defaults import TrainerDefaults

DEFAULTS = {
    "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
    "nodeSelector": {"pool": "training"},
    "tolerations": [{"key": "training", "operator": "Exists", "effect": "NoSchedule"}],
    "priorityClassName": "research",
    "runtimeClassName": "nvidia",
}
PLATFORM = replace(PODS, defaults=TrainerDefaults.model_validate(DEFAULTS))


def decided(trainer: dict[str, Any], pods: PodSettings) -> Plan:
    return plan(observe(with_change(SEARCH, "spec.trainer", trainer)), Status(), pods, NOW_S)


def pod_of(decision: Plan) -> dict[str, Any]:
    assert isinstance(decision.action, CreateAttempt)
    spec: dict[str, Any] = decision.action.job["spec"]["template"]["spec"]
    return spec


def explanation(pod: dict[str, Any]) -> dict[str, Any]:
    """The fields that can have a default."""
    resources = pod["containers"][0]["resources"]
    return {name: pod[name] for name in DEFAULTS if name in pod} | ({"resources": resources} if resources else {})


def test_a_search_that_asks_for_nothing_gets_what_the_platform_gives() -> None:
    """All five fields are in the Job's pod; without defaults none is."""
    assert explanation(pod_of(decided({}, PLATFORM))) == DEFAULTS
    assert explanation(pod_of(decided({}, PODS))) == {}


@pytest.mark.parametrize(
    ("field", "own"),
    [
        ("resources", {"limits": {"nvidia.com/gpu": 1}}),
        ("nodeSelector", {"zone": "b"}),
        ("tolerations", [{"key": "spot", "operator": "Exists"}]),
        ("priorityClassName", "urgent"),
        ("runtimeClassName", "gvisor"),
    ],
)
def test_a_field_of_the_search_replaces_the_whole_default(field: str, own: Any) -> None:
    """Nothing is merged: that field has the search's value only, the other four have the platform's."""
    assert explanation(pod_of(decided({field: own}, PLATFORM))) == {**DEFAULTS, field: own}


def test_an_empty_field_of_the_search_declines_the_default() -> None:
    """`tolerations: []` and `nodeSelector: {}` are values too."""
    left = {name: value for name, value in DEFAULTS.items() if name not in ("tolerations", "nodeSelector")}

    assert explanation(pod_of(decided({"tolerations": [], "nodeSelector": {}}, PLATFORM))) == left


def test_a_device_by_default_counts_as_one_that_the_search_asks_for() -> None:
    """/dev/shm is a volume of its own, and AUTOHAS_GPU names the device; a search that sets the limit to 0 gets neither."""
    device = replace(PODS, defaults=TrainerDefaults.model_validate({"resources": {"limits": {"nvidia.com/gpu": 1}}}))
    accepted, declined = (pod_of(decided(own, device))["containers"][0] for own in ({}, {"resources": {"limits": {"nvidia.com/gpu": 0}}}))

    assert "/dev/shm" in [mount["mountPath"] for mount in accepted["volumeMounts"]]
    assert [gpu_told_to(container) for container in (accepted, declined)] == ["nvidia.com/gpu", ""]


@pytest.mark.parametrize(
    ("limits", "gpu"),
    [
        ({"cpu": "2", "nvidia.com/gpu": 1}, "nvidia.com/gpu"),
        ({"nvidia.com/gpu.shared": 1}, "nvidia.com/gpu.shared"),
        ({"nvidia.com/mig-1g.5gb": "1"}, "nvidia.com/mig-1g.5gb"),
        ({"amd.com/gpu": 1}, "amd.com/gpu"),
        ({"gpu.intel.com/i915": 1}, "gpu.intel.com/i915"),
        ({"nvidia.com/hostdev": 1, "cpu": 1}, "nvidia.com/hostdev"),
        ({"nvidia.com/hostdev": 1, "nvidia.com/gpu": 1}, "nvidia.com/gpu"),
        ({"nvidia.com/gpu": "0"}, ""),
    ],
)
def test_the_trainer_is_told_which_gpu_its_pod_has(limits: dict[str, Any], gpu: str) -> None:
    """Whole, shared, a slice, another vendor's, a device of unknown use (a GPU goes before it); zero of them are none."""
    (container,) = pod_of(decided({"resources": {"limits": limits}}, PODS))["containers"]

    assert gpu_told_to(container) == gpu


def test_a_claim_counts_as_a_device() -> None:
    """Only its driver knows what a claim provides, so the trainer looks for a GPU, and /dev/shm is large."""
    claim = {"resourceClaims": [{"name": "card", "resourceClaimTemplateName": "one-gpu"}]}
    (container,) = pod_of(decided(claim, PODS))["containers"]

    assert gpu_told_to(container) == "the resource claim card"
    assert "/dev/shm" in [mount["mountPath"] for mount in container["volumeMounts"]]


def gpu_told_to(container: dict[str, Any]) -> str:
    """The value of AUTOHAS_GPU."""
    (value,) = (entry["value"] for entry in container["env"] if entry["name"] == "AUTOHAS_GPU")
    return str(value)


def test_a_default_that_appears_later_leaves_a_job_alone() -> None:
    """The running Job is neither replaced nor touched."""
    later = plan(observe(SEARCH, JOB, POD, report=report(SEARCH)), RUNNING, PLATFORM, NOW_S)

    assert later.action is None
    assert later.status.phase is Phase.RUNNING


ALLOWED = ("registry.example/team", "ghcr.io/lab/", "mirror.example/autohas-trainer:0.1.0")


@pytest.mark.parametrize(
    ("image", "is_allowed"),
    [
        ("", True),
        ("registry.example/team/mine:1", True),
        ("registry.example/team:2", True),
        ("registry.example/team@sha256:" + "ab" * 32, True),
        ("registry.example/team-of-others/mine:1", False),
        ("ghcr.io/lab/mine", True),
        ("ghcr.io/laboratory/mine", False),
        ("mirror.example/autohas-trainer:0.1.0", True),
        ("mirror.example/autohas-trainer:0.1.01", False),
        ("evil.example/registry.example/team/mine", False),
    ],
)
def test_an_image_must_begin_with_what_the_platform_allows(image: str, is_allowed: bool) -> None:  # noqa: FBT001 - a case
    """Prefixes match whole path components; the chart's own image is always allowed; the message has path, value and list."""
    decision = decided({"image": image}, replace(PODS, allowed_images=ALLOWED))
    explanation = verdict_of(decision.status, ConditionType.ACCEPTED)

    assert explanation is not None
    if is_allowed:
        assert pod_of(decision)["containers"][0]["image"] == (image or PODS.image)
    else:
        assert (decision.action, decision.status.phase, explanation.status, explanation.reason) == (
            None,
            Phase.REJECTED,
            "False",
            "ImageNotAllowed",
        )
        assert explanation.message.startswith(f'spec.trainer.image: "{image}" must begin with an entry of')
        assert explanation.message.endswith(": registry.example/team, ghcr.io/lab/, mirror.example/autohas-trainer:0.1.0")


def test_a_list_of_images_that_appears_later_leaves_a_running_trainer_alone() -> None:
    """As for a withdrawn account: the running Job continues, the next one is not created."""
    wish = with_change(SEARCH, "spec.trainer", {"image": "mine:1"})
    job = stored_job(wish)
    strict = replace(PODS, allowed_images=("registry.example/",))
    running = plan(observe(wish, job, running_pod(job), report=report(SEARCH)), Status(), PODS, NOW_S).status

    assert plan(observe(wish, job, running_pod(job), report=report(SEARCH)), running, strict, NOW_S).status.phase is Phase.RUNNING
    assert plan(observe(wish), running, strict, NOW_S).status.phase is Phase.REJECTED


def test_both_come_from_the_environment() -> None:
    """A list with commas, the defaults as JSON under the names of spec.trainer."""
    environment = {
        "AUTOHAS_TRAINER_ALLOWED_IMAGES": "registry.example/team, ghcr.io/lab/",
        "AUTOHAS_TRAINER_DEFAULTS": '{"nodeSelector": {"pool": "training"}}',
    }
    pods = read_settings([], environment).pods

    assert pods.allowed_images == ("registry.example/team", "ghcr.io/lab/")
    assert pods.defaults == TrainerDefaults(node_selector={"pool": "training"})
    assert read_settings([], {"AUTOHAS_TRAINER_DEFAULTS": ""}).pods.defaults == TrainerDefaults()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "AUTOHAS_TRAINER_DEFAULTS .*JSON"),
        ('{"affinity": {}}', "AUTOHAS_TRAINER_DEFAULTS: affinity: unknown field"),
        ('{"node_selector": {}}', 'AUTOHAS_TRAINER_DEFAULTS: node_selector: unknown field; did you mean "nodeSelector"'),
        (
            '{"resources": {"limits": {"nvidia.com/gpu": 8}}}',
            "TRAINER_DEFAULTS: resources.limits: .* must be 1: one search uses one GPU",
        ),
        ('{"tolerations": [{"value": "x"}]}', r"AUTOHAS_TRAINER_DEFAULTS: tolerations\[0\]\.operator: operator must be Exists"),
        ('{"resources": {"limits": {"cpu": "two"}}}', 'AUTOHAS_TRAINER_DEFAULTS: resources.limits.cpu: Invalid value: "two"'),
    ],
)
def test_defaults_that_cannot_be_used_end_the_operator_at_its_start(text: str, message: str) -> None:
    """They are found at the start, not by the first search; the message has the variable, the path and the error."""
    with pytest.raises(SettingError, match=message):
        read_settings([], {"AUTOHAS_TRAINER_DEFAULTS": text})
