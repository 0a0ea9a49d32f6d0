"""Template `mlp`: a fully connected network for tables, all hidden layers of one width.

A layer is a linear map, a normalisation, an activation and dropout; from the second on its input is added where `residual` is yes. Two
findings on tables shape it: residual layers (Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data") and numbers that
enter as sines and cosines of learned frequencies (Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning").
Words reach it as one input of 0 or 1 each, so that the first layer's weights of a word are its embedding, of `width` numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn

from autohas_trainer.nn import ElasticBatchNorm1d, ElasticLayerNorm, ElasticLinear, OneOf, Repeat, Size
from autohas_trainer.templates._base import Path
from autohas_trainer.templates.dropout import Dropout
from autohas_trainer.templates.layer_size import LayerSize, linear, norm
from autohas_trainer.templates.module_template import Choices, ModuleTemplate, make_activation
from autohas_trainer.templates.step_cost import MLP_STEP

__all__ = ["Mlp"]

_NUM_FREQUENCIES: Final = 16
_NUM_FEATURES: Final = 8
"""Of one number, after a linear map and an activation that all numbers share."""
_FREQUENCY_DEVIATION: Final = 0.3
"""Of first frequencies, in periods per standard deviation of the input."""


class _Shift(nn.Module):
    """No normalisation: adds a number to each feature, as a normalisation does."""

    def __init__(self, width: Size) -> None:
        super().__init__()
        self.width = width
        self.bias = nn.Parameter(torch.zeros(int(width)))

    def forward(self, features_BD: Tensor) -> Tensor:
        return features_BD + self.bias


class _Periodic(nn.Module):
    """Each number as sines and cosines, then as a few features."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.frequencies_DF = nn.Parameter(torch.empty(num_inputs, _NUM_FREQUENCIES))
        self.linear = nn.Linear(2 * _NUM_FREQUENCIES, _NUM_FEATURES)

    def forward(self, inputs_BD: Tensor) -> Tensor:
        """Return (B, D * features)."""
        angles_BDF = 2 * math.pi * inputs_BD[:, :, None] * self.frequencies_DF
        waves_BDF = torch.cat((angles_BDF.sin(), angles_BDF.cos()), dim=-1)
        return torch.relu(self.linear(waves_BDF)).flatten(1)


class _Layer(nn.Module):
    """One hidden layer; `linear` gives features of the decision `width`."""

    def __init__(self, linear_layer: nn.Module, choices: Choices, *, is_residual: bool) -> None:
        super().__init__()
        width, decision = choices["width"], choices["norm"]
        self.is_residual = is_residual
        self.linear = linear_layer
        self.norm = OneOf(
            decision.name,
            {
                "none": lambda: _Shift(width),
                "batch": lambda: ElasticBatchNorm1d(width),
                "layer": lambda: ElasticLayerNorm(width),
            },
            default=decision.default,
        )
        self.activation = make_activation(choices)
        self.dropout = Dropout()

    def forward(self, features_BD: Tensor) -> Tensor:
        outputs_BD: Tensor = self.dropout(self.activation(self.norm(self.linear(features_BD))))
        return features_BD + outputs_BD if self.is_residual else outputs_BD


class _Network(nn.Module):
    """Hidden layers and a linear head."""

    def __init__(self, num_inputs: int, num_outputs: int, choices: Choices) -> None:
        super().__init__()
        width, depth, numbers = choices["width"], choices["depth"], choices["numbers"]
        is_residual = choices["residual"].value == "yes"

        def make_layer(index: int) -> _Layer:
            if index > 0:
                return _Layer(ElasticLinear(width, width, bias=False), choices, is_residual=is_residual)
            first = OneOf(
                numbers.name,
                {
                    "plain": lambda: ElasticLinear(num_inputs, width, bias=False),
                    "periodic": lambda: nn.Sequential(_Periodic(num_inputs), ElasticLinear(num_inputs * _NUM_FEATURES, width, bias=False)),
                },
                default=numbers.default,
            )
            return _Layer(first, choices, is_residual=False)

        self.hidden = Repeat(depth.name, make_layer, choices=depth.choices, default=depth.default)
        self.head = ElasticLinear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        logits_BC: Tensor = self.head(self.hidden(inputs.flatten(1)))
        return logits_BC


class Mlp(ModuleTemplate):
    """The template; see `Template` for the contract."""

    name = "mlp"
    step_cost = MLP_STEP

    def make(self, choices: Choices) -> nn.Module:
        """Return the network; images are flattened."""
        return _Network(math.prod(self.input_shape), self.num_outputs, choices)

    def layers(self, path: Path) -> Iterator[LayerSize]:
        """Yield the input layer, with its embedding of numbers, the other hidden layers and the head."""
        before, width = math.prod(self.input_shape), int(path["width"])
        if path["numbers"] == "periodic":
            yield LayerSize(parameters=before * _NUM_FREQUENCIES, outputs=2 * before * _NUM_FREQUENCIES)
            yield linear(2 * _NUM_FREQUENCIES, _NUM_FEATURES, positions=before)
            before *= _NUM_FEATURES
        for _ in range(int(path["depth"])):
            yield linear(before, width, bias=False)
            yield LayerSize(parameters=width, outputs=width) if path["norm"] == "none" else norm(width)
            before = width
        yield linear(width, self.num_outputs)

    def deviation(self, name: str, fan_in: int) -> float:
        """Return the stated deviation for frequencies, else that of any template."""
        return _FREQUENCY_DEVIATION if name.endswith("frequencies_DF") else super().deviation(name, fan_in)
