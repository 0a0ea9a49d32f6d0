"""The supernet: slices move, the rest does not, and nothing is lost on the way through a file."""

from pathlib import Path as File

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from autohas_trainer.data import RewardBatch, Splits, TrainBatch, load
from autohas_trainer.errors import CheckpointError
from autohas_trainer.optim import OptimizerName, UpdateRule, set_rate, standalone_optimizer
from autohas_trainer.seeding import stream
from autohas_trainer.supernet import Supernet
from autohas_trainer.tasks import Classification
from autohas_trainer.templates import Template, build_template, default_path, export_leaves, load_leaves, use_batch_statistics

CPU = torch.device("cpu")
NAMES = ["conv-small", "mlp", "mlp-small"]
TASK = Classification("accuracy", [100] * 10, balanced=False, device=CPU)
ADAM: tuple[OptimizerName] = ("adam",)
RULE = UpdateRule(learning_rate=0.1, momentum=0.9, weight_decay=1e-2)


def template(name: str) -> Template:
    """A template for the original digits."""
    return build_template(name, (1, 8, 8), 10)


def random_path(made: Template, *key: int | str) -> dict[str, str]:
    """A path that depends on the key alone."""
    rng = stream("path", *key)
    return {decision.name: decision.choices[rng.integers(len(decision.choices))] for decision in made.decisions}


def snapshot(net: Supernet) -> dict[str, Tensor]:
    """A copy of weights and momentum."""
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def changed(net: Supernet, before: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where weights and momentum differ from a copy."""
    return {name: tensor != before[name] for name, tensor in net.state_dict().items()}


def bits_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states have the same names and bits."""
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


@pytest.fixture(scope="module")
def splits() -> Splits:
    """The original digits."""
    return load("digits", None, {}, reward=0.1, selection=0.1, stratify=True, seed=0, device=CPU)


def train(net: Supernet, made: Template, splits: Splits, steps: range, rule: UpdateRule = RULE) -> None:
    """Uniform sampling: gradient, trial with a score, commit."""
    for step in steps:
        path = random_path(made, step)
        _, grads = net.gradient(path, splits.train_batch(step, 32, 0))
        with net.trial(path, grads, rule):
            net.loss_and_quality(path, splits.reward_batch(step, 64, 0))
        net.commit(path, grads, rule)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_touches_nothing_and_names_the_leaves(name: str, splits: Splits) -> None:
    """The gradient has exactly the path's leaves, and the shared tensors stand still."""
    made = template(name)
    net = Supernet(made, TASK, (0,), CPU)
    before, path = snapshot(net), random_path(made, 1)
    loss, grads = net.gradient(path, splits.train_batch(0, 32, 0))
    assert loss.shape == ()
    assert not loss.requires_grad
    assert {leaf: grad.shape for leaf, grad in grads.items()} == {leaf: view.shape for leaf, view in net.leaves(path).items()}
    assert grads.keys() == made.slices(path).keys()
    assert bits_equal(net.state_dict(), before)


@pytest.mark.parametrize("name", NAMES)
def test_commit_moves_the_sampled_slices_only(name: str, splits: Splits) -> None:
    """After a commit every changed weight and momentum lies inside the path's slices."""
    made = template(name)
    net = Supernet(made, TASK, (0,), CPU)
    for draw in range(5):
        before, path = snapshot(net), random_path(made, draw)
        _, grads = net.gradient(path, splits.train_batch(draw, 32, 0))
        net.commit(path, grads, RULE)
        slices = made.slices(path)
        for entry, mask in changed(net, before).items():
            leaf = entry.split("/")[1]
            assert mask.any() == (leaf in slices), entry
            if leaf in slices:
                mask[slices[leaf]] = False
                assert not mask.any(), entry


@pytest.mark.parametrize("name", NAMES)
def test_trial_shows_the_committed_weights_and_restores(name: str, splits: Splits) -> None:
    """Inside a trial the score is that after a commit; afterwards all tensors are what they were, momentum included."""
    made = template(name)
    net, twin = Supernet(made, TASK, (0,), CPU), Supernet(made, TASK, (0,), CPU)
    train(net, made, splits, range(3))
    train(twin, made, splits, range(3))
    before, path, batch = snapshot(net), random_path(made, "trial"), splits.reward_batch(0, 64, 0)
    _, grads = net.gradient(path, splits.train_batch(9, 32, 0))
    with net.trial(path, grads, RULE):
        inside = net.loss_and_quality(path, batch)
    assert bits_equal(net.state_dict(), before)
    twin.commit(path, grads, RULE)
    assert inside == twin.loss_and_quality(path, batch)


def test_trial_with_a_poisonous_rate_leaves_no_trace(splits: Splits) -> None:
    """A step to infinity or NaN is undone bit for bit."""
    made = template("conv-small")
    net = Supernet(made, TASK, (0,), CPU)
    before, path = snapshot(net), default_path(made.decisions)
    _, grads = net.gradient(path, splits.train_batch(0, 32, 0))
    with net.trial(path, grads, UpdateRule(learning_rate=1e38, momentum=0, weight_decay=0)):
        loss, _ = net.loss_and_quality(path, splits.reward_batch(0, 64, 0))
    assert not loss.isfinite()
    assert bits_equal(net.state_dict(), before)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("surrounded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_rewards_see_the_rate(name: str, dtype: torch.dtype | None, surrounded: bool, splits: Splits) -> None:  # noqa: FBT001
    """Under bfloat16 too, and inside a caller's own autocast region, each rate gives another reward and a repetition the same."""
    made = template(name)
    net, batch = Supernet(made, TASK, (0,), CPU, dtype=dtype), splits.reward_batch(0, 64, 0)
    path = default_path(made.decisions)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=surrounded):
        _, grads = net.gradient(path, splits.train_batch(0, 64, 0))
        losses = []
        for rate in (0.0, 0.05, 0.2, 0.8, 0.0):
            with net.trial(path, grads, UpdateRule(learning_rate=rate, momentum=0.9, weight_decay=0)):
                losses.append(net.loss_and_quality(path, batch)[0].item())
    assert losses[0] == losses[-1]
    assert len(set(losses)) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_single_path_trains_as_its_standalone_network(name: str, splits: Splits) -> None:
    """Ten steps along one path equal ten steps of the stand-alone network from the same weights under torch's optimizer."""
    made = template(name)
    net, path = Supernet(made, TASK, (0,), CPU), random_path(made, 4)
    alone = made.build(path, (1,))
    load_leaves(alone, {leaf: view.detach() for leaf, view in net.leaves(path).items()})
    optimizer = standalone_optimizer(alone.train(), RULE)
    for step in range(10):
        batch, rate = splits.train_batch(step, 64, 0), 0.1 / (1 + step)
        _, grads = net.gradient(path, batch)
        net.commit(path, grads, UpdateRule(learning_rate=rate, momentum=0.9, weight_decay=1e-2))
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        functional.cross_entropy(alone(batch.inputs), batch.targets_B).backward()
        optimizer.step()
    for leaf, view in net.leaves(path).items():
        torch.testing.assert_close(view.detach(), alone.get_parameter(leaf).detach(), rtol=1e-4, atol=1e-5)


def test_score_is_the_mean_over_the_batch(splits: Splits) -> None:
    """Loss and share of correct answers are those of the logits, computed by hand."""
    made = template("mlp-small")
    net, batch = Supernet(made, TASK, (0,), CPU), splits.reward_batch(0, 64, 0)
    path = default_path(made.decisions)
    loss, quality = net.loss_and_quality(path, batch)
    logits_BC = made.forward(batch.inputs, path, net.leaves(path)).detach().numpy().astype(np.float64)
    log_partition_B = np.log(np.exp(logits_BC).sum(axis=1))
    expected = (log_partition_B - logits_BC[np.arange(64), batch.targets_B.numpy()]).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert quality.item() == (logits_BC.argmax(axis=1) == batch.targets_B.numpy()).mean()
    assert not loss.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_training_resumes_bit_for_bit_through_a_file(name: str, splits: Splits, tmp_path: File) -> None:
    """Six steps, saved and loaded into another supernet, six more: equal to twelve without interruption."""
    made, file = template(name), tmp_path / "supernet.safetensors"
    whole, first, second = Supernet(made, TASK, (0,), CPU), Supernet(made, TASK, (0,), CPU), Supernet(made, TASK, (7,), CPU)
    train(whole, made, splits, range(12))
    train(first, made, splits, range(6))
    save_file(first.state_dict(), file)
    train(second, made, splits, range(2))  # its views exist already and must not go stale
    second.load_state_dict(load_file(file))
    train(second, made, splits, range(6, 12))
    assert bits_equal(whole.state_dict(), second.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_adam_resumes_bit_for_bit_through_a_file(name: str, splits: Splits, tmp_path: File) -> None:
    """Counts per cell are part of the state: six steps, a file, six more equal twelve, and temporary weights count nothing."""
    made, file = template(name), tmp_path / "supernet.safetensors"
    rule = UpdateRule(optimizer="adam", learning_rate=1e-3, momentum=0.9, weight_decay=1e-2)
    whole, first, second = (Supernet(made, TASK, (key,), CPU, optimizers=ADAM) for key in (0, 0, 7))
    train(whole, made, splits, range(12), rule)
    train(first, made, splits, range(6), rule)
    save_file(first.state_dict(), file)
    train(second, made, splits, range(20, 22), rule)  # its grid has lines of its own by now
    second.load_state_dict(load_file(file))
    train(second, made, splits, range(6, 12), rule)

    assert bits_equal(whole.state_dict(), second.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_each_step_of_adam_is_the_rate_on_every_path(name: str) -> None:
    """With gradients of 1, whatever paths came before, all weights of a path move by the rate and no other does."""
    made = template(name)
    net = Supernet(made, TASK, (0,), CPU, optimizers=ADAM)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.zero_()
    for step in range(25):
        path = random_path(made, "adam", step)
        before = snapshot(net)
        rule = UpdateRule(optimizer="adam", learning_rate=1.0, momentum=0.9, weight_decay=0.0)
        net.commit(path, {leaf: torch.ones_like(view) for leaf, view in net.leaves(path).items()}, rule)
        for leaf, view in made.shared((0,)).items():
            expected = torch.zeros_like(view)
            if leaf in (slices := made.slices(path)):
                expected[slices[leaf]] = 1.0
            moved = before[f"weights/{leaf}"] - net.state_dict()[f"weights/{leaf}"]
            torch.testing.assert_close(moved, expected, rtol=0, atol=2e-5)


def test_a_taken_back_update_of_adam_counts_nothing(splits: Splits) -> None:
    """Weights, moments and counts are what they were before it."""
    made = template("conv-small")
    net, rule = (
        Supernet(made, TASK, (0,), CPU, optimizers=ADAM),
        UpdateRule(optimizer="adam", learning_rate=0.1, momentum=0.9, weight_decay=0),
    )
    train(net, made, splits, range(3), rule)
    path = random_path(made, 1)
    before = snapshot(net)
    with net.revertible(path, "adam") as revert_unless:
        net.commit(path, net.gradient(path, splits.train_batch(9, 32, 0))[1], rule)
        assert not bits_equal(net.state_dict(), before)
        revert_unless(torch.tensor(data=False))
    net.discount(path, "adam")

    assert bits_equal(net.state_dict(), before)


@pytest.mark.parametrize("defect", ["missing", "unknown", "shape", "type"])
def test_a_foreign_state_is_refused_whole(defect: str) -> None:
    """A state with a wrong tensor is named and changes nothing."""
    made = template("mlp-small")
    net, state = Supernet(made, TASK, (0,), CPU), dict(Supernet(made, TASK, (1,), CPU).state_dict())
    entry = "weights/head.bias"
    match defect:
        case "missing":
            del state[entry]
        case "unknown":
            entry = "weights/tail.bias"
            state[entry] = torch.zeros(3)
        case "shape":
            state[entry] = torch.zeros(3)
        case _:
            state[entry] = state[entry].to(torch.float64)
    before = snapshot(net)
    with pytest.raises(CheckpointError, match=entry):
        net.load_state_dict(state)
    assert bits_equal(net.state_dict(), before)


def test_views_are_cut_once_and_never_go_stale(splits: Splits) -> None:
    """Leaves of a path share memory with the state, before and after updates of other paths."""
    made = template("conv-small")
    net = Supernet(made, TASK, (0,), CPU)
    path = default_path(made.decisions)
    leaf = net.leaves(path)["head.weight"]
    train(net, made, splits, range(4))
    assert net.leaves(path)["head.weight"] is leaf
    assert torch.equal(leaf.detach(), net.state_dict()["weights/head.weight"][:, : leaf.shape[1]])


def test_a_non_finite_batch_is_reported_not_hidden() -> None:
    """Loss and gradients of a broken batch are not finite, and the weights are untouched until a commit."""
    made = template("mlp-small")
    net, targets_B = Supernet(made, TASK, (0,), CPU), torch.zeros(8, dtype=torch.int64)
    before, path = snapshot(net), default_path(made.decisions)
    loss, _ = net.gradient(path, TrainBatch(inputs=torch.full((8, 1, 8, 8), torch.nan), targets_B=targets_B))
    later, quality = net.loss_and_quality(path, RewardBatch(inputs=torch.zeros(8, 1, 8, 8), targets_B=targets_B))
    assert not loss.isfinite()
    assert later.isfinite()
    assert 0 <= quality <= 1
    assert bits_equal(net.state_dict(), before)


@pytest.mark.parametrize("name", NAMES)
def test_a_supernet_begins_from_a_trained_network(name: str, splits: Splits) -> None:
    """Its path then computes what the network computes; weights outside of the path and all moments stay; another path's are refused."""
    made = template(name)
    net = Supernet(made, TASK, (0,), CPU)
    path, other = random_path(made, 1), random_path(made, 2)
    before, network = snapshot(net), made.build(path, (7,))
    assert net.adopt(path, export_leaves(network))
    batch = splits.reward_batch(0, 64, 0)
    loss, _ = net.loss_and_quality(path, batch)

    with torch.no_grad():
        outputs = use_batch_statistics(network)(batch.inputs)
    assert float(loss) == pytest.approx(float(functional.cross_entropy(outputs, batch.targets_B)), abs=1e-6)
    for leaf, index in made.slices(path).items():
        moved = changed(net, before)[f"weights/{leaf}"]
        moved[index] = False
        assert not moved.any()
    assert not any(where.any() for key, where in changed(net, before).items() if not key.startswith("weights/"))
    adopted = snapshot(net)
    assert not net.adopt(other, export_leaves(network))
    assert bits_equal(net.state_dict(), adopted)
