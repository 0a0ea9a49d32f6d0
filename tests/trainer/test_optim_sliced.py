"""The sliced update against torch.optim.SGD and against arithmetic."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autohas_trainer.optim import (
    STATE_KEYS,
    OptimizerName,
    Slices,
    UpdateRule,
    apply_update,
    decays,
    set_rate,
    standalone_optimizer,
    temporary_update,
)
from autohas_trainer.seeding import stream

RULE = UpdateRule(learning_rate=0.1, momentum=0.9, weight_decay=0.01)


def keyed(*key: int | str, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers that depend on the key alone."""
    return torch.tensor(stream(*key).standard_normal(shape, dtype=np.float32))


def slices(*weights: Tensor) -> Slices:
    """Whole tensors as slices, moments at zero."""
    keys = [key for keys in STATE_KEYS.values() for key in keys]
    return Slices(
        names=tuple(f"tensor{number}" for number in range(len(weights))),
        weights=weights,
        moments={key: tuple(torch.zeros_like(weight) for weight in weights) for key in keys},
        counts={},
        num_decaying=sum(decays(weight.ndim) for weight in weights),
    )


def network() -> nn.Module:
    """A network with every kind of parameter, initialised from keyed streams."""
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(keyed("network", name, shape=tuple(parameter.shape)))
    return module


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_whole_network_moves_bit_for_bit_as_torch_does(optimizer: OptimizerName, momentum: float, weight_decay: float) -> None:
    """Over ten steps at changing rates, our update and torch.optim's give equal bits."""
    module = network()
    names = sorted(dict(module.named_parameters()), key=lambda name: not decays(module.get_parameter(name).ndim))
    ours = slices(*(module.get_parameter(name).detach().clone() for name in names))
    rule = UpdateRule(optimizer=optimizer, learning_rate=1.0, momentum=momentum, weight_decay=weight_decay)
    theirs = standalone_optimizer(module, rule)
    for step in range(10):
        rate = 0.1 / (step + 1)
        grads = [keyed("gradient", step, name, shape=tuple(module.get_parameter(name).shape)) for name in names]
        for name, grad in zip(names, grads, strict=True):
            module.get_parameter(name).grad = grad.clone()
        set_rate(theirs, rate)
        theirs.step()
        apply_update(ours, grads, replace(rule, learning_rate=rate))
    for name, weight in zip(names, ours.weights, strict=True):
        assert torch.equal(weight, module.get_parameter(name).detach()), name


def test_one_step_of_adam_and_rmsprop_in_closed_form() -> None:
    """From w=1 with g=2: Adam's first step is r·g/|g| = 0.1; RMSprop's is r·g/(0.1·|g|) = 1."""
    for optimizer, expected in (("adam", 0.9), ("rmsprop", 0.0)):
        ours = slices(torch.ones(2))
        apply_update(ours, [torch.full((2,), 2.0)], UpdateRule(optimizer=optimizer, learning_rate=0.1, momentum=0.9, weight_decay=0.0))
        assert ours.weights[0].tolist() == pytest.approx([expected] * 2, abs=1e-6)


def test_adam_counts_a_tensor_when_any_slice_of_it_moves() -> None:
    """A temporary update counts nothing, a commit counts each tensor of the path once, others stay."""
    ours, rule = slices(torch.ones(2, 2), torch.ones(2)), UpdateRule(optimizer="adam", learning_rate=0.1, momentum=0.9, weight_decay=0.0)
    one = replace(ours, names=ours.names[:1], weights=ours.weights[:1], moments={k: m[:1] for k, m in ours.moments.items()}, num_decaying=1)
    with temporary_update(ours, [torch.ones(2, 2), torch.ones(2)], rule):
        assert ours.counts == {}
    apply_update(ours, [torch.ones(2, 2), torch.ones(2)], rule)
    apply_update(one, [torch.ones(2, 2)], rule)
    assert ours.counts == {"tensor0": 2, "tensor1": 1}


def test_two_steps_in_closed_form() -> None:
    """From w=1 with g=1, r=0.1, m=0.9, d=0.01: v₁=1.01, w₁=0.899, v₂=0.909+1+0.00899, w₂=w₁-0.1·v₂."""
    ours = slices(torch.ones(1, 1))
    apply_update(ours, [torch.ones(1, 1)], RULE)
    assert ours.weights[0].item() == pytest.approx(0.899)
    apply_update(ours, [torch.ones(1, 1)], RULE)
    assert ours.weights[0].item() == pytest.approx(0.899 - 0.1 * (0.909 + 1 + 0.00899))


def test_vectors_do_not_decay() -> None:
    """With no gradient a matrix shrinks by the decay and a bias stays."""
    ours = slices(torch.ones(2, 2), torch.ones(2))
    apply_update(ours, [torch.zeros(2, 2), torch.zeros(2)], RULE)
    assert torch.equal(ours.weights[0], torch.full((2, 2), 1 - 0.1 * 0.01))
    assert torch.equal(ours.weights[1], torch.ones(2))


def test_no_momentum_leaves_the_buffers() -> None:
    """A rule without momentum neither reads nor writes the momentum."""
    ours = slices(torch.ones(2, 2))
    ours.moments["momentum_buffer"][0].fill_(math.nan)
    apply_update(ours, [torch.ones(2, 2)], UpdateRule(learning_rate=0.5, momentum=0.0, weight_decay=0.0))
    assert torch.equal(ours.weights[0], torch.full((2, 2), 0.5))
    assert ours.moments["momentum_buffer"][0].isnan().all()


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_temporary_weights_equal_the_committed_ones(optimizer: OptimizerName) -> None:
    """Inside the block stands exactly what a commit would leave, moments included in the step."""
    ours, rule = slices(keyed("w", shape=(3, 3)), keyed("b", shape=(3,))), replace(RULE, optimizer=optimizer)
    grads = [keyed("gw", shape=(3, 3)), keyed("gb", shape=(3,))]
    apply_update(ours, grads, rule)
    with temporary_update(ours, grads, rule):
        inside = [weight.clone() for weight in ours.weights]
    apply_update(ours, grads, rule)
    assert all(torch.equal(one, other) for one, other in zip(inside, ours.weights, strict=True))


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
def test_temporary_weights_vanish_without_a_trace(poison: float) -> None:
    """Whatever the step did, even NaN, and whatever was raised inside, weights and momentum are what they were."""
    ours = slices(keyed("w", shape=(3, 3)))
    ours.moments["momentum_buffer"][0].copy_(keyed("m", shape=(3, 3)))
    weight, momentum = ours.weights[0].clone(), ours.moments["momentum_buffer"][0].clone()
    with pytest.raises(KeyError), temporary_update(ours, [torch.full((3, 3), poison)], RULE):
        raise KeyError
    assert torch.equal(ours.weights[0], weight)
    assert torch.equal(ours.moments["momentum_buffer"][0], momentum)


def test_gradients_are_not_consumed() -> None:
    """Trial and commit share one gradient, so neither may change it."""
    ours, grad = slices(torch.ones(2, 2)), torch.ones(2, 2)
    with temporary_update(ours, [grad], RULE):
        pass
    apply_update(ours, [grad], RULE)
    assert torch.equal(grad, torch.ones(2, 2))


def test_only_the_slice_moves() -> None:
    """An update through views leaves every weight and momentum outside them as it was."""
    shared, momentum = torch.ones(4, 4), torch.zeros(4, 4)
    view = Slices(names=("shared",), weights=(shared[:2, :3],), moments={"momentum_buffer": (momentum[:2, :3],)}, counts={}, num_decaying=1)
    apply_update(view, [torch.ones(2, 3)], RULE)
    moved = torch.zeros(4, 4, dtype=torch.bool)
    moved[:2, :3] = True
    assert torch.equal(shared != 1, moved)
    assert torch.equal(momentum != 0, moved)


def test_slices_must_stand_in_order() -> None:
    """A bias before a matrix would make decay fall on the wrong tensors, and is refused."""
    with pytest.raises(ValueError, match="decaying tensors first"):
        slices(torch.ones(2), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [("learning_rate", math.nan), ("learning_rate", -1.0), ("momentum", 1.0), ("momentum", -0.1), ("weight_decay", math.inf)],
)
def test_rules_refuse_nonsense(field: str, value: float) -> None:
    """A rule with a number out of range cannot exist; the message names the field."""
    numbers = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, field: value}
    with pytest.raises(ValueError, match=field):
        UpdateRule(**numbers)


def test_standalone_optimizer_decays_matrices_only() -> None:
    """The two groups split the parameters by their number of dimensions, and `set_rate` reaches both."""
    optimizer = standalone_optimizer(network(), RULE)
    dimensions = [[parameter.ndim for parameter in group["params"]] for group in optimizer.param_groups]
    assert dimensions == [[4, 2], [1, 1, 1, 1]]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
