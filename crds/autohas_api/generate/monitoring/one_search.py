"""The dashboard of one search: where it stands, what it found so far, what the controller believes, how fast it is."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.generate.monitoring.panels import Panel, Query, Row, Variable, dashboard

UID: Final = "autohas-search"
SELECTED: Final = 'namespace="$namespace",name="$name"'

_VARIABLES: Final = (
    Variable(name="namespace", label="Namespace", query="label_values(autohas_trainer_progress_ratio, namespace)"),
    Variable(name="name", label="Search", query='label_values(autohas_trainer_progress_ratio{namespace="$namespace"}, name)'),
    Variable(
        name="decision",
        label="Decision",
        query=f"label_values(autohas_policy_probability{{{SELECTED}}}, decision)",
        multi=True,
    ),
)


def _newest(metric: str, by: str = "") -> str:
    """The value over all pods of the search: only one runs at a time."""
    return f"max{f' by ({by})' if by else ''} ({metric}{{{SELECTED}}})"


def _of_changes(metric: str) -> str:
    """The newest value of each single change in the dashboard's time, also after the trainer has ended."""
    series = f"last_over_time({metric}{{{SELECTED}}}[$__range])"
    return f'max by (change) (label_join({series}, "change", ": ", "decision", "choice"))'


_NOW: Final = Row(
    title="Now",
    panels=(
        Panel(
            title="Phase",
            description="Phase that the operator derives. The panel Conditions has the reason.",
            kind="stat",
            queries=(Query(expr=f"autohas_search_phase{{{SELECTED}}}", legend="{{phase}}", instant=True),),
            options={"textMode": "name"},
            width=4,
            height=4,
        ),
        Panel(
            title="Stage",
            description="Stage that the trainer is in.",
            kind="stat",
            queries=(Query(expr=f"{_newest('autohas_trainer_stage', 'stage')} == 1", legend="{{stage}}", instant=True),),
            options={"textMode": "name"},
            width=4,
            height=4,
        ),
        Panel(
            title="Progress",
            description="Percentage of the planned steps, over all stages.",
            kind="gauge",
            queries=(Query(expr=_newest("autohas_trainer_progress_ratio"), instant=True),),
            unit="percentunit",
            minimum=0,
            maximum=1,
            width=3,
            height=4,
        ),
        Panel(
            title="Time",
            description="Left: estimate from the cost per second of this process; missing during its first steps. Worked: seconds of all "
            "processes.",
            kind="stat",
            queries=(
                Query(expr=_newest("autohas_trainer_remaining_seconds"), legend="left", instant=True),
                Query(expr=_newest("autohas_trainer_active_seconds_total"), legend="worked", instant=True),
            ),
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            title="Best score",
            description="Selection-split metric of the leading candidate.",
            kind="stat",
            queries=(Query(expr=_newest("autohas_trainer_best_score"), instant=True),),
            unit="none",
            width=3,
            height=4,
        ),
        Panel(
            title="Starts",
            description="Trainer processes so far; all but the first resumed from a checkpoint.",
            kind="stat",
            queries=(Query(expr=_newest("autohas_trainer_starts_total"), instant=True),),
            unit="none",
            width=3,
            height=4,
        ),
        Panel(
            title="Run",
            description="Run of a comparison (algorithm.compare) that the trainer is in, and the number of runs; stage and scores are of "
            "this run. Empty for a search alone.",
            kind="stat",
            queries=(
                Query(expr=_newest("autohas_trainer_run"), legend="run", instant=True),
                Query(expr=_newest("autohas_trainer_runs"), legend="of", instant=True),
            ),
            unit="none",
            options={"textMode": "value_and_name"},
            width=3,
            height=4,
        ),
        Panel(
            title="Conditions",
            description="Every condition with its status and reason over time.",
            kind="state-timeline",
            queries=(Query(expr=f"autohas_search_condition{{{SELECTED}}}", legend="{{type}}: {{status}} ({{reason}})"),),
            width=12,
            height=9,
        ),
        Panel(
            title="Stages",
            description="Stage of the trainer over time.",
            kind="state-timeline",
            queries=(Query(expr=_newest("autohas_trainer_stage", "stage"), legend="{{stage}}"),),
            mappings=(
                {"type": "value", "options": {"0": {"text": " ", "color": "transparent"}, "1": {"text": "at work", "color": "green"}}},
            ),
            width=12,
            height=9,
        ),
    ),
)
_CHANGES: Final = Panel(
    title="Single changes",
    description="Effect of each single change to the default after 1/9 of a training (1/27 of the longest one with budget.for Model), as "
    "a share of the loss of a constant answer, with its standard error. Positive is better. Strategy OneFactor only.",
    kind="barchart",
    queries=(
        Query(expr=_of_changes("autohas_trainer_effect_ratio"), legend="{{change}}", instant=True, format="table"),
        Query(expr=_of_changes("autohas_trainer_effect_standard_error_ratio"), legend="{{change}}", instant=True, format="table"),
    ),
    transformations=(
        {"id": "joinByField", "options": {"byField": "change", "mode": "outer"}},
        {"id": "sortBy", "options": {"sort": [{"field": "Value #A", "desc": True}]}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, "Time 1": True, "Time 2": True},
                "renameByName": {"Value #A": "effect", "Value #B": "standard error"},
            },
        },
    ),
    options={"xField": "change"},
    unit="percentunit",
    width=24,
    height=12,
)
_FOUND: Final = Row(
    title="Results",
    panels=(
        Panel(
            title="Score over cost",
            description="Selection-split metric of the leader (vertical) over the cost so far in units of one full training (horizontal).",
            kind="xychart",
            queries=(
                Query(expr=_newest("autohas_trainer_cost_trainings"), legend="cost (trainings)"),
                Query(expr=_newest("autohas_trainer_best_score"), legend="best score"),
            ),
            unit="none",
            transformations=({"id": "joinByField", "options": {"byField": "Time", "mode": "inner"}},),
        ),
        Panel(
            title="Progress and cost",
            description="Percentage of the planned steps and of the planned cost. They differ, because steps differ in cost.",
            queries=(
                Query(expr=_newest("autohas_trainer_progress_ratio"), legend="steps"),
                Query(
                    expr=f"{_newest('autohas_trainer_cost_trainings')} / {_newest('autohas_trainer_planned_cost_trainings')}", legend="cost"
                ),
            ),
            unit="percentunit",
            minimum=0,
            maximum=1,
        ),
        Panel(
            title="Losses",
            description="Training loss of the latest step and loss of the latest comparison on the selection split, in nats.",
            queries=(Query(expr=_newest("autohas_trainer_loss", "split"), legend="{{split}}"),),
            unit="none",
        ),
        _CHANGES,
    ),
)
_CONTROLLER: Final = Row(
    title="Controller",
    panels=(
        Panel(
            title="Reward",
            description="Reward of the latest sample, and the moving average of rewards, which is the baseline. Stage Supernet only.",
            queries=(
                Query(expr=_newest("autohas_trainer_reward"), legend="reward"),
                Query(expr=_newest("autohas_trainer_reward_baseline"), legend="baseline"),
            ),
            unit="none",
        ),
        Panel(
            title="Advantage",
            description="Normalised advantage of the latest sample over the baseline, which weights the update. It scatters around 0.",
            queries=(Query(expr=_newest("autohas_trainer_advantage"), legend="advantage"),),
            unit="none",
        ),
        Panel(
            title="Entropy",
            description="Normalised entropy of the policy and of each decision: 1 is uniform, 0 is decided. A policy near 0 "
            "early in the search has collapsed.",
            queries=(
                Query(expr=_newest("autohas_policy_normalized_entropy_ratio"), legend="all decisions"),
                Query(expr=_newest("autohas_policy_entropy_ratio", "decision"), legend="{{decision}}"),
            ),
            unit="percentunit",
            minimum=0,
            maximum=1,
        ),
        Panel(
            title="Probability of $decision",
            description="Probability of each choice, one row per choice. Above spec.monitoring.perChoiceLimit only the most "
            "likely choice is exported.",
            kind="status-history",
            queries=(
                Query(
                    expr=f'max by (choice) (autohas_policy_probability{{{SELECTED},decision=~"$decision"}})',
                    legend="{{choice}}",
                ),
            ),
            unit="percentunit",
            minimum=0,
            maximum=1,
            color="continuous-blues",
            repeat="decision",
            width=8,
            height=6,
            max_points=80,
        ),
    ),
)
_MACHINE: Final = Row(
    title="Trainer",
    panels=(
        Panel(
            title="Throughput",
            description="Steps per second by stage. The cost of a step differs between stages.",
            queries=(
                Query(
                    expr=f"sum by (stage) (rate(autohas_trainer_steps_total{{{SELECTED}}}[$__rate_interval])) > 0",
                    legend="{{stage}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            title="Step duration",
            description="Duration of one step, without comparisons.",
            queries=tuple(
                Query(
                    expr=f"histogram_quantile({q}, sum by (le) "
                    f"(rate(autohas_trainer_step_duration_seconds_bucket{{{SELECTED}}}[$__rate_interval])))",
                    legend=legend,
                )
                for q, legend in ((0.5, "median"), (0.99, "99th percentile"))
            ),
            unit="s",
        ),
        Panel(
            title="Samples and updates",
            description="Configurations sampled in the supernet, and updates of the controller, per second.",
            queries=(
                Query(expr=f"sum(rate(autohas_trainer_samples_total{{{SELECTED}}}[$__rate_interval]))", legend="samples"),
                Query(expr=f"sum(rate(autohas_policy_updates_total{{{SELECTED}}}[$__rate_interval]))", legend="updates"),
            ),
            unit="ops",
        ),
        Panel(
            title="Checkpoint age",
            description="Age of the newest checkpoint: the work that an interruption now would lose. Normally at most "
            "spec.checkpoint.periodSeconds.",
            queries=(Query(expr=_newest("autohas_trainer_checkpoint_age_seconds"), legend="age"),),
            unit="s",
        ),
        Panel(
            title="Checkpoint duration",
            description="Time to write the newest checkpoint. The training continues meanwhile, except at the end of a stage.",
            queries=(Query(expr=_newest("autohas_trainer_checkpoint_duration_seconds"), legend="duration"),),
            unit="s",
        ),
        Panel(
            title="Checkpoint size",
            description="Bytes of the newest checkpoint, with the files that it shares with others.",
            queries=(Query(expr=_newest("autohas_trainer_checkpoint_size_bytes"), legend="size"),),
            unit="bytes",
        ),
        Panel(
            title="Learning rate",
            description="Learning rate of the weights and of the controller.",
            queries=(Query(expr=_newest("autohas_trainer_learning_rate", "optimizer"), legend="{{optimizer}}"),),
            unit="none",
        ),
        Panel(
            title="Non-finite losses",
            description="Steps per second with a loss of NaN or infinity: usually lanes with too high a learning rate.",
            queries=(Query(expr=f"sum(rate(autohas_trainer_non_finite_losses_total{{{SELECTED}}}[$__rate_interval]))", legend="steps"),),
            unit="ops",
        ),
        Panel(
            title="Failed checkpoints",
            description="Checkpoints that this process failed to write: the volume was full, read-only or lost. The search continues; an "
            "interruption costs more.",
            queries=(Query(expr=_newest("autohas_trainer_checkpoint_failures_total"), legend="failed"),),
            unit="none",
        ),
        Panel(
            title="Examples per second",
            description="Training examples per second over the newest 128 steps.",
            queries=(Query(expr=_newest("autohas_trainer_examples_per_second"), legend="examples"),),
            unit="ops",
        ),
        Panel(
            title="Waiting and utilisation",
            description="Share of the steps' time that they waited for data, and the share of the GPU's peak that the networks' own "
            "operations reach (MFU), where the peak is known.",
            queries=(
                Query(expr=_newest("autohas_trainer_data_wait_ratio"), legend="waiting for data"),
                Query(expr=_newest("autohas_trainer_mfu_ratio"), legend="MFU"),
            ),
            unit="percentunit",
            minimum=0,
            maximum=1,
        ),
        Panel(
            title="Peak memory by stage",
            description="Peak memory of each stage that has ended: of the process, and on a GPU of PyTorch's allocator.",
            queries=(Query(expr=_newest("autohas_trainer_peak_memory_bytes", "stage, kind"), legend="{{stage}} {{kind}}"),),
            unit="bytes",
        ),
        Panel(
            title="Memory",
            description="Resident memory of the process, and on a GPU the memory that PyTorch's allocator has reserved.",
            queries=(
                Query(
                    expr=f'label_replace(process_resident_memory_bytes{{{SELECTED}}}, "kind", "process", "", "")'
                    f" or autohas_trainer_gpu_memory_bytes{{{SELECTED}}}",
                    legend="{{kind}}",
                ),
            ),
            unit="bytes",
        ),
    ),
)


def build() -> dict[str, Any]:
    """Grafana's JSON."""
    return dashboard(
        uid=UID,
        title="AutoHAS / One search",
        description="Progress, results, controller and trainer of one AutoHASSearch.",
        variables=_VARIABLES,
        rows=(_NOW, _FOUND, _CONTROLLER, _MACHINE),
    )
