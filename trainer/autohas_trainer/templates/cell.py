"""Template `cell`: the networks of NAS-Bench-201, whose cell of four nodes every stage repeats.

A stem, three stages of `cells` cells with `width`, 2 and 4 times `width` channels, before stages 2 and 3 a residual block that halves the
image, normalisation, global average pooling, a linear head. A node is the sum over all earlier nodes of one operation each: nothing, the
node itself, a convolution of kernel 1 or 3 (activation, convolution, normalisation) or average pooling of 3x3. With 5 cells of 16 channels
on 32x32x3 inputs these are the networks of the paper, with 0.073 to 1.53 million parameters and 7.8 to 220 million multiply-accumulates.

Source: Dong & Yang 2020, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search".
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from torch import Tensor, nn

from autohas_trainer.nn import ElasticBatchNorm2d, ElasticConv2d, ElasticLinear, OneOf, Repeat, Size
from autohas_trainer.templates._base import Path
from autohas_trainer.templates.dropout import Dropout
from autohas_trainer.templates.layer_size import LayerSize, conv_norm, convolution, halve, linear, norm
from autohas_trainer.templates.module_template import AveragePool, Choices, ModuleTemplate
from autohas_trainer.templates.step_cost import CELL_STEP

__all__ = ["Cell"]

_EDGES: Final = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
_KERNELS: Final = {"conv1": 1, "conv3": 3}


class _Nothing(nn.Module):
    """The operation `none`. A product, so that what lies before it has a gradient, of 0."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return features_BCHW * 0


def _convolve(before: Size, after: Size, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return activation, convolution and normalisation, in this order."""
    conv = ElasticConv2d(before, after, kernel, stride=stride, bias=False)
    return nn.Sequential(OrderedDict(activation=nn.ReLU(), conv=conv, norm=ElasticBatchNorm2d(after)))


class _Cell(nn.Module):
    """Four nodes; the first is the input, the last the output."""

    def __init__(self, width: Size, choices: Choices) -> None:
        super().__init__()
        for source, target in _EDGES:
            decision = choices[f"edge_{source}_{target}"]
            operations: dict[str, Callable[[], nn.Module]] = {
                "none": _Nothing,
                "skip": nn.Identity,
                "conv1": lambda: _convolve(width, width, 1),
                "conv3": lambda: _convolve(width, width, 3),
                "pool3": lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            }
            self.add_module(decision.name, OneOf(decision.name, operations, default=decision.default))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        nodes = [features_BCHW]
        for target in (1, 2, 3):
            terms = [self.get_submodule(f"edge_{source}_{target}")(nodes[source]) for source in range(target)]
            nodes.append(sum(terms[1:], start=terms[0]))
        return nodes[-1]


class _Reduction(nn.Module):
    """The residual block between two stages."""

    def __init__(self, before: Size, after: Size) -> None:
        super().__init__()
        self.first, self.second = _convolve(before, after, 3, stride=2), _convolve(after, after, 3)
        self.shortcut = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2, ceil_mode=True), conv=ElasticConv2d(before, after, 1, bias=False)))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        outputs_BCHW: Tensor = self.shortcut(features_BCHW) + self.second(self.first(features_BCHW))
        return outputs_BCHW


class Cell(ModuleTemplate):
    """The template; see `Template` for the contract."""

    name = "cell"
    step_cost = CELL_STEP

    def make(self, choices: Choices) -> nn.Module:
        """Return the network."""
        width, cells = choices["width"], choices["cells"]
        parts: dict[str, nn.Module] = {
            "stem": ElasticConv2d(self.input_shape[0], width, 3, bias=False),
            "stem_norm": ElasticBatchNorm2d(width),
        }
        for stage in (1, 2, 3):
            channels = width * 2 ** (stage - 1)
            if stage > 1:
                parts[f"reduction{stage}"] = _Reduction(width * 2 ** (stage - 2), channels)
            parts[f"stage{stage}"] = Repeat(cells.name, _cells_of(channels, choices), choices=cells.choices, default=cells.default)
        parts |= {"last_norm": ElasticBatchNorm2d(width * 4), "activation": nn.ReLU(), "pool": AveragePool()}
        return nn.Sequential(OrderedDict(parts, dropout=Dropout(), head=ElasticLinear(width * 4, self.num_outputs)))

    def layers(self, path: Path) -> Iterator[LayerSize]:
        """Yield stem, cells, the residual blocks between stages, and the head."""
        width, size = int(path["width"]), self.input_shape[1:]
        yield from conv_norm(self.input_shape[0], width, 3, size)
        kernels = [_KERNELS[path[f"edge_{source}_{target}"]] for source, target in _EDGES if path[f"edge_{source}_{target}"] in _KERNELS]
        for stage in (1, 2, 3):
            channels = width * 2 ** (stage - 1)
            if stage > 1:
                size = halve(size)
                yield from (*conv_norm(channels // 2, channels, 3, size), *conv_norm(channels, channels, 3, size))
                yield convolution(channels // 2, channels, 1, math.prod(size))
            for kernel in kernels * int(path["cells"]):
                yield from conv_norm(channels, channels, kernel, size)
        yield norm(channels, math.prod(size))
        yield linear(channels, self.num_outputs)


def _cells_of(width: Size, choices: Choices) -> Callable[[int], _Cell]:
    return lambda _: _Cell(width, choices)
