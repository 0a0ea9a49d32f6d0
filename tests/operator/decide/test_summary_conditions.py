"""Ready, Reconciling and Stalled, as tools without rules for AutoHASSearch read them (kstatus in Helm 4 and Flux; Argo CD)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from lupa.lua51 import LuaRuntime

from autohas_api.generate.crd import custom_resource_definition
from autohas_api.testing.rejections import with_change
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.conditions import Verdict, summary_verdicts
from autohas_operator.records.observed import Observed
from autohas_operator.testing.builders import NOW_S, ended_pod, observe, report, result_text, stored_job
from autohas_operator.testing.decisions import CREATED, JOB, POD, RUNNING, SEARCH, after, decide, verdict

GUIDE = Path(__file__).parents[3] / "docs" / "install.md"
NEW_SCHEMA = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


def kstatus(document: dict[str, Any]) -> str:
    """The status that sigs.k8s.io/cli-utils/pkg/kstatus/status computes for a kind without rules of its own.

    Source: its README, and checkGenericProperties and checkReadyCondition of its core.go: the deletion, the generation, Reconciling and
    Stalled in the order of the list, then Ready; without any of them the object is Current.
    """
    metadata, status = document["metadata"], document.get("status", {})
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    conditions = status.get("conditions", [])
    for condition in conditions:
        if (condition["type"], condition["status"]) == ("Reconciling", "True"):
            return "InProgress"
        if (condition["type"], condition["status"]) == ("Stalled", "True"):
            return "Failed"
    ready = next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "True")
    return "Current" if ready == "True" else "InProgress"


@pytest.fixture(scope="module", name="argo")
def _argo() -> Any:
    """The health script of docs/install.md as Argo CD runs it: Lua 5.1 with the object as the global `obj`."""
    (script,) = re.findall(r"resource\.customizations\.health\.autohas\.dev_AutoHASSearch: \|\n((?:    .*\n|\n)+)", GUIDE.read_text())
    lua = LuaRuntime()
    run = lua.execute(f"return function(document) obj = document\n{script}\nend")

    def health(document: dict[str, Any]) -> tuple[str, str]:
        result = run(lua.table_from(document, recursive=True))
        return result["status"], result["message"]

    return health


def document(status: Status, generation: int = 1) -> dict[str, Any]:
    """A search as the API server returns it."""
    return {"metadata": {"generation": generation}, "status": json.loads(status.model_dump_json(by_alias=True, exclude_none=True))}


ENDED_WELL = ended_pod(JOB, code=0, message=result_text(SEARCH))
ENDED_BADLY = ended_pod(JOB, code=65, message="")
SUSPENDED = with_change(SEARCH, "spec.suspend", True)  # noqa: FBT003 - JSON
UNKNOWN_ACCOUNT = with_change(SEARCH, "spec.trainer", {"serviceAccountName": "other"})
PAUSED = with_change(SEARCH, "metadata.annotations", {"autohas.dev/paused": "true"})
FAILED_JOB = stored_job(SEARCH, conditions=[{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 65"}])
SUCCEEDED = after(observe(SEARCH), observe(SEARCH, JOB, POD, report=report(SEARCH)), observe(SEARCH, JOB, ENDED_WELL))
FAILED = after(observe(SEARCH), observe(SEARCH, FAILED_JOB, ENDED_BADLY))

LIVES = [
    ("new", CREATED, Phase.STARTING, "InProgress", "Progressing"),
    ("at work", RUNNING, Phase.RUNNING, "InProgress", "Progressing"),
    ("queued", after(observe(SEARCH, with_change(JOB, "spec.suspend", True))), Phase.QUEUED, "InProgress", "Progressing"),  # noqa: FBT003
    ("stopping", after(observe(SUSPENDED, JOB, POD)), Phase.SUSPENDING, "InProgress", "Progressing"),
    ("suspended", after(observe(SUSPENDED)), Phase.SUSPENDED, "Current", "Suspended"),
    ("rejected", after(observe(UNKNOWN_ACCOUNT)), Phase.REJECTED, "Failed", "Degraded"),
    ("failed", FAILED, Phase.FAILED, "Failed", "Degraded"),
    ("succeeded", SUCCEEDED, Phase.SUCCEEDED, "Current", "Healthy"),
    ("paused before its start", after(observe(PAUSED)), Phase.PENDING, "InProgress", "Progressing"),
]


@pytest.mark.parametrize(("status", "phase", "tools", "argo_says"), [row[1:] for row in LIVES], ids=[row[0] for row in LIVES])
def test_tools_read_every_state_as_it_is(argo: Any, status: Status, phase: Phase, tools: str, argo_says: str) -> None:
    """A search is current with its result or while suspended, and stalled if it needs a user's action."""
    assert status.phase is phase
    assert kstatus(document(status)) == tools
    assert argo(document(status))[0] == argo_says


@pytest.mark.parametrize("phase", Phase)
def test_no_phase_is_stalled_and_at_work_at_once(phase: Phase) -> None:
    """Exactly one of Ready, Reconciling and Stalled is True, whatever the phase; Ready has the reason, the others the phase as theirs."""
    verdicts = summary_verdicts(phase, Verdict(status="False", reason=Reason.QUOTA_EXCEEDED, message="why"))

    assert sorted(verdict.status for verdict in verdicts.values()) == ["False", "False", "True"]
    assert verdicts[ConditionType.READY].reason == "QuotaExceeded"
    assert {verdicts[kind].reason for kind in (ConditionType.RECONCILING, ConditionType.STALLED)} == {phase.value}
    assert set(verdicts) == {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}


def test_the_message_says_what_is_waited_for_and_why_it_ended() -> None:
    """Helm and Flux print the message of the deciding condition only."""
    messages = {phase: dict(_messages(status)) for _, status, phase, *_ in LIVES}

    assert messages[Phase.STARTING]["Reconciling"].startswith("WaitingForPod: Job ")
    assert messages[Phase.REJECTED]["Stalled"].startswith('ServiceAccountNotAllowed: spec.trainer.serviceAccountName: "other" must be')
    assert messages[Phase.FAILED]["Stalled"].startswith("DataError: ")
    assert messages[Phase.SUSPENDED]["Ready"].startswith("SuspendRequested: no pod is left")
    assert messages[Phase.SUCCEEDED]["Ready"].startswith("ResultStored: ")


def _messages(status: Status) -> list[tuple[str, str]]:
    return [(condition.type, condition.message) for condition in status.conditions if condition.status == "True"]


def test_an_edited_search_is_in_progress_until_it_was_looked_at(argo: Any) -> None:
    """A rejected search that was corrected is not called failed for the old spec."""
    status = after(observe(UNKNOWN_ACCOUNT))

    assert kstatus(document(status, generation=2)) == "InProgress"
    assert argo(document(status, generation=2))[0] == "Progressing"
    assert verdict(decide(observe(SEARCH), status).status, ConditionType.STALLED) == ("False", "Starting")


def test_a_new_search_is_in_progress_before_the_first_pass(argo: Any) -> None:
    """The API server sets observedGeneration to 0 at creation, so that an immediate wait does not end."""
    made = {"metadata": {"generation": 1}, "status": NEW_SCHEMA["default"]}

    assert kstatus(made) == "InProgress"
    assert argo(made)[0] == "Progressing"
    assert argo({"metadata": {"generation": 1}})[0] == "Progressing"


def test_a_paused_search_keeps_its_conditions() -> None:
    """A pause changes ReconciliationPaused only: a running search continues and stays in progress."""
    held = decide(observe(PAUSED, JOB, POD), RUNNING).status

    assert kstatus(document(held)) == "InProgress"
    assert verdict(held, ConditionType.READY) == verdict(RUNNING, ConditionType.READY) == ("False", "Reporting")
    assert verdict(held, ConditionType.RECONCILING) == ("True", "Running")


SUMMARY = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}


def of_an_older_operator(status: Status) -> Status:
    """The status as versions without the summary wrote it."""
    return status.replace(conditions=[condition for condition in status.conditions if condition.type not in SUMMARY])


@pytest.mark.parametrize(
    ("view", "status", "tools"),
    [
        (observe(SEARCH), SUCCEEDED, "Current"),
        (observe(SEARCH), FAILED, "Failed"),
        (observe(PAUSED), SUCCEEDED, "Current"),
        (observe(PAUSED, JOB, POD), RUNNING, "InProgress"),
    ],
    ids=["succeeded", "failed", "succeeded and paused", "at work and paused"],
)
def test_an_upgrade_gives_a_summary_to_what_nothing_else_changes(view: Observed, status: Status, tools: str) -> None:
    """A search that ended, or was paused, under an operator without the summary gets that of its phase; a second pass writes nothing."""
    upgraded = decide(view, of_an_older_operator(status)).status

    assert kstatus(document(upgraded)) == tools
    assert {kind: verdict(upgraded, kind) for kind in SUMMARY} == {kind: verdict(status, kind) for kind in SUMMARY}
    assert decide(view, upgraded, at_s=NOW_S + 60).status == upgraded
