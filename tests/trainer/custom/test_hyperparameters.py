"""Custom hyperparameters, losses and augmentations: what reaches custom code, and what is refused because nothing would use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional
from typer.testing import CliRunner

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Result, decode_termination_message, encode_termination_message
from autohas_api.wire.result import configuration_of
from autohas_trainer.cli.app import app
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.events import StepRecord
from custom_search_fixtures import NOISE, loaded, searched
from engine_fixtures import Killed, MemorySink, search

GAMMA = {"name": "gamma", "categorical": {"choices": ["0", "2"]}, "default": "0"}
WIDTH = {"name": "width", "integer": {"min": 8, "max": 32, "step": 8}, "default": "16"}


def test_values_reach_augmentation_loss_and_factory(tmp_path: Path) -> None:
    """Each lane has its own noise, gamma and width; the result names them and holds the network of the chosen width."""
    outcome = search(searched("Focal", NOISE, GAMMA, WIDTH), tmp_path, MemorySink())

    assert set(outcome.configuration) == {"noise", "gamma", "width"}
    width = int(outcome.configuration["width"])
    assert outcome.result.parameters == 8 * width + width + 2 * width + 2 * width + 2
    assert outcome.result.test_score > 0.7


def test_choices_as_long_as_the_contract_allows_reach_the_result(tmp_path: Path) -> None:
    """One of two choices of 64 characters wins and comes out of the termination message whole."""
    choices = [f"0.{'0' * 61}{digit}" for digit in "12"]
    document = searched("Focal", {"name": "noise", "categorical": {"choices": choices}, "default": choices[0]})
    outcome = search(document, tmp_path, MemorySink())
    word, (_, space) = decode_termination_message(encode_termination_message(outcome.result)), accept(document)

    assert isinstance(word, Result)
    assert space.as_mapping(configuration_of(word, space)) == outcome.configuration
    assert outcome.configuration["noise"] in choices


def test_the_augmentation_is_that_of_the_step() -> None:
    """Noise of strength 2 is added to the batch, the same at every call for a step, another for the next."""
    search_task = loaded(searched("Plain", NOISE))
    configuration = search_task.space.configuration({"noise": "2"})
    batch = search_task.splits.train_batch(0, 64, search_task.seed)
    one, again, later = (search_task.custom.augment(batch, configuration, 0, step).inputs for step in (3, 3, 4))

    assert torch.equal(one, again)
    assert not torch.equal(one, later)
    assert (one - batch.inputs).std().item() == pytest.approx(2, rel=0.1)


def test_the_loss_is_the_models_for_training_and_the_tasks_for_comparison() -> None:
    """With gamma 2 a coin's loss of ln 2 counts a quarter in training; comparisons see cross-entropy."""
    search_task = loaded(searched("Focal", GAMMA, data="Data"))
    task = search_task.custom.task(search_task.space.configuration({"gamma": "2"}))
    outputs, targets = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    entropy = functional.cross_entropy(outputs, targets).item()

    assert task.training_losses(outputs, targets, 0.0).tolist() == pytest.approx([entropy / 4] * 4)
    assert task.losses(outputs, targets).tolist() == pytest.approx([entropy] * 4)
    assert (task.num_outputs, task.constant_loss) == (search_task.task.num_outputs, search_task.task.constant_loss)


def test_custom_hyperparameters_reach_build() -> None:
    """A plain module's factory gets those that it has parameters for."""
    search_task = loaded(searched("Focal", NOISE, WIDTH))
    values = {"noise": "0", "width": "32"}
    training = Training(search_task, search_task.space.configuration(values))

    assert training.model_tensors()["1.weight"].shape == (32, 8)


@pytest.mark.parametrize("step", [4, 40])
def test_augmentation_and_loss_resume_bit_for_bit(step: int, tmp_path: Path) -> None:
    """Killed in the middle, the end is the undisturbed one."""

    def kill(record: StepRecord) -> None:
        if record.step >= step:
            raise Killed

    document = searched("Focal", NOISE, GAMMA)
    undisturbed = search(document, tmp_path / "whole", MemorySink())
    with pytest.raises(Killed):
        search(document, tmp_path / "killed", MemorySink(on_step=kill))

    assert search(document, tmp_path / "killed", MemorySink()).result.digest == undisturbed.result.digest


def test_the_chosen_values_are_in_config_yaml_and_can_be_trained_again(tmp_path: Path) -> None:
    """`autohas retrain` reads custom hyperparameters back and reaches the same test score."""
    (tmp_path / "search.yaml").write_text(json.dumps(searched("Focal", NOISE, WIDTH)))
    run = CliRunner().invoke
    first = run(app, ["run", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "out")])
    assert first.exit_code == 0, first.output
    record = json.loads((tmp_path / "out" / "result.json").read_text())["winner"]
    written = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["hyperparameters"]
    assert {h["name"]: str(h["default"]) for h in written} == record["configuration"]
    again = run(app, ["retrain", str(tmp_path / "out" / "config.yaml"), "--seeds", "1", "--out", str(tmp_path / "again")])

    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "again" / "scores.json").read_text())["scores"][0]["test"] == record["testScore"]


REFUSED = {
    "nothing takes it": (
        searched("Plain", NOISE, data="Data"),
        r"hyperparameters\[0\]\.name: nothing takes noise: the data has no augment",
    ),
    "augment of another shape": (
        searched("Plain", NOISE, defect="augment shape"),
        r"augment gave \(2, 2\) of torch.float32, it must give \(2, 8\)",
    ),
    "one loss for all": (
        searched("MeanLoss", GAMMA),
        r"loss gave \(\) of torch.float32, it must give one differentiable number per example",
    ),
    "dropout without a layer": (
        with_change(searched("Plain", NOISE), "spec.task.recipe.dropout", "0.2"),
        r"dropout is set or searched, but the custom model has no autohas_trainer\.templates\.Dropout layer",
    ),
    "smoothing with a custom loss": (
        with_change(searched("Focal", GAMMA), "spec.task.recipe.labelSmoothing", "0.1"),
        r"label smoothing is set or searched, but the custom model's loss would not obey it",
    ),
    "mixed tokens": (
        with_change(searched("Tokens", {**WIDTH, "name": "batch_size"}, data="Data", defect="tokens"), "spec.task.recipe.mixup", "0.2"),
        r"mixup is set or searched, but the custom data's inputs are integers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_would_obey_is_refused_before_training(case: str) -> None:
    """A field that does nothing is an error, and so is a hook of the wrong shape."""
    document, words = REFUSED[case]
    with pytest.raises(ConfigurationError, match=words):
        loaded(document)


def test_the_recipes_dropout_is_obeyed_by_its_layer() -> None:
    """A module with the layer trains under dropout; without dropout it computes the same as ever."""
    document = with_change(searched("WithDropout", NOISE), "spec.task.recipe.dropout", "0.5")

    training = Training(loaded(document), loaded(document).space.default)
    training.step()

    assert training.read_loss() > 0


def test_own_names_need_custom_code() -> None:
    """Without an entrypoint a name that the recipe does not know is refused by the schema's rules."""
    document = with_change(searched("Plain", NOISE), "spec.task", {"data": {"name": "digits"}, "model": {"template": "mlp-small"}})
    with pytest.raises(SpecError, match=r"spec\.searchSpace\.hyperparameters: every name must be one of .*; custom names need custom data"):
        accept(document)
