"""The searches that are measured: every strategy on one template, every template under one strategy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages import build_stages
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.reporting.sinks.null import NullSink

__all__ = ["DIGITS", "STEPS", "STRATEGIES", "TEMPLATES", "Size", "begin_supernet", "document_of", "load_task"]

STRATEGIES: Final[dict[str, dict[str, Any]]] = {
    "RandomSharing": {"name": "RandomSharing"},
    "AutoHAS Lanes": {"autoHAS": {"strategy": "Lanes"}},
    "AutoHAS OneStep": {"autoHAS": {"strategy": "OneStep"}},
    "AutoHAS OneStep, sharedUpdate Sampled": {"autoHAS": {"strategy": "OneStep", "sharedUpdate": "Sampled"}},
    "AutoHAS OneStep, temporaryBatch Own": {"autoHAS": {"strategy": "OneStep", "temporaryBatch": "Own"}},
    "AutoHAS Paired": {"autoHAS": {"strategy": "Paired"}},
}
DIGITS: Final = {"data": {"name": "digits", "arguments": {"variant": "shifted"}}}
_RATE: Final = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1", "scale": "Log", "numBases": 7}}
_SMALL_RATE: Final = {"name": "learning_rate", "continuous": {"min": "0.0003", "max": "0.01", "scale": "Log", "numBases": 3}}
_OPTIMIZER: Final = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam", "rmsprop"]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of a template is measured: its steps take from 0.5 to 250 ms.

    Attributes:
        pairs: Steps of its supernet, spread evenly over the stage.
        blocks: Pairs of a lane and a plain loop, 16 steps each.
    """

    pairs: int
    blocks: int


TEMPLATES: Final = {
    "mlp-small": Size(pairs=200, blocks=24),
    "mlp": Size(pairs=200, blocks=24),
    "conv-small": Size(pairs=120, blocks=16),
    "transformer": Size(pairs=40, blocks=6),
    "cell": Size(pairs=40, blocks=6),
    "resnet": Size(pairs=20, blocks=4),
    "mobilenet": Size(pairs=20, blocks=4),
}
STEPS: Final = 200
"""training.steps of the searches; their supernets have a few times as many."""


def document_of(
    algorithm: Mapping[str, Any],
    *,
    steps: int = STEPS,
    template: str = "conv-small",
    task: Mapping[str, Any] = DIGITS,
    metric: str = "accuracy",
    has_optimizers: bool = False,
) -> dict[str, Any]:
    """A search, on shifted digits by default, of training.steps `steps`."""
    rate = _RATE if template in ("conv-small", "mlp-small") else _SMALL_RATE
    optimizers = [{**rate, "rateFactors": {"adam": "0.01", "rmsprop": "0.01"}}, _OPTIMIZER]
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {**task, "model": {"template": template}},
            "objective": {"metric": metric},
            "searchSpace": {"hyperparameters": optimizers if has_optimizers else [rate], "architecture": {}},
            "algorithm": dict(algorithm),
            "budget": {"trainings": "6"},
            "training": {"steps": steps},
        },
    }


def load_task(document: Mapping[str, Any]) -> SearchTask:
    """The task of a search on the CPU."""
    parsed, space = accept(dict(document))
    return SearchTask.load(parsed.spec, space, torch.device("cpu"))


def begin_supernet(document: Mapping[str, Any]) -> SearchState:
    """A fresh search state whose supernet knows its steps and whose events are dropped."""
    state = SearchState(load_task(document), NullSink(), Ledger(0, time.monotonic), time.time)
    next(stage for stage in build_stages(state) if stage.name.value in ("Warmup", "Supernet")).begin()
    return state
