"""A search for a model: lanes are prefixes of one long training, search stops where training is worth more, the winner continues."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.best_model import CURVE_RUNG, LANE_RUNG, MOST_SEARCH
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.config_yaml import config_text, read_config
from autohas_trainer.engine.memory_plan import list_moments
from autohas_trainer.engine.training import training as training_module
from autohas_trainer.engine.training.comparison import Comparison, encode, lose_by_divergence
from autohas_trainer.engine.training.length import Length, decay_steps
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import Interrupted
from autohas_trainer.events import StepRecord
from autohas_trainer.optim import Schedule
from engine_fixtures import Killed, MemorySink, Stop, search, small_search

STEPS = 300
BUDGET = 6


def _document(trainings: str = str(BUDGET), *, schedule: str = "WSD", **recipe: str) -> dict[str, Any]:
    """A search for a model on two hyperparameters and all of the template."""
    document = with_change(small_search(steps=STEPS), "spec.algorithm", {"autoHAS": {"strategy": "OneFactor"}})
    document = with_change(document, "spec.budget", {"trainings": trainings, "for": "Model"})
    document = with_change(document, "spec.checkpoint.periodSeconds", 3600)  # ticks of a fake clock: few checkpoints of many steps
    return with_change(document, "spec.task.recipe", {"schedule": schedule, **recipe})


def _with_dear_adam(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, work: float) -> dict[str, Any]:
    """A space of two configurations, of which a training of the other than the default costs `work` times as much."""
    monkeypatch.setattr(SearchTask, "work", lambda self, configuration: 1.0 if configuration == self.space.default else work)
    space = {"hyperparameters": [{"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}, "default": "sgd"}]}
    return with_change(document, "spec.searchSpace", space)


def _search_task(document: dict[str, Any]) -> SearchTask:
    parsed, space = accept(document)
    return SearchTask.load(parsed.spec, space, torch.device("cpu"))


def _judge(monkeypatch: pytest.MonkeyPatch, error: Callable[[Mapping[str, str], float], float]) -> None:
    """Replace steps by counting, and comparisons by `error` of the configuration and its length in trainings; NaN: it diverged."""

    def step(self: Training) -> float:
        self.begin()
        self.num_steps_done += 1
        self.is_diverged = math.isnan(error(self._search_task.space.as_mapping(self.configuration), 1.0))
        return math.nan if self.is_diverged else 1.0

    def compare(self: Training, on_batch: object = None, *, keeps_contributions: bool = False) -> Comparison:
        if self.is_diverged:
            return lose_by_divergence(self.num_steps_done)
        wrong = error(self._search_task.space.as_mapping(self.configuration), self.num_steps_done / self.recipe.steps)
        quality, parts = 1 - wrong, encode(np.full(100, 1 - wrong)) if keeps_contributions or self.is_finished else ""
        return Comparison(step=self.num_steps_done, key=quality, score=quality, metric=quality, loss=wrong, contributions=parts)

    monkeypatch.setattr(training_module.Training, "step", step)
    monkeypatch.setattr(training_module.Training, "compare", compare)


def _run(document: dict[str, Any], folder: Path) -> MemorySink:
    sink = MemorySink()
    search(document, folder, sink)
    return sink


def _lanes(sink: MemorySink) -> list[str]:
    return list(dict.fromkeys(record.name for record in sink.candidates if record.stage is Stage.LANES))


def _steps(sink: MemorySink, name: str) -> int:
    return sum(record.candidate == name for record in sink.steps)


def test_on_a_steep_curve_the_default_is_trained_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error halves with every doubling: nothing but the default is trained, with the whole budget."""
    _judge(monkeypatch, lambda _, trained: 0.01 / trained)
    sink = _run(_document(), tmp_path)
    assert sink.outcome is not None
    assert sink.outcome.model_budget is not None

    assert _lanes(sink) == ["default"]
    assert sink.outcome.winner == "default"
    assert {record.candidate for record in sink.steps} == {"default"}
    assert sink.outcome.result.trainings == pytest.approx(BUDGET, abs=1.5 / STEPS)
    assert sink.outcome.result.trainings <= BUDGET
    assert sink.outcome.model_budget.gain_of_twice == pytest.approx(0.5, abs=0.01)  # rungs are whole steps
    assert sink.outcome.model_budget.searched < 0.1
    (message,) = [notice.message for notice in sink.notices if notice.reason == "SearchWorth"]
    assert "one more lane promises 1.00 % of the error, and the same work of training " in message
    assert message.endswith(("0.01 trainings were spent on the search", "0.00 trainings were spent on the search"))


def test_on_a_plateau_the_search_finds_what_helps_and_its_training_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes take a tenth of the error each: their combination wins, and no step of its training is taken twice."""
    _judge(monkeypatch, lambda values, _: 0.5 * 0.9 ** ((values["width_1"] == "128") + (values["activation"] == "tanh")))
    sink = _run(_document(), tmp_path)
    assert sink.outcome is not None
    split = sink.outcome.model_budget
    assert split is not None

    assert (sink.outcome.configuration["width_1"], sink.outcome.configuration["activation"]) == ("128", "tanh")
    assert _steps(sink, sink.outcome.winner) == split.steps == sink.outcome.recipe["steps"]
    assert split.searched <= MOST_SEARCH * BUDGET + 2 / 9 * BUDGET
    assert split.searched + split.trained == pytest.approx(sink.outcome.result.trainings)
    assert BUDGET - 0.02 < sink.outcome.result.trainings <= BUDGET
    assert {record.fraction for record in sink.candidates if record.name == sink.outcome.winner} == {67 / 1800, 200 / 1800, 1.0}


def test_the_search_ends_when_nothing_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes without an effect: after one of them the next one promises 0.0067 of the error, for 0.2·ln(27/26) = 0.0075."""
    _judge(monkeypatch, lambda _, trained: 0.5 * trained**-0.2)
    sink = _run(with_change(_document(), "spec.searchSpace.architecture"), tmp_path)
    assert sink.outcome is not None
    assert sink.outcome.model_budget is not None

    assert len(_lanes(sink)) == 2
    assert sink.outcome.winner == "default"
    assert (sink.outcome.model_budget.value or 0.0) < (sink.outcome.model_budget.price or 0.0)


_RATES = {"hyperparameters": [{"name": "learning_rate", "continuous": {"min": "0.03", "max": "0.3", "scale": "Log", "numBases": 3}}]}


def _crowded() -> dict[str, Any]:
    """A search with 16 initial points, whose lanes cost more than half of the budget."""
    points = [{"values": {"learning_rate": f"0.{number}"}} for number in range(101, 117)]
    return with_change(_document("3"), "spec.searchSpace", {**_RATES, "initialPoints": points})


def _why_it_ended(sink: MemorySink) -> str:
    (message,) = [notice.message for notice in sink.notices if notice.reason == "SearchWorth"]
    return message


def test_a_space_that_was_tried_whole_promises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two other rates: after both no lane is left, whatever the one before would have been worth."""
    _judge(monkeypatch, lambda _, trained: 0.5 * trained**-0.001)
    sink = _run(with_change(_document("3"), "spec.searchSpace", _RATES), tmp_path)
    assert sink.outcome is not None
    assert sink.outcome.model_budget is not None

    assert len(_lanes(sink)) == 3
    assert (
        ": after 2 lanes no change of one decision and no combination of what helped is left that the budget pays for; "
        in _why_it_ended(sink)
    )
    assert (sink.outcome.model_budget.value, sink.outcome.model_budget.price) == (None, None)


def test_the_share_of_the_search_is_named_where_it_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a flat curve every lane is worth more than to train: other lanes take half of the budget, and the notice says so."""
    _judge(monkeypatch, lambda *_: 0.5)
    sink = _run(_crowded(), tmp_path)
    assert sink.outcome is not None
    assert sink.outcome.model_budget is not None

    assert sink.outcome.model_budget.searched <= MOST_SEARCH * 3
    assert "0.00 %, but the budget has no room for it: lanes may take 50 % of it at most; " in _why_it_ended(sink)


def _let_winner_diverge(monkeypatch: pytest.MonkeyPatch, trainings: int, end: str) -> None:
    """Width 128 wins, and every training with it diverges soon after the race, in its decay or in its last step."""
    _judge(monkeypatch, lambda values, _: 0.5 - 0.1 * (values["width_1"] == "128"))
    take_step = training_module.Training.step

    def step(self: Training) -> float | None:
        loss = take_step(self)
        at = {"early": trainings * STEPS // 9 + 3, "decay": 0.9 * self.length.total, "last step": self.length.total}[end]
        if self.num_steps_done >= at and self._search_task.space.as_mapping(self.configuration)["width_1"] == "128":
            self.is_diverged = True
            return math.nan
        return loss

    monkeypatch.setattr(training_module.Training, "step", step)


@pytest.mark.parametrize("trainings", [3, 6])
@pytest.mark.parametrize("end", ["early", "decay", "last step"])
@pytest.mark.parametrize("schedule", ["WSD", "Constant"])
def test_the_default_continues_where_the_winner_diverges_in_its_last_part(
    trainings: int, end: str, schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes what is left: a decay that this does not pay for is cut, so that the budget is overdrawn by 1/25 at most."""
    _let_winner_diverge(monkeypatch, trainings, end)
    sink = _run(_document(str(trainings), schedule=schedule), tmp_path)
    assert sink.outcome is not None
    split = sink.outcome.model_budget
    assert split is not None

    assert sink.outcome.winner == "default"
    assert not [notice for notice in sink.notices if notice.reason == "BudgetExceeded"]
    assert [notice.reason for notice in sink.notices if notice.reason == "WinnerDiverged"] == ["WinnerDiverged"]
    assert _steps(sink, "default") == split.steps == sink.outcome.recipe["steps"]
    assert split.decay_from >= trainings * STEPS // 9
    assert (split.steps > split.decay_from) == (schedule == "WSD")
    assert sink.outcome.result.trainings <= trainings * (1.0 if end == "early" else 1.04)
    if end == "last step" and schedule == "WSD":
        assert split.steps - split.decay_from >= 0.03 * trainings * STEPS


def test_a_stop_in_a_decay_that_was_cut_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint knows where it ends, so that the resumed default is as long as the undisturbed one."""
    _let_winner_diverge(monkeypatch, 3, "last step")
    document, whole, stop = _document("3"), MemorySink(), Stop()
    expected = search(document, tmp_path / "whole", whole)
    last = [record.step for record in whole.steps if record.candidate == "default"][-3]

    def ask(record: StepRecord) -> None:
        stop.is_requested = record.step == last

    with pytest.raises(Interrupted):
        search(document, tmp_path / "stopped", MemorySink(on_step=ask), stop)
    resumed = MemorySink()
    outcome = search(document, tmp_path / "stopped", resumed)

    assert [record.step for record in resumed.steps] == [last + 1, last + 2]
    assert (outcome.result.digest, outcome.model_budget) == (expected.result.digest, expected.model_budget)


def test_a_divergence_in_the_last_step_is_read_there() -> None:
    """The last step of an open training is at no rung: its loss is read all the same, so that no later step is booked."""
    task = _search_task(_document())
    training = Training(task, task.space.default)
    training.length.settle(0, 6, 6)
    read = [training.step() is not None for _ in range(6)]

    assert training.is_finished
    assert read == [False, False, False, False, False, True]


def test_a_lead_of_speed_alone_does_not_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that is further along the same flattening curve leads early, and has nothing left at the end: the default stays."""
    document = with_change(
        _document(learningRate="0.1"),
        "spec.searchSpace",
        {"hyperparameters": [{"name": "learning_rate", "continuous": {"min": "0.1", "max": "0.4", "scale": "Log", "numBases": 3}}]},
    )
    _judge(monkeypatch, lambda values, trained: 0.2 + 0.05 * (float(values["learning_rate"]) / 0.1 * trained) ** -2)
    sink = _run(document, tmp_path)
    assert sink.outcome is not None
    early = {record.name: record.score for record in sink.candidates if record.fraction == 67 / 1800}

    assert all(
        score is not None and early["default"] is not None and score > early["default"]
        for name, score in early.items()
        if name != "default"
    )
    assert sink.outcome.winner == "default"


def test_a_lane_that_diverges_gains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is out, and the search continues by what the others gain."""
    _judge(monkeypatch, lambda values, _: math.nan if values["activation"] == "silu" else 0.5 - 0.1 * (values["width_1"] == "128"))
    sink = _run(_document(), tmp_path)
    assert sink.outcome is not None

    assert {record.name for record in sink.candidates if record.score is None} == {"activation silu"}
    assert sink.outcome.configuration["width_1"] == "128"


def test_initial_points_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tried whatever they are worth, on the steepest curve too."""
    _judge(monkeypatch, lambda _, trained: 0.01 / trained)
    points = [{"values": {"width_1": "16", "activation": "silu"}}]
    sink = _run(with_change(_document(), "spec.searchSpace.initialPoints", points), tmp_path)

    assert _lanes(sink) == ["default", "initial 1"]


def test_an_initial_point_that_half_of_the_budget_does_not_pay_for_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence compares the price of its lane, 1/27 of the longest training and a comparison, with what is left for lanes."""
    _judge(monkeypatch, lambda _, trained: 0.01 / trained)
    points = [
        {"values": {"width_1": "128", "width_2": second, "activation": kind}}
        for kind in ("relu", "silu", "tanh")
        for second in ("16", "32", "64", "128")
    ]
    sink = _run(with_change(_document("3", decayFraction="0.2"), "spec.searchSpace.initialPoints", points), tmp_path)
    left_out = [notice.message for notice in sink.notices if notice.reason == "CandidateUnaffordable"]
    tried = [name for name in _lanes(sink) if name.startswith("initial")]

    assert len(tried) + len(left_out) == len(points)
    assert left_out
    for text in left_out:
        cost, left = (float(text.split(before)[1].split()[0]) for before in ("its lane costs ", "lanes may take "))
        assert left <= cost < 1
        assert "50% of budget.trainings in all" in text
    assert sink.outcome is not None
    assert sink.outcome.model_budget is not None
    assert sink.outcome.model_budget.searched <= MOST_SEARCH * 3 + 0.1


def test_a_lane_that_costs_more_than_the_budget_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1/27 of a training that costs 40 times as much: its price is infinite, which no checkpoint could hold."""
    _judge(monkeypatch, lambda _, trained: 0.5 * trained**-0.2)
    sink = _run(_with_dear_adam(_document(), monkeypatch, 40.0), tmp_path)
    assert sink.outcome is not None
    assert sink.outcome.model_budget is not None

    assert _lanes(sink) == ["default"]
    assert (sink.outcome.model_budget.value, sink.outcome.model_budget.price) == (None, None)
    assert sink.outcome.result.trainings == pytest.approx(BUDGET, abs=1.5 / STEPS)


@pytest.mark.parametrize(("work", "winner"), [(2.0, "optimizer adam"), (3.5, "optimizer adam"), (8.5, "default"), (12.0, "default")])
@pytest.mark.parametrize("schedule", ["WSD", "Constant"])
def test_a_dear_training_is_begun_only_if_the_budget_pays_for_its_end(
    work: float, winner: str, schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes half of the error away; from 8 times the work on, 1/9 of the longest training is more than the default's leaves."""
    _judge(monkeypatch, lambda values, _: 0.25 if values["optimizer"] == "adam" else 0.5)
    decay = {"decayFraction": "0.2"} if schedule == "WSD" else {}
    sink = _run(_with_dear_adam(_document(schedule=schedule, **decay), monkeypatch, work), tmp_path)
    assert sink.outcome is not None

    assert sink.outcome.winner == winner
    assert 0.98 * BUDGET < sink.outcome.result.trainings <= BUDGET


@pytest.mark.parametrize(("done", "most"), [(0, 1000), (100, 1000), (800, 1000), (900, 1000), (1000, 1000), (7, 8), (1, 1)])
def test_the_decay_begins_so_that_it_ends_with_the_budget(done: int, most: int) -> None:
    """At 4/5 of the steps for a decay of 1/5, and at once where more are done."""
    task = _search_task(_document(decayFraction="0.2"))
    recipe = task.recipe(task.space.default)
    length = Length(recipe, lambda rung: rung, is_open=True)
    assert (length.total, length.is_settled) == (math.inf, False)
    length.settle(done, most, 2 * most + 2)
    assert length.decay_from is not None

    assert length.decay_from >= done
    assert length.total == length.decay_from + decay_steps(length.decay_from, 0.2)
    if done <= 800 and most == 1000:
        assert (length.decay_from, length.total) == (800, 1000)
    if length.decay_from > max(done, 1):
        assert length.total <= most < length.decay_from + 1 + decay_steps(length.decay_from + 1, 0.2)


@pytest.mark.parametrize(("purpose", "recipe", "fraction"), [("Model", {}, 0.5), ("Model", {"decayFraction": "0.3"}, 0.3), (None, {}, 0.2)])
def test_half_of_a_model_s_training_is_decay(purpose: str | None, recipe: dict[str, str], fraction: float) -> None:
    """Where the recipe gives no other share; a search for a configuration decays over a fifth."""
    document = _document(**recipe)
    if purpose is None:
        del document["spec"]["budget"]["for"]
    task = _search_task(document)

    assert task.recipe(task.space.default).decay_fraction == fraction


@pytest.mark.parametrize(("done", "most", "total"), [(900, 1200, 1125), (900, 1000, 1000), (1000, 1000, 1001), (1000, 1040, 1040)])
def test_a_decay_that_nothing_pays_for_is_cut(done: int, most: int, total: int) -> None:
    """A fifth after 900 steps are 225 more; where fewer are paid for these, but one at least."""
    task = _search_task(_document(decayFraction="0.2"))
    length = task.length(task.space.default)
    length.settle(done, done, most)

    assert (length.decay_from, length.total) == (done, total)
    assert [length.multiplier(step) for step in (done, total - 1)] == pytest.approx([1.0, 1 / (total - done)])


@pytest.mark.parametrize(("done", "wanted", "most", "total"), [(123, 1234, 1234, 1234), (700, 800, 860, 860), (700, 700, 701, 701)])
@pytest.mark.parametrize("kind", ["WSD", "Constant"])
def test_the_rates_of_an_open_training_are_those_of_one_whose_length_was_known(
    kind: str, done: int, wanted: int, most: int, total: int
) -> None:
    """At every step, from the warm-up to the end, to the last bit; also where its decay was cut."""
    task = _search_task(_document(schedule=kind, warmupFraction="0.1"))
    length = task.length(task.space.default)
    length.settle(done, wanted, most)
    known = length.recipe
    schedule = Schedule(
        kind=known.schedule, warmup_fraction=known.warmup_fraction, floor=known.schedule_floor, decay_fraction=known.decay_fraction
    )

    assert [length.multiplier(step) for step in range(known.steps)] == [schedule.at(step, known.steps) for step in range(known.steps)]
    assert known.steps == (total if kind == "WSD" else max(wanted, done + 1))


def test_a_lane_that_continues_is_the_whole_training_bit_for_bit(tmp_path: Path) -> None:
    """The winner of a search, whose length was open, equals a training of config.yaml, whose length is known from its first step."""
    document = _document("3", warmupFraction="0.05")
    sink = _run(document, tmp_path)
    assert sink.outcome is not None
    parsed, space = accept(document)
    path = tmp_path / "config.yaml"
    path.write_text(config_text(parsed, space, sink.outcome))
    again, pinned = read_config(path)
    task = SearchTask.load(again.spec, pinned, torch.device("cpu"), is_search=False)
    training = Training(task, pinned.default)
    while not training.is_finished:
        training.step()

    assert training.num_steps_done == sink.outcome.recipe["steps"]
    assert training.compare().metric == sink.outcome.result.selection_score
    saved, again_trained = load_file(tmp_path / "model.safetensors"), training.model_tensors()
    assert saved.keys() == again_trained.keys()
    assert all(torch.equal(saved[name], again_trained[name]) for name in saved)


@pytest.mark.parametrize("moment", [(Stage.LANES, 1), (Stage.LANES, 400), (Stage.RACE, 3), (Stage.EVALUATE, 2), (Stage.EVALUATE, 900)])
def test_a_kill_at_any_moment_changes_nothing(moment: tuple[Stage, int], tmp_path: Path) -> None:
    """The resumed search takes the same decisions and ends with the same bits."""
    document = _document("4")
    whole = MemorySink()
    expected = search(document, tmp_path / "whole", whole)
    stage, nth = moment
    taken = [record for record in whole.steps if record.stage is stage]
    if not taken:
        stage, taken = Stage.LANES, [record for record in whole.steps if record.stage is Stage.LANES]
    at = taken[min(nth, len(taken)) - 1].step

    def kill(record: StepRecord) -> None:
        if record.step == at:
            raise Killed

    with pytest.raises(Killed):
        search(document, tmp_path / "killed", MemorySink(on_step=kill))
    resumed = MemorySink()
    outcome = search(document, tmp_path / "killed", resumed)

    assert (outcome.result.digest, outcome.winner) == (expected.result.digest, expected.winner)
    assert outcome.model_budget == expected.model_budget
    assert outcome.candidates == expected.candidates


def test_rungs_are_shares_of_the_longest_training_and_the_memory_plan_has_the_lanes() -> None:
    """1/81 to the whole of 6 trainings of 300 steps; a larger batch has as many examples in fewer steps; three networks wait."""
    task = _search_task(_document())
    training = Training(task, task.space.default)

    assert [training.rung(number) for number in range(5)] == [23, 67, 200, 600, 1800]
    assert task.plan.rungs == (23, 67, 200, 600, 1800)
    assert (task.plan.training_steps, task.plan.lane_steps, task.plan.evaluate_steps) == (STEPS, 200, 1600)
    assert [(moment.stage, moment.waiting, moment.working) for moment in list_moments(task)] == [
        (Stage.LANES, 3, 1),
        (Stage.RACE, 2, 1),
        (Stage.EVALUATE, 1, 1),
    ]
    assert (LANE_RUNG, CURVE_RUNG) == (1, 2)
