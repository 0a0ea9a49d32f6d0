"""Searches of own models, data and hyperparameters, made of what `own_code_fixtures` holds."""

from __future__ import annotations

from typing import Any

import torch
from engine_fixtures import small_search

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import changed
from autohas_trainer.engine.training.search_task import Problem

OWN = "own_code_fixtures"
DECISIONS = [
    {"name": "inputs", "choices": ["4", "8"], "default": "8"},
    {"name": "shift", "choices": ["no", "yes"], "default": "no", "when": {"decision": "inputs", "values": ["8"]}},
]
NOISE = {"name": "noise", "continuous": {"min": "0", "max": "3", "numBases": 4}, "default": "1"}


def own_search(model: str = "Linear", data: str = "Data", **arguments: str) -> dict[str, Any]:
    """The small search on own data with an own model."""
    document = changed(small_search(), "spec.task.data", {"entrypoint": f"{OWN}:{data}", "arguments": arguments})
    document = changed(document, "spec.task.model", {"entrypoint": f"{OWN}:{model}"})
    if model in ("Plain", "Tokens", "Faulty"):
        return changed(document, "spec.searchSpace.architecture")
    return changed(document, "spec.searchSpace.architecture", {"decisions": DECISIONS})


def searched(model: str, *hyperparameters: dict[str, Any], data: str = "Noisy", **arguments: str) -> dict[str, Any]:
    """A search of own hyperparameters."""
    document = changed(own_search(model, data, **arguments), "spec.searchSpace.hyperparameters", list(hyperparameters))
    return document if model == "Linear" else changed(document, "spec.searchSpace", {"hyperparameters": list(hyperparameters)})


def loaded(document: dict[str, Any]) -> Problem:
    """The task of a search, read on the CPU."""
    parsed, space = accept(document)
    return Problem.load(parsed.spec, space, torch.device("cpu"))
