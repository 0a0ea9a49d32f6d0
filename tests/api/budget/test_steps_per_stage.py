"""A budget in trainings becomes steps, in closed form."""

from __future__ import annotations

import math

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.plan_request import FORWARD_SHARE, SupernetPrices
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.budget.steps_per_stage import make_request, minimum_trainings, plan_stages, plan_supernet
from autohas_api.testing.rejections import a_search, with_change

LANES = {"autoHAS": {"strategy": "Lanes"}}


def _plan(trainings: str, steps: int = 900, algorithm: object = LANES) -> StagePlan:
    document = with_change(with_change(a_search(), "spec.budget.trainings", trainings), "spec.training.steps", steps)
    if algorithm is not LANES:
        document = with_change(document, "spec.searchSpace.hyperparameters", [])
    document = with_change(document, "spec.algorithm", algorithm)
    search, space = accept(document)
    return plan_stages(search.spec, space)


def test_rungs_are_a_ninth_a_third_and_all() -> None:
    """Of 900 steps: 100, 300, 900; of 100: 12, 34, 100, rounded up."""
    assert _plan("5.5").rungs == (100, 300, 900)
    assert _plan("5.5", steps=100).rungs == (12, 34, 100)


@pytest.mark.parametrize("trainings", ["3.4", "4", "5.5", "8", "20"])
@pytest.mark.parametrize("algorithm", [LANES, {"autoHAS": {"strategy": "OneStep"}}, {"name": "RandomSharing"}], ids=str)
def test_a_plan_costs_nearly_its_budget_and_never_more(trainings: str, algorithm: object) -> None:
    """What is predicted stays within the budget and leaves less than one lane and a step of it."""
    predicted = _plan(trainings, algorithm=algorithm).predicted_trainings

    assert float(trainings) - 0.05 <= predicted <= float(trainings) + 1e-9


def test_predicted_cost_is_the_sum_of_the_stages() -> None:
    """Lanes to 1/9 and 1/3, supernet steps with and without reward, the race: added by hand."""
    plan = _plan("5.5")
    lanes = plan.lane_steps / 900
    supernet = (plan.supernet_steps + (plan.supernet_steps - plan.warmup_steps) * FORWARD_SHARE) / 900
    race = plan.race_steps / 900

    assert plan.predicted_trainings == pytest.approx(lanes + supernet + race)


def test_the_minimum_is_enough_for_every_stage() -> None:
    """Exactly the minimum gives lanes, supernet and race something to do."""
    search, space = accept(with_change(with_change(a_search(), "spec.training.steps", 900), "spec.algorithm", LANES))
    least = minimum_trainings(search.spec, space)

    plan = _plan(f"{least + 1e-6:.7f}")

    assert plan.num_lanes == 3
    assert plan.supernet_steps > 0
    assert plan.race_steps > 0


@pytest.mark.parametrize(("strategy", "in_window"), [("OneStep", 2 * FORWARD_SHARE), ("Paired", 5 * FORWARD_SHARE)])
def test_hyperparameters_alone_end_the_supernet_with_their_window(strategy: str, in_window: float) -> None:
    """A fifth of the schedule is run, without a warm-up; steps, rewards and looks by hand are what the race leaves of the budget."""
    document = with_change(with_change(a_search(), "spec.searchSpace.architecture"), "spec.training.steps", 900)
    document = with_change(document, "spec.searchSpace.hyperparameters", document["spec"]["searchSpace"]["hyperparameters"][:1])
    document = with_change(with_change(document, "spec.budget.trainings", "6"), "spec.algorithm", {"autoHAS": {"strategy": strategy}})
    search, space = accept(document)
    plan = plan_stages(search.spec, space)
    window = plan.supernet_steps - math.ceil(0.05 * plan.schedule_steps)

    assert (plan.warmup_steps, plan.supernet_steps) == (0, math.ceil(0.2 * plan.schedule_steps))
    assert plan.predicted_trainings == pytest.approx((plan.race_steps + plan.supernet_steps + in_window * window) / 900)
    assert 6 - 0.005 < plan.predicted_trainings <= 6


@pytest.mark.parametrize("algorithm", [LANES, {"autoHAS": {"strategy": "OneStep"}}, {"name": "RandomSharing"}], ids=str)
def test_a_supernet_that_searches_an_architecture_runs_its_whole_schedule(algorithm: object) -> None:
    """Lanes, OneStep and RandomSharing learn to the last step."""
    plan = _plan("5.5", algorithm=algorithm)

    assert 0 < plan.supernet_steps == plan.schedule_steps


def test_hyperparameters_alone_need_no_supernet() -> None:
    """Without an architecture to search the whole budget goes to lanes and race."""
    document = with_change(with_change(a_search(), "spec.searchSpace.architecture"), "spec.training.steps", 900)
    search, space = accept(with_change(document, "spec.algorithm", LANES))

    plan = plan_stages(search.spec, space)

    assert plan.supernet_steps == 0
    assert plan.num_lanes > 3


@pytest.mark.parametrize(("step", "reward"), [(1.0, 0.35), (2.0, 0.35), (0.5, 1.0)])
def test_a_supernet_of_another_price_gets_the_steps_that_its_share_pays_for(step: float, reward: float) -> None:
    """900 steps a training, a quarter uniform and not rewarded: 2 trainings pay for 1,800 / (step + 3/4 reward) steps."""
    search, space = accept(with_change(with_change(a_search(), "spec.training.steps", 900), "spec.algorithm", LANES))
    plan, request = plan_stages(search.spec, space), make_request(search.spec, space)

    paid = plan_supernet(search.spec, request, plan, 2.0, SupernetPrices(step=step, reward=reward))

    steps = int(1800 / (step + 0.75 * reward))
    warmup = math.ceil(steps / 4)
    assert (paid.supernet_steps, paid.schedule_steps, paid.warmup_steps) == (steps, steps, warmup)
    assert paid.supernet_trainings == pytest.approx((steps * step + (steps - warmup) * reward) / 900)
    assert (paid.num_lanes, paid.predicted_trainings) == (plan.num_lanes, plan.predicted_trainings)


def test_a_plan_without_a_supernet_stays_as_it_is() -> None:
    """RandomSearch has none, whatever a step would cost."""
    document = with_change(a_search(), "spec.algorithm", {"name": "RandomSearch"})
    search, space = accept(document)
    plan = plan_stages(search.spec, space)
    assert plan_supernet(search.spec, make_request(search.spec, space), plan, 2.0, SupernetPrices(step=2.0, reward=1.0)) == plan
