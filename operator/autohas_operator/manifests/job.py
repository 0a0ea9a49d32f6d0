"""The children of a search: an immutable ConfigMap with the search document, and the trainer Job. Pure.

Names are deterministic, so that a repeated create is a conflict and not a second Job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autohas_api.base.digest import canonical
from autohas_api.base.exit_codes import FATAL_EXIT_CODES, ExitCode
from autohas_api.base.names import (
    ANNOTATION_FAILURES_BEFORE,
    ANNOTATION_INTERRUPTIONS_BEFORE,
    ANNOTATION_QUEUE_HASH,
    ANNOTATION_SPEC_HASH,
    ANNOTATION_STARTS_BEFORE,
    ANNOTATION_STEP_BEFORE,
    API_VERSION,
    KIND,
    LABEL_ATTEMPT,
    LABEL_SEARCH,
    LABEL_UID,
    SEARCH_FILE,
    TOPOLOGY_PREFIX,
    TRAINER_CONTAINER,
)
from autohas_api.spec.search import Search
from autohas_operator.manifests.pod import build_pod_spec
from autohas_operator.records.observed import SearchRecord, child_name, search_document
from autohas_operator.settings import PodSettings

MANAGED_BY = {"app.kubernetes.io/managed-by": "autohas-operator"}


def build_labels(record: SearchRecord, attempt: int) -> dict[str, str]:
    """Labels of every child and of the pods."""
    return {**MANAGED_BY, LABEL_SEARCH: record.key.name, LABEL_UID: record.uid, LABEL_ATTEMPT: str(attempt)}


def build_config_map(record: SearchRecord, attempt: int) -> dict[str, Any]:
    """The immutable ConfigMap with the search as the trainer reads it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(record, attempt),
        "immutable": True,
        "data": {SEARCH_FILE: canonical(search_document(record)) + "\n"},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What differs between the Jobs of a search; the last four become annotations, from which later counts start."""

    number: int
    image: str
    starts_before: int = 0
    step_before: int = 0
    interruptions_before: int = 0
    failures_before: int = 0


def build_job(record: SearchRecord, search: Search, attempt: Attempt, settings: PodSettings) -> dict[str, Any]:
    """The trainer Job of one attempt."""
    name = child_name(record, attempt.number)
    template = build_pod_spec(search, name=name, attempt=attempt.number, image=attempt.image, settings=settings)
    metadata = _metadata(record, attempt.number)
    queue_annotations = {name: value for name, value in record.queue_annotations if not name.startswith(TOPOLOGY_PREFIX)}
    counts = {
        ANNOTATION_QUEUE_HASH: record.queue_hash,
        ANNOTATION_STARTS_BEFORE: str(attempt.starts_before),
        ANNOTATION_STEP_BEFORE: str(attempt.step_before),
        ANNOTATION_INTERRUPTIONS_BEFORE: str(attempt.interruptions_before),
        ANNOTATION_FAILURES_BEFORE: str(attempt.failures_before),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **metadata,
            "labels": {**dict(record.queue_labels), **metadata["labels"]},
            "annotations": {**queue_annotations, **metadata["annotations"], **counts},
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": max(0, search.spec.failure_policy.backoff_limit - attempt.failures_before),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {"metadata": _pod_metadata(record, search, attempt.number), "spec": template},
        },
    }


def _pod_metadata(record: SearchRecord, search: Search, attempt: int) -> dict[str, Any]:
    trainer = search.spec.trainer
    topology = {name: value for name, value in record.queue_annotations if name.startswith(TOPOLOGY_PREFIX)}
    annotations = {**topology, **(trainer.annotations or {})}
    return {
        "labels": {**(trainer.labels or {}), **build_labels(record, attempt)},
        **({"annotations": annotations} if annotations else {}),
    }


def _metadata(record: SearchRecord, attempt: int) -> dict[str, Any]:
    return {
        "name": child_name(record, attempt),
        "namespace": record.key.namespace,
        "labels": build_labels(record, attempt),
        "annotations": {ANNOTATION_SPEC_HASH: record.spec_hash},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": record.key.name,
                "uid": record.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }


def _failure_rules() -> list[dict[str, Any]]:
    """podFailurePolicy: fatal exit codes fail the Job, interruptions are ignored, other failures count towards backoffLimit."""

    def on_codes(action: str, codes: list[int]) -> dict[str, Any]:
        return {"action": action, "onExitCodes": {"containerName": TRAINER_CONTAINER, "operator": "In", "values": codes}}

    return [
        on_codes("FailJob", sorted(int(code) for code in FATAL_EXIT_CODES)),
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        on_codes("Ignore", [int(ExitCode.INTERRUPTED)]),
    ]
