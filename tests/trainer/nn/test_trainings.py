"""Trainings and supernets of models with tied and frozen weights, and what their files hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from autohas_api.testing.rejections import with_change
from autohas_trainer.engine.outcome import save_model
from autohas_trainer.engine.training.training import Training
from autohas_trainer.optim.rule import UpdateRule
from autohas_trainer.supernet import Supernet
from autohas_trainer.templates import default_path
from custom_search_fixtures import custom_search, loaded


def digits(model: str) -> dict[str, Any]:
    """A search of the learning rate of a module on digits."""
    task = {"data": {"name": "digits"}, "model": {"entrypoint": f"custom_code_fixtures:{model}"}}
    return with_change(custom_search("Plain"), "spec.task", task)


def test_tied_weights_are_one_weight_under_two_names(tmp_path: Path) -> None:
    """Trained once, in a checkpoint once, in the file of the model twice; a training continues from its tensors bit for bit."""
    search_task = loaded(digits("Tied"))
    training, other = (Training(search_task, search_task.space.default) for _ in range(2))
    for _ in range(3):
        training.step()
    save_model(training, tmp_path / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in training.tensors().items()}
    other.load(training.state_dict(), tensors)

    assert torch.equal(saved["one.weight"], saved["other.weight"])
    assert {name for name in tensors if "other" in name} == set()
    assert other.step() == training.step()
    network = search_task.template.build({}, ("any",))
    network.load_state_dict(saved)
    assert network.get_parameter("one.weight") is network.get_parameter("other.weight")


def test_frozen_weights_stay_and_are_saved(tmp_path: Path) -> None:
    """They are equal in every network, no leaf of the supernet, without moments, and in the file of the model."""
    search_task = loaded(digits("Frozen"))
    training, repeat = Training(search_task, search_task.space.default), Training(search_task, search_task.space.default, 1)
    frozen = training.model_tensors()["one.weight"].clone()
    for _ in range(3):
        training.step()
    save_model(training, tmp_path / "model.safetensors")

    assert torch.equal(load_file(tmp_path / "model.safetensors")["one.weight"], frozen)
    assert torch.equal(repeat.model_tensors()["one.weight"], frozen)
    assert not torch.equal(repeat.model_tensors()["head.weight"], training.model_tensors()["head.weight"])
    assert set(training.parameters()) == {"other.weight", "other.bias", "head.weight", "head.bias"}
    assert {name for name in training.tensors() if "one" in name} == {"network/one.weight"}
    assert search_task.num_parameters(search_task.space.default) == 64 * 64 + 64 + 10 * 64 + 10


def test_a_supernet_moves_every_leaf_of_a_tied_model() -> None:
    """The gradient of both uses reaches the one leaf."""
    search_task = loaded(digits("Tied"))
    supernet = Supernet(search_task.template, search_task.task, ("seed",), torch.device("cpu"))
    path = default_path(search_task.template.decisions)
    before = {name: leaf.detach().clone() for name, leaf in supernet.leaves(path).items()}
    _, grads = supernet.gradient(path, search_task.splits.train_batch(0, 64, 0))
    supernet.commit(path, grads, UpdateRule(optimizer="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0))

    assert set(before) == {"one.weight", "head.weight", "head.bias"}
    assert all(torch.allclose(leaf, before[name] - 0.1 * grads[name]) for name, leaf in supernet.leaves(path).items())
