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
            description="Searches whose trainer reports.",
            kind="stat",
            queries=(Query(expr=f'sum(autohas_searches{{{_JOB},phase="Running"}})', instant=True),),
            unit="none",
            width=4,
            height=5,
        ),
        Panel(
            title="Waiting",
            description="Searches that neither run nor have ended.",
            kind="stat",
            queries=(Query(expr=f"sum(autohas_searches_waiting{{{_JOB}}}) or vector(0)", instant=True),),
            unit="none",
            width=4,
            height=5,
        ),
        Panel(
            title="Outcomes",
            description="Searches that ended in the time shown.",
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
            description="Over all running trainers.",
            kind="stat",
            queries=(Query(expr=f"sum(rate(autohas_trainer_steps_total{{{_SEARCHES}}}[{_RATE}]))", instant=True),),
            unit="ops",
            width=4,
            height=5,
        ),
        Panel(
            title="Operator",
            description="Version of the operator and of the contract that it speaks with trainers.",
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
            description="Searches that ended, by result.",
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
            description="Progress, best score, cost and checkpoint age of each; the name leads to its dashboard.",
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
            description="What searches that do not run wait for: the reason of their condition TrainerReady, or of a refusal.",
            queries=(Query(expr=f"sum by (reason) (autohas_searches_waiting{{{_JOB}}})", legend="{{reason}}"),),
            custom={"stacking": {"mode": "normal"}, "fillOpacity": 40},
            unit="none",
        ),
        Panel(
            title="From creation to Job",
            description="How long the operator took. Creation times are whole seconds, so this is right to a second.",
            queries=_quantiles("autohas_search_created_to_job_seconds"),
            unit="s",
        ),
        Panel(
            title="From creation to the first report",
            description="Quota, scheduling, image and data together.",
            queries=_quantiles("autohas_search_created_to_report_seconds"),
            unit="s",
        ),
        Panel(
            title="Restarts",
            description="Trainers started again, for whatever reason.",
            queries=(Query(expr=f"sum(increase(autohas_search_restarts_total{{{_JOB},{_SEARCHES}}}[{_RATE}]))", legend="restarts"),),
            custom={"drawStyle": "bars", "fillOpacity": 60},
            unit="none",
        ),
        Panel(
            title="How trainers ended",
            description="Since the operator started. Result: well. Interrupted, Disrupted: stopped on request, evicted."
            " Lost: with a node or its runtime. OOMKilled, Killed: by the kernel or a person."
            " The others are exit codes of the trainer protocol.",
            queries=(Query(expr=f"sum by (reason) (autohas_trainer_exits_total{{{_JOB},{_SEARCHES}}})", legend="{{reason}}"),),
            unit="none",
        ),
        Panel(
            title="Length of a life",
            description="From creation to the end, waits included, by result.",
            queries=_quantiles("autohas_search_duration_seconds", by="result"),
            unit="s",
        ),
        Panel(
            title="Oldest checkpoint",
            description="The five running searches that an interruption would cost most.",
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
            description="One pass over one search, requests to the API server and waits for their turn included.",
            queries=_quantiles("autohas_reconcile_duration_seconds"),
            unit="s",
        ),
        Panel(
            title="Decision latency",
            description="The part of a pass that computes: no request, no wait, and nothing else runs meanwhile. Usually below 10 ms.",
            queries=_quantiles("autohas_reconcile_decide_seconds"),
            unit="s",
        ),
        Panel(
            title="Passes",
            description="Passes per second by how they ended: ok, retry (see errors), gone (the search was deleted meanwhile).",
            queries=(
                Query(expr=f"sum by (result) (rate(autohas_reconcile_duration_seconds_count{{{_JOB}}}[{_RATE}]))", legend="{{result}}"),
            ),
            unit="ops",
        ),
        Panel(
            title="Errors",
            description="Passes per second that ended with an error, by its kind. A ConflictError now and then is normal.",
            queries=(
                Query(expr=f"sum by (reason) (rate(autohas_reconcile_errors_total{{{_JOB}}}[{_RATE}])) or vector(0)", legend="{{reason}}"),
            ),
            unit="ops",
        ),
        Panel(
            title="Work queue",
            description="Searches that wait for a worker, and those that wait for their time. The first should be 0 most of the time.",
            queries=(
                Query(expr=f"sum(autohas_workqueue_depth{{{_JOB}}})", legend="waiting for a worker"),
                Query(expr=f"sum(autohas_workqueue_delayed{{{_JOB}}})", legend="waiting for their time"),
            ),
            unit="none",
        ),
        Panel(
            title="Searches that fail",
            description="Searches whose last pass ended with an error, and for how long the oldest of them has failed.",
            queries=(
                Query(expr=f"sum(autohas_workqueue_failing{{{_JOB}}})", legend="failing"),
                Query(expr=f"max(autohas_workqueue_oldest_failing_seconds{{{_JOB}}})", legend="seconds, the oldest"),
            ),
            unit="none",
        ),
        Panel(
            title="Blocked passes",
            description="Passes per second that a refusal blocked, by the reason in the search's conditions.",
            queries=(
                Query(expr=f"sum by (reason) (rate(autohas_reconcile_blocked_total{{{_JOB}}}[{_RATE}])) or vector(0)", legend="{{reason}}"),
            ),
            unit="ops",
        ),
        Panel(
            title="Left out",
            description="Namespaces that cannot be read or are another operator's, unreadable objects, lists that failed.",
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
            description="Per second, by verb and resource.",
            queries=(
                Query(
                    expr=f"sum by (verb, resource) (rate(autohas_api_request_duration_seconds_count{{{_JOB}}}[{_RATE}]))",
                    legend="{{verb}} {{resource}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            title="Requests that failed",
            description="Share of requests answered with 4xx (conflicts among them) or 5xx, or not at all.",
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
            title="Latency of requests",
            description="99th percentile by verb.",
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
            title="Reads of progress",
            description="Reads of trainers' /progress per second, and those that gave nothing usable, by cause.",
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
            title="Events not posted",
            description="Per second: too many, or refused by the API server.",
            queries=(Query(expr=f"sum(rate(autohas_events_dropped_total{{{_JOB}}}[{_RATE}]))", legend="dropped"),),
            unit="ops",
        ),
        Panel(
            title="Memory of the operator",
            description="Resident.",
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
