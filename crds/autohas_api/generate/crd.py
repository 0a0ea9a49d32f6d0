"""The CustomResourceDefinition, generated from the models. Pure."""

from __future__ import annotations

from typing import Any

from autohas_api.base.names import CATEGORY, GROUP, KIND, PLURAL, SHORT_NAME, SINGULAR, VERSION
from autohas_api.base.structural_schema import cel, structural_schema
from autohas_api.spec.search import Search, Spec, transition_rules
from autohas_api.wire.status import Status


def _column(name: str, path: str, *, kind: str = "string", wide: bool = False, description: str) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": 1} if wide else column


def _columns() -> list[dict[str, Any]]:
    reason = '.status.conditions[?(@.type=="Ready")].reason'
    return [
        _column("Phase", ".status.phase", description="Phase of the search."),
        _column("Stage", ".status.stage", description="Stage that the trainer reported last."),
        _column("Progress", ".status.progress", description="Percentage of the planned steps."),
        _column("Best", ".status.best", description="Selection score of the leading candidate; after success, its test score."),
        _column("ETA", ".status.eta", description="Estimated time left."),
        _column("Reason", reason, description="Reason of the condition Ready: what the search waits for, or why it ended."),
        _column("Age", ".metadata.creationTimestamp", kind="date", description="Time since creation."),
        _column("Run", ".status.run", wide=True, description="Present run of algorithm.compare and number of runs."),
        _column("Entropy", ".status.entropy", wide=True, description="Normalised entropy of the policy."),
        _column("Attempt", ".status.attempt", kind="integer", wide=True, description="Number of the newest Job."),
    ]


def _schema() -> dict[str, Any]:
    transitions = [{"rule": expression, "message": message, "fieldPath": path} for expression, message, path in transition_rules()]
    return {
        "description": "AutoHASSearch is a search for hyperparameters and a network architecture, which one Job runs within one budget.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},  # named, so that a rule can point to it
            "spec": {"description": "Desired state of the search.", **structural_schema(Spec)},
            "status": {
                "description": "Observed state of the search. Only the operator writes it.",
                **structural_schema(Status),
                # Before the operator's first visit kstatus (Helm, Flux) then sees that the generation has not been observed yet.
                "default": {"observedGeneration": 0},
            },
        },
        "x-kubernetes-validations": [*cel(Search.rules), *transitions],
    }


def custom_resource_definition() -> dict[str, Any]:
    """The whole CRD as a plain object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": ".status.phase"}],
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }
