"""Template `resnet`: a stem, four stages of basic or bottleneck blocks, global average pooling, a linear head.

Stage s gives `width` * 2^(s-1) channels, four times as many with bottlenecks; stages 2 to 4 halve the image in their first block, in its
spatial convolution. Images of 64 px and more get a stem of kernel 7 that divides the size by 4, smaller ones a stem of kernel 3 at full
size. With width 64, kernels of 3 and depths 2-2-2-2 or 3-4-6-3, the networks for large images are torchvision's ResNet-18, 34 and 50.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from typing import Final

from torch import Tensor, nn

from autohas_trainer.nn import Choice, ElasticLinear, OneOf, Repeat, Size
from autohas_trainer.templates._base import Path
from autohas_trainer.templates.dropout import Dropout
from autohas_trainer.templates.layer_size import LayerSize, conv_norm, halve, linear
from autohas_trainer.templates.module_template import Choices, ConvNorm, ModuleTemplate, make_activation
from autohas_trainer.templates.step_cost import RESNET_STEP

__all__ = ["Resnet"]

_STAGES: Final = (1, 2, 3, 4)
_EXPANSIONS: Final = {"basic": 1, "bottleneck": 4}
_KERNEL: Final = 3
"""Of the stages that do not decide on it."""


class _Block(nn.Module):
    """Two convolutions, or a bottleneck of three, around which the input is added."""

    def __init__(  # noqa: PLR0913 - what a block is
        self, kind: str, before: Size, width: Size, *, kernel: Choice | int, choices: Choices, stride: int, is_first: bool
    ) -> None:
        super().__init__()
        after = width * _EXPANSIONS[kind]
        if kind == "basic":
            parts = [ConvNorm(before, width, kernel, stride), make_activation(choices), ConvNorm(width, after, kernel)]
        else:
            parts = [ConvNorm(before, width, 1), make_activation(choices), ConvNorm(width, width, kernel, stride)]
            parts += [make_activation(choices), ConvNorm(width, after, 1)]
        self.residual = nn.Sequential(*parts)
        self.shortcut = ConvNorm(before, after, 1, stride) if is_first and (stride > 1 or kind == "bottleneck") else nn.Identity()
        self.activation = make_activation(choices)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        outputs_BCHW: Tensor = self.activation(self.shortcut(features_BCHW) + self.residual(features_BCHW))
        return outputs_BCHW


class _Body(nn.Module):
    """All that follows the stem, of one kind of blocks."""

    def __init__(self, kind: str, num_outputs: int, choices: Choices) -> None:
        super().__init__()
        base = choices["width"]
        self.stages = nn.Sequential(*(self._stage(kind, stage, base, choices) for stage in _STAGES))
        self.dropout = Dropout()
        self.head = ElasticLinear(base * (8 * _EXPANSIONS[kind]), num_outputs)

    @staticmethod
    def _stage(kind: str, stage: int, base: Choice, choices: Choices) -> Repeat:
        depth, width = choices[f"stage{stage}_depth"], base * 2 ** (stage - 1)
        kernel = choices.get(f"stage{stage}_kernel", _KERNEL)
        before = base if stage == 1 else base * (2 ** (stage - 2) * _EXPANSIONS[kind])

        def make_block(index: int) -> _Block:
            stride = 2 if stage > 1 and index == 0 else 1
            inputs = before if index == 0 else width * _EXPANSIONS[kind]
            return _Block(kind, inputs, width, kernel=kernel, choices=choices, stride=stride, is_first=index == 0)

        return Repeat(depth.name, make_block, choices=depth.choices, default=depth.default)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        features_BC = self.stages(features_BCHW).mean(dim=(2, 3))
        logits_BC: Tensor = self.head(self.dropout(features_BC))
        return logits_BC


class Resnet(ModuleTemplate):
    """The template; see `Template` for the contract."""

    name = "resnet"
    step_cost = RESNET_STEP

    def make(self, choices: Choices) -> nn.Module:
        """Return the stem and the body of the kind that decision `block` names."""
        width, kind = choices["width"], choices["block"]
        kernel, stride = (7, 2) if self.is_large_image else (3, 1)
        stem = [ConvNorm(self.input_shape[0], width, kernel, stride), make_activation(choices)]
        if self.is_large_image:
            stem.append(nn.MaxPool2d(3, stride=2, padding=1))
        bodies = {name: partial(_Body, name, self.num_outputs, choices) for name in kind.choices}
        return nn.Sequential(OrderedDict(stem=nn.Sequential(*stem), body=OneOf(kind.name, bodies, default=kind.default)))

    def layers(self, path: Path) -> Iterator[LayerSize]:
        """Yield stem, blocks and head; a strided layer gives ceil(size / stride)."""
        width, kind = int(path["width"]), path["block"]
        size = self.input_shape[1:]
        if self.is_large_image:
            size = halve(size)
        yield from conv_norm(self.input_shape[0], width, 7 if self.is_large_image else 3, size)
        if self.is_large_image:
            size = halve(size)
        before = width
        for stage in _STAGES:
            kernel, inner = int(path.get(f"stage{stage}_kernel", _KERNEL)), width * 2 ** (stage - 1)
            after = inner * _EXPANSIONS[kind]
            for block in range(int(path[f"stage{stage}_depth"])):
                small = halve(size) if stage > 1 and block == 0 else size
                if kind == "basic":
                    yield from (*conv_norm(before, inner, kernel, small), *conv_norm(inner, after, kernel, small))
                else:
                    yield from (*conv_norm(before, inner, 1, size), *conv_norm(inner, inner, kernel, small))
                    yield from conv_norm(inner, after, 1, small)
                if block == 0 and (stage > 1 or kind == "bottleneck"):
                    yield from conv_norm(before, after, 1, small)
                before, size = after, small
        yield linear(before, self.num_outputs)
