"""A metric of the user's judges a task: its form, its standard errors, and each way to break its contract."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import custom_metric_fixtures
from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.config_yaml import config_text, read_config
from autohas_trainer.engine.training.comparison import Comparison, encode, paired_standard_error
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, ConfigurationError
from autohas_trainer.tasks import Classification, CustomMetric, Regression
from autohas_trainer.tasks.jackknife import jackknife
from custom_search_fixtures import custom_search, loaded
from engine_fixtures import MemorySink, search, small_search

N, K = 60, 3
RNG = np.random.default_rng(0)
OUTPUTS = torch.from_numpy(RNG.standard_normal((N, K))).float()
TARGETS = torch.from_numpy(RNG.integers(0, K, N))


def _task(name: str, direction: str = "Maximize") -> CustomMetric:
    task = Classification("accuracy", [20] * K, balanced=False, device=torch.device("cpu"))
    judged = CustomMetric(task, getattr(custom_metric_fixtures, name), f"custom_metric_fixtures:{name}", direction, None)
    judged.check(TARGETS)
    return judged


def _custom(name: str, direction: str = "Maximize", **more: str) -> dict[str, Any]:
    metric = {"entrypoint": f"custom_metric_fixtures:{name}", "direction": direction, **more}
    return with_change(small_search({"autoHAS": {"strategy": "OneFactor"}}), "spec.objective", {"customMetric": metric})


def test_both_forms_of_a_metric_give_the_built_in_ones_value_and_contributions() -> None:
    """Contributions per example are accuracy's own; one number for all has accuracy's standard error by the jackknife."""
    expected = Classification("accuracy", [20] * K, balanced=False, device=torch.device("cpu")).measure(OUTPUTS, TARGETS)

    by_example, by_number = _task("hits").measure(OUTPUTS, TARGETS), _task("hit_rate").measure(OUTPUTS, TARGETS)

    assert by_example.value == pytest.approx(expected.value)
    assert by_number.value == pytest.approx(expected.value)
    np.testing.assert_array_equal(by_example.contributions_N, expected.contributions_N)
    assert by_number.contributions_N.mean() == pytest.approx(expected.value)
    assert len(by_number.contributions_N) == 20


def test_batches_give_the_number_of_the_whole() -> None:
    """A metric that is one number sees the whole split, however it was cut into batches."""
    task = _task("hit_rate")

    in_batches = task.summarise([task.statistics(OUTPUTS[i : i + 7], TARGETS[i : i + 7]) for i in range(0, N, 7)])

    assert in_batches.value == task.measure(OUTPUTS, TARGETS).value


def test_the_jackknife_of_a_mean_is_the_standard_error_of_its_groups() -> None:
    """With as many groups as examples, the contributions are the numbers themselves up to sqrt(n / (n - 1))."""
    numbers = np.array([1.0, 2.0, 4.0, 9.0])

    value, contributions = jackknife(lambda rows: float(numbers[rows].mean()), 4)

    assert value == 4.0
    np.testing.assert_allclose(contributions - 4.0, (numbers - 4.0) * math.sqrt(4 / 3))
    assert contributions.std() / 2 == pytest.approx(numbers.std(ddof=1) / 2)


def test_a_paired_error_of_scalar_metrics_is_that_of_the_groups() -> None:
    """Two networks that err on the same examples differ by nothing, though each is uncertain."""
    one = _task("hit_rate").measure(OUTPUTS, TARGETS)
    same = _comparison(one.contributions_N)
    other = _comparison(_task("hit_rate").measure(2 * OUTPUTS, TARGETS).contributions_N)

    assert one.contributions_N.std() > 0
    assert paired_standard_error(same, other) == 0


def _comparison(contributions: Any) -> Comparison:
    return Comparison(step=1, key=0.0, score=0.0, metric=0.0, loss=0.0, contributions=encode(contributions))


def test_a_metric_to_minimise_is_better_the_smaller_it_is() -> None:
    """Quality, which comparisons rank by, falls as the metric rises; rewards are losses against a constant's."""
    task = _task("error_rate", "Minimize")
    right = 9.0 * torch.nn.functional.one_hot(TARGETS, K).float()

    assert task.measure(right, TARGETS).quality == 0.0
    assert task.measure(-right, TARGETS).quality == -1.0
    assert float(task.qualities(torch.zeros(N, K), TARGETS).mean()) == pytest.approx(0.0, abs=1e-6)


def test_numbers_reach_the_metric_in_their_own_unit() -> None:
    """Networks learn standardised targets; the metric sees dollars, or whatever the file has."""
    task = Regression("rmse", np.array([100.0, 300.0]))
    judged = CustomMetric(task, custom_metric_fixtures.largest_error, "m:f", "Minimize", (200.0, 100.0))
    judged.check(torch.tensor([-1.0, 1.0]))

    measured = judged.measure(torch.tensor([[-0.5], [1.0]]), torch.tensor([-1.0, 1.0]))

    assert measured.value == 25.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nan", "gave nan; every number must be finite"),
        ("pairs", r"gave a tensor of shape \(60, 2\); it must give what each example contributes, here \(60,\), or one number"),
        ("imaginary", r"gave a tensor of torch\.complex(64|128); it must give real numbers"),
        ("text", "gave a str; it must give a tensor"),
        ("raises", r"metric\(outputs, targets\) raised KeyError: 'weights'"),
        ("draws", "gave other numbers for the same outputs and targets"),
    ],
)
def test_a_broken_metric_is_one_sentence_before_the_first_step(name: str, words: str) -> None:
    """NaN, a wrong shape, another type, an exception and randomness are each named with the field."""
    with pytest.raises(ConfigurationError, match=f"^objective.customMetric.entrypoint custom_metric_fixtures:{name}.*{words}"):
        _task(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("positional", "cannot take outputs, targets; write"),
        ("absent", "module custom_metric_fixtures has no absent; it has"),
        ("nan", "every number must be finite"),
    ],
)
def test_a_search_with_a_broken_metric_takes_no_step(tmp_path: Path, name: str, words: str) -> None:
    """The metric is imported and tried when the data are read."""
    sink = MemorySink()

    with pytest.raises(ConfigurationError, match=words):
        search(_custom(name), tmp_path, sink)

    assert sink.steps == []


def test_a_search_by_a_custom_metric_ends_with_its_value(tmp_path: Path) -> None:
    """The result, config.yaml and the candidates' records have the custom metric; the same search by accuracy has the same winner."""
    custom, plain = MemorySink(), MemorySink()
    outcome = search(_custom("hit_rate"), tmp_path / "custom", custom)
    expected = search(with_change(_custom("hit_rate"), "spec.objective"), tmp_path / "plain", plain)

    assert outcome.configuration == expected.configuration
    assert outcome.result.test_score == pytest.approx(expected.result.test_score)
    assert outcome.result.model_digest == expected.result.model_digest


def test_a_candidate_whose_metric_is_not_finite_is_out() -> None:
    """In a comparison a metric's failure is the candidate's, as any exception of custom code."""
    task = loaded(with_change(custom_search("Plain"), "spec.objective", _custom("nan_for_constants")["spec"]["objective"]))
    training = Training(task, task.space.default)
    training.begin()
    for average in training._average.tensors.values():
        average.zero_()

    with pytest.raises(CandidateError, match=r"the comparison after 0 steps: objective.customMetric.entrypoint .* gave"):
        training.compare()


def test_the_metric_of_config_yaml_is_read_back(tmp_path: Path) -> None:
    """`autohas retrain` judges by the search's own metric."""
    outcome = search(_custom("hits"), tmp_path, MemorySink())
    file = tmp_path / "config.yaml"
    file.write_text(config_text(*accept(_custom("hits")), outcome))

    again, _ = read_config(file)

    assert again.spec.objective.metric_name == "hits"
    assert again.spec.objective.better == "Maximize"
