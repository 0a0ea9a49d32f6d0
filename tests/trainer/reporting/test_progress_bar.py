"""What people and logs see while a search runs."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from autohas_api.wire.messages import Effect, Notice, Stage
from autohas_trainer.events import CheckpointWritten, NoticeIssued, SearchFinished, SearchStarted, StagesPlanned
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.reporting.sinks.log import LogSink
from autohas_trainer.reporting.sinks.progress_bar import BarSink, duration
from reporting_fixtures import FakeClock, candidate, checkpoint_info, lane_step, outcome, policy, run_info, supernet_step


def _drawn(tmp_path: Path, *, terminal: bool, reward: float | None = 0.5) -> str:
    clock = FakeClock()
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, no_color=True)
    state = LiveState(clock)
    bar = BarSink(console, state)
    info = run_info(tmp_path)
    for sink in (state, bar):
        sink.emit(SearchStarted(info=info))
    for step in range(1, info.plan.lane_steps + 1):
        clock.now += 0.1
        for sink in (state, bar):
            sink.emit(lane_step(step))
    bar.emit(CheckpointWritten(info=checkpoint_info(info.plan.lane_steps), seconds=0.1, size_bytes=1))
    bar.emit(NoticeIssued(notice=Notice(id=1, reason="SupernetDiverged", message="the supernet diverged", time=1.0)))
    first = info.plan.lane_steps + info.plan.warmup_steps
    for step in range(first + 1, info.plan.lane_steps + info.plan.supernet_steps + 1):
        bar.emit(policy(step))
        bar.emit(replace(supernet_step(step), reward=reward))
    bar.emit(SearchFinished(outcome=outcome(info)))
    return text.getvalue()


def test_without_a_terminal_every_tenth_is_one_line(tmp_path: Path) -> None:
    """A log file gets at most ten lines per stage, each whole."""
    lines = _drawn(tmp_path, terminal=False).splitlines()
    lanes = [line for line in lines if line.startswith("Lanes")]
    assert len(lanes) == 10
    assert lanes[-1].startswith("Lanes     100 %  step ")
    assert "loss 2.250  default" in lanes[-1]
    assert lanes[-1].endswith("left")
    assert [line for line in lines if line.startswith("Supernet  100 %")]
    assert "the supernet diverged" in lines
    assert [line for line in lines if line.startswith("Race      100 %")]


def test_a_reward_is_shown_only_where_there_is_one(tmp_path: Path) -> None:
    """Paired over hyperparameters alone learns from differences: its average of rewards would stay at 0."""
    with_rewards, without = (_drawn(tmp_path, terminal=False, reward=reward).splitlines() for reward in (0.5, None))
    (rewarded,) = [line for line in with_rewards if line.startswith("Supernet  100 %")]
    (silent,) = [line for line in without if line.startswith("Supernet  100 %")]
    assert "reward 0.400  entropy" in rewarded
    assert "reward" not in silent
    assert "entropy" in silent


def test_on_a_terminal_every_stage_has_a_bar(tmp_path: Path) -> None:
    """All stages and the whole search are drawn; the last state is full."""
    text = _drawn(tmp_path, terminal=True)
    last = text[text.rindex("Lanes") :]
    for name in ("Lanes", "Warmup", "Supernet", "Race", "Search"):
        assert name in last
    assert last.count("100 %") == 5
    assert "reward 0.400  entropy 0.80" in last


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "under 1 s"), (52.4, "52 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    """Two units at most."""
    assert duration(seconds) == said


def test_the_log_has_one_line_per_fact_and_none_per_step(tmp_path: Path) -> None:
    """Constant messages with keys: start, stage, comparison, checkpoint, notice, result."""
    info = run_info(tmp_path, threads=3)
    with structlog.testing.capture_logs() as lines:
        sink = LogSink(structlog.get_logger())
        sink.emit(SearchStarted(info=info))
        for step in range(1, 50):
            sink.emit(lane_step(step))
        sink.emit(supernet_step(50))
        sink.emit(candidate("default", 1 / 9, 0.5))
        sink.emit(CheckpointWritten(info=checkpoint_info(50), seconds=0.1, size_bytes=10))
        sink.emit(NoticeIssued(notice=Notice(id=1, reason="RestoreFailed", message="a checkpoint is torn", time=1.0)))
        effects = (Effect(decision="depth", value="3", effect=0.0155, standard_error=0.005),)
        sink.emit(SearchFinished(outcome=replace(outcome(info), effects=effects)))
    assert [line["event"] for line in lines] == [
        "search started",
        "stage started",
        "stage started",
        "candidate compared",
        "checkpoint written",
        "notice issued",
        "search finished",
    ]
    assert lines[0]["threads"] == 3
    assert lines[5]["log_level"] == "warning"
    assert lines[-1]["winner"] == "argmax"
    assert lines[-1]["largest_effects"] == ["depth 3: +1.55 ± 0.50 %"]


def test_the_log_names_the_parent_of_a_bred_candidate() -> None:
    """One that was drawn has no such key."""
    with structlog.testing.capture_logs() as lines:
        sink = LogSink(structlog.get_logger())
        sink.emit(candidate("trial 1", 1.0, 0.8))
        sink.emit(candidate("trial 2", 1.0, 0.9, parent="trial 1"))

    assert [line.get("parent") for line in lines] == [None, "trial 1"]
    assert "parent" not in lines[0]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_stage_that_was_dropped_is_not_drawn_as_done(tmp_path: Path, is_terminal: bool) -> None:  # noqa: FBT001 - a test parameter
    """The supernet ends after 3 of its steps: no line calls it whole, and the race behind it begins where it ended."""
    clock, text = FakeClock(), io.StringIO()
    state = LiveState(clock)
    bar = BarSink(Console(file=text, force_terminal=is_terminal, width=100, no_color=True), state)
    info = run_info(tmp_path)
    plan = info.plan
    for sink in (state, bar):
        sink.emit(SearchStarted(info=info))
    first = plan.lane_steps + plan.warmup_steps
    for step in range(first + 1, first + 4):
        bar.emit(supernet_step(step))
    stages = {**info.stages, Stage.SUPERNET: 3, Stage.RACE: 90}
    for sink in (state, bar):
        sink.emit(StagesPlanned(stage=Stage.RACE, stages=stages))
    race = replace(lane_step(first + 3 + 90), stage=Stage.RACE)
    for sink in (state, bar):
        sink.emit(race)
    bar.close()
    shown = text.getvalue()

    assert state.snapshot().stage is Stage.RACE
    assert state.snapshot().steps == first + 93 == state.snapshot().position
    if is_terminal:
        assert f"ended after 3 of {plan.supernet_steps - plan.warmup_steps} steps" in shown
    else:
        assert not [line for line in shown.splitlines() if line.startswith("Supernet  100 %")]
        assert [line for line in shown.splitlines() if line.startswith("Race      100 %  step 90 of 90")]
