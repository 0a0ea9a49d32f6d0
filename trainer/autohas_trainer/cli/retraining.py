"""`autohas retrain`: the seeds one after another, scores.json after each, table and report at the end. Imports torch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import jinja2
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from autohas_api.base.digest import sha256
from autohas_api.base.objective_metrics import metric_text
from autohas_api.base.text_encoding import replace_unprintable
from autohas_api.base.yaml_file import read_mapping
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.cli.devices import choose_device
from autohas_trainer.cli.exits import UsageError
from autohas_trainer.cli.out_folder import work_in
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.config_yaml import read_config
from autohas_trainer.engine.checkpointing.origin import Begun
from autohas_trainer.engine.retraining import SeedScore, SeedTrainer, Spread, spread_of
from autohas_trainer.engine.training.compute import explain_precision
from autohas_trainer.engine.training.search_task import reading_text
from autohas_trainer.errors import DataError
from autohas_trainer.folder_lock import is_used
from autohas_trainer.inference.folder import CONFIG_FILE
from autohas_trainer.reporting.sinks.result_files import OtherFormatError, read_result

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
    search, space = read_config(task.config)
    _read_scores(task, sha256(search.to_json()))  # refuses a folder of something else before it is touched
    with work_in(task.folder, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)):
        _train_seeds(task, search, space, stop, console)


def _train_seeds(task: Retraining, search: Search, space: Space, stop: StopOnSignal, console: Console) -> None:
    digest = sha256(search.to_json())
    scores, begun = _read_scores(task, digest)
    judge = _Judge(task, search, begun, console)
    write_atomically(task.folder / CONFIG_FILE, task.config.read_bytes())  # the models in the folder can be loaded by it
    device = choose_device(search.spec)
    if (text := explain_precision(search.spec, torch.device(device))) is not None:
        _print_activity(console, text)
    trainer = SeedTrainer(
        search=search, space=space, folder=task.folder, device=device, threads=task.threads, on_note=partial(_print_activity, console)
    )
    for seed in range(len(scores), task.seeds):
        scores.append(_train_seed(trainer, seed, stop=stop, judge=judge, console=console))
        _write_scores(task, search, digest, scores, judge.begun)
    shown = scores[: task.seeds]
    _print(console, search.spec.objective.metric_name, shown)
    report = task.folder / REPORT_FILE
    _print_activity(console, "writing the report")
    write_atomically(report, replace_unprintable(_html(task, search, shown)).encode())
    console.print(f"Report: {report}", markup=False, highlight=False, soft_wrap=True)


def _print_activity(console: Console, activity: str) -> None:
    console.print(activity, style="dim", markup=False, highlight=False, soft_wrap=True)


def _train_seed(trainer: SeedTrainer, seed: int, *, stop: StopOnSignal, judge: Callable[[Begun], None], console: Console) -> SeedScore:
    columns = (TextColumn("{task.description:<9}"), BarColumn(bar_width=32), TextColumn("{task.percentage:>3.0f} %"))
    begun, search = time.monotonic(), trainer.search
    _print_activity(console, f"seed {seed}: {reading_text(search.spec)}, then {search.spec.training.length}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(f"seed {seed}", total=None)
        score = trainer.train(seed, stop, on_step=lambda step, steps: bars.update(bar, completed=step, total=steps), judge=judge)
    metric = search.spec.objective.metric_name
    outcome_text = "diverged" if score.test is None else f"test {metric} {metric_text(metric, score.test)}"
    console.print(f"seed {seed}: {outcome_text}, {time.monotonic() - begun:.1f} s", markup=False, highlight=False)
    return score


class _Judge:
    """Refuses data that differ from those of the seeds in the folder; prints once what differs from the search that wrote config.yaml."""

    def __init__(self, task: Retraining, search: Search, begun: Begun | None, console: Console) -> None:
        """`begun`: what the seeds in the folder were trained with; None without any."""
        self._pretrained = search.spec.task.model.pretrained
        self.begun = begun
        self._task = task
        self._console = console
        self._has_spoken = False

    def __call__(self, here: Begun) -> None:
        """Judge the data and the environment of one seed.

        Raises:
            DataError: the data, or the pretrained weights, are not those that the seeds in the folder were trained with.
        """
        self.begun = self.begun or here
        if difference := here.data.difference(self.begun.data):
            message = (
                f"the data are not those that the seeds in {self._task.folder} were trained with ({difference});"
                " restore the files, or choose another folder with --out DIR"
            )
            raise DataError(message)
        if (field := self._pretrained) is not None:
            self.begun.require_pretrained(here, field.path)
        if not self._has_spoken:
            self._has_spoken = True
            for sentence in (*here.environment.differences(self.begun.environment), *self._against_search(here)):
                self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def _against_search(self, here: Begun) -> list[str]:
        """Compare with result.json next to config.yaml; where none of this version is there, with config.yaml's digest of the data."""
        try:
            finished = read_result(self._task.config.parent)
        except OtherFormatError:
            finished = None
        if finished is None or finished.data is None:
            digest = read_mapping(self._task.config).get("dataDigest")
            return ["the data are not those of the search that chose this configuration"] if digest not in (None, here.data.digest) else []
        difference = here.data.difference(finished.data)
        sentences = [f"the data are not those of the search: its scores and these cannot be compared ({difference})"] if difference else []
        return [*sentences, *here.environment.differences(finished.environment)]


def _read_scores(task: Retraining, digest: str) -> tuple[list[SeedScore], Begun | None]:
    """Return the scores of an earlier call and their origin with --resume; without it the folder must be empty."""
    path = task.folder / SCORES_FILE
    if not task.resume:
        if is_used(task.folder):
            message = f"{task.folder} is not empty. To continue with the seeds in it add --resume, or choose another folder with --out DIR"
            raise UsageError(message)
        return [], None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["configuration"] != digest:
            raise UsageError(f"{path} is of another configuration than {task.config}; choose another folder with --out DIR")
        return [SeedScore(**score) for score in record["scores"]], Begun.from_json(record["origin"])
    except FileNotFoundError:
        return [], None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); remove it, or choose another folder with --out DIR") from error


def _write_scores(task: Retraining, search: Search, digest: str, scores: Sequence[SeedScore], begun: Begun | None) -> None:
    spread = spread_of(scores)
    record = {
        "configuration": digest,
        "metric": search.spec.objective.metric_name,
        "steps": search.spec.training.given_steps or max(score.steps for score in scores),
        "scores": [asdict(score) for score in scores],
        "summary": asdict(spread) if spread is not None else None,
        "origin": begun.to_json() if begun is not None else None,
    }
    write_atomically(task.folder / SCORES_FILE, json.dumps(record, indent=2, allow_nan=False).encode() + b"\n")


def _rows(metric: str, scores: Sequence[SeedScore]) -> list[tuple[str, str, str]]:
    def format_score(value: float | None) -> str:
        return "diverged" if value is None else metric_text(metric, value)

    return [(str(score.seed), format_score(score.test), format_score(score.selection)) for score in scores]


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
    loader = jinja2.PackageLoader("autohas_trainer.reporting.report", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    metric = search.spec.objective.metric_name
    return environment.get_template("retrain.html.j2").render(
        config=str(task.config),
        text=task.config.read_text(encoding="utf-8"),
        metric=metric,
        length=search.spec.training.length,
        rows=_rows(metric, scores),
        summary=_summary(metric, spread_of(scores)),
    )
