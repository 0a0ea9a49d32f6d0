"""`algorithm.compare` in a container: real, tiny searches in one process, which is stopped, killed and resumed."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import Error, Interrupted, Progress, Result, decode_progress
from autohas_api.wire.result import search_result
from autohas_trainer.cli import pod_comparison
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.comparison.record import Comparison
from pod_fixtures import Pod, wait_for

RUNS = [(method, seed) for seed in (0, 1) for method in ("search", "random-halving", "default-as-long")]


@pytest.fixture(autouse=True)
def _fresh_logs() -> Iterator[None]:
    """`run_container` configures structlog for its process, which here is pytest's."""
    configuration = structlog.get_config()
    yield
    structlog.configure(**configuration)


def _document(**fields: Any) -> dict[str, Any]:
    document = with_change(a_search("small"), "spec.budget.trainings", "2.5")
    document = with_change(document, "spec.algorithm.compare", {"seeds": 2})
    for field, value in fields.items():
        document = with_change(document, "spec." + field.replace("__", "."), value)
    return document


def _pod(folder: Path, **fields: Any) -> Pod:
    folder.mkdir(exist_ok=True)
    return Pod(folder, _document(**fields))


def _record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "work" / "compare.json").read_text())
    return record


def _facts(folder: Path) -> list[tuple[str, int, float, float, int]]:
    """What a kill must not change of a comparison: each run with its scores. Times and file digests differ by the clock."""
    return [(run["method"], run["seed"], run["test"], run["selection"], run["steps"]) for run in _record(folder)["runs"]]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of an undisturbed comparison of two seeds, and its termination message."""
    folder = tmp_path_factory.mktemp("compared")
    code, result = _pod(folder).run_here()
    assert code == 0, result
    assert isinstance(result, Result)
    return folder, result


@pytest.fixture
def copied(compared: tuple[Path, Result], tmp_path: Path) -> Pod:
    """The pod of a finished comparison that a test may change."""
    shutil.copytree(compared[0] / "work", tmp_path / "work")
    return _pod(tmp_path)


def test_the_result_is_that_of_the_search_alone_with_the_comparison(compared: tuple[Path, Result], tmp_path: Path) -> None:
    """Digest, model and configuration are those of a pod without `compare`; the rows are the means of compare.json."""
    folder, result = compared
    alone = Pod(tmp_path, with_change(_document(), "spec.algorithm.compare", None))
    code, expected = alone.run_here()

    assert code == 0
    assert isinstance(expected, Result)
    assert (result.digest, result.choices, result.values) == (expected.digest, expected.choices, expected.values)
    for name in ("model.safetensors", "preprocessing.json", "config.yaml", "history.jsonl"):
        assert (folder / "work" / name).read_bytes() == (tmp_path / "work" / name).read_bytes(), name
    runs = _record(folder)["runs"]
    assert [(run["method"], run["seed"]) for run in runs] == RUNS
    assert result.comparison is not None
    for row in result.comparison:
        tests = [run["test"] for run in runs if run["method"] == row.method]
        assert row.test == pytest.approx(sum(tests) / 2, rel=1e-5)
        assert row.runs == 2
    own, *others = result.comparison
    assert own.difference is None
    for row in others:
        assert own.test is not None
        assert row.test is not None
        assert row.difference == pytest.approx(own.test - row.test, abs=1e-5)
        assert (row.wins or 0) + (row.ties or 0) + (row.losses or 0) == 2
        assert row.t is None


def test_the_working_folder_has_the_files_of_one_search_and_the_page(compared: tuple[Path, Result]) -> None:
    """What `autohas fetch` copies lies where it lies without a comparison."""
    folder, result = compared
    work = folder / "work"

    assert (work / "result.json").read_bytes() == (work / "search" / "seed-0" / "result.json").read_bytes()
    assert json.loads((work / "result.json").read_text())["digests"]["model"] == result.model_digest
    assert "random search with halving" in (work / "compare.html").read_text()
    assert "<html" in (work / "report.html").read_text()
    assert not (work / "checkpoints").exists()


def test_the_operator_reads_the_result(compared: tuple[Path, Result]) -> None:
    """`status.result` of the spec with `compare` has a row for each method, the search first."""
    search, space = accept(_document())
    status = search_result(compared[1], search.spec, space, None)

    assert status.comparison is not None
    assert [row.name for row in status.comparison] == ["search", "random-halving", "default-as-long"]
    assert float(status.scores.test) == pytest.approx(compared[1].test_score, abs=1e-6)


def test_a_comparison_stopped_killed_and_resumed_ends_as_the_undisturbed_one(compared: tuple[Path, Result], tmp_path: Path) -> None:
    """SIGTERM in the second run, SIGKILL in a later one: same results, and progress that never goes back."""
    pod, seen = _pod(tmp_path), list[Progress]()

    with pod.started() as process:
        port = wait_for(process, "server started")["port"]
        while wait_for(process, "stage started")["method"] != "random-halving":
            seen.append(_progress(port))
        seen.append(_progress(port))
        process.send_signal(signal.SIGTERM)
        wait_for(process, "trainer interrupted")
        assert process.wait(timeout=400) == 75
    interrupted = pod.termination_message()
    with pod.started("pod-2", 2) as process:
        port = wait_for(process, "server started")["port"]
        while wait_for(process, "stage started")["method"] != "default-as-long":
            seen.append(_progress(port))
        seen.append(_progress(port))
        process.kill()
        process.wait(timeout=400)
    code, result, log = pod.run("pod-3", 3)

    assert code == 0, log
    assert isinstance(result, Result)
    assert result.digest == compared[1].digest
    assert result.comparison == compared[1].comparison
    assert (result.pod_uid, result.attempt) == ("pod-3", 3)
    assert _facts(tmp_path) == _facts(compared[0])
    assert isinstance(interrupted, Interrupted)
    assert interrupted.starts == 1
    first_steps = _record(tmp_path)["runs"][0]["steps"]
    assert interrupted.step > first_steps > 0
    assert [(p.step, p.run) for p in seen] == sorted((p.step, p.run) for p in seen)
    assert {p.runs for p in seen} == {6}
    assert [p.starts for p in seen] == sorted(p.starts for p in seen)
    assert (seen[0].starts, seen[-1].starts, seen[-1].run, seen[-1].interruptions) == (1, 2, 3, 1)
    assert 100 / 3 <= seen[-1].percent < 50
    assert all(p.stop_reason is None for p in seen)


def _progress(port: int) -> Progress:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=10) as answer:
        return decode_progress(answer.read())


def test_a_finished_comparison_repeats_its_result(copied: Pod, compared: tuple[Path, Result], capsys: pytest.CaptureFixture[str]) -> None:
    """A pod that comes after the end trains nothing."""
    code, result = copied.run_here()

    assert code == 0
    assert isinstance(result, Result)
    assert result == compared[1]
    log = capsys.readouterr().err
    assert "result repeated" in log
    assert "search started" not in log


def test_a_kill_while_files_are_copied_loses_none(copied: Pod, compared: tuple[Path, Result]) -> None:
    """result.json comes last: without it every file is copied again."""
    for name in ("result.json", "model.safetensors", "config.yaml"):
        (copied.folder / "work" / name).unlink()
    code, result = copied.run_here()

    assert (code, result) == (0, compared[1])
    for name in ("result.json", "model.safetensors", "config.yaml"):
        assert (copied.folder / "work" / name).read_bytes() == (compared[0] / "work" / name).read_bytes()


def test_a_kill_before_a_finished_run_is_recorded_loses_none_of_its_steps(copied: Pod, compared: tuple[Path, Result]) -> None:
    """Progress counts the steps of finished runs: it would go back by a whole run."""
    record, path = _record(copied.folder), copied.folder / "work" / "compare.json"
    path.write_text(json.dumps({**record, "runs": record["runs"][:-1]}))
    code, result = copied.run_here()

    assert code == 0
    assert isinstance(result, Result)
    assert result.comparison == compared[1].comparison
    assert _facts(copied.folder) == _facts(compared[0])


def test_a_stop_between_two_runs_keeps_the_finished_ones(copied: Pod, compared: tuple[Path, Result]) -> None:
    """Asked to stop before the removed run begins again, the process ends with 75; the next one finishes it."""
    shutil.rmtree(copied.folder / "work" / "default-as-long" / "seed-1")
    stop = StopOnSignal(insist=False)
    stop.is_requested = True
    code, message = copied.run_here(stop)
    assert code == 75
    assert isinstance(message, Interrupted)
    assert [(run["method"], run["seed"]) for run in _record(copied.folder)["runs"]] == RUNS[:-1]

    code, result = copied.run_here()
    assert code == 0
    assert isinstance(result, Result)
    assert result.comparison == compared[1].comparison


def test_a_changed_result_of_a_run_is_refused(copied: Pod) -> None:
    """The comparison has the digest of every run's result.json."""
    path = copied.folder / "work" / "random-halving" / "seed-1" / "result.json"
    path.write_text(path.read_text() + " ")
    code, message = copied.run_here()

    assert code == 65
    assert isinstance(message, Error)
    assert "random-halving/seed-1/result.json is not the file that the comparison recorded" in message.message


def test_a_default_that_diverges_with_the_first_seed_ends_the_comparison(tmp_path: Path) -> None:
    """There is no result to return, so that the other runs would be for nothing."""
    code, message = _pod(tmp_path, task__recipe__learningRate="1e12").run_here()

    assert code == 70
    assert isinstance(message, Error)
    assert _record(tmp_path)["runs"] == []


def test_a_page_that_cannot_be_drawn_costs_no_result(
    copied: Pod, compared: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result is valid without compare.html: the log has the error."""

    def fail(*_: object) -> Path:
        raise ValueError("no font")

    monkeypatch.setattr(pod_comparison, "write_page", fail)
    (copied.folder / "work" / "result.json").unlink()
    code, result = copied.run_here()

    assert (code, result) == (0, compared[1])
    assert "page not written" in capsys.readouterr().err


def test_a_stricter_image_ends_no_comparison_that_has_begun(copied: Pod, compared: tuple[Path, Result]) -> None:
    """A budget that no rule would accept today: the begun comparison is read by its schema alone, and its digest still decides."""
    copied.document["spec"]["budget"]["trainings"] = "1"
    code, message = copied.run_here()

    assert code == 65
    assert isinstance(message, Error)
    assert "is the comparison of another search" in message.message
    assert Comparison.from_json(_record(compared[0])).is_finished
