"""Template `transformer`: tokens in, the next token at each position out, or image patches in, classes out.

A layer is causal self-attention (over all patches for images) and two linear maps with an activation between them, each with its input
added; normalisation stands before both (`pre`) or after the sum (`post`). A head has 32 features whatever the width. Patches are squares
whose side is the least power of two that gives at most 64 of them (196 from 64 px on); images are padded to whole patches.

Sources: Vaswani et al. 2017, "Attention Is All You Need"; Radford et al. 2019 (GPT-2) for first weights and the place of normalisation;
Dosovitskiy et al. 2021 (ViT) for patches, with the mean over positions before the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from autohas_trainer.nn import ElasticAttention, ElasticConv2d, ElasticLayerNorm, ElasticLinear, ElasticMLP, OneOf, Repeat, Size
from autohas_trainer.templates._base import Path
from autohas_trainer.templates.dropout import Dropout
from autohas_trainer.templates.layer_size import LayerSize, linear, norm, products
from autohas_trainer.templates.module_template import Choices, ModuleTemplate, make_activation
from autohas_trainer.templates.step_cost import TRANSFORMER_STEP

__all__ = ["Transformer"]

_HEAD_FEATURES: Final = 32
_MAX_PATCHES, _MAX_PATCHES_LARGE = 64, 196
_LARGE_IMAGE_PX: Final = 64
_IMAGE_DIMENSIONS: Final = 3
_PATCH_POSITION_DEVIATION: Final = 0.5
"""Ours: patches of normalised pixels have features of deviation 1, next to which positions of 0.02 are not seen for hundreds of steps."""
_RESIDUAL_GAIN: Final = 0.5
"""Of the last weights of each sum, so that features grow slowly with depth."""


class _Table(nn.Module):
    """A vector of `width` features for each of `rows` indices."""

    def __init__(self, rows: int, width: Size) -> None:
        super().__init__()
        self.width = width
        self.table = nn.Parameter(torch.empty(rows, int(width)))


class _Tokens(_Table):
    """Looks tokens up."""

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return functional.embedding(tokens_BT, self.table)


class _Positions(_Table):
    """Adds a vector that each position has."""

    def forward(self, features_BTD: Tensor) -> Tensor:
        return features_BTD + self.table[: features_BTD.shape[1]]


class _Patches(nn.Module):
    """Cuts images into squares and maps each to `width` features."""

    def __init__(self, channels: int, width: Size, side: int) -> None:
        super().__init__()
        self.side = side
        self.project = ElasticConv2d(channels, width, side, stride=side, padding=0)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return (B, T, D)."""
        bottom, right = (-length % self.side for length in images_BCHW.shape[2:])
        features_BTD: Tensor = self.project(functional.pad(images_BCHW, (0, right, 0, bottom))).flatten(2).transpose(1, 2)
        return features_BTD


class _Layer(nn.Module):
    """Attention and two linear maps."""

    def __init__(self, choices: Choices, length: int, *, is_causal: bool) -> None:
        super().__init__()
        width = choices["width"]
        self.is_pre = choices["norm"].value == "pre"
        rotary_length = length if choices["positions"].value == "rotary" else None
        self.attention_norm = ElasticLayerNorm(width)
        self.attention = ElasticAttention(width, choices["heads"], _HEAD_FEATURES, is_causal=is_causal, rotary_length=rotary_length)
        self.mlp_norm = ElasticLayerNorm(width)
        self.mlp = ElasticMLP(width, width * choices["expansion"], activation=lambda: make_activation(choices))
        self.attention_dropout, self.mlp_dropout = Dropout(), Dropout()

    def forward(self, features_BTD: Tensor) -> Tensor:
        if self.is_pre:
            summed_BTD: Tensor = features_BTD + self.attention_dropout(self.attention(self.attention_norm(features_BTD)))
            outputs_BTD: Tensor = summed_BTD + self.mlp_dropout(self.mlp(self.mlp_norm(summed_BTD)))
        else:
            summed_BTD = self.attention_norm(features_BTD + self.attention_dropout(self.attention(features_BTD)))
            outputs_BTD = self.mlp_norm(summed_BTD + self.mlp_dropout(self.mlp(summed_BTD)))
        return outputs_BTD


class _Network(nn.Module):
    """Embedding, layers, normalisation, head."""

    def __init__(self, embedding: nn.Module, length: int, num_outputs: int, choices: Choices, *, is_causal: bool) -> None:
        super().__init__()
        width, depth, positions, place = (choices[name] for name in ("width", "depth", "positions", "norm"))
        self.is_causal = is_causal
        self.embedding = embedding
        self.positions = OneOf(
            positions.name, {"learned": lambda: _Positions(length, width), "rotary": nn.Identity}, default=positions.default
        )
        self.dropout = Dropout()
        self.layers = Repeat(
            depth.name, lambda _: _Layer(choices, length, is_causal=is_causal), choices=depth.choices, default=depth.default
        )
        self.norm = OneOf(place.name, {"pre": lambda: ElasticLayerNorm(width), "post": nn.Identity}, default=place.default)
        self.head = ElasticLinear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (B, T, K) for tokens (B, T), (B, K) for images."""
        features_BTD = self.norm(self.layers(self.dropout(self.positions(self.embedding(inputs)))))
        outputs: Tensor = self.head(features_BTD if self.is_causal else features_BTD.mean(dim=1))
        return outputs


class Transformer(ModuleTemplate):
    """The template; see `Template` for the contract."""

    name = "transformer"
    step_cost = TRANSFORMER_STEP
    gain = 1.0
    is_switched = False  # attention has buffers for rotary positions only, and the whole network stands at learned ones

    @property
    def _has_images(self) -> bool:
        return len(self.input_shape) == _IMAGE_DIMENSIONS

    @property
    def _patch_side(self) -> int:
        sizes = self.input_shape[1:]
        most = _MAX_PATCHES_LARGE if min(sizes) >= _LARGE_IMAGE_PX else _MAX_PATCHES
        side = 2
        while math.prod(-(-size // side) for size in sizes) > most:
            side *= 2
        return side

    @property
    def _length(self) -> int:
        """Positions of one example."""
        return math.prod(-(-size // self._patch_side) for size in self.input_shape[1:]) if self._has_images else self.input_shape[0]

    def make(self, choices: Choices) -> nn.Module:
        """Return the network; the number of outputs is the size of the vocabulary where inputs are tokens."""
        width = choices["width"]
        embedding = _Patches(self.input_shape[0], width, self._patch_side) if self._has_images else _Tokens(self.num_outputs, width)
        return _Network(embedding, self._length, self.num_outputs, choices, is_causal=not self._has_images)

    def layers(self, path: Path) -> Iterator[LayerSize]:
        """Yield embedding, layers and head; a causal attention counts the products that it masks, too."""
        width, inner, length = int(path["width"]), int(path["heads"]) * _HEAD_FEATURES, self._length
        if self._has_images:
            yield linear(self.input_shape[0] * self._patch_side**2, width, positions=length)
        else:
            yield LayerSize(parameters=self.num_outputs * width, outputs=width * length)
        if path["positions"] == "learned":
            yield LayerSize(parameters=length * width, outputs=width * length)
        for _ in range(int(path["depth"])):
            yield from (norm(width, length), *(linear(width, inner, positions=length) for _ in range(3)))
            yield from (products(length, inner, length), products(length, length, inner), linear(inner, width, positions=length))
            hidden = width * int(path["expansion"])
            yield from (norm(width, length), linear(width, hidden, positions=length), linear(hidden, width, positions=length))
        if path["norm"] == "pre":
            yield norm(width, length)
        yield linear(width, self.num_outputs, positions=1 if self._has_images else length)

    def deviation(self, name: str, fan_in: int) -> float:
        """Return that of any template, less for the last weights of a sum, more for positions next to patches."""
        if name.startswith("positions") and self._has_images:
            return _PATCH_POSITION_DEVIATION
        is_last = name.endswith(("attention.output.weight", "mlp.last.weight"))
        return super().deviation(name, fan_in) * (_RESIDUAL_GAIN if is_last else 1.0)
