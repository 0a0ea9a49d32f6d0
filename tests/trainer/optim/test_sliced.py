"""The sliced update against torch.optim.SGD and against arithmetic."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
from autohas_trainer.optim.cells import Cells, UpdateCounts
from autohas_trainer.seeding import stream

RULE = UpdateRule(learning_rate=0.1, momentum=0.9, weight_decay=0.01)


def keyed(*key: int | str, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers that depend on the key alone."""
    return torch.tensor(stream(*key).standard_normal(shape, dtype=np.float32))


def slices(*weights: Tensor) -> Slices:
    """Whole tensors as slices, moments at zero."""
    keys = [key for keys in STATE_KEYS.values() for key in keys]
    shapes = {f"tensor{number}": tuple(weight.shape) for number, weight in enumerate(weights)}
    whole = {name: tuple(slice(0, size) for size in shape) for name, shape in shapes.items()}
    return Slices(
        weights=weights,
        moments={key: tuple(torch.zeros_like(weight) for weight in weights) for key in keys},
        cells=Cells(UpdateCounts(shapes, torch.device("cpu")), whole),
        num_decaying=sum(decays(weight.ndim) for weight in weights),
    )


def network() -> nn.Module:
    """A network with every kind of parameter, initialised from keyed streams."""
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(keyed("network", name, shape=tuple(parameter.shape)))
    return module


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_whole_network_moves_bit_for_bit_as_torch_does(optimizer: OptimizerName, momentum: float, weight_decay: float) -> None:
    """Over ten steps at changing rates, our update and torch.optim's give equal bits."""
    rule = UpdateRule(optimizer=optimizer, learning_rate=1.0, momentum=momentum, weight_decay=weight_decay)
    _compare_with(standalone_optimizer, rule)


TORCH: dict[str, tuple[UpdateRule, Callable[[list[nn.Parameter]], torch.optim.Optimizer]]] = {
    "nesterov": (
        UpdateRule(learning_rate=1.0, momentum=0.9, weight_decay=0.01, decays_vectors=True, is_nesterov=True),
        lambda weights: torch.optim.SGD(weights, momentum=0.9, weight_decay=0.01, nesterov=True),
    ),
    "nesterov without momentum": (
        UpdateRule(learning_rate=1.0, momentum=0.0, weight_decay=0.01, decays_vectors=True, is_nesterov=True),
        lambda weights: torch.optim.SGD(weights, weight_decay=0.01),
    ),
    "adamw": (
        UpdateRule(optimizer="adamw", learning_rate=1.0, momentum=0.8, weight_decay=0.1, decays_vectors=True, beta2=0.95, epsilon=1e-6),
        lambda weights: torch.optim.AdamW(weights, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, fused=True),
    ),
    "adam": (
        UpdateRule(optimizer="adam", learning_rate=1.0, momentum=0.9, weight_decay=0.01, decays_vectors=True, beta2=0.9, epsilon=1e-3),
        lambda weights: torch.optim.Adam(weights, betas=(0.9, 0.9), eps=1e-3, weight_decay=0.01),
    ),
    "rmsprop": (
        UpdateRule(optimizer="rmsprop", learning_rate=1.0, momentum=0.9, weight_decay=0.01, decays_vectors=True, epsilon=1e-3),
        lambda weights: torch.optim.RMSprop(weights, eps=1e-3, weight_decay=0.01),
    ),
}
"""Rules that decay every weight, each with torch's optimizer as its users write it."""


@pytest.mark.parametrize("name", TORCH)
def test_every_number_of_a_rule_is_torchs_own(name: str) -> None:
    """Nesterov, beta2, epsilon, decoupled decay and decay of vectors give the bits of the optimizer that a user would write."""
    rule, build = TORCH[name]
    _compare_with(lambda module, _: build(list(module.parameters())), rule)
    _compare_with(standalone_optimizer, rule)


def _compare_with(build: Callable[[nn.Module, UpdateRule], torch.optim.Optimizer], rule: UpdateRule) -> None:
    """Ten steps of our update and of torch's optimizer on one network, at changing rates, end at equal weights."""
    module = network()
    names = sorted(dict(module.named_parameters()), key=lambda name: not decays(module.get_parameter(name).ndim))
    ours = slices(*(module.get_parameter(name).detach().clone() for name in names))
    theirs = build(module, rule)
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


def test_adamw_shrinks_weights_without_a_gradient_and_spares_vectors() -> None:
    """With a gradient of 0 a step of rate 0.1 and decay 0.5 leaves 0.95 of a matrix, and a vector as it was unless vectors decay."""
    rule = UpdateRule(optimizer="adamw", learning_rate=0.1, momentum=0.9, weight_decay=0.5)
    for decays_vectors, expected in ((False, 1.0), (True, 0.95)):
        ours = slices(torch.ones(2, 2), torch.ones(2))
        apply_update(ours, [torch.zeros(2, 2), torch.zeros(2)], replace(rule, decays_vectors=decays_vectors))

        assert ours.weights[0].tolist() == [[pytest.approx(0.95)] * 2] * 2
        assert ours.weights[1].tolist() == [pytest.approx(expected)] * 2


@pytest.mark.parametrize(("name", "value"), [("beta2", 1.0), ("epsilon", 0.0), ("epsilon", math.inf), ("momentum", -0.1)])
def test_numbers_under_which_a_rule_means_nothing_are_refused(name: str, value: float) -> None:
    """Each is named."""
    numbers = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "beta2": 0.9, "epsilon": 1e-8} | {name: value}
    with pytest.raises(ValueError, match=name):
        UpdateRule(
            learning_rate=numbers["learning_rate"],
            momentum=numbers["momentum"],
            weight_decay=numbers["weight_decay"],
            beta2=numbers["beta2"],
            epsilon=numbers["epsilon"],
        )


def test_one_step_of_adam_and_rmsprop_in_closed_form() -> None:
    """From w=1 with g=2: Adam's first step is r·g/|g| = 0.1; RMSprop's is r·g/(0.1·|g|) = 1."""
    expectations: dict[OptimizerName, float] = {"adam": 0.9, "rmsprop": 0.0}
    for optimizer, expected in expectations.items():
        ours = slices(torch.ones(2))
        apply_update(ours, [torch.full((2,), 2.0)], UpdateRule(optimizer=optimizer, learning_rate=0.1, momentum=0.9, weight_decay=0.0))
        assert ours.weights[0].tolist() == pytest.approx([expected] * 2, abs=1e-6)


ADAM = UpdateRule(optimizer="adam", learning_rate=0.1, momentum=0.9, weight_decay=0.0)


class Shared:
    """One shared tensor with Adam's moments and counts, of which an update moves a slice."""

    def __init__(self, *shape: int) -> None:
        self.weights = torch.zeros(shape, dtype=torch.float32)
        self.moments = {key: torch.zeros(shape) for key in STATE_KEYS["adam"]}
        self.counts = UpdateCounts({"shared": shape}, torch.device("cpu"))

    def cut(self, *parts: slice) -> Slices:
        """The views of one slice."""
        return Slices(
            weights=(self.weights[parts],),
            moments={key: (moment[parts],) for key, moment in self.moments.items()},
            cells=Cells(self.counts, {"shared": parts}),
            num_decaying=int(decays(self.weights.ndim)),
        )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_of_adam_is_the_rate_however_rarely_a_slice_is_sampled(momentum: float) -> None:
    """With a gradient of 1 every step of every weight is the rate: slices that lie in 1, 1/2, 1/4 and 1/8 of the steps."""
    shared, rule = Shared(8), replace(ADAM, momentum=momentum)
    draws = stream("sampling").integers(8, size=400)
    for draw in draws:
        width = 8 if draw == 0 else 4 if draw == 1 else 2 if draw < 4 else 1  # within 1/8, 1/4, 1/2 and all of the steps
        before = shared.weights.clone()
        ours = shared.cut(slice(0, width))
        with temporary_update(ours, [torch.ones(width)], rule):
            tried = shared.weights.clone()
        apply_update(ours, [torch.ones(width)], rule)
        step = (before - shared.weights) / rule.learning_rate

        assert torch.equal(tried, shared.weights)
        assert step[:width].tolist() == pytest.approx([1.0] * width, abs=1e-4)
        assert not step[width:].any()


def test_the_first_step_of_a_slice_after_two_thousand_of_its_tensor_is_the_rate() -> None:
    """What is sampled for the first time at step 2,000 moves as everything did in its own first step."""
    shared = Shared(2, 2)
    for _ in range(2000):
        apply_update(shared.cut(slice(0, 1), slice(0, 2)), [torch.ones(1, 2)], replace(ADAM, learning_rate=1e-4))
    before = shared.weights.clone()
    apply_update(shared.cut(slice(0, 2), slice(0, 2)), [torch.ones(2, 2)], ADAM)

    assert ((before - shared.weights) / ADAM.learning_rate).tolist() == [pytest.approx([1.0] * 2, abs=1e-4)] * 2


@pytest.mark.parametrize(("optimizer", "build"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_every_element_moves_as_a_parameter_of_its_own_under_torch(
    optimizer: OptimizerName, build: Callable[..., torch.optim.Optimizer]
) -> None:
    """Random slices of a tensor of three dimensions, random gradients: each element against its own Adam or AdamW."""
    shared, shape, rng = Shared(3, 4, 5), (3, 4, 5), stream("elements")
    alone = {place: torch.nn.Parameter(torch.zeros(1)) for place in np.ndindex(shape)}
    theirs = {place: build([weight], lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01) for place, weight in alone.items()}
    for step in range(40):
        parts = []
        for size in shape:
            start = int(rng.integers(size))
            parts.append(slice(start, int(rng.integers(start + 1, size + 1))))
        gradient = keyed("element gradient", step, shape=shape)
        apply_update(shared.cut(*parts), [gradient[tuple(parts)]], replace(ADAM, optimizer=optimizer, weight_decay=0.01))
        for place in np.ndindex(shape):
            if all(part.start <= position < part.stop for part, position in zip(parts, place, strict=True)):
                alone[place].grad = gradient[place].reshape(1).clone()
                theirs[place].step()
    expected = torch.stack([alone[place].detach().reshape(()) for place in np.ndindex(shape)]).reshape(shape)

    torch.testing.assert_close(shared.weights, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [2**18 - 1, 2**18, 2**18 + 5])
def test_more_than_one_batch_of_blocks_moves_as_one(size: int) -> None:
    """Two tensors on either side of the number of elements that is copied at once, against torch's own AdamW."""
    rule = UpdateRule(optimizer="adamw", learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    ours = slices(keyed("large", shape=(1, size)), keyed("small", shape=(3, 3)))
    theirs = [torch.nn.Parameter(weight.clone()) for weight in ours.weights]
    optimizer = torch.optim.AdamW(theirs, lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=True)
    grads = [keyed("large gradient", shape=(1, size)), keyed("small gradient", shape=(3, 3))]
    for parameter, grad in zip(theirs, grads, strict=True):
        parameter.grad = grad.clone()
    optimizer.step()
    apply_update(ours, grads, rule)

    assert all(torch.equal(weight, parameter.detach()) for weight, parameter in zip(ours.weights, theirs, strict=True))


def test_new_cuts_keep_the_counts_of_what_they_cut() -> None:
    """The grid grows by the lines that paths need; a temporary update counts nothing; the state has a number per cell."""
    shared = Shared(4, 4)
    apply_update(shared.cut(slice(0, 4), slice(0, 4)), [torch.ones(4, 4)], ADAM)
    apply_update(shared.cut(slice(0, 2), slice(1, 3)), [torch.ones(2, 2)], ADAM)
    with temporary_update(shared.cut(slice(0, 1), slice(0, 4)), [torch.ones(1, 4)], ADAM):
        pass
    state = shared.counts.state_dict()

    assert state["bounds/shared"].tolist() == [0, 1, 2, 4, 0, 1, 3, 4]
    assert state["counts/shared"].tolist() == [[1, 2, 1], [1, 2, 1], [1, 1, 1]]


def test_counts_survive_their_state() -> None:
    """Restored into another supernet whose views were cut already, the same cells have the same counts and the next step is the same."""
    one, other = Shared(4, 4), Shared(4, 4)
    for shared in (one, other):
        apply_update(shared.cut(slice(0, 4), slice(0, 3)), [torch.ones(4, 3)], ADAM)
    apply_update(one.cut(slice(0, 2), slice(0, 4)), [torch.ones(2, 4)], ADAM)
    ours, theirs = (shared.cut(slice(0, 4), slice(0, 4)) for shared in (one, other))
    with temporary_update(theirs, [torch.ones(4, 4)], ADAM):
        pass
    other.counts.load_state_dict(one.counts.state_dict())
    other.weights.copy_(one.weights)
    for key, moment in one.moments.items():
        other.moments[key].copy_(moment)
    for moved in (ours, theirs):
        apply_update(moved, [torch.ones(4, 4)], ADAM)

    assert torch.equal(one.weights, other.weights)
    assert all(torch.equal(count, other.counts.state_dict()[name]) for name, count in one.counts.state_dict().items())


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [([0, 4, 0, 5], (1, 1)), ([0, 4], (1,)), ([0, 2, 4, 0, 4], (1, 1)), ([0, 3, 3, 4, 0, 4], (3, 1)), ([2, 4, 0, 4], (1, 1))],
)
def test_counts_of_another_tensor_are_refused_whole(bounds: list[int], counts: tuple[int, ...]) -> None:
    """Lines beyond the shape, of another number of dimensions, out of order, or counts that are no cell's: refused by name."""
    shared = Shared(4, 4)
    apply_update(shared.cut(slice(0, 2), slice(0, 4)), [torch.ones(2, 4)], ADAM)
    before = shared.counts.state_dict()
    wrong = {"bounds/shared": torch.tensor(bounds), "counts/shared": torch.zeros(counts, dtype=torch.int64)}
    with pytest.raises(ValueError, match="shared"):
        shared.counts.load_state_dict(wrong)

    assert all(torch.equal(tensor, shared.counts.state_dict()[name]) for name, tensor in before.items())


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


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_temporary_weights_equal_the_committed_ones(optimizer: OptimizerName) -> None:
    """Inside the block stands exactly what a commit would leave, moments included in the step."""
    ours, rule = slices(keyed("w", shape=(3, 3)), keyed("b", shape=(3,))), replace(RULE, optimizer=optimizer)
    grads = [keyed("gw", shape=(3, 3)), keyed("gb", shape=(3,))]
    apply_update(ours, grads, rule)
    with temporary_update(ours, grads, rule):
        inside = [weight.clone() for weight in ours.weights]
    apply_update(ours, grads, rule)
    assert all(torch.equal(one, other) for one, other in zip(inside, ours.weights, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_temporary_weights_are_torchs_step_on_a_copy_and_leave_no_trace(optimizer: OptimizerName) -> None:
    """After five steps the sixth, tried only, gives torch.optim's bits on a copy; weights, moments and counts are then the fifth's."""
    module = network()
    names = sorted(dict(module.named_parameters()), key=lambda name: not decays(module.get_parameter(name).ndim))
    ours = slices(*(module.get_parameter(name).detach().clone() for name in names))
    assert ours.cells is not None
    rule = replace(RULE, optimizer=optimizer)
    theirs = standalone_optimizer(module, rule)
    for step in range(6):
        grads = [keyed("gradient", step, name, shape=tuple(module.get_parameter(name).shape)) for name in names]
        for name, grad in zip(names, grads, strict=True):
            module.get_parameter(name).grad = grad.clone()
        theirs.step()
        if step < 5:
            apply_update(ours, grads, rule)
    kept = [*ours.weights, *(moment for moments in ours.moments.values() for moment in moments)]
    before, counts = [tensor.clone() for tensor in kept], ours.cells.current()
    with temporary_update(ours, grads, rule):
        assert all(torch.equal(weight, module.get_parameter(name).detach()) for name, weight in zip(names, ours.weights, strict=True))

    assert all(torch.equal(tensor, saved) for tensor, saved in zip(kept, before, strict=True))
    assert np.array_equal(ours.cells.current(), counts)


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
    view = Slices(weights=(shared[:2, :3],), moments={"momentum_buffer": (momentum[:2, :3],)}, cells=None, num_decaying=1)
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
    numbers: dict[str, Any] = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, field: value}
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
