"""The race at 1/3: the best lane is an incumbent, and ties within noise go to it."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from torch import device

from autohas_api.accept.acceptance import accept
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.lanes import LanesStage
from autohas_trainer.engine.stages.race import RaceStage
from autohas_trainer.engine.training.comparison import Comparison, encode
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from engine_fixtures import MemorySink, TickingClock, small_search


def _state() -> SearchState:
    parsed, space = accept(small_search())
    return SearchState(SearchTask.load(parsed.spec, space, device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())


def _at_a_third(contributions: list[float]) -> Comparison:
    quality = float(np.mean(contributions))
    return Comparison(step=9, key=quality, score=0.5, metric=0.5, loss=1 - quality, contributions=encode(np.array(contributions)))


NOISE = [0.9, 0.1] * 50


@pytest.mark.parametrize(
    ("new", "kept"),
    [
        ([*[0.1, 0.9] * 49, 0.1, 0.9 + 1e-6], "lane 1"),
        ([0.1, 0.9] * 49 + [0.5, 0.9], "lane 1"),
        ([value + 0.05 * (1 + index % 2) for index, value in enumerate(NOISE)], "argmax"),
    ],
    ids=["a hair", "within noise", "clear"],
)
@pytest.mark.parametrize("best_lane", ["lane 1", "default", None])
def test_a_new_candidate_takes_the_place_of_the_best_lane_only_beyond_noise(new: list[float], kept: str, best_lane: str | None) -> None:
    """Differences of 0.8 in turns have a standard error of 0.08: leads of 1e-8 and 0.004 are noise, one of 0.075 per example is not."""
    state = _state()
    space = state.search_task.space
    for name, width in (("default", None), ("lane 1", "16"), ("argmax", "32")):
        values = space.as_mapping(space.default) | ({} if width is None else {"width_1": width})
        state.enter(name, space.configuration(values))
        state.comparisons[name] = {1: _at_a_third({"default": [0.0] * 100, "lane 1": NOISE, "argmax": new}[name])}
    state.best_lane = best_lane
    state.ledger.spend(Stage.LANES, state.trainings_left - 2 * state.prices("default").last)  # the default and one other can be finished
    race = RaceStage(state)

    assert race._choose(1, ["default", "argmax", "lane 1"]) == ["default", kept if best_lane == "lane 1" else "argmax"]
    assert set(state.trainings) == {"default", kept if best_lane == "lane 1" else "argmax"}
    assert {known[1].contributions for known in state.comparisons.values()} == {""}


def test_contributions_from_a_third_on_have_the_quality_as_their_mean() -> None:
    """At 1/9 none; at 1/3 of the averaged weights' losses; at the end of the metric: each time their mean is what the rung ranks by."""
    training = Training(_state().search_task, _state().search_task.space.default)
    found = []
    for rung in range(3):
        while training.num_steps_done < training.rung(rung):
            training.step()
        comparison = training.compare()
        parts = np.frombuffer(base64.b64decode(comparison.contributions), dtype="<f4")
        found.append(len(parts))
        assert not len(parts) or float(parts.mean(dtype=np.float64)) == pytest.approx(comparison.key, abs=1e-6)

    assert found == [0, _state().search_task.splits.num_selection, _state().search_task.splits.num_selection]


def test_after_the_lanes_only_the_best_one_keeps_its_contributions() -> None:
    """A checkpoint of the supernet holds one number per example of the selection split, not one per lane."""
    state = _state()
    lanes = LanesStage(state)
    lanes.begin()
    while lanes.advance():
        pass
    kept = {name for name, known in state.comparisons.items() for comparison in known.values() if comparison.contributions}

    assert kept == {state.best_lane}
