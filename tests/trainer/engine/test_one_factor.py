"""Strategy OneFactor: neighbours of the default, combinations of what helped, refinements, and a race of the leaders."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import device

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.budget.steps_per_stage import plan_stages
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage, StopReason
from autohas_trainer.engine.training import training as training_module
from autohas_trainer.engine.training.comparison import Comparison, encode, lose_by_divergence, paired_standard_error
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import NumericalError
from autohas_trainer.events import StepRecord
from engine_fixtures import Killed, MemorySink, search, small_search

ONE_FACTOR: dict[str, Any] = {"autoHAS": {"strategy": "OneFactor"}}
WIDE: dict[str, Any] = {"name": "width_1", "choices": ["64", "128"], "default": "64"}
ACTIVE: dict[str, Any] = {"name": "activation", "choices": ["relu", "tanh"], "default": "relu"}
PINNED: list[dict[str, Any]] = [{"name": "depth", "choices": ["1"], "default": "1"}]


def _document(trainings: str = "5.5", *, steps: int = 27, decisions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Strategy OneFactor on two hyperparameters and all of the template, or on some architecture decisions alone."""
    document = with_change(small_search(steps=steps), "spec.algorithm", ONE_FACTOR)
    document = with_change(document, "spec.budget.trainings", trainings)
    if decisions is None:
        return document
    document = with_change(document, "spec.searchSpace.hyperparameters", [])
    return with_change(document, "spec.searchSpace.architecture.decisions", [*PINNED, *decisions])


def _judge(monkeypatch: pytest.MonkeyPatch, judge: Callable[[Mapping[str, str]], float]) -> None:
    """Let trainings learn nothing, and let comparisons give the quality that `judge` gives the values; NaN: diverged."""

    def step(self: Training) -> float:
        self.begin()
        self.num_steps_done += 1
        self.is_diverged = math.isnan(judge(self._search_task.space.as_mapping(self.configuration)))
        return math.nan if self.is_diverged else 1.0

    def compare(self: Training, on_batch: object = None, *, keeps_contributions: bool = False) -> Comparison:
        if self.is_diverged:
            return lose_by_divergence(self.num_steps_done)
        quality = judge(self._search_task.space.as_mapping(self.configuration))
        parts = encode(np.full(100, quality)) if keeps_contributions or self.is_finished else ""
        return Comparison(step=self.num_steps_done, key=quality, score=quality, metric=quality, loss=1 - quality, contributions=parts)

    monkeypatch.setattr(training_module.Training, "step", step)
    monkeypatch.setattr(training_module.Training, "compare", compare)


def _run(document: dict[str, Any], folder: Path) -> MemorySink:
    sink = MemorySink()
    search(document, folder, sink)
    return sink


def _search_task(document: dict[str, Any]) -> SearchTask:
    parsed, space = accept(document)
    return SearchTask.load(parsed.spec, space, device("cpu"))


def _lanes(sink: MemorySink) -> list[str]:
    return [record.name for record in sink.candidates if record.stage is Stage.LANES]


def test_changes_that_help_alone_and_harm_together_are_tried_together_and_not_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Width and activation each give 0.1, both together take 0.2: the combination has its lane and its race, and loses both."""
    _judge(
        monkeypatch, lambda values: 0.5 + {(0, 0): 0.0, (1, 1): -0.2}.get((values["width_1"] == "128", values["activation"] == "tanh"), 0.1)
    )
    sink = _run(_document(decisions=[WIDE, ACTIVE]), tmp_path)
    assert sink.outcome is not None
    tried = {record.name: record.values for record in sink.candidates}

    assert (tried["combination 1"]["width_1"], tried["combination 1"]["activation"]) == ("128", "tanh")
    assert sink.outcome.winner in ("width_1 128", "activation tanh")
    assert {(e.decision, e.value): round(e.effect, 6) for e in sink.outcome.effects} == {
        ("width_1", "128"): 0.1,
        ("activation", "tanh"): 0.1,
    }


def test_a_space_smaller_than_the_budget_is_tried_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four configurations, each trained once and to the end; a notice says why the rest of the budget is left."""
    _judge(monkeypatch, lambda values: 0.5 + 0.1 * (values["width_1"] == "128") + 0.1 * (values["activation"] == "tanh"))
    document = _document(decisions=[WIDE, ACTIVE])
    sink = _run(document, tmp_path)
    assert sink.outcome is not None

    assert sorted(_lanes(sink)) == ["activation tanh", "combination 1", "default", "width_1 128"]
    assert {r.name for r in sink.candidates if r.fraction == 1} == set(_lanes(sink))
    assert sink.outcome.winner == "combination 1"
    task = _search_task(document)
    tried = {task.space.configuration(record.values) for record in sink.candidates}
    assert sink.outcome.result.trainings == pytest.approx(sum(task.price(configuration, 0, 3) for configuration in tried))
    assert [n.message.partition("spent: ")[2] for n in sink.notices if n.reason == "BudgetLeft"] == [
        "every configuration that could be drawn was a candidate"
    ]


def test_the_result_names_the_next_best_and_what_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best change wins; the others follow by share of a training and score, each with its difference to the winner."""
    _judge(monkeypatch, lambda values: 0.5 + 0.2 * (values["width_1"] == "128") - 0.1 * (values["activation"] == "tanh"))
    sink = _run(_document(decisions=[WIDE, ACTIVE]), tmp_path)
    assert sink.outcome is not None
    assert sink.outcome.winner == "width_1 128"
    runners_up = sink.outcome.result.runners_up or []

    (default,) = [runner_up for runner_up in runners_up if runner_up.name == "default"]
    assert (default.fraction, default.changes) == (1.0, {"width_1": sink.outcome.default["width_1"]})
    assert runners_up == sorted(runners_up, key=lambda r: (-r.fraction, -r.score))
    last = {record.name: record for record in sink.candidates}
    assert [(r.fraction, r.score) for r in runners_up] == [(round(last[r.name].fraction, 6), last[r.name].metric) for r in runners_up]
    for runner_up in runners_up:
        differing = {name: value for name, value in last[runner_up.name].values.items() if value != sink.outcome.configuration[name]}
        assert runner_up.changes == differing
    assert len(runners_up) == min(3, len(last) - 1)


def test_a_space_of_one_configuration_is_refused() -> None:
    """As for every algorithm, before anything is read."""
    document = _document(decisions=[{**WIDE, "choices": ["64"]}, {**ACTIVE, "choices": ["relu"]}])

    with pytest.raises(SpecError, match="nothing to search: every decision that can be active has one choice"):
        accept(document)


def test_a_default_that_diverges_ends_the_search(tmp_path: Path) -> None:
    """Without the default there is nothing to compare with."""
    document = with_change(_document(), "spec.task.recipe.learningRate", "1e12")

    with pytest.raises(NumericalError, match=r"the default configuration diverged at step .*lower task\.recipe\.learningRate"):
        search(document, tmp_path, MemorySink())


def test_the_smallest_budget_pays_for_three_neighbours_and_one_challenger(tmp_path: Path) -> None:
    """Four lanes, two to 1/3, two to the end: 4/9 + 4/9 + 4/3 = 2.22 without comparisons, and one initial point more is a ninth more."""
    with pytest.raises(SpecError, match=r"must be at least 2\.22 for this space and algorithm"):
        accept(_document("2.2"))
    with pytest.raises(SpecError, match=r"must be at least 2\.33 for this space and algorithm"):
        accept(with_change(_document("2.3"), "spec.searchSpace.initialPoints", [{"values": {"width_1": "128"}}]))

    sink = _run(with_change(_document("2.45"), "spec.searchSpace.architecture"), tmp_path)
    assert len(_lanes(sink)) == 4
    assert next(r.name for r in sink.candidates if r.fraction == 1) == "default"
    assert len([r for r in sink.candidates if r.fraction == 1]) == 2


@pytest.mark.parametrize(
    ("trainings", "finalists", "challengers"), [("2.5", 1, 1), ("3", 2, 1), ("5.5", 4, 1), ("11", 8, 2), ("22", 16, 4)]
)
def test_the_plan_grows_with_the_budget(trainings: str, finalists: int, challengers: int) -> None:
    """More leaders race for more trainings; what the race leaves is lanes, to less than one of them."""
    parsed, space = accept(_document(trainings, steps=900))
    plan = plan_stages(parsed.spec, space)

    assert (plan.num_finalists, plan.num_challengers) == (finalists, challengers)
    assert plan.race_steps == (1 + finalists) * 200 + (1 + challengers) * 600
    assert plan.predicted_trainings == pytest.approx((100 * plan.num_lanes + plan.race_steps) / 900)
    assert float(trainings) - 1 / 9 < plan.predicted_trainings <= float(trainings) + 1e-9


def test_initial_points_come_first_and_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is a neighbour of the default: it has its effect under its own name, and no second lane; the other is none."""
    _judge(monkeypatch, lambda values: 0.5 + 0.1 * (values["width_1"] == "128"))
    points = [{"values": {"width_1": "128"}}, {"values": {"width_1": "16", "activation": "silu"}}]
    sink = _run(with_change(_document("11"), "spec.searchSpace.initialPoints", points), tmp_path)
    assert sink.outcome is not None
    lanes = {record.name: tuple(record.values.values()) for record in sink.candidates if record.stage is Stage.LANES}

    assert _lanes(sink)[:3] == ["default", "initial 1", "initial 2"]
    assert "width_1 128" not in lanes
    assert len(set(lanes.values())) == len(lanes) == len(_lanes(sink))
    assert [round(e.effect, 6) for e in sink.outcome.effects if (e.decision, e.value) == ("width_1", "128")] == [0.1]
    assert sink.outcome.winner != "default"


def test_an_initial_point_that_the_budget_does_not_pay_for_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of batches of 2 is as long as many: a notice names the point, and no lane is spent on it; nor is it a neighbour."""
    _judge(monkeypatch, lambda values: 0.5)
    sizes = {"name": "batch_size", "integer": {"min": 2, "max": 64, "step": 32, "scale": "Log"}}
    document = with_change(_document("3"), "spec.searchSpace.hyperparameters", [sizes])
    sink = _run(with_change(document, "spec.searchSpace.initialPoints", [{"values": {"batch_size": "2"}}]), tmp_path)

    assert [n.message.partition(",")[0] for n in sink.notices if n.reason == "CandidateUnaffordable"] == ["initial 1"]
    assert {record.values["batch_size"] for record in sink.candidates} == {"64"}


def test_a_neighbour_that_diverges_is_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no effect and no place in a combination; what it does not spend pays for other lanes."""
    _judge(monkeypatch, lambda values: math.nan if values["width_1"] == "128" else 0.5 + 0.1 * (values["width_2"] == "32"))
    sink = _run(_document("11"), tmp_path)
    assert sink.outcome is not None
    diverged = {record.name for record in sink.candidates if record.score is None}

    assert "width_1 128" in diverged
    assert ("width_1", "128") not in {(e.decision, e.value) for e in sink.outcome.effects}
    assert all(record.values["width_1"] != "128" for record in sink.candidates if record.name.startswith("combination"))
    assert sink.outcome.configuration["width_2"] == "32"
    assert sink.outcome.result.trainings > 0.95 * 11


def test_what_lies_behind_a_neighbour_that_diverges_is_not_tried_and_the_notice_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of widths 32, 64 and 128 the second diverges: the third is no neighbour of anything that trains."""
    wide = {**WIDE, "choices": ["32", "64", "128"], "default": "32"}
    _judge(monkeypatch, lambda values: math.nan if values["width_1"] == "64" else 0.5)
    sink = _run(_document(decisions=[wide, {**ACTIVE, "choices": ["relu"]}]), tmp_path)

    assert _lanes(sink) == ["default", "width_1 64"]
    assert [n.message.partition("spent: ")[2] for n in sink.notices if n.reason == "BudgetLeft"] == [
        "every configuration next to one that did not diverge was a candidate"
    ]


def test_one_lane_that_joins_the_race_continues_in_the_singular(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five lanes next to the default, and 5.5 trainings plan for four of them."""
    wide = {**WIDE, "choices": ["32", "64", "128"], "default": "32"}
    _judge(monkeypatch, lambda values: 0.5 + 0.001 * float(values["width_1"]))
    sink = _run(_document(decisions=[wide, ACTIVE]), tmp_path)
    moved = [n.message for n in sink.notices if n.reason == "BudgetMoved"]

    assert len(_lanes(sink)) == 6
    assert len(moved) == 1
    assert moved[0].endswith(" continues to 1/3 too")


@pytest.mark.parametrize("trainings", ["3", "5.5", "11", "22"])
def test_the_budget_is_spent(trainings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To within 5 %, or a notice says why, and never more; steps are those of the plan at every moment."""
    _judge(monkeypatch, lambda values: 0.5 + 0.001 * float(values["width_1"]) + 0.1 * (values["activation"] == "silu"))
    sink = _run(_document(trainings, steps=90), tmp_path)
    assert sink.outcome is not None

    is_left = any(notice.reason == "BudgetLeft" for notice in sink.notices)
    assert (0.9 if is_left else 0.95) * float(trainings) < sink.outcome.result.trainings <= float(trainings) + 1e-9
    assert all(record.step <= record.steps for record in sink.steps)
    assert sink.steps[-1].step == sink.steps[-1].steps


def test_a_large_budget_has_another_round_around_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best lies four steps of the rate away from the default: lanes follow it, and combinations are made around it too."""
    far = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1", "scale": "Log", "numBases": 9}, "default": "0.01"}
    document = with_change(_document("22", steps=90), "spec.searchSpace.hyperparameters", [far])
    _judge(monkeypatch, lambda values: 0.5 + 0.1 * math.log10(float(values["learning_rate"]) / 0.01) - 0.1 * (values["depth"] != "2"))
    sink = _run(document, tmp_path)
    assert sink.outcome is not None

    assert sink.outcome.configuration["learning_rate"] == "1"
    assert sink.outcome.configuration["depth"] == "2"


def test_an_effect_is_the_paired_difference_at_a_ninth(tmp_path: Path) -> None:
    """Trained again by hand: keys, and the standard error over the same examples; others at 1/9 keep no contributions."""
    document = _document("3")
    sink = _run(document, tmp_path)
    assert sink.outcome is not None
    search_task = _search_task(document)
    space = search_task.space

    def compare(values: Mapping[str, str]) -> Comparison:
        training = Training(search_task, space.configuration({**space.as_mapping(space.default), **values}))
        while training.num_steps_done < training.rung(0):
            training.step()
        return training.compare(keeps_contributions=True)

    default = compare({})
    assert len(sink.outcome.effects) >= 2
    for effect in sink.outcome.effects:
        changed = compare({effect.decision: effect.value})
        assert effect.effect == changed.key - default.key
        assert effect.standard_error == paired_standard_error(changed, default) > 0
        assert (changed.step, changed.key, changed.loss) == (default.step, changed.key, changed.loss)


def test_contributions_at_a_ninth_change_nothing_else() -> None:
    """A comparison with them equals the one without in every other number."""
    search_task = _search_task(_document())
    training = Training(search_task, search_task.space.default)
    while training.num_steps_done < training.rung(0):
        training.step()
    plain, whole = training.compare().to_json(), training.compare(keeps_contributions=True).to_json()

    assert (plain.pop("contributions"), len(whole.pop("contributions")) > 100) == ("", True)
    assert plain == whole


def test_a_goal_that_a_lane_reaches_ends_the_search_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is finished and tested, although it is only one of many."""
    _judge(monkeypatch, lambda values: 0.9 if values["activation"] == "silu" else 0.5)
    sink = _run(with_change(_document(), "spec.objective.goal", "0.8"), tmp_path)
    assert sink.outcome is not None

    assert sink.outcome.result.stop_reason is StopReason.GOAL_REACHED
    assert sink.outcome.winner == _lanes(sink)[-1] == "activation silu"


@pytest.mark.parametrize("kind", ["combination 1", "combination 2", "refinement 1", "refinement 4"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_in_any_part_of_the_lanes_changes_nothing(kind: str, nth: int, tmp_path: Path) -> None:
    """Killed at a step of a combination or a refinement: the resumed search tries the same lanes and ends with the same bits."""
    document = _document("5.5")
    whole = MemorySink()
    expected = search(document, tmp_path / "whole", whole)
    assert kind in _lanes(whole)
    seen = 0

    def kill(record: StepRecord) -> None:
        nonlocal seen
        seen += record.candidate == kind
        if seen == nth:
            raise Killed

    with pytest.raises(Killed):
        search(document, tmp_path / "killed", MemorySink(on_step=kill))
    resumed = MemorySink()
    outcome = search(document, tmp_path / "killed", resumed)

    assert outcome.result.digest == expected.result.digest
    assert outcome.candidates == expected.candidates
    assert outcome.effects == expected.effects
    assert resumed.info is not None
    assert [*resumed.info.effects, *resumed.effects] == whole.effects
    assert sorted(whole.effects, key=lambda e: -abs(e.effect)) == list(expected.effects)
    assert outcome.cost_by_stage == expected.cost_by_stage


def test_the_leaders_race_and_only_what_beats_the_default_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The four best lanes and the default reach 1/3, the best of them and the default the end; equal to the default is not better."""
    _judge(monkeypatch, lambda values: 0.5)
    sink = _run(_document(), tmp_path)
    assert sink.outcome is not None
    race = [(record.name, record.fraction) for record in sink.candidates if record.stage is Stage.RACE]

    assert [fraction for _, fraction in race] == [pytest.approx(1 / 3)] * 5 + [1.0] * 2
    assert (race[0][0], race[5][0]) == ("default", "default")
    assert sink.outcome.winner == "default"
