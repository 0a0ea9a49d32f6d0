"""Loading refuses a folder whose files are not those of one finished search, and says which file and what to do."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import autohas
from autohas_api.base import yaml_file
from autohas_api.base.spec_errors import SpecError
from autohas_api.testing.rejections import with_change
from autohas_trainer.errors import ConfigurationError, DataError, TrainerError
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.result_files import FilesSink
from engine_fixtures import search, small_search

WIDTH = {"name": "width", "categorical": {"choices": ["8", "16"]}, "default": "8"}
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module", name="finished")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search of an own model on own data."""
    folder = tmp_path_factory.mktemp("own") / "out"
    document = with_change(small_search(), "spec.task.data", {"entrypoint": "custom_code_fixtures:Data"})
    document = with_change(document, "spec.task.model", {"entrypoint": "custom_code_fixtures:Linear"})
    document = with_change(document, "spec.task.recipe.batchSize", 32)
    decisions = [
        {"name": "inputs", "choices": ["8"], "default": "8"},
        {"name": "shift", "choices": ["no"], "default": "no", "when": {"decision": "inputs", "values": ["8"]}},
    ]
    document = with_change(document, "spec.searchSpace.architecture", {"decisions": decisions})
    history = HistorySink(folder)
    with closing(history):
        search(document, folder, FanOutSink(history, FilesSink(folder, search_digest=DIGEST)))
    return folder


@pytest.fixture(name="folder")
def _folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints")))


def test_an_own_model_has_the_weights_of_the_file_and_the_chosen_configuration(folder: Path) -> None:
    """Loaded by its entrypoint, in evaluation mode."""
    model = autohas.load(folder)
    weights = load_file(folder / "model.safetensors")

    assert not model.training
    assert model.network.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.network.state_dict().items())
    assert model.configuration == {"inputs": "8", "shift": "no"}


def _search_by_own_training(name: str, folder: Path) -> None:
    document = with_change(small_search({"autoHAS": {"strategy": "OneFactor"}}), "spec.searchSpace", {"hyperparameters": [WIDTH]})
    task = {"data": {"entrypoint": "custom_code_fixtures:Data"}, "training": {"entrypoint": f"own_training_fixtures:{name}"}}
    history = HistorySink(folder)
    with closing(history):
        search(with_change(document, "spec.task", task), folder, FanOutSink(history, FilesSink(folder, search_digest=DIGEST)))


def test_a_module_of_own_training_is_built_by_its_code_and_predicts(tmp_path: Path) -> None:
    """With the values of the winner; where the module gives a row of logits per example, predict names classes."""
    _search_by_own_training("Plain", tmp_path)
    model = autohas.load(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    inputs = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)

    assert model.configuration["width"] == str(len(weights["0.weight"]))
    assert all(torch.equal(value, weights[name]) for name, value in model.network.state_dict().items())
    expected = model.network(torch.from_numpy(inputs)).argmax(dim=1).tolist()
    assert model.predict(inputs) == [str(index) for index in expected]

    recipe = yaml_file.read_mapping(tmp_path / "config.yaml")["recipe"]
    edit_config(tmp_path, recipe={**{name: value for name, value in recipe.items() if name != "steps"}, "epochs": "2"})
    with pytest.raises(ConfigurationError, match=r"recipe\.epochs: own training is built by its values, of which recipe\.steps is one"):
        autohas.load(tmp_path)


def test_a_module_with_other_outputs_is_loaded_and_says_what_to_call(tmp_path: Path) -> None:
    """Its dictionary is no row of logits: predict names model.network, which runs."""
    _search_by_own_training("GivesPairs", tmp_path)
    model = autohas.load(tmp_path)
    inputs = np.zeros((5, 8), dtype=np.float32)

    with pytest.raises(ConfigurationError, match=r"gives a dict for inputs \(5, 8\); predict needs a tensor .* call model\.network"):
        model.predict(inputs)
    assert model.network(model.encode(inputs))["logits"].shape == (5, 2)


def test_loading_leaves_the_global_generators_as_they_were(folder: Path) -> None:
    """Own models draw from them while they are built."""
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - what own code draws from
    random.seed(5)
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002 - as above
    autohas.load(folder)

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (str(np.random.get_state()), random.getstate()) == before[1:]  # noqa: NPY002 - as above


def edit_config(folder: Path, **changes: object) -> None:
    config = yaml_file.read_mapping(folder / "config.yaml")
    (folder / "config.yaml").write_text(yaml_file.dump({**config, **changes}))


def add_tensor(folder: Path) -> None:
    save_file({**load_file(folder / "model.safetensors"), "bias": torch.zeros(2)}, folder / "model.safetensors")
    edit_config(folder, modelDigest=None)


def reshape_tensor(folder: Path) -> None:
    save_file({"weight": torch.zeros(3, 8)}, folder / "model.safetensors")
    edit_config(folder, modelDigest=None)


def edit_preprocessing(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "preprocessing.json").read_text())
    (folder / "preprocessing.json").write_text(json.dumps(record | changes))


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda f: (f / "model.safetensors").unlink(), DataError, "has no model.safetensors; give the folder of a finished search"),
        (lambda f: (f / "preprocessing.json").unlink(), DataError, "has no preprocessing.json"),
        (lambda f: (f / "config.yaml").unlink(), DataError, "has no config.yaml"),
        (
            lambda f: save_file({"weight": torch.zeros(1)}, f / "model.safetensors"),
            DataError,
            "is not the model of config.yaml: its",
        ),
        (add_tensor, DataError, "tensor bias: the file has shape (2,), the network of config.yaml has no such tensor"),
        (reshape_tensor, DataError, "tensor weight: the file has shape (3, 8), the network of config.yaml has shape (2, 8)"),
        (lambda f: (f / "preprocessing.json").write_text("{"), DataError, "preprocessing.json cannot be read: JSONDecodeError"),
        (lambda f: edit_preprocessing(f, format=99), DataError, "preprocessing.json has format 99"),
        (lambda f: edit_preprocessing(f, data={"kind": "smells"}), DataError, "preprocessing.json has data of kind 'smells'"),
        (lambda f: (f / "config.yaml").write_text("a: 1"), SpecError, "is no config.yaml of a search"),
        (
            lambda f: edit_config(f, model={"entrypoint": "not_installed.model:Net"}),
            ConfigurationError,
            "there is no module not_installed; install it",
        ),
    ],
)
def test_files_that_are_not_of_one_search_are_refused(
    damage: Callable[[Path], None], error: type[TrainerError | SpecError], sentence: str, folder: Path
) -> None:
    """Absent, damaged, of another network, of another version, or with a module that cannot be imported."""
    damage(folder)
    with pytest.raises(error) as caught:
        autohas.load(folder)

    assert sentence in str(caught.value)


def test_a_damaged_file_of_weights_is_refused(folder: Path) -> None:
    """Cut in half, with the digest that the half has."""
    edit_config(folder, modelDigest=None)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read"):
        autohas.load(folder)
