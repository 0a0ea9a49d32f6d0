"""`python -m benchmarks.step --work`: the coefficients of `autohas_trainer.templates.step_cost`, measured and fitted.

Ordinary training steps of random networks with random batch sizes, optimizers and dropout: CPU time of this process with one thread, in
rounds of random order over all networks, the median of the rounds. The fit is non-negative least squares on relative errors. The A/A row
compares the even rounds of each network with the odd ones.
"""

from __future__ import annotations

import json
import random
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.provenance import provenance
from scipy.optimize import nnls

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.seeding import make_deterministic, stream
from autohas_trainer.space.policy import Policy
from autohas_trainer.templates import CountsWork

__all__ = ["measure_work", "write_table"]

_STEPS: Final = {"mlp-small": 12, "conv-small": 4}
"""Steps of one timing."""
_COLUMNS: Final = ("per_step", "per_layer", "per_mac", "per_activation", "adam", "rmsprop", "dropout")
_DIGITS: Final = {"name": "digits", "arguments": {"variant": "shifted"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One network with its recipe, and nanoseconds of a step in each round."""

    template: str
    batch_size: int
    optimizer: str
    has_dropout: bool
    macs: int
    num_layers: int
    num_activations: int
    rounds: tuple[float, ...]

    @property
    def step(self) -> float:
        """Nanoseconds of a step."""
        return statistics.median(self.rounds)

    def features(self, columns: Sequence[str]) -> list[float]:
        """What each coefficient is multiplied by."""
        size = self.batch_size
        values = {
            "per_step": 1,
            "per_layer": self.num_layers,
            "per_mac": size * self.macs,
            "per_activation": size * self.num_activations,
            "adam": self.optimizer == "adam",
            "rmsprop": self.optimizer == "rmsprop",
            "dropout": self.has_dropout,
        }
        return [float(values[column]) for column in columns]


def measure_work(networks: int, rounds: int, raw: Path | None) -> Iterator[str]:
    """The lines of the result; `raw` keeps the timings as JSON, and is read instead of timing where it exists."""
    make_deterministic(1)
    if raw is not None and raw.exists():
        timed = [Timed(**{**row, "rounds": tuple(row["rounds"])}) for row in json.loads(raw.read_text(encoding="utf-8"))]
    else:
        with tempfile.TemporaryDirectory() as folder:
            timed = [row for template in _STEPS for row in _time(template, networks, rounds, Path(folder))]
        if raw is not None:
            raw.write_text(json.dumps([asdict(row) for row in timed]), encoding="utf-8")
    yield "# Work of a training step\n"
    yield f"{provenance()}; CPU time.\n"
    yield "Coefficients in nanoseconds: a + layers + optimizer + dropout + batch size times (multiply-accumulates and activations). They"
    yield "hold for this processor; another one, and a GPU most of all, has others. `error` is that of the fit, relative, mean and largest;"
    yield "A/A is the mean difference of two halves of the rounds of the same network.\n"
    yield f"| template | networks | terms | {' | '.join(_COLUMNS)} | error | A/A |\n{'|---' * (len(_COLUMNS) + 5)}|"
    for template in _STEPS:
        rows = [row for row in timed if row.template == template]
        for terms, columns in (("all", _COLUMNS), ("step, MACs, activations", ("per_step", "per_mac", "per_activation"))):
            yield _fit_line(template, terms, rows, columns)


def _fit_line(template: str, terms: str, rows: list[Timed], columns: Sequence[str]) -> str:
    times = np.asarray([row.step for row in rows])
    features = np.asarray([row.features(columns) for row in rows])
    scale = features.max(axis=0)
    solution, _ = nnls(features / scale / times[:, None], np.ones(len(rows)))
    errors = np.abs(features / scale @ solution / times - 1)
    coefficients = dict(zip(columns, solution / scale, strict=True))
    cells = " | ".join(f"{coefficients[column]:.3g}" if column in coefficients else "" for column in _COLUMNS)
    halves = [abs(statistics.median(row.rounds[::2]) / statistics.median(row.rounds[1::2]) - 1) for row in rows]
    fit = f"{100 * errors.mean():.1f} %, {100 * errors.max():.0f} %"
    return f"| {template} | {len(rows)} | {terms} | {cells} | {fit} | {100 * statistics.fmean(halves):.1f} % |"


def _time(template: str, networks: int, rounds: int, folder: Path) -> list[Timed]:
    """Random networks on two shapes of input, half of them each."""
    shapes = (write_table(folder), (_DIGITS, "accuracy")) if template == "mlp-small" else ((_DIGITS, "accuracy"), _images(folder))
    trainings: list[tuple[SearchTask, Training, list[float]]] = []
    for number, (data, metric) in enumerate(shapes):
        task = _load(template, data, metric)
        policy = Policy(task.space, learning_rate=1.0)
        for index in range(networks // len(shapes)):
            training = Training(task, policy.sample(stream(1, "work", number, index)).configuration)
            for _ in range(3):
                training.step()
            trainings.append((task, training, []))
    order = random.Random(0)  # noqa: S311 - an order, no secret
    for _ in range(rounds):
        for _, training, seconds in order.sample(trainings, len(trainings)):
            training.step()
            begun = time.process_time()
            for _ in range(_STEPS[template]):
                training.step()
            seconds.append((time.process_time() - begun) / _STEPS[template])
    return [_describe(template, task, training, seconds) for task, training, seconds in trainings]


def _describe(template: str, task: SearchTask, training: Training, seconds: list[float]) -> Timed:
    assert isinstance(task.template, CountsWork)  # noqa: S101 - the built-in templates do
    size, recipe = task.template.size(task.path(training.configuration)), training.recipe
    return Timed(
        template=template,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        has_dropout=recipe.dropout > 0,
        macs=size.macs,
        num_layers=size.num_layers,
        num_activations=size.num_activations,
        rounds=tuple(1e9 * second for second in seconds),
    )


def _load(template: str, data: dict[str, Any], metric: str) -> SearchTask:
    hyperparameters = [
        {"name": "learning_rate", "continuous": {"min": "0.001", "max": "0.01", "scale": "Log", "numBases": 2}},
        {"name": "batch_size", "integer": {"min": 16, "max": 256, "step": 2, "scale": "Log"}},
        {"name": "dropout", "continuous": {"min": "0", "max": "0.3", "numBases": 2}},
        {"name": "optimizer", "categorical": {"choices": ["sgd", "adam", "rmsprop"]}},
    ]
    spec = {
        "task": {"data": data, "model": {"template": template}},
        "objective": {"metric": metric},
        "searchSpace": {"hyperparameters": hyperparameters, "architecture": {}},
        "algorithm": {"autoHAS": {"strategy": "Lanes"}},
        "training": {"steps": 5000},
        "budget": {"trainings": "6"},
    }
    document = {"apiVersion": "autohas.dev/v1alpha1", "kind": "AutoHASSearch", "metadata": {"name": "bench"}, "spec": spec}
    search, space = accept(document)
    return SearchTask.load(search.spec, space, torch.device("cpu"))


def write_table(folder: Path) -> tuple[dict[str, Any], str]:
    """Nine columns of noise, as many as UCI protein has."""
    inputs = np.random.default_rng(0).normal(size=(6000, 9))
    rows = np.column_stack([inputs, inputs.sum(axis=1)])
    path = folder / "table.csv"
    heading = ",".join([*(f"x{column}" for column in range(9)), "y"])
    np.savetxt(path, rows, fmt="%.5f", delimiter=",", header=heading, comments="")
    return {"name": "csv", "path": str(path), "arguments": {"target": "y", "testFraction": "0.2"}}, "rmse"


def _images(folder: Path) -> tuple[dict[str, Any], str]:
    """Noise of the size of Fashion-MNIST's images."""
    rng = np.random.default_rng(0)
    for name, number in (("train", 2000), ("t10k", 200)):
        pixels = rng.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, number, 28, 28) + pixels.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, number) + labels.tobytes())
    return {"name": "idx", "path": str(folder)}, "accuracy"
