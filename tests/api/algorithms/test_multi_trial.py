"""What a budget pays for under a schedule, where every trial costs as much as the default."""

from __future__ import annotations

import pytest

from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.multi_trial import TrialPlan
from autohas_api.algorithms.plan_request import Comparisons
from autohas_api.algorithms.rungs import Rungs
from autohas_api.budget.steps_per_stage import minimum_trainings, plan_stages
from autohas_api.space.decisions import resolve
from autohas_api.spec.search import parse
from autohas_api.testing.builders import a_search, with_change

FREE = Comparisons(early=0.0, last=0.0)
EARLY, LAST = 0.01, 0.04


def _plan(schedule: Schedule, count: int = 4, comparison: Comparisons = FREE) -> TrialPlan:
    return TrialPlan(schedule, Rungs(count=count), 2700, comparison)


@pytest.mark.parametrize(
    ("schedule", "number", "trainings"),
    [
        (Schedule.HALVING, 1, 27 / 27 + 9 * 2 / 27 + 3 * 6 / 27 + 18 / 27),
        (Schedule.HYPERBAND, 1, 12 * 3 / 27 + 4 * 6 / 27 + 18 / 27),
        (Schedule.HYPERBAND, 2, 6 * 9 / 27 + 2 * 18 / 27),
        (Schedule.HYPERBAND, 3, 4),
        (Schedule.FULL, 1, 1),
        (Schedule.AT_END, 1, 1),
    ],
)
def test_a_bracket_costs_what_its_trials_are_trained_beyond_the_rung_before(schedule: Schedule, number: int, trainings: float) -> None:
    """R = 27, eta = 3: a trial that continues is not trained again."""
    plan = _plan(schedule)
    whole = plan.count_new(number)
    assert plan.price_of(number, whole) == pytest.approx(trainings)
    assert plan.steps_of(number, whole) == pytest.approx(2700 * trainings)


def test_every_trial_pays_for_its_comparisons() -> None:
    """27 + 9 + 3 comparisons before the end of a training, one at the end; the default is compared at every rung."""
    paid, free = _plan(Schedule.HALVING, comparison=Comparisons(early=EARLY, last=LAST)), _plan(Schedule.HALVING)
    assert paid.price_of(1, 27) - free.price_of(1, 27) == pytest.approx(39 * EARLY + LAST)
    assert paid.default_price == pytest.approx(1 + 3 * EARLY + LAST)


def test_random_search_compares_each_trial_at_its_end_alone() -> None:
    """The default too, which RegularizedEvolution, whose other trials are as long, compares at every rung."""
    comparison = Comparisons(early=EARLY, last=LAST)
    at_end, full = (_plan(schedule, comparison=comparison) for schedule in (Schedule.AT_END, Schedule.FULL))
    assert (at_end.first_rung_of_default, full.first_rung_of_default) == (3, 0)
    assert at_end.default_price == pytest.approx(1 + LAST)
    assert full.default_price == pytest.approx(1 + 3 * EARLY + LAST)
    assert at_end.price_of(1, 1) == full.price_of(1, 1) == pytest.approx(1 + LAST)


@pytest.mark.parametrize("schedule", [Schedule.AT_END, Schedule.FULL])
@pytest.mark.parametrize(("trainings", "trials"), [(-0.1, 0), (0.0, 0), (1.039, 0), (1.04, 1), (3.13, 3), (10_400.0, 10_000)])
def test_whole_trainings_are_counted_without_laying_them_out_one_by_one(schedule: Schedule, trainings: float, trials: int) -> None:
    """A trial costs 1.04 with its comparison; no bracket of the ten thousand is asked for."""
    plan = _plan(schedule, comparison=Comparisons(early=EARLY, last=LAST))
    num_trials, steps, spent = plan.lay_out(trainings)
    assert (num_trials, steps) == (trials, 2700 * trials)
    assert spent == pytest.approx(1.04 * trials)


def test_the_default_is_a_trial_of_the_first_bracket_and_paid_for_before_it() -> None:
    """26 new trials in the first bracket, and the way to the end of nine of the 27."""
    plan = _plan(Schedule.HALVING)
    assert plan.count_new(0) == 26
    assert plan.price_of(0, 26) == pytest.approx(26 / 27 + 2)


def test_the_last_bracket_begins_with_as_many_trials_as_are_paid_for() -> None:
    """Two whole brackets of 3 rungs (8 and 9 new trials, 20/9 and 21/9 trainings), and of the third 3 trials: 3/9 + 2/9 + 6/9."""
    trials, steps, spent = _plan(Schedule.HALVING, count=3).lay_out(20 / 9 + 21 / 9 + 1.3)
    assert trials == 8 + 9 + 3
    assert spent == pytest.approx(41 / 9 + 11 / 9)
    assert steps == pytest.approx(2700 * 52 / 9)


def test_the_smallest_budget_pays_for_the_default_and_one_trial_or_for_all_initial_points() -> None:
    """Two trainings; with ten initial points one whole bracket (8 new trials) and two trials of the next: 2/9 + 2/9 + 6/9."""
    document = with_change(a_search(), "spec.algorithm", {"name": "SuccessiveHalving"})
    spec = parse(document).spec
    assert minimum_trainings(spec, resolve(spec)) == pytest.approx(2, rel=0.01)
    assert _plan(Schedule.HALVING, count=3).price_of_trials(10) == pytest.approx(20 / 9 + 10 / 9)


def test_the_plan_follows_the_rungs_of_the_budget() -> None:
    """Two rungs with eta 2: half and all of a training."""
    document = with_change(a_search(), "spec.algorithm", {"name": "Hyperband"})
    document = with_change(
        with_change(document, "spec.training.steps", 100), "spec.budget", {"trainings": "4", "rungs": {"eta": 2, "count": 2}}
    )
    spec = parse(document).spec
    plan = plan_stages(spec, resolve(spec))
    # The default; one new trial to 1/2 and the better one to the end (1); two trials to the end (2).
    assert (plan.rungs, plan.num_trials, plan.race_steps) == ((50, 100), 4, 400)
