"""Prints problems as the API server words them, and finished searches. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from autohas_api.base.objective_metrics import metric_text
from autohas_api.base.spec_errors import SpecError
from autohas_api.base.yaml_file import Document, explain_unquoted
from autohas_api.space.rates import value_text
from autohas_trainer.reporting.sinks.effect_text import EFFECT_UNIT, change_text, effect_rung, effect_text
from autohas_trainer.reporting.sinks.longer_text import longer_sentence
from autohas_trainer.reporting.sinks.model_text import model_sentence
from autohas_trainer.reporting.sinks.progress_bar import duration
from autohas_trainer.reporting.sinks.result_files import ENDINGS, FinishedSearch, list_costs

__all__ = ["print_problems", "print_result"]

NUM_EFFECTS_NAMED: Final = 2
"""Ours: the report has the others."""


def print_problems(console: Console, error: SpecError, document: Document | None) -> None:
    """Print one line per problem, with its place in the file where it is known."""
    for problem in error.field_errors:
        explanation = explain_unquoted(problem, document) if document is not None else problem
        place = f"{document.place(problem.path)}: " if document is not None and _is_inside(problem.path, document) else ""
        console.print(f"{place}{explanation}", markup=False, highlight=False, soft_wrap=True)


def _is_inside(path: str, document: Document) -> bool:
    """Whether the path is one of the document, not of a file or an option."""
    first = re.split(r"[.\[]", path, maxsplit=1)[0]
    return first in document.value or first in ("apiVersion", "kind", "metadata", "spec")


def print_result(console: Console, finished: FinishedSearch, folder: Path, report: Path | None) -> None:
    """Print the scores, the configuration next to the default, the cost and the files."""
    outcome, metric = finished.outcome, finished.search.spec.objective.metric_name
    result = outcome.result
    comparison = (
        f"; the default configuration: {metric_text(metric, result.default_test_score)}" if result.default_test_score is not None else ""
    )
    if outcome.configuration == outcome.default:
        console.print(
            f"{_introduce_default(finished)}: test {metric} {metric_text(metric, result.test_score)}", style="bold", highlight=False
        )
    else:
        console.print(f"Test {metric} {metric_text(metric, result.test_score)}{comparison}", style="bold", highlight=False)
    if result.test_mean is not None and result.test_standard_deviation is not None:
        spread = f"{metric_text(metric, result.test_mean)}, standard deviation {metric_text(metric, result.test_standard_deviation)}"
        console.print(f"Over {result.seeds} seeds: mean {spread}", highlight=False)
    is_wide = not console.is_jupyter  # a terminal wraps a line by itself, the output of a notebook's cell cuts it
    console.print(_configuration(finished))
    if outcome.effects:
        console.print(_effects_sentence(finished), highlight=False, soft_wrap=is_wide)
    if (split := model_sentence(finished)) is not None:
        console.print(split, highlight=False, soft_wrap=is_wide)
    if outcome.longer is not None and outcome.longer.is_clear:
        console.print(longer_sentence(finished), highlight=False, soft_wrap=is_wide)
    if (ending := ENDINGS.get(result.stop_reason)) is not None:
        console.print(f"Note: {ending}", highlight=False, soft_wrap=is_wide)
    seconds = sum(outcome.seconds_by_stage.values())
    size = ", ".join([f"{result.parameters:,} parameters", *list_costs(finished)])
    console.print(f"{result.trainings:.2f} trainings, {duration(seconds)}; the chosen network has {size}", highlight=False)
    names = "result.json, config.yaml, model.safetensors, preprocessing.json, history.jsonl"
    console.print(f"{folder}/: {names}", highlight=False, soft_wrap=is_wide)
    if report is not None:
        console.print(f"Report: {report}", highlight=False, soft_wrap=is_wide)


def _introduce_default(finished: FinishedSearch) -> str:
    """What is known of the default, which is the answer."""
    if not finished.search.spec.row.is_search:
        return "The default configuration"
    if finished.is_default_alone:
        return "No other configuration was compared with the default configuration"
    return "Nothing beat the default configuration"


def _effects_sentence(finished: FinishedSearch) -> str:
    """Name the two largest effects of single changes."""
    spec, default = finished.search.spec, finished.outcome.default
    largest = [f"{e.decision} {change_text(spec, default, e)}: {effect_text(e)}" for e in finished.outcome.effects[:NUM_EFFECTS_NAMED]]
    return f"Largest effects of single changes, after {effect_rung(spec)}, {EFFECT_UNIT}: {'; '.join(largest)}"


def _configuration(finished: FinishedSearch) -> Table:
    outcome = finished.outcome
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for title in ("Decision", "Chosen", "Default"):
        table.add_column(title)
    for decision in finished.space.decisions:
        if not finished.space.is_active(decision, outcome.configuration):
            continue
        chosen, default = (value_text(finished.search.spec, values, decision.name) for values in (outcome.configuration, outcome.default))
        is_same = chosen == default
        table.add_row(decision.name, chosen, default, style="dim" if is_same else "bold")
    return table
