"""The templates written with `autohas.nn`: closed forms against brute force and published figures, and both forms of every network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pytest
import torch
from torch import Tensor

from autohas_api.space.decisions import resolve
from autohas_api.spec.search import Spec
from autohas_api.templates.table import TEMPLATES
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn import Searchable
from autohas_trainer.seeding import stream
from autohas_trainer.templates import (
    BUILDERS,
    ModuleTemplate,
    build_template,
    default_path,
    load_leaves,
    measure_macs,
    use_batch_statistics,
)

NAMES: Final = ("mlp", "resnet", "cell", "mobilenet", "transformer")
SHAPES: Final = ((1, 8, 8), (3, 9, 7))
VOCABULARY, LENGTH = 11, 12


def family(name: str, shape: tuple[int, ...] = SHAPES[0]) -> ModuleTemplate:
    """A template for ten classes, or for a vocabulary."""
    made = build_template(name, shape, VOCABULARY if len(shape) == 1 else 10, is_tokens=len(shape) == 1 and name == "transformer")
    assert isinstance(made, ModuleTemplate)
    return made


def paths(made: ModuleTemplate, number: int = 4) -> Iterator[dict[str, str]]:
    """The default, then keyed random paths, of the two least widths: the sizes of the others follow from the same code."""
    yield default_path(made.decisions)
    for draw in range(number):
        rng = stream("paths", draw)
        yield {
            decision.name: decision.choices[rng.integers(2 if decision.name == "width" else len(decision.choices))]
            for decision in made.decisions
        }


def inputs(shape: tuple[int, ...], number: int = 4) -> Tensor:
    """Noise, or random tokens."""
    if len(shape) == 1:
        return torch.tensor(stream("tokens").integers(VOCABULARY, size=(number, *shape)))
    return torch.tensor(stream("inputs").standard_normal((number, *shape), dtype=np.float32))


CASES: Final = [*((name, shape) for name in NAMES for shape in SHAPES), ("transformer", (LENGTH,))]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_sizes_are_those_of_the_network(name: str, shape: tuple[int, ...]) -> None:
    """Parameters are the sum of the module's, multiply-accumulates those that PyTorch counts, layers and slices those of the leaves."""
    made = family(name, shape)
    for path in paths(made):
        network, slices = made.build(path, (0,)), made.slices(path)
        parameters = dict(network.named_parameters())

        assert made.num_parameters(path) == sum(parameter.numel() for parameter in parameters.values())
        assert made.num_macs(path) == measure_macs(network, inputs(shape, 1)).macs
        assert {leaf: tuple(part.stop - part.start for part in index) for leaf, index in slices.items()} == {
            leaf: tuple(parameter.shape) for leaf, parameter in parameters.items()
        }


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_both_forms_compute_the_same(name: str, shape: tuple[int, ...]) -> None:
    """The supernet's path and the stand-alone network with the same weights give the same outputs and gradients."""
    made, batch = family(name, shape), inputs(shape)
    for path in paths(made, 3):
        network = made.build(path, (0,))
        leaves = {
            leaf: torch.tensor(0.3 * stream("leaf", leaf).standard_normal(tuple(p.shape), dtype=np.float32)).requires_grad_()
            for leaf, p in network.named_parameters()
        }
        load_leaves(network, {leaf: weight.detach() for leaf, weight in leaves.items()})
        outputs, expected = made.forward(batch, path, leaves), use_batch_statistics(network)(batch)

        assert outputs.shape == ((4, LENGTH, VOCABULARY) if len(shape) == 1 else (4, 10))
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
        gradients = torch.autograd.grad(outputs.square().mean(), list(leaves.values()))
        expected.square().mean().backward()
        for leaf, gradient in zip(leaves, gradients, strict=True):
            torch.testing.assert_close(network.get_parameter(leaf).grad, gradient, rtol=1e-3, atol=1e-3 * gradient.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_the_row_declares_what_the_modules_read(name: str) -> None:
    """Names, choices and defaults of the row are those that the network reads; only the row may know a narrower condition."""
    made = family(name)
    read = {decision.name: (decision.choices, decision.default) for decision in Searchable(made._make_network, SHAPES[0], 10).decisions}

    assert read == {decision.name: (decision.choices, decision.default) for decision in TEMPLATES[name].decisions}
    assert made.decisions == TEMPLATES[name].decisions


@pytest.mark.parametrize(
    ("name", "size"),
    [("mlp", 990), ("resnet", 6_912), ("cell", 140_625), ("mobilenet", 68_024_448), ("transformer", 5_400)],
)
def test_size_of_the_space(name: str, size: int) -> None:
    """By hand: products of the numbers of choices; of an mlp, 90 of one layer, and 900 of more layers, with or without residuals."""
    document = with_change(with_change(a_search(), "spec.task.model.template", name), "spec.searchSpace", {"architecture": {}})

    assert resolve(Spec.model_validate(document["spec"])).size() == size


def test_published_networks_have_their_published_sizes() -> None:
    """ResNet-18, 34 and 50 of torchvision and EfficientNet-B0, for 1,000 classes of colour images of 224 px."""
    resnet, mobilenet = (BUILDERS[name]((3, 224, 224), 1000) for name in ("resnet", "mobilenet"))
    depths = {"stage1_depth": "3", "stage2_depth": "4", "stage3_depth": "6", "stage4_depth": "3"}
    resnet18 = default_path(resnet.decisions) | {"width": "64"}
    b0 = default_path(mobilenet.decisions) | {"width": "8", "expansion": "6", "stage4_depth": "3", "stage5_depth": "3", "stage6_depth": "4"}

    assert resnet.num_parameters(resnet18) == 11_689_512
    assert resnet.num_parameters(resnet18 | depths) == 21_797_672
    assert resnet.num_parameters(resnet18 | depths | {"block": "bottleneck"}) == 25_557_032
    assert mobilenet.num_parameters(b0) == 5_288_548


def test_the_cell_space_spans_that_of_nas_bench_201() -> None:
    """Dong & Yang: 5 cells of 16 channels on CIFAR-10 have 0.073306 to 1.531546 million parameters and 7.78 to 220.12 million MACs."""
    cell = BUILDERS["cell"]((3, 32, 32), 10)
    assert isinstance(cell, ModuleTemplate)
    edges = [decision.name for decision in cell.decisions if decision.name.startswith("edge_")]
    least, most = ({**dict.fromkeys(edges, operation), "width": "16", "cells": "5"} for operation in ("none", "conv3"))

    assert (cell.num_parameters(least), cell.num_parameters(most)) == (73_306, 1_531_546)
    assert [round(cell.num_macs(path) / 1e6, 1) for path in (least, most)] == [7.8, 220.1]


@pytest.mark.parametrize(("name", "shape"), [*((name, SHAPES[0]) for name in NAMES), ("transformer", (LENGTH,))])
def test_every_decision_changes_the_network(name: str, shape: tuple[int, ...]) -> None:
    """Next to the default each choice gives other outputs, and an inactive decision the same."""
    made, batch = family(name, shape), inputs(shape)
    default = default_path(made.decisions)
    for decision in made.decisions:
        choices = decision.choices[:3] if decision.name == "width" else decision.choices
        outputs = [use_batch_statistics(made.build(default | {decision.name: choice}, (0,)))(batch) for choice in choices]
        assert len({output.sum().item() for output in outputs}) == len(choices), decision.name


def test_one_layer_has_no_residual() -> None:
    """The decision is inactive there, and both of its choices are the same network."""
    made = family("mlp")
    one = default_path(made.decisions) | {"depth": "1"}
    networks = [made.build(one | {"residual": choice}, (0,)) for choice in ("no", "yes")]

    assert torch.equal(*(network.eval()(inputs(SHAPES[0])) for network in networks))


@pytest.mark.parametrize(("name", "other"), [("mlp", {"numbers": "plain"}), ("transformer", {"norm": "post"})])
def test_first_weights_depend_on_their_own_layer_only(name: str, other: dict[str, str]) -> None:
    """A weight of a stand-alone network is the same whatever branches stand next to it, and another with another key."""
    made = family(name)
    path = default_path(made.decisions)
    one, same, elsewhere = (dict(made.build(p, key).named_parameters()) for p, key in ((path, (0,)), (path | other, (0,)), (path, (1,))))

    common = one.keys() & same.keys()
    assert "head.weight" in common
    assert all(torch.equal(one[leaf], same[leaf]) for leaf in common)
    assert not torch.equal(one["head.weight"], elsewhere["head.weight"])


def test_first_weights_have_the_stated_deviations() -> None:
    """He's √(2/fan-in) for hidden weights, √(1/fan-in) for the head, 0.02 for tables, 0.3 for frequencies, ones and zeros for vectors."""
    mlp, transformer = family("mlp").shared((0,)), family("transformer", (LENGTH,)).shared((0,))

    assert mlp["hidden.1.linear.weight"].std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.01)
    assert mlp["head.weight"].std().item() == pytest.approx((1 / 1024) ** 0.5, rel=0.05)
    assert mlp["hidden.0.linear.periodic.0.frequencies_DF"].std().item() == pytest.approx(0.3, rel=0.1)
    assert transformer["embedding.table"].std().item() == pytest.approx(0.02, rel=0.1)
    assert transformer["layers.0.mlp.last.weight"].std().item() == pytest.approx(0.5 * (1 / 1536) ** 0.5, rel=0.02)
    assert (mlp["hidden.0.norm.batch.weight"] == 1).all()
    assert not mlp["hidden.0.norm.none.bias"].any()


def test_a_language_model_sees_no_later_token() -> None:
    """Changing the last token changes the last output only, for learned and rotary positions."""
    made = family("transformer", (LENGTH,))
    for positions in ("learned", "rotary"):
        network = made.build(default_path(made.decisions) | {"positions": positions}, (0,)).eval()
        tokens = inputs((LENGTH,), 1)
        changed = tokens.clone()
        changed[0, -1] = (tokens[0, -1] + 1) % VOCABULARY
        one, other = network(tokens), network(changed)

        torch.testing.assert_close(one[:, :-1], other[:, :-1])
        assert not torch.allclose(one[:, -1], other[:, -1])


@pytest.mark.parametrize(
    ("shape", "positions"), [((1, 8, 8), 16), ((1, 20, 20), 25), ((3, 32, 32), 64), ((3, 224, 224), 196), ((3, 9, 7), 20)]
)
def test_patches_are_few(shape: tuple[int, ...], positions: int) -> None:
    """At most 64 of small images, 196 of those of 64 px and more: the side is a power of two."""
    made = family("transformer", shape)
    path = default_path(made.decisions)
    tables = made.slices(path)["positions.learned.table"]

    assert tables[0].stop == positions


@pytest.mark.parametrize(
    ("name", "shape", "is_tokens", "words"),
    [
        ("resnet", (5,), False, r"resnet needs images \(C, H, W\), not tables of shape \(5,\); use mlp or mlp-small"),
        ("transformer", (5,), False, r"transformer needs images \(C, H, W\) or tokens \(T,\), not tables of shape \(5,\); use mlp or"),
        ("mlp", (5,), True, r"mlp needs tables \(D,\) or images \(C, H, W\), not tokens of shape \(5,\); use transformer"),
        ("cell", (5, 5), False, r"cell needs images \(C, H, W\), not inputs of shape \(5, 5\); use task.model.entrypoint"),
    ],
)
def test_inputs_of_another_kind_are_refused(name: str, shape: tuple[int, ...], is_tokens: bool, words: str) -> None:  # noqa: FBT001
    """The sentence says what the template takes, what it got, and which template takes that."""
    with pytest.raises(ConfigurationError, match=words):
        build_template(name, shape, 10, is_tokens=is_tokens)
