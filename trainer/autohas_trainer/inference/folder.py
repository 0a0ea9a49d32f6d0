"""From the folder of a finished search to its model: config.yaml names the network, model.safetensors has its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autohas_api.base.yaml_file import read_mapping
from autohas_api.space.decisions import Role, Space
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Search
from autohas_trainer.config_yaml import read_config
from autohas_trainer.data.preprocessing import PREPROCESSING_FILE, read_preprocessing
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.inference.trained_model import TrainedModel
from autohas_trainer.provenance import digest_file
from autohas_trainer.seeding import seeded_block
from autohas_trainer.space.recipe import path_of
from autohas_trainer.templates import build_custom, build_template, whole_path

__all__ = ["CONFIG_FILE", "MODEL_FILE", "load"]

CONFIG_FILE = "config.yaml"
MODEL_FILE = "model.safetensors"


def load(folder: Path) -> TrainedModel:
    """Load the model of a finished search, ready to predict, on the CPU.

    Raises:
        DataError: A file is missing or damaged, or the files are of different searches; names it.
        SpecError: config.yaml is wrong.
        ConfigurationError: An own model cannot be imported, or cannot be built.
    """
    for name in (CONFIG_FILE, PREPROCESSING_FILE, MODEL_FILE):
        if not (folder / name).is_file():
            message = (
                f"{folder} has no {name}; give the folder of a finished search, with {CONFIG_FILE}, {PREPROCESSING_FILE}, {MODEL_FILE}"
            )
            raise DataError(message)
    search, space = read_config(folder / CONFIG_FILE)
    prepared = read_preprocessing(folder)
    network = _build_network(search, space, prepared)
    _load_weights(network, folder)
    values = space.as_mapping(space.default)
    return TrainedModel(network, prepared, configuration=values).eval()


def _build_network(search: Search, space: Space, prepared: Mapping[str, Any]) -> nn.Module:
    """Build the network of the configuration in config.yaml, with weights that are overwritten next."""
    shape, target, model = tuple(prepared["inputs"]["shape"]), prepared["target"], search.spec.task.model
    num_outputs = len(target["classes"]) if "classes" in target else target.get("shape", [1])[-1]
    if search.spec.task.training is not None:
        raise ConfigurationError(
            "the model was trained by own training (task.training), which alone can build its module: build it and load model.safetensors"
        )
    if model.template is not None:
        template = build_template(model.template, shape, num_outputs)
        return template.build(whole_path(template.decisions, path_of(space, space.default)), ("load",))
    assert model.entrypoint is not None  # noqa: S101 - the contract's rule: exactly one of both
    with seeded_block("load"):  # own models draw from the global generators
        template = build_custom(model.entrypoint, model.arguments, shape, num_outputs)
        path = whole_path(template.decisions, path_of(space, space.default))
        return template.build({**path, **_own_values(space)}, ("load",))


def _own_values(space: Space) -> dict[str, str]:
    """Return the hyperparameters that only an own model knows."""
    pairs = zip(space.decisions, space.default.values, strict=True)
    return {d.name: value for d, value in pairs if d.role is not Role.ARCHITECTURE and d.name not in KNOWN}


def _load_weights(network: nn.Module, folder: Path) -> None:
    """Copy model.safetensors into the network.

    Raises:
        DataError: The file is damaged, is not the one that config.yaml names, or does not fit the network.
    """
    path = folder / MODEL_FILE
    expected = read_mapping(folder / CONFIG_FILE).get("modelDigest")
    digest = digest_file(path)
    if expected is not None and digest != expected:
        message = f"{path} is not the model of {CONFIG_FILE}: its digest is {digest}, modelDigest is {expected}; copy the folder again"
        raise DataError(message)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        message = f"{path} cannot be read: {error}"
        raise DataError(message) from error
    _check_names(network.state_dict(), tensors, path)
    network.load_state_dict(tensors)


def _check_names(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights of another network.

    Raises:
        DataError: Names the first tensor that is not as the network has it.
    """
    for name in sorted(wanted.keys() | tensors.keys()):
        want, have = (f"shape {tuple(side[name].shape)}" if name in side else "no such tensor" for side in (wanted, tensors))
        if want != have:
            message = (
                f"{path}: tensor {name}: the file has {have}, the network of {CONFIG_FILE} has {want}; the architecture in {CONFIG_FILE}"
                " or the code of an own model is not the one that was trained"
            )
            raise DataError(message)
