"""Tasks: losses, metrics and qualities in closed form; paired errors of metrics that are no mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autohas_trainer.seeding import stream
from autohas_trainer.tasks import Classification, Regression

CPU = torch.device("cpu")


def classification(metric: str, counts: list[int] | None = None, *, balanced: bool = False) -> Classification:
    return Classification(metric, counts or [50, 50], balanced=balanced, device=CPU)


def logits(probabilities: list[list[float]]) -> Tensor:
    return torch.tensor(probabilities).log()


def test_accuracy_is_the_share_of_hits_and_its_own_quality() -> None:
    """Three of four answers are right."""
    measured = classification("accuracy").measure(logits([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]), torch.tensor([0, 1, 1, 0]))

    assert (measured.value, measured.quality) == (0.75, 0.75)
    assert measured.contributions_N.tolist() == [1, 1, 0, 1]


def test_log_loss_is_measured_against_the_class_frequencies() -> None:
    """Answering the frequencies 3:1 has quality 0 and the loss of their entropy; certainty has quality 1."""
    task, labels = classification("log_loss", [75, 25]), torch.tensor([0, 0, 0, 1])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    constant = task.measure(logits([[0.75, 0.25]] * 4), labels)

    assert constant.value == pytest.approx(entropy, rel=1e-6)
    assert constant.quality == pytest.approx(0, abs=1e-6)
    assert task.constant_loss == pytest.approx(entropy)
    assert task.measure(torch.tensor([[50.0, 0.0]] * 3 + [[0.0, 50.0]]), labels).quality == pytest.approx(1)


def test_macro_f1_counts_every_class_alike() -> None:
    """Class 0: precision 2/3, recall 1, f1 0.8; class 1: precision 1, recall 1/2, f1 2/3; their mean."""
    measured = classification("f1").measure(logits([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]), torch.tensor([0, 0, 1, 1]))

    assert measured.value == pytest.approx((0.8 + 2 / 3) / 2)
    assert measured.contributions_N.mean() == pytest.approx(measured.quality)


def test_auc_is_the_share_of_ordered_pairs() -> None:
    """Of the four pairs of a positive and a negative one is in the wrong order and one is a tie: 2.5 of 4."""
    measured = classification("auc").measure(logits([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.8, 0.2]]), torch.tensor([0, 0, 1, 1]))

    assert measured.value == pytest.approx(2.5 / 4)
    assert measured.contributions_N.mean() == pytest.approx(measured.quality)


def test_auc_of_three_classes_is_the_mean_of_each_against_the_rest() -> None:
    """A perfect order for every class is 1; a class that does not occur does not count."""
    task = classification("auc", [10, 10, 10])
    perfect = logits([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])

    assert task.measure(perfect, torch.tensor([0, 1, 2])).value == 1
    assert task.measure(perfect[:2], torch.tensor([0, 1])).value == 1
    assert task.measure(perfect[:2], torch.tensor([0, 0])).value == 0.5


@pytest.mark.parametrize("metric", ["f1", "auc"])
def test_paired_errors_match_the_bootstrap(metric: str) -> None:
    """The standard error from contributions is that of 2,000 resamples of the same pairs, within a tenth."""
    rng, number = stream("paired", metric), 400
    labels = rng.integers(3, size=number)
    signal = np.eye(3)[labels]
    pair = [torch.tensor(signal * strength + rng.standard_normal((number, 3))) for strength in (1.2, 0.9)]
    task, targets = classification(metric, [100, 100, 100]), torch.tensor(labels)
    one, other = (task.measure(outputs, targets).contributions_N for outputs in pair)

    differences = []
    for _ in range(300):
        rows = torch.tensor(rng.integers(number, size=number))
        values = [task.measure(outputs[rows], targets[rows]).value for outputs in pair]
        differences.append(values[0] - values[1])

    assert (one - other).std() / math.sqrt(number) == pytest.approx(np.std(differences), rel=0.15)


def test_balanced_weights_make_classes_alike() -> None:
    """With 90 and 10 examples the weights are 100/180 and 100/20; the best constant answer is then a coin, its loss ln 2."""
    task = classification("f1", [90, 10], balanced=True)
    losses = task.losses(torch.zeros(2, 2), torch.tensor([0, 1]))

    assert losses.tolist() == pytest.approx([math.log(2) * 100 / 180, math.log(2) * 100 / 20])
    assert task.constant_loss == pytest.approx(math.log(2))
    assert classification("f1", [90, 10]).losses(torch.zeros(2, 2), torch.tensor([0, 1])).tolist() == pytest.approx([math.log(2)] * 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_given_weights_make_the_weighted_mean_of_torch(smoothing: float) -> None:
    """Of any scale: over a batch the loss is that of torch's CrossEntropyLoss, with its gradient."""
    weights, counts = [3.0, 0.5, 1.0], [10, 20, 70]
    outputs_BK = torch.randn(16, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets_B = torch.arange(16) % 3
    task = Classification("accuracy", counts, balanced=False, weights=weights, device=CPU)
    expected = nn.CrossEntropyLoss(torch.tensor(weights), label_smoothing=smoothing)(outputs_BK, targets_B)
    loss = task.training_losses(outputs_BK, targets_B, smoothing).mean()

    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    one, other = (torch.autograd.grad(value, outputs_BK, retain_graph=True)[0] for value in (loss, expected))
    assert torch.allclose(one, other, rtol=1e-5)


def test_given_weights_are_one_for_a_training_example_on_average() -> None:
    """Comparisons keep their scale: 90 examples of weight 1 and 10 of weight 11 become 0.5 and 5.5, each class half of the loss."""
    task = Classification("f1", [90, 10], balanced=False, weights=[1.0, 11.0], device=CPU)
    losses = task.losses(torch.zeros(2, 2), torch.tensor([0, 1]))

    assert losses.tolist() == pytest.approx([0.5 * math.log(2), 5.5 * math.log(2)])
    assert task.constant_loss == pytest.approx(-(0.45 * math.log(0.45) + 0.55 * math.log(0.55)))


def test_rewards_are_hits_for_accuracy_and_normalised_losses_otherwise() -> None:
    """A coin's answer: right or wrong for accuracy, worth 0 for auc, f1 and log_loss."""
    outputs, labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0])

    assert classification("accuracy").qualities(outputs, labels).tolist() == [1, 1]
    for metric in ("auc", "f1", "log_loss"):
        assert classification(metric).qualities(outputs, labels)[1].item() == pytest.approx(0, abs=1e-6)


def test_regression_is_judged_in_the_targets_unit() -> None:
    """Targets 10 and 30 (mean 20, deviation 10): answering 20 has rmse and mae 10 and quality 0; answering 15 and 25 halves both."""
    standardised = torch.tensor([-1.0, 1.0])
    for metric, half in (("rmse", 0.75), ("mae", 0.5)):
        task = Regression(metric, np.array([10.0, 30.0]))
        constant, better = task.measure(torch.zeros(2, 1), standardised), task.measure(torch.tensor([[-0.5], [0.5]]), standardised)

        assert (constant.value, constant.quality) == pytest.approx((10, 0))
        assert (better.value, better.quality) == pytest.approx((5, half))
        assert task.qualities(torch.tensor([[-0.5], [0.5]]), standardised).tolist() == pytest.approx([half, half])
        assert task.losses(torch.zeros(2, 1), standardised).tolist() == [1, 1]
        assert (task.num_outputs, task.constant_loss) == (1, 1.0)
