"""The folder of a search that an earlier version finished: what reads it, and what refuses it with one sentence that names the version."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli.app import app


@pytest.fixture(name="old", scope="module")
def _old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with search.yaml and out/, of which result.json has the former format and names, and the checkpoints the former format."""
    folder = tmp_path_factory.mktemp("old")
    file, out = folder / "search.yaml", folder / "out"
    file.write_text(yaml_file.dump(with_change(a_search("small"), "spec.task.splits", {"reward": "0.2"})))
    assert CliRunner().invoke(app, ["run", str(file), "--out", str(out)]).exit_code == 0
    record = json.loads((out / "result.json").read_text())
    record["search"]["spec"]["retrain"] = record["search"]["spec"].pop("training")
    (out / "result.json").write_text(json.dumps({**record, "format": 1}))
    for manifest in out.glob("checkpoints/*/manifest.json"):
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 3}))
    return folder


def said(*arguments: object) -> tuple[int, str]:
    """Exit code and output on one line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("verb", ["report", "resume"])
def test_an_old_result_is_refused_with_its_format(verb: str, old: Path) -> None:
    """Neither a report nor a resume reads it: the sentence names file, format and version, and what to do; nothing is changed."""
    before = (old / "out" / "result.json").read_bytes()
    arguments = ["report", old / "out"] if verb == "report" else ["run", old / "search.yaml", "--out", old / "out", "--resume"]
    code, output = said(*arguments)

    assert code == 65
    assert output.endswith(
        f"out/result.json has format 1, AutoHAS {version('autohas')} reads format 2: read it with the version that wrote it, or start again"
        " in a new folder"
    )
    assert (old / "out" / "result.json").read_bytes() == before


def test_old_checkpoints_are_refused_with_their_format(old: Path, tmp_path: Path) -> None:
    """Without a result a resume looks at the checkpoints; an older format is never read as another search, and nothing starts from zero."""
    shutil.copytree(old / "out", tmp_path / "out")
    (tmp_path / "out" / "result.json").unlink()
    code, output = said("run", old / "search.yaml", "--out", tmp_path / "out", "--resume")

    assert code == 66
    assert f"has format 3, AutoHAS {version('autohas')} reads format 9: let the version that began the search finish it" in output


def test_an_old_config_is_trained_again(old: Path, tmp_path: Path) -> None:
    """Its format is the present one, and its rate was absolute before: the result.json next to it is not needed."""
    code, output = said("retrain", old / "out" / "config.yaml", "--seeds", 1, "--out", tmp_path / "again")
    record = json.loads((old / "out" / "result.json").read_text())

    assert code == 0, output
    assert json.loads((tmp_path / "again" / "scores.json").read_text())["scores"][0]["test"] == record["winner"]["testScore"]
