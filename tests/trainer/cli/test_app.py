"""The `autohas` command, as people type it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autohas_api.base import yaml_file
from autohas_api.base.model import Rule
from autohas_api.spec.task import Task
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli.app import app
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.folder_lock import LOCK_FILE, hold_folder

SCRIPT = [sys.executable, "-c", "from autohas_trainer.cli.app import main; main()"]


def _search_file(folder: Path, **fields: object) -> Path:
    document = a_search("small")
    for field, value in fields.items():
        document = with_change(document, field.replace("__", "."), value)
    path = folder / "search.yaml"
    path.write_text(yaml_file.dump(document))
    return path


def _autohas(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """A small search run to its end: file, folder, what was printed."""
    folder = tmp_path_factory.mktemp("laptop")
    of_a_cluster = {
        "spec__checkpoint": {"storage": {"emptyDir": {}}},
        "spec__trainer": {"device": "CPU", "image": "x"},
        "spec__cleanup": {"ttlSecondsAfterFinished": 60},
        "spec__monitoring": {"perChoiceLimit": 9},
    }
    file = _search_file(folder, **of_a_cluster)
    out = folder / "out"
    return file, out, _autohas("run", file, "--set", "budget.trainings=4", "--seed", 3, "--out", out)


def test_a_run_ends_with_the_answer_and_its_files(finished: tuple[Path, Path, Result]) -> None:
    """Configuration and score next to the default's on the terminal; five files in the folder."""
    _, out, printed = finished
    assert printed.exit_code == 0, printed.output
    assert re.search(r"Test accuracy \d+\.\d\d %; the default configuration: \d+\.\d\d %|Nothing beat the default", printed.output)
    unused = "spec.trainer.image, spec.checkpoint.storage, spec.cleanup, spec.monitoring.perChoiceLimit"
    assert f"Not used on this machine: {unused}" in _flat(printed.output)
    assert {"result.json", "config.yaml", "model.safetensors", "history.jsonl", "report.html"} <= {p.name for p in out.iterdir()}
    record = json.loads((out / "result.json").read_text())
    assert record["search"]["spec"]["algorithm"]["seed"] == 3
    page = (out / "report.html").read_text()
    assert f"search.yaml --set budget.trainings=4 --set algorithm.seed=3 --out {out}" in page


def test_a_used_folder_is_not_overwritten(finished: tuple[Path, Path, Result]) -> None:
    """The refusal names the command that continues."""
    file, out, _ = finished
    refused = _autohas("run", file, "--out", out)
    assert refused.exit_code == 64
    assert f"{out} is not empty" in _flat(refused.stderr)
    assert f"autohas run {file} --out {out} --resume" in refused.stderr


def test_resuming_a_finished_search_shows_it_again(finished: tuple[Path, Path, Result]) -> None:
    """Nothing is trained twice."""
    file, out, _ = finished
    before = (out / "history.jsonl").stat().st_mtime_ns
    again = _autohas("run", file, "--set", "budget.trainings=4", "--seed", 3, "--out", out, "--resume")
    assert again.exit_code == 0
    assert "holds the finished search already" in " ".join(again.output.split())
    assert (out / "history.jsonl").stat().st_mtime_ns == before


def test_resuming_nothing_begins_and_says_so(tmp_path: Path) -> None:
    """A mistyped folder is not silently a new search."""
    begun = _autohas("run", _search_file(tmp_path), "--out", tmp_path / "new", "--resume")
    assert begun.exit_code == 0
    assert f"{tmp_path / 'new'} holds nothing to continue from: the search starts." in _flat(begun.output)


def test_resuming_another_search_is_refused(finished: tuple[Path, Path, Result]) -> None:
    """A checkpoint of another seed is not continued."""
    file, out, _ = finished
    refused = _autohas("run", file, "--seed", 4, "--out", out, "--resume")
    assert refused.exit_code == 66
    assert "it belongs to another search" in _flat(refused.stderr)


def test_ctrl_c_prints_the_command_that_goes_on_to_the_same_result(
    finished: tuple[Path, Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 75 after the first step; the printed command, typed as it stands, ends with the undisturbed search's digest."""
    file, out, _ = finished
    with monkeypatch.context() as patch:
        patch.setattr(StopOnSignal, "install", lambda stop: setattr(stop, "is_requested", True))
        stopped = _autohas("run", file, "--set", "budget.trainings=4", "--seed", 3, "--out", tmp_path / "out")
    assert stopped.exit_code == 75
    assert "stopped on request in stage Lanes at step 1; a checkpoint is written. Continue with" in stopped.stderr
    program, *arguments = shlex.split(stopped.stderr.strip().splitlines()[-1])
    assert program == "autohas"
    assert _autohas(*arguments).exit_code == 0
    digests = [json.loads((folder / "result.json").read_text())["digests"] for folder in (out, tmp_path / "out")]
    assert digests[0] == digests[1]


def test_a_stricter_version_finishes_a_search_that_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that came with an update refuses a new search and neither a resumed one nor the look at its result."""
    file = _search_file(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(StopOnSignal, "install", lambda stop: setattr(stop, "is_requested", True))
        stopped = _autohas("run", file, "--out", tmp_path / "out")
    monkeypatch.setattr(Task, "rules", (Rule(message="is too easy", holds=lambda _: False),))
    refused = _autohas("run", file, "--out", tmp_path / "new", "--resume")
    finished, shown = _autohas("run", file, "--out", tmp_path / "out", "--resume"), _autohas("report", tmp_path / "out")

    assert (stopped.exit_code, refused.exit_code) == (75, 78)
    assert "is too easy" in refused.stderr
    assert (finished.exit_code, shown.exit_code) == (0, 0)


def test_a_report_is_written_again(finished: tuple[Path, Path, Result]) -> None:
    """From the files alone."""
    _, out, _ = finished
    (out / "report.html").unlink()
    written = _autohas("report", out)
    assert written.exit_code == 0
    assert (out / "report.html").exists()


def test_a_report_of_an_unfinished_search_says_how_to_finish(tmp_path: Path) -> None:
    """There is nothing to report yet."""
    refused = _autohas("report", tmp_path)
    assert refused.exit_code == 64
    assert "has not finished; continue it with autohas run FILE" in _flat(refused.stderr)


def test_a_dry_run_trains_nothing_and_says_what_it_would_cost(tmp_path: Path) -> None:
    """Space, steps per stage, sizes and time; no folder appears."""
    shown = _autohas("run", _search_file(tmp_path), "--dry-run", "--out", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    words = _flat(shown.output)
    assert re.search(r"small: [\d,]+ configurations \(2 hyperparameters, 5 architecture decisions\), algorithm AutoHAS", words)
    assert re.search(r"Lanes \d+ steps \S+ trainings Race \d+ steps \S+ trainings together \d+ steps planned: \d\.\d\d", words)
    assert re.search(r"default network [\d,]+, largest [\d,]+", words)
    assert re.search(r"memory: the largest network takes \d+\.\d MiB in training at batch 64", words)
    assert re.search(r"about \S+.* on this machine \(cpu, \d+ threads?\) if every step took as long as the default network's;", words)
    assert "larger candidates take longer per step: budget.maxActiveSeconds limits the time" in words
    assert not (tmp_path / "out").exists()


def test_a_folder_in_which_another_process_works_is_refused(finished: tuple[Path, Path, Result], tmp_path: Path) -> None:
    """Exit 64 before PyTorch is loaded, with the process to wait for and the way out; a report is read meanwhile."""
    file, out, _ = finished
    with hold_folder(out):
        refused = _autohas("run", file, "--set", "budget.trainings=4", "--seed", 3, "--out", out, "--resume")
        shown = _autohas("report", out)
    resumed = _autohas("run", file, "--set", "budget.trainings=4", "--seed", 3, "--out", out, "--resume")
    with hold_folder(tmp_path):  # begun at the same moment: nothing is in the folder yet
        beginner = _autohas("run", file, "--out", tmp_path)

    assert (refused.exit_code, shown.exit_code, resumed.exit_code, beginner.exit_code) == (64, 0, 0, 64)
    assert f"autohas: {out} is in use: process {os.getpid()} on host {socket.gethostname()} has worked in it since" in _flat(refused.stderr)
    assert "wait until it ends, or stop it, or choose another folder with --out DIR" in _flat(refused.stderr)
    assert "loading PyTorch" not in refused.output
    assert f"{tmp_path} is in use" in _flat(beginner.stderr)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_a_folder_in_use_is_not_called_empty(tmp_path: Path) -> None:
    """The process that works in it may write its first checkpoint at any moment."""
    (tmp_path / "out").mkdir()
    with hold_folder(tmp_path / "out"):
        refused = _autohas("run", _search_file(tmp_path), "--out", tmp_path / "out", "--resume")

    assert refused.exit_code == 64
    assert "is in use: process" in _flat(refused.stderr)
    assert "holds nothing to continue from" not in _flat(refused.output)


def test_missing_data_ends_with_65(tmp_path: Path) -> None:
    """The sentence of the data reader, no traceback."""
    file = _search_file(tmp_path, spec__task__data={"name": "idx", "path": "/no/such/folder"})
    refused = _autohas("run", file, "--out", tmp_path / "out")
    assert refused.exit_code == 65
    assert refused.stderr.startswith("autohas: /no/such/folder is not a folder")


def test_validate_prints_every_problem_with_its_place(tmp_path: Path) -> None:
    """One line per problem: file, line, path, what is allowed."""
    good = _search_file(tmp_path)
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("trainings: '4'", "trainings: 5e0").replace("steps: 27", "steps: 2"))
    result = _autohas("validate", good, bad)
    assert result.exit_code == 78
    assert "search.yaml: small is valid" in _flat(result.output)
    problems = result.stderr.strip().splitlines()
    assert len(problems) == 2
    assert re.fullmatch(rf'{bad}:\d+: spec\.budget\.trainings: .*5e0 without quotes is the number 5: write "5e0"', problems[0])
    assert re.fullmatch(rf"{bad}:\d+: spec\.training\.steps: .*should be greater than or equal to 9", problems[1])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: small", "name: small.one", 'metadata.name: Invalid value: "small.one": must be a DNS label of at most 46 characters'),
        ("name: small", "name: y", 'must be of type string: y without quotes is a YAML boolean: write "y"'),
        ("name: small", "nam: small", "metadata.nam: unknown field; known are annotations"),
        ("name: small", "name: small\n  namespace: A B", 'metadata.namespace: Invalid value: "A B"'),
        ("name: small", "name: small\n  labels: {bad key!: x}", "metadata.labels: keys of labels must be a name of at most 63"),
        (
            "autohas.dev/v1alpha1",
            "autohas.dev/v1",
            'apiVersion: Unsupported value: "autohas.dev/v1": supported values: "autohas.dev/v1alpha1"',
        ),
        ("AutoHASSearch", "AutoHasSearch", 'kind: Unsupported value: "AutoHasSearch": supported values: "AutoHASSearch"'),
        ("apiVersion: autohas.dev/v1alpha1\n", "", 'apiVersion: Required value: must be "autohas.dev/v1alpha1"'),
        ("training:", "trainings:", 'spec.trainings: unknown field; did you mean "training"?'),
    ],
)
def test_validate_names_file_line_and_value_at_the_root_too(tmp_path: Path, old: str, new: str, said: str) -> None:
    """As for every field of spec; the sound file next to it is still checked."""
    good, bad = _search_file(tmp_path), tmp_path / "bad.yaml"
    text = good.read_text()
    assert old in text
    bad.write_text(text.replace(old, new))
    result = _autohas("validate", bad, good)

    assert result.exit_code == 78
    assert "small is valid" in _flat(result.output)
    (problem,) = [line for line in result.stderr.strip().splitlines() if said in line]
    assert re.match(rf"{bad}:\d+: ", problem)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "standard input: must hold exactly one AutoHASSearch: it is empty"),
        ("- a\n", "standard input:1: must be an object with apiVersion, kind, metadata and spec"),
        ("kind: Job\n---\nkind: Pod\n", "found 0 in 2 documents (Job at line 1, Pod at line 3)"),
        (json.dumps(a_search()), "standard input: example is valid"),
        (json.dumps(with_change(a_search(), "metadata.name", "A"), indent=1), "standard input:5: metadata.name: Invalid value"),
    ],
)
def test_validate_reads_standard_input(text: str, said: str) -> None:
    """As `kubectl apply -f -`: YAML or JSON."""
    result = CliRunner().invoke(app, ["validate", "-"], input=text)

    assert said in _flat(result.output)
    assert (result.exit_code == 0) == ("is valid" in said)


def test_checks_and_help_load_no_torch(tmp_path: Path) -> None:
    """Answers about text come at once."""
    file = _search_file(tmp_path)
    code = (
        "import sys; from typer.testing import CliRunner; from autohas_trainer.cli.app import app\n"
        f"assert CliRunner().invoke(app, ['validate', {str(file)!r}]).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0\n"
        "print(sorted({'torch', 'matplotlib', 'sklearn', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=400)
    assert done.stdout.strip() == "[]"


def test_a_wrong_option_is_a_usage_error() -> None:
    """Exit 64 like every other misuse."""
    done = subprocess.run([*SCRIPT, "run", "--no-such-option"], capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 64
    assert "No such option" in done.stderr


@pytest.mark.parametrize("out", ["/proc/x", "/dev/null/x", "/proc/1/x/y"])
def test_a_folder_that_cannot_be_made_is_a_sentence(out: str, tmp_path: Path) -> None:
    """No traceback: the folder and what to do."""
    refused = _autohas("run", _search_file(tmp_path), "--out", out)
    assert refused.exit_code in (1, 64)
    assert "Traceback" not in refused.stderr
    assert f"autohas: {out}" in _flat(refused.stderr)
    assert re.search(r"choose another with --out DIR|move that file out of the way", _flat(refused.stderr))


def test_the_version_can_be_named_in_a_bug_report() -> None:
    """`autohas --version` prints the distribution's version and nothing else."""
    assert _autohas("--version").stdout.strip() == importlib.metadata.version("autohas")


def test_a_printed_command_starts_as_the_program_was_started(tmp_path: Path) -> None:
    """Started as .venv/bin/autohas, the hint for a used folder begins so too: it runs as it stands."""
    file, out = _search_file(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "x").touch()
    started = "import sys; sys.argv[0] = '.venv/bin/autohas'; from autohas_trainer.cli.app import main; main()"
    refused = subprocess.run([sys.executable, "-c", started, "run", file, "--out", out], capture_output=True, text=True, check=False)

    assert refused.returncode == 64
    assert f"\n  .venv/bin/autohas run {file} --out {out} --resume\n" in refused.stderr


@pytest.mark.parametrize("verb", ["run", "validate", "report", "retrain", "conformance"])
def test_help_shows_examples_line_by_line(verb: str) -> None:
    """Each verb's help ends with commands to type, and no mark-up is left in it."""
    text = _autohas(verb, "--help").stdout

    assert "\\b" not in text
    assert re.search(rf"\n +autohas {verb} \S", text)


def test_conformance_changes_the_search_that_it_checks(tmp_path: Path) -> None:
    """--set exchanges the template; with an entrypoint, which has no fields, it is refused."""
    file = _search_file(tmp_path)
    checked = CliRunner().invoke(app, ["conformance", str(file), "--set", "task.model.template=conv-small"])
    refused = CliRunner().invoke(app, ["conformance", "mine.data:Blobs", "--set", "training.steps=9"])

    assert checked.exit_code == 0, checked.output
    assert "model conv-small" in checked.output
    assert refused.exit_code == 64
    assert "--set changes a search file, and mine.data:Blobs is none" in " ".join(refused.output.split())


def test_conformance_names_file_and_line_of_a_wrong_field(tmp_path: Path) -> None:
    """As every command that reads a search does."""
    file = _search_file(tmp_path)
    refused = CliRunner().invoke(app, ["conformance", str(file), "--set", "spec.task.model.template=nope"])

    assert refused.exit_code == 78
    assert re.search(rf"{re.escape(file.name)}:\d+: spec\.task\.model\.template: ", refused.output.replace("\n", ""))


def test_a_name_that_is_an_emoji_stays_text() -> None:
    """Rich would show `:X:` of an entrypoint as a picture."""
    printed = CliRunner().invoke(app, ["conformance", "nope.mod:X"])

    assert "nope.mod:X: there is no module nope" in " ".join(printed.output.split())
