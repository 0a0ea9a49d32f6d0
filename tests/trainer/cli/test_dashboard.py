"""`autohas dashboard`: what it shows, in a real browser against a real server, and what it refuses."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from benchmarks.browser import Browser
from typer.testing import CliRunner, Result

from autohas.command import app
from autohas_api.base.install_hint import install_hint
from autohas_trainer.cli.dashboard import _GrowingApplication, resolve_sources
from autohas_trainer.events import HISTORY_FILE
from dashboard_fixtures import race, supernet, write_search
from testcluster import levels

RACE = race(
    ("default", 1 / 9, 0.5, "0.1"),
    ("argmax", 1 / 9, 0.6, "0.3"),
    ("lane 3", 1 / 9, 0.3, "0.03"),
    ("lane 4", 1 / 9, 0.4, "0.05"),
    ("default", 1.0, 0.82, "0.1"),
    ("argmax", 1.0, 0.91, "0.3"),
)


def _dashboard(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["dashboard", *map(str, arguments)])


def _flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(name="two")
def _two(tmp_path: Path) -> tuple[Path, Path]:
    """Two finished searches of different names; the second has a supernet."""
    return write_search(tmp_path / "a", "first", RACE), write_search(tmp_path / "b", "second", (*supernet(6), *RACE))


def test_out_writes_one_journal_of_all_searches_and_lists_it(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Studies and their numbers of trials; no server is started, so optuna-dashboard is not needed."""
    shown = _dashboard(*two, "--out", tmp_path / "both.journal")

    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        f"{tmp_path}/both.journal: 5 studies",
        "  first: 4 trials",
        "  first: first rung: 4 trials",
        "  second: 4 trials",
        "  second: first rung: 4 trials",
        "  second: supernet: 6 trials",
    ]
    again = _dashboard(tmp_path / "both.journal", "--out", tmp_path / "again.journal")
    assert (again.exit_code, (tmp_path / "again.journal").read_bytes()) == (0, (tmp_path / "both.journal").read_bytes())


def test_searches_of_one_name_get_their_folders(tmp_path: Path) -> None:
    """Each study's name is once in a storage."""
    folders = [write_search(tmp_path / name, "demo", RACE) for name in ("a", "b")]
    shown = _dashboard(*folders, "--out", tmp_path / "x.journal")
    assert "  demo (a): first rung: 4 trials" in shown.stdout
    assert "  demo (b): 4 trials" in shown.stdout


def test_a_name_is_the_folder_that_run_and_fetch_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """autohas-out/NAME."""
    monkeypatch.chdir(tmp_path)
    write_search(tmp_path / "autohas-out" / "demo", "demo", RACE)
    assert "demo: 4 trials" in _dashboard("demo", "--out", "x.journal").stdout


def test_a_name_of_the_cluster_names_the_command_that_gets_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 64."""
    monkeypatch.chdir(tmp_path)
    asked = _dashboard("fashion")
    assert asked.exit_code == 64
    assert _flat(asked.stderr) == (
        "autohas: fashion is no folder, no file and not in autohas-out. Of a search on a cluster that has succeeded, the folder is copied"
        " by autohas fetch fashion; then give this command autohas-out/fashion"
    )


def test_a_folder_without_a_history_is_a_sentence(tmp_path: Path) -> None:
    """Exit 64, with the file that is missing."""
    asked = _dashboard(tmp_path)
    assert asked.exit_code == 64
    assert _flat(asked.stderr).startswith(f"autohas: {tmp_path} holds no history.jsonl: give the folder of a search")


@pytest.mark.parametrize(
    "line", ["{}", "5", '{"fact": "candidate", "name": "x"}', '{"fact": "policy", "probabilities": 1}', '{"fact": "ste']
)
def test_a_damaged_history_names_its_line(line: str, two: tuple[Path, Path]) -> None:
    """Exit 65, also where only a field is missing."""
    history = two[0] / HISTORY_FILE
    history.write_text(f"{line}\n" + history.read_text())
    asked = _dashboard(two[0])
    assert asked.exit_code == 65
    assert f"{history}:1: damaged line" in asked.stderr


def test_a_search_without_a_comparison_has_nothing_to_show(tmp_path: Path) -> None:
    """A journal is not written; a finished search is not served."""
    running = write_search(tmp_path / "a", "demo", (), is_finished=False)
    asked = _dashboard(running, "--out", tmp_path / "x.journal")
    assert (asked.exit_code, (tmp_path / "x.journal").exists()) == (64, False)
    assert "no candidate has been compared yet" in asked.stderr
    finished = write_search(tmp_path / "b", "demo", ())
    assert "no candidate was compared, so there is nothing to show" in _dashboard(finished).stderr


def test_a_journal_is_not_written_over_the_one_that_is_read(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Exit 64; the file keeps its bytes."""
    journal = tmp_path / "x.journal"
    _dashboard(two[0], "--out", journal)
    before = journal.read_bytes()
    asked = _dashboard(journal, two[1], "--out", journal)
    assert (asked.exit_code, journal.read_bytes()) == (64, before)
    assert "is one of the journals to read" in asked.stderr


@pytest.mark.parametrize(("name", "words"), [("", "is a folder"), ("absent/x.journal", "cannot be written, because")])
def test_a_journal_that_can_be_no_file_is_a_sentence(name: str, words: str, two: tuple[Path, Path], tmp_path: Path) -> None:
    """Exit 64."""
    asked = _dashboard(two[0], "--out", tmp_path / name)
    assert asked.exit_code == 64
    assert words in asked.stderr


def test_a_folder_that_is_named_twice_is_shown_once(two: tuple[Path, Path], tmp_path: Path) -> None:
    """With and without a slash, and by another path, it is one search."""
    once, twice = tmp_path / "once.journal", tmp_path / "twice.journal"
    _dashboard(two[0], "--out", once)
    _dashboard(two[0], f"{two[0]}/", two[0].parent / "." / ".." / two[0].parent.name / two[0].name, "--out", twice)
    assert twice.read_bytes() == once.read_bytes()


def test_a_port_in_use_is_a_sentence(two: tuple[Path, Path]) -> None:
    """Exit 64, with port, address and option."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        asked = _dashboard(two[0], "--port", port)
    assert asked.exit_code == 64
    assert _flat(asked.stderr) == (
        f"autohas: port {port} of 127.0.0.1 is in use: choose another with --port N, or --port 0 for any that is free"
    )


def test_a_host_that_is_not_of_this_machine_is_a_sentence(two: tuple[Path, Path]) -> None:
    """An address of the documentation's range."""
    asked = _dashboard(two[0], "--port", 0, "--host", "192.0.2.1")
    assert asked.exit_code == 64
    assert "--host 192.0.2.1: no page can be served at this address" in _flat(asked.stderr)


def test_without_the_extra_the_sentence_names_it(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 64; --out works."""
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    asked = _dashboard(two[0])
    assert asked.exit_code == 64
    assert _flat(asked.stderr) == (
        f"autohas: the page needs the package optuna_dashboard, which is not installed: {install_hint('dashboard')}; --out FILE needs no"
        " more than the trainer has"
    )
    assert _dashboard(two[0], "--out", two[0] / "x.journal").exit_code == 0


def _ask(application: _GrowingApplication, path: str) -> Any:
    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    return json.loads(b"".join(application(environ, lambda *_: lambda _: None)))


def test_a_search_that_runs_is_read_again_when_its_history_has_grown(tmp_path: Path) -> None:
    """A half-written line waits; when the result is there, what was running is over, and each study keeps its number."""
    folder = write_search(tmp_path / "running", "demo", RACE[:3], is_finished=False)
    whole = write_search(tmp_path / "finished", "demo", (*supernet(2), *RACE))
    application = _GrowingApplication(resolve_sources([str(folder)]))

    def states() -> list[str]:
        return [trial["state"] for trial in _ask(application, "/api/studies/0")["trials"]]

    names = [study["study_name"] for study in _ask(application, "/api/studies")["study_summaries"]]
    assert (states(), names) == (["Running"] * 3, ["running", "running: first rung", "running: supernet"])
    history = (whole / HISTORY_FILE).read_bytes()
    (folder / HISTORY_FILE).write_bytes(history[:-20])
    assert states() == ["Complete", "Running", "Running", "Running"]
    (folder / HISTORY_FILE).write_bytes(history)
    shutil.copy(whole / "result.json", folder)
    assert states() == ["Complete", "Complete", "Pruned", "Pruned"]
    assert [study["study_name"] for study in _ask(application, "/api/studies")["study_summaries"]] == names
    assert len(_ask(application, "/api/studies/2")["trials"]) == 2


@pytest.fixture(scope="module", name="page")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of two searches, as a process of its own."""
    home = tmp_path_factory.mktemp("searches")
    folders = write_search(home / "a", "first", RACE), write_search(home / "b", "second", (*supernet(6), *RACE))
    command = [sys.executable, "-m", "autohas", "dashboard", *map(str, folders), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        levels.leave_out("needs Chromium: apt-get install -y chromium")
    with Browser() as browser:
        yield browser


def test_the_list_shows_the_studies_of_both_searches(page: str, browser: Browser) -> None:
    """Each search and its parts, by name."""
    browser.visit(page)
    browser.wait("document.body.innerText.includes('second: supernet')")
    shown = browser.evaluate("document.body.innerText")
    assert all(
        name in shown for name in ("0. first\n", "1. first: first rung", "2. second\n", "3. second: first rung", "4. second: supernet")
    )


def _plot(id_: str) -> str:
    """An expression that is true when a plot has drawn its data."""
    return f"(document.getElementById('{id_}')?.data ?? []).length > 0 && document.querySelector('#{id_} svg') !== null"


@pytest.mark.parametrize(
    ("path", "plots"),
    [
        ("studies/0", ("plot-history", "graph-intermediate-values", "graph-hyperparameter-importances")),
        ("studies/1/analytics", ("plot-slice", "graph-contour")),
        ("studies/1/smartSelection", ("plot-parallel-coordinate",)),
        ("studies/4", ("plot-history", "graph-hyperparameter-importances")),
        ("compare-studies?ids=1,3", ("plot-history", "plot-edf-0")),
    ],
)
def test_a_page_draws_its_plots(page: str, browser: Browser, path: str, plots: tuple[str, ...]) -> None:
    """History, rungs, importance, contour, parallel coordinates, two searches side by side."""
    browser.visit(page + path)
    assert [browser.wait(_plot(plot)) for plot in plots] == [True] * len(plots)


def test_both_searches_are_in_one_plot(page: str, browser: Browser) -> None:
    """The page that compares has the points of each."""
    browser.visit(f"{page}compare-studies?ids=1,3")
    browser.wait(_plot("plot-history"))
    names = browser.wait(
        "document.getElementById('plot-history').data.length >= 4 && document.getElementById('plot-history').data.map(d => d.name)"
    )
    assert {name.rpartition(" of ")[2] for name in names} == {"first: first rung", "second: first rung"}


def test_trials_have_their_candidates_and_the_winner_is_marked(page: str, browser: Browser) -> None:
    """The list of the first search with the page of trial 1: its states, and the candidate that won."""
    browser.visit(f"{page}studies/0/trials?numbers=1")
    browser.wait("document.body.innerText.includes('winner yes')")
    lines = browser.evaluate("document.body.innerText").split("\n")
    assert [(lines[lines.index(f"Trial {number}") + 1]) for number in range(4)] == ["Complete", "Complete", "Pruned", "Pruned"]
    assert {"candidate argmax", "learning_rate 0.3", "111 0.6", "1000 0.91"} <= set(lines)
