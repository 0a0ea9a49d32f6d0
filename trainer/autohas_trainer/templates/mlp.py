"""Template `mlp`: a fully connected network for tables, all hidden layers of one width.

A layer is a linear map, a normalisation, an activation and dropout; from the second on its input is added where `residual` is yes. Two
findings on tables shape it: residual layers (Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data") and numbers that
enter as sines and cosines of learned frequencies (Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning").
Words reach it as one input of 0 or 1 each. A column of many words has an embedding, a few numbers for each word, which all paths share;
of few words, the first layer's weights are the embedding. A word that training never saw is 0 in all inputs, and so is its embedding: a row
of its own in the table would never be trained, since each word of the training file has one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from autohas_trainer.data.preprocessing import WordBlock
from autohas_trainer.nn import Choice, ElasticBatchNorm1d, ElasticLayerNorm, ElasticLinear, OneOf, Repeat, Size
from autohas_trainer.nn.choices import FollowsPath
from autohas_trainer.templates._base import Path, Shape
from autohas_trainer.templates.dropout import Dropout
from autohas_trainer.templates.layer_size import LayerSize, linear, norm
from autohas_trainer.templates.module_template import Choices, ModuleTemplate, make_activation
from autohas_trainer.templates.step_cost import MLP_STEP

__all__ = ["Mlp"]

_MOST_PLAIN_WORDS: Final = 16
"""Ours: words of a column up to which each is an input of the first layer."""
_NUM_FREQUENCIES: Final = 16
_NUM_FEATURES: Final = 8
"""Of one number, after a linear map and an activation that all numbers share."""
_FREQUENCY_DEVIATION: Final = 0.3
"""Of first frequencies, in periods per standard deviation of the input."""


class _Shift(nn.Module, FollowsPath):
    """No normalisation: adds a number to each feature, as a normalisation does."""

    def __init__(self, width: Size) -> None:
        super().__init__()
        self.width = width
        self.bias = nn.Parameter(torch.zeros(int(width)))

    def path_shapes(self) -> Mapping[str, Shape]:
        return {"bias": (int(self.width),)}

    def forward(self, features_BD: Tensor) -> Tensor:
        return features_BD + self.bias


class _Embedding(nn.Module):
    """A few numbers for each word of a column."""

    def __init__(self, block: WordBlock) -> None:
        super().__init__()
        self.block = block
        self.table = nn.Parameter(torch.empty(block.size, embedding_width(block.size)))

    def forward(self, inputs_BD: Tensor) -> Tensor:
        """Return (B, width): a product, so that the mixture of two words has the mixture of their embeddings."""
        return inputs_BD[:, self.block.start : self.block.start + self.block.size] @ self.table


class _Words(nn.Module):
    """All other inputs, then the embeddings."""

    def __init__(self, blocks: Sequence[WordBlock], num_inputs: int) -> None:
        super().__init__()
        ends = [0, *(block.start + block.size for block in blocks)]
        starts = [*(block.start for block in blocks), num_inputs]
        self.kept = [slice(end, start) for end, start in zip(ends, starts, strict=True) if start > end]
        self.columns = nn.ModuleList(_Embedding(block) for block in blocks)

    def forward(self, inputs_BD: Tensor) -> Tensor:
        """Return (B, other inputs + widths)."""
        return torch.cat([*(inputs_BD[:, part] for part in self.kept), *(column(inputs_BD) for column in self.columns)], dim=1)


class _Periodic(nn.Module):
    """Each number as sines and cosines, then as a few features; embeddings, which come after the numbers, stay as they are."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.frequencies_DF = nn.Parameter(torch.empty(num_inputs, _NUM_FREQUENCIES))
        self.linear = nn.Linear(2 * _NUM_FREQUENCIES, _NUM_FEATURES)

    def forward(self, inputs_BD: Tensor) -> Tensor:
        """Return (B, D * features, and the embeddings)."""
        num_numbers = len(self.frequencies_DF)
        angles_BDF = 2 * math.pi * inputs_BD[:, :num_numbers, None] * self.frequencies_DF
        waves_BDF = torch.cat((angles_BDF.sin(), angles_BDF.cos()), dim=-1)
        features_BF = torch.relu(self.linear(waves_BDF)).flatten(1)
        return features_BF if inputs_BD.shape[1] == num_numbers else torch.cat((features_BF, inputs_BD[:, num_numbers:]), dim=1)


class _Layer(nn.Module, FollowsPath):
    """One hidden layer; `linear` gives features of the decision `width`. Without decision `residual` its input is not added."""

    def __init__(self, linear_layer: nn.Module, choices: Choices, residual: Choice | None) -> None:
        super().__init__()
        width, decision = choices["width"], choices["norm"]
        self.residual = residual
        self.is_residual = self._adds_input()
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

    def _adds_input(self) -> bool:
        return self.residual is not None and self.residual.value == "yes"

    def path_attributes(self) -> Mapping[str, object]:
        return {"is_residual": self._adds_input()}

    def forward(self, features_BD: Tensor) -> Tensor:
        outputs_BD: Tensor = self.dropout(self.activation(self.norm(self.linear(features_BD))))
        return features_BD + outputs_BD if self.is_residual else outputs_BD


class _Network(nn.Module):
    """Hidden layers and a linear head."""

    def __init__(self, num_inputs: int, num_outputs: int, choices: Choices, blocks: Sequence[WordBlock]) -> None:
        super().__init__()
        self.words = _Words(blocks, num_inputs) if blocks else None
        num_numbers, num_embedded = count_inputs(num_inputs, blocks)
        width, depth, numbers = choices["width"], choices["depth"], choices["numbers"]

        def make_layer(index: int) -> _Layer:
            if index > 0:
                return _Layer(ElasticLinear(width, width, bias=False), choices, choices["residual"])
            first = OneOf(
                numbers.name,
                {
                    "plain": lambda: ElasticLinear(num_numbers + num_embedded, width, bias=False),
                    "periodic": lambda: _make_periodic(num_numbers, num_embedded, width),
                },
                default=numbers.default,
            )
            return _Layer(first, choices, None)

        self.hidden = Repeat(depth.name, make_layer, choices=depth.choices, default=depth.default)
        self.head = ElasticLinear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        inputs_BD = inputs.flatten(1)
        logits_BC: Tensor = self.head(self.hidden(inputs_BD if self.words is None else self.words(inputs_BD)))
        return logits_BC


def _make_periodic(num_numbers: int, num_embedded: int, width: Size) -> nn.Module:
    """The first linear map over periodic features; where all inputs are embedded there is no number to make them of."""
    linear_layer = ElasticLinear(num_numbers * _NUM_FEATURES + num_embedded, width, bias=False)
    return nn.Sequential(_Periodic(num_numbers), linear_layer) if num_numbers else linear_layer


def embedding_width(num_words: int) -> int:
    """The numbers of an embedding. Source: fastai's rule for tables, `emb_sz_rule`."""
    return min(600, round(1.6 * math.pow(num_words, 0.56)))


def count_inputs(num_inputs: int, blocks: Sequence[WordBlock]) -> tuple[int, int]:
    """Return the inputs that are no words of an embedding, and the numbers of all embeddings."""
    return num_inputs - sum(block.size for block in blocks), sum(embedding_width(block.size) for block in blocks)


class Mlp(ModuleTemplate):
    """The template; see `Template` for the contract."""

    name = "mlp"
    step_cost = MLP_STEP

    def __init__(self, input_shape: Shape, num_outputs: int, words: Sequence[WordBlock] = ()) -> None:
        """As any template; of `words`, the columns of words among the inputs, those of many words are embedded."""
        self._blocks = tuple(block for block in words if block.size > _MOST_PLAIN_WORDS)
        super().__init__(input_shape, num_outputs)

    def make(self, choices: Choices) -> nn.Module:
        """Return the network; images are flattened."""
        return _Network(math.prod(self.input_shape), self.num_outputs, choices, self._blocks)

    def layers(self, path: Path) -> Iterator[LayerSize]:
        """Yield the embeddings of words and numbers, the input layer, the other hidden layers and the head."""
        width = int(path["width"])
        before, num_embedded = count_inputs(math.prod(self.input_shape), self._blocks)
        for block in self._blocks:
            yield linear(block.size, embedding_width(block.size), bias=False)
        if path["numbers"] == "periodic" and before:
            yield LayerSize(parameters=before * _NUM_FREQUENCIES, outputs=2 * before * _NUM_FREQUENCIES)
            yield linear(2 * _NUM_FREQUENCIES, _NUM_FEATURES, positions=before)
            before *= _NUM_FEATURES
        before += num_embedded
        for _ in range(int(path["depth"])):
            yield linear(before, width, bias=False)
            yield LayerSize(parameters=width, outputs=width) if path["norm"] == "none" else norm(width)
            before = width
        yield linear(width, self.num_outputs)

    def deviation(self, name: str, fan_in: int) -> float:
        """Return the stated deviation for frequencies, one that gives embeddings a length of about 1, else that of any template."""
        if name.endswith("table"):
            return 1 / math.sqrt(fan_in)
        return _FREQUENCY_DEVIATION if name.endswith("frequencies_DF") else super().deviation(name, fan_in)
