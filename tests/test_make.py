"""The commands of the Makefile: what they run, what they print, how they end."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testcluster.waiting import until

ROOT = Path(__file__).parents[1]
RUN_ALL = ROOT / "tests" / "run-all"


def run_all(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RUN_ALL, *words], capture_output=True, text=True, check=False)


def summary(ended: subprocess.CompletedProcess[str]) -> str:
    """With every number of minutes as 0.0: how long a part takes is not what these tests are about."""
    return re.sub(r"\d+\.\d min", "0.0 min", ended.stdout.partition("=== summary\n")[2])


def test_every_level_runs_and_the_summary_names_what_failed(tmp_path: Path) -> None:
    """The second of three fails (as `prepare` may): the third runs, the exit code is 1."""
    ended = run_all("first", "true", "prepare", "exit 7", "third", f"touch {tmp_path}/third")

    assert ended.returncode == 1
    assert (tmp_path / "third").exists()
    assert summary(ended) == (
        "  first: passed in 0.0 min\n  prepare: FAILED with exit code 7 after 0.0 min\n  third: passed in 0.0 min\n  in all: 0.0 min\n"
    )


def test_levels_that_all_pass_end_with_0() -> None:
    """A summary all the same, so that a green run says what it ran."""
    ended = run_all("first", "true", "second", "true")

    assert (ended.returncode, summary(ended)) == (0, "  first: passed in 0.0 min\n  second: passed in 0.0 min\n  in all: 0.0 min\n")


def test_a_part_in_the_background_runs_with_the_next_and_ends_before_what_waits_for_it(tmp_path: Path) -> None:
    """It and the next part each wait for a file of the other; its failure counts, and its output comes whole, after that of the next."""
    meet = f"touch {tmp_path}/%s; until [ -e {tmp_path}/%s ]; do sleep 0.05; done; echo %s met"
    background, then = meet % ("a", "b", "background"), meet % ("b", "a", "next")
    ended = run_all(
        "&background", f"{background}; touch {tmp_path}/end; exit 3", "next", then, "wait", "background", "last", f"test -e {tmp_path}/end"
    )

    assert ended.returncode == 1
    assert ended.stdout.index("\nnext met\n") < ended.stdout.index("\nbackground met\n") < ended.stdout.index("=== last")
    assert summary(ended).splitlines() == [
        "  background: FAILED with exit code 3 after 0.0 min",
        "  next: passed in 0.0 min",
        "  last: passed in 0.0 min",
        "  in all: 0.0 min",
    ]


def test_what_still_runs_in_the_background_is_awaited_at_the_end(tmp_path: Path) -> None:
    """No exit before it has ended, and its exit code counts."""
    go_on = f"until [ -e {tmp_path}/go-on ]; do sleep 0.05; done"
    ended = run_all("&background", f"{go_on}; exit 5", "last", f"touch {tmp_path}/go-on")

    assert (ended.returncode, summary(ended).splitlines()[0]) == (1, "  background: FAILED with exit code 5 after 0.0 min")


def test_the_summary_names_the_failed_tests_of_a_level(tmp_path: Path) -> None:
    """By the ids that pytest takes, failures and errors of fixtures, each once; a later level does not repeat them."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef broken(): raise OSError\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert False\n"
        "def test_cannot_begin(broken): pass\n"
    )
    pytest_ = f"cd {tmp_path} && PYTHONPATH={ROOT}/tests/cluster {sys.executable} -m pytest -q -p no:cacheprovider"
    ended = run_all("pure", f"{pytest_} -n 2 test_x.py", "node", "exit 3")

    lines = [re.sub(r" after .*", "", line) for line in summary(ended).splitlines()]
    assert lines[:-1] == [
        "  pure: FAILED with exit code 1",
        "    test_x.py::test_cannot_begin",
        "    test_x.py::test_fails",
        "  node: FAILED with exit code 3",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_at_its_level(tmp_path: Path, number: signal.Signals) -> None:
    """After Ctrl-C, or SIGTERM from a CI, neither the levels after it run nor what ran in the background; exit 130, as a shell's."""
    background = f"trap 'touch {tmp_path}/ended; exit' INT TERM; touch {tmp_path}/background; while true; do sleep 0.05; done"
    first = f"until [ -e {tmp_path}/background ]; do sleep 0.05; done; touch {tmp_path}/first; exec sleep 600"
    words = ["&background", background, "first", first, "second", f"touch {tmp_path}/second"]
    with subprocess.Popen([RUN_ALL, *words], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        until((tmp_path / "first").exists, what="the first level runs", deadline_s=30)
        os.killpg(process.pid, number)  # a terminal's Ctrl-C goes to the whole group
        _, said = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted in first; what comes after it did not run" in said
    assert (tmp_path / "ended").exists()
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        ("test", ["&in-process", "&prepare-node", "prepare", "control-plane", "wait", "node"]),
        ("check", ["&types", "lint", "format", "layers", "generated"]),
    ],
)
def test_verbs_of_several_parts_run_all_of_them(verb: str, names: list[str]) -> None:
    """One line of `make` per verb, which passes all parts in this order to tests/run-all."""
    shown = subprocess.run(["make", "-C", ROOT, "--dry-run", verb], capture_output=True, text=True, check=True)
    (line,) = (line for line in shown.stdout.replace("\\\n", " ").splitlines() if "tests/run-all" in line)

    assert shlex.split(line)[1::2] == names


@pytest.fixture(name="checkout")
def _checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile's inputs and a .venv whose programs write down how they were called."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "uv", "autohas"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n')
        (programs / name).chmod(0o755)
    return tmp_path


def make(checkout: Path, verb: str, stderr: int = subprocess.STDOUT) -> tuple[str, str]:
    """What `make VERB` printed, and how it called uv."""
    (checkout / "calls").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ended = subprocess.run(
        ["make", "-C", checkout, "--no-print-directory", verb],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
        stderr=stderr,
    )
    return ended.stdout, "\n".join(line for line in (checkout / "calls").read_text().splitlines() if line.startswith("uv "))


def test_the_demo_installs_only_the_trainer_and_setup_completes_it(checkout: Path) -> None:
    """Each once: a demo after the set-up finds everything there."""
    _, demo = make(checkout, "demo")
    _, setup = make(checkout, "setup")
    _, again = make(checkout, "demo")

    assert demo.endswith("-e .[trainer]")
    assert setup.endswith("-e .[operator,trainer,export,dev]")
    assert again == ""


def test_a_set_up_brings_what_the_demo_needs(checkout: Path) -> None:
    """Who has run `make setup` installs nothing for the demo."""
    make(checkout, "setup")

    assert make(checkout, "demo")[1] == ""


@pytest.mark.parametrize("verb", ["demo", "setup"])
def test_an_installation_says_what_it_downloads_and_echoes_no_recipe(checkout: Path, verb: str) -> None:
    """The extras, the size and the disk in two lines, and nothing else from make."""
    printed, _ = make(checkout, verb)

    first, second = printed.splitlines()
    assert re.fullmatch(r"Installing into \.venv: AutoHAS \[[a-z,]*trainer[a-z,]*\], pinned in constraints.txt\.", first)
    assert "downloads about 3 GB" in second
    assert "takes 6 GB of disk" in second


def test_uv_shows_its_progress_on_a_terminal_only(checkout: Path) -> None:
    """A log of CI gets neither bars nor a list of a hundred packages."""
    _, in_a_log = make(checkout, "demo")
    (checkout / ".venv" / ".installed-trainer").unlink()
    ours, theirs = pty.openpty()
    _, on_a_terminal = make(checkout, "demo", stderr=theirs)
    os.close(ours)
    os.close(theirs)

    assert in_a_log.startswith("uv pip install --quiet ")
    assert "--quiet" not in on_a_terminal
    assert on_a_terminal.startswith("uv pip install ")
