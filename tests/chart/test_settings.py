"""Every setting of the operator has its value in the chart, with the same default and the same bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from autohas_operator.settings import Settings, read_settings
from rendering import CHART, environment_of, render
from testcluster.client import Tool
from testcluster.commands import CommandFailedError

NOT_IN_THE_CHART = {
    "kubeconfig": "the pod has its service account",
    "listen_address": "probes and Prometheus come from outside the pod",
}
"""Settings that only make sense outside of a cluster, with the reason."""
NUMBERS = {
    "workers": "workers",
    "writes_per_second": "writesPerSecond",
    "writes_burst": "writesBurst",
    "events_per_second": "eventsPerSecond",
    "events_burst": "eventsBurst",
    "request_timeout_s": "requestTimeoutSeconds",
    "resync_period_s": "resyncPeriodSeconds",
    "poll_period_s": "pollPeriodSeconds",
    "poll_timeout_s": "pollTimeoutSeconds",
    "poll_concurrency": "pollConcurrency",
}
"""Numeric settings: their names under `operator` in the values."""
SCHEMA = Settings.model_json_schema()["properties"]
"""Type and bounds of each setting, as the operator has them."""
DEFAULTS = {
    "resources": {"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"memory": 8000000000}},
    "scratchSize": "50Gi",
    "nodeSelector": {"pool": "training"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600000}],
    "priorityClassName": "research",
    "runtimeClassName": "nvidia",
}


def test_every_setting_is_reachable_from_the_chart(helm: Tool) -> None:
    """The chart sets every setting but the listed ones, and no other variable."""
    settings = {f"AUTOHAS_{name.upper()}" for name in Settings.model_fields if name not in NOT_IN_THE_CHART}

    assert set(environment_of(render(helm))) == settings


def test_the_charts_defaults_are_the_operators(helm: Tool) -> None:
    """With default values the chart changes no setting but the identity, which is the release's."""
    assert read_settings([], environment_of(render(helm, namespace="team"))) == Settings(identity="team/autohas-operator")


@pytest.mark.parametrize(("setting", "value"), NUMBERS.items(), ids=NUMBERS)
def test_a_number_has_the_same_bounds_in_both(helm: Tool, setting: str, value: str) -> None:
    """The schema has the bounds of the setting, and a changed value arrives."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["operator"]["properties"][value]
    own = SCHEMA[setting]
    settings = read_settings([], environment_of(render(helm, **dict[str, Any]({f"operator__{value}": 4321}))))

    assert schema == {key: own[key] for key in ("type", "minimum", "maximum") if key in own}
    assert getattr(settings, setting) == 4321
    with pytest.raises(CommandFailedError, match=f"operator.{value}|/operator/{value}"):
        helm("template", "autohas", CHART, f"--set=operator.{value}=0")


def test_no_other_number_is_a_setting() -> None:
    """The table above contains every numeric setting but those that stand elsewhere in the values."""
    numbers = {name for name, own in SCHEMA.items() if own.get("type") in ("integer", "number")}

    assert numbers - set(NUMBERS) == {"listen_port"}


def test_defaults_and_images_of_trainers_arrive_whole(helm: Tool) -> None:
    """All fields arrive, numbers as numbers; empty fields are left out."""
    allowed = ["registry.example/team", "ghcr.io/lab/"]
    settings = read_settings([], environment_of(render(helm, trainer__defaults=DEFAULTS, trainer__allowedImages=allowed))).pods
    one = read_settings([], environment_of(render(helm, trainer__defaults={"nodeSelector": {"a": "b"}}))).pods

    assert settings.defaults.to_json() == DEFAULTS
    assert settings.allowed_images == tuple(allowed)
    assert one.defaults.to_json() == {"nodeSelector": {"a": "b"}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trainer.defaults", {"affinity": {}}),
        ("trainer.defaults", {"resources": {"claims": []}}),
        ("trainer.defaults", {"resources": {"limits": {"cpu": 0.5}}}),
        ("trainer.defaults", {"tolerations": [{"effect": "Never"}]}),
        ("trainer.defaults", {"priorityClassName": "Research!"}),
        ("trainer.allowedImages", [""]),
        ("trainer.csiDrivers", ["a b"]),
        ("trainer.csiDrivers", ["a,b"]),
        ("trainer.allowedImages", ["a,b"]),
        ("operator", {"extraEnv": []}),
    ],
)
def test_what_the_operator_could_not_read_is_refused_by_helm(helm: Tool, path: str, value: Any) -> None:
    """Before anything is installed."""
    with pytest.raises(CommandFailedError, match="values"):
        helm("template", "autohas", CHART, f"--set-json={path}={json.dumps(value)}")


def test_the_values_say_every_value(helm: Tool) -> None:
    """values.yaml contains each property of the schema that maps to settings."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert set(values["operator"]) == set(NUMBERS.values())
    assert set(values["trainer"]["defaults"]) == set(DEFAULTS)
    helm("lint", CHART, "--strict")
