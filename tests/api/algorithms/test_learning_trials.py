"""The smallest budgets of the algorithms whose sampler learns, where every trial costs as much as the default."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.algorithms.bohb import count_random_trials, count_trials
from autohas_api.algorithms.regularized_evolution import RegularizedEvolution
from autohas_api.algorithms.rungs import Rungs
from autohas_api.budget.steps_per_stage import minimum_trainings, plan_stages
from autohas_api.space.decisions import Space, resolve
from autohas_api.spec.search import Spec, parse
from autohas_api.testing.builders import a_search, with_change


def _read(algorithm: dict[str, Any], trainings: str = "200") -> tuple[Spec, Space]:
    document = with_change(with_change(a_search(), "spec.algorithm", algorithm), "spec.budget.trainings", trainings)
    spec = parse(with_change(document, "spec.training.steps", 2700)).spec
    return spec, resolve(spec)


@pytest.mark.parametrize(
    ("algorithm", "least"),
    [
        ({"name": "TPE"}, 1 + 20 / 9 + 10 / 9),  # the bracket of the default and 8 more, then 2 trials and one's way to the end
        ({"name": "TPE", "tpe": {"startupTrials": 1}}, 2),
        ({"name": "TPE", "tpe": {"halving": False}}, 11),
        ({"name": "TPE", "tpe": {"halving": False, "parallelTrials": 4}}, 14),
        ({"name": "RegularizedEvolution"}, 101),
        ({"name": "RegularizedEvolution", "regularizedEvolution": {"population": 10, "sample": 3}}, 11),
        ({"name": "RegularizedEvolution", "regularizedEvolution": {"population": 2, "sample": 2, "parallelTrials": 3}}, 5),
    ],
)
def test_the_smallest_budget_pays_for_one_trial_that_was_not_drawn_at_random(algorithm: dict[str, Any], least: float) -> None:
    """The default, the trials whose results are known, those that are open at the time, and one more."""
    assert minimum_trainings(*_read(algorithm)) == pytest.approx(least)


@pytest.mark.parametrize(
    ("knobs", "sample"),
    [({}, 25), ({"population": 2}, 2), ({"population": 4}, 2), ({"population": 9}, 3), ({"population": 300, "sample": 26}, 26)],
)
def test_a_sample_is_a_quarter_of_the_population(knobs: dict[str, int], sample: int) -> None:
    """A population alone is a valid spec, however small: the sample follows it, rounded up."""
    spec, _ = _read({"name": "RegularizedEvolution", "regularizedEvolution": knobs})
    assert spec.algorithm.knobs_as(RegularizedEvolution).sample == sample


def test_halving_is_a_knob_of_tpe() -> None:
    """27 trainings: without halving 27 trials; with it nine brackets and more, of nine trials each."""
    whole = plan_stages(*_read({"name": "TPE", "tpe": {"halving": False}}, "27"))
    cut = plan_stages(*_read({"name": "TPE"}, "27"))

    assert whole.num_trials == 27
    assert whole.race_steps == 27 * 2700
    assert cut.num_trials > 9 * 9


@pytest.mark.parametrize(
    ("num_decisions", "ladder", "trials"),
    [
        (5, Rungs(), 8),  # 8 of the 9 at the first rung
        (17, Rungs(count=4), 20),  # 20 of the 27
        (7, Rungs(), 9 + 5 + 3 + 1),  # 10 are needed: 9 in the first bracket, 5 and 3 elsewhere, and the first of the next 9
        (17, Rungs(), 36),  # the first rung has 18 after two rounds of brackets (34 trials), and 2 more
    ],
)
def test_bohb_waits_until_a_rung_has_enough_trials(num_decisions: int, ladder: Rungs, trials: int) -> None:
    """Brackets of three rungs have 9, 5 and 3 trials, which begin at the first rung, the second and the third."""
    assert count_trials(num_decisions) == num_decisions + 3
    assert count_random_trials(num_decisions, ladder) == trials
