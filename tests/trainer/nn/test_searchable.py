"""A family of networks from one factory: decisions, shared weights, slices and networks of its paths."""

from __future__ import annotations

import pytest
import torch
from torch import nn as torch_nn

from autohas import nn
from autohas_api.base.condition import When
from autohas_trainer.conformance import check_template
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn import Searchable
from autohas_trainer.nn.sizes import check_sizes
from autohas_trainer.seeding import stream
from autohas_trainer.templates import default_path


def images(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
    """Every wrapper once: widths shared by layers, a kernel, a branch with decisions of its own, depth, heads."""
    channels, height, width_px = input_shape
    width, hidden = nn.Choice("width", (8, 16, 32), default=16), nn.Choice("hidden", (4, 8))
    conv = torch_nn.Sequential(
        nn.ElasticConv2d(width, width * 2, nn.Choice("kernel", (1, 3, 5), default=3)),
        torch_nn.ReLU(),
        nn.ElasticConv2d(width * 2, width * 2, 3, groups=width * 2, bias=False),
        nn.ElasticBatchNorm2d(width * 2),
        nn.ElasticConv2d(width * 2, width, 1),
    )
    return torch_nn.Sequential(
        nn.ElasticConv2d(channels, width, 3, bias=False),
        nn.ElasticBatchNorm2d(width),
        nn.OneOf("operation", {"conv": conv, "none": torch_nn.Identity()}),
        nn.Repeat("depth", lambda i: nn.Skippable(f"block_{i}", nn.ElasticConv2d(width, width, 3)), choices=(1, 2, 3), default=2),
        torch_nn.Flatten(2),
        nn.ElasticAttention(height * width_px, nn.Choice("heads", (1, 2, 4), default=2), 8, rotary_length=32),
        nn.ElasticMLP(height * width_px, hidden),
        torch_nn.Flatten(),
        nn.ElasticLinear(width * (height * width_px), num_outputs),
    )


def test_decisions_follow_from_the_modules() -> None:
    """Each once, parents first, with the condition that nesting gives."""
    decisions = {d.name: (d.choices, d.default, d.when) for d in Searchable(images, (1, 6, 6), 3).decisions}

    assert list(decisions) == ["width", "operation", "kernel", "depth", "block_0", "block_1", "block_2", "heads", "hidden"]
    assert decisions["width"] == (("8", "16", "32"), "16", None)
    assert decisions["kernel"] == (("1", "3", "5"), "3", When(decision="operation", values=("conv",)))
    assert decisions["block_0"] == (("keep", "skip"), "keep", None)
    assert decisions["block_1"][2] == When(decision="depth", values=("2", "3"))
    assert decisions["block_2"][2] == When(decision="depth", values=("3",))


def test_every_wrapper_conforms() -> None:
    """Supernet and stand-alone network agree on every choice and on random paths."""
    inputs = torch.tensor(stream("noise").standard_normal((8, 1, 6, 6)), dtype=torch.float32)

    assert [check for check in check_template(Searchable(images, (1, 6, 6), 3), inputs, (3,)) if check.problem] == []


def test_a_kernel_is_cut_from_the_centre_and_a_width_from_the_front() -> None:
    """The middle 3 of 5, the first 16 of 32."""
    family = Searchable(images, (1, 6, 6), 3)

    assert family.slices(default_path(family.decisions))["2.conv.0.weight"] == (slice(0, 32), slice(0, 16), slice(1, 4), slice(1, 4))
    assert family.shared((0,))["2.conv.0.weight"].shape == (64, 32, 5, 5)


def test_a_width_that_leaves_its_block_is_refused_by_name() -> None:
    """The layer that meets it, both widths and the choice."""

    def leaking(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
        width = nn.Choice("width", (8, 4), default=8)
        return torch_nn.Sequential(torch_nn.Flatten(), nn.ElasticLinear(input_shape[0], width), torch_nn.Linear(8, num_outputs))

    with pytest.raises(ConfigurationError, match=r"^the model: 2 \(Linear\) takes 8 features where width is 8, but gets 4 where it is 4: "):
        check_sizes(Searchable(leaking, (5,), 2), "the model", torch.zeros(2, 5))


def test_shapes_that_depend_on_data_are_refused() -> None:
    """A forward that selects by values cannot be computed from shapes."""

    class Selecting(torch_nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs[inputs > 0]

    def selecting(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
        return torch_nn.Sequential(Selecting(), nn.Skippable("again", Selecting()))

    with pytest.raises(ConfigurationError, match=r"^the model: 0 \(Selecting\) raised .* depend on the values of its inputs"):
        check_sizes(Searchable(selecting, (5,), 2), "the model", torch.zeros(2, 5))
