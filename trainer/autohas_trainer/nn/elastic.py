"""Layers whose sizes are decisions. A network of one path holds an ordinary layer of that size, a slice of the largest one.

Widths cut leading channels, a kernel cuts the centre of the largest. Every size is given where it occurs: a layer that reads `width`
features takes `width` as its input size, so that it can never disagree with the layer before it without a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from autohas_trainer.nn.choices import FollowsPath, Size

__all__ = ["ElasticBatchNorm1d", "ElasticBatchNorm2d", "ElasticConv2d", "ElasticLayerNorm", "ElasticLinear", "ElasticMLP"]

SizeLike = Size | int


class ElasticLinear(nn.Linear, FollowsPath):
    """`nn.Linear` whose numbers of features may be decisions."""

    def __init__(self, in_features: SizeLike, out_features: SizeLike, bias: bool = True) -> None:  # noqa: FBT001, FBT002 - as torch has it
        super().__init__(int(in_features), int(out_features), bias=bias)
        self.sizes = (in_features, out_features)

    def path_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of `weight` and `bias`."""
        in_features, out_features = map(int, self.sizes)
        return {"weight": (out_features, in_features), "bias": (out_features,)}


class ElasticConv2d(nn.Conv2d, FollowsPath):
    """`nn.Conv2d` whose channels, groups and square kernel may be decisions; `groups=width` makes a depthwise convolution.

    A padding that is left out keeps the image size at stride 1.
    """

    centred: ClassVar[Mapping[str, tuple[int, ...]]] = {"weight": (2, 3)}
    """Parameter name → the dimensions that are cut from the centre, not from the front."""

    def __init__(  # noqa: PLR0913 - the parameters of nn.Conv2d
        self,
        in_channels: SizeLike,
        out_channels: SizeLike,
        kernel_size: SizeLike,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: SizeLike = 1,
        bias: bool = True,
    ) -> None:
        """As `nn.Conv2d`.

        Raises:
            ValueError: kernels of even and odd size share no centre.
        """
        if isinstance(kernel_size, Size) and len({kernel % 2 for kernel in kernel_size.values()}) > 1:
            message = (
                f"a convolution has kernels of {sorted(set(kernel_size.values()))}: make all odd or all even, else they share no centre"
            )
            raise ValueError(message)
        kernel = int(kernel_size)
        super().__init__(
            int(in_channels),
            int(out_channels),
            kernel,
            stride=stride,
            padding=_keep_size(kernel, dilation) if padding is None else padding,
            dilation=dilation,
            groups=int(groups),
            bias=bias,
        )
        self.sizes = (in_channels, out_channels, kernel_size, groups)
        self.keeps_size = padding is None
        """Whether the padding follows from the kernel."""

    def path_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of `weight` and `bias`."""
        in_channels, out_channels, kernel, groups = map(int, self.sizes)
        return {"weight": (out_channels, in_channels // groups, kernel, kernel), "bias": (out_channels,)}

    def path_attributes(self) -> Mapping[str, object]:
        """Return groups, and the padding where it follows from the kernel."""
        _, _, kernel, groups = map(int, self.sizes)
        attributes: dict[str, object] = {"groups": groups}
        if self.keeps_size:
            attributes["padding"] = tuple(_keep_size(kernel, dilation) for dilation in self.dilation)
        return attributes


class ElasticBatchNorm1d(nn.BatchNorm1d, FollowsPath):
    """`nn.BatchNorm1d` of as many features as the layer before it gives."""

    def __init__(self, num_features: SizeLike, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(int(num_features), eps=eps, momentum=momentum)
        self.sizes = (num_features,)

    def path_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of `weight` and `bias`."""
        return _vectors(self.sizes[0])


class ElasticBatchNorm2d(nn.BatchNorm2d, FollowsPath):
    """`nn.BatchNorm2d` of as many channels as the layer before it gives."""

    def __init__(self, num_features: SizeLike, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(int(num_features), eps=eps, momentum=momentum)
        self.sizes = (num_features,)

    def path_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of `weight` and `bias`."""
        return _vectors(self.sizes[0])


class ElasticLayerNorm(nn.LayerNorm, FollowsPath):
    """`nn.LayerNorm` over the last dimension, of as many features as the layer before it gives."""

    def __init__(self, num_features: SizeLike, eps: float = 1e-5, bias: bool = True) -> None:  # noqa: FBT001, FBT002 - as torch has it
        super().__init__(int(num_features), eps=eps, bias=bias)
        self.sizes = (num_features,)

    def path_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of `weight` and `bias`."""
        return _vectors(self.sizes[0])

    def path_attributes(self) -> Mapping[str, object]:
        """Return the features over which it normalises."""
        return {"normalized_shape": (int(self.sizes[0]),)}


class ElasticMLP(nn.Module):
    """Linear, activation, linear, with the features of its input: the hidden width is the decision and stays inside.

    ElasticMLP(128, Choice("mlp_width", (128, 256, 512)))
    """

    def __init__(
        self,
        features: SizeLike,
        hidden: SizeLike,
        *,
        activation: Callable[[], nn.Module] = nn.GELU,
        dropout: nn.Module | None = None,
        bias: bool = True,
    ) -> None:
        """Make the layers `first` (features → hidden) and `last` (hidden → features), with a module for dropout between them."""
        super().__init__()
        self.first = ElasticLinear(features, hidden, bias=bias)
        self.activation = activation()
        self.dropout = nn.Identity() if dropout is None else dropout
        self.last = ElasticLinear(hidden, features, bias=bias)

    def forward(self, features_D: Tensor) -> Tensor:
        """Return features of the same shape (..., D)."""
        outputs_D: Tensor = self.last(self.dropout(self.activation(self.first(features_D))))
        return outputs_D


def _keep_size(kernel: int, dilation: int) -> int:
    """Return the padding with which a convolution of stride 1 keeps the size of an image."""
    return dilation * (kernel // 2)


def _vectors(num_features: SizeLike) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a normalisation's parameters."""
    shape = (int(num_features),)
    return {"weight": shape, "bias": shape}


def rotary_table(length: int, features: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (T, F/2) of the positions 0 to length - 1 in half as many planes as there are features.

    Source: Su et al. 2021, "RoFormer", with its base of 10,000.
    """
    frequencies_F = 10_000.0 ** (-torch.arange(0, features, 2, dtype=torch.float32) / features)
    angles_TF = torch.arange(length, dtype=torch.float32)[:, None] * frequencies_F
    return angles_TF.cos(), angles_TF.sin()
