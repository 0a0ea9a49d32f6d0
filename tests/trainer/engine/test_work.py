"""The work of a training in closed form: exactly 1 for the default, by the committed coefficients for every other configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.plan_request import FORWARD_SHARE
from autohas_api.space.decisions import Configuration
from autohas_api.testing.rejections import with_change
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.templates import ConvSmall, Mlp, NetworkSize, StepCost
from engine_fixtures import small_search

_JOINT: list[dict[str, Any]] = [
    {"name": "batch_size", "integer": {"min": 32, "max": 128, "step": 2, "scale": "Log"}},
    {"name": "dropout", "continuous": {"min": "0", "max": "0.3", "numBases": 2}},
    {"name": "optimizer", "categorical": {"choices": ["sgd", "adam", "rmsprop"]}},
]


def _task(template: str = "mlp", **changes: Any) -> SearchTask:
    document = with_change(small_search(), "spec.searchSpace.hyperparameters", _JOINT)
    document = with_change(document, "spec.task.model.template", template)
    for path, value in changes.items():
        document = with_change(document, path, value)
    parsed, space = accept(document)
    return SearchTask.load(parsed.spec, space, torch.device("cpu"))


def _configuration(task: SearchTask, values: Mapping[str, str]) -> Configuration:
    return task.space.configuration({**task.space.as_mapping(task.space.default), **values})


def _output_sizes(network: nn.Module, example: torch.Tensor) -> list[int]:
    """The numbers that each layer with weights gives."""
    sizes: list[int] = []
    for layer in network.eval().modules():
        if list(layer.parameters(recurse=False)):
            layer.register_forward_hook(lambda _, __, output: sizes.append(output.numel()))
    network(example)
    return sizes


def test_a_step_costs_what_the_formula_says() -> None:
    """Constant, layers, optimizer, dropout, and for each example multiply-accumulates and activations."""
    cost = StepCost(per_step=100, per_layer=10, per_mac=2, per_activation=3, optimizers={"adam": 7}, dropout=5)
    size = NetworkSize(macs=11, num_layers=4, num_activations=13)
    assert cost.of(size, 2) == 100 + 40 + 2 * (22 + 39)
    assert cost.of(size, 2, "adam", has_dropout=True) == 100 + 40 + 7 + 5 + 2 * (22 + 39)
    assert cost.of(size, 2, "sgd") == cost.of(size, 2)


def test_sizes_of_networks_in_closed_form() -> None:
    """An mlp of 64 -> 32 -> 16 -> 10, and a conv-small of one block per stage on 8x8 images, layer by layer."""
    mlp = Mlp((1, 8, 8), 10)
    path = {"depth": "2", "width_1": "32", "width_2": "16", "width_3": "64", "activation": "relu"}
    assert mlp.size(path) == NetworkSize(macs=64 * 32 + 32 * 16 + 16 * 10, num_layers=5, num_activations=32 * 2 + 16 * 2 + 10)

    conv = ConvSmall((1, 8, 8), 10)
    path = {d.name: d.default for d in conv.decisions} | {
        "stage1_width": "8",
        "stage2_width": "16",
        "stage1_depth": "1",
        "stage2_depth": "1",
        "stage1_block1_expansion": "2",
    }
    stem, stage1, stage2 = 8 * 64 * 2, (16 + 8) * 64 * 2, (8 + 16) * 16 * 2
    macs = 9 * 8 * 64 + (16 * 8 * 9 + 16 * 8) * 64 + (8 * 8 * 9 + 8 * 16) * 16 + 16 * 10
    assert conv.size(path) == NetworkSize(macs=macs, num_layers=11, num_activations=stem + stage1 + stage2 + 10)


@pytest.mark.parametrize("template", ["mlp", "conv-small"])
def test_the_layers_and_activations_are_those_of_the_stand_alone_network(template: str) -> None:
    """Every layer with weights of the built network, and what it gives for one example."""
    task = _task(template)
    for values in ({}, {"depth": "3"} if template == "mlp" else {"stage1_depth": "1", "stage2_block2_expansion": "2"}):
        path = task.path(_configuration(task, values))
        outputs = _output_sizes(task.template.build(path, (0, "x")), torch.zeros(1, *task.splits.input_shape))
        size = task.template.size(path)  # type: ignore[attr-defined]
        assert (size.num_layers, size.num_activations) == (len(outputs), sum(outputs))


@pytest.mark.parametrize("template", ["mlp", "conv-small"])
def test_a_training_of_the_default_is_the_unit(template: str) -> None:
    """Exactly 1.0, and a comparison and a gradient of it cost what the plan assumes."""
    task = _task(template)
    default, steps = task.space.default, task.spec.training.steps
    assert task.work(default) == 1.0
    assert task.works.gradient(default, 64) == pytest.approx(1 / steps)
    assert task.price(default, 0, 1) == pytest.approx(task.plan.rungs[0] / steps + task.comparisons.early)
    assert task.price(default, 0, 3) == pytest.approx(1 + 2 * task.comparisons.early + task.comparisons.last)


def test_the_work_of_one_mlp_by_hand() -> None:
    """Depth 1 of width 128 at batch 32 by adam with dropout, against the default at batch 64: twice the steps of another cost each."""
    task = _task()
    other = _configuration(task, {"depth": "1", "width_1": "128", "batch_size": "32", "optimizer": "adam", "dropout": "0.3"})
    cost = task.template.step_cost  # type: ignore[attr-defined]
    mine = cost.per_step + 3 * cost.per_layer + cost.optimizers["adam"] + cost.dropout
    mine += 32 * (cost.per_mac * (64 * 128 + 128 * 10) + cost.per_activation * (2 * 128 + 10))
    unit = cost.per_step + 5 * cost.per_layer + 64 * (cost.per_mac * (64 * 64 + 64 * 64 + 64 * 10) + cost.per_activation * (4 * 64 + 10))
    assert task.recipe(other).steps == 2 * task.spec.training.steps
    assert task.work(other) == pytest.approx(2 * mine / unit)


def test_halving_the_batch_doubles_the_constant_part() -> None:
    """Twice the steps, each with half of what the examples cost: only the constant is paid twice."""
    task = _task()
    half = _configuration(task, {"batch_size": "32"})
    cost, size = task.template.step_cost, task.template.size(task.path(half))  # type: ignore[attr-defined]
    constant = cost.of(size, 0)
    assert task.work(half) == pytest.approx(1 + constant / cost.of(size, 64))


def test_prices_add_up_along_the_rungs() -> None:
    """From nothing to the end is the way to 1/9, from there to 1/3 and from there to the end; a forward pass is the network's own."""
    task = _task()
    wide = _configuration(task, {"width_1": "128", "width_2": "128", "batch_size": "128"})
    ways = [task.price(wide, since, since + 1) for since in range(3)]
    assert sum(ways) == pytest.approx(task.price(wide, 0, 3))
    steps = task.recipe(wide).steps
    assert ways[0] == pytest.approx(-(-steps // 9) / steps * task.work(wide) + task.comparison_work(wide, 0))
    cost, size, unit = task.template.step_cost, task.template.size(task.path(wide)), task.template.size(task.path(task.space.default))  # type: ignore[attr-defined]
    forward = FORWARD_SHARE * 640 / 64 / task.spec.training.steps * cost.of(size, 64) / cost.of(unit, 64)
    assert task.works.forward(wide, 640) == pytest.approx(forward)
