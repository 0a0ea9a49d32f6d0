"""A stand-alone training under every part of the recipe."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.data import TrainBatch
from autohas_trainer.engine.training.regularisation import mix
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import DataError
from autohas_trainer.tasks import Classification
from autohas_trainer.templates import Dropout, arm_dropout, disarm_dropout
from engine_fixtures import small_search

CPU = torch.device("cpu")
RECIPES: dict[str, dict[str, Any]] = {
    "rmsprop": {"optimizer": "rmsprop"},
    "adam": {"optimizer": "adam"},
    "dropout": {"dropout": "0.5"},
    "label_smoothing": {"labelSmoothing": "0.1"},
    "mixup": {"mixup": "0.4"},
    "adamw": {"optimizer": "adamw", "decayNorms": True, "beta2": "0.95", "epsilon": "1e-6"},
    "nesterov": {"nesterov": True},
    "gradient_clip": {"gradientClip": "0.5"},
    "linear": {"schedule": "Linear", "scheduleFloor": "0.1"},
    "bfloat16": {"precision": "BFloat16"},
    "new": {"optimizer": "adamw", "gradientClip": "0.5", "accumulate": 4, "ema": "0.9", "precision": "BFloat16", "schedule": "WSD"},
    "all": {"optimizer": "adam", "dropout": "0.2", "labelSmoothing": "0.1", "mixup": "1", "batchSize": 32},
}


def _search_task(recipe: dict[str, Any], *hyperparameters: dict[str, Any]) -> SearchTask:
    document = with_change(small_search(), "spec.task.recipe", recipe)
    if hyperparameters:
        document = with_change(document, "spec.searchSpace.hyperparameters", list(hyperparameters))
    parsed, space = accept(document)
    return SearchTask.load(parsed.spec, space, CPU)


def _weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.tensors().items()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_goes_on_from_its_tensors_bit_for_bit(recipe: str) -> None:
    """Saved at step 5 and loaded into a new object, ten more steps give the same tensors as fifteen in one go."""
    search_task = _search_task(RECIPES[recipe])
    whole, first, second = (Training(search_task, search_task.space.default) for _ in range(3))
    for _ in range(15):
        whole.step()
    for _ in range(5):
        first.step()
    second.load(first.state_dict(), _weights(first))
    for _ in range(10):
        second.step()

    assert _weights(second).keys() == _weights(whole).keys()
    assert all(torch.equal(tensor, _weights(second)[name]) for name, tensor in _weights(whole).items())


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_part_of_the_recipe_changes_the_training(recipe: str) -> None:
    """Three steps under the recipe end elsewhere than three steps of the default recipe."""
    plain, other = _search_task({}), _search_task(RECIPES[recipe])
    trainings = [Training(search_task, search_task.space.default) for search_task in (plain, other)]
    for training in trainings:
        for _ in range(3):
            training.step()

    assert not torch.equal(trainings[0].model_tensors()["head.weight"], trainings[1].model_tensors()["head.weight"])


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_the_optimizer_gets_the_rate_of_the_recipe(optimizer: str) -> None:
    """Torch's optimizer is built with the recipe's 0.05, whichever it is; the schedule reaches that peak, and the record says it."""
    search_task = _search_task({"optimizer": optimizer, "learningRate": "0.05", "schedule": "Constant", "warmupFraction": "0"})
    training = Training(search_task, search_task.space.default)
    training.step()

    assert training.learning_rate == 0.05
    assert training.recipe.record()["learningRate"] == "0.05"
    assert training.recipe.record()["optimizer"] == optimizer


def test_another_batch_size_keeps_the_number_of_examples() -> None:
    """27 steps of 64 are 54 of 32 and 14 of 128; each is one training, compared at its own ninth and third."""
    batch = {"name": "batch_size", "integer": {"min": 32, "max": 128, "step": 2, "scale": "Log"}}
    search_task = _search_task({}, batch)
    space = search_task.space
    trainings = {
        size: Training(search_task, space.configuration({**space.as_mapping(space.default), "batch_size": size}))
        for size in ("32", "64", "128")
    }

    assert {size: t.recipe.steps for size, t in trainings.items()} == {"32": 54, "64": 27, "128": 14}
    assert {size: [t.rung(n) for n in range(3)] for size, t in trainings.items()} == {
        "32": [6, 18, 54],
        "64": [3, 9, 27],
        "128": [2, 5, 14],
    }
    for _ in range(54):
        trainings["32"].step()
    assert trainings["32"].is_finished
    assert trainings["32"].units_done == 27


def test_a_batch_size_that_the_data_cannot_fill_is_refused_at_once() -> None:
    """The largest size of the space counts, not only the default's."""
    with pytest.raises(DataError, match=r"cannot fill a batch of 4096; lower .*batch_size"):
        _search_task({}, {"name": "batch_size", "integer": {"min": 64, "max": 4096, "step": 4032}})


def test_smoothed_labels_in_closed_form() -> None:
    """With logits (0, ln 3) the log-probabilities are ln 1/4 and ln 3/4; s = 0.2 weighs them 0.1 and 0.9."""
    task = Classification("accuracy", [1, 1], balanced=False, device=CPU)
    losses = task.training_losses(torch.tensor([[0.0, math.log(3)]]), torch.tensor([1]), 0.2)

    assert losses.item() == pytest.approx(-(0.1 * math.log(1 / 4) + 0.9 * math.log(3 / 4)))


def test_mixup_mixes_inputs_and_names_the_partners() -> None:
    """Each input is share times itself plus the rest of the example whose target it names as its partner."""
    inputs = torch.arange(6.0).reshape(6, 1)
    batch = TrainBatch(inputs=inputs, targets_B=torch.arange(6))
    mixture = mix(batch, 0.4, np.random.default_rng(3))

    assert mixture.partners_B is not None
    assert 0 <= mixture.share <= 1
    expected = mixture.share * inputs + (1 - mixture.share) * mixture.partners_B.reshape(6, 1)
    assert torch.allclose(mixture.inputs, expected)
    assert sorted(mixture.partners_B.tolist()) == list(range(6))


def test_dropout_drops_only_while_armed_and_keeps_the_mean() -> None:
    """Half of 10,000 ones become 2, the others 0; disarmed, or armed with p = 0, nothing changes."""
    layer, ones = Dropout(), torch.ones(100, 100)
    assert layer(ones) is ones
    arm_dropout(layer, 0.5, 7)
    first = layer(ones)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert first.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(layer(ones), first)
    arm_dropout(layer, 0.5, 8)
    assert not torch.equal(layer(ones), first)
    disarm_dropout(layer)
    assert layer(ones) is ones


def test_comparisons_see_the_whole_network() -> None:
    """A training under dropout that has not moved yet compares as one without."""
    search_task = _search_task({"dropout": "0.9"})
    plain = replace(search_task, spec=_search_task({}).spec)

    assert Training(search_task, search_task.space.default).compare() == Training(plain, plain.space.default).compare()
