"""A search that continues elsewhere: other data end it, another environment is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from autohas_api.testing.rejections import with_change
from autohas_trainer import provenance
from autohas_trainer.cli.app import app
from autohas_trainer.engine.checkpointing.checkpoint import FORMAT
from autohas_trainer.errors import CheckpointError, DataError
from autohas_trainer.events import StepRecord
from autohas_trainer.provenance import Environment, code_digests, digest_array
from autohas_trainer.reporting.sinks.result_files import read_result
from custom_code_fixtures import Plain
from custom_search_fixtures import NOISE, searched
from engine_fixtures import Killed, MemorySink, checkpoint_folders, search, small_search

_HERE = Environment.here


def _write_table(path: Path, rows: int = 900, flipped: int = 0, shift: float = 0.0) -> None:
    """Two classes that differ in their first number; the first labels may be flipped and the numbers shifted."""
    numbers = np.random.default_rng(0).standard_normal((rows, 3)).round(3) + shift
    classes = ["yes" if (a > shift) != (row < flipped) else "no" for row, (a, _, _) in enumerate(numbers)]
    lines = [f"{a},{b},{c},{label}" for (a, b, c), label in zip(numbers, classes, strict=True)]
    path.write_text("\n".join(["a,b,c,label", *lines]) + "\n", encoding="utf-8")


def _document(folder: Path) -> dict[str, Any]:
    data = {"name": "csv", "path": str(folder / "data.csv"), "arguments": {"target": "label"}}
    return with_change(small_search(), "spec.task.data", data)


def _killed(document: dict[str, Any], workdir: Path, step: int = 60) -> None:
    def kill(record: StepRecord) -> None:
        if record.step == step:
            raise Killed

    with pytest.raises(Killed):
        search(document, workdir, MemorySink(on_step=kill))


def _reverse(path: Path) -> None:
    heading, *rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([heading, *reversed(rows)]) + "\n", encoding="utf-8")


def _exchange_columns(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("a,b,c", "a,c,b"), encoding="utf-8")


def test_another_file_of_pretrained_weights_ends_a_resume(tmp_path: Path) -> None:
    """Candidates of one comparison start from the same weights; the sentence names the file, and with the first one it continues."""
    file, workdir = tmp_path / "weights.safetensors", tmp_path / "out"
    weights = {name: tensor.clone() for name, tensor in Plain((8,), 2).state_dict().items()}
    save_file(weights, file)
    document = with_change(searched("Plain", NOISE), "spec.task.model.pretrained", {"path": str(file)})
    _killed(document, workdir, step=30)

    save_file({name: tensor + 1 for name, tensor in weights.items()}, file)
    with pytest.raises(DataError, match=rf"pretrained\.path {file}: the file is not the one .* restore the file and resume"):
        search(document, workdir, MemorySink())
    save_file(weights, file)

    assert search(document, workdir, MemorySink()).result.test_score is not None


OTHER: dict[str, tuple[Callable[[Path], None], str]] = {
    "rows": (lambda path: _write_table(path, rows=930), r"\(rows 7\d\d → 7\d\d, test rows"),
    "labels": (lambda path: _write_table(path, flipped=5), r"\(other values in .*targets"),
    "values": (lambda path: _write_table(path, shift=0.5), r"\(other values in train inputs, test inputs\)"),
    "order": (_reverse, r"\(other values in train inputs, train targets"),
    "columns": (
        _exchange_columns,
        r"\(columns a, b, c → a, c, b\)",
    ),
}


@pytest.mark.parametrize("case", OTHER)
def test_other_data_end_a_resume(case: str, tmp_path: Path) -> None:
    """Whatever differs in what was read is named with exit 65, and nothing is trained."""
    _write_table(tmp_path / "data.csv")
    _killed(_document(tmp_path), tmp_path / "out")
    change, said = OTHER[case]
    change(tmp_path / "data.csv")
    sink = MemorySink()

    with pytest.raises(DataError, match=f"the data are not those that this search began with {said}") as refused:
        search(_document(tmp_path), tmp_path / "out", sink)
    assert refused.value.exit_code == 65
    assert "restore the files of task.data and resume, or start in a new folder" in str(refused.value)
    assert sink.steps == []


def test_equal_data_elsewhere_continue(tmp_path: Path) -> None:
    """The file was written again and lies in another folder: the same rows are the same data."""
    _write_table(tmp_path / "data.csv")
    _killed(_document(tmp_path), tmp_path / "out")
    (tmp_path / "moved").mkdir()
    _write_table(tmp_path / "moved" / "data.csv")
    sink = MemorySink()
    search(_document(tmp_path / "moved"), tmp_path / "out", sink)

    assert [notice.reason for notice in sink.other_notices] == ["CheckpointRestored"]


def test_another_environment_is_said_once_and_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, processor and custom code: two sentences at the first resume, none at the second, and the search ends."""
    _killed(small_search(), tmp_path, step=40)

    def elsewhere(**given: Any) -> Environment:
        here = _HERE(**given)
        return replace(here, torch="99.0", cpu="Abacus", code={"mine": "sha256:1"})

    monkeypatch.setattr(Environment, "here", elsewhere)
    sinks = [MemorySink(), MemorySink()]
    sinks[0].on_step = _kill_at(80)
    with pytest.raises(Killed):
        search(small_search(), tmp_path, sinks[0])
    search(small_search(), tmp_path, sinks[1])
    here = _HERE(device="cpu", threads=1)
    said = [notice.message for notice in sinks[0].notices if notice.reason == "EnvironmentChanged"]

    assert said == [
        f"continued under torch 99.0, processor Abacus; it began under {here.torch}, {here.cpu}: the results may differ in the last digits",
        (
            "the code of mine is not that which the search began with: candidates from before and after the change are compared all the"
            " same; restore the code, or start in a new folder"
        ),
    ]
    assert [notice.reason for notice in sinks[1].other_notices] == ["CheckpointRestored"]


def _kill_at(step: int) -> Callable[[StepRecord], None]:
    def kill(record: StepRecord) -> None:
        if record.step == step:
            raise Killed

    return kill


def test_a_checkpoint_of_another_version_is_refused_whole(tmp_path: Path) -> None:
    """It is no damage: no older checkpoint takes its place, nothing is renamed, the sentence names both formats and the way out."""
    _killed(small_search(), tmp_path)
    folders = sorted((tmp_path / "checkpoints").rglob("*"))
    manifest = checkpoint_folders(tmp_path)[-1] / "manifest.json"
    record = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**record, "format": FORMAT - 1}), encoding="utf-8")

    said = rf"has format {FORMAT - 1}, AutoHAS \S+ reads format {FORMAT}: let the version that began the search finish it"
    with pytest.raises(CheckpointError, match=said):
        search(small_search(), tmp_path, MemorySink())
    assert sorted((tmp_path / "checkpoints").rglob("*")) == folders


def test_custom_code_is_known_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every imported module of the entrypoint's package counts, others do not."""
    package = tmp_path / "packaged"
    package.mkdir()
    for name in ("__init__", "model", "unused"):
        (package / f"{name}.py").write_text("A = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import packaged.model  # type: ignore[import-not-found]  # noqa: F401, PLC0415 - made above

    digests = []
    for name in ("", "unused", "model"):
        if name:
            (package / f"{name}.py").write_text("A = 2\n", encoding="utf-8")
        digests.append(code_digests(["packaged.model:Net", "packaged:Data"]))

    assert [set(d) for d in digests] == [{"packaged"}] * 3
    assert (digests[0] == digests[1], digests[1] == digests[2]) == (True, False)


def test_arrays_of_equal_bytes_differ_by_shape_and_type() -> None:
    """Six zeros are not 2 x 3 zeros, and not whole zeros."""
    arrays = [np.zeros(6, np.float32), np.zeros((2, 3), np.float32), np.zeros(6, np.int32), np.zeros((2, 3), np.float32).T]

    assert len({digest_array(array) for array in arrays}) == 4
    assert digest_array(np.arange(12).reshape(3, 4)[:, ::2]) == digest_array(np.array([[0, 2], [4, 6], [8, 10]]))


def test_the_processor_is_in_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model name, instruction set and numpy stand in result.json's environment; elsewhere Python's own name does."""
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Abacus 9000 ®\n", encoding="utf-8")
    monkeypatch.setattr(provenance, "_CPU_INFO", file)
    here = Environment.here(device="cpu", threads=1)
    monkeypatch.setattr(provenance, "_CPU_INFO", tmp_path / "absent")

    assert here.cpu == "Abacus 9000 ®"
    assert here.numpy == np.__version__
    assert here.instructions
    assert Environment.here(device="cpu", threads=1).cpu


def test_retraining_says_what_differs_and_keeps_seeds_apart(tmp_path: Path) -> None:
    """Other data than the search's: a sentence. Other data than those of the seeds in the folder: exit 65."""
    _write_table(tmp_path / "data.csv")
    file = tmp_path / "search.yaml"
    file.write_text(json.dumps(_document(tmp_path)), encoding="utf-8")
    run, out = CliRunner().invoke, tmp_path / "out"
    assert run(app, ["run", str(file), "--out", str(out)]).exit_code == 0
    found = read_result(out)
    assert found is not None
    assert found.data is not None
    assert f"dataDigest: {found.data.digest}" in (out / "config.yaml").read_text(encoding="utf-8")
    same = run(app, ["retrain", str(out / "config.yaml"), "--seeds", "1", "--out", str(tmp_path / "same")])
    _write_table(tmp_path / "data.csv", flipped=5)
    other = run(app, ["retrain", str(out / "config.yaml"), "--seeds", "1", "--out", str(tmp_path / "other")])
    mixed = run(app, ["retrain", str(out / "config.yaml"), "--seeds", "2", "--out", str(tmp_path / "same"), "--resume"])

    assert "the data are not those" not in same.output
    assert other.exit_code == 0
    assert "the data are not those of the search: its scores and these cannot be compared (other values in" in " ".join(
        other.output.split()
    )
    assert mixed.exit_code == 65
    assert "the data are not those that the seeds in" in _flat(mixed.output)


def _flat(text: str) -> str:
    return " ".join(text.split())
