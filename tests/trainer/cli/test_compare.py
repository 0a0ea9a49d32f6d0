"""`autohas compare` with real, tiny searches: runs, resume, refusals, and what becomes of failures and noise."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from autohas_api.accept.acceptance import accept
from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli import comparing
from autohas_trainer.cli.app import app
from autohas_trainer.comparison.record import Comparison
from autohas_trainer.events import Event, StepRecord
from autohas_trainer.folder_lock import hold_folder
from autohas_trainer.provenance import digest_file
from autohas_trainer.reporting.sinks.progress_bar import BarSink
from engine_fixtures import Killed, Stop

RATE = {"name": "learning_rate", "continuous": {"min": "0.03", "max": "3", "scale": "Log", "numBases": 3}}
ONE_RATE = {"name": "optimizer", "categorical": {"choices": ["sgd"]}}
METHODS = ["search", "random-halving", "default-as-long"]


def _document(**fields: Any) -> dict[str, Any]:
    document = with_change(a_search("small"), "spec.budget.trainings", "2.5")
    for field, value in fields.items():
        document = with_change(document, "spec." + field.replace("__", "."), value)
    return document


def _file(folder: Path, **fields: Any) -> Path:
    path = folder / "search.yaml"
    path.write_text(yaml_file.dump(_document(**fields)))
    return path


def _autohas(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _task(folder: Path, num_seeds: int = 1, **fields: Any) -> comparing.Comparing:
    search, _ = accept(_document(**fields))
    folder.mkdir(exist_ok=True)
    return comparing.Comparing(search=search, folder=folder, num_seeds=num_seeds, threads=1, command="autohas compare search.yaml")


def _compare(task: comparing.Comparing) -> Comparison:
    return comparing.compare(task, Stop(), Console(quiet=True))


def _ends(folder: Path) -> dict[str, str]:
    """The digest of each run's result."""
    return {path.parent.parent.name: json.loads(path.read_text())["digests"]["result"] for path in folder.glob("*/*/result.json")}


def _flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished comparison with one seed, and `search.yaml` next to it."""
    folder = tmp_path_factory.mktemp("compared")
    printed = _autohas("compare", _file(folder), "--seeds", 1, "--out", folder / "out", "-o", "json")
    assert printed.exit_code == 0, printed.output
    (folder / "answer.json").write_text(printed.stdout)
    return folder / "out"


@pytest.fixture
def copied(compared: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copy(compared.parent / "search.yaml", tmp_path)
    return Path(shutil.copytree(compared, tmp_path / "out"))


def test_the_first_run_is_the_search_itself(compared: Path, tmp_path: Path) -> None:
    """`autohas run` of the same file gives the same digest; every method has a folder, a score and nearly the whole budget."""
    assert _autohas("run", compared.parent / "search.yaml", "--out", tmp_path / "alone").exit_code == 0
    alone = json.loads((tmp_path / "alone" / "result.json").read_text())
    record = json.loads((compared / "compare.json").read_text())

    assert set(_ends(compared)) == set(METHODS)
    assert _ends(compared)["search"] == alone["digests"]["result"]
    assert [run["method"] for run in record["runs"]] == METHODS
    assert all(2 < run["trainings"] < 2.8 for run in record["runs"]), [run["trainings"] for run in record["runs"]]
    assert json.loads((compared / "default-as-long" / "seed-0" / "result.json").read_text())["training"]["steps"] == round(2.5 * 27)


def test_the_answer_and_the_page_have_the_record_s_numbers(compared: Path) -> None:
    """`-o json` is compare.json with a folder; the page has every score and the first sentence as its heading."""
    record, answer = (json.loads(path.read_text()) for path in (compared / "compare.json", compared.parent / "answer.json"))
    page = (compared / "compare.html").read_text()

    assert answer["comparison"] == record
    assert (answer["exitCode"], answer["name"]) == (0, "small")
    assert [left["title"] for left in record["leftOut"]] == ["TPE with halving"]
    assert f"<h1>{record['sentences'][0]}</h1>" in page
    assert all(f"{100 * run['test']:.2f}" in page for run in record["runs"])
    assert "--seeds 3 or more" in page


def test_the_file_may_name_the_seeds(copied: Path) -> None:
    """`algorithm.compare.seeds` stands in for --seeds, and the comparison is that of the file without it."""
    path = copied.parent / "search.yaml"
    path.write_text(yaml_file.dump(_document(algorithm__compare={"seeds": 1})))
    before = (copied / "compare.json").read_text()
    printed = _autohas("compare", path, "--out", copied, "--resume")

    assert printed.exit_code == 0, printed.output
    assert json.loads((copied / "compare.json").read_text()) == json.loads(before)


def test_a_file_that_asks_for_a_comparison_is_not_run_as_a_search(tmp_path: Path) -> None:
    """`autohas run` names both ways on; validate says what the comparison costs."""
    path = _file(tmp_path, algorithm__compare={"seeds": 2})
    run, valid = _autohas("run", path, "--out", tmp_path / "out"), _autohas("validate", path)

    assert run.exit_code == 78
    assert "spec.algorithm.compare: asks for a comparison, which autohas run does not make: run autohas compare" in _flat(run.output)
    assert not (tmp_path / "out").exists()
    assert "compare: 3 methods with 2 seeds are 6 runs of 2.5 trainings each, 15 in all" in _flat(valid.output)


def test_each_run_has_a_report_of_its_own(copied: Path) -> None:
    """Also the one without a search, which says that nothing was searched."""
    printed = _autohas("report", copied / "default-as-long" / "seed-0")
    page = _flat((copied / "default-as-long" / "seed-0" / "report.html").read_text())

    assert printed.exit_code == 0, printed.output
    assert "The default configuration reaches <em>" in page
    assert "there is no score over cost to draw: it trains the default alone." in page


def test_a_kill_in_any_run_leaves_the_same_results(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at a step of the second run and, again, in the third: the resumed comparison has the undisturbed digests, runs 1 to 3 once."""
    task, steps = _task(tmp_path / "out"), [0]
    original = BarSink.emit

    def emit(self: BarSink, event: Event) -> None:
        original(self, event)
        steps[0] += isinstance(event, StepRecord)
        if steps[0] in (80, 150):
            steps[0] += 1
            raise Killed

    monkeypatch.setattr(BarSink, "emit", emit)
    for _ in range(2):
        with pytest.raises(Killed):
            _compare(task)
    finished = (task.folder / "search" / "seed-0" / "result.json").stat().st_mtime_ns
    comparison = _compare(task)

    assert comparison.is_finished
    assert _ends(task.folder) == _ends(compared)
    assert (task.folder / "search" / "seed-0" / "result.json").stat().st_mtime_ns == finished
    undisturbed = Comparison.from_json(json.loads((compared / "compare.json").read_text()))
    assert [(run.test, run.selection, run.trainings) for run in comparison.runs] == [
        (run.test, run.selection, run.trainings) for run in undisturbed.runs
    ]


def test_a_stop_keeps_finished_runs_and_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence ends with the command line that continues, and the exit code is that of an interrupted search."""
    original = BarSink.emit

    def emit(self: BarSink, event: Event) -> None:
        original(self, event)
        if isinstance(event, StepRecord):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(BarSink, "emit", emit)
    printed = _autohas("compare", _file(tmp_path), "--seeds", 1, "--out", tmp_path / "out")

    assert printed.exit_code == 75
    assert "stopped on request in stage" in printed.output
    assert f"compare {tmp_path}/search.yaml --seeds 1 --out {tmp_path}/out --resume" in _flat(printed.output)


def test_a_full_disk_is_a_sentence_and_a_resume_goes_on(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """compare.json cannot be written after a second seed's first run: exit 1 and what to do; the run itself is kept."""
    original, writes = Comparison.write, [0]

    def write(self: Comparison, folder: Path, summary: Any) -> None:
        writes[0] += 1
        if writes[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder / "compare.json"))
        original(self, folder, summary)

    monkeypatch.setattr(Comparison, "write", write)
    command = ("compare", copied.parent / "search.yaml", "--seeds", 2, "--out", copied, "--resume")
    printed = _autohas(*command)

    assert printed.exit_code == 1
    assert f"{copied}/compare.json: the disk is full; free space or enlarge the volume, then resume" in _flat(printed.output)
    kept = (copied / "search" / "seed-1" / "result.json").read_bytes()
    again = _autohas(*command)
    assert again.exit_code == 0, again.output
    assert (copied / "search" / "seed-1" / "result.json").read_bytes() == kept
    assert [(run["method"], run["seed"]) for run in json.loads((copied / "compare.json").read_text())["runs"]] == [
        (method, seed) for seed in (0, 1) for method in METHODS
    ]


def test_a_changed_result_is_refused_and_a_removed_one_runs_again(copied: Path) -> None:
    """The sentence names the file and both ways out; without the folder the run gives the same digest again."""
    path = copied / "random-halving" / "seed-0" / "result.json"
    ends = _ends(copied)
    path.write_text(path.read_text().replace('"testScore"', '"testScore" ', 1))
    command = ("compare", copied.parent / "search.yaml", "--seeds", 1, "--out", copied, "--resume")
    printed = _autohas(*command)

    assert printed.exit_code == 65
    assert f"{path} is not the file that the comparison recorded: restore it, or remove the folder {path.parent} and resume" in _flat(
        printed.output
    )
    shutil.rmtree(path.parent)
    assert _autohas(*command).exit_code == 0
    assert _ends(copied) == ends


def test_another_search_s_comparison_is_refused(copied: Path) -> None:
    """With --resume it is of another search; without it the folder is not empty; and so is that of an ordinary search."""
    file = copied.parent / "search.yaml"
    other = _autohas("compare", file, "--set", "training.steps=36", "--seeds", 1, "--out", copied, "--resume")
    again = _autohas("compare", file, "--seeds", 1, "--out", copied)
    plain = _autohas("compare", file, "--seeds", 1, "--out", copied / "search" / "seed-0", "--resume")

    assert (other.exit_code, again.exit_code, plain.exit_code) == (65, 64, 64)
    assert "is the comparison of another search, or of this one before it was changed" in _flat(other.output)
    assert f"{copied} is not empty. To continue the comparison in it:" in _flat(again.output)
    assert "is not empty and holds no comparison" in _flat(plain.output)


def test_a_damaged_record_is_refused(copied: Path) -> None:
    """A cut compare.json is named, with what to do."""
    path = copied / "compare.json"
    path.write_bytes(path.read_bytes()[:100])
    printed = _autohas("compare", copied.parent / "search.yaml", "--seeds", 1, "--out", copied, "--resume")

    assert printed.exit_code == 65
    assert f"{path} cannot be read" in _flat(printed.output)
    assert "restore it, or compare again in another folder" in _flat(printed.output)


@pytest.mark.parametrize(
    ("arguments", "fields", "code", "words"),
    [
        (("--seeds", 0), {}, 2, "Invalid value for '--seeds': Input should be greater than or equal to 1"),
        (("--seeds", 3), {"algorithm__seed": 2**53 - 2}, 64, "--seeds 3: from spec.algorithm.seed 9007199254740990 on, the last seed is"),
        ((), {"searchSpace": {"hyperparameters": [ONE_RATE]}}, 78, "nothing to search"),
        ((), {"budget": {"trainings": "1"}}, 78, "spec.budget.trainings: must be at least"),
    ],
    ids=["no seeds", "seeds beyond the largest", "one configuration", "small budget"],
)
def test_wrong_input_is_refused_before_anything_runs(
    arguments: tuple[object, ...], fields: dict[str, Any], code: int, words: str, tmp_path: Path
) -> None:
    """Each with its sentence, and without a folder."""
    printed = _autohas("compare", _file(tmp_path, **fields), *arguments, "--out", tmp_path / "out")

    assert printed.exit_code == code
    assert words in _flat(printed.output)
    assert not (tmp_path / "out").exists()


def test_runs_that_diverge_are_recorded_as_worst(tmp_path: Path) -> None:
    """A default whose rate is far too high: every run fails, none is dropped, a resume runs none of them again."""
    task = _task(tmp_path / "out", task__recipe__learningRate="1e12")
    comparison = _compare(task)

    assert [(run.method, run.test) for run in comparison.runs] == [(method, None) for method in METHODS]
    record = json.loads((task.folder / "compare.json").read_text())
    assert record["sentences"][0] == "No method finished on every seed, so that none has a mean over all of them."
    assert all("diverged" in run["failure"] for run in record["runs"])
    assert "No run has a score to draw" in (task.folder / "compare.html").read_text()
    assert _compare(task) == comparison


def test_own_code_without_a_seed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that takes its first weights from the system's entropy gives the default other scores in each search: it is said."""
    (tmp_path / "unseeded.py").write_text(
        "import random, torch\n"
        "class Network(torch.nn.Sequential):\n"
        "    def __init__(self, input_shape, num_outputs):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, num_outputs))\n"
        "        generator = torch.Generator().manual_seed(random.SystemRandom().getrandbits(32))\n"
        "        torch.nn.init.normal_(self[1].weight, std=3.0, generator=generator)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    fields: dict[str, Any] = {"task__model": {"entrypoint": "unseeded:Network"}, "searchSpace": {"hyperparameters": [RATE]}}
    comparison = _compare(_task(tmp_path / "out", **fields))

    assert len({run.default_test for run in comparison.runs if run.default_test is not None}) == 2
    said = json.loads((tmp_path / "out" / "compare.json").read_text())["sentences"]
    assert any("different test scores in searches with the same seed (0): your code or the device" in sentence for sentence in said)


def test_a_run_that_another_process_continues_is_left_to_it(copied: Path) -> None:
    """`autohas run --resume` in the folder of a run has its lock: the comparison names the process and changes nothing there."""
    place = copied / "search" / "seed-1"
    place.mkdir()
    with hold_folder(place):
        printed = _autohas("compare", copied.parent / "search.yaml", "--seeds", 2, "--out", copied, "--resume")

    assert printed.exit_code != 0
    assert f"{place} is in use: process {os.getpid()} on host" in _flat(printed.output)
    assert [path.name for path in place.iterdir()] == [".lock"]


def test_other_data_are_refused_before_the_next_run(copied: Path) -> None:
    """The finished runs read other digits: the first run of a second seed does not begin."""
    command = ("compare", copied.parent / "search.yaml", "--seeds", 2, "--out", copied, "--resume")
    for path in copied.glob("*/*/result.json"):
        record = json.loads(path.read_text())
        record["data"]["facts"]["rows"] = "99"
        path.write_text(json.dumps(record))
    compared = json.loads((copied / "compare.json").read_text())
    for run in compared["runs"]:
        run["fileDigest"] = digest_file(copied / run["method"] / "seed-0" / "result.json")
    (copied / "compare.json").write_text(json.dumps(compared))
    printed = _autohas(*command)

    assert printed.exit_code == 65
    assert "the data are not those that the finished runs of this comparison were trained with (rows 99 → 1347)" in _flat(printed.output)
