"""The chart as Helm renders it, and as a real API server takes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from autohas_api.base import names
from autohas_operator.cluster.leases import LEASE_NAME
from autohas_operator.settings import read_settings
from crd_fixtures import wait_until_served
from rendering import CHART, environment_of, pod_of, render, rules_of
from testcluster import binaries
from testcluster.client import Tool
from testcluster.cluster import Cluster
from testcluster.commands import CommandFailedError


def test_the_chart_passes_helms_own_lint(helm: Tool) -> None:
    """Strict: warnings are errors."""
    helm("lint", CHART, "--strict")


def test_the_crd_is_the_generated_one_and_outlives_the_release(helm: Tool) -> None:
    """Same spec as crds/, kept on uninstall; both can be switched off."""
    generated = yaml.safe_load((CHART / "files" / "crd.yaml").read_text())
    name = ("CustomResourceDefinition", f"{names.PLURAL}.{names.GROUP}")
    crd = render(helm)[name]

    assert crd["spec"] == generated["spec"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "annotations" not in render(helm, crds__keep=False)[name]["metadata"]
    assert name not in render(helm, crds__enabled=False)


@pytest.mark.parametrize(
    ("flags", "present", "absent"),
    [
        ((), "keeps the CustomResourceDefinition", "not part of this release"),
        (("--set=crds.keep=false",), "kubectl get ahs", "CustomResourceDefinition"),
        (("--set=crds.enabled=false",), "is not part of this release (crds.enabled is false)", "keeps the CustomResourceDefinition"),
    ],
    ids=["kept", "not kept", "not ours"],
)
def test_the_notes_claim_only_what_the_release_has(helm: Tool, flags: tuple[str, ...], present: str, absent: str) -> None:
    """What a person reads after the installation."""
    notes = helm("install", "autohas", CHART, "--dry-run=client", *flags).partition("NOTES:")[2]

    assert present in notes
    assert absent not in notes


def test_the_operator_pod_is_restricted_single_and_probed(helm: Tool) -> None:
    """One replica, never two at once; the restricted profile; bounded memory; both probes."""
    objects = render(helm)
    deployment, pod = objects["Deployment", "autohas-operator"], pod_of(objects)
    (container,) = pod["containers"]

    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (1, "Recreate")
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"] == "512Mi"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert "runAsUser" not in pod_of(render(helm, runAsUser=None))["securityContext"]


def test_the_operator_reads_every_variable_that_the_chart_sets(helm: Tool) -> None:
    """The chart's names and values are settings of the operator, empty ones included."""
    default = read_settings([], environment_of(render(helm)))
    changed = read_settings(
        [],
        environment_of(
            render(
                helm,
                watchNamespaces=["a", "b"],
                trainer__runAsUser=None,
                trainer__fsGroup=2000,
                trainer__image__tag="9",
                trainer__imagePullSecrets=["registry"],
                trainer__serviceAccounts=["trainer", "reader"],
                logLevel="debug",
                metrics__perSearch=False,
            )
        ),
    )
    variables = {f"AUTOHAS_{name.upper()}" for name in type(default).model_fields}

    assert set(environment_of(render(helm))) <= variables
    assert (default.per_search_metrics, changed.per_search_metrics) == (True, False)
    assert default.trainer_image == "autohas-trainer:0.1.0"
    assert (default.namespaces, default.trainer_run_as_user, default.trainer_fs_group) == ((), 65532, 65532)
    assert (changed.namespaces, changed.trainer_run_as_user, changed.trainer_fs_group) == (("a", "b"), None, 2000)
    assert (changed.trainer_image, changed.trainer_image_pull_secrets) == ("autohas-trainer:9", ("registry",))
    assert (default.trainer_service_accounts, changed.trainer_service_accounts) == ((), ("trainer", "reader"))


def test_a_digest_pins_an_image_and_leaves_no_tag(helm: Tool) -> None:
    """Both images by digest where one is given, by tag elsewhere."""
    digest = f"sha256:{'ab' * 32}"
    pinned = render(helm, image__digest=digest, image__tag="9", trainer__image__digest=digest)
    (container,) = pod_of(pinned)["containers"]
    (usual,) = pod_of(render(helm, image__tag="9"))["containers"]

    assert container["image"] == f"autohas-operator@{digest}"
    assert environment_of(pinned)["AUTOHAS_TRAINER_IMAGE"] == f"autohas-trainer@{digest}"
    assert usual["image"] == "autohas-operator:9"


def test_the_operator_may_do_what_it_does_and_nothing_else(helm: Tool) -> None:
    """No secrets, no wildcards, pods only read, searches never changed."""
    rules = render(helm)["ClusterRole", "autohas-operator"]["rules"]
    granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}

    assert granted == {
        *((names.PLURAL, verb) for verb in ("get", "list", "watch")),
        (f"{names.PLURAL}/status", "update"),
        *(("jobs", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *(("configmaps", verb) for verb in ("get", "create", "delete")),
        *(("leases", verb) for verb in ("get", "create", "patch")),
        *(("pods", verb) for verb in ("get", "list", "watch")),
        *(("events", verb) for verb in ("get", "list", "create", "patch")),
    }


def test_no_lease_but_its_own_can_be_read_or_changed(helm: Tool) -> None:
    """Leases hold the leadership of controllers and the heartbeats of nodes: only `create` is without a name, which RBAC cannot give it."""
    rules = [rule for rule in render(helm)["ClusterRole", "autohas-operator"]["rules"] if rule["resources"] == ["leases"]]

    assert [(rule.get("resourceNames"), rule["verbs"]) for rule in rules] == [([LEASE_NAME], ["get", "patch"]), (None, ["create"])]


def test_with_watched_namespaces_nothing_is_granted_cluster_wide(helm: Tool) -> None:
    """A Role and a binding in each namespace, no ClusterRoleBinding."""
    objects = render(helm, watchNamespaces=["a", "b"], aggregateRoles=False)
    text = helm("template", "autohas", CHART, "--namespace", "autohas", '--set-json=watchNamespaces=["a","b"]')
    roles = [item for item in yaml.safe_load_all(text) if item and item["kind"] in ("Role", "RoleBinding")]

    assert not [kind for kind, _ in objects if kind.startswith("Cluster")]
    assert sorted((item["kind"], item["metadata"]["namespace"]) for item in roles) == [
        ("Role", "a"),
        ("Role", "b"),
        ("RoleBinding", "a"),
        ("RoleBinding", "b"),
    ]


def test_whoever_may_edit_may_use_searches(helm: Tool) -> None:
    """Aggregated into the cluster's own roles, unless switched off; only the operator writes status."""
    objects = render(helm)
    edit, view = objects["ClusterRole", "autohas-searches-edit"], objects["ClusterRole", "autohas-searches-view"]

    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert not {"create", "update", "patch", "delete"} & {verb for rule in view["rules"] for verb in rule["verbs"]}
    assert all(rule["verbs"] == ["get"] for rule in edit["rules"] if rule["resources"] == [f"{names.PLURAL}/status"])
    assert ("ClusterRole", "autohas-searches-edit") not in render(helm, aggregateRoles=False)


@pytest.mark.parametrize(
    "flag",
    [
        "--set=typo=1",
        "--set=trainer.typo=1",
        "--set=logLevel=loud",
        "--set=port=80",
        '--set-json=watchNamespaces=["A_b"]',
        "--set=runAsUser=0",
        "--set=image.digest=latest",
        "--set=metrics.typo=1",
        "--set=metrics.prometheusRule.scrapedByHand.operatorLabels.job-name=x",
        "--set=metrics.podMonitor.interval=soon",
        "--set-json=networkPolicy.apiServerPorts=[]",
    ],
)
def test_wrong_values_are_refused(helm: Tool, flag: str) -> None:
    """The schema is closed: a typing error never becomes a default."""
    with pytest.raises(CommandFailedError, match="values"):
        helm("template", "autohas", CHART, flag)


@pytest.mark.control_plane
@pytest.mark.parametrize("flags", [[], ['--set-json=watchNamespaces=["default"]', "--set-json=runAsUser=null"]], ids=["usual", "narrow"])
def test_a_real_api_server_takes_every_object(control_plane: Cluster, flags: list[str]) -> None:
    """Server-side dry run with strict field validation."""
    text = control_plane.helm("template", "autohas", CHART, "--namespace", "default", *flags)

    output = control_plane.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", "-", input=text)

    assert "deployment.apps/autohas-operator" in output


@pytest.mark.control_plane
def test_the_operator_pod_is_admitted_where_only_restricted_pods_are(control_plane: Cluster) -> None:
    """Pod Security admission of level restricted lets it in."""
    text = control_plane.helm("template", "autohas", CHART, "--namespace", "restricted")
    spec = next(item for item in yaml.safe_load_all(text) if item and item["kind"] == "Deployment")["spec"]["template"]["spec"]
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}})
    control_plane.kubectl.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "autohas-operator", "namespace": "restricted"}}
    )
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": "restricted"}, "spec": spec}

    assert "operator" in control_plane.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod))


MONITORED = {
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True, "runbookUrl": "https://docs.example/dashboards.md"},
    "dashboards": {"enabled": True, "namespace": "grafana"},
}


def test_nothing_of_prometheus_operator_or_grafana_is_rendered_unasked(helm: Tool) -> None:
    """A cluster without these kinds takes the chart as it stands."""
    kinds = {kind for kind, _ in render(helm)}
    assert not {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap", "NetworkPolicy"} & kinds


def test_monitors_select_what_there_is_to_scrape(helm: Tool) -> None:
    """The operator's service by its labels, honouring its labels; every trainer pod by its named port, labelled with its search."""
    objects = render(helm, metrics=MONITORED)
    service, monitor = objects["Service", "autohas-operator"], objects["ServiceMonitor", "autohas-operator"]
    (endpoint,) = monitor["spec"]["endpoints"]
    (trainer,) = objects["PodMonitor", "autohas-trainer"]["spec"]["podMetricsEndpoints"]
    narrow = render(helm, metrics=MONITORED, watchNamespaces=["a"])["PodMonitor", "autohas-trainer"]

    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert (endpoint["port"], endpoint["honorLabels"]) == (service["spec"]["ports"][0]["name"], True)
    assert trainer["port"] == names.TRAINER_PORT_NAME
    assert {rule["targetLabel"] for rule in trainer["relabelings"]} == {"name", "attempt"}
    assert objects["PodMonitor", "autohas-trainer"]["spec"]["namespaceSelector"] == {"any": True}
    assert narrow["spec"]["namespaceSelector"] == {"matchNames": ["a"]}


def test_dashboards_arrive_as_they_were_generated(helm: Tool) -> None:
    """Grafana's braces survive Helm; the sidecar's label and the namespace are values."""
    objects = render(helm, metrics=MONITORED)
    for name in ("search", "fleet"):
        item = objects["ConfigMap", f"autohas-dashboard-{name}"]
        (text,) = item["data"].values()
        assert json.loads(text) == json.loads((CHART / "files" / "dashboards" / f"{name}.json").read_text())
        assert "{{" in text
        assert item["metadata"]["namespace"] == "grafana"
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_every_alert_links_to_its_runbook_when_there_is_one(helm: Tool) -> None:
    """By its name; without an address there is no link. Every alert has a heading in docs/dashboards.md."""
    linked = rules_of(render(helm, metrics=MONITORED))
    plain = rules_of(render(helm, metrics={**MONITORED, "prometheusRule": {"enabled": True}}))
    page = (CHART.parents[1] / "docs" / "dashboards.md").read_text()

    assert list(linked) == list(plain)
    assert len(linked) >= 10
    for name, rule in linked.items():
        assert rule["annotations"]["runbook_url"] == f"https://docs.example/dashboards.md#{name.lower()}"
        assert "runbook_url" not in plain[name]["annotations"]
        assert f"### {name}\n" in page


def test_an_operator_is_missed_by_its_own_release(helm: Tool) -> None:
    """AutoHASOperatorDown asks for the labels that this release's ServiceMonitor gives; other expressions are the generated ones."""
    rules = rules_of(render(helm, "second", "ml", metrics=MONITORED), "second-operator")
    generated = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"][0]["rules"]

    assert rules["AutoHASOperatorDown"]["expr"] == 'absent(autohas_operator_build_info{job="second-operator",namespace="ml"})'
    others = [rule for rule in generated if rule["alert"] != "AutoHASOperatorDown"]
    assert [rules[rule["alert"]]["expr"] for rule in others] == [rule["expr"] for rule in others]


def test_alerts_on_missing_targets_need_something_that_scrapes_them(helm: Tool) -> None:
    """Without its monitor each alert would fire forever; with scrapedByHand they stay, with the labels that identify the operator."""
    rule: dict[str, Any] = {"prometheusRule": {"enabled": True}}
    by_hand: dict[str, Any] = {"prometheusRule": {"enabled": True, "scrapedByHand": {"trainers": True, "operatorLabels": {"job": "mine"}}}}

    def missing(metrics: dict[str, Any]) -> set[str]:
        return {"AutoHASOperatorDown", "AutoHASTrainerTargetDown"} & set(rules_of(render(helm, metrics=metrics)))

    assert missing(rule) == set()
    assert missing({**rule, "serviceMonitor": {"enabled": True}}) == {"AutoHASOperatorDown"}
    assert missing({**rule, "podMonitor": {"enabled": True}}) == {"AutoHASTrainerTargetDown"}
    assert missing(by_hand) == {"AutoHASOperatorDown", "AutoHASTrainerTargetDown"}
    expr = rules_of(render(helm, metrics=by_hand))["AutoHASOperatorDown"]["expr"]
    assert expr == 'absent(autohas_operator_build_info{job="mine"})'


def test_network_policies_let_through_what_is_needed(helm: Tool) -> None:
    """Operator: its port in; API server, DNS and trainers out. Trainers of served namespaces: asked by the operator and by scrapers."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    objects = render(helm, networkPolicy={"enabled": True, "metricsFrom": [peer]}, watchNamespaces=["a"])
    operator, trainer = objects["NetworkPolicy", "autohas-operator"]["spec"], objects["NetworkPolicy", "autohas-trainer"]["spec"]
    deployment = objects["Deployment", "autohas-operator"]
    ports = [[port["port"] for port in rule.get("ports", [])] for rule in operator["egress"]]

    assert operator["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [peer]}]
    assert ports == [[443, 6443], [53, 53], []]
    assert trainer["podSelector"]["matchExpressions"] == [{"key": names.LABEL_SEARCH, "operator": "Exists"}]
    assert trainer["policyTypes"] == ["Ingress"]
    (rule,) = trainer["ingress"]
    assert rule["ports"] == [{"port": names.TRAINER_PORT_NAME, "protocol": "TCP"}]
    assert rule["from"][0]["podSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
    assert rule["from"][1] == peer


@pytest.mark.control_plane
def test_a_real_api_server_takes_everything_that_watches(control_plane: Cluster) -> None:
    """Monitors and rules against prometheus-operator's own schemas, with strict field validation; dashboards; network policies."""
    for name in ("servicemonitors", "podmonitors", "prometheusrules"):
        crd = binaries.prometheus_operator_crds() / f"monitoring.coreos.com_{name}.yaml"
        control_plane.kubectl("apply", "--server-side", "-f", crd)
        wait_until_served(control_plane.kubectl, f"{name}.monitoring.coreos.com")
    values = {"metrics": {**MONITORED, "dashboards": {"enabled": True}}, "networkPolicy": {"enabled": True}, "watchNamespaces": ["default"]}
    flags = [f"--set-json={path}={json.dumps(value)}" for path, value in values.items()]
    text = control_plane.helm("template", "autohas", CHART, "--namespace", "default", *flags)

    output = control_plane.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", "-", input=text)

    for kind in ("servicemonitor.monitoring", "podmonitor.monitoring", "prometheusrule.monitoring", "networkpolicy.networking"):
        assert kind in output
    assert "configmap/autohas-dashboard-search" in output
