"""`-o json`: one JSON object on standard output, everything else on standard error, the exit codes of the text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli.app import app


def _autohas(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "-o", "json"])


def _file(folder: Path, name: str = "search.yaml", **fields: Any) -> Path:
    document = a_search("small")
    for field, value in fields.items():
        document = with_change(document, field.replace("__", "."), value)
    path = folder / name
    path.write_text(yaml_file.dump(document))
    return path


def test_run_prints_the_result_and_nothing_else(tmp_path: Path) -> None:
    """The scores of result.json; the table for people is on standard error, and so is what own data print. Read back, it is the same."""
    script = tmp_path / "talking.py"
    script.write_text(
        "from custom_code_fixtures import Data\n"
        "class Talking(Data):\n"
        "    def splits(self):\n"
        "        print('reading my data')\n"
        "        return super().splits()\n"
    )
    file = _file(tmp_path, spec__task__data={"entrypoint": "talking:Talking"}, spec__task__recipe__batchSize=32)
    fixtures = Path(__file__).parents[2] / "fixtures"
    command: list[str | Path] = [sys.executable, "-m", "autohas", "run", file, "--out", tmp_path / "out", "-o", "json"]
    environment = {"PYTHONPATH": f"{tmp_path}:{fixtures}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False, env=environment)
    record, answer = json.loads((tmp_path / "out" / "result.json").read_text()), json.loads(ended.stdout)

    assert ended.returncode == 0, ended.stderr
    assert "reading my data" in ended.stderr
    assert "Test accuracy" in ended.stderr or "Nothing beat the default" in ended.stderr
    assert (answer["exitCode"], answer["name"], answer["folder"]) == (0, "small", str(tmp_path / "out"))
    assert answer["result"]["testScore"] == record["winner"]["testScore"]
    assert answer["result"]["configuration"] == record["winner"]["configuration"]
    assert answer["result"]["digest"] == record["digests"]["result"]
    assert json.loads(again.stdout) == answer


@pytest.mark.parametrize(
    ("fields", "code", "key"),
    [
        ({"spec__budget__trainings": "0"}, 78, "problems"),
        ({"spec__task__data": {"name": "csv", "path": "/absent.csv", "arguments": {"target": "a"}}}, 65, "error"),
    ],
)
def test_a_failed_run_prints_why(fields: dict[str, Any], code: int, key: str, tmp_path: Path) -> None:
    """The sentence, and the problems of a wrong search with their paths."""
    ended = _autohas("run", _file(tmp_path, **fields), "--out", tmp_path / "out")
    answer = json.loads(ended.stdout)

    assert (ended.exit_code, answer["exitCode"]) == (code, code)
    assert "result" not in answer
    assert answer["error"] in ended.stderr.replace("\n", " ") or key == "problems"
    assert answer[key]
    if key == "problems":
        assert answer["problems"][0]["path"] == "spec.budget.trainings"
        assert answer["problems"][0]["message"] in ended.stderr


def test_a_dry_run_is_text(tmp_path: Path) -> None:
    """Both together are refused, before anything is loaded."""
    ended = _autohas("run", _file(tmp_path), "--dry-run")

    assert ended.exit_code == 64
    assert json.loads(ended.stdout) == {"exitCode": 64, "error": "--dry-run prints text; leave out -o json"}


def test_validate_lists_every_file(tmp_path: Path) -> None:
    """Space and plan of a valid one, problems of a wrong one, an error of one that is no YAML; the exit code is the text's."""
    good, wrong = _file(tmp_path, "good.yaml"), _file(tmp_path, "wrong.yaml", spec__budget__trainings="0")
    ended = _autohas("validate", good, wrong)
    answer = json.loads(ended.stdout)
    first, second = answer["searches"]

    assert ended.exit_code == answer["exitCode"] == CliRunner().invoke(app, ["validate", str(good), str(wrong)]).exit_code == 78
    assert (first["file"], first["valid"], first["name"]) == (str(good), True, "small")
    assert first["configurations"] > 1
    assert first["plan"]
    assert (second["file"], second["valid"]) == (str(wrong), False)
    assert [problem["path"] for problem in second["problems"]] == ["spec.budget.trainings"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    """By the option's own sentence."""
    ended = CliRunner().invoke(app, ["validate", str(_file(tmp_path)), "-o", "yaml"])

    assert ended.exit_code == 2
    assert "'yaml' is not one of 'text', 'json'" in ended.stderr
