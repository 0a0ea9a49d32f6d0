"""The tasks of the quality benchmark: their documents are searches, and those of real models run on files of their kinds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.quality import tasks
from benchmarks.quality.runs import Runner
from benchmarks.quality.store import Store
from benchmarks.quality.tasks import TASKS, Task, data_of, document
from PIL import Image

from autohas_api.accept.acceptance import accept
from autohas_trainer.seeding import make_deterministic
from quality_fixtures import write_small_table

FIRST_RECIPE = {"learningRate": "0.1", "dropout": "0", "weightDecay": "1e-4"}
REAL = ("protein-mlp", "digits-cell", "shakespeare", "cifar")
MOST_TIMES_THE_DEFAULT = 16
"""Of work: 1/9 of a training that is dearer takes a third of 5.5 trainings."""


def _write_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "input.txt").write_text("abcdefgh" * 2000, encoding="utf-8")


def _write_images(folder: Path) -> None:
    """Three classes that differ by their brightness."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 10)):
        for number, name in enumerate(("dark", "middle", "light")):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(80 * number, 80 * number + 60, size=(32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")


@pytest.mark.parametrize("name", TASKS)
def test_the_document_of_a_task_is_a_search_around_its_default(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is accepted, every decision has more than one choice, and the default is one of them."""
    monkeypatch.setattr(tasks, "UCI_PROTEIN", write_small_table(tmp_path / "protein"))
    search, space = accept(document(TASKS[name], data_of(TASKS[name], tmp_path), seed=0))

    assert search.spec.training.steps == TASKS[name].steps
    for decision in space.decisions:
        assert decision.default in decision.choices, decision.name
        assert len(decision.choices) > 1, decision.name
    assert set(tasks.HYPERPARAMETERS) <= {decision.name for decision in space.decisions}


@pytest.mark.parametrize("name", [name for name in TASKS if name not in REAL])
def test_the_first_tasks_keep_the_documents_of_their_recorded_trainings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their recipe is sgd's, the architecture is whole, the splits are the product's, in the ranges of the joint space."""
    monkeypatch.setattr(tasks, "UCI_PROTEIN", write_small_table(tmp_path / "protein"))
    spec = document(TASKS[name], data_of(TASKS[name], tmp_path), seed=0)["spec"]

    assert spec["task"]["recipe"] == FIRST_RECIPE
    assert list(spec["task"]) == ["data", "model", "recipe"]
    assert spec["searchSpace"]["architecture"] == {}
    assert spec["searchSpace"]["hyperparameters"] == [{"name": key, **value} for key, value in tasks.HYPERPARAMETERS.items()]


def test_only_tasks_of_one_space_share_the_name_that_trainings_are_recorded_under() -> None:
    """A configuration is recorded by its values alone: two templates or recipes under one name would exchange trainings."""
    spaces: dict[str, tuple[object, ...]] = {}
    for task in TASKS.values():
        space = (task.template, task.metric, task.hyperparameters, task.decisions, task.splits)
        assert spaces.setdefault(task.data, space) == space, task.name


@pytest.mark.parametrize(
    ("name", "constant", "variable"),
    [
        ("fashion", "FASHION_MNIST", "AUTOHAS_FASHION_MNIST"),
        ("protein-mlp", "UCI_PROTEIN", "AUTOHAS_UCI_PROTEIN"),
        ("shakespeare", "SHAKESPEARE", "AUTOHAS_TINY_SHAKESPEARE"),
        ("cifar", "CIFAR", "AUTOHAS_CIFAR"),
    ],
)
def test_a_task_without_its_data_says_which_variable_names_another_folder(
    name: str, constant: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs where the folder is there; the digits are always there."""
    monkeypatch.setattr(tasks, constant, tmp_path / "absent")
    assert TASKS[name].missing == f"{tmp_path / 'absent'} is absent; name another folder by {variable}"
    monkeypatch.setattr(tasks, constant, tmp_path)
    assert TASKS[name].missing is None
    assert TASKS["digits-cell"].missing is None


@pytest.mark.parametrize(
    ("name", "constant", "write", "chance"),
    [("shakespeare", "SHAKESPEARE", _write_text, -3.0), ("cifar", "CIFAR", _write_images, 1 / 3)],
)
def test_searches_and_peers_run_on_text_and_on_images(  # noqa: PLR0913, PLR0917 - what a case is
    name: str, constant: str, write: Callable[[Path], None], chance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 18 steps the default is better than chance (8 characters are 3 bits, 3 classes a third); no choice is too dear for a search."""
    make_deterministic(1)
    write(tmp_path / "data")
    monkeypatch.setattr(tasks, constant, tmp_path / "data")
    runner, task = Runner(Store(tmp_path / "store.sqlite")), _small(TASKS[name])
    trainings = runner.trainings(task, 0)
    largest = trainings.space.configuration(
        trainings.space.as_mapping(trainings.space.default) | {decision["name"]: decision["choices"][-1] for decision in task.decisions}
    )
    default, peer = (runner.run(task, method, 0, 2.0) for method in ("default", "random + halving"))
    found = runner.run(task, "AutoHAS OneFactor", 0, 3.0)

    assert runner.value(task, default) > chance
    assert abs(runner.value(task, default)) == pytest.approx(runner.test(task, default))
    assert math.isfinite(runner.value(task, peer))
    assert math.isfinite(runner.value(task, found))
    assert 0 < found.work <= 3.1
    assert 1 < trainings.search_task.price(largest, 0, 3) <= MOST_TIMES_THE_DEFAULT


def _small(task: Task) -> Task:
    """Eighteen steps of at most 32 examples, with splits that a small data set can have."""
    recipe = {**task.hyperparameters.recipe, "batchSize": 16}
    ranges = {**task.hyperparameters.ranges, "batch_size": {"integer": {"min": 8, "max": 32, "step": 2, "scale": "Log"}}}
    hyperparameters = replace(task.hyperparameters, recipe=recipe, ranges=ranges)
    return replace(task, steps=18, splits={"reward": "0.1", "selection": "0.1"}, hyperparameters=hyperparameters)
