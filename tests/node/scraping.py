"""Prometheus' scrape configuration for a PodMonitor and a ServiceMonitor, as prometheus-operator would write it.

No prometheus-operator runs in the test cluster; this is its translation of the fields that our chart uses, and of no others: an
unknown field is an error, so that the chart cannot say something that the tests do not do.
Source: prometheus-operator v0.85.0, pkg/prometheus/promcfg.go (generatePodMonitorConfig, generateServiceMonitorConfig).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SNAKE = {"sourceLabels": "source_labels", "targetLabel": "target_label"}


def configuration(pod_monitor: Mapping[str, Any], service_monitor: Mapping[str, Any], kubeconfig: Path) -> dict[str, Any]:
    """The whole configuration; `kubeconfig` is where Prometheus, outside the cluster, discovers targets."""
    jobs = [*pod_jobs(pod_monitor), *service_jobs(service_monitor)]
    for job in jobs:
        for discovery in job["kubernetes_sd_configs"]:
            discovery["kubeconfig_file"] = str(kubeconfig)
    return {"global": {"scrape_interval": "30s", "evaluation_interval": "1s"}, "scrape_configs": jobs}


def pod_jobs(monitor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One job per endpoint of a PodMonitor."""
    spec = _only(monitor["spec"], "selector", "namespaceSelector", "podMetricsEndpoints")
    identity = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    jobs = []
    for index, endpoint in enumerate(spec["podMetricsEndpoints"]):
        _only(endpoint, "port", "path", "interval", "filterRunning", "relabelings")
        running = [{"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)"}]
        rules = [
            *(running if endpoint.get("filterRunning", True) else []),
            *_selected(spec["selector"], "pod"),
            _keep("__meta_kubernetes_pod_container_port_name", endpoint["port"]),
            _copy("__meta_kubernetes_namespace", "namespace"),
            _copy("__meta_kubernetes_pod_container_name", "container"),
            _copy("__meta_kubernetes_pod_name", "pod"),
            {"target_label": "job", "replacement": identity},
            {"target_label": "endpoint", "replacement": endpoint["port"]},
            *_own(endpoint),
        ]
        jobs.append(_job(f"podMonitor/{identity}/{index}", "pod", monitor, endpoint, rules))
    return jobs


def service_jobs(monitor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One job per endpoint of a ServiceMonitor."""
    spec = _only(monitor["spec"], "selector", "namespaceSelector", "endpoints")
    identity = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    jobs = []
    for index, endpoint in enumerate(spec["endpoints"]):
        _only(endpoint, "port", "path", "interval", "honorLabels", "relabelings")
        rules = [
            *_selected(spec["selector"], "service"),
            _keep("__meta_kubernetes_endpointslice_port_name", endpoint["port"]),
            _copy("__meta_kubernetes_namespace", "namespace"),
            _copy("__meta_kubernetes_service_name", "service"),
            _copy("__meta_kubernetes_pod_name", "pod"),
            _copy("__meta_kubernetes_pod_container_name", "container"),
            _copy("__meta_kubernetes_service_name", "job"),
            {"target_label": "endpoint", "replacement": endpoint["port"]},
            *_own(endpoint),
        ]
        jobs.append(_job(f"serviceMonitor/{identity}/{index}", "endpointslice", monitor, endpoint, rules))
    return jobs


def _job(name: str, role: str, monitor: Mapping[str, Any], endpoint: Mapping[str, Any], rules: list[dict[str, Any]]) -> dict[str, Any]:
    where = _only(monitor["spec"].get("namespaceSelector", {}), "any", "matchNames")
    names = [] if where.get("any") else where.get("matchNames", [monitor["metadata"]["namespace"]])
    discovery = {"role": role, **({"namespaces": {"names": names}} if names else {})}
    return {
        "job_name": name,
        "honor_labels": endpoint.get("honorLabels", False),
        "kubernetes_sd_configs": [discovery],
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "metrics_path": endpoint["path"],
        "relabel_configs": rules,
    }


def _selected(selector: Mapping[str, Any], role: str) -> list[dict[str, Any]]:
    """Which pods or services: by labels, or by labels that exist."""
    _only(selector, "matchLabels", "matchExpressions")
    equal = [
        {
            "action": "keep",
            "source_labels": [f"__meta_kubernetes_{role}_label_{_safe(key)}", f"__meta_kubernetes_{role}_labelpresent_{_safe(key)}"],
            "regex": f"({value});true",
        }
        for key, value in sorted(selector.get("matchLabels", {}).items())
    ]
    there = []
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "Exists", expression
        there.append(_keep(f"__meta_kubernetes_{role}_labelpresent_{_safe(expression['key'])}", "true"))
    return [*equal, *there]


def _own(endpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The endpoint's own relabelings, in Prometheus' words."""
    return [{_SNAKE.get(key, key): value for key, value in rule.items()} for rule in endpoint.get("relabelings", [])]


def _keep(label: str, value: str) -> dict[str, Any]:
    return {"action": "keep", "source_labels": [label], "regex": value}


def _copy(label: str, target: str) -> dict[str, Any]:
    return {"source_labels": [label], "target_label": target}


def _safe(key: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in key)


def _only(found: Mapping[str, Any], *known: str) -> Mapping[str, Any]:
    """`found`, if it says nothing but what is translated here."""
    unknown = set(found) - set(known)
    assert not unknown, f"the tests do not know what prometheus-operator makes of {sorted(unknown)}"
    return found
