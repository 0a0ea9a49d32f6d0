"""The user's own training: it runs under every algorithm that compares trainings, resumes bit for bit, and breaks in one sentence."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import own_training_fixtures
from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.config_yaml import config_text, read_config
from autohas_trainer.engine.training.own_training import OwnTraining
from autohas_trainer.engine.training.state_tree import join_tree, split_tree
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.events import StepRecord
from custom_search_fixtures import loaded
from engine_fixtures import ALGORITHM_ROWS, Killed, MemorySink, search, small_search

WIDTH: dict[str, Any] = {"name": "width", "categorical": {"choices": ["8", "16"]}, "default": "8"}
RATE: dict[str, Any] = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "0.1", "numBases": 3}, "default": "0.03"}


def own_search(name: str, algorithm: str = "OneFactor") -> dict[str, Any]:
    """The small search by an own training."""
    document = with_change(
        small_search(ALGORITHM_ROWS[algorithm] or {"autoHAS": {"strategy": "Lanes"}}),
        "spec.searchSpace",
        {"hyperparameters": [WIDTH, RATE]},
    )
    task = {"data": {"entrypoint": "custom_code_fixtures:Data"}, "training": {"entrypoint": f"own_training_fixtures:{name}"}}
    return with_change(document, "spec.task", task)


def _train(training: OwnTraining, steps: int) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        training.step()
    return {name: tensor.clone() for name, tensor in training.tensors().items()}


def _kill_at(number: int) -> Callable[[StepRecord], None]:
    """Kill at the n-th step of a process, between two checkpoints."""
    steps = itertools.count(1)

    def kill(_: StepRecord) -> None:
        if next(steps) == number:
            raise Killed

    return kill


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(("name", "algorithm"), [("Plain", "OneFactor"), ("TwoOptimizers", "Lanes"), ("Plain", "RandomSearch")])
def test_a_killed_search_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path, name: str, algorithm: str) -> None:
    """In each algorithm that compares trainings, with the recipe's optimizer and with two of the user's own."""
    document = own_search(name, algorithm)
    unbroken = search(document, tmp_path / "unbroken", MemorySink())
    for at in (7, 60):
        with pytest.raises(Killed):
            search(document, tmp_path / "killed", MemorySink(on_step=_kill_at(at)))
    resumed = search(document, tmp_path / "killed", MemorySink())

    assert resumed.result.digest == unbroken.result.digest
    assert resumed.test_scores == unbroken.test_scores


@pytest.mark.parametrize("name", ["Plain", "TwoOptimizers"])
def test_a_training_continues_from_its_state(name: str) -> None:
    """Groups of parameters, two optimizers, a schedule and the code's own state are all in a checkpoint."""
    task = loaded(own_search(name))
    whole, first = OwnTraining(task, task.space.default), OwnTraining(task, task.space.default)
    expected = _train(whole, 6)
    tensors = _train(first, 3)

    second = OwnTraining(task, task.space.default)
    second.load(first.state_dict(), tensors)

    assert _equal(_train(second, 3), expected)


def test_searched_values_and_the_recipe_reach_the_code_by_name() -> None:
    """`values` has every hyperparameter as a string, and the number of steps."""
    task = loaded(own_search("Plain"))

    values = task.custom.values(task.space.default)

    assert {name: values[name] for name in ("width", "learning_rate", "batch_size", "steps", "optimizer")} == {
        "width": "8",
        "learning_rate": "0.03",
        "batch_size": "64",
        "steps": "27",
        "optimizer": "sgd",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoModule", r"build\(values\) gave a str, it must give a torch.nn.Module"),
        ("Frozen", "without a parameter that requires a gradient"),
        ("NoLoss", "training_loss gave a tensor of shape \\(\\); it must give one number that depends on"),
        ("LossPerExample", r"training_loss gave a tensor of shape \(64,\)"),
        ("OtherMetric", "evaluate gave bleu, but the objective's metric is accuracy"),
        ("NanMetric", "evaluate gave accuracy nan, which is not finite"),
        ("BadState", r"state_dict\(\) holds a object at own/mean, which a checkpoint cannot keep"),
        ("HalfState", "has state_dict and no load_state_dict"),
        ("NoOptimizer", "optimizer gave a int without zero_grad, step, state_dict, load_state_dict"),
    ],
)
def test_broken_code_is_one_sentence_before_the_first_step(tmp_path: Path, name: str, words: str) -> None:
    """Each names task.training.entrypoint and what to give."""
    sink = MemorySink()

    with pytest.raises(ConfigurationError, match=rf"task.training.entrypoint own_training_fixtures:{name}.*({words})"):
        search(own_search(name), tmp_path, sink)

    assert sink.steps == []


@pytest.mark.parametrize("name", ["TwoOptimizers", "NeedsBothClasses"])
def test_one_number_is_compared_by_groups_of_examples(name: str) -> None:
    """The accuracy of a group, or of the examples without it, where a group has none, has the standard error of its examples."""
    search_task = loaded(own_search(name))
    default = search_task.space.default
    by_example, by_group = OwnTraining(loaded(own_search("Plain")), default), OwnTraining(search_task, default)
    one, other = (training.compare(keeps_contributions=True) for training in (by_example, by_group))
    hits_N, parts_G = (np.frombuffer(base64.b64decode(c.contributions), dtype="<f4").astype(float) for c in (one, other))

    assert len(hits_N) == search_task.splits.num_selection
    assert len(parts_G) == 18  # of 5 examples each
    assert other.metric is not None
    assert other.metric == pytest.approx(one.metric)
    assert parts_G.mean() == pytest.approx(other.metric, abs=1e-6)
    expected = hits_N.std() / math.sqrt(len(hits_N))
    assert parts_G.std() / math.sqrt(18) == pytest.approx(expected, rel=0.5)  # known to a sixth by as many groups


def test_a_metric_that_no_group_defines_is_compared_without_an_error() -> None:
    """The larger metric wins; nothing raises."""
    search_task = loaded(own_search("WholeOnly"))

    comparison = OwnTraining(search_task, search_task.space.default).compare(keeps_contributions=True)

    assert comparison.metric == 0.5
    assert comparison.contributions == ""


def test_evaluate_streams_its_batches(tmp_path: Path) -> None:
    """Of the selection and of the test split it never gets more than a batch at a time, and the batch before is free by then."""
    own_training_fixtures.alive.clear()

    search(own_search("Streams"), tmp_path, MemorySink())

    assert len(own_training_fixtures.alive) > 10
    assert max(own_training_fixtures.alive) == 1


def test_a_value_that_raises_is_out_and_the_search_continues(tmp_path: Path) -> None:
    """What own code raises for one value of the space is that candidate's."""
    sink = MemorySink()
    outcome = search(own_search("NarrowOnly"), tmp_path, sink)

    assert outcome.configuration["width"] == "8"
    faults = [one.message for one in sink.notices if one.reason == "CandidateFailed"]
    assert faults
    assert all("raised ValueError: too wide" in message and "width 16" in message for message in faults)


def test_the_winner_is_read_back_from_config_yaml(tmp_path: Path) -> None:
    """config.yaml names the training and every chosen value, so that `autohas retrain` trains the same."""
    document = own_search("Plain")
    outcome = search(document, tmp_path, MemorySink())
    file = tmp_path / "config.yaml"
    file.write_text(config_text(*accept(document), outcome))

    again, space = read_config(file)

    assert again.spec.task.training is not None
    assert space.as_mapping(space.default)["width"] == outcome.configuration["width"]


def test_a_state_is_kept_exactly() -> None:
    """Types, NaN and keys that are numbers survive JSON."""
    state = {1: (0.1, float("inf")), "a": [None, True, torch.arange(3)], "b": {"c": -0.0}}

    document, tensors = split_tree(state, "code")
    back = join_tree(document, tensors)

    assert back[1] == state[1]
    assert back["a"][:2] == [None, True]
    assert torch.equal(back["a"][2], torch.arange(3))
    assert str(back["b"]["c"]) == "-0.0"
