"""The alerts, as the content of a PrometheusRule. Pure.

Each says what happened (summary) and what to do (description). The chart adds the address of its runbook, the labels of this
release's operator to AutoHASOperatorDown, and leaves out the two that tell of missing targets where nothing is scraped.
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
        description="No training step for a quarter of an hour. Look at the trainer's log and at its node; the kubelet restarts the trainer"
        " when it says nothing for spec.failurePolicy.stallTimeoutSeconds.",
    ),
    Alert(
        name="AutoHASCheckpointStale",
        expr='max by (namespace, name) (autohas_search_condition{type="CheckpointReady",status="False",reason="Stale"}) == 1',
        lasting="10m",
        severity="warning",
        summary=f"Search {_SEARCH} has written no checkpoint for too long",
        description="An interruption now would repeat all work since. Is its volume full or slow? The trainer's log says what failed.",
    ),
    Alert(
        name="AutoHASRestartLoop",
        expr="max by (namespace, name) (max_over_time(autohas_trainer_starts_total[1h]))"
        " - min by (namespace, name) (min_over_time(autohas_trainer_starts_total[1h])) >= 3"
        " or count by (namespace, name) (count by (namespace, name, pod) (max_over_time(autohas_trainer_starts_total[1h]))) - 1 >= 3",
        lasting="0m",
        severity="warning",
        summary=f"Search {_SEARCH} was started again {{{{ $value }}}} times within an hour",
        description="Preempted again and again, out of memory, or a fault that repeats itself: the last pods' exit codes and the events of"
        " the search tell which.",
    ),
    Alert(
        name="AutoHASPendingTooLong",
        expr='max by (namespace, name) (autohas_search_phase{phase=~"Pending|Starting|Interrupted|Suspending|Finalizing"}) == 1',
        lasting="1h",
        severity="warning",
        summary=f"Search {_SEARCH} has had no running trainer for an hour",
        description="The condition TrainerReady names what it waits for: a node, an image, a claim, a pod that does not go.",
    ),
    Alert(
        name="AutoHASQueuedTooLong",
        expr='max by (namespace, name) (autohas_search_phase{phase="Queued"}) == 1',
        lasting="24h",
        severity="info",
        summary=f"Search {_SEARCH} has waited for quota for a day",
        description="Queues make searches wait, that is their purpose; a day may mean a queue without enough quota for it. The condition"
        " Admitted names the queue.",
    ),
    Alert(
        name="AutoHASSearchFailed",
        expr=_NEWLY_FAILED,
        lasting="0m",
        severity="warning",
        summary="A search in namespace {{ $labels.namespace }} has failed",
        description="kubectl get ahs shows which; its condition Succeeded says why, and what to do.",
    ),
    Alert(
        name="AutoHASSearchRejected",
        expr='max by (namespace, name) (autohas_search_phase{phase="Rejected"}) == 1',
        lasting="15m",
        severity="info",
        summary=f"Search {_SEARCH} is rejected, and nobody has edited it",
        description="Its condition Accepted names the field, what is allowed there and what to do; nothing runs until it is edited.",
    ),
    Alert(
        name="AutoHASPolicyCollapsedEarly",
        expr="max by (namespace, name) (autohas_policy_normalized_entropy_ratio) < 0.05"
        " and on (namespace, name) max by (namespace, name) (autohas_trainer_progress_ratio) < 0.5",
        lasting="5m",
        severity="info",
        summary=f"The controller of search {_SEARCH} decided before half of the search was done",
        description="It no longer explores. A smaller spec.algorithm.autoHAS.policyLearningRate or a longer warm-up leaves it more time.",
    ),
    Alert(
        name="AutoHASNonFiniteLosses",
        expr="sum by (namespace, name) (increase(autohas_trainer_non_finite_losses_total[15m]))"
        " / sum by (namespace, name) (increase(autohas_trainer_steps_total[15m])) > 0.1",
        lasting="5m",
        severity="warning",
        summary=f"More than a tenth of the steps of search {_SEARCH} have no finite loss",
        description="Steps are spent on configurations that diverge: lower the upper bound of the learning rate.",
    ),
    Alert(
        name="AutoHASDeadlineAtRisk",
        expr="max by (namespace, name) (autohas_trainer_active_seconds_total)"
        " + max by (namespace, name) (autohas_trainer_remaining_seconds)"
        " > 1.1 * max by (namespace, name) (autohas_trainer_active_limit_seconds)",
        lasting="15m",
        severity="info",
        summary=f"Search {_SEARCH} will not be done within spec.budget.maxActiveSeconds",
        description="It will end early, with a result and with stopReason Budget: part of what was planned is left out.",
    ),
    Alert(
        name="AutoHASTrainerTargetDown",
        expr='max by (namespace, name) (autohas_search_phase{phase="Running"})'
        " unless on (namespace, name) max by (namespace, name) (autohas_trainer_progress_ratio)",
        lasting="10m",
        severity="warning",
        summary=f"Prometheus does not see the trainer of search {_SEARCH}",
        description="The search runs, its metrics are missing: is the PodMonitor selected by this Prometheus, and may it reach the pod's"
        " metrics port (NetworkPolicy)?",
    ),
    Alert(
        name="AutoHASOperatorDown",
        expr="absent(autohas_operator_build_info)",
        lasting="5m",
        severity="critical",
        summary="No AutoHAS operator is there",
        description="Running trainers go on, but nothing is started, restarted after the Job's own limit, or reported until it is back.",
    ),
    Alert(
        name="AutoHASReconcileErrors",
        expr='sum by (namespace, job, reason) (rate(autohas_reconcile_errors_total{reason!="ConflictError"}[10m]))'
        " / on (namespace, job) group_left () sum by (namespace, job) (rate(autohas_reconcile_duration_seconds_count[10m])) > 0.1",
        lasting="15m",
        severity="warning",
        summary="More than a tenth of the operator's passes end with {{ $labels.reason }}",
        description="The operator's log has the sentence. ForbiddenError: its rights were trimmed; UnreachableError: the API server.",
    ),
    Alert(
        name="AutoHASSearchNotReconciled",
        expr="max(autohas_workqueue_oldest_failing_seconds) > 1800",
        lasting="0m",
        severity="warning",
        summary="Every pass over at least one search has failed for {{ $value | humanizeDuration }}",
        description="It is neither started nor followed, and its status is old. The operator's log names it and the error.",
    ),
    Alert(
        name="AutoHASSeriesTruncated",
        expr="max by (namespace, name) (autohas_policy_series_truncated) == 1",
        lasting="5m",
        severity="info",
        summary=f"Not every choice of search {_SEARCH} is exported",
        description="It has more choices than spec.monitoring.perChoiceLimit: only the most likely one of each decision is shown.",
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
