"""Parts of the recipe in a stand-alone training: clip, accumulation, average, precision, and steps without a wait for the device."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.data import TrainBatch
from autohas_trainer.engine.training.loss_window import LENGTH, LossWindow, are_finite
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.engine.training.weight_average import WeightAverage, recalibrate, steps_of_recalibration
from autohas_trainer.optim import OptimizerName, UpdateRule, keep_gradients, standalone_optimizer
from engine_fixtures import small_search
from host_copies import HostCopies

CPU = torch.device("cpu")


def _training(recipe: dict[str, Any], *, repeat: int = 0, steps: int = 27) -> Training:
    parsed, space = accept(with_change(small_search(steps=steps), "spec.task.recipe", recipe))
    search_task = SearchTask.load(parsed.spec, space, CPU)
    return Training(search_task, space.default, repeat)


def _take(training: Training, steps: int) -> Training:
    for _ in range(steps):
        training.step()
    return training


def _gradients(training: Training) -> dict[str, Tensor]:
    return {name: p.grad for name, p in training._module.named_parameters() if p.grad is not None}


def test_a_clipped_gradient_has_the_norm_of_the_recipe() -> None:
    """The first gradient is scaled to the norm 0.01 as torch.nn.utils.clip_grad_norm_ scales it; a clip of 1,000 changes no bit."""
    plain, clipped, loose = (_take(_training(recipe), 1) for recipe in ({}, {"gradientClip": "0.01"}, {"gradientClip": "1000"}))
    expected = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(torch.zeros_like(g)) for name, g in _gradients(plain).items()})
    for name, gradient in _gradients(plain).items():
        expected[name.replace(".", "_")].grad = gradient.clone()
    nn.utils.clip_grad_norm_(expected.parameters(), 0.01)

    assert math.sqrt(sum(float(g.double().square().sum()) for g in _gradients(clipped).values())) == pytest.approx(0.01, rel=1e-3)
    assert all(torch.equal(g, expected[name.replace(".", "_")].grad) for name, g in _gradients(clipped).items())
    assert all(torch.equal(tensor, loose.tensors()[name]) for name, tensor in plain.tensors().items())


def test_the_parts_of_a_batch_add_up_to_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without batch statistics four parts give the gradient, and the loss, of the whole batch up to rounding; mixup included."""
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        monkeypatch.setattr(kind, "forward", lambda self, features: features * self.weight + self.bias)
    recipe = {"mixup": "0.5", "labelSmoothing": "0.1"}
    whole, parts = _take(_training(recipe), 1), _take(_training({**recipe, "accumulate": 4}), 1)

    assert parts.read_loss() == pytest.approx(whole.read_loss(), rel=1e-6)
    for name, gradient in _gradients(whole).items():
        torch.testing.assert_close(_gradients(parts)[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_average_in_closed_form() -> None:
    """Rates 9/(t+9) until 1 - decay: the first step replaces the weights, with a decay of 0.5 the tenth takes half."""
    parameters = {"w": nn.Parameter(torch.zeros(1))}
    average = WeightAverage(parameters, 0.5)
    expected = 0.0
    for step in range(12):
        with torch.no_grad():
            parameters["w"].fill_(float(step + 1))
        average.update(step)
        expected += max(0.5, 9 / (step + 9)) * (step + 1 - expected)
        assert average.tensors["w"].item() == pytest.approx(expected)


def test_the_finished_model_is_the_average_with_statistics_of_its_own() -> None:
    """The kept weights are the averaged ones, and running means those of one epoch of training batches under these weights."""
    training = _training({"ema": "0.8"})
    averages: dict[str, Tensor] = {}
    while not training.is_finished:
        averages = {name: tensor.clone() for name, tensor in training._average.tensors.items()}
        before = {name: p.detach().clone() for name, p in training._module.named_parameters()}
        training.step()
    plain = _training({"ema": "0.8"})
    while plain.num_steps_done < 26:
        plain.step()

    last = {name: p.detach() for name, p in training._module.named_parameters()}
    assert all(torch.equal(before[name], dict(plain._module.named_parameters())[name].detach()) for name in last)
    assert any(not torch.equal(averages[name], tensor) for name, tensor in last.items())
    norm = next(layer for layer in training._module.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d))
    splits, task = training._search_task.splits, training._search_task
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == steps_of_recalibration(splits.num_train, 64) == math.ceil(splits.num_train / 64)
    assert norm.momentum == 0.1
    kept = norm.running_mean.clone() if norm.running_mean is not None else None
    recalibrate(training._module, (splits.train_batch(s, 64, task.seed).inputs for s in range(math.ceil(splits.num_train / 64))))
    assert kept is not None
    assert norm.running_mean is not None
    assert torch.equal(kept, norm.running_mean)


def test_statistics_are_the_mean_over_the_batches() -> None:
    """Two batches of means 1 and 5 give a running mean of 3; a network without batch normalisation runs no batch."""
    norm = nn.BatchNorm1d(1)
    recalibrate(nn.Sequential(norm), iter([torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])]))
    batches = iter([torch.ones(2, 1)])
    recalibrate(nn.Linear(1, 1), batches)

    assert norm.running_mean is not None
    assert norm.running_mean.item() == 3.0
    assert next(batches).shape == (2, 1)


def test_an_average_that_nothing_reads_is_not_kept() -> None:
    """It lasts until 1/3 of the training; with ema to the end; a further seed, which is compared at the end only, has none."""
    training = _training({})
    held = [any(name.startswith("average/") for name in _take(training, 1).tensors()) for _ in range(27)]
    assert held == [True] * 9 + [False] * 18
    assert not any(name.startswith("average/") for name in _training({}, repeat=1).tensors())
    assert any(name.startswith("average/") for name in _take(_training({"ema": "0.9"}, repeat=1), 20).tensors())
    with pytest.raises(ValueError, match="has no average to compare after 12 of 27 steps"):
        _take(_training({}), 12).compare()


def test_bfloat16_keeps_weights_outputs_and_comparisons_in_float32() -> None:
    """Weights and moments are float32, and a comparison of untrained weights is that of float32, bit for bit."""
    training = _training({"precision": "BFloat16", "optimizer": "adamw"})
    assert training.compare() == _training({"optimizer": "adamw"}).compare()
    _take(training, 2)

    assert {tensor.dtype for name, tensor in training.tensors().items() if not name.endswith("num_batches_tracked")} == {
        torch.float32,
        torch.float64,  # the window of losses
    }


def test_a_loss_that_is_not_finite_is_found_at_the_next_reading_and_blamed_on_its_step() -> None:
    """NaN at step 4 is read after step 8 of 27 (1/3); steps, rate and lost steps are those of step 4, and weights are finite."""
    training = _training({})
    _take(training, 4)
    rate = _training({})
    _take(rate, 5)
    backward = training._backward
    training._backward = lambda batch: backward(batch) * math.nan  # type: ignore[method-assign]
    results = [training.step()]
    training._backward = backward  # type: ignore[method-assign]
    results += [training.step() for _ in range(4)]

    assert results[:4] == [None] * 4
    assert results[4] is not None
    assert math.isnan(results[4])
    assert (training.is_diverged, training.num_steps_done, training.num_steps_lost) == (True, 4, 4)
    assert training.learning_rate == rate.learning_rate
    assert all(bool(parameter.isfinite().all()) for parameter in training._module.parameters())


def test_a_divergence_that_was_not_read_survives_a_checkpoint() -> None:
    """Saved after the step that diverged and loaded elsewhere, the training is found at the same step as without the save."""
    training = _training({})
    _take(training, 4)
    backward = training._backward
    training._backward = lambda batch: backward(batch) * math.inf  # type: ignore[method-assign]
    training.step()
    other = _training({})
    other.load(training.state_dict(), {name: tensor.clone() for name, tensor in training.tensors().items()})
    assert not other.is_diverged
    _take(other, 4)

    assert (other.is_diverged, other.num_steps_done) == (True, 4)


def test_the_window_reads_the_steps_since_the_last_multiple() -> None:
    """Of 35 losses the reading after step 35 waits for three; the first bad one among them is named."""
    window = LossWindow(CPU)
    for step in range(35):
        window.write(step, torch.tensor(float(step)))
    assert window.read(35) == (34.0, None)
    window.write(33, torch.tensor(math.inf))
    window.write(34, torch.tensor(math.nan))
    assert window.read(35) == (math.inf, 33)
    assert not bool(window.are_finite())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_switched_off_whatever_they_are(dtype: torch.dtype) -> None:
    """NaN and infinity become 0 where the flag says so; elsewhere no bit changes, not even of NaN or of a negative zero."""
    values = torch.tensor([math.nan, math.inf, -0.0, 1.5], dtype=dtype)
    kept, dropped = values.clone(), values.clone()
    keep_gradients([kept], torch.tensor(data=True))
    keep_gradients([kept], is_kept=True)
    keep_gradients([dropped], torch.tensor(data=False))
    also_dropped = values.clone()
    keep_gradients([also_dropped], is_kept=False)

    assert torch.equal(kept.view(torch.uint8), values.view(torch.uint8))
    assert dropped.tolist() == also_dropped.tolist() == [0.0] * 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 77, 99])
def test_one_element_that_is_not_finite_is_found_wherever_it_stands(value: float, place: int) -> None:
    """Among the largest finite numbers, integers, complex numbers and a tensor without elements, all of which are finite."""
    finite = [torch.tensor([3e38, -3e38]), torch.arange(5), torch.ones(3, dtype=torch.complex64), torch.zeros(0)]
    broken = torch.ones(100)
    broken[place] = value

    assert are_finite(finite)
    assert not are_finite([*finite, broken.view(10, 10).T])


def test_a_step_brings_no_number_to_the_host_and_a_reading_once_in_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 32 steps between two rungs: no copy to the host in any, and two readings of the window."""
    recipe = {
        "nesterov": True,
        "gradientClip": "1",
        "accumulate": 2,
        "ema": "0.9",
        "mixup": "0.2",
        "dropout": "0.1",
        "precision": "BFloat16",
    }
    training = _take(_training(recipe, steps=540), 64)
    readings: list[int] = []

    def read(window: LossWindow, num_steps: int, original: Any = LossWindow.read) -> tuple[float, int | None]:
        readings.append(num_steps)
        result: tuple[float, int | None] = original(window, num_steps)
        return result

    monkeypatch.setattr(LossWindow, "read", read)
    copies = []
    for _ in range(32):
        with HostCopies() as mode:
            training.step()
        copies.append(mode.count)

    assert copies == [0] * 32
    assert readings == [80, 96]
    assert LENGTH == 16


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_on_a_gpu_waits_for_nothing(optimizer: OptimizerName, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under FakeTensorMode on device cuda a wait raises DataDependentOutputException: steps raise nothing, the reading does.

    Not tried: autograd's own pass, which needs a driver (gradients are zeros here; the engine reads no number); adam, which keeps its
    counts on the host, where they are fake too; draws through pinned memory.
    """
    training = _training({"optimizer": optimizer, "gradientClip": "1", "accumulate": 2, "ema": "0.9"}, steps=270)
    training.begin()
    batch = training._search_task.splits.train_batch(0, 64, 0)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        training._search_task = replace(training._search_task, device=torch.device("cuda"))
        module = training._module.to("cuda")
        training._hold(
            module, standalone_optimizer(module, UpdateRule(optimizer=optimizer, learning_rate=0.1, momentum=0.9, weight_decay=0.1))
        )
        fake = TrainBatch(inputs=mode.from_tensor(batch.inputs).to("cuda"), targets_B=mode.from_tensor(batch.targets_B).to("cuda"))
        monkeypatch.setattr(type(training._search_task.splits), "train_batch", lambda *_, **__: fake)

        def backward(loss: Tensor) -> None:
            assert loss.device.type == "cuda"
            for parameter in module.parameters():
                parameter.grad = torch.zeros_like(parameter)

        monkeypatch.setattr(torch.Tensor, "backward", backward)
        for _ in range(LENGTH - 1):
            training._step()
        assert training.num_steps_done == LENGTH - 1
        assert next(module.parameters()).device.type == "cuda"
        with pytest.raises(DataDependentOutputException):
            training.read_loss()
