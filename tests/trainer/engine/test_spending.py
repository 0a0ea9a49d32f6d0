"""What a stage does not spend is spent by later ones, and a notice says where it went or how much is left."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import device

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.plan_request import FORWARD_SHARE
from autohas_api.budget import steps_per_stage as budget_module
from autohas_api.space.decisions import Configuration
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage, StopReason
from autohas_trainer.algorithms._base import Gradient
from autohas_trainer.data import SelectionBatch, TrainBatch
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.accounting.spending import Lanes, Prices, Race, choose_affordable, name_range
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training import search_task as search_task_module
from autohas_trainer.engine.training import training as training_module
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import StepRecord
from engine_fixtures import Killed, MemorySink, TickingClock, search, small_search

PRICES = Prices(first=5 / 45 + 0.01, second=10 / 45 + 0.01, last=30 / 45 + 0.02)


def _supernet_is_lost_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the supernet's loss be no number from a step on, in every process."""
    original = SupernetStepContext.gradient

    def gradient(self: SupernetStepContext, configuration: Configuration, batch: TrainBatch) -> Gradient:
        found = original(self, configuration, batch)
        return Gradient(loss=torch.tensor(math.nan), tensors=found.tensors) if self.step >= step else found

    monkeypatch.setattr(SupernetStepContext, "gradient", gradient)


def _trainings_diverge(monkeypatch: pytest.MonkeyPatch, concerned: Callable[[Training], bool]) -> None:
    """Let trainings lose all sense, but for the default's."""
    original = Training.step

    def stepped(self: Training) -> float | None:
        if self.configuration != self._search_task.space.default and concerned(self):
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setattr(training_module.Training, "step", stepped)


def _document(algorithm: dict[str, Any] | None = None, trainings: str = "6") -> dict[str, Any]:
    return with_change(small_search(algorithm, steps=45), "spec.budget.trainings", trainings)


def _has_a_large_rate(training: Training) -> bool:
    return training.recipe.learning_rate > 0.1


def _scaled(work: float) -> Prices:
    """The prices of a candidate that costs `work` times as much as the others."""
    return Prices(first=work * PRICES.first, second=work * PRICES.second, last=work * PRICES.last)


def test_the_rest_of_a_way_is_the_sum_of_its_rungs() -> None:
    """From each rung to the end, by hand."""
    assert [PRICES.rest(rung) for rung in range(3)] == pytest.approx([1.04, 1.04 - PRICES.first, PRICES.last])


@pytest.mark.parametrize("left", [0.0, 0.7, 1.0, 1.3, 2.0, 5.0, 40.0])
def test_a_race_is_as_wide_as_what_is_left_pays_for(left: float) -> None:
    """A third continues, of those a third, at least 2 and 1; what that leaves goes to candidates that add no finalist, if there is one."""
    by_hand = {n: n * PRICES.first + min(n, max(2, -(-n // 3))) * PRICES.second for n in range(500)}
    prices = {n: price + max(1, min(n, max(2, -(-n // 3))) // 3) * PRICES.last for n, price in by_hand.items()}
    race = Race(left)
    width = sum(race.enter(PRICES) for _ in range(500))

    regular = max((n for n in range(1, 500) if prices[n] <= left), default=0)
    extra = math.floor((left - prices[regular]) / PRICES.first) if regular else 0
    assert width == regular + extra
    assert race.spare == pytest.approx(left - prices[regular] - extra * PRICES.first if regular else left)


def test_a_candidate_that_costs_too_much_is_passed_over_in_a_race() -> None:
    """With 2.2 trainings a candidate of work 3 can never be finished: others take its place until nothing is left for one more."""
    race = Race(2.2)
    works = (3.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0)
    assert [race.enter(_scaled(work)) for work in works] == [False, True, True, True, True, True, True, False]
    assert 0 <= race.spare < PRICES.first


def test_a_race_sets_the_end_of_an_expensive_lane_aside() -> None:
    """The best lane costs three times as much from 1/3 to the end: what is left for new candidates is less by that."""
    free, bound = Race(4.0), Race(4.0, _scaled(3.0))
    assert sum(free.enter(PRICES) for _ in range(99)) > sum(bound.enter(PRICES) for _ in range(99))
    assert Race(1.0, _scaled(3.0)).enter(PRICES) is False


def test_lanes_are_entered_while_their_share_pays_for_them() -> None:
    """Four lanes to 1/9 and two of them to 1/3 cost .949, five cost 1.07; one of work 9 is passed over, and half-price ones are more."""
    share, end = 0.95, PRICES.last
    lanes = Lanes(share, share + end)
    assert [lanes.enter(PRICES) for _ in range(6)] == [True, True, True, True, False, False]
    lanes = Lanes(share, share + end)
    assert [lanes.enter(_scaled(work)) for work in (1.0, 9.0, 1.0, 1.0)] == [True, False, True, True]
    lanes = Lanes(share, share + end)
    assert sum(lanes.enter(_scaled(0.5)) for _ in range(20)) == 9


def test_the_end_of_an_expensive_lane_takes_from_the_share() -> None:
    """A lane of work 2 fits where its end may cost twice as much, and not where what lanes and end may spend together is the plan's."""
    share, end = 0.95, PRICES.last
    assert Lanes(share, share + 2 * end).enter(_scaled(2.0))
    assert not Lanes(share, 0.3 + 2 * end).enter(_scaled(2.0))


def test_finalists_leave_room_for_the_end_of_the_most_expensive_one() -> None:
    """With 1.4 trainings the best, of work 3, is passed over; the next two continue, and one of them can be finished."""
    works = {"a": 3.0, "b": 1.0, "c": 1.0, "d": 1.0}
    left = 2 * PRICES.second + PRICES.last
    assert choose_affordable(works, lambda name: _scaled(works[name]), left) == ["b", "c"]
    assert choose_affordable(works, lambda name: _scaled(works[name]), 3 * PRICES.rest(1)) == ["a"]
    assert choose_affordable(works, lambda name: _scaled(works[name]), left, [_scaled(2.0)]) == []


def test_names_are_enumerated_for_a_sentence() -> None:
    """One, two and many."""
    assert [name_range([f"lane {n}" for n in range(5, 5 + count)]) for count in (1, 2, 8)] == [
        "lane 5",
        "lane 5 and lane 6",
        "lane 5 to lane 12 (8)",
    ]


def test_the_race_spends_what_a_lost_supernet_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Abandoned after 8 steps, the last 3 lost: more lanes race, the cost is near the budget, no step is counted that was not taken."""
    _supernet_is_lost_at(monkeypatch, 5)
    sink = MemorySink()
    outcome = search(_document(), tmp_path, sink)

    assert sink.info is not None
    assert 6 - 0.3 < outcome.result.trainings <= 6 * 1.02
    supernet = [record for record in sink.steps if record.stage in (Stage.WARMUP, Stage.SUPERNET)]
    assert len(supernet) == 8
    assert sink.plans[-1][1][Stage.WARMUP] + sink.plans[-1][1][Stage.SUPERNET] == 8 < sink.info.plan.supernet_steps
    assert supernet[-1].step == len([r for r in sink.steps if r.stage is Stage.LANES]) + 8
    assert sink.steps[-1].step == sink.steps[-1].steps
    reasons = [notice.reason for notice in sink.notices]
    assert [reason for reason in reasons if reason not in ("SupernetShort", "FewEpochs", "TrainLonger")] == [
        "SupernetRestarted",
        "SupernetRestarted",
        "SupernetDiverged",
        "BudgetMoved",
    ]
    raced = {record.name for record in sink.candidates if record.stage is Stage.RACE}
    lanes = {record.name for record in sink.candidates if record.stage is Stage.LANES}
    assert len(raced - lanes) > 4


def test_lanes_that_diverge_are_replaced_by_the_next_of_the_design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes at large rates diverge in their first step: others take their place, the cost stays near the budget."""
    plain, sink = MemorySink(), MemorySink()
    search(_document(), tmp_path / "plain", plain)
    _trainings_diverge(monkeypatch, _has_a_large_rate)
    outcome = search(_document(), tmp_path / "diverging", sink)

    def compared(of: MemorySink) -> list[str]:
        return [r.name for r in of.candidates if r.stage is Stage.LANES and r.fraction < 0.2]

    assert sink.info is not None
    num_diverged = sum(r.score is None for r in sink.candidates if r.stage is Stage.LANES and r.fraction < 0.2)
    assert num_diverged > 1
    assert len(compared(sink)) > len(compared(plain)) == sink.info.plan.num_lanes
    assert "BudgetMoved" in [notice.reason for notice in sink.notices]
    assert 6 - 0.3 < outcome.result.trainings <= 6 * 1.02


def test_random_search_draws_further_trials_for_those_that_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials at large rates cost one step each: further ones follow until no whole training can be paid for."""
    _trainings_diverge(monkeypatch, _has_a_large_rate)
    sink = MemorySink()
    outcome = search(_document({"name": "RandomSearch"}), tmp_path, sink)
    finished = [record for record in sink.candidates if record.score is not None]

    assert sink.info is not None
    assert len(sink.candidates) > sink.info.plan.num_trials
    assert sink.steps[-1].step == sink.steps[-1].steps
    assert len(finished) >= 5
    assert outcome.result.trainings > 5


def test_what_early_stopping_saves_is_not_spent_and_a_notice_names_it(tmp_path: Path) -> None:
    """budget.earlyStopping ends the supernet after a few rewards: the race is the planned one, and the last notice says what is left."""
    document = with_change(_document(trainings="12"), "spec.budget.earlyStopping", {"normalizedEntropyBelow": "0.999"})
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)

    assert outcome.result.stop_reason is StopReason.CONVERGED
    left = 12 - outcome.result.trainings
    assert left > 1
    assert (sink.notices[-1].reason, sink.notices[-1].message) == (
        "BudgetLeft",
        f"{left:.2f} of 12 trainings are not spent: budget.earlyStopping ended the supernet to save them",
    )


@pytest.mark.parametrize("trainings", ["3.4", "3.6", "3.8", "4", "4.4"])
def test_a_race_of_lanes_alone_spends_no_more_than_the_budget(trainings: str, tmp_path: Path) -> None:
    """Without an architecture no new candidate is planned: what is left pays for further lanes to 1/3, or for none."""
    document = with_change(_document(trainings=trainings), "spec.searchSpace.architecture")
    outcome = search(document, tmp_path, MemorySink())

    assert outcome.result.trainings <= float(trainings) + 1 / 45


def test_a_space_without_another_configuration_leaves_the_rest_and_says_so(tmp_path: Path) -> None:
    """Three rates and nothing else: each is a lane, nothing else can be trained."""
    document = with_change(_document(trainings="12"), "spec.searchSpace.architecture")
    document = with_change(
        document, "spec.searchSpace.hyperparameters", [{"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}}]
    )
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)

    assert outcome.result.trainings < 3
    assert (sink.notices[-1].reason, sink.notices[-1].message) == (
        "BudgetLeft",
        f"{12 - outcome.result.trainings:.2f} of 12 trainings are not spent: every configuration that could be drawn was a candidate",
    )


@pytest.mark.parametrize("algorithm", [None, {"name": "RandomSearch"}], ids=["Lanes", "RandomSearch"])
def test_a_wider_search_ends_the_same_however_it_is_killed(
    algorithm: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes diverge and the supernet is lost: killed in every stage and around the rungs, digest, cost, candidates and steps are equal."""
    _supernet_is_lost_at(monkeypatch, 5)
    _trainings_diverge(monkeypatch, _has_a_large_rate)
    whole = MemorySink()
    expected = search(_document(algorithm), tmp_path / "whole", whole)
    total = len(whole.steps)
    boundaries = [n for n in range(1, total) if whole.steps[n].candidate != whole.steps[n - 1].candidate]
    moments = sorted({1, total // 3, total - 2, *boundaries[:: max(1, len(boundaries) // 6)]})
    for moment in moments:

        def kill(record: StepRecord, moment: int = moment) -> None:
            if (record.step, record.cost) == (whole.steps[moment].step, whole.steps[moment].cost):
                raise Killed

        folder = tmp_path / str(moment)
        with pytest.raises(Killed):
            search(_document(algorithm), folder, MemorySink(on_step=kill))
        resumed = MemorySink()
        outcome = search(_document(algorithm), folder, resumed)

        assert outcome.result.digest == expected.result.digest
        assert outcome.cost_by_stage == expected.cost_by_stage
        assert outcome.candidates == expected.candidates
        assert resumed.steps == whole.steps[-len(resumed.steps) :]


def test_comparisons_before_the_end_share_one_part_of_the_selection_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a part of 64 examples: 64 contributions at 1/3 and of every candidate the same ones, all at the end; each is paid as it is."""
    for module in (training_module, budget_module, search_task_module):
        monkeypatch.setattr(module, "EARLY_EXAMPLES", 64)
    parsed, space = accept(small_search())
    state = SearchState(SearchTask.load(parsed.spec, space, device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())
    num_selection = state.search_task.splits.num_selection
    asked: list[list[float]] = []
    original = state.search_task.splits.selection

    def selection(most: int | None = None, largest: int = 512) -> Iterator[SelectionBatch]:
        batches = list(original(most, largest))
        asked.append(torch.cat([batch.inputs for batch in batches]).flatten().tolist())
        yield from batches

    monkeypatch.setattr(state.search_task.splits, "selection", selection)
    sizes, prices = [], []
    for name, values in (("default", {}), ("other", {"depth": "1"})):
        state.enter(name, space.configuration({**space.as_mapping(space.default), **values}))
        for rung in range(3):
            while state.trainings[name].num_steps_done < state.trainings[name].rung(rung):
                state.train(Stage.RACE, name)
            before = state.ledger.cost
            state.compare(Stage.RACE, name, rung)
            prices.append(state.ledger.cost - before)
            sizes.append(len(base64.b64decode(state.comparisons[name][rung].contributions)) // 4)

    assert sizes == [0, 64, num_selection] * 2
    assert asked[0] == asked[1] == asked[3] == asked[4] != asked[2] == asked[5]
    other = state.search_task.works.forward(state.configurations["other"], 64 * 27) / FORWARD_SHARE
    assert other == pytest.approx((5.309e5 + 64 * (0.0787 * 4736 + 2.64 * 138)) / (6.835e5 + 64 * (0.0787 * 8832 + 2.64 * 266)))
    forwards = [FORWARD_SHARE * n / 64 / 27 for n in (64, 64, num_selection)]
    assert prices == pytest.approx([*forwards, *(other * forward for forward in forwards)])


@pytest.mark.parametrize("factors", [{}, {"rateFactors": {"adam": "0.01"}}], ids=["shared", "scaled"])
def test_a_rate_that_sgd_and_adam_share_is_a_notice(factors: dict[str, Any], tmp_path: Path) -> None:
    """The first notice of the search, before its first step; with a factor there is none."""
    rates = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "0.1", "numBases": 2}, **factors}
    optimizers = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}}
    document = with_change(with_change(small_search(), "spec.searchSpace.architecture"), "spec.objective", {"goal": "0.01"})
    sink = MemorySink()
    search(with_change(document, "spec.searchSpace.hyperparameters", [optimizers, rates]), tmp_path, sink)

    assert [n.reason for n in sink.notices].count("SharedLearningRate") == (0 if factors else 1)
    assert factors or sink.notices[0].message.startswith("one range of learning_rate serves sgd and adam, whose usual rates")
