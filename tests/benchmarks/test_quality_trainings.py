"""Recorded trainings: a search on them is the search itself, none runs twice, and a table of them says the same."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from benchmarks.quality import tasks
from benchmarks.quality.product import STRATEGIES, search
from benchmarks.quality.recorded import RecordedTraining
from benchmarks.quality.runs import AS_LONG, Runner
from benchmarks.quality.store import RungRecord, Store, TrainingKey
from benchmarks.quality.tasks import data_of, document
from benchmarks.quality.training_table import read_table, write_table
from benchmarks.quality.trainings import Trainings

from autohas_api.accept.acceptance import accept
from autohas_api.space.decisions import Configuration
from autohas_trainer.engine.search import Job, choose
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.training.comparison import paired_standard_error
from autohas_trainer.engine.training.own_training import BuildTraining
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import Identity
from autohas_trainer.seeding import make_deterministic
from engine_fixtures import MemorySink, Stop
from quality_fixtures import TINY, write_small_table

BUDGET = 5.5


@pytest.fixture(autouse=True)
def _deterministic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, and a table of 1,000 rows in the place of the real one."""
    make_deterministic(1)
    monkeypatch.setattr(tasks, "UCI_PROTEIN", write_small_table(tmp_path / "protein"))


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    return Trainings(Store(tmp_path / "store.sqlite"), TINY, 0)


class Steps:
    """Counts the steps of trainings for real; may interrupt before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.until = 0, 10**9
        step = Training.step

        def counted(training: Training) -> float | None:
            if self.count == self.until:
                raise KeyboardInterrupt
            self.count += 1
            return step(training)

        monkeypatch.setattr(Training, "step", counted)


def _choose(folder: Path, strategy: str, build_training: BuildTraining) -> SearchState:
    asked = document(
        TINY,
        data_of(TINY, folder),
        seed=0,
        algorithm=STRATEGIES[strategy].algorithm,
        trainings=BUDGET,
        hyperparameters=STRATEGIES[strategy].hyperparameters,
    )
    parsed, space = accept(asked)
    identity = Identity(search_uid="", pod_uid="", attempt=1)
    job = Job(search=parsed, space=space, workdir=folder, identity=identity, threads=1, device="cpu")
    return choose(job, MemorySink(), Stop(), build_training)


@pytest.mark.parametrize("strategy", ["AutoHAS OneFactor", "AutoHAS Lanes"])
def test_a_search_on_recorded_trainings_is_the_search_itself(
    strategy: str, tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Winner, candidates, comparisons and every cost are equal; the second time only what gives the supernet its weights takes steps."""
    ordinary = _choose(tmp_path / "ordinary", strategy, Training)
    first = _choose(tmp_path / "first", strategy, partial(RecordedTraining, trainings))
    steps = Steps(monkeypatch)
    again = _choose(tmp_path / "again", strategy, partial(RecordedTraining, Trainings(trainings.store, TINY, 0)))
    lane = ordinary.configurations[ordinary.best_lane] if ordinary.best_lane is not None else None

    for recorded in (first, again):
        assert recorded.winner == ordinary.winner
        assert recorded.configurations == ordinary.configurations
        assert recorded.comparisons == ordinary.comparisons
        assert recorded.records == ordinary.records
        assert recorded.ledger.cost_by_stage() == ordinary.ledger.cost_by_stage()
    assert steps.count == (0 if lane is None else Training(trainings.search_task, lane).rung(1))


def test_a_training_that_diverged_diverges_again_at_the_same_step(trainings: Trainings) -> None:
    """After five steps the loss is not finite; the next search sees that in its sixth step and pays for no more."""
    default = trainings.space.default
    diverged = RungRecord(5, None, None, None, None, "", None, None, None, 0.1)
    trainings.store.add(
        trainings.key(default), dict.fromkeys(range(3), diverged) | {0: RungRecord(4, 0.5, 0.5, 0.5, 1.0, "", None, None, None, 0.1)}
    )
    training = RecordedTraining(trainings, trainings.search_task, default)
    taken = 0
    while not training.is_diverged:
        training.step()
        taken += 1

    assert (taken, training.num_steps_done) == (6, 5)
    assert training.compare().key == float("-inf")
    assert training.compare().step == 5


def test_only_first_trainings_are_recorded(trainings: Trainings) -> None:
    """A repeat with another seed of its own is refused."""
    with pytest.raises(ValueError, match="not repeat 1"):
        RecordedTraining(trainings, trainings.search_task, trainings.space.default, 1)


def test_a_rung_beyond_a_recorded_one_is_trained_on_and_all_are_kept(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    """1/9, then the end: the whole training's steps once, each rung recorded, the test at the end; a price changes only the keys."""
    steps, default = Steps(monkeypatch), trainings.space.default
    trainings.measure(default, 0)
    assert steps.count == 4
    last = trainings.measure(default, 2)
    assert steps.count == 36
    assert [trainings.measure(default, rung).step for rung in range(3)] == [4, 12, 36]
    assert last.test is not None
    cost = {"metric": "parameters", "target": "10000", "weight": "-0.1"}
    priced = Trainings(trainings.store, replace(TINY, cost=cost), 0)
    parameters = priced.search_task.num_parameters(default)

    assert priced.compare(default, 2).score == pytest.approx((last.score or 0) - 0.1 * abs(parameters / 10_000 - 1))
    assert trainings.compare(default, 2).score == last.score
    assert steps.count == 36


def test_a_benchmark_that_was_stopped_trains_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of a training, it repeats that one; a third time it trains nothing."""
    whole = Steps(monkeypatch)
    expected = Runner(Store(tmp_path / "whole.sqlite")).run(TINY, "random + halving", 1, 3.0)
    total = whole.count
    whole.until = whole.count + total // 2
    with pytest.raises(KeyboardInterrupt):
        Runner(Store(tmp_path / "stopped.sqlite")).run(TINY, "random + halving", 1, 3.0)
    whole.until = 10**9
    assert Runner(Store(tmp_path / "stopped.sqlite")).run(TINY, "random + halving", 1, 3.0) == expected
    assert 2 * total <= whole.count < 2 * total + 36 * 4
    before = whole.count
    runner = Runner(Store(tmp_path / "stopped.sqlite"))

    assert runner.run(TINY, "random + halving", 1, 3.0) == expected
    assert runner.has(TINY, "random + halving", 1, 3.0)
    assert runner.value(TINY, expected) == -runner.test(TINY, expected) < 0
    assert whole.count == before


def test_the_default_trained_as_long_takes_the_whole_budget_in_one_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three trainings of 36 steps are one of 108."""
    steps = Steps(monkeypatch)
    run = Runner(Store(tmp_path / "store.sqlite")).run(TINY, AS_LONG, 0, 3.0)

    assert (run.steps, run.work, steps.count) == (108, 3.0, 108)


def test_the_table_of_trainings_fills_a_store_that_peers_need_nothing_more_than(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, keys and scores to nine digits come back, errors of the paired differences too; only contributions are trained again."""
    space, default = trainings.space, trainings.space.default
    other = space.configuration(space.as_mapping(default) | {"batch_size": "256"})
    off_grid = space.configuration(space.as_mapping(default) | {"learning_rate": "0.15"})
    for configuration, rung in ((default, 2), (other, 1), (off_grid, 0)):
        trainings.measure(configuration, rung)
    gone = space.configuration(space.as_mapping(default) | {"batch_size": "16"})
    trainings.store.add(trainings.key(gone), {0: RungRecord(7, None, None, None, None, "", None, None, None, 0.1)})
    path, filled = tmp_path / "table.csv", Store(tmp_path / "filled.sqlite")
    assert write_table(trainings.store, path, lambda _: space) == 3 + 2 + 1 + 1
    assert read_table(filled, path, lambda _: space) == 7
    assert read_table(filled, path, lambda _: space) == 0
    steps, read = Steps(monkeypatch), Trainings(filled, TINY, 0)

    for configuration, rung in ((default, 0), (default, 1), (default, 2), (other, 0), (other, 1), (off_grid, 0), (gone, 0)):
        one, same = trainings.measure(configuration, rung), read.measure(configuration, rung)
        assert (same.step, same.contributions, same.loss) == (one.step, "", None)
        for name in ("key", "score", "metric", "test", "test_quality"):
            assert getattr(same, name) == (None if getattr(one, name) is None else pytest.approx(getattr(one, name), rel=1e-8))
    assert read.measure(default, 1).error == 0
    error = paired_standard_error(trainings.compare(other, 1), trainings.compare(default, 1))
    assert read.measure(other, 1).error == pytest.approx(error, rel=1e-3) != 0
    assert steps.count == 0
    assert read.measure(other, 0, needs_contributions=True).contributions == trainings.measure(other, 0).contributions
    assert steps.count == 1
    with path.open(encoding="utf-8") as file:
        assert max(len(",".join(row)) for row in csv.reader(file)) < 140


def test_a_file_with_other_columns_is_no_table_of_trainings(tmp_path: Path, trainings: Trainings) -> None:
    """The message names the columns that it must have."""
    (tmp_path / "t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"t\.csv: the columns must be data, seed, steps, .* not a, b"):
        read_table(trainings.store, tmp_path / "t.csv", lambda _: trainings.space)


def test_several_processes_may_share_a_store(tmp_path: Path) -> None:
    """What one connection adds another finds, and a second addition replaces the first."""
    one, other = Store(tmp_path / "s.sqlite"), Store(tmp_path / "s.sqlite")
    key = TrainingKey(data="d", seed=1, steps=9, values=("a", "b"))
    measured = RungRecord(1, 0.5, 0.5, 0.5, 1.0, "", None, None, None, 0.1)
    one.add(key, {0: measured})
    other.add(key, {0: RungRecord(2, 0.5, 0.5, 0.5, 1.0, "", None, None, None, 0.1), 1: measured})

    assert [(k, rung, m.step) for k, rung, m in one.list_trainings()] == [(key, 0, 2), (key, 1, 1)]
    assert one.find(TrainingKey(data="d", seed=2, steps=9, values=("a", "b")), 0) is None


def test_a_searched_winner_is_one_of_the_joint_space(trainings: Trainings) -> None:
    """RandomSharing finishes no training before its winner is known: what returns is finished, and paid for."""
    configuration, work = search(STRATEGIES["RandomSharing"], trainings, 9.0)
    whole = trainings.search_task.price(configuration, 0, 3)

    assert isinstance(configuration, Configuration)
    assert trainings.store.find(trainings.key(configuration), 2) is not None
    assert whole < work
