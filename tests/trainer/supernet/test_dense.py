"""A path in one buffer: the same numbers as views, and as many operations for many leaves as for few."""

from __future__ import annotations

from pathlib import Path as File

import pytest
import torch
from benchmarks.step.kernels import kernels_of_commit, random_path
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from autohas_trainer.data import Splits, load
from autohas_trainer.optim import OptimizerName, UpdateRule, cells
from autohas_trainer.supernet import Supernet, dense
from autohas_trainer.tasks import Classification
from autohas_trainer.templates import Template, build_template

CPU = torch.device("cpu")
NAMES = ["conv-small", "mlp", "mlp-small"]
TASK = Classification("accuracy", [100] * 10, balanced=False, device=CPU)
OPTIMIZERS: list[OptimizerName] = ["sgd", "rmsprop", "adam", "adamw"]


def _supernet(template: Template, optimizer: OptimizerName, *, is_dense: bool, key: int = 0) -> Supernet:
    return Supernet(template, TASK, (key,), CPU, optimizers=(optimizer,), is_dense=is_dense)


def _rule(optimizer: OptimizerName, rate: float = 1e-2) -> UpdateRule:
    return UpdateRule(optimizer=optimizer, learning_rate=rate, momentum=0.9, weight_decay=1e-2)


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture(scope="module")
def splits() -> Splits:
    """The original digits."""
    return load("digits", None, {}, reward=0.1, selection=0.1, stratify=True, seed=0, device=CPU)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NAMES)
def test_a_buffer_moves_as_views_do(name: str, optimizer: OptimizerName, splits: Splits) -> None:
    """Given the same gradients, eight steps on random paths leave the same weights, moments and counts, and trials show the same.

    Bit for bit; adamw, of which views use another kernel than a buffer, up to the rounding of float32.
    """
    rounding = 1e-5 if optimizer == "adamw" else 0.0
    template = build_template(name, (1, 8, 8), 10)
    views, buffers = (_supernet(template, optimizer, is_dense=is_dense) for is_dense in (False, True))
    for step in range(8):
        path = random_path(template, step)
        _, grads = views.gradient(path, splits.train_batch(step, 32, 0))
        with views.trial(path, grads, _rule(optimizer, 0.1)), buffers.trial(path, grads, _rule(optimizer, 0.1)):
            leaves, others = views.leaves(path), buffers.leaves(path)
            torch.testing.assert_close(dict(others), dict(leaves), rtol=rounding, atol=rounding)
        views.commit(path, grads, _rule(optimizer))
        buffers.commit(path, grads, _rule(optimizer))

    torch.testing.assert_close(buffers.state_dict(), views.state_dict(), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_buffer_is_that_of_views(name: str, splits: Splits) -> None:
    """Up to the order of the sums within a matrix product, which the layout of its factors decides."""
    template = build_template(name, (1, 8, 8), 10)
    views, buffers = (_supernet(template, "sgd", is_dense=is_dense) for is_dense in (False, True))
    for step in range(4):
        path, batch = random_path(template, step), splits.train_batch(step, 32, 0)
        (loss, grads), (same_loss, same_grads) = views.gradient(path, batch), buffers.gradient(path, batch)
        torch.testing.assert_close(same_loss, loss)
        torch.testing.assert_close({leaf: same_grads[leaf] for leaf in grads}, grads, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_revert_restores_the_shared_tensors_bit_for_bit(optimizer: OptimizerName, splits: Splits) -> None:
    """Of a path that had moved before: weights, moments and counts, in the buffer and behind it."""
    template = build_template("conv-small", (1, 8, 8), 10)
    net, path = _supernet(template, optimizer, is_dense=True), random_path(template, 1)
    _, grads = net.gradient(path, splits.train_batch(0, 32, 0))
    net.commit(path, grads, _rule(optimizer))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with net.revertible(path, optimizer) as revert_unless:
        net.commit(path, grads, _rule(optimizer))
        assert not _equal(net.state_dict(), before)
        revert_unless(torch.tensor(data=False))
    net.discount(path, optimizer)

    assert _equal(net.state_dict(), before)
    for name, index in template.slices(path).items():
        assert torch.equal(net.leaves(path)[name], before[f"weights/{name}"][index])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_buffer_resumes_bit_for_bit_through_a_file(optimizer: OptimizerName, splits: Splits, tmp_path: File) -> None:
    """Six steps, saved and loaded into a supernet whose buffer holds another state, six more: equal to twelve."""

    def train(net: Supernet, steps: range) -> None:
        for step in steps:
            path = random_path(template, step)
            net.commit(path, net.gradient(path, splits.train_batch(step, 32, 0))[1], _rule(optimizer))

    template = build_template("mlp", (1, 8, 8), 10)
    whole, first, second = (_supernet(template, optimizer, is_dense=True, key=key) for key in (0, 0, 7))
    train(whole, range(12))
    train(first, range(6))
    save_file(first.state_dict(), tmp_path / "supernet.safetensors")
    train(second, range(5, 7))  # the buffer then holds the path of the next step
    second.load_state_dict(load_file(tmp_path / "supernet.safetensors"))
    train(second, range(6, 12))

    assert _equal(whole.state_dict(), second.state_dict())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_commit_launches_as_many_kernels_for_many_leaves_as_for_few(optimizer: OptimizerName) -> None:
    """On random paths of 17 to 29 leaves of conv-small, which other paths have updated unevenly; with views the number grows."""
    template = build_template("conv-small", (1, 8, 8), 10)
    buffers, views = (_supernet(template, optimizer, is_dense=is_dense) for is_dense in (True, False))
    counts: dict[int, set[tuple[int, int]]] = {}
    of_views: dict[int, int] = {}
    for draw in range(24):
        path = random_path(template, "kernels", draw)
        number = len(buffers.leaves(path))
        kernels = kernels_of_commit(buffers, path, _rule(optimizer))
        if draw >= 12:  # by then every leaf of Adam has cells of different counts
            counts.setdefault(number, set()).add(kernels)
            of_views[number] = kernels_of_commit(views, path, _rule(optimizer))[0]

    assert max(counts) >= min(counts) + 12
    assert len(set.union(*counts.values())) == 1
    assert of_views[max(of_views)] > of_views[min(of_views)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trial_and_commit_on_a_gpu_wait_for_nothing(optimizer: OptimizerName, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under FakeTensorMode on device cuda a wait raises DataDependentOutputException; leaves are buffers there without being asked.

    Not tried: copies through pinned memory, which need a driver.
    """
    for module in (cells, dense):
        monkeypatch.setattr(module, "put_on", lambda values, device: values.to(device))
    template = build_template("conv-small", (1, 8, 8), 10)
    with FakeTensorMode(allow_non_fake_inputs=True):
        net = Supernet(template, TASK, (0,), torch.device("cuda"), optimizers=(optimizer,))
        for draw in range(4):
            path = random_path(template, draw)
            leaves = net.leaves(path)
            grads = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
            with net.trial(path, grads, _rule(optimizer)), net.revertible(path, optimizer) as revert_unless:
                revert_unless(torch.ones((), dtype=torch.bool, device="cuda"))
            net.commit(path, grads, _rule(optimizer))

        assert {leaf.device.type for leaf in leaves.values()} == {"cuda"}
        assert len({leaf.untyped_storage()._cdata for leaf in leaves.values()}) == 1
