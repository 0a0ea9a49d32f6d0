"""The work of a training in closed form: exactly 1 for the default, by the committed coefficients for every other configuration."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.plan_request import FORWARD_SHARE
from autohas_api.space.decisions import Configuration
from autohas_api.testing.rejections import with_change
from autohas_trainer.engine.accounting.work import Work
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.supernet_share import SupernetShare, draw_paths
from autohas_trainer.templates import CUSTOM_STEP, ConvSmall, MlpSmall, NetworkSize, StepCost
from autohas_trainer.templates.custom import wrap_custom
from engine_fixtures import MemorySink, search, small_search

_JOINT: list[dict[str, Any]] = [
    {"name": "batch_size", "integer": {"min": 32, "max": 128, "step": 2, "scale": "Log"}},
    {"name": "dropout", "continuous": {"min": "0", "max": "0.3", "numBases": 2}},
    {"name": "optimizer", "categorical": {"choices": ["sgd", "adam", "rmsprop"]}},
]


def _task(template: str = "mlp-small", **changes: Any) -> SearchTask:
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


def test_configurations_that_differ_in_architecture_alone_have_one_recipe() -> None:
    """A recipe belongs to the hyperparameters: another path has the same object, another optimizer another recipe."""
    task = _task()
    adam, narrow, sgd = (_configuration(task, v) for v in ({"optimizer": "adam"}, {"optimizer": "adam", "width_1": "32"}, {}))

    assert adam != narrow
    assert task.recipe(adam) is task.recipe(narrow)
    assert (task.recipe(adam).optimizer, task.recipe(sgd).optimizer) == ("adam", "sgd")


def test_sizes_of_networks_in_closed_form() -> None:
    """An mlp-small of 64 -> 32 -> 16 -> 10, and a conv-small of one block per stage on 8x8 images, layer by layer."""
    mlp = MlpSmall((1, 8, 8), 10)
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


@pytest.mark.parametrize("template", ["mlp-small", "conv-small"])
def test_the_layers_and_activations_are_those_of_the_stand_alone_network(template: str) -> None:
    """Every layer with weights of the built network, and what it gives for one example."""
    task = _task(template)
    for values in ({}, {"depth": "3"} if template == "mlp-small" else {"stage1_depth": "1", "stage2_block2_expansion": "2"}):
        path = task.path(_configuration(task, values))
        outputs = _output_sizes(task.template.build(path, (0, "x")), torch.zeros(1, *task.splits.input_shape))
        size = task.template.size(path)  # type: ignore[attr-defined]
        assert (size.num_layers, size.num_activations) == (len(outputs), sum(outputs))


@pytest.mark.parametrize("template", ["mlp-small", "conv-small"])
def test_a_training_of_the_default_is_the_unit(template: str) -> None:
    """Exactly 1.0, and a comparison and a gradient of it cost what the plan assumes."""
    task = _task(template)
    default, steps = task.space.default, task.spec.training.steps
    assert task.work(default) == 1.0
    cost, size = task.template.step_cost, task.template.size(task.path(default))  # type: ignore[attr-defined]
    assert task.works.gradient(default, 64) == pytest.approx((1 + cost.supernet / cost.of(size, 64)) / steps)
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


class _Elementwise(nn.Module):
    """A layer whose matrix of weights takes part in no product that PyTorch counts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64, 10))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs.flatten(1)[:, :, None] * self.weight).sum(dim=1)


def _make(network: Callable[[], nn.Module]) -> Callable[..., nn.Module]:
    """A custom factory of one network, with the parameters that the contract asks for."""

    def make(input_shape: object, num_outputs: object) -> nn.Module:
        return network()

    return make


def _custom_work(network: Callable[[], nn.Module]) -> tuple[SearchTask, Work]:
    """The work of a custom module, with the recipes of a search over the batch size."""
    document = with_change(with_change(small_search(), "spec.searchSpace.hyperparameters", _JOINT[:1]), "spec.searchSpace.architecture")
    parsed, space = accept(document)
    task = SearchTask.load(parsed.spec, space, torch.device("cpu"))
    template = wrap_custom(_make(network), "task.model.entrypoint test", None, (1, 8, 8), 10)
    return task, Work(parsed.spec, space, template, lambda _: {}, torch.zeros(1, 1, 8, 8))


def test_a_custom_model_is_counted_by_its_multiply_accumulates() -> None:
    """One product of 64 x 10; half the batch is twice the steps, each with the constant and half of the products."""
    task, work = _custom_work(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    half = _configuration(task, {"batch_size": "32"})
    constant, per_mac = CUSTOM_STEP.per_step, CUSTOM_STEP.per_mac
    assert work.uncounted is None
    assert work.training(task.space.default) == 1.0
    assert work.training(half) == pytest.approx(2 * (constant + 32 * per_mac * 640) / (constant + 64 * per_mac * 640))


def test_where_nothing_can_be_counted_every_training_is_one() -> None:
    """The reason names the layer; gradients and passes count by their examples, as for the default."""
    task, work = _custom_work(_Elementwise)
    half = _configuration(task, {"batch_size": "32"})
    assert work.uncounted is not None
    assert "_Elementwise" in work.uncounted
    assert (work.training(task.space.default), work.training(half)) == (1.0, 1.0)
    assert work.gradient(half, 32) == pytest.approx(0.5 / 27)
    assert work.forward(half, 128) == pytest.approx(FORWARD_SHARE * 2 / 27)


def test_prices_and_the_supernet_s_share_read_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every clock raises: work, prices, plan and share are computed all the same, and twice the same."""
    task = _task()
    for clock in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        monkeypatch.setattr(time, clock, _raise)
    shares = []
    for _ in range(2):
        share = SupernetShare(task)
        share.fix(3.0, task.space.default, 0, None)
        shares.append((share.trainings, share.reserve, share.plan(task.space.default)))
    assert shares[0] == shares[1]


def _raise() -> float:
    raise AssertionError("a clock was read")


def test_the_supernet_s_steps_follow_from_the_mean_path() -> None:
    """The share is what is left without the race; its steps cost it at the mean prices of the drawn paths."""
    task = _task()
    default, share = task.space.default, SupernetShare(task)
    share.fix(4.0, default, 0, None)
    paths = draw_paths(task, default)
    assert len(paths) == 256
    assert share.trainings is not None
    assert share.reserve is not None
    assert share.trainings == pytest.approx(4.0 - share.reserve)
    prices = [task.prices(path) for path in paths]
    first, second, last = (statistics.fmean(values) for values in zip(*((p.first, p.second, p.last) for p in prices), strict=True))
    assert share.reserve == pytest.approx(task.prices(default).rest(0) + 4 * first + 2 * second + last)
    step = statistics.fmean(task.works.gradient(path, 64) for path in paths)
    reward = statistics.fmean(task.works.forward(path, task.reward_batch_size) for path in paths)
    plan = share.plan(default)
    spent = plan.supernet_steps * step + (plan.supernet_steps - plan.warmup_steps) * reward
    assert spent == pytest.approx(plan.supernet_trainings)
    assert share.trainings - 2 * (step + reward) <= spent <= share.trainings


@pytest.mark.parametrize("algorithm", [None, {"name": "RandomSearch"}], ids=["Lanes", "RandomSearch"])
def test_a_space_of_expensive_networks_stays_within_its_budget(algorithm: dict[str, Any] | None, tmp_path: Path) -> None:
    """Batches of 4 examples where the default has 64 cost about ten times as much: what cannot be finished is passed over."""
    batch = {"name": "batch_size", "integer": {"min": 4, "max": 64, "step": 16, "scale": "Log"}}
    document = with_change(small_search(algorithm, steps=45), "spec.searchSpace.hyperparameters", [batch])
    document = with_change(document, "spec.budget.trainings", "6")
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)
    parsed, space = accept(document)
    task = SearchTask.load(parsed.spec, space, torch.device("cpu"))

    assert task.work(_configuration(task, {"batch_size": "4"})) > 9
    assert all(record.values["batch_size"] == "64" for record in sink.candidates)
    assert outcome.result.trainings <= 6 * 1.02
    assert outcome.result.trainings >= 6 * 0.9 or "BudgetLeft" in [notice.reason for notice in sink.notices]
