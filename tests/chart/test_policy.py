"""The admission policies as Helm renders them: on by default, and in step with what the operator makes.

A real API server runs them in tests/operator/control_plane/test_policy.py and test_forged.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from autohas_api.spec.mounts import Volume
from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import Status
from autohas_operator.cluster.leases import LEASE_NAME, LEASES
from autohas_operator.decide.actions import CreateAttempt
from autohas_operator.decide.plan import plan
from autohas_operator.testing.builders import NOW_S, PODS, observe, stored_search
from autohas_operator.testing.decisions import SEARCH
from autohas_operator.testing.trainer_fields import EVERY_TRAINER_FIELD
from rendering import Objects, render
from testcluster.client import Tool

NAME = "autohas-operator.autohas"


def policies(objects: Objects) -> dict[str, dict[str, Any]]:
    return {name: item["spec"] for (kind, name), item in objects.items() if kind == "ValidatingAdmissionPolicy"}


def list_allowed(policy: dict[str, Any], message: str) -> set[str]:
    """The names in the first list of the rule with this message."""
    (expression,) = (rule["expression"] for rule in policy["validations"] if message in rule.get("message", ""))
    return set(re.findall(r"'([^']*)'", re.findall(r"in (\[[^\]]*\])", expression)[-1]))


def test_they_are_on_unless_switched_off_and_each_denies(helm: Tool) -> None:
    """Four policies, each with its binding, failing closed; none with admissionPolicy.enabled=false."""
    objects = render(helm)
    bindings = {name: item["spec"] for (kind, name), item in objects.items() if kind == "ValidatingAdmissionPolicyBinding"}

    assert set(policies(objects)) == set(bindings) == {NAME, f"{NAME}.children", f"{NAME}.leases", f"{NAME}.pods"}
    assert {policy["failurePolicy"] for policy in policies(objects).values()} == {"Fail"}
    assert bindings == {name: {"policyName": name, "validationActions": ["Deny"]} for name in bindings}
    assert not [kind for kind, _ in render(helm, admissionPolicy__enabled=False) if kind.startswith("Validating")]


def test_the_operators_policy_is_for_one_account(helm: Tool) -> None:
    """It names the account of its own release, and the accounts that trainers may have."""
    policy = policies(render(helm, "second", "ml", trainer__serviceAccounts=["trainer", "reader"]))["second-operator.ml"]

    assert [c["expression"] for c in policy["matchConditions"]] == [
        "request.userInfo.username == 'system:serviceaccount:ml:second-operator'"
    ]
    assert list_allowed(policy, "trainer.serviceAccounts") == {"", "trainer", "reader"}


def make_job(search: dict[str, Any]) -> dict[str, Any]:
    """The spec of the pods that the operator makes of a search."""
    decided = plan(
        observe(search), Status(), replace(PODS, service_accounts=("trainer",), csi_drivers=("secrets-store.csi.k8s.io",)), NOW_S
    )
    assert isinstance(decided.action, CreateAttempt)
    spec: dict[str, Any] = decided.action.job["spec"]["template"]["spec"]
    return spec


def test_the_table_is_what_the_operator_makes(helm: Tool) -> None:
    """Kinds of volumes: those that a search may name, which are those of the manifests. Kinds of containers likewise."""
    policy = policies(render(helm))[NAME]
    specs = [make_job(stored_search(trainer=EVERY_TRAINER_FIELD)), make_job(with_change(SEARCH, "spec.checkpoint", {}))]
    volumes = {kind for spec in specs for volume in spec["volumes"] for kind in volume if kind != "name"}
    nameable = {field.alias or name for name, field in Volume.model_fields.items()} - {"name"}

    assert list_allowed(policy, "kinds of volumes") == nameable
    assert volumes <= nameable
    assert list_allowed(policy, "kinds of containers") == {name for spec in specs for name in spec if name.lower().endswith("containers")}


@pytest.mark.parametrize(
    ("value", "usual", "message"),
    [
        ("priorityClasses", "research", "as their priorityClassName"),
        ("runtimeClasses", "nvidia", "as their runtimeClassName"),
        ("schedulers", "default-scheduler", "as their schedulerName"),
    ],
)
def test_lists_of_classes_hold_for_the_operators_account_too(helm: Tool, value: str, usual: str, message: str) -> None:
    """With what the platform gives by default; an empty list is no rule, and system- priorities are always refused."""
    defaults = {"priorityClassName": "research", "runtimeClassName": "nvidia"}
    strict = policies(render(helm, trainer__defaults=defaults, **dict[str, Any]({f"trainer__{value}": ["mine"]})))[NAME]
    free = policies(render(helm))[NAME]

    assert list_allowed(strict, message) == {"mine", "", usual}
    assert not [rule for rule in free["validations"] if message in rule.get("message", "")]
    assert [rule for rule in free["validations"] if "begins with system-" in rule.get("message", "")]


def test_only_listed_drivers_may_be_mounted(helm: Tool) -> None:
    """None without a list."""
    listed = policies(render(helm, trainer__csiDrivers=["secrets-store.csi.k8s.io", "other.example"]))[NAME]

    assert list_allowed(listed, "trainer.csiDrivers: secrets-store.csi.k8s.io, other.example") == {
        "secrets-store.csi.k8s.io",
        "other.example",
    }
    assert list_allowed(policies(render(helm))[NAME], "trainer.csiDrivers: none") == set()


def test_claims_are_judged_where_searches_are_served(helm: Tool) -> None:
    """With watchNamespaces only there, so that two releases do not judge each other's; else everywhere."""
    narrow, wide = policies(render(helm, watchNamespaces=["a", "b"])), policies(render(helm))
    served = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}]}

    for suffix in (".children", ".leases", ".pods"):
        assert narrow[NAME + suffix]["matchConstraints"]["namespaceSelector"] == served
        assert "namespaceSelector" not in wide[NAME + suffix]["matchConstraints"]


def test_the_lease_of_the_policy_is_that_of_the_operator(helm: Tool) -> None:
    """No other Lease is judged: nodes renew theirs every 10 s."""
    (rule,) = policies(render(helm))[f"{NAME}.leases"]["matchConstraints"]["resourceRules"]

    assert (rule["resources"], rule["resourceNames"]) == ([LEASES.plural], [LEASE_NAME])
