"""report.html: the result of a search, how the search found it and what it cost, in one file without external parts.

The report is built from result.json and history.jsonl alone, so it can be written again at any time. Where a search has nothing to draw,
the report has a sentence.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from autohas_api.base import yaml_file
from autohas_api.base.objective_metrics import gain, is_share, metric_text
from autohas_api.base.text_encoding import replace_unprintable
from autohas_api.space.decisions import Decision, Role
from autohas_api.space.rates import value_text
from autohas_api.wire.messages import Stage
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.errors import DataError
from autohas_trainer.events import DEFAULT
from autohas_trainer.provenance import Environment
from autohas_trainer.reporting.report import charts
from autohas_trainer.reporting.report.candidate_names import explain_candidates
from autohas_trainer.reporting.report.effects_chart import MAX_BARS, effects_chart
from autohas_trainer.reporting.report.stage_usage import usage_texts
from autohas_trainer.reporting.sinks.effect_text import change_text, effect_rung, signed_percent
from autohas_trainer.reporting.sinks.history import History, read_history
from autohas_trainer.reporting.sinks.live_state import STAGE_ORDER
from autohas_trainer.reporting.sinks.longer_text import longer_sentence
from autohas_trainer.reporting.sinks.model_text import model_sentence
from autohas_trainer.reporting.sinks.progress_bar import duration
from autohas_trainer.reporting.sinks.result_files import CONFIG_FILE, ENDINGS, FinishedSearch, list_costs
from autohas_trainer.reporting.sinks.rungs import correlate_rungs, share_text

__all__ = ["REPORT_FILE", "write_report"]

REPORT_FILE: Final = "report.html"
_TEMPLATE: Final = "report.html.j2"


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecisionRow:
    name: str
    chosen: str
    default: str
    choices: tuple[tuple[str, str], ...]
    """Pairs of a choice and its CSS classes: chosen, default, both or neither."""
    is_hyperparameter: bool
    is_active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _RaceRow:
    name: str
    scores: tuple[str, ...]
    """One for each rung."""
    is_winner: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunnerUpRow:
    name: str
    score: str
    trained: str
    parameters: str
    changes: str
    """What differs from the winner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _EffectRow:
    decision: str
    value: str
    default: str
    effect: str
    standard_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _StageRow:
    name: str
    trainings: float
    share: float
    seconds: str
    examples_per_second: str
    mfu: str
    waited: str
    peak_memory: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """SVG of each figure, empty where the search has no data for it."""

    story: Markup
    race: Markup
    effects: Markup
    controller: Markup
    policy: Markup


_PURPOSES: Final = {
    Stage.LANES: "short trainings with different hyperparameters, the worse two thirds stopped at 1/9",
    Stage.WARMUP: "shared weights, uniformly sampled networks",
    Stage.SUPERNET: "shared weights, the controller learns from rewards",
    Stage.RACE: "candidates and the default continue their trainings, the best two to the end",
    Stage.EVALUATE: "the one evaluation on the test split",
}


def write_report(folder: Path, finished: FinishedSearch, command: str | None = None) -> Path:
    """Write the report of a finished search; `command` is the command line that reproduces it, where it is known.

    Raises:
        DataError: the history is damaged.
        OSError: the folder cannot be written.
    """
    try:
        history = read_history(folder)
    except ValueError as error:
        raise DataError(str(error)) from error
    path = folder / REPORT_FILE
    write_atomically(path, replace_unprintable(render(finished, history, command)).encode())
    return path


def render(finished: FinishedSearch, history: History, command: str | None) -> str:
    """Return the HTML of the report."""
    loader = jinja2.PackageLoader("autohas_trainer.reporting.report", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    metric, environment.filters["share"] = finished.search.spec.objective.metric_name, partial(share_text, eta=_eta(finished))
    environment.filters["score"] = lambda value: metric_text(metric, value).replace(" ", "\u00a0")  # the unit stays with its number
    return environment.get_template(_TEMPLATE).render(
        **_describe_result(finished),
        race=_race_rows(finished),
        rungs=_list_fractions(finished),
        correlations=correlate_rungs(finished.outcome.candidates),
        stages=_stage_rows(finished),
        effects=_effect_rows(finished),
        runners_up=_runner_up_rows(finished),
        num_bars=MAX_BARS,
        figures=_figures(finished, history),
        has_mfu=any(row.mfu for row in _stage_rows(finished)),
        has_policy=bool(history.policies),
        num_hidden=max(0, len(history.policies[0].probabilities) - charts.MAX_POLICY_PANELS) if history.policies else 0,
        num_samples=sum(step.reward is not None for step in history.steps),
        command=command or shlex.join(["autohas", "run", "search.yaml", "--out", "again"]),
        search_yaml=yaml_file.dump(finished.search.to_json()),
        config_file=CONFIG_FILE,
        environment_text=_environment_text(finished.environment),
    )


def _describe_result(finished: FinishedSearch) -> dict[str, Any]:
    """What the page says about the winner and the default, by the names of the template."""
    outcome, spec, metric = finished.outcome, finished.search.spec, finished.search.spec.objective.metric_name
    return {
        "finished": finished,
        "search": finished.search,
        "result": outcome.result,
        "outcome": outcome,
        "metric": metric,
        "cost": list_costs(finished),
        "training_text": _training_text(finished),
        "longer": longer_sentence(finished),
        "model_split": model_sentence(finished),
        "effect_rung": effect_rung(spec) + (" that the budget pays for" if spec.budget.is_for_model else ""),
        "ending": ENDINGS.get(outcome.result.stop_reason),
        "is_default": dict(outcome.configuration) == dict(outcome.default),
        "gain": _gain(finished),
        "gain_text": _gain_text(finished),
        "is_share": is_share(metric),
        "seconds": duration(sum(outcome.seconds_by_stage.values())),
        "decisions": [_decision_row(finished, d) for d in finished.space.decisions],
        "explanations": explain_candidates(
            dict.fromkeys((outcome.winner, *(record.name for record in outcome.candidates))),
            overrides=finished.search.spec.row.candidate_texts,
            decisions=outcome.configuration,
        ),
        "has_lanes": Stage.LANES in outcome.cost_by_stage,
        "has_supernet": Stage.SUPERNET in outcome.cost_by_stage,
    }


def _environment_text(environment: Environment) -> str:
    """Versions, and the hardware on which equal searches give equal bits; what an earlier version did not record is left out."""
    threads = f"{environment.threads} thread{'' if environment.threads == 1 else 's'}"
    hardware = (environment.gpu, environment.cpu or environment.machine, environment.instructions, threads)
    versions = f"autohas {environment.autohas}, Python {environment.python}, torch {environment.torch}"
    return f"{versions}; {environment.device}: {', '.join(part for part in hardware if part)}"


def _training_text(finished: FinishedSearch) -> str:
    """The length of one training in steps and, where the number of examples is known, in passes over them."""
    steps, num_train = f"{finished.steps:,} steps", finished.num_train
    if not num_train:
        return steps
    epochs = finished.steps * finished.search.spec.task.recipe.batch_size / num_train
    return f"{steps}, {epochs:.2g} passes over the {num_train:,} training examples"


def _gain(finished: FinishedSearch) -> float | None:
    """Return the improvement of the metric over the default's, where both were tested."""
    result, better = finished.outcome.result, finished.search.spec.objective.better
    return None if result.default_test_score is None else gain(better, result.test_score, result.default_test_score)


def _gain_text(finished: FinishedSearch) -> str:
    """Format the size of the improvement: percentage points for shares, else the metric's own unit."""
    size = abs(_gain(finished) or 0.0)
    return f"{100 * size:.2f} points" if is_share(finished.search.spec.objective.metric_name) else f"{size:.4g}"


def _decision_row(finished: FinishedSearch, decision: Decision) -> _DecisionRow:
    chosen, default = finished.outcome.configuration[decision.name], finished.outcome.default[decision.name]
    choices = _add_default(decision.choices, default)
    texts = [
        value_text(finished.search.spec, values, decision.name) for values in (finished.outcome.configuration, finished.outcome.default)
    ]
    shown = {(True, True): "chosen default", (True, False): "chosen", (False, True): "default", (False, False): ""}
    return _DecisionRow(
        name=decision.name,
        chosen=texts[0],
        default=texts[1],
        choices=tuple((c, shown[c == chosen, c == default]) for c in choices),
        is_hyperparameter=decision.role is not Role.ARCHITECTURE,
        is_active=finished.space.is_active(decision, finished.outcome.configuration),
    )


def _add_default(choices: tuple[str, ...], default: str) -> tuple[str, ...]:
    """Add the default to the choices: a number in numeric order, a word at the end."""
    if default in choices:
        return choices
    try:
        return tuple(sorted((*choices, default), key=float))
    except ValueError:
        return (*choices, default)


def _eta(finished: FinishedSearch) -> int:
    return finished.search.spec.budget.rungs_of_training.eta


def _list_fractions(finished: FinishedSearch) -> list[float]:
    """The rungs at which candidates were compared, as fractions of a training."""
    return sorted({record.fraction for record in finished.outcome.candidates})


def _race_rows(finished: FinishedSearch) -> list[_RaceRow]:
    """List every candidate with its score at each rung, the longest trained and best first."""
    by_name: dict[str, dict[int, str]] = {}
    order: dict[str, tuple[float, float]] = {}
    fractions = _list_fractions(finished)
    for record in finished.outcome.candidates:
        shown = "diverged" if record.score is None else f"{100 * record.score:.2f}"
        by_name.setdefault(record.name, {})[fractions.index(record.fraction)] = shown
        order[record.name] = (record.fraction, record.score if record.score is not None else -math.inf)
    winner, rows = finished.outcome.winner, []
    parents = {record.name: record.parent for record in finished.outcome.candidates if record.parent is not None}
    for name in sorted(by_name, key=lambda n: (n == winner, *order[n]), reverse=True):
        scores, role = by_name[name], "the result" if name == winner else "control" if name == DEFAULT else ""
        rows.append(
            _RaceRow(
                name=name,
                scores=tuple(scores.get(place, "") for place in range(len(fractions))),
                is_winner=name == winner,
                note=", ".join(filter(None, (role, f"child of {parents[name]}" if name in parents else ""))),
            )
        )
    return rows


def _runner_up_rows(finished: FinishedSearch) -> list[_RunnerUpRow]:
    """List the next best candidates; none in a result of an earlier version."""
    metric = finished.search.spec.objective.metric_name
    return [
        _RunnerUpRow(
            name=runner_up.name,
            score=metric_text(metric, runner_up.score),
            trained=f"{100 * runner_up.fraction:.3g} %",
            parameters="" if runner_up.parameters is None else f"{runner_up.parameters:,}",
            changes=", ".join(f"{name} {value}" for name, value in runner_up.changes.items()),
        )
        for runner_up in finished.outcome.result.runners_up or ()
    ]


def _effect_rows(finished: FinishedSearch) -> list[_EffectRow]:
    """List every measured effect of a single change, the largest first."""
    spec, default = finished.search.spec, finished.outcome.default
    return [
        _EffectRow(
            decision=effect.decision,
            value=change_text(spec, default, effect),
            default=value_text(spec, default, effect.decision),
            effect=signed_percent(effect.effect),
            standard_error=f"{100 * effect.standard_error:.2f}",
        )
        for effect in finished.outcome.effects
    ]


def _stage_rows(finished: FinishedSearch) -> list[_StageRow]:
    outcome = finished.outcome
    whole = sum(outcome.cost_by_stage.values()) or 1.0
    return [
        _StageRow(
            name=stage,
            trainings=outcome.cost_by_stage[stage],
            share=outcome.cost_by_stage[stage] / whole,
            seconds=duration(outcome.seconds_by_stage.get(stage, 0.0)),
            **usage_texts(finished, stage),
            purpose=_purpose(stage, finished),
        )
        for stage in STAGE_ORDER
        if stage in outcome.cost_by_stage
    ]


def _purpose(stage: Stage, finished: FinishedSearch) -> str:
    return finished.search.spec.row.stage_texts.get(stage, _PURPOSES[stage])


def _figures(finished: FinishedSearch, history: History) -> _Figures:
    """Draw the figures that the search has data for."""
    outcome, policies = finished.outcome, history.policies
    rewarded = [step for step in history.steps if step.reward is not None]
    is_compared = any(record.score is not None for record in outcome.candidates)
    story = charts.story_chart(rewarded, outcome.candidates, outcome.winner, _spans(outcome.cost_by_stage)) if is_compared else ""
    race = charts.race_chart(outcome.candidates, outcome.winner, _eta(finished)) if is_compared else ""
    names = [f"{row.decision}: {row.value}" for row in _effect_rows(finished)]
    effects = effects_chart(outcome.effects, names) if names else ""
    controller = charts.controller_chart(rewarded, policies) if policies else ""
    policy = charts.policy_chart(policies, _select_searched(finished.space.decisions), outcome.configuration) if policies else ""
    figures = {"story": story, "race": race, "effects": effects, "controller": controller, "policy": policy}
    return _Figures(**{name: Markup(svg) for name, svg in figures.items()})  # noqa: S704 - matplotlib escapes


def _select_searched(decisions: Sequence[Decision]) -> list[Decision]:
    """Return the decisions with more than one choice."""
    return [d for d in decisions if d.is_searched]


def _spans(cost_by_stage: Mapping[str, float]) -> dict[Stage, tuple[float, float]]:
    """Return begin and end of each stage on the axis of cost."""
    spans, begin = {}, 0.0
    for stage in STAGE_ORDER:
        if cost_by_stage.get(stage):
            spans[stage] = (begin, begin + cost_by_stage[stage])
            begin += cost_by_stage[stage]
    return spans
