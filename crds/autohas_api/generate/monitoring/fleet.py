"""The dashboard of all searches and of the operator: phases, outcomes, waits, restarts, and whether the operator keeps up."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.generate.monitoring.panels import Panel, Query, Row, Variable, dashboard

UID: Final = "autohas-fleet"
_JOB: Final = 'job=~"$job"'
_RATE: Final = "$__rate_interval"

_VARIABLES: Final = (
    Variable(name="job", label="Operator", query="label_values(autohas_operator_build_info, job)", multi=True),
    Variable(
        name="namespace",
        label="Namespace",
        query="label_values({__name__=~'autohas_search_phase|autohas_trainer_progress_ratio'}, namespace)",
        multi=True,
    ),
)
_SEARCHES: Final = 'namespace=~"$namespace"'


def _quantiles(metric: str, by: str = "", unit_label: str = "") -> tuple[Query, ...]:
    """Median and 99th percentile of a histogram of the operator."""
    groups = f"le, {by}" if by else "le"
    name = f"{{{{{by}}}}} " if by else unit_label
    return tuple(
        Query(expr=f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{{{_JOB}}}[{_RATE}])))", legend=f"{name}{legend}")
        for q, legend in ((0.5, "median"), (0.99, "99th percentile"))
    )


_SEARCH_ROW: Final = Row(
    title="Searches",
    panels=(
        Panel(
            title="Running",
            description="Searches in phase Running, whose trainer reports progress.",
            kind="stat",
            queries=(Query(expr=f'sum(autohas_searches{{{_JOB},phase="Running"}})', instant=True),),
            unit="none",
            width=4,
            height=5,
        ),
        Panel(
            title="Waiting",
            description="Searches that have not finished and do not run.",
            kind="stat",
            queries=(Query(expr=f"sum(autohas_searches_waiting{{{_JOB}}}) or vector(0)", instant=True),),
            unit="none",
            width=4,
            height=5,
        ),
        Panel(
            title="Outcomes",
            description="Searches that finished in the selected time range.",
            kind="stat",
            queries=(
                Query(
                    expr=f"sum by (result) (increase(autohas_searches_finished_total{{{_JOB},{_SEARCHES}}}[$__range]))",
                    legend="{{result}}",
                    instant=True,
                ),
            ),
            unit="none",
            width=8,
            height=5,
        ),
        Panel(
            title="Steps per second",
            description="Training steps of all running trainers.",
            kind="stat",
            queries=(Query(expr=f"sum(rate(autohas_trainer_steps_total{{{_SEARCHES}}}[{_RATE}]))", instant=True),),
            unit="ops",
            width=4,
            height=5,
        ),
        Panel(
            title="Operator",
            description="Version of the operator and of its protocol with trainers.",
            kind="stat",
            queries=(Query(expr=f"autohas_operator_build_info{{{_JOB}}}", legend="{{version}} (contract {{contract}})", instant=True),),
            options={"textMode": "name"},
            width=4,
            height=5,
        ),
        Panel(
            title="Phases",
            description="Searches by phase.",
            queries=(Query(expr=f"sum by (phase) (autohas_searches{{{_JOB}}}) > 0", legend="{{phase}}"),),
            custom={"stacking": {"mode": "normal"}, "fillOpacity": 40},
            unit="none",
        ),
        Panel(
            title="Outcomes over time",
            description="Searches that finished, by result.",
            queries=(
                Query(
                    expr=f"sum by (result) (increase(autohas_searches_finished_total{{{_JOB},{_SEARCHES}}}[{_RATE}]))", legend="{{result}}"
                ),
            ),
            custom={"drawStyle": "bars", "fillOpacity": 60},
            unit="none",
        ),
        Panel(
            title="Failures by reason",
            description="Searches that failed within the last hour, by the reason of their condition Succeeded.",
            queries=(
                Query(
                    expr=f'count by (reason) (autohas_search_condition{{{_SEARCHES},type="Succeeded",status="False"}})', legend="{{reason}}"
                ),
            ),
            unit="none",
        ),
        Panel(
            title="Running searches",
            description="Progress, best score, cost and checkpoint age of each search; the name links to its dashboard.",
            kind="table",
            queries=tuple(
                Query(expr=f"max by (namespace, name) ({metric}{{{_SEARCHES}}})", instant=True, format="table")
                for metric in (
                    "autohas_trainer_progress_ratio",
                    "autohas_trainer_best_score",
                    "autohas_trainer_cost_trainings",
                    "autohas_trainer_checkpoint_age_seconds",
                )
            ),
            transformations=(
                {"id": "merge", "options": {}},
                {
                    "id": "organize",
                    "options": {
                        "excludeByName": {"Time": True},
                        "renameByName": {
                            "Value #A": "Progress",
                            "Value #B": "Best score",
                            "Value #C": "Cost (trainings)",
                            "Value #D": "Checkpoint age (s)",
                        },
                    },
                },
            ),
            custom={"filterable": True},
            options={"footer": {"show": False}},
            unit="none",
            width=24,
        ),
    ),
)
_WAITS: Final = Row(
    title="Waits and restarts",
    panels=(
        Panel(
            title="Waiting, by reason",
            description="Searches that do not run, by the reason of their condition TrainerReady or of their rejection.",
            queries=(Query(expr=f"sum by (reason) (autohas_searches_waiting{{{_JOB}}})", legend="{{reason}}"),),
            custom={"stacking": {"mode": "normal"}, "fillOpacity": 40},
            unit="none",
        ),
        Panel(
            title="From creation to Job",
            description="Time from the creation of a search to its first Job. Creation times are whole seconds, so the value "
            "is accurate to a second.",
            queries=_quantiles("autohas_search_created_to_job_seconds"),
            unit="s",
        ),
        Panel(
            title="From creation to the first report",
            description="Time from the creation of a search to its first report: quota, scheduling, image pull and data.",
            queries=_quantiles("autohas_search_created_to_report_seconds"),
            unit="s",
        ),
        Panel(
            title="Restarts",
            description="Trainers that were started again, for any reason.",
            queries=(Query(expr=f"sum(increase(autohas_search_restarts_total{{{_JOB},{_SEARCHES}}}[{_RATE}]))", legend="restarts"),),
            custom={"drawStyle": "bars", "fillOpacity": 60},
            unit="none",
        ),
        Panel(
            title="Trainer exits",
            description="Exits since the operator started. Result: success. Interrupted, Disrupted: stopped on request, evicted."
            " Lost: with a node or its runtime. OOMKilled, Killed: by the kernel or a person."
            " The others are exit codes of the trainer protocol.",
            queries=(Query(expr=f"sum by (reason) (autohas_trainer_exits_total{{{_JOB},{_SEARCHES}}})", legend="{{reason}}"),),
            unit="none",
        ),
        Panel(
            title="Search duration",
            description="Time from creation to the end, waits included, by result.",
            queries=_quantiles("autohas_search_duration_seconds", by="result"),
            unit="s",
        ),
        Panel(
            title="Oldest checkpoint",
            description="The five running searches with the oldest checkpoints, to which an interruption would cost most.",
            queries=(
                Query(
                    expr=f"topk(5, max by (namespace, name) (autohas_trainer_checkpoint_age_seconds{{{_SEARCHES}}}))",
                    legend="{{namespace}}/{{name}}",
                ),
            ),
            unit="s",
        ),
    ),
)
_OPERATOR: Final = Row(
    title="The operator",
    panels=(
        Panel(
            title="Reconcile latency",
            description="Duration of one reconciliation, requests to the API server and client-side rate limiting included.",
            queries=_quantiles("autohas_reconcile_duration_seconds"),
            unit="s",
        ),
        Panel(
            title="Decision latency",
            description="Computing time of one reconciliation, which blocks the event loop. Usually below 10 ms.",
            queries=_quantiles("autohas_reconcile_decide_seconds"),
            unit="s",
        ),
        Panel(
            title="Passes",
            description="Reconciliations per second by result: ok, retry (see errors), gone (the search has been deleted).",
            queries=(
                Query(expr=f"sum by (result) (rate(autohas_reconcile_duration_seconds_count{{{_JOB}}}[{_RATE}]))", legend="{{result}}"),
            ),
            unit="ops",
        ),
        Panel(
            title="Errors",
            description="Reconciliations per second that ended with an error, by its kind. Occasional ConflictErrors are normal.",
            queries=(
                Query(expr=f"sum by (reason) (rate(autohas_reconcile_errors_total{{{_JOB}}}[{_RATE}])) or vector(0)", legend="{{reason}}"),
            ),
            unit="ops",
        ),
        Panel(
            title="Work queue",
            description="Searches that wait for a worker, and searches that are scheduled for later. The first should be 0 "
            "most of the time.",
            queries=(
                Query(expr=f"sum(autohas_workqueue_depth{{{_JOB}}})", legend="waiting for a worker"),
                Query(expr=f"sum(autohas_workqueue_delayed{{{_JOB}}})", legend="waiting for their time"),
            ),
            unit="none",
        ),
        Panel(
            title="Failing searches",
            description="Searches whose last reconciliation failed, and seconds the longest-failing search has been failing.",
            queries=(
                Query(expr=f"sum(autohas_workqueue_failing{{{_JOB}}})", legend="failing"),
                Query(expr=f"max(autohas_workqueue_oldest_failing_seconds{{{_JOB}}})", legend="seconds, the oldest"),
            ),
            unit="none",
        ),
        Panel(
            title="Blocked passes",
            description="Reconciliations per second that a refusal blocked, by the reason in the search's conditions.",
            queries=(
                Query(expr=f"sum by (reason) (rate(autohas_reconcile_blocked_total{{{_JOB}}}[{_RATE}])) or vector(0)", legend="{{reason}}"),
            ),
            unit="ops",
        ),
        Panel(
            title="Ignored namespaces and objects",
            description="Namespaces that cannot be read or belong to another operator, objects that cannot be read, lists that failed.",
            queries=(
                Query(expr=f"max(autohas_namespaces_unreadable{{{_JOB}}})", legend="namespaces"),
                Query(expr=f"max(autohas_namespaces_taken{{{_JOB}}})", legend="namespaces of another operator"),
                Query(expr=f"sum(increase(autohas_objects_unreadable_total{{{_JOB}}}[{_RATE}]))", legend="objects"),
                Query(expr=f"sum(increase(autohas_resync_failures_total{{{_JOB}}}[{_RATE}]))", legend="lists"),
            ),
            unit="none",
        ),
        Panel(
            title="Requests to the API server",
            description="Requests per second, by verb and resource.",
            queries=(
                Query(
                    expr=f"sum by (verb, resource) (rate(autohas_api_request_duration_seconds_count{{{_JOB}}}[{_RATE}]))",
                    legend="{{verb}} {{resource}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            title="Failed requests",
            description="Fraction of requests with an answer of 4xx (conflicts included) or 5xx, or without an answer.",
            queries=(
                Query(
                    expr=f'(sum(rate(autohas_api_request_duration_seconds_count{{{_JOB},code=~"0|4..|5.."}}[{_RATE}])) or vector(0))'
                    f" / sum(rate(autohas_api_request_duration_seconds_count{{{_JOB}}}[{_RATE}]))",
                    legend="share",
                ),
            ),
            unit="percentunit",
            minimum=0,
        ),
        Panel(
            title="Request latency",
            description="99th percentile of the duration of a request, by verb.",
            queries=(
                Query(
                    expr="histogram_quantile(0.99, sum by (le, verb) "
                    f"(rate(autohas_api_request_duration_seconds_bucket{{{_JOB}}}[{_RATE}])))",
                    legend="{{verb}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Progress polls",
            description="Polls of trainers' /progress per second, and failed ones by cause.",
            queries=(
                Query(expr=f"sum(rate(autohas_progress_polls_total{{{_JOB}}}[{_RATE}]))", legend="all"),
                Query(
                    expr=f"sum by (reason) (rate(autohas_progress_poll_failures_total{{{_JOB}}}[{_RATE}])) or vector(0)",
                    legend="failed: {{reason}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            title="Dropped events",
            description="Events per second that were not posted: above the rate limit, or refused by the API server.",
            queries=(Query(expr=f"sum(rate(autohas_events_dropped_total{{{_JOB}}}[{_RATE}]))", legend="dropped"),),
            unit="ops",
        ),
        Panel(
            title="Memory of the operator",
            description="Resident memory of the process.",
            queries=(Query(expr=f"process_resident_memory_bytes{{{_JOB}}}", legend="{{pod}}"),),
            unit="bytes",
            width=12,
        ),
        Panel(
            title="CPU of the operator",
            description="Seconds per second.",
            queries=(Query(expr=f"rate(process_cpu_seconds_total{{{_JOB}}}[{_RATE}])", legend="{{pod}}"),),
            unit="none",
            width=12,
        ),
    ),
)


def build() -> dict[str, Any]:
    """Grafana's JSON."""
    return dashboard(
        uid=UID,
        title="AutoHAS / Fleet",
        description="All AutoHASSearches of a cluster: phases, outcomes, waits, restarts, and whether the operator keeps up.",
        variables=_VARIABLES,
        rows=(_SEARCH_ROW, _WAITS, _OPERATOR),
    )
