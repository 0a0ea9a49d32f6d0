"""history.jsonl: thinned by position, cut at a resume, durable at a flush."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autohas_api.testing.rejections import a_search, changed
from autohas_trainer.events import HISTORY_FILE
from autohas_trainer.reporting.sinks.history import HistorySink, read_history
from reporting_fixtures import candidate, lane_step, policy, run_info, supernet_step


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    """Every fact survives the file; `steps` is not repeated on each line."""
    sink = HistorySink(tmp_path)
    sink.started(run_info(tmp_path))
    records = (replace(supernet_step(7), is_rejected=True), policy(7), candidate("argmax", 1.0, 0.9))
    sink.step(records[0])
    sink.policy(records[1])
    sink.candidate(records[2])
    assert sink.flush() == (tmp_path / HISTORY_FILE).stat().st_size
    sink.close()
    history = read_history(tmp_path)
    assert [(s.reward, s.is_rejected) for s in history.steps] == [(0.5, True)]
    assert history.policies == (records[1],)
    assert history.candidates == (records[2],)


def test_a_resumed_history_is_the_undisturbed_one_byte_for_byte(tmp_path: Path) -> None:
    """What lies behind the checkpoint's length is cut and written again."""
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    whole = HistorySink(undisturbed)
    whole.started(run_info(undisturbed))
    first = HistorySink(disturbed)
    first.started(run_info(disturbed))
    for step in range(1, 6):
        whole.step(lane_step(step))
        first.step(lane_step(step))
    length = first.flush()
    for step in range(6, 9):
        first.step(lane_step(step))
    first.flush()
    first.close()
    second = HistorySink(disturbed)
    second.started(run_info(disturbed, history_bytes=length, step=5))
    for step in range(6, 12):
        whole.step(lane_step(step))
        second.step(lane_step(step))
    assert whole.flush() == second.flush()
    whole.close()
    second.close()
    assert (undisturbed / HISTORY_FILE).read_bytes() == (disturbed / HISTORY_FILE).read_bytes()


def test_nothing_is_written_before_the_first_fact(tmp_path: Path) -> None:
    """An empty history promises no checkpoint: the engine refuses a folder with a history and none."""
    sink = HistorySink(tmp_path)
    sink.started(run_info(tmp_path))
    assert sink.flush() == 0
    sink.close()


def test_long_searches_are_thinned_but_no_reward_is_lost(tmp_path: Path) -> None:
    """Plain steps and policies are thinned by position; the policy's last state stays."""
    info = run_info(tmp_path, changed(a_search(), "spec.training.steps", 10_000))
    assert 36_000 < info.steps <= 40_000
    last = info.plan.lane_steps + info.plan.supernet_steps
    sink = HistorySink(tmp_path)
    sink.started(info)
    for step in range(1, 101):
        sink.step(lane_step(step))
        sink.step(supernet_step(step))
    sink._policy_stride = 50
    for step in range(1, last + 1):
        sink.policy(policy(step))
    sink.flush()
    sink.close()
    history = read_history(tmp_path)
    assert [s.step for s in history.steps if s.reward is None] == list(range(10, 101, 10))
    assert sum(s.reward is not None for s in history.steps) == 100
    assert [p.step for p in history.policies] == [*range(50, last, 50), last]


def test_a_number_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    """JSON has no word for it, and a search does not end over a log line."""
    sink = HistorySink(tmp_path)
    sink.started(run_info(tmp_path))
    sink.step(lane_step(1, loss=float("nan")))
    sink.flush()
    sink.close()
    assert json.loads((tmp_path / HISTORY_FILE).read_text())["loss"] is None


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    """File and line are in the error."""
    (tmp_path / HISTORY_FILE).write_text('{"fact":"other"}\n{"fact":')
    with pytest.raises(ValueError, match=r"history\.jsonl:2: damaged line"):
        read_history(tmp_path)


def test_a_full_disk_is_reported_with_the_files_name_and_loses_no_line(tmp_path: Path) -> None:
    """write() knows no name; the error that leaves has one. When there is room again, the next flush writes every line once."""
    sink = HistorySink(tmp_path)
    sink.started(run_info(tmp_path))
    sink.step(lane_step(1))
    sink.flush()
    real = sink._file
    assert real is not None
    with open("/dev/full", "r+b", buffering=0) as full:  # noqa: PTH123 - a FileIO, as the sink's own
        sink._file = full
        sink.step(lane_step(2))
        for _ in range(2):
            with pytest.raises(OSError, match="No space left") as caught:
                sink.flush()
            assert caught.value.filename == str(tmp_path / HISTORY_FILE)
    sink._file = real  # what the device took is nothing, so the file stands where it stood
    sink.step(lane_step(3))
    sink.flush()
    sink.close()

    assert [record.step for record in read_history(tmp_path).steps] == [1, 2, 3]
