"""`autohas retrain`: the seeds one after another, scores.json after each, table and report at the end. Imports torch."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import jinja2
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from autohas_api.digest import sha256
from autohas_api.scoring import metric_text
from autohas_api.search import Search
from autohas_trainer.cli.devices import choose_device
from autohas_trainer.cli.exits import UsageError, make_folder
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.engine.retraining import SeedScore, SeedTrainer, Spread, spread_of
from autohas_trainer.reporting.atomic import write_whole
from autohas_trainer.reporting.chosen import read_chosen

__all__ = ["Retraining", "retrain"]

SCORES_FILE: Final = "scores.json"
REPORT_FILE: Final = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """One call of `autohas retrain`."""

    config: Path
    seeds: int
    folder: Path
    threads: int
    resume: bool


def retrain(task: Retraining, stop: StopOnSignal, console: Console) -> None:
    """Train every seed that the folder does not hold yet; print the table and write the report.

    Raises:
        UsageError: the folder holds something else.
        SpecError: config.yaml is wrong.
        Interrupted: stopped on request; finished seeds are kept.
    """
    search, space = read_chosen(task.config)
    digest = sha256(search.to_json())
    scores = _known_scores(task, digest)
    make_folder(task.folder)
    trainer = SeedTrainer(search=search, space=space, folder=task.folder, device=choose_device(search.spec), threads=task.threads)
    for seed in range(len(scores), task.seeds):
        scores.append(_one(trainer, search, seed, stop, console))
        _write_scores(task, search, digest, scores)
    shown = scores[: task.seeds]
    _print(console, search.spec.objective.metric, shown)
    report = task.folder / REPORT_FILE
    write_whole(report, _html(task, search, shown).encode())
    console.print(f"Report: {report}", markup=False, highlight=False, soft_wrap=True)


def _one(trainer: SeedTrainer, search: Search, seed: int, stop: StopOnSignal, console: Console) -> SeedScore:
    columns = (TextColumn("{task.description:<9}"), BarColumn(bar_width=32), TextColumn("{task.percentage:>3.0f} %"))
    begun = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(f"seed {seed}", total=search.spec.retrain.steps)
        score = trainer.train(seed, stop, on_step=lambda step: bars.update(bar, completed=step))
    metric = search.spec.objective.metric
    said = "diverged" if score.test is None else f"test {metric} {metric_text(metric, score.test)}"
    console.print(f"seed {seed}: {said}, {time.monotonic() - begun:.1f} s", markup=False, highlight=False)
    return score


def _known_scores(task: Retraining, digest: str) -> list[SeedScore]:
    """Scores of an earlier call, with --resume; without, the folder must be empty."""
    path = task.folder / SCORES_FILE
    if not task.resume:
        if task.folder.is_dir() and next(task.folder.iterdir(), None) is not None:
            message = f"{task.folder} is not empty. To go on with the seeds in it add --resume, or choose another folder with --out DIR"
            raise UsageError(message)
        return []
    try:
        record = json.loads(path.read_text())
        if record["configuration"] != digest:
            raise UsageError(f"{path} is of another configuration than {task.config}; choose another folder with --out DIR")
        return [SeedScore(**score) for score in record["scores"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); remove it, or choose another folder with --out DIR") from error


def _write_scores(task: Retraining, search: Search, digest: str, scores: Sequence[SeedScore]) -> None:
    spread = spread_of(scores)
    record = {
        "configuration": digest,
        "metric": search.spec.objective.metric,
        "steps": search.spec.retrain.steps,
        "scores": [asdict(score) for score in scores],
        "summary": asdict(spread) if spread is not None else None,
    }
    write_whole(task.folder / SCORES_FILE, json.dumps(record, indent=2, allow_nan=False).encode() + b"\n")


def _rows(metric: str, scores: Sequence[SeedScore]) -> list[tuple[str, str, str]]:
    def shown(value: float | None) -> str:
        return "diverged" if value is None else metric_text(metric, value)

    return [(str(score.seed), shown(score.test), shown(score.selection)) for score in scores]


def _summary(metric: str, spread: Spread | None) -> str:
    if spread is None:
        return "every seed diverged; lower recipe.learningRate"
    deviation = "" if spread.standard_deviation is None else f", standard deviation {metric_text(metric, spread.standard_deviation)}"
    return (
        f"test {metric} over {spread.num_scores} seed{'' if spread.num_scores == 1 else 's'}: {metric_text(metric, spread.mean)}{deviation}"
    )


def _print(console: Console, metric: str, scores: Sequence[SeedScore]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for title in ("Seed", f"Test {metric}", "Selection"):
        table.add_column(title, justify="right")
    for row in _rows(metric, scores):
        table.add_row(*row)
    console.print(table)
    console.print(_summary(metric, spread_of(scores)), style="bold", highlight=False, soft_wrap=True)


def _html(task: Retraining, search: Search, scores: Sequence[SeedScore]) -> str:
    loader = jinja2.PackageLoader("autohas_trainer.reporting", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    metric = search.spec.objective.metric
    return environment.get_template("retrain.html.j2").render(
        config=str(task.config),
        text=task.config.read_text(),
        metric=metric,
        steps=search.spec.retrain.steps,
        rows=_rows(metric, scores),
        summary=_summary(metric, spread_of(scores)),
    )
