"""monitoring.profileSteps: one trace per search that opens as JSON, and the same result as without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import autohas
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.events import Event
from autohas_trainer.reporting.sinks.profile_trace import PROFILE_FILE, WARM_UP, ProfileSink
from reporting_fixtures import lane_step


@pytest.fixture(scope="module", name="results")
def _results(tmp_path_factory: pytest.TempPathFactory) -> tuple[autohas.Result, autohas.Result]:
    """The same search without and with a profile of 5 steps."""
    folder = tmp_path_factory.mktemp("profile")
    profiled = with_change(a_search("small"), "spec.monitoring", {"profileSteps": 5})
    return autohas.run(a_search("small"), out=folder / "plain", quiet=True), autohas.run(profiled, out=folder / "profiled", quiet=True)


def test_the_trace_opens_as_json_and_has_the_steps(results: tuple[autohas.Result, autohas.Result]) -> None:
    """Five updates of an optimizer with their gradients; without the field there is no file."""
    plain, profiled = results
    trace = json.loads((profiled.folder / PROFILE_FILE).read_text(encoding="utf-8"))
    names = [event.get("name", "") for event in trace["traceEvents"]]

    assert sum("Optimizer.step#" in name for name in names) == 5
    assert any(name.startswith("autograd::engine::evaluate_function") for name in names)
    assert not (plain.folder / PROFILE_FILE).exists()


def test_the_profiler_changes_no_bits(results: tuple[autohas.Result, autohas.Result]) -> None:
    """Digest of configuration, score and weights."""
    plain, profiled = results

    assert profiled.digest == plain.digest


def emit_steps(sink: ProfileSink, count: int) -> None:
    events: list[Event] = [lane_step(step) for step in range(1, count + 1)]
    for event in events:
        sink.emit(event)


def test_a_search_has_one_trace(tmp_path: Path) -> None:
    """A process that resumes leaves the first one as it is."""
    (tmp_path / PROFILE_FILE).write_text("first")
    emit_steps(ProfileSink(tmp_path, 2), WARM_UP + 2)

    assert (tmp_path / PROFILE_FILE).read_text() == "first"


def test_a_search_that_ends_before_the_last_step_writes_what_it_has(tmp_path: Path) -> None:
    """One that was stopped, too; one that never began to record writes nothing."""
    short, shorter = ProfileSink(tmp_path, 100), ProfileSink(tmp_path, 100)
    emit_steps(short, WARM_UP + 1)
    short.close()
    written = json.loads((tmp_path / PROFILE_FILE).read_text())
    (tmp_path / PROFILE_FILE).unlink()
    emit_steps(shorter, WARM_UP - 1)
    shorter.close()

    assert "traceEvents" in written
    assert not (tmp_path / PROFILE_FILE).exists()


def test_a_trace_that_cannot_be_written_does_not_end_the_search(tmp_path: Path) -> None:
    """A warning says why."""
    folder = tmp_path / "gone"
    folder.mkdir()
    sink = ProfileSink(folder, 1)
    emit_steps(sink, WARM_UP)
    folder.rmdir()
    with capture_logs() as logs:
        sink.emit(lane_step(WARM_UP + 1))

    assert [log["event"] for log in logs] == ["profile not written"]
    assert "No such file or directory" in logs[0]["error"]
