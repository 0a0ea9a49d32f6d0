"""The network of a path between two calls, and what a module may do in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import pytest
import torch
from torch import Tensor
from torch import nn as torch_nn

from autohas import nn
from autohas_trainer.nn import Searchable
from autohas_trainer.nn.skeleton import Skeleton
from autohas_trainer.templates import default_path

SWITCHES: list[bool] = []
"""Modes that a `_Frozen` was asked for."""


class _Frozen(torch_nn.BatchNorm1d):
    """A normalisation that stays in evaluation mode, as fine-tuning code writes it."""

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's
        SWITCHES.append(mode)
        return super().train(mode=False)


class _Counting(torch_nn.Module):
    """Adds a buffer that it sets to another tensor at each call; raises for negative inputs."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.modes: list[bool] = []

    def forward(self, features: Tensor) -> Tensor:
        if bool((features < 0).all()):
            raise ValueError("negative")
        self.modes.append(self.training)
        self.count = self.count + 1
        return features + self.count


def _family(*further: Callable[[], torch_nn.Module]) -> Searchable:
    def factory(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
        width = nn.Choice("width", (2, 3))
        tail = nn.ElasticLinear(width, num_outputs)
        return torch_nn.Sequential(_Counting(), nn.ElasticLinear(input_shape[0], width), *(make() for make in further), tail)

    return Searchable(factory, (4,), 2)


def _leaves(family: Searchable) -> tuple[dict[str, str], dict[str, Tensor]]:
    path, shared = default_path(family.decisions), family.shared((0,))
    return path, {name: shared[name][index].requires_grad_() for name, index in family.slices(path).items()}


def _network(family: Searchable, path: dict[str, str]) -> torch_nn.Module:
    skeleton = family._skeleton(path)
    assert isinstance(skeleton, Skeleton)
    return skeleton.network


def test_a_network_holds_no_leaves_between_two_calls() -> None:
    """Whether a call ended or raised: the buffers of an accelerator are freed with their path."""
    family = _family()
    path, leaves = _leaves(family)
    network = _network(family, path)
    family.forward(torch.ones(3, 4), path, leaves)
    assert all(parameter.is_meta for parameter in network.parameters())
    with pytest.raises(ValueError, match="negative"):
        family.forward(-torch.ones(3, 4), path, leaves)

    assert all(parameter.is_meta for parameter in network.parameters())


def test_a_buffer_that_a_call_sets_is_the_constant_again_in_the_next() -> None:
    """Both calls add 1, in training and in evaluation mode."""
    family = _family()
    path, leaves = _leaves(family)
    first = family.forward(torch.ones(3, 4), path, leaves)
    with torch.no_grad():
        second = family.forward(torch.ones(3, 4), path, leaves)
    counting = _network(family, path).get_submodule("0")

    assert torch.equal(first, second)
    assert counting.modes == [True, False]


def test_a_module_with_a_mode_of_its_own_is_asked() -> None:
    """`train` of the module is called where the mode changes, and not where it stays."""
    family = _family(lambda: _Frozen(2))
    path, leaves = _leaves(family)
    family.forward(torch.ones(3, 4), path, leaves)
    SWITCHES.clear()
    family.forward(torch.ones(3, 4), path, leaves)
    assert SWITCHES == []
    with torch.no_grad():
        family.forward(torch.ones(3, 4), path, leaves)
    assert False in SWITCHES
