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
from pydantic.alias_generators import to_camel

import own_training_fixtures
from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.space.decisions import Configuration
from autohas_api.spec.task import Recipe
from autohas_api.testing.rejections import with_change
from autohas_trainer.config_yaml import config_text, read_config
from autohas_trainer.engine.training.comparison import paired_standard_error
from autohas_trainer.engine.training.own_training import OwnTraining, try_own_training
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
        ("NanMetric", "evaluate gave nan for accuracy; every number must be finite"),
        ("ComplexMetric", r"evaluate gave a tensor of torch\.complex64 for accuracy; it must give real numbers"),
        (
            "ShapedMetric",
            r"evaluate gave a tensor of shape \(3,\) for accuracy; it must give what each example contributes, here",
        ),
        ("BadState", r"state_dict\(\) holds a object at own/mean, which a checkpoint cannot keep"),
        ("HalfState", "has state_dict and no load_state_dict"),
        ("ForeignOptimizer", r"optimizer updates 4 parameters of another module than the one that it was given \(shape \(8, 8\)\)"),
        ("HeldForeign", r"optimizer updates 2 parameters of another module than the one that it was given \(shape \(3, 2\)\)"),
        ("LeavesOut", r"optimizer leaves out 2 parameters of the module that require a gradient \(0\.weight, 0\.bias\): give them to"),
        ("NoOptimizer", "optimizer gave a int without zero_grad, step, state_dict, load_state_dict"),
    ],
)
def test_broken_code_is_one_sentence_before_the_first_step(tmp_path: Path, name: str, words: str) -> None:
    """Each names task.training.entrypoint and what to give."""
    sink = MemorySink()

    with pytest.raises(ConfigurationError, match=rf"task.training.entrypoint own_training_fixtures:{name}.*({words})"):
        search(own_search(name), tmp_path, sink)

    assert sink.steps == []


def test_an_optimizer_may_leave_out_what_build_has_frozen() -> None:
    """The frozen layer stays as it is, the other one moves, and nothing is refused."""
    task = loaded(own_search("FreezesFirst"))
    try_own_training(task)
    training = OwnTraining(task, task.space.default)
    training.begin()
    before = {name: tensor.clone() for name, tensor in training.tensors().items()}
    after = _train(training, 1)

    moved = [name for name in ("0.weight", "3.weight") if not torch.equal(before[f"network/{name}"], after[f"network/{name}"])]
    assert moved == ["3.weight"]


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


RECIPE: dict[str, tuple[Any, str]] = {
    "batch_size": (32, "engine"),
    "optimizer": ("adamw", "optimizer"),
    "learning_rate": ("0.05", "optimizer"),
    "schedule": ("Linear", "optimizer"),
    "schedule_floor": ("0.1", "optimizer"),
    "decay_fraction": ("0.3", "optimizer"),
    "step_fraction": ("0.2", "optimizer"),
    "step_factor": ("0.2", "optimizer"),
    "warmup_fraction": ("0.1", "optimizer"),
    "weight_decay": ("0.01", "optimizer"),
    "decay_norms": (True, "optimizer"),
    "momentum": ("0.8", "optimizer"),
    "nesterov": (True, "optimizer"),
    "beta2": ("0.99", "optimizer"),
    "epsilon": ("1e-7", "optimizer"),
    "gradient_clip": ("1", "engine"),
    "accumulate": (2, "refused"),
    "ema": ("0.9", "value"),
    "precision": ("BFloat16", "engine"),
    "dropout": ("0.1", "value"),
    "label_smoothing": ("0.1", "value"),
    "mixup": ("0.2", "value"),
    "class_weights": ("Balanced", "refused"),
    "weight_by_class": ({"0": "2"}, "refused"),
}
"""Every field of the recipe: who obeys it in own training. `optimizer`: the engine, or the code where it has an optimizer of its own."""
NEEDS: dict[str, dict[str, Any]] = {
    "beta2": {"optimizer": "adamw"},
    "epsilon": {"optimizer": "adamw"},
    "decay_fraction": {"schedule": "WSD"},
    "step_fraction": {"schedule": "Step"},
    "step_factor": {"schedule": "Step"},
}
ELSEWHERE: dict[str, tuple[Any, bool]] = {
    "spec.trainer.compute.channelsLast": (True, False),
    "spec.trainer.compute.compile": ("Default", False),
    "spec.trainer.compute.threads": (2, True),
    "spec.trainer.determinism": ("Relaxed", True),
    "spec.objective.goal": ("0.9", True),
    "spec.objective.cost": ({"target": "100"}, False),
    "spec.objective.metric": ("f1", True),
    "spec.task.data": ({"name": "idx", "path": "/data", "augmentation": {"cutMix": "1"}}, False),
    "spec.task.data.augmentation": ({"name": "idx", "path": "/data", "workers": 1, "augmentation": {"horizontalFlip": "0.5"}}, True),
}
"""Fields outside of the recipe, and whether own training takes them."""


def test_every_field_of_the_recipe_is_decided() -> None:
    """A new field needs a row in the table above."""
    assert RECIPE.keys() == Recipe.model_fields.keys()


@pytest.mark.parametrize("name", RECIPE)
def test_a_field_of_the_recipe_is_obeyed_or_refused(name: str) -> None:
    """By the engine, or by code that reads its value; code that does not is refused before the first step, with the field."""
    value, by = RECIPE[name]
    recipe = {to_camel(field): given for field, given in {**NEEDS.get(name, {}), name: value}.items()}

    def attempt(code: str) -> None:
        document = with_change(own_search(code), "spec.searchSpace", {"hyperparameters": [WIDTH]})
        try_own_training(loaded(with_change(document, "spec.task.recipe", recipe)))

    if by == "refused":
        with pytest.raises(SpecError, match=f"recipe.{to_camel(name)}.* must not be given with training"):
            attempt("ReadsAll")
        return
    attempt("ReadsAll")
    if by == "value":
        with pytest.raises(ConfigurationError, match=rf"task.recipe.{to_camel(name)} has no effect: .* does not read values\['{name}'\]"):
            attempt("Plain")
    else:
        attempt("Plain")
    if by == "optimizer" and name != "learning_rate":
        with pytest.raises(ConfigurationError, match=r"has no effect: .* which has an optimizer of its own"):
            attempt("TwoOptimizers")


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_field_outside_the_recipe_is_taken_or_refused_at_validate(path: str) -> None:
    """Nothing that own training would not obey is accepted."""
    value, is_taken = ELSEWHERE[path]
    document = with_change(own_search("Plain"), "spec.trainer.determinism", "Relaxed")
    document = with_change(document, path.removesuffix(".augmentation"), value)
    if is_taken:
        accept(document)
        return
    with pytest.raises(SpecError, match=r"task.training|with training"):
        accept(document)


def test_a_metric_that_changes_its_form_is_one_sentence() -> None:
    """What each example adds cannot be compared with one number; the sentence names both."""
    search_task = loaded(own_search("ChangesForm"))
    other = Configuration(
        values=tuple(
            "16" if d.name == "width" else c for d, c in zip(search_task.space.decisions, search_task.space.default.values, strict=True)
        )
    )
    one, two = (OwnTraining(search_task, c).compare(keeps_contributions=True) for c in (search_task.space.default, other))

    with pytest.raises(ConfigurationError, match="is what each of 90 examples adds and one number for two candidates"):
        paired_standard_error(one, two)


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


def test_tensors_whose_places_read_alike_are_all_kept() -> None:
    """The keys 1 and "1", and a key with a slash, give one text: none of the tensors takes another one's place."""
    state = {1: torch.tensor(1), "1": torch.tensor(2), "a": {"b": torch.tensor(3)}, "a/b": torch.tensor(4)}

    document, tensors = split_tree(state, "code")

    assert join_tree(document, tensors) == state


def test_a_state_is_kept_exactly() -> None:
    """Types, NaN and keys that are numbers survive JSON."""
    state = {1: (0.1, float("inf")), "a": [None, True, torch.arange(3)], "b": {"c": -0.0}}

    document, tensors = split_tree(state, "code")
    back = join_tree(document, tensors)

    assert back[1] == state[1]
    assert back["a"][:2] == [None, True]
    assert torch.equal(back["a"][2], torch.arange(3))
    assert str(back["b"]["c"]) == "-0.0"
