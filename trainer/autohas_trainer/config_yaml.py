"""Writes config.yaml, and reads it as a search with one candidate, which `autohas retrain` trains.

Users may edit the file, and every value in it is trained as written. Decisions that it does not name take the template's default.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autohas_api.base import yaml_file
from autohas_api.base.names import API_VERSION, KIND
from autohas_api.base.spec_errors import FieldError, SpecError
from autohas_api.base.yaml_file import read_mapping
from autohas_api.space.decisions import Space, resolve
from autohas_api.spec.budget import MIN_STEPS
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Search, parse
from autohas_trainer.events import Outcome
from autohas_trainer.provenance import DataIdentity

__all__ = ["config_text", "read_config"]

_SECTIONS: Final = ("task", "model", "recipe", "objective", "seed")
_COMPUTE: Final = ("compute", "determinism")
"""Fields of spec.trainer that a training alone obeys too."""
_PLACES: Final = {
    "spec.task.recipe": "recipe",
    "spec.training": "recipe",
    "spec.task.model": "model",
    "spec.searchSpace.architecture": "model.architecture",
    "spec.objective": "objective",
    "spec.searchSpace.hyperparameters": "hyperparameters",
    "spec.algorithm.seed": "seed",
    "spec.task": "task",
    "spec.trainer": "trainer",
}
"""Section of config.yaml by path of the search; a path stands before the paths that contain it."""


def read_config(path: Path) -> tuple[Search, Space]:
    """Read a config.yaml; the default of the returned space is the configuration to train.

    Raises:
        SpecError: the file is no config.yaml, or a value in it is wrong; paths are those of config.yaml.
    """
    value = read_mapping(path)
    missing = [name for name in _SECTIONS if name not in value]
    if missing:
        listed = ", ".join(missing)
        raise SpecError([FieldError(path=str(path), message=f"is no config.yaml of a search: it has no {listed}; autohas run writes one")])
    for name in _SECTIONS[:-1]:
        if not isinstance(value[name], dict):
            raise SpecError([FieldError(path=f"{path}: {name}", message="must be an object")])
    if not isinstance(value["model"].get("architecture", {}), dict):
        message = "must be an object that maps each decision to its choice; without the field, every decision has its default"
        raise SpecError([FieldError(path=f"{path}: model.architecture", message=message)])
    try:
        search = _with_steps(parse(_document(value)), value["recipe"].get("steps"))
        return search, resolve(search.spec)
    except SpecError as error:
        raise SpecError([FieldError(path=f"{path}: {_place(p.path)}", message=p.message) for p in error.field_errors]) from error


def _document(value: Mapping[str, Any]) -> dict[str, Any]:
    model, recipe = copy.deepcopy(dict(value["model"])), dict(value["recipe"])
    architecture = model.pop("architecture", {})
    steps, epochs = recipe.pop("steps", None), recipe.pop("epochs", None)
    if type(steps) is int and steps < 1:
        raise SpecError([FieldError(path="spec.training.steps", message=f"Invalid value: {steps}: must be at least 1")])
    decisions = [{"name": name, "choices": [choice], "default": choice} for name, choice in architecture.items()]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "retrain"},
        "spec": {
            "task": {**value["task"], **({"model": model} if model else {}), "recipe": recipe},
            "objective": value["objective"],
            "searchSpace": {
                "hyperparameters": value.get("hyperparameters", []),
                **({"architecture": {"decisions": decisions}} if model or decisions else {}),
            },
            "algorithm": {"seed": value["seed"]},
            "trainer": value.get("trainer", {}),
            "training": {
                **({"steps": max(steps, MIN_STEPS) if type(steps) is int else steps} if steps is not None else {}),
                **({"epochs": epochs} if epochs is not None else {}),
            },
        },
    }


def _with_steps(search: Search, steps: object) -> Search:
    """Restore a number of steps below the minimum of a search: with large batches few steps are many examples."""
    if type(steps) is not int or steps >= MIN_STEPS:
        return search
    training = search.spec.training.model_copy(
        update={"given_steps": steps}
    )  # not `replace`, which would refuse fewer steps than MIN_STEPS
    return search.replace(spec=search.spec.replace(training=training))


def _place(path: str) -> str:
    for place, section in _PLACES.items():
        if path == place or path.startswith((f"{place}.", f"{place}[")):
            return section + path.removeprefix(place)
    return path


def config_text(search: Search, space: Space, outcome: Outcome, data: DataIdentity | None = None) -> str:
    """Return the text of config.yaml: the winner in absolute values."""
    task = search.spec.task.to_json()
    active = [d.name for d in space.decisions if space.is_active(d, outcome.configuration)]
    record = {
        "task": {name: task[name] for name in ("data", "splits", "training") if name in task},
        "model": {
            **task.get("model", {}),
            "architecture": {n: v for n, v in _architecture(search, outcome).items() if n not in space_names(space) or n in active},
        },
        "recipe": {**outcome.recipe, **class_weights(search)},
        "objective": _objective(search),
        **_custom_hyperparameters(search, outcome),
        "seed": search.spec.algorithm.seed,
        "modelDigest": outcome.result.model_digest,
        "configurationDigest": outcome.result.configuration_digest,
        **_trainer(search),
        **({"dataDigest": data.digest} if data is not None else {}),
    }
    heading = (
        f"# Chosen by the search {search.metadata.name}: test {search.spec.objective.metric_name} {outcome.result.test_score:.4f}.\n"
        "# Everything needed to train it again; values are absolute, decimals are quoted. recipe.epochs may stand in place of"
        " recipe.steps.\n"
    )
    return heading + yaml_file.dump(record)


def class_weights(search: Search) -> dict[str, Any]:
    """What the recipe says of the weights of classes, which are not searched."""
    recipe = search.spec.task.recipe
    given = {} if recipe.weight_by_class is None else {"weightByClass": dict(recipe.weight_by_class)}
    return {"classWeights": recipe.class_weights, **given}


def _trainer(search: Search) -> dict[str, Any]:
    """What the search sets about its computation."""
    trainer = search.spec.trainer.to_json()
    chosen = {name: trainer[name] for name in _COMPUTE if name in trainer}
    return {"trainer": chosen} if chosen else {}


def _objective(search: Search) -> dict[str, Any]:
    """What the configuration was judged by; goal and cost belong to the search."""
    objective = search.spec.objective.to_json()
    return {name: objective[name] for name in ("metric", "customMetric") if name in objective}


def space_names(space: Space) -> set[str]:
    """Return the names of all decisions."""
    return {d.name for d in space.decisions}


def _custom_hyperparameters(search: Search, outcome: Outcome) -> dict[str, Any]:
    """Those of custom names, as the search declares them, with the chosen values as defaults; nothing when there are none."""
    declared = [h.to_json() for h in search.spec.search_space.hyperparameters if h.name not in KNOWN]
    chosen = [{**{k: v for k, v in h.items() if k != "when"}, "default": outcome.configuration[h["name"]]} for h in declared]
    return {"hyperparameters": chosen} if chosen else {}


def _architecture(search: Search, outcome: Outcome) -> dict[str, str]:
    hyperparameters = {h.name for h in search.spec.search_space.hyperparameters}
    return {name: value for name, value in outcome.configuration.items() if name not in hyperparameters}
