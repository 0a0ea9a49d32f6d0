"""The container's entry point as a real process: signals, exit codes, one termination message each time."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from autohas_api.accept import acceptance
from autohas_api.base.model import Rule
from autohas_api.base.spec_errors import FieldError
from autohas_api.space.decisions import resolve
from autohas_api.spec.search import parse
from autohas_api.spec.task import Task
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import Error, Interrupted, Result, decode_progress, decode_termination_message
from autohas_api.wire.result import configuration_of
from autohas_trainer.cli import assembly
from autohas_trainer.cli.container import run_container
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.engine.checkpointing.background import Background
from autohas_trainer.engine.checkpointing.checkpoint import CheckpointStore, Draft, Saved
from autohas_trainer.engine.checkpointing.checkpointer import Checkpointer
from autohas_trainer.engine.search import Job
from autohas_trainer.errors import TrainerError
from autohas_trainer.events import Identity
from autohas_trainer.folder_lock import LOCK_FILE, hold_folder
from autohas_trainer.reporting.http.server import TrainerServer
from autohas_trainer.reporting.sinks.live_state import LiveState
from pod_fixtures import Pod, wait_for


@pytest.fixture(autouse=True)
def _fresh_logs() -> Iterator[None]:
    """`run_container` configures structlog for its process, which here is pytest's."""
    configuration = structlog.get_config()
    yield
    structlog.configure(**configuration)


def test_the_step_of_an_interruption_is_that_of_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint of step 1 is being written when SIGTERM comes after step 2: the operator shows step 1, which is on the claim."""
    gate, stop = threading.Event(), StopOnSignal(insist=False)
    write, result = CheckpointStore.write, Background[Saved].result

    def write_late(store: CheckpointStore, draft: Draft, check: Callable[[], None] = lambda: None) -> Saved:
        assert draft.step == 0 or gate.wait(60)
        return write(store, draft, check)

    def wait(flight: Background[Saved]) -> Saved:
        gate.set()
        return result(flight)

    def look(checkpointer: Checkpointer, index: int) -> None:
        stop.is_requested = True
        checkpointer._begin(index)  # a checkpoint in flight: the period is a wall clock's

    monkeypatch.setattr(CheckpointStore, "write", write_late)
    monkeypatch.setattr(Background, "result", wait)
    monkeypatch.setattr(Checkpointer, "look", look)
    code, message = Pod(tmp_path, a_search()).run_here(stop)

    newest = max(int(path.name) for path in (tmp_path / "work" / "checkpoints").iterdir() if path.name.isdigit())
    assert isinstance(message, Interrupted)
    assert (code, message.step, newest) == (75, 1, 1)


def test_a_search_interrupted_and_resumed_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    """SIGTERM exits 75 with a checkpoint; the next pod finishes; a third one repeats the result without training."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    long = with_change(a_search(), "spec.training.steps", 90)
    undisturbed, disturbed = Pod(tmp_path / "a", long), Pod(tmp_path / "b", long)

    with disturbed.started() as process:
        port = wait_for(process, "server started")["port"]
        wait_for(process, "stage started")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=10) as answer:
            progress = decode_progress(answer.read())
        process.send_signal(signal.SIGTERM)
        wait_for(process, "trainer interrupted")
        assert process.wait(timeout=400) == 75
    assert (progress.search_uid, progress.pod_uid, progress.attempt) == ("uid-1", "pod-1", 1)
    interrupted = disturbed.termination_message()
    assert isinstance(interrupted, Interrupted)
    assert interrupted.checkpoint_digest is not None
    assert interrupted.step > 0
    assert interrupted.starts == 1

    code, result, _ = disturbed.run("pod-2", 2)
    expected_code, expected = undisturbed.run_here()
    assert (code, expected_code) == (0, 0)
    assert isinstance(result, Result)
    assert isinstance(expected, Result)
    assert result.digest == expected.digest
    search = parse(long)
    configuration_of(result, resolve(search.spec))
    for name in ("history.jsonl", "config.yaml", "model.safetensors"):
        assert (tmp_path / "a" / "work" / name).read_bytes() == (tmp_path / "b" / "work" / name).read_bytes()
    assert (tmp_path / "b" / "work" / "report.html").exists()

    code, repeated, log = disturbed.run("pod-3", 3)
    assert code == 0
    assert isinstance(repeated, Result)
    assert (repeated.pod_uid, repeated.attempt) == ("pod-3", 3)
    assert repeated.digest == result.digest
    assert "result repeated" in log
    assert "search started" not in log


@pytest.mark.parametrize(
    ("change", "value", "code", "said"),
    [
        ("spec.budget.trainings", "1", 78, "spec.budget.trainings: must be at least"),
        ("spec.task.data", {"name": "idx", "path": "/no/such/folder"}, 65, "/no/such/folder is not a folder"),
        ("spec.task.data", {"name": "csv", "path": "/no/such.csv", "arguments": {"target": "y"}}, 65, "/no/such.csv is missing"),
        (
            "spec.task.data",
            {"name": "csv", "path": "~/x.csv", "arguments": {"target": "y"}},
            78,
            "spec.task.data.path '~/x.csv' begins with ~, a home folder, which only a laptop has; in a cluster give the mountPath",
        ),
        ("spec.task.data", {"name": "image-folder", "path": "/no/such"}, 65, "/no/such/train is missing"),
        ("spec.task.data", {"entrypoint": "no_such_package:Data"}, 78, "task.data.entrypoint no_such_package:Data: there is no module"),
        ("spec.task.recipe.batchSize", 60000, 65, "1075 training examples cannot fill a batch of 60000; lower task.recipe.batchSize"),
        ("kind", "Pod", 78, "kind: Unsupported value"),
    ],
)
def test_what_cannot_run_says_why_and_how_it_ends(tmp_path: Path, change: str, value: object, code: int, said: str) -> None:
    """The termination message has the sentence and the exit code."""
    found, word = Pod(tmp_path, with_change(a_search(), change, value)).run_here()
    assert found == code
    assert isinstance(word, Error)
    assert word.exit_code == code
    assert said in word.message


def test_a_stricter_image_ends_no_search_that_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a suspension the image may be another: what it would not accept any more is finished, and its result repeated, all the same."""
    pod, new, stop = Pod(tmp_path, a_search()), Pod(tmp_path / "new", a_search()), StopOnSignal(insist=False)
    stop.is_requested = True
    new.folder.mkdir()
    begun, _ = pod.run_here(stop)
    monkeypatch.setattr(acceptance, "find_spec_errors", lambda _: iter([FieldError(path="spec.task", message="is too hard")]))
    monkeypatch.setattr(Task, "rules", (Rule(message="is too easy", holds=lambda _: False),))
    refused, word = new.run_here()
    finished, repeated = pod.run_here(), pod.run_here()

    assert (begun, refused) == (75, 78)
    assert isinstance(word, Error)
    assert word.message == "spec.task: is too easy"
    assert (finished[0], repeated[0]) == (0, 0)
    assert finished[1] == repeated[1]
    assert "result repeated" in capsys.readouterr().err


def test_an_unreadable_search_file_is_a_usage_error(tmp_path: Path) -> None:
    """The operator mounts it; without it nothing else can be said."""
    pod = Pod(tmp_path, {})
    code = run_container({**pod.variables("pod-1", 1), "AUTOHAS_SEARCH_FILE": "/no/such/file"}, StopOnSignal(insist=False))
    word = pod.termination_message()
    assert code == 64
    assert isinstance(word, Error)
    assert "/no/such/file cannot be read as JSON" in word.message


def test_storage_that_fails_under_the_search_file_is_tried_again(tmp_path: Path) -> None:
    """Linux answers a read of the unmapped page 0 with EIO: the Job counts the attempt and repeats it."""
    pod = Pod(tmp_path, {})
    code = run_container({**pod.variables("pod-1", 1), "AUTOHAS_SEARCH_FILE": "/proc/self/mem"}, StopOnSignal(insist=False))
    word = pod.termination_message()
    assert code == 1
    assert isinstance(word, Error)
    assert word.message == "/proc/self/mem: the disk reports an input/output error; move the search to a sound one"


def test_a_wrong_variable_is_a_usage_error_with_a_termination_message(tmp_path: Path) -> None:
    """Even when the attempt itself is what is wrong."""
    pod = Pod(tmp_path, a_search())
    code = run_container({**pod.variables("pod-1", 1), "AUTOHAS_ATTEMPT": "first"}, StopOnSignal(insist=False))
    word = pod.termination_message()
    assert code == 64
    assert isinstance(word, Error)
    assert word.attempt == 0
    assert word.message == "AUTOHAS_ATTEMPT must be a whole number from 0 to 2147483648, not 'first'"


def test_a_work_folder_that_cannot_be_made_is_counted_and_explained(tmp_path: Path) -> None:
    """A file lies where the folder should be: exit 1, so the Job tries again, and a sentence."""
    (tmp_path / "work").write_text("in the way")
    code, word = Pod(tmp_path, a_search()).run_here()
    assert code == 1
    assert isinstance(word, Error)
    assert "a folder on this path is a file; move that file out of the way" in word.message


def test_a_bug_ends_with_1_its_type_and_a_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The longest text in four-byte characters still fits the termination log."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("\N{CRAB}" * 5000)

    monkeypatch.setattr(assembly, "repeat_result", broken)
    code, word = Pod(tmp_path, a_search()).run_here()
    assert code == 1
    assert isinstance(word, Error)
    assert word.message.startswith("ZeroDivisionError: \N{CRAB}")
    assert word.message.endswith("…")
    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    failed = next(entry for entry in entries if entry["event"] == "search failed")
    assert "Traceback (most recent call last)" in failed["exception"]


def test_a_damaged_result_is_found_again_from_the_last_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """result.json is torn: the search's end is repeated, not the search."""
    pod = Pod(tmp_path, a_search())
    code, first = pod.run_here()
    (tmp_path / "work" / "result.json").write_text("{")
    again_code, again = pod.run_here()
    assert (code, again_code) == (0, 0)
    assert isinstance(first, Result)
    assert isinstance(again, Result)
    assert again.digest == first.digest
    log = capsys.readouterr().err
    assert "result not readable" in log
    assert log.count("stage started") == len({"Lanes", "Race"})


def test_a_termination_log_that_cannot_be_written_changes_no_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The termination message is in the log then."""
    pod = Pod(tmp_path, with_change(a_search(), "spec.budget.trainings", "1"))
    (tmp_path / "search.json").write_text(json.dumps(pod.document))
    variables = {**pod.variables("pod-1", 1), "AUTOHAS_TERMINATION_LOG": str(tmp_path / "no" / "log")}
    assert run_container(variables, StopOnSignal(insist=False)) == 78
    entry = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert entry["event"] == "termination log not written"
    assert isinstance(decode_termination_message(entry["termination_message"].strip().encode()), Error)


def test_a_pod_whose_folder_another_pod_holds_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Job tries again up to backoffLimit: a code that ends the search would lose it, 75 would repeat without limit."""
    monkeypatch.setattr(assembly, "WAIT_S", 0.0)
    (tmp_path / "work").mkdir()
    pod = Pod(tmp_path, a_search())
    with hold_folder(tmp_path / "work"):
        code, message = pod.run_here()

    assert code == 1
    assert isinstance(message, Error)
    assert message.message.startswith(f"{tmp_path / 'work'} is in use: process {os.getpid()} on host ")
    assert "Traceback" not in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "work").iterdir()] == [LOCK_FILE]


def test_the_stall_timeout_is_that_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """failurePolicy.stallTimeoutSeconds is when /healthz of this trainer begins to fail, and so when the kubelet stops it."""
    search = parse(with_change(a_search(), "spec.failurePolicy", {"stallTimeoutSeconds": 77}))
    given: list[float] = []

    class Recorder(TrainerServer):
        def __init__(self, *arguments: Any, stall_timeout_s: float, **named: Any) -> None:
            given.append(stall_timeout_s)
            super().__init__(*arguments, stall_timeout_s=stall_timeout_s, **named)

    def stopped(*_: object) -> None:
        raise TrainerError("stopped")

    monkeypatch.setattr(assembly, "TrainerServer", Recorder)
    monkeypatch.setattr(assembly, "run_with", stopped)
    identity = Identity(search_uid="s", pod_uid="p", attempt=1)
    job = Job(search=search, space=resolve(search.spec), workdir=tmp_path, identity=identity, threads=1, device="cpu")
    with pytest.raises(TrainerError):
        assembly.run_in_pod(job, 0, LiveState(time.monotonic), StopOnSignal(insist=False))

    assert given == [77.0]
