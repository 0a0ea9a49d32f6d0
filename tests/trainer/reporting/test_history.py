"""history.jsonl: thinned by position, cut at a resume, durable at a flush."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.events import HISTORY_FILE, SearchStarted
from autohas_trainer.reporting.sinks.history import HistorySink, read_history
from reporting_fixtures import candidate, lane_step, policy, run_info, supernet_step


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    """Every fact survives the file; `steps` is not repeated on each line."""
    sink = HistorySink(tmp_path)
    sink.emit(SearchStarted(info=run_info(tmp_path)))
    records = (replace(supernet_step(7), is_rejected=True), policy(7), candidate("trial 7", 1.0, 0.9, parent="trial 4"))
    sink.emit(records[0])
    sink.emit(records[1])
    sink.emit(records[2])
    assert sink.flush() == (tmp_path / HISTORY_FILE).stat().st_size
    sink.close()
    history = read_history(tmp_path)
    assert [(s.reward, s.is_rejected) for s in history.steps] == [(0.5, True)]
    assert history.policies == (records[1],)
    assert history.candidates == (records[2],)


def test_the_format_of_each_line_is_fixed(tmp_path: Path) -> None:
    """Histories are read by other versions and by other programs: names, order and spelling of every line are a contract."""
    sink = HistorySink(tmp_path)
    sink.emit(SearchStarted(info=run_info(tmp_path)))
    sink.emit(lane_step(4, cost=0.125))
    sink.emit(replace(supernet_step(7), is_rejected=True, cost=0.25))
    sink.emit(replace(policy(7), cost=0.25))
    sink.emit(replace(candidate("argmax", 1.0, 0.9), cost=0.5))
    sink.emit(replace(candidate("trial 7", 1.0, 0.9), cost=0.5, parent="trial 4"))
    sink.flush()
    sink.close()
    assert (tmp_path / HISTORY_FILE).read_text().splitlines() == [
        '{"fact":"step","stage":"Lanes","step":4,"cost":0.125,"loss":2.25,"learningRate":0.1,"candidate":"default"}',
        (
            '{"fact":"step","stage":"Supernet","step":7,"cost":0.25,"loss":1.5,"learningRate":0.1,"reward":0.5,"advantage":0.25,'
            '"rejected":true,"sample":{"depth":"2","width_1":"64"}}'
        ),
        (
            '{"fact":"policy","step":7,"cost":0.25,"probabilities":{"depth":[0.1,0.7,0.2],"activation":[0.5,0.25,0.25]},'
            '"entropy":{"depth":0.75,"activation":0.75},"normalizedEntropy":0.8,"baseline":0.4}'
        ),
        (
            '{"fact":"candidate","stage":"Race","name":"argmax","values":{"learning_rate":"0.3"},"step":150,"cost":0.5,"fraction":1.0,'
            '"score":0.9,"metric":0.9,"loss":0.5,"kept":true}'
        ),
        (
            '{"fact":"candidate","stage":"Race","name":"trial 7","values":{"learning_rate":"0.3"},"step":150,"cost":0.5,"fraction":1.0,'
            '"score":0.9,"metric":0.9,"loss":0.5,"kept":true,"parent":"trial 4"}'
        ),
    ]


def test_a_resumed_history_is_the_undisturbed_one_byte_for_byte(tmp_path: Path) -> None:
    """What lies behind the checkpoint's length is cut and written again."""
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    whole = HistorySink(undisturbed)
    whole.emit(SearchStarted(info=run_info(undisturbed)))
    first = HistorySink(disturbed)
    first.emit(SearchStarted(info=run_info(disturbed)))
    for step in range(1, 6):
        whole.emit(lane_step(step))
        first.emit(lane_step(step))
    length = first.flush()
    for step in range(6, 9):
        first.emit(lane_step(step))
    first.flush()
    first.close()
    second = HistorySink(disturbed)
    second.emit(SearchStarted(info=run_info(disturbed, history_bytes=length, step=5)))
    for step in range(6, 12):
        whole.emit(lane_step(step))
        second.emit(lane_step(step))
    assert whole.flush() == second.flush()
    whole.close()
    second.close()
    assert (undisturbed / HISTORY_FILE).read_bytes() == (disturbed / HISTORY_FILE).read_bytes()


def test_nothing_is_written_before_the_first_fact(tmp_path: Path) -> None:
    """An empty history promises no checkpoint: the engine refuses a folder with a history and none."""
    sink = HistorySink(tmp_path)
    sink.emit(SearchStarted(info=run_info(tmp_path)))
    assert sink.flush() == 0
    sink.close()


def test_long_searches_are_thinned_but_no_reward_is_lost(tmp_path: Path) -> None:
    """Plain steps and policies are thinned by position; the policy's last state stays."""
    info = run_info(tmp_path, with_change(a_search(), "spec.training.steps", 10_000))
    assert 36_000 < info.steps <= 40_000
    last = info.plan.lane_steps + info.plan.supernet_steps
    sink = HistorySink(tmp_path)
    sink.emit(SearchStarted(info=info))
    for step in range(1, 101):
        sink.emit(lane_step(step))
        sink.emit(supernet_step(step))
    sink._policy_stride = 50
    for step in range(1, last + 1):
        sink.emit(policy(step))
    sink.flush()
    sink.close()
    history = read_history(tmp_path)
    assert [s.step for s in history.steps if s.reward is None] == list(range(10, 101, 10))
    assert sum(s.reward is not None for s in history.steps) == 100
    assert [p.step for p in history.policies] == [*range(50, last, 50), last]


def test_a_number_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    """JSON has no word for it, and a search does not end over a log line."""
    sink = HistorySink(tmp_path)
    sink.emit(SearchStarted(info=run_info(tmp_path)))
    sink.emit(lane_step(1, loss=float("nan")))
    sink.flush()
    sink.close()
    assert json.loads((tmp_path / HISTORY_FILE).read_text())["loss"] is None


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    """File and line are in the error."""
    (tmp_path / HISTORY_FILE).write_text('{"fact":"other"}\n{"fact":')
    with pytest.raises(ValueError, match=r"history\.jsonl:2: damaged line"):
        read_history(tmp_path)


def test_a_line_that_was_cut_is_dropped_before_the_search_continues(tmp_path: Path) -> None:
    """The file is shorter than the checkpoint remembers, and ends within a line: what follows is read all the same."""
    before = HistorySink(tmp_path)
    before.emit(SearchStarted(info=run_info(tmp_path)))
    before.emit(lane_step(1))
    before.emit(lane_step(2))
    length = before.flush()
    before.close()
    (tmp_path / HISTORY_FILE).write_bytes((tmp_path / HISTORY_FILE).read_bytes()[:-10])

    after = HistorySink(tmp_path)
    after.emit(SearchStarted(info=replace(run_info(tmp_path), history_bytes=length)))
    after.emit(lane_step(3))
    after.flush()
    after.close()

    assert [record.step for record in read_history(tmp_path).steps] == [1, 3]


def test_a_full_disk_is_reported_with_the_files_name_and_loses_no_line(tmp_path: Path) -> None:
    """write() knows no name; the error that leaves has one. When there is room again, the next flush writes every line once."""
    sink = HistorySink(tmp_path)
    sink.emit(SearchStarted(info=run_info(tmp_path)))
    sink.emit(lane_step(1))
    sink.flush()
    real = sink._file
    assert real is not None
    with open("/dev/full", "r+b", buffering=0) as full:  # noqa: PTH123 - a FileIO, as the sink's own
        sink._file = full
        sink.emit(lane_step(2))
        for _ in range(2):
            with pytest.raises(OSError, match="No space left") as caught:
                sink.flush()
            assert caught.value.filename == str(tmp_path / HISTORY_FILE)
    sink._file = real  # what the device took is nothing, so the file stands where it stood
    sink.emit(lane_step(3))
    sink.flush()
    sink.close()

    assert [record.step for record in read_history(tmp_path).steps] == [1, 2, 3]
