"""Updates of the shared weights see a gradient of norm 1 at most; stand-alone trainings see their own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, device

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages import build_stages
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.optim import clip, norm_of
from engine_fixtures import LANES, MemorySink, TickingClock, search, small_search

DIABETES = Path(__file__).parents[3] / "examples" / "03-tabular-csv" / "diabetes.csv"


def _state(optimizer: str = "sgd") -> SearchState:
    document = with_change(with_change(small_search(), "spec.task.recipe.optimizer", optimizer), "spec.task.recipe.weightDecay", "0")
    parsed, space = accept(document)
    return SearchState(SearchTask.load(parsed.spec, space, device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())


def _enlarge(state: SearchState, factor: float) -> None:
    """Make gradients of the head's inputs larger than any healthy one."""
    head = state.supernet.state_dict()["weights/head.weight"]
    head.mul_(factor)


def _torch_optimizer(name: str, parameters: list[Tensor], rate: float) -> torch.optim.Optimizer:
    match name:
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=rate, alpha=0.99, eps=1e-8)
        case _:
            return torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.999), eps=1e-8)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_temporary_and_shared_updates_are_those_of_torch_with_a_clipped_gradient(optimizer: str) -> None:
    """Three steps on the default path: weights in the trial and after the commit equal torch's, clipped by `clip_grad_norm_`."""
    state = _state(optimizer)
    _enlarge(state, 100.0)
    path = state.search_task.path(state.search_task.space.default)
    leaves = state.supernet.leaves(path)
    copies = [leaf.detach().clone().requires_grad_() for leaf in leaves.values()]
    reference = _torch_optimizer(optimizer, copies, 1.0)
    for number in range(3):
        context = SupernetStepContext(state, 2 + number)
        loss, raw = state.supernet.gradient(path, context.train_batch())
        assert math.sqrt(sum(float(grad.double().square().sum()) for grad in raw.values())) > 10
        for copy, grad in zip(copies, raw.values(), strict=True):
            copy.grad = grad.clone()
        torch.nn.utils.clip_grad_norm_(copies, 1.0)
        for group in reference.param_groups:
            group["lr"] = context.learning_rate(state.search_task.space.default)
        reference.step()

        gradient = context.gradient(state.search_task.space.default, context.train_batch())
        assert float(gradient.loss) == float(loss)
        with context.trial(state.search_task.space.default, gradient):
            tried = [leaf.detach().clone() for leaf in leaves.values()]
        context.commit(state.search_task.space.default, gradient, state.search_task.space.default)
        for one, other, expected in zip(tried, leaves.values(), copies, strict=True):
            assert torch.equal(one, other)
            torch.testing.assert_close(other, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "norm"), [(0.1, 0.5), (0.2, 1.0), (1.0, 1.0), (100.0, 1.0)])
def test_the_norm_is_that_of_all_leaves_together_and_at_most_one(scale: float, norm: float) -> None:
    """(3, 0) and (0, 4) have norm 5: scaled to at most 1 with their direction; what is not longer than 1 stays bit for bit."""
    gradients = {"a": torch.tensor([[3.0, 0.0]]) * scale, "b": torch.tensor([0.0, 4.0]) * scale}
    seen = clip(gradients, norm_of(gradients))

    assert float(torch.cat([grad.flatten() for grad in seen.values()]).norm()) == pytest.approx(norm)
    assert float(seen["b"][1] / seen["a"][0, 0]) == pytest.approx(4 / 3)
    assert all(torch.equal(seen[name], gradient) for name, gradient in gradients.items()) == (scale < 1)


def test_a_loss_is_nan_where_its_gradient_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A norm that is infinite or NaN hides the loss; a finite one leaves every bit of it, the sign of a zero too."""
    context, seen = SupernetStepContext(state := _state(), 2), []
    for loss, slope in ((2.5, 0.1), (-0.0, 0.1), (0.0, 3e38), (2.5, math.inf), (2.5, math.nan)):
        measured = torch.tensor(loss), {"a": torch.tensor([slope])}
        monkeypatch.setattr(state.supernet, "gradient", lambda *_, measured=measured: measured)
        seen.append(float(context.gradient(state.search_task.space.default, context.train_batch()).loss).hex())

    assert seen == [value.hex() for value in (2.5, -0.0, 0.0, math.nan, math.nan)]


def _shared_gradients(scale: float) -> dict[str, Tensor]:
    """Gradients of large leaves as autograd gives them: one tensor for two, one number expanded, and two of their own memory."""
    first, second, summed = (torch.ones(2**15, requires_grad=True) for _ in range(3))
    alone, transposed = (torch.ones(2**8, 2**8, requires_grad=True) for _ in range(2))
    leaves = {"first": first, "second": second, "summed": summed, "alone": alone, "transposed": transposed}
    loss = (first + second).square().sum() + summed.sum() + alone.square().sum() + (torch.ones(2, 2**8) @ transposed.T).square().sum()
    return dict(zip(leaves, torch.autograd.grad(loss * scale, list(leaves.values())), strict=True))


@pytest.mark.parametrize("scale", [1e-9, 1.0])
def test_gradients_that_are_given_away_are_clipped_once_each(scale: float) -> None:
    """Whether autograd gave several leaves one memory or not, the bits are those of a clip that overwrites nothing."""
    kept, given = _shared_gradients(scale), _shared_gradients(scale)
    assert given["first"].data_ptr() == given["second"].data_ptr()
    assert given["summed"].stride() == (0,)
    before = {name: grad.clone() for name, grad in kept.items()}
    expected, seen = clip(kept, norm_of(kept)), clip(given, norm_of(given), is_owner=True)

    assert list(seen) == list(expected)
    assert all(torch.equal(seen[name], grad) for name, grad in expected.items())
    assert all(torch.equal(kept[name], grad) for name, grad in before.items())
    assert [name for name in given if seen[name] is given[name]] == ["alone", "transposed"]


def test_a_view_of_a_large_gradient_is_clipped_once() -> None:
    """The whole is overwritten after the part was read."""
    whole = torch.full((2**15,), 2.0)
    gradients = {"whole": whole, "part": whole[: 2**14]}
    norm = norm_of(gradients)
    seen = clip(gradients, norm, is_owner=True)

    assert seen["whole"] is whole
    assert float(seen["whole"][0]) == float(seen["part"][0]) == float(2.0 * (1 / norm))


def test_what_a_gradient_that_is_not_finite_does_is_put_back_by_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite loss whose gradient overflows counts as lost: the weights that it ruined are those of the last copy one step later."""
    parsed, space = accept(small_search({"name": "RandomSharing"}, steps=270))
    sink = MemorySink()
    state = SearchState(SearchTask.load(parsed.spec, space, device("cpu")), sink, Ledger(0, TickingClock()), TickingClock())
    stage, net = build_stages(state)[0], state.supernet
    stage.begin()
    copied = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    gradient = net.gradient
    stage.advance()

    def overflow(*arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, tensors = gradient(*arguments)
        return loss, {name: torch.full_like(tensor, math.inf) for name, tensor in tensors.items()}

    monkeypatch.setattr(net, "gradient", overflow)
    stage.advance()
    assert not all(bool(tensor.isfinite().all()) for tensor in net.state_dict().values())
    monkeypatch.setattr(net, "gradient", gradient)
    monkeypatch.setattr(net, "commit", lambda *_: None)  # so that what was put back can be seen
    stage.advance()

    assert [record.loss is None for record in sink.steps] == [False, True]
    assert [notice.reason for notice in sink.other_notices] == ["SupernetRestarted"]
    assert all(torch.equal(tensor, copied[name]) for name, tensor in net.state_dict().items())


def test_a_stand_alone_training_is_not_clipped() -> None:
    """One step of sgd without momentum moves the weights by rate times the gradient's own norm."""
    document = with_change(with_change(small_search(), "spec.task.recipe.momentum", "0"), "spec.task.recipe.warmupFraction", "0")
    parsed, space = accept(with_change(document, "spec.task.recipe.weightDecay", "0"))
    search_task = SearchTask.load(parsed.spec, space, device("cpu"))
    training = Training(search_task, space.default)
    training.begin()
    with torch.no_grad():
        for name, parameter in training._module.named_parameters():
            parameter.mul_(100.0 if name == "head.weight" else 1.0)
    before = [parameter.detach().clone() for parameter in training._module.parameters()]
    training.step()
    moved = [(parameter.detach() - old) for parameter, old in zip(training._module.parameters(), before, strict=True)]

    assert math.sqrt(sum(float(m.double().square().sum()) for m in moved)) / training.learning_rate > 10


def _table(rate: str, seed: int) -> dict[str, Any]:
    document = with_change(small_search({"seed": seed, **LANES}, steps=300), "spec.task.data", {"name": "csv", "path": str(DIABETES)})
    arguments = {"target": "progression", "categorical": "sex", "testFraction": "0.2"}
    document = with_change(document, "spec.task.data.arguments", arguments)
    document = with_change(document, "spec.task.recipe", {"batchSize": 32, "learningRate": rate})
    document = with_change(document, "spec.task.splits", {"reward": "0.2", "selection": "0.2"})
    return with_change(with_change(document, "spec.objective", {"metric": "rmse"}), "spec.budget.trainings", "5.5")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_supernet_of_mlp_survives_its_recipe(seed: int, tmp_path: Path) -> None:
    """The diabetes table at a rate of 0.1, where shared weights that were not clipped were lost within a hundred steps."""
    sink = MemorySink()
    search(_table("0.1", seed), tmp_path, sink)

    assert "SupernetDiverged" not in [notice.reason for notice in sink.notices]
