"""Work without steps, a comparison or the last test, shows that it is alive: by a clock that each batch moves on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages import EvaluateStage
from autohas_trainer.engine.training import compute
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.events import Event, SearchStarted
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.reporting.sinks.null import NullSink
from autohas_trainer.reporting.sinks.progress import health_of
from engine_fixtures import small_search
from reporting_fixtures import FakeClock, lane_step, run_info

STALL_S = 900.0


class SlowSplit:
    """The batches of a split, each after 400 s; records what the liveness probe would get meanwhile."""

    def __init__(self, batches: Callable[..., Iterator[Any]], state: LiveState, clock: FakeClock) -> None:
        self._batches, self._state, self._clock = batches, state, clock
        self.alive: list[bool] = []

    def __call__(self, *arguments: Any) -> Iterator[Any]:
        for batch in self._batches(*arguments):
            self._clock.now += 400
            self.alive.append(health_of(self._state.snapshot(), self._clock.now, STALL_S).is_alive)
            yield batch


class StateSink(NullSink):
    """Passes every event to a state."""

    def __init__(self, state: LiveState) -> None:
        self._state = state

    def emit(self, event: Event) -> None:
        self._state.emit(event)


@pytest.fixture(name="state")
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchState:
    """A search state whose live state receives its events, on splits in chunks of 16."""
    monkeypatch.setattr(compute, "LARGEST_CHUNK", 16)
    search, space = accept(small_search())
    clock = FakeClock()
    live = LiveState(clock)
    state = SearchState(SearchTask.load(search.spec, space, torch.device("cpu")), StateSink(live), Ledger(200, clock), clock)
    live.emit(SearchStarted(info=run_info(tmp_path)))
    live.emit(lane_step(1))
    for name in ("selection", "test"):
        monkeypatch.setattr(state.search_task.splits, name, SlowSplit(getattr(state.search_task.splits, name), live, clock))
    state.enter(DEFAULT, space.default)
    return state


def test_a_comparison_longer_than_the_stall_timeout_is_no_stall(state: SearchState) -> None:
    """Nine chunks of 400 s each between two steps of a lane: alive at each, though 900 s without a step would be a stall."""
    state.compare(Stage.LANES, DEFAULT, 0)
    slow = state.search_task.splits.selection

    assert isinstance(slow, SlowSplit)
    assert len(slow.alive) == 9
    assert all(slow.alive)


def test_the_last_test_is_no_stall_either(state: SearchState) -> None:
    """Every chunk of the test split counts, however many there are."""
    while not state.trainings[DEFAULT].is_finished:
        state.train(Stage.RACE, DEFAULT)
    state.winner = DEFAULT
    evaluate = EvaluateStage(state)
    while evaluate.advance():
        pass
    slow = state.search_task.splits.test

    assert isinstance(slow, SlowSplit)
    assert len(slow.alive) > 4 * STALL_S / 400
    assert all(slow.alive)
