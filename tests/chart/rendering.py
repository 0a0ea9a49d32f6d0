"""The chart as Helm renders it, by kind and name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from testcluster.client import Tool

CHART = Path(__file__).parents[2] / "charts" / "autohas"
Objects = dict[tuple[str, str], dict[str, Any]]


def rendered(helm: Tool, release: str = "autohas", namespace: str = "autohas", **values: Any) -> Objects:
    """The objects by kind and name, with these values (JSON) set."""
    flags = [f"--set-json={path.replace('__', '.')}={json.dumps(value)}" for path, value in values.items()]
    text = helm("template", release, CHART, "--namespace", namespace, *flags)
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(text) if item}


def pod_of(objects: Objects) -> dict[str, Any]:
    """The operator's pod."""
    spec: dict[str, Any] = objects["Deployment", "autohas-operator"]["spec"]["template"]["spec"]
    return spec


def environment_of(objects: Objects) -> dict[str, str]:
    """The operator's environment variables."""
    (container,) = pod_of(objects)["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def rules_of(objects: Objects, name: str = "autohas-operator") -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    (group,) = objects["PrometheusRule", name]["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}
