"""Template `mlp-small`: flattened inputs, one to three hidden layers (linear, normalisation, activation), a linear head.

Widths cut leading units, so a narrow layer is a corner of the wide one. Ours: layers are normalised, because a corner's inputs are
fewer than the wide layer was initialised for, and because without it a peak rate of 0.3 fails (digits, 300 steps: 0.39 and 0.94; with
it 0.98 twice).
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

from autohas_api.templates.table import TEMPLATES
from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.seeding import Key
from autohas_trainer.templates._base import (
    ACTIVATIONS,
    NORM_EPSILON,
    Index,
    Path,
    Shape,
    cut_leading,
    default_path,
    initial_leaves,
    materialise,
    normalise,
)
from autohas_trainer.templates.dropout import Dropout
from autohas_trainer.templates.step_cost import MLP_SMALL_STEP, NetworkSize

__all__ = ["MlpSmall"]

_DECISIONS: Final = TEMPLATES["mlp-small"].decisions


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


class _Layer(nn.Module):
    """The stand-alone form of one hidden layer."""

    def __init__(self, before: int, after: int, activation: str) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[activation]
        self.linear = nn.Linear(before, after, bias=False)
        self.norm = nn.BatchNorm1d(after, eps=NORM_EPSILON)
        self.dropout = Dropout()

    def forward(self, features_BD: Tensor) -> Tensor:
        outputs_BD: Tensor = self.dropout(self._activation(self.norm(self.linear(features_BD))))
        return outputs_BD


class _Network(nn.Module):
    """The stand-alone network of one plan; its parameters are named as the leaves."""

    def __init__(self, plan: _Plan, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        widths = (num_inputs, *plan.widths)
        self.hidden = nn.Sequential(*(_Layer(before, after, plan.activation) for before, after in pairwise(widths)))
        self.head = nn.Linear(widths[-1], num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        logits_BC: Tensor = self.head(self.hidden(inputs.flatten(1)))
        return logits_BC


class MlpSmall:
    """The template; see `Template` for the contract."""

    step_cost = MLP_SMALL_STEP

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        """Fix what no decision changes: the number of inputs and of outputs."""
        self._num_inputs = math.prod(input_shape)
        self._num_outputs = num_outputs

    @property
    def decisions(self) -> tuple[TemplateDecision, ...]:
        """The decisions of a path."""
        return _DECISIONS

    def _shapes(self, path: Path) -> dict[str, Shape]:
        """Return the shape of every leaf: weights (after, before), vectors (after,)."""
        widths = (self._num_inputs, *_read(path).widths)
        shapes: dict[str, Shape] = {}
        for layer, (before, after) in enumerate(pairwise(widths)):
            shapes[f"hidden.{layer}.linear.weight"] = (after, before)
            shapes[f"hidden.{layer}.norm.weight"] = shapes[f"hidden.{layer}.norm.bias"] = (after,)
        shapes["head.weight"] = (self._num_outputs, widths[-1])
        shapes["head.bias"] = (self._num_outputs,)
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
        return cut_leading(self._shapes(path))

    def forward(self, inputs: Tensor, path: Path, leaves: Mapping[str, Tensor]) -> Tensor:
        """Return logits_BC, of the network `path` with weights `leaves`, normalised by batch statistics."""
        plan = _read(path)
        activation = ACTIVATIONS[plan.activation]
        features_BD = inputs.flatten(1)
        for layer in range(len(plan.widths)):
            features_BD = functional.linear(features_BD, leaves[f"hidden.{layer}.linear.weight"])
            features_BD = activation(normalise(features_BD, leaves, f"hidden.{layer}.norm"))
        return functional.linear(features_BD, leaves["head.weight"], leaves["head.bias"])

    def build(self, path: Path, rng_key: Key) -> nn.Module:
        """Return the stand-alone network with its own He initialisation and ordinary normalisation."""
        with torch.device("meta"):
            network = _Network(_read(path), self._num_inputs, self._num_outputs)
        return materialise(network, initial_leaves(self._shapes(path), rng_key))

    def num_macs(self, path: Path) -> int:
        """Return inputs times outputs, summed over the linear layers."""
        widths = (self._num_inputs, *_read(path).widths, self._num_outputs)
        return sum(before * after for before, after in pairwise(widths))

    def size(self, path: Path) -> NetworkSize:
        """Return what the cost of a step depends on: a hidden layer is a product and a normalisation, the head a product."""
        widths = _read(path).widths
        return NetworkSize(macs=self.num_macs(path), num_layers=2 * len(widths) + 1, num_activations=2 * sum(widths) + self._num_outputs)

    def num_parameters(self, path: Path) -> int:
        """Return the sum of the leaves' sizes."""
        return sum(map(math.prod, self._shapes(path).values()))
