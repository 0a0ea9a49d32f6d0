"""The table of wrong searches: what is wrong about the pod and its life."""

from __future__ import annotations

from typing import Final

from autohas_api.testing.builders import Rejection

_ENV: Final = "spec.trainer.env"
_TERMS: Final = "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"

TRAINER_REJECTED_BY_SCHEMA: Final = (
    Rejection(path="spec.trainer.determinism", value="Loose", field="spec.trainer.determinism", words='"Strict", "Relaxed"'),
    Rejection(path="spec.trainer.compute", value={"compile": "Max"}, field="spec.trainer.compute.compile", words='"ReduceOverhead"'),
    Rejection(path="spec.trainer.compute", value={"threads": 0}, field="spec.trainer.compute.threads", words="greater than or equal to 1"),
    Rejection(
        path="spec.trainer.terminationGracePeriodSeconds", value=5, field="spec.trainer.terminationGracePeriodSeconds", words="to 30"
    ),
    Rejection(path="spec.trainer.shmSize", value="much", field="spec.trainer.shmSize", words="should match"),
    Rejection(path="spec.trainer.resources", value={"limits": {"cpu": "x"}}, field="spec.trainer.resources.limits.cpu", words="match"),
    Rejection(path="spec.budget.startDeadlineSeconds", value=0, field="spec.budget.startDeadlineSeconds", words="or equal to 1"),
    Rejection(path="spec.failurePolicy.maxInterruptions", value=-1, field="spec.failurePolicy.maxInterruptions", words="or equal to 0"),
    Rejection(path="spec.failurePolicy.stallTimeoutSeconds", value=5, field="spec.failurePolicy.stallTimeoutSeconds", words="equal to 60"),
    Rejection(
        path="spec.cleanup.ttlSecondsAfterFinished",
        value=-1,
        field="spec.cleanup.ttlSecondsAfterFinished",
        words="greater than or equal to 0",
    ),
    Rejection(path="spec.suspend", value="yes", field="spec.suspend", words="must be of type boolean"),
    Rejection(path=_ENV, value=[{"name": "A"}, {"name": "A"}], field=f"{_ENV}[1]", words="Duplicate value"),
    Rejection(path=_ENV, value=[{"name": "A B"}], field=f"{_ENV}[0].name", words="should match"),
    Rejection(path="spec.trainer.priorityClassName", value="High", field="spec.trainer.priorityClassName", words="should match"),
    Rejection(
        path=f"spec.trainer.affinity.{_TERMS}",
        value={"nodeSelectorTerms": []},
        field=f"spec.trainer.affinity.{_TERMS}.nodeSelectorTerms",
        words="should have at least 1 items",
    ),
    Rejection(
        path="spec.trainer.topologySpreadConstraints",
        value=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Cry"}],
        field="spec.trainer.topologySpreadConstraints[0].whenUnsatisfiable",
        words='"DoNotSchedule", "ScheduleAnyway"',
    ),
)
"""Refused by the schema itself."""

TRAINER_REJECTED_BY_RULE: Final = (
    Rejection(path=_ENV, value=[{"name": "AUTOHAS_PORT", "value": "1"}], field=f"{_ENV}[0].name", words="are the operator's"),
    Rejection(
        path=_ENV,
        value=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        field=f"{_ENV}[0].value",
        words="must not be given together with valueFrom",
    ),
    Rejection(path=_ENV, value=[{"name": "A", "valueFrom": {}}], field=f"{_ENV}[0].valueFrom", words="exactly one of fieldRef"),
    Rejection(path="spec.trainer.envFrom", value=[{"prefix": "A_"}], field="spec.trainer.envFrom[0]", words="exactly one of configMapRef"),
    Rejection(
        path="spec.trainer.resourceClaims",
        value=[{"name": "gpu"}],
        field="spec.trainer.resourceClaims[0]",
        words="exactly one of resourceClaimName",
    ),
    Rejection(path="spec.trainer.labels", value={"autohas.dev/uid": "x"}, field="spec.trainer.labels", words="are the operator's and"),
)
"""Refused by a rule in two languages."""
