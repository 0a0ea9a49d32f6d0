"""Work that takes long and makes no steps is announced before it begins, on a terminal and in a log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli import conformance as conformance_module
from autohas_trainer.cli.app import app
from autohas_trainer.events import Event, WorkStarted
from autohas_trainer.reporting.sinks.log import LogSink
from engine_fixtures import MemorySink, search, small_search

READ = r"read [\d,]+ training and [\d,]+ test examples of \d+ x \d+ x \d+"


def _in_order(text: str, *patterns: str) -> bool:
    return re.search(".*".join(patterns), text, re.DOTALL) is not None


def test_reading_measuring_and_testing_are_said_once(tmp_path: Path) -> None:
    """With a cost all activities occur, in their order, and none is repeated."""
    sink = MemorySink()
    search(with_change(small_search(), "spec.objective", {"cost": {"metric": "macs", "target": "9000"}}), tmp_path, sink)
    reading, read, *rest = sink.activities

    assert reading == "reading digits"
    assert re.fullmatch(READ, read)
    assert rest[0] == "measuring macs of networks on cpu"
    assert [doing.partition(" on ")[0] for doing in rest[1:]] == ["testing"]


def test_the_test_is_said_before_it_begins(tmp_path: Path) -> None:
    """After the last step, and before the result."""
    steps_at: list[int] = []

    class Counting(MemorySink):
        def emit(self, event: Event) -> None:
            if isinstance(event, WorkStarted):
                steps_at.append(len(self.steps))
            super().emit(event)

    sink = Counting()
    search(small_search(), tmp_path, sink)

    assert re.fullmatch(r"testing on [\d,]+ examples", sink.activities[-1])
    assert steps_at == [0, 0, len(sink.steps)]


def test_a_log_has_a_line_for_each() -> None:
    """One constant event with what is done as its message."""
    lines: list[tuple[str, dict[str, object]]] = []

    class Logger:
        def info(self, event: str, **facts: object) -> None:
            lines.append((event, facts))

    LogSink(Logger()).emit(WorkStarted(description="reading idx from /data"))

    assert lines == [("work started", {"message": "reading idx from /data"})]


def test_every_command_says_what_it_waits_for(tmp_path: Path) -> None:
    """A run, a dry run, a retraining and a report: from the first second to the last, before each answer."""
    file, out = tmp_path / "search.yaml", str(tmp_path / "out")
    file.write_text(yaml_file.dump(with_change(a_search("small"), "spec.training.steps", 18)), encoding="utf-8")

    def said(*arguments: str) -> str:
        ran = CliRunner().invoke(app, list(arguments))
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    reading = ("loading PyTorch", "reading digits", READ)
    assert _in_order(said("run", str(file), "--dry-run"), *reading, "measuring a few training steps", "parameters: ")
    assert _in_order(said("run", str(file), "--out", out), *reading, "testing on ", "writing the report", "accuracy", "Report: ")
    assert _in_order(said("report", out), "writing the report", "Report: ")
    retrained = said("retrain", f"{out}/config.yaml", "--seeds", "2")
    seeds = (rf"seed {seed}: reading digits, then 18 steps.*seed {seed}: test" for seed in (0, 1))
    assert _in_order(retrained, "loading PyTorch", *seeds, "writing the report", "Report: ")


def test_what_conformance_checks_is_said_before_it_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The title stands there while the checks run."""
    printed: list[str] = []

    class Console:
        def print(self, text: str, **_: object) -> None:
            printed.append(text)

    def check(*_: object, **__: object) -> list[str]:
        printed.append("checked")
        return []

    monkeypatch.setattr(conformance_module, "check_model", check)
    target = conformance_module.Target(name="custom_code_fixtures:Plain", input_shape=(8,), num_outputs=2, arguments={}, regression=False)
    conformance_module.conformance(target, Console())  # type: ignore[arg-type]

    assert printed == ["model custom_code_fixtures:Plain", "checked"]
