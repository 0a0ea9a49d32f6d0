"""Trials in brackets: who is trained how far, what is known of the failed, and that a resume changes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autohas_api.space.decisions import Configuration, Space
from autohas_api.spec.search import Spec
from autohas_api.templates.table import TEMPLATES
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer import algorithms
from autohas_trainer.algorithms import MultiTrial
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.algorithms.uniform import draw_uniformly
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, Interrupted
from engine_fixtures import MemorySink, Stop, search, small_search

RANDOM = {"name": "RandomSearch"}
HALVING = {"name": "SuccessiveHalving"}
HYPERBAND = {"name": "Hyperband"}


def _document(algorithm: dict[str, Any], trainings: str, **rungs: int) -> dict[str, Any]:
    """A search with a training of 27 steps."""
    document = with_change(small_search(algorithm), "spec.budget.trainings", trainings)
    return with_change(document, "spec.budget.rungs", rungs) if rungs else document


def _run(document: dict[str, Any], workdir: Path) -> MemorySink:
    sink = MemorySink()
    search(document, workdir, sink)
    return sink


def _steps_by_trial(sink: MemorySink) -> Counter[str]:
    return Counter(record.candidate or "" for record in sink.steps)


def _compared(sink: MemorySink) -> list[tuple[int, float]]:
    """(records in a row, fraction of a training) of the trials next to the default, in order."""
    rows: list[tuple[int, float]] = []
    for record in sink.candidates:
        if record.name == "default":
            continue
        fraction = round(record.fraction * 27)
        rows = [*rows[:-1], (rows[-1][0] + 1, fraction)] if rows and rows[-1][1] == fraction else [*rows, (1, fraction)]
    return rows


def test_halving_trains_a_bracket_of_the_paper(tmp_path: Path) -> None:
    """Four rungs with eta 3: 27@1 (the default and 26 more), 9@3, 3@9, 1@27, and no step of a trial is repeated."""
    sink = _run(_document(HALVING, "6", eta=3, count=4), tmp_path)
    assert _compared(sink)[:4] == [(26, 1), (9, 3), (3, 9), (1, 27)]
    furthest = {record.name: round(record.fraction * 27) for record in sorted(sink.candidates, key=lambda record: record.fraction)}
    assert _steps_by_trial(sink) == furthest


def test_hyperband_begins_its_second_bracket_at_the_second_rung(tmp_path: Path) -> None:
    """Three rungs: 9@1/9, 3@1/3, 1@1, then 5@1/3 (3 * 3 / 2, rounded up), 1@1, and of 3@1 two are paid for."""
    sink = _run(_document(HYPERBAND, "9"), tmp_path)
    rows = _compared(sink)
    assert rows[0] == (8, 3)
    assert rows[-2:] == [(5, 9), (1 + 2, 27)]


def test_a_failed_trial_is_worse_than_every_other_and_stays_in_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trial diverges in its second step: every later proposal knows it, without a score, and it continues to no rung."""
    histories: list[list[TrialRecord]] = []

    class Spy:
        def __init__(self, space: Space) -> None:
            self._space = space

        def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:
            histories.append(list(history))
            return draw_uniformly(self._space, rng)

    def build(_: Spec, space: Space) -> MultiTrial:
        return MultiTrial(space, Spy(space))

    original, first = Training.step, list[Configuration]()

    def step(self: Training) -> float | None:
        if self.configuration != self._search_task.space.default and not first:
            first.append(self.configuration)
        if first == [self.configuration] and self.num_steps_done == 1:
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setitem(algorithms.BUILDERS, ("SuccessiveHalving", None), build)
    monkeypatch.setattr(Training, "step", step)
    sink = _run(_document(HALVING, "3.6"), tmp_path)
    failed = [[record for record in history if record.number == 1] for history in histories[1:]]
    assert [[(record.rung, record.score) for record in records] for records in failed] == [[(0, None)]] * len(failed)
    numbers = [record.number for record in histories[-1] if record.rung == 0]
    assert numbers == list(range(8))
    assert [record.rung for record in histories[0]] == [0, 1, 2]
    assert [record.kept for record in sink.candidates if record.name == "trial 1"] == [False]


@pytest.mark.parametrize("algorithm", [RANDOM, HALVING], ids=lambda algorithm: algorithm["name"])
def test_a_space_with_fewer_configurations_than_trials_ends_with_a_notice(algorithm: dict[str, Any], tmp_path: Path) -> None:
    """Three depths, one of which is the default's: two trials, then nothing is left to try."""
    pinned = [{"name": d.name, "choices": [d.default]} for d in TEMPLATES["mlp-small"].decisions if d.name != "depth"]
    document = with_change(_document(algorithm, "6"), "spec.searchSpace", {"architecture": {"decisions": pinned}})
    sink = _run(document, tmp_path)
    assert sink.outcome is not None
    assert {record.name for record in sink.candidates} == {"default", "trial 1", "trial 2"}
    left = [notice.message for notice in sink.notices if notice.reason == "BudgetLeft"]
    assert len(left) == 1
    assert "every configuration that could be drawn was a candidate" in left[0]


@pytest.mark.parametrize("algorithm", [RANDOM, HALVING], ids=lambda algorithm: algorithm["name"])
def test_a_trial_that_the_budget_does_not_pay_for_is_passed_over(algorithm: dict[str, Any], tmp_path: Path) -> None:
    """A training of batches of 2 is as long as many: a notice names the initial point, and draws with such batches are passed over too."""
    sizes = {"name": "batch_size", "integer": {"min": 2, "max": 64, "step": 32, "scale": "Log"}}
    document = with_change(_document(algorithm, "3.2"), "spec.searchSpace.hyperparameters", [sizes])
    sink = _run(with_change(document, "spec.searchSpace.initialPoints", [{"values": {"batch_size": "2"}}]), tmp_path)
    assert [n.message.partition(",")[0] for n in sink.notices if n.reason == "CandidateUnaffordable"] == ["trial 1"]
    assert {record.values["batch_size"] for record in sink.candidates} == {"64"}
    assert len({record.name for record in sink.candidates}) > 2


@pytest.mark.parametrize("algorithm", [RANDOM, HALVING, HYPERBAND], ids=lambda algorithm: algorithm["name"])
@pytest.mark.parametrize("trainings", ["2.3", "3.4", "5.5", "9"])
def test_a_search_spends_no_more_than_its_budget(algorithm: dict[str, Any], trainings: str, tmp_path: Path) -> None:
    """What is booked stays below the budget, and less than the price of one more trial is left."""
    sink = _run(_document(algorithm, trainings), tmp_path)
    assert sink.outcome is not None
    assert float(trainings) - 1.2 < sink.outcome.result.trainings <= float(trainings) + 1e-9


@pytest.mark.parametrize("algorithm", [RANDOM, HALVING, HYPERBAND], ids=lambda algorithm: algorithm["name"])
def test_a_search_that_stops_at_every_third_step_ends_as_the_undisturbed_one(algorithm: dict[str, Any], tmp_path: Path) -> None:
    """Trials begin, are compared and continue at multiples of three steps: each boundary is one between two processes."""
    document, expected, interruptions, steps = _document(algorithm, "3.6"), _run(_document(algorithm, "3.6"), tmp_path / "whole"), 0, []
    while True:
        stop, sink = Stop(), MemorySink()
        sink.on_step = lambda record, stop=stop: setattr(stop, "is_requested", record.step % 3 == 0)  # type: ignore[misc]
        try:
            outcome = search(document, tmp_path / "parts", sink, stop)
        except Interrupted:
            interruptions += 1
            steps += sink.steps
            continue
        break
    assert expected.outcome is not None
    assert interruptions >= len(expected.steps) // 3 - 1
    assert outcome.result.digest == expected.outcome.result.digest
    assert outcome.candidates == expected.outcome.candidates
    assert [*steps, *sink.steps] == expected.steps
    assert {record.stage for record in steps} == {Stage.RACE}


@pytest.mark.parametrize("algorithm", [RANDOM, HALVING], ids=lambda algorithm: algorithm["name"])
def test_a_search_whose_trials_all_fail_ends(algorithm: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that fails in its first step costs one step, and a range has no last value: after 50 in a row no further one is proposed."""
    original, failed = Training.step, list[Configuration]()

    def step(self: Training) -> float | None:
        if self.configuration == self._search_task.space.default:
            return original(self)
        failed.append(self.configuration)
        assert len(failed) < 200
        raise CandidateError("training step 0 raised ValueError: no")

    monkeypatch.setattr(Training, "step", step)
    rates = {"name": "learning_rate", "continuous": {"min": "0.001", "max": "1", "scale": "Log"}}
    sink = _run(with_change(_document(algorithm, "4"), "spec.searchSpace.hyperparameters", [rates]), tmp_path)

    assert sink.outcome is not None
    assert (sink.outcome.winner, len(failed)) == ("default", 50)
    assert ["the latest trials all failed" in n.message for n in sink.notices if n.reason == "BudgetLeft"] == [True]
    failures = [notice.message for notice in sink.notices if notice.reason == "CandidateFailed"]
    assert failures[50:] == ["the last 50 trials failed, so that no further trial is proposed: training step 0 raised ValueError: no"]
