"""Progress, time left and health from the latest facts, with a fake clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autohas_api.budget.progress_steps import stage_steps
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import Notice, Progress, Stage, TopChoice, decode_progress
from autohas_trainer.events import CheckpointWritten, NoticeIssued, SearchFinished, SearchStarted
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.live_state import ComparedRun, LiveState, stage_at
from autohas_trainer.reporting.sinks.progress import build_progress, eta_seconds, health_of, shrink_and_encode
from reporting_fixtures import (
    FakeClock,
    candidate,
    checkpoint_info,
    lane_step,
    outcome,
    policy,
    run_info,
    supernet_step,
    with_lanes,
    without_architecture,
)


def _started(tmp_path: Path, clock: FakeClock) -> LiveState:
    state = LiveState(clock)
    state.emit(SearchStarted(info=run_info(tmp_path)))
    return state


def _progress(state: LiveState, clock: FakeClock) -> Progress:
    progress = build_progress(state.snapshot(), clock.now)
    assert progress is not None
    return progress


def test_there_is_no_progress_before_the_search_started() -> None:
    """Data may take a while to load; nothing is invented meanwhile."""
    assert build_progress(LiveState(FakeClock()).snapshot(), 0.0) is None


def test_progress_says_what_is_known(tmp_path: Path) -> None:
    """Identity, position, leader, policy and checkpoint are the last reported ones."""
    clock = FakeClock()
    state = _started(tmp_path, clock)
    state.emit(lane_step(10))
    state.emit(policy(10))
    state.emit(candidate("lane 1", 1 / 9, 0.6))
    state.emit(candidate("lane 2", 1 / 9, 0.5))
    state.emit(CheckpointWritten(info=checkpoint_info(10), seconds=0.1, size_bytes=99))
    clock.now += 30
    progress = _progress(state, clock)
    assert (progress.search_uid, progress.pod_uid, progress.attempt) == ("uid", "pod", 2)
    assert (progress.stage, progress.step) == (Stage.LANES, 10)
    assert progress.best == 0.6
    assert progress.entropy == 0.8
    assert progress.top[0] == TopChoice(decision="depth", choice="2", probability=0.7)
    assert progress.checkpoint == checkpoint_info(10)
    assert progress.active_seconds == 30
    assert decode_progress(shrink_and_encode(progress)) == progress


def test_time_left_follows_the_measured_cost_per_second(tmp_path: Path) -> None:
    """Half of the steps in 100 s at an even rate leave 100 s."""
    clock = FakeClock()
    info = run_info(tmp_path)
    state = LiveState(clock)
    state.emit(SearchStarted(info=info))
    first, half = 1, info.steps // 2
    per_step = info.plan.predicted_trainings / info.steps
    for step in range(first, half + 1):
        clock.now = 1000 + 100 * step / half
        state.emit(lane_step(step, cost=step * per_step))
    eta = eta_seconds(state.snapshot())
    assert eta == pytest.approx(100 * (info.steps - half) / half, rel=0.01)
    state.emit(SearchFinished(outcome=outcome(info)))
    assert eta_seconds(state.snapshot()) == 0


def test_time_left_is_unknown_until_steps_were_timed(tmp_path: Path) -> None:
    """A handful of steps, the first of them slow, says nothing about hours."""
    clock = FakeClock()
    state = _started(tmp_path, clock)
    for step in range(1, 8):
        clock.now += 1
        state.emit(lane_step(step))
    assert eta_seconds(state.snapshot()) is None


PLACE = ComparedRun(number=3, num_runs=4, num_finished=2, steps_before=500, seconds_before=80.0, starts=7)


def test_a_run_of_a_comparison_counts_what_came_before_it(tmp_path: Path) -> None:
    """Two of four runs are done: steps, seconds, checkpoint and notices continue theirs, and the pod has started seven times."""
    clock, info = FakeClock(), run_info(tmp_path)
    state = LiveState(clock)
    state.enter_run(PLACE)
    state.emit(SearchStarted(info=replace(info, notices=(_notice(10_001),))))
    state.emit(lane_step(10))
    state.emit(CheckpointWritten(info=checkpoint_info(10), seconds=0.1, size_bytes=99))
    state.emit(NoticeIssued(notice=_notice(10_002, "another")))
    clock.now += 30
    progress = _progress(state, clock)

    assert (progress.run, progress.runs, progress.starts, progress.interruptions) == (3, 4, 7, 6)
    assert (progress.step, progress.steps) == (510, 500 + 2 * info.steps)
    assert progress.percent == pytest.approx(100 * (2 + 10 / info.steps) / 4, abs=0.01)
    assert progress.active_seconds == 80 + 30
    assert progress.checkpoint == checkpoint_info(10).replace(step=510)
    assert [notice.id for notice in progress.notices] == [3 * 10**10 + 10_001, 3 * 10**10 + 10_002]
    assert health_of(state.snapshot(), clock.now, 900).text.startswith("ok: run 3 of 4, stage Lanes, step 10")


def test_seconds_of_work_never_fall_between_two_runs(tmp_path: Path) -> None:
    """Until the next run starts, the last one's time is shown to pass, which the books do not count: a counter waits for them."""
    clock, info = FakeClock(), run_info(tmp_path)
    state = LiveState(clock)
    shown = []

    def look(seconds: float) -> None:
        clock.now += seconds
        shown.append(state.snapshot().active_seconds(clock.now))

    state.enter_run(PLACE)
    state.emit(SearchStarted(info=info))
    look(30)
    state.enter_run(replace(PLACE, number=4, num_finished=3, seconds_before=110.0))
    look(5)
    state.emit(SearchStarted(info=info))
    for _ in range(4):
        look(2)

    assert shown == [110, 115, 115, 115, 116, 118]
    assert state.snapshot().run_seconds(clock.now) == 8


def test_the_next_run_of_a_comparison_begins_with_nothing_of_the_last(tmp_path: Path) -> None:
    """Until it starts, what was known stands, so that a poll in between goes not back; a sentence that both say is a notice once."""
    clock, info = FakeClock(), run_info(tmp_path)
    state = LiveState(clock)
    state.enter_run(PLACE)
    state.emit(SearchStarted(info=info))
    state.emit(lane_step(info.steps))
    state.emit(policy(10))
    state.emit(candidate("lane 1", 1 / 9, 0.6))
    state.emit(NoticeIssued(notice=_notice(10_001)))
    state.emit(SearchFinished(outcome=outcome(info)))
    state.enter_run(replace(PLACE, number=4, num_finished=3, steps_before=500 + info.steps, seconds_before=110.0))
    between = _progress(state, clock)
    state.emit(SearchStarted(info=info))
    state.emit(NoticeIssued(notice=_notice(10_001)))
    state.emit(NoticeIssued(notice=_notice(10_002, "another")))
    after = _progress(state, clock)

    assert (between.run, between.step, between.percent, between.best) == (3, 500 + info.steps, 75, 0.6)
    assert (after.run, after.step, after.percent, after.best, after.entropy) == (4, 500 + info.steps, 75, None, None)
    assert [notice.id for notice in after.notices] == [3 * 10**10 + 10_001, 4 * 10**10 + 10_002]


def test_time_left_of_a_comparison_has_the_runs_to_come(tmp_path: Path) -> None:
    """40 s for each of the two finished runs are expected of the last one too."""
    clock, info = FakeClock(), run_info(tmp_path)
    state = LiveState(clock)
    state.enter_run(PLACE)
    state.emit(SearchStarted(info=info))
    alone = LiveState(clock)
    alone.emit(SearchStarted(info=info))
    for step in range(1, 21):
        clock.now += 1
        for each in (state, alone):
            each.emit(lane_step(step, cost=step / 100))
    remaining = eta_seconds(alone.snapshot())

    assert remaining is not None
    assert eta_seconds(state.snapshot()) == pytest.approx(remaining + 40, abs=0.2)


def _notice(number: int, message: str = "few epochs") -> Notice:
    return Notice(id=number, reason="FewEpochs", message=message, time=1.0)


def test_a_checkpoint_at_a_stages_end_moves_to_the_next_stage(tmp_path: Path) -> None:
    """A stage that ended early jumps; percent does too."""
    clock = FakeClock()
    info = run_info(tmp_path)
    state = LiveState(clock)
    state.emit(SearchStarted(info=info))
    state.emit(lane_step(3))
    state.emit(CheckpointWritten(info=checkpoint_info(info.plan.lane_steps), seconds=0.1, size_bytes=1))
    progress = _progress(state, clock)
    assert progress.stage is Stage.WARMUP
    assert progress.step == info.plan.lane_steps


@pytest.mark.parametrize(
    ("document", "stages"),
    [
        (a_search(), [Stage.LANES, Stage.RACE, Stage.EVALUATE]),
        (with_lanes(), [Stage.LANES, Stage.WARMUP, Stage.SUPERNET, Stage.RACE, Stage.EVALUATE]),
        (without_architecture(), [Stage.LANES, Stage.RACE, Stage.EVALUATE]),
        (
            with_change(
                with_change(a_search(), "spec.algorithm", {"name": "RandomSharing", "randomSharing": {"numSamples": 5}}),
                "spec.searchSpace.hyperparameters",
                [],
            ),
            [Stage.SUPERNET, Stage.RACE, Stage.EVALUATE],
        ),
    ],
    ids=["one factor", "lanes", "hyperparameters only", "random sharing"],
)
def test_every_position_belongs_to_one_stage(tmp_path: Path, document: dict[str, object], stages: list[Stage]) -> None:
    """Walking through all positions meets the planned stages in order."""
    info = run_info(tmp_path, document)
    assert list(stage_steps(info.plan)) == stages
    assert list(dict.fromkeys(stage_at(info.stages, position) for position in range(info.steps + 1))) == stages


def test_a_resumed_search_remembers_who_led(tmp_path: Path) -> None:
    """Leader and policy come back from the part of the history that the checkpoint knows."""
    sink = HistorySink(tmp_path)
    sink.emit(SearchStarted(info=run_info(tmp_path)))
    sink.emit(policy(10))
    sink.emit(candidate("lane 1", 1 / 9, 0.6))
    length = sink.flush()
    sink.emit(candidate("lane 2", 1 / 9, 0.9))
    sink.flush()
    sink.close()
    clock = FakeClock()
    state = LiveState(clock)
    state.emit(SearchStarted(info=run_info(tmp_path, history_bytes=length, step=12, checkpoint=checkpoint_info(12), active_seconds=40.0)))
    progress = _progress(state, clock)
    assert (progress.best, progress.entropy, progress.step, progress.active_seconds) == (0.6, 0.8, 12, 40.0)


def test_a_candidate_that_diverged_never_leads(tmp_path: Path) -> None:
    """No score is less than any score."""
    clock = FakeClock()
    state = _started(tmp_path, clock)
    state.emit(candidate("lane 1", 1.0, None))
    assert _progress(state, clock).best is None
    state.emit(candidate("lane 2", 1 / 9, 0.1))
    state.emit(candidate("lane 3", 1 / 3, None))
    assert _progress(state, clock).best == 0.1


def test_progress_always_fits_its_limit(tmp_path: Path) -> None:
    """The longest notices and names in four-byte characters, and more decisions than the contract takes."""
    clock = FakeClock()
    info = run_info(tmp_path)
    decision = info.space.decisions[-1]
    many = tuple(replace(decision, name=f"d{i:062d}", choices=("😀" * 64, "b")) for i in range(190))
    state = LiveState(clock)
    state.emit(SearchStarted(info=replace(info, space=replace(info.space, decisions=many))))
    state.emit(policy(1, {d.name: (0.9, 0.1) for d in many}))
    for number in range(1, 40):
        state.emit(NoticeIssued(notice=Notice(id=number, reason="RestoreFailed", message="😀" * 1024, time=1.0)))
    raw = shrink_and_encode(_progress(state, clock))
    assert len(raw) <= 16 * 1024
    progress = decode_progress(raw)
    assert progress.notices[-1].id == 39


def test_a_trainer_without_steps_is_stalled_only_after_its_patience(tmp_path: Path) -> None:
    """One timeout between steps, four before the first step and in the evaluation."""
    clock = FakeClock()
    state = LiveState(clock)
    assert health_of(state.snapshot(), 1000 + 359, 90).is_alive
    assert not health_of(state.snapshot(), 1000 + 361, 90).is_alive
    state.emit(SearchStarted(info=run_info(tmp_path)))
    state.emit(lane_step(1))
    assert health_of(state.snapshot(), 1000 + 89, 90).is_alive
    stalled = health_of(state.snapshot(), 1000 + 91, 90)
    assert not stalled.is_alive
    assert stalled.text == "stalled: nothing happened for 91 s (limit 90 s), stage Lanes, step 1\n"
    state.emit(replace(lane_step(2), stage=Stage.EVALUATE))
    assert health_of(state.snapshot(), 1000 + 300, 90).is_alive


def test_pauses_for_comparisons_are_no_step_durations(tmp_path: Path) -> None:
    """Only the time from one step straight to the next is counted."""
    clock = FakeClock()
    state = _started(tmp_path, clock)
    state.emit(lane_step(1))
    clock.now += 0.2
    state.emit(lane_step(2))
    clock.now += 60
    state.emit(candidate("default", 1 / 9, 0.5))
    state.emit(lane_step(3))
    snapshot = state.snapshot()
    assert snapshot.step_seconds == pytest.approx(0.2)
    assert sum(snapshot.step_buckets) == 1


def test_rewards_and_samples_are_counted(tmp_path: Path) -> None:
    """A sample without a reward is a sample too."""
    state = _started(tmp_path, FakeClock())
    state.emit(supernet_step(1, reward=None))
    state.emit(supernet_step(2, reward=0.75))
    snapshot = state.snapshot()
    assert snapshot.samples == 2
    assert snapshot.rewarded is not None
    assert snapshot.rewarded.reward == 0.75
