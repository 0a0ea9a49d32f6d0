"""The alerts, as the content of a PrometheusRule. Pure.

Each says what happened (summary) and what to do (description). The chart adds the address of its runbook, the labels of this
release's operator to AutoHASOperatorDown, and leaves out the two alerts on missing targets where nothing is scraped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert: `expr` must hold for `lasting`, a Prometheus duration."""

    name: str
    expr: str
    lasting: str
    severity: Literal["info", "warning", "critical"]
    summary: str
    description: str


_SEARCH: Final = "{{ $labels.namespace }}/{{ $labels.name }}"
_FAILED: Final = 'autohas_searches_finished_total{result="Failed"}'
_NEWLY_FAILED: Final = (
    f"sum by (namespace) (increase({_FAILED}[15m])) > 0"
    # A series that begins at 1, after a restart of the operator, does not increase.
    f" or sum by (namespace) ({_FAILED} unless {_FAILED} offset 15m) > 0"
)

ALERTS: Final = (
    Alert(
        name="AutoHASSearchStalled",
        expr="sum by (namespace, name) (increase(autohas_trainer_steps_total[15m])) == 0"
        " and on (namespace, name) max by (namespace, name) (autohas_trainer_progress_ratio) < 1",
        lasting="5m",
        severity="warning",
        summary=f"Search {_SEARCH} makes no steps",
        description="No training step for a quarter of an hour. Check the trainer's log and its node; the kubelet stops a trainer that"
        " makes no step for spec.failurePolicy.stallTimeoutSeconds.",
    ),
    Alert(
        name="AutoHASCheckpointStale",
        expr='max by (namespace, name) (autohas_search_condition{type="CheckpointReady",status="False",reason="Stale"}) == 1',
        lasting="10m",
        severity="warning",
        summary=f"Search {_SEARCH} has written no checkpoint for too long",
        description="After an interruption all work since then would be repeated. Is the volume full or slow? The trainer's log names the"
        " error.",
    ),
    Alert(
        name="AutoHASRestartLoop",
        expr="max by (namespace, name) (max_over_time(autohas_trainer_starts_total[1h]))"
        " - min by (namespace, name) (min_over_time(autohas_trainer_starts_total[1h])) >= 3"
        " or count by (namespace, name) (count by (namespace, name, pod) (max_over_time(autohas_trainer_starts_total[1h]))) - 1 >= 3",
        lasting="0m",
        severity="warning",
        summary=f"Search {_SEARCH} was started again {{{{ $value }}}} times within an hour",
        description="Repeated preemption, not enough memory, or a fault that recurs: the exit codes of the last pods and the events of"
        " the search show which.",
    ),
    Alert(
        name="AutoHASPendingTooLong",
        expr='max by (namespace, name) (autohas_search_phase{phase=~"Pending|Starting|Interrupted|Suspending|Finalizing"}) == 1',
        lasting="1h",
        severity="warning",
        summary=f"Search {_SEARCH} has had no running trainer for an hour",
        description="The condition TrainerReady names what is missing: a node, an image, a claim, the end of an earlier pod.",
    ),
    Alert(
        name="AutoHASQueuedTooLong",
        expr='max by (namespace, name) (autohas_search_phase{phase="Queued"}) == 1',
        lasting="24h",
        severity="info",
        summary=f"Search {_SEARCH} has waited for quota for a day",
        description="Waiting is the purpose of a queue, but after a day its quota may be too small for this search. The condition"
        " Admitted names the queue.",
    ),
    Alert(
        name="AutoHASSearchFailed",
        expr=_NEWLY_FAILED,
        lasting="0m",
        severity="warning",
        summary="A search in namespace {{ $labels.namespace }} has failed",
        description="kubectl get ahs shows which search; its condition Succeeded says why, and what to do.",
    ),
    Alert(
        name="AutoHASSearchRejected",
        expr='max by (namespace, name) (autohas_search_phase{phase="Rejected"}) == 1',
        lasting="15m",
        severity="info",
        summary=f"Search {_SEARCH} is rejected and has not been edited",
        description="Its condition Accepted names the field, the allowed values and what to do; nothing runs until the search is edited.",
    ),
    Alert(
        name="AutoHASPolicyCollapsedEarly",
        expr="max by (namespace, name) (autohas_policy_normalized_entropy_ratio) < 0.05"
        " and on (namespace, name) max by (namespace, name) (autohas_trainer_progress_ratio) < 0.5"
        # Progress of a comparison is of all runs, the policy of one.
        " unless on (namespace, name) autohas_trainer_runs",
        lasting="5m",
        severity="info",
        summary=f"The controller of search {_SEARCH} converged before half of the search was done",
        description="The controller no longer explores. Use a smaller spec.algorithm.autoHAS.policyLearningRate or a longer warm-up.",
    ),
    Alert(
        name="AutoHASNonFiniteLosses",
        expr="sum by (namespace, name) (increase(autohas_trainer_non_finite_losses_total[15m]))"
        " / sum by (namespace, name) (increase(autohas_trainer_steps_total[15m])) > 0.1",
        lasting="5m",
        severity="warning",
        summary=f"More than a tenth of the steps of search {_SEARCH} have no finite loss",
        description="These configurations diverge: lower the upper bound of the learning rate.",
    ),
    Alert(
        name="AutoHASDeadlineAtRisk",
        expr="max by (namespace, name) (autohas_trainer_active_seconds_total)"
        " + max by (namespace, name) (autohas_trainer_remaining_seconds)"
        " > 1.1 * max by (namespace, name) (autohas_trainer_active_limit_seconds)",
        lasting="15m",
        severity="info",
        summary=f"Search {_SEARCH} will not be done within spec.budget.maxActiveSeconds",
        description="The search will end early, with a result and stopReason Budget, and skip a part of its plan.",
    ),
    Alert(
        name="AutoHASTrainerTargetDown",
        expr='max by (namespace, name) (autohas_search_phase{phase="Running"})'
        " unless on (namespace, name) max by (namespace, name) (autohas_trainer_progress_ratio)",
        lasting="10m",
        severity="warning",
        summary=f"Prometheus does not see the trainer of search {_SEARCH}",
        description="The search runs, but its metrics are missing: does this Prometheus select the PodMonitor, and may it reach the pod's"
        " metrics port (NetworkPolicy)?",
    ),
    Alert(
        name="AutoHASOperatorDown",
        expr="absent(autohas_operator_build_info)",
        lasting="5m",
        severity="critical",
        summary="No AutoHAS operator is running",
        description="Running trainers continue, but without an operator no search starts, restarts or updates its status.",
    ),
    Alert(
        name="AutoHASReconcileErrors",
        expr='sum by (namespace, job, reason) (rate(autohas_reconcile_errors_total{reason!="ConflictError"}[10m]))'
        " / on (namespace, job) group_left () sum by (namespace, job) (rate(autohas_reconcile_duration_seconds_count[10m])) > 0.1",
        lasting="15m",
        severity="warning",
        summary="More than a tenth of the operator's reconciliations end with {{ $labels.reason }}",
        description="The operator's log has the message. ForbiddenError: permissions are missing; UnreachableError: the API server.",
    ),
    Alert(
        name="AutoHASSearchNotReconciled",
        expr="max(autohas_workqueue_oldest_failing_seconds) > 1800",
        lasting="0m",
        severity="warning",
        summary="Every reconciliation of at least one search has failed for {{ $value | humanizeDuration }}",
        description="The search is not reconciled, and its status is old. The operator's log names the search and the error.",
    ),
    Alert(
        name="AutoHASSeriesTruncated",
        expr="max by (namespace, name) (autohas_policy_series_truncated) == 1",
        lasting="5m",
        severity="info",
        summary=f"Not every choice of search {_SEARCH} is exported",
        description="It has more choices than spec.monitoring.perChoiceLimit: only the most probable one of each decision is exported.",
    ),
)


def build() -> dict[str, Any]:
    """The rule file."""
    return {"groups": [{"name": "autohas", "rules": [_rule(alert) for alert in ALERTS]}]}


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasting,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.description},
    }
