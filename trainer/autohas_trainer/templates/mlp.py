"""Template `mlp`: flattened inputs, one to three hidden layers, a linear head; no normalisation.

Widths cut leading units, so a narrow layer is a corner of the wide one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from autohas_api.templates import TEMPLATES, TemplateDecision
from autohas_trainer.seeding import Key
from autohas_trainer.templates._base import (
    ACTIVATIONS,
    Index,
    Path,
    Shape,
    default_path,
    initial_leaves,
    leading,
    materialised,
)

__all__ = ["Mlp"]

_DECISIONS: Final = TEMPLATES["mlp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A path, read: widths of the active hidden layers, first to last."""

    widths: tuple[int, ...]
    activation: str


def _read(path: Path) -> _Plan:
    depth = int(path["depth"])
    return _Plan(
        widths=tuple(int(path[f"width_{layer}"]) for layer in range(1, depth + 1)),
        activation=path["activation"],
    )


class _Network(nn.Module):
    """The stand-alone network of one plan."""

    def __init__(self, plan: _Plan, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        widths = (num_inputs, *plan.widths)
        self._activation = ACTIVATIONS[plan.activation]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        features_BD = inputs_BCHW.flatten(1)
        for layer in self.hidden:
            features_BD = self._activation(layer(features_BD))
        logits_BC: Tensor = self.head(features_BD)
        return logits_BC


class Mlp:
    """The template; see `Template` for the contract."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        """Fix what no decision changes: the number of inputs and of classes."""
        self._num_inputs = math.prod(input_shape)
        self._num_classes = num_classes

    @property
    def decisions(self) -> tuple[TemplateDecision, ...]:
        """The decisions of a path."""
        return _DECISIONS

    def _shapes(self, path: Path) -> dict[str, Shape]:
        """Return the shape of every leaf: weights (after, before), biases (after,)."""
        widths = (self._num_inputs, *_read(path).widths)
        shapes: dict[str, Shape] = {}
        for layer, (before, after) in enumerate(pairwise(widths)):
            shapes[f"hidden.{layer}.weight"] = (after, before)
            shapes[f"hidden.{layer}.bias"] = (after,)
        shapes["head.weight"] = (self._num_classes, widths[-1])
        shapes["head.bias"] = (self._num_classes,)
        return shapes

    def shared(self, rng_key: Key) -> dict[str, Tensor]:
        """Return the tensors of the deepest and widest network; the head takes the widest last layer."""
        widest = default_path(_DECISIONS)
        for decision in _DECISIONS:
            if decision.name == "depth" or decision.name.startswith("width_"):
                widest[decision.name] = max(decision.choices, key=int)
        return initial_leaves(self._shapes(widest), rng_key)

    def slices(self, path: Path) -> dict[str, Index]:
        """Return the leading corners that `path` uses."""
        return leading(self._shapes(path))

    def forward(self, inputs_BCHW: Tensor, path: Path, leaves: Mapping[str, Tensor]) -> Tensor:
        """Return logits_BC, float32, of the network `path` with weights `leaves`."""
        plan = _read(path)
        activation = ACTIVATIONS[plan.activation]
        features_BD = inputs_BCHW.flatten(1)
        for layer in range(len(plan.widths)):
            features_BD = functional.linear(features_BD, leaves[f"hidden.{layer}.weight"], leaves[f"hidden.{layer}.bias"])
            features_BD = activation(features_BD)
        return functional.linear(features_BD, leaves["head.weight"], leaves["head.bias"])

    def build(self, path: Path, rng_key: Key) -> nn.Module:
        """Return the stand-alone network with its own He initialisation."""
        with torch.device("meta"):
            network = _Network(_read(path), self._num_inputs, self._num_classes)
        return materialised(network, initial_leaves(self._shapes(path), rng_key))

    def num_parameters(self, path: Path) -> int:
        """Return the sum of the leaves' sizes."""
        return sum(map(math.prod, self._shapes(path).values()))
