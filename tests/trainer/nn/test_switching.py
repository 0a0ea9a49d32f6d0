"""One network for all paths gives what a network of each path gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn as torch_nn

from autohas import nn
from autohas_trainer.nn import Searchable
from autohas_trainer.nn.choices import FollowsPath
from autohas_trainer.nn.skeleton import Skeleton
from autohas_trainer.nn.switching import SwitchedPath
from autohas_trainer.seeding import stream
from autohas_trainer.templates import BUILDERS, ModuleTemplate, Path, build_template, default_path

SHAPE = (3, 9, 7)
SWITCHED = [name for name, make in BUILDERS.items() if isinstance(make, type) and issubclass(make, ModuleTemplate) and make.is_switched]


def _template(name: str) -> ModuleTemplate:
    template = build_template(name, SHAPE, 10, is_tokens=False)
    assert isinstance(template, ModuleTemplate)
    return template


def _random_paths(template: ModuleTemplate, number: int) -> list[Path]:
    """Keyed paths over all choices but the largest widths, which follow from the same code and take long."""
    paths: list[Path] = [default_path(template.decisions)]
    for draw in range(number):
        rng = stream("switching", draw)
        sizes = {d.name: 2 if d.name == "width" else len(d.choices) for d in template.decisions}
        paths.append({d.name: d.choices[rng.integers(sizes[d.name])] for d in template.decisions})
    return paths


@pytest.mark.parametrize("name", SWITCHED)
def test_a_switched_path_computes_what_the_built_network_computes(name: str) -> None:
    """Leaves in the same order with the same shapes, equal bits of outputs and gradients, in both modes, one path after another."""
    template = _template(name)
    shared, inputs = template.shared((0,)), torch.from_numpy(stream("inputs").standard_normal((4, *SHAPE), dtype="float32"))
    for path in _random_paths(template, 8):
        built = Skeleton(template.build_undrawn(path), {}, {})
        leaves = {leaf: shared[leaf][index].requires_grad_() for leaf, index in template.slices(path).items()}
        assert isinstance(template._skeleton(path), SwitchedPath)
        assert list(built.shapes.items()) == [(leaf, tuple(value.shape)) for leaf, value in leaves.items()]

        expected, outputs = built.forward(inputs, leaves, is_training=True), template.forward(inputs, path, leaves)
        assert torch.equal(outputs, expected)
        gradients = (torch.autograd.grad(of.square().sum(), list(leaves.values())) for of in (outputs, expected))
        assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
        with torch.no_grad():
            assert torch.equal(template.forward(inputs, path, leaves), built.forward(inputs, leaves, is_training=False))


@pytest.mark.parametrize("name", SWITCHED)
def test_every_path_has_the_leaves_of_its_built_network(name: str) -> None:
    """Each choice of each decision, the others at their defaults: no module forgets what follows from a decision."""
    template = _template(name)
    default = default_path(template.decisions)
    for decision in template.decisions:
        for choice in decision.choices:
            path = {**default, decision.name: choice}
            expected = {leaf: tuple(parameter.shape) for leaf, parameter in template.build_undrawn(path).named_parameters()}
            assert template._skeleton(path).shapes == expected


def test_a_switched_network_holds_no_leaves_between_two_calls() -> None:
    """The buffers of an accelerator are freed with their path, of which the network is one for all."""
    template = _template("mlp")
    path = default_path(template.decisions)
    shared = template.shared((0,))
    template.forward(torch.ones(2, *SHAPE), path, {leaf: shared[leaf][index] for leaf, index in template.slices(path).items()})
    assert template._switched is not None

    assert all(parameter.is_meta for parameter in template._switched.skeleton.network.parameters())


@pytest.mark.parametrize("flaw", ["tied", "frozen"])
def test_weights_whose_places_differ_between_paths_are_not_switched(flaw: str) -> None:
    """Tied and frozen parameters have no slot that is the same on all paths."""

    def factory(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
        first, second = nn.ElasticLinear(4, nn.Choice("width", (4, 2))), nn.ElasticLinear(4, 4)
        if flaw == "tied":
            second.weight = first.weight
        second.weight.requires_grad_(flaw == "tied")
        return torch_nn.Sequential(first, second)

    with pytest.raises(ValueError, match="tied weights or frozen parameters cannot be switched"):
        Searchable(factory, (4,), 4, is_switched=True)


def test_a_module_that_differs_in_nothing_says_so() -> None:
    """What a module does not override stands for the same on all paths."""
    module = FollowsPath()

    assert (module.path_shapes(), module.path_attributes(), module.path_children()) == ({}, {}, None)
