"""A network exists only while it is needed: counted by the tensors of the state, and by what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from pathlib import Path

import pytest
from safetensors import safe_open
from torch import Tensor, device

from autohas_api.accept.acceptance import accept
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.memory_plan import list_moments, measure_network, plan_memory
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages import build_stages
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import Interrupted
from autohas_trainer.events import StepRecord
from engine_fixtures import ALGORITHM_ROWS, MemorySink, Stop, TickingClock, case, checkpoint_files, checkpoint_folders, search


def _state(name: str) -> SearchState:
    parsed, space = accept(case(name))
    return SearchState(SearchTask.load(parsed.spec, space, device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())


def _tensors(state: SearchState) -> dict[str, Tensor]:
    """What a checkpoint would hold, by the names that it gives them."""
    return {f"{part}/{name}": tensor for part, held in state.parts().items() for name, tensor in held.tensors.items()}


def _networks(names: Iterable[str]) -> int:
    """Trainings that have weights among some names of tensors."""
    return len({name.split("/")[1] for name in names if name.startswith("training/")})


BOOKS = ("/losses", "/counts/", "/bounds/")
"""Tensors of some numbers each, which the plan leaves out: losses that were not read, and Adam's counts of updates."""


def _bytes(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for name, tensor in tensors.items() if not any(part in name for part in BOOKS))


@pytest.mark.parametrize("name", ALGORITHM_ROWS)
def test_no_moment_holds_more_than_the_plan_says(name: str) -> None:
    """In every stage: at most the planned networks, of at most the bytes of the largest; no supernet before or after."""
    state = _state(name)
    search_task, stages = state.search_task, build_stages(state)
    state.ledger.lay_out({stage.name: stage.num_steps for stage in stages})
    planned = {moment.stage: moment.waiting + moment.finished + moment.working for moment in list_moments(search_task)}
    planned[Stage.WARMUP] = planned.get(Stage.SUPERNET, 0)
    most_networks, most_bytes, with_supernet = dict.fromkeys(Stage, 0), 0, set[Stage]()
    for stage in stages:
        stage.begin()
        has_more = True
        while has_more:
            has_more = stage.advance()
            tensors = _tensors(state)
            if has_more:
                most_networks[stage.name] = max(most_networks[stage.name], _networks(tensors))
                with_supernet |= {stage.name} if any(tensor.startswith("supernet/") for tensor in tensors) else set()
            most_bytes = max(most_bytes, _bytes(tensors))
    largest = search_task.costs.find_extreme(sign=1)
    scored = {Stage.RACE} if name == "RandomSharing" else set()

    assert {stage: number for stage, number in most_networks.items() if number > planned.get(stage, 0)} == {}
    assert 0 < most_bytes <= plan_memory(search_task, measure_network(search_task, largest)).checkpoint
    assert with_supernet <= {Stage.WARMUP, Stage.SUPERNET} | scored
    assert bool(with_supernet) == bool(search_task.plan.supernet_steps)


@pytest.mark.parametrize("name", ["Mixed lanes", "OneFactor"])
def test_lanes_hold_the_default_those_that_may_continue_and_the_one_at_work(name: str) -> None:
    """None before the first step, then one, and in the fullest moment that number."""
    state = _state(name)
    plan, lanes = state.search_task.plan, build_stages(state)[0]
    state.ledger.lay_out({stage.name: stage.num_steps for stage in build_stages(state)})
    lanes.begin()
    counts = [_networks(_tensors(state))]
    while lanes.advance():
        counts.append(_networks(_tensors(state)))

    assert counts[:2] == [0, 1]
    kept = plan.num_finalists or ceil(plan.num_lanes / 3)
    assert max(counts) in ((2 + kept,) if name == "OneFactor" else (1 + kept, 2 + kept))  # the default may be in the best third


def test_a_checkpoint_holds_the_lanes_that_have_begun(tmp_path: Path) -> None:
    """Stopped within the second lane: two networks on disk, of the six lanes that were entered, and no shared weights."""
    stop, sink = Stop(), MemorySink()

    def watch(record: StepRecord) -> None:
        stop.is_requested = record.candidate not in (None, DEFAULT)

    sink.on_step = watch
    with pytest.raises(Interrupted):
        search(case("Lanes"), tmp_path, sink, stop)
    files = checkpoint_files(checkpoint_folders(tmp_path)[-1])
    with safe_open(files["training/1"], framework="pt") as file:
        names = list(file.keys())

    assert files.keys() == {"state", "training/0", "training/1"}
    assert any(name.startswith("network/") for name in names)


def _train_to(state: SearchState, name: str, rung: int) -> None:
    training = state.trainings[name]
    while training.num_steps_done < training.rung(rung):
        state.train(Stage.LANES, name)
    state.compare(Stage.LANES, name, rung)


@pytest.mark.parametrize("kill_after", [None, 0, 2], ids=["in one process", "killed before", "killed within"])
def test_a_lane_that_was_freed_continues_bit_for_bit_and_pays_nothing_twice(kill_after: int | None) -> None:
    """Freed at 1/9 and trained to 1/3 after all: weights, comparisons, steps and cost are those of a lane that was never freed."""
    kept, freed = _state("Lanes"), _state("Lanes")
    for state in (kept, freed):
        state.ledger.lay_out({Stage.LANES: 1000})
        state.enter(DEFAULT, state.search_task.space.default)
        _train_to(state, DEFAULT, 0)
    freed.rewind([DEFAULT])
    assert _tensors(freed) == {}
    if kill_after is not None:
        for _ in range(kill_after):
            freed.train(Stage.LANES, DEFAULT)
        again = _state("Lanes")
        again.load(freed.state_dict(), {name: tensor.clone() for name, tensor in _tensors(freed).items()})
        freed = again
    for state in (kept, freed):
        _train_to(state, DEFAULT, 1)

    tensors = _tensors(freed)
    assert tensors.keys() == _tensors(kept).keys()
    assert all(tensor.equal(tensors[name]) for name, tensor in _tensors(kept).items())
    assert freed.comparisons == kept.comparisons
    assert (freed.ledger.step, freed.ledger.cost) == (kept.ledger.step, kept.ledger.cost)


def test_a_released_supernet_is_not_built_again() -> None:
    """Fresh shared weights in the place of trained ones would be an error that nobody sees."""
    state = _state("Lanes")
    assert state.supernet.state_dict()
    state.release_supernet()
    again = _state("Lanes")
    again.load(state.state_dict(), _tensors(state))

    assert _tensors(state) == {}
    for released in (state, again):
        with pytest.raises(RuntimeError, match="released"):
            _ = released.supernet
