"""The column REASON of `kubectl get ahs`: why a search is in its phase."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from autohas_api.base.names import LABEL_QUEUE
from autohas_api.generate.crd import custom_resource_definition
from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import Status
from autohas_operator.errors import ForbiddenError, refusal
from autohas_operator.records.observed import WarningEvent
from autohas_operator.testing import kubernetes_messages
from autohas_operator.testing.builders import NOW_S, ended_pod, error_text, observe, report, stored_job, stored_pod, stored_search
from autohas_operator.testing.decisions import CREATED, JOB, POD, RUNNING, SEARCH, decide

COLUMNS = {column["name"]: column for column in custom_resource_definition()["spec"]["versions"][0]["additionalPrinterColumns"]}


def shown(status: Status) -> str:
    """What kubectl prints for a path that selects one condition by its type."""
    (kind,) = re.findall(r'^\.status\.conditions\[\?\(@\.type=="(\w+)"\)\]\.reason$', COLUMNS["Reason"]["jsonPath"])
    conditions: list[dict[str, Any]] = json.loads(status.model_dump_json(by_alias=True))["conditions"]
    (reason,) = [condition["reason"] for condition in conditions if condition["type"] == kind]
    return str(reason)


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": kubernetes_messages.NO_GPU}
QUOTA = WarningEvent(reason="FailedCreate", message=kubernetes_messages.QUOTA, time_s=NOW_S)
NO_JOB = refusal(ForbiddenError(status=403, message=kubernetes_messages.JOB_QUOTA, request="POST"), is_create=True)
QUEUED = with_change(SEARCH, "metadata.labels", {LABEL_QUEUE: "team"})
WAITING = stored_pod(JOB, state={"waiting": {"reason": "ImagePullBackOff", "message": kubernetes_messages.NO_IMAGE}})
SUSPENDED = stored_search(suspend=True)
FAILED = ended_pod(JOB, code=65, message=error_text(SEARCH, "no file labels", code=65))
STATES = [
    ("QuotaExceeded", observe(SEARCH, JOB, warning=QUOTA), CREATED, 25),
    ("QuotaExceeded", observe(SEARCH, blocker=NO_JOB), Status(), 1),
    ("Unschedulable", observe(SEARCH, JOB, stored_pod(JOB, scheduled=False, conditions=[NO_NODE])), CREATED, 25),
    ("ImagePullFailed", observe(SEARCH, JOB, WAITING), CREATED, 25),
    ("WaitingForQuota", observe(QUEUED, with_change(stored_job(QUEUED), "spec.suspend", True)), CREATED, 25),  # noqa: FBT003 - JSON
    ("BackOff", observe(SEARCH, JOB, ended_pod(JOB, code=75, ended_s=NOW_S)), RUNNING, 29),
    ("Reporting", observe(SEARCH, JOB, POD, report=report(SEARCH)), CREATED, 1),
    ("SuspendRequested", observe(SUSPENDED), RUNNING, 25),
    ("InvalidSpec", observe(stored_search(budget={"trainings": "1"})), Status(), 1),
    ("DataError", observe(SEARCH, JOB, FAILED), RUNNING, 25),
]


@pytest.mark.parametrize(("reason", "seen", "before", "at_s"), STATES, ids=[f"{case[0]} {n}" for n, case in enumerate(STATES)])
def test_the_reason_of_the_phase_is_in_the_listing(reason: str, seen: Any, before: Status, at_s: float) -> None:
    """A search that waits for quota, for example, says so in `kubectl get ahs`, without describe."""
    assert shown(decide(seen, before, at_s=NOW_S + at_s).status) == reason


def test_the_column_needs_no_wide_listing() -> None:
    """Priority 0 is what `kubectl get` prints by default."""
    assert COLUMNS["Reason"].get("priority", 0) == 0
