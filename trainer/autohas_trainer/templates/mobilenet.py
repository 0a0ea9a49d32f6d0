"""Template `mobilenet`: a stem, seven stages of MBConv blocks, a convolution of kernel 1, global average pooling, a linear head.

A block is a convolution of kernel 1 to `expansion` times its channels, a depthwise convolution, squeeze-and-excitation where the path has
it, and a convolution of kernel 1 to the stage's channels; its input is added where the shapes match. The blocks of the first stage do not
expand. Channels are those of EfficientNet-B0 times `width` / 8. The stem halves images of 64 px and more, not smaller ones. With width 8,
expansion 6, squeeze-and-excitation, silu and depths 1-2-2-3-3-4-1, the network for large images is EfficientNet-B0.

Sources: Sandler et al. 2018, "MobileNetV2"; Tan & Le 2019, "EfficientNet".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from autohas_trainer.nn import Choice, ElasticLinear, OneOf, Repeat, Size
from autohas_trainer.templates._base import Path
from autohas_trainer.templates.dropout import Dropout
from autohas_trainer.templates.layer_size import LayerSize, conv_norm, halve, linear
from autohas_trainer.templates.module_template import AveragePool, Choices, ConvNorm, ModuleTemplate, make_activation
from autohas_trainer.templates.step_cost import MOBILENET_STEP

__all__ = ["Mobilenet"]


@dataclass(frozen=True, slots=True)
class _Stage:
    """What no decision changes: channels in units of `width`, stride of the first block."""

    channels: int
    stride: int


_STAGES: Final = (_Stage(2, 1), _Stage(3, 2), _Stage(5, 2), _Stage(10, 2), _Stage(14, 1), _Stage(24, 2), _Stage(40, 1))
_STEM, _HEAD = 4, 160
"""Channels of the first and of the last convolution, in units of `width`."""
_SQUEEZE: Final = 4
"""Channels of a block's input over those between the two layers of squeeze-and-excitation."""


class _SqueezeExcite(nn.Module):
    """Scales each channel by a number in (0, 1) that follows from the means of all channels."""

    def __init__(self, channels: Size, squeezed: Size, choices: Choices) -> None:
        super().__init__()
        self.squeeze, self.activation = ElasticLinear(channels, squeezed), make_activation(choices)
        self.excite = ElasticLinear(squeezed, channels)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        scales_BC: Tensor = self.excite(self.activation(self.squeeze(features_BCHW.mean(dim=(2, 3))))).sigmoid()
        return features_BCHW * scales_BC[:, :, None, None]


class _Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, before: Size, after: Size, kernel: Choice, choices: Choices, *, stride: int, expands: bool, adds: bool) -> None:  # noqa: PLR0913 - what a block is
        super().__init__()
        decision = choices["squeeze_excite"]
        inner = before * choices["expansion"] if expands else before
        parts: dict[str, nn.Module] = {}
        if expands:
            parts |= {"expand": ConvNorm(before, inner, 1), "expand_activation": make_activation(choices)}
        parts |= {"depthwise": ConvNorm(inner, inner, kernel, stride=stride, groups=inner), "activation": make_activation(choices)}
        parts["excite"] = OneOf(
            decision.name,
            {"no": nn.Identity, "yes": lambda: _SqueezeExcite(inner, before // _SQUEEZE, choices)},
            default=decision.default,
        )
        parts["project"] = ConvNorm(inner, after, 1)
        self.body = nn.Sequential(OrderedDict(parts))
        self.adds = adds

    def forward(self, features_BCHW: Tensor) -> Tensor:
        outputs_BCHW: Tensor = self.body(features_BCHW)
        return features_BCHW + outputs_BCHW if self.adds else outputs_BCHW


class Mobilenet(ModuleTemplate):
    """The template; see `Template` for the contract."""

    name = "mobilenet"
    step_cost = MOBILENET_STEP

    def make(self, choices: Choices) -> nn.Module:
        """Return the network."""
        width = choices["width"]
        stem = ConvNorm(self.input_shape[0], width * _STEM, 3, stride=2 if self.is_large_image else 1)
        parts: dict[str, nn.Module] = {"stem": stem, "stem_activation": make_activation(choices)}
        for number in range(1, len(_STAGES) + 1):
            parts[f"stage{number}"] = _make_stage(number, choices)
        parts |= {"last": ConvNorm(width * _STAGES[-1].channels, width * _HEAD, 1), "last_activation": make_activation(choices)}
        parts |= {"pool": AveragePool(), "dropout": Dropout(), "head": ElasticLinear(width * _HEAD, self.num_outputs)}
        return nn.Sequential(OrderedDict(parts))

    def layers(self, path: Path) -> Iterator[LayerSize]:
        """Yield stem, blocks, last convolution and head."""
        width, before, size = int(path["width"]), _STEM * int(path["width"]), self.input_shape[1:]
        size = halve(size) if self.is_large_image else size
        yield from conv_norm(self.input_shape[0], before, 3, size)
        for number, stage in enumerate(_STAGES, start=1):
            kernel, after = int(path[f"stage{number}_kernel"]), stage.channels * width
            for block in range(int(path[f"stage{number}_depth"])):
                inner = before * int(path["expansion"]) if number > 1 else before
                if number > 1:
                    yield from conv_norm(before, inner, 1, size)
                size = halve(size) if stage.stride > 1 and block == 0 else size
                yield from conv_norm(inner, inner, kernel, size, groups=inner)
                if path["squeeze_excite"] == "yes":
                    yield from (linear(inner, before // _SQUEEZE), linear(before // _SQUEEZE, inner))
                yield from conv_norm(inner, after, 1, size)
                before = after
        yield from conv_norm(before, _HEAD * width, 1, size)
        yield linear(_HEAD * width, self.num_outputs)


def _make_stage(number: int, choices: Choices) -> Repeat:
    """Return the blocks of a stage, counted from 1."""
    depth, width, stage = choices[f"stage{number}_depth"], choices["width"], _STAGES[number - 1]
    before, after = width * (_STAGES[number - 2].channels if number > 1 else _STEM), width * stage.channels

    def make_block(index: int) -> _Block:
        is_first = index == 0
        return _Block(
            before if is_first else after,
            after,
            choices[f"stage{number}_kernel"],
            choices,
            stride=stage.stride if is_first else 1,
            expands=number > 1,
            adds=not is_first,
        )

    return Repeat(depth.name, make_block, choices=depth.choices, default=depth.default)
