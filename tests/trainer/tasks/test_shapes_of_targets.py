"""Targets of any shape: losses are means over the parts of an example, metrics in closed form, statistics of batches give the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, r2_score, roc_auc_score
from torch import Tensor

from autohas_trainer.data.targets import IGNORED
from autohas_trainer.seeding import stream
from autohas_trainer.tasks import Classification, Regression, SeveralLabels, SeveralNumbers, SoftLabels, Task, TokenLabels

CPU = torch.device("cpu")
rng = stream("shapes of targets")
N, K, T = 60, 7, 5
LABELS = rng.integers(K, size=N)
TOKENS = np.where(rng.random((N, T)) < 0.2, IGNORED, rng.integers(K, size=(N, T)))
SEVERAL = rng.random((N, K)) < 0.4
SHARES = rng.dirichlet(np.ones(K), size=N)
NUMBERS = np.where(rng.random((N, K)) < 0.2, np.nan, rng.standard_normal((N, K)) * 3 + 5)


def standardise(numbers: np.ndarray) -> Tensor:
    return torch.tensor((numbers - np.nanmean(numbers)) / np.nanstd(numbers), dtype=torch.float32)


def draw(*shape: int) -> Tensor:
    return torch.tensor(stream("outputs", *shape).standard_normal(shape), dtype=torch.float32)


TASKS: dict[str, tuple[Task, Tensor, Tensor]] = {
    **{
        metric: (Classification(metric, [10] * K, balanced=False, device=CPU), draw(N, K), torch.tensor(LABELS))
        for metric in ("accuracy", "top5", "f1", "auc", "log_loss", "perplexity")
    },
    **{metric: (Regression(metric, NUMBERS[:, 0][~np.isnan(NUMBERS[:, 0])]), draw(N, 1), draw(N)) for metric in ("rmse", "mae", "r2")},
    **{
        f"tokens {metric}": (TokenLabels(metric, [10] * K, (T,), 2.0), draw(N, T, K), torch.tensor(TOKENS))
        for metric in ("accuracy", "top5", "log_loss", "perplexity", "bpb")
    },
    **{
        f"labels {metric}": (SeveralLabels(metric, SEVERAL), draw(N, K), torch.tensor(SEVERAL).float())
        for metric in ("accuracy", "f1", "auc", "log_loss")
    },
    **{
        f"shares {metric}": (SoftLabels(metric, SHARES), draw(N, K), torch.tensor(SHARES).float())
        for metric in ("accuracy", "top5", "log_loss", "perplexity")
    },
    **{f"numbers {metric}": (SeveralNumbers(metric, NUMBERS), draw(N, K), standardise(NUMBERS)) for metric in ("rmse", "mae", "r2")},
}


@pytest.mark.parametrize("name", TASKS)
def test_batches_give_the_bits_of_the_whole(name: str) -> None:
    """Statistics of chunks of 17 give the same metric, contributions and losses as one chunk of all, bit for bit."""
    task, outputs, targets = TASKS[name]
    whole = task.measure(outputs, targets)

    streamed = task.summarise([task.statistics(out, target) for out, target in zip(outputs.split(17), targets.split(17), strict=True)])

    assert (streamed.value, streamed.quality) == (whole.value, whole.quality)
    assert np.array_equal(streamed.contributions_N, whole.contributions_N)
    losses = torch.cat([task.losses(out, target) for out, target in zip(outputs.split(17), targets.split(17), strict=True)])
    assert torch.equal(losses, task.losses(outputs, targets))
    assert losses.shape == (N,)


@pytest.mark.parametrize("name", TASKS)
def test_contributions_and_rewards_mean_the_quality(name: str) -> None:
    """The mean of the contributions is the quality; where the metric is a mean over examples, so is the mean of the rewards."""
    task, outputs, targets = TASKS[name]
    measured = task.measure(outputs, targets)

    assert measured.contributions_N.shape == (N,)
    assert measured.contributions_N.mean() == pytest.approx(measured.quality)
    if not name.endswith(("f1", "auc")):
        assert task.qualities(outputs, targets).mean().item() == pytest.approx(measured.quality, abs=1e-5)


def test_a_token_that_is_ignored_counts_nowhere() -> None:
    """Two of four positions have a target; uniform outputs lose ln 2 at each, and a perplexity of 2 at 2 bytes per token is half a bit."""
    outputs, targets = torch.zeros(1, 4, 2), torch.tensor([[0, IGNORED, 1, IGNORED]])

    assert TokenLabels("log_loss", [5, 5], (4,), None).losses(outputs, targets).tolist() == pytest.approx([math.log(2)])
    values = [TokenLabels(metric, [5, 5], (4,), 2.0).measure(outputs, targets) for metric in ("log_loss", "perplexity", "bpb")]
    assert [measured.value for measured in values] == pytest.approx([math.log(2), 2, 0.5])
    assert [measured.quality for measured in values] == pytest.approx([0, 0, 0], abs=1e-6)
    outputs[0, 0, 0] = 1.0
    assert TokenLabels("accuracy", [6, 4], (4,), None).measure(outputs, targets).value == 0.5


def test_constants_are_the_entropy_and_the_commonest() -> None:
    """Of counts 6, 3, 1: entropy, .6, and everything among the top five."""
    entropy = -sum(share * math.log(share) for share in (0.6, 0.3, 0.1))
    tasks = {metric: TokenLabels(metric, [6, 3, 1], (T,), None) for metric in ("accuracy", "top5", "log_loss")}

    assert tasks["accuracy"].constant_loss == pytest.approx(entropy)
    assert [task.constant_quality for task in tasks.values()] == pytest.approx([0.6, 1, 0])
    assert (tasks["accuracy"].num_outputs, tasks["accuracy"].output_shape) == (3, (T, 3))
    several = SeveralLabels("accuracy", np.array([[True, False], [True, False], [False, False], [True, True]]))
    assert (several.constant_quality, several.constant_loss) == pytest.approx((0.75, -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    soft = SoftLabels("accuracy", np.array([[0.9, 0.1], [0.6, 0.4], [0.0, 1.0], [0.5, 0.5]]))
    assert (soft.constant_quality, soft.constant_loss) == pytest.approx((0.75, math.log(2)))


def test_metrics_are_scikit_learns() -> None:
    """f1 and auc of several labels, and r2 of numbers that are all given."""
    outputs = draw(N, K)
    answers, probabilities = (outputs > 0).numpy(), outputs.sigmoid().numpy()
    several = torch.tensor(SEVERAL).float()
    complete = np.nan_to_num(NUMBERS, nan=5.0)
    estimate = standardise(complete) + 0.5 * draw(N, K)

    assert SeveralLabels("f1", SEVERAL).measure(outputs, several).value == pytest.approx(f1_score(SEVERAL, answers, average="macro"))
    assert SeveralLabels("auc", SEVERAL).measure(outputs, several).value == pytest.approx(roc_auc_score(SEVERAL, probabilities), abs=1e-6)
    measured = SeveralNumbers("r2", complete).measure(estimate, standardise(complete))
    assert measured.value == pytest.approx(r2_score(standardise(complete).flatten(), estimate.flatten()), abs=1e-6)
    one = Regression("r2", complete[:, 0]).measure(draw(N, 1), draw(N))
    assert one.value == pytest.approx(r2_score(draw(N).numpy(), draw(N, 1).squeeze(1).numpy()))


def test_top5_counts_the_label_among_the_five_largest() -> None:
    """The sixth largest is no hit."""
    outputs = torch.arange(7.0).flip(0).repeat(7, 1)

    measured = Classification("top5", [1] * 7, balanced=False, device=CPU).measure(outputs, torch.arange(7))

    assert measured.contributions_N.tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert Classification("top5", [4, 1, 1, 1, 1, 1, 1], balanced=False, device=CPU).constant_quality == pytest.approx(0.8)


def test_missing_numbers_count_nowhere() -> None:
    """Errors of 1 and 3 on the two given numbers of three: loss 5, mae 2 in a unit of deviation 10."""
    task = SeveralNumbers("mae", np.array([[10.0, 30.0, np.nan], [30.0, 10.0, np.nan]]))
    outputs, targets = torch.tensor([[0.0, 4.0, 99.0]]), torch.tensor([[1.0, 1.0, math.nan]])

    assert task.losses(outputs, targets).tolist() == [5.0]
    assert task.measure(outputs, targets).value == pytest.approx(20)
    outputs.requires_grad_()
    task.losses(outputs, targets).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.tolist() == [[-1.0, 3.0, 0.0]]


@pytest.mark.parametrize("metric", ["f1", "auc"])
def test_paired_errors_of_several_labels_match_the_bootstrap(metric: str) -> None:
    """The standard error from contributions is that of 300 resamples, within a sixth."""
    draws, number = stream("paired labels", metric), 400
    labels = draws.random((number, 3)) < 0.4
    outputs = torch.tensor(labels * 1.2 + draws.standard_normal((number, 3)) - 0.5)
    task, targets = SeveralLabels(metric, labels), torch.tensor(labels).float()
    contributions = task.measure(outputs, targets).contributions_N

    values = []
    for _ in range(300):
        rows = torch.tensor(draws.integers(number, size=number))
        values.append(task.measure(outputs[rows], targets[rows]).value)

    assert contributions.std() / math.sqrt(number) == pytest.approx(np.std(values), rel=0.17)


@pytest.mark.parametrize("kind", ["tokens", "labels", "shares"])
def test_smoothed_labels_lose_more_where_the_answer_is_sure(kind: str) -> None:
    """A sure and right answer has a loss of about 0, and with smoothing one that grows with its size."""
    task = TASKS[f"{kind} log_loss"][0]
    targets = {"tokens": torch.zeros(1, T, dtype=torch.int64), "labels": torch.ones(1, K), "shares": torch.eye(K)[:1]}[kind]
    sure = {"tokens": 20 * torch.eye(K)[0].expand(1, T, K), "labels": torch.full((1, K), 20.0), "shares": 20 * torch.eye(K)[:1]}[kind]

    assert task.training_losses(sure, targets, 0.0).item() == pytest.approx(0, abs=1e-6)
    share = 0.1 / 2 if kind == "labels" else 0.1 * (K - 1) / K
    assert task.training_losses(sure, targets, 0.1).item() == pytest.approx(20 * share, rel=1e-3)
