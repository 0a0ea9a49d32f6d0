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
from autohas_trainer.data.preprocessing import PREPROCESSING_FILE, read_preprocessing, word_blocks
from autohas_trainer.engine.training.compute import evaluation_chunk
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.inference.trained_model import TrainedModel
from autohas_trainer.provenance import digest_file
from autohas_trainer.seeding import seeded_block
from autohas_trainer.space.recipe import own_values, path_of
from autohas_trainer.templates import OwnNetworks, build_custom, build_template, whole_path

__all__ = ["CONFIG_FILE", "MODEL_FILE", "load"]

CONFIG_FILE = "config.yaml"
MODEL_FILE = "model.safetensors"


def load(place: Path) -> TrainedModel:
    """Load the model of a finished search, or of one seed of `autohas retrain`, ready to predict, on the CPU.

    Args:
        place: The folder of a search, or the file `model-<seed>.safetensors` in the folder of a retraining.

    Raises:
        DataError: A file is missing or damaged, or the files are of different searches; names it.
        SpecError: config.yaml is wrong.
        ConfigurationError: An own model or training cannot be imported, or cannot build its module.
    """
    file = place if place.suffix == ".safetensors" else place / MODEL_FILE
    folder = file.parent
    _require_files(folder, file)
    search, space = read_config(folder / CONFIG_FILE)
    prepared = read_preprocessing(folder)
    is_own = search.spec.task.training is not None
    if is_own and search.spec.training.given_steps is None:
        message = f"{folder / CONFIG_FILE}: recipe.epochs: own training is built by its values, of which recipe.steps is one: give steps"
        raise ConfigurationError(message)
    network = _build_network(search, space, prepared)
    _load_weights(network, file)
    values = own_values(search.spec, space, space.default) if is_own else space.as_mapping(space.default)
    chunk = evaluation_chunk(search.spec)
    return TrainedModel(network, prepared, configuration=values, is_own_training=is_own, chunk=chunk).eval()


def _require_files(folder: Path, file: Path) -> None:
    """Refuse a folder that lacks a file.

    Raises:
        DataError: Names the file.
    """
    seeds = sorted(folder.glob("model-*.safetensors"))
    if file.name == MODEL_FILE and not file.is_file() and seeds:
        message = f"{folder} has the models of several seeds: name one, such as {seeds[0]}"
        raise DataError(message)
    for path in (folder / CONFIG_FILE, folder / PREPROCESSING_FILE, file):
        if not path.is_file():
            wanted = f"{CONFIG_FILE}, {PREPROCESSING_FILE}, {MODEL_FILE}"
            message = f"{folder} has no {path.name}; give the folder of a finished search, with {wanted}"
            raise DataError(message)


def _build_network(search: Search, space: Space, prepared: Mapping[str, Any]) -> nn.Module:
    """Build the network of the configuration in config.yaml, with weights that are overwritten next."""
    shape, target, model = tuple(prepared["inputs"]["shape"]), prepared["target"], search.spec.task.model
    num_outputs = len(target["classes"]) if "classes" in target else target.get("shape", [1])[-1]
    if model.template is not None:
        template = build_template(model.template, shape, num_outputs, words=word_blocks(prepared["data"]))
        return template.build(whole_path(template.decisions, path_of(space, space.default)), ("load",))
    with seeded_block("load"):  # own code draws from the global generators
        if (training := search.spec.task.training) is not None:
            networks = OwnNetworks(training.entrypoint, training.arguments, shape, num_outputs)
            return networks.build(own_values(search.spec, space, space.default), ("load",))
        assert model.entrypoint is not None  # noqa: S101 - the contract's rule: exactly one of all three
        template = build_custom(model.entrypoint, model.arguments, shape, num_outputs)
        path = whole_path(template.decisions, path_of(space, space.default))
        return template.build({**path, **_own_values(space)}, ("load",))


def _own_values(space: Space) -> dict[str, str]:
    """Return the hyperparameters that only an own model knows."""
    pairs = zip(space.decisions, space.default.values, strict=True)
    return {d.name: value for d, value in pairs if d.role is not Role.ARCHITECTURE and d.name not in KNOWN}


def _load_weights(network: nn.Module, path: Path) -> None:
    """Copy the weights of a file into the network.

    Raises:
        DataError: The file is damaged, is not the one that config.yaml names, or does not fit the network.
    """
    expected = read_mapping(path.parent / CONFIG_FILE).get("modelDigest") if path.name == MODEL_FILE else None
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
