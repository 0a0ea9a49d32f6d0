"""A new algorithm and a new template are each one row of the contract and one class of the trainer: a search runs with them, offline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change

FIXTURES = Path(__file__).parents[1] / "fixtures"


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, FIXTURES / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _search(program: str, document: dict[str, Any], folder: Path) -> dict[str, Any]:
    file, out = folder / "search.yaml", folder / "out"
    file.write_text(yaml_file.dump(document))
    _run(program, "run", str(file), "--out", str(out))
    assert (out / "report.html").stat().st_size > 0
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


def test_an_algorithm_is_one_row_and_one_class(tmp_path: Path) -> None:
    """Two ends are tried next to the default, in three trainings of which the plan counts each with its comparison."""
    algorithm = {"name": "EndsOfRange", "endsOfRange": {"numEnds": 2}}
    result = _search("added_algorithm.py", with_change(a_search(), "spec.algorithm", algorithm), tmp_path)
    tried = {record["name"]: record["values"] for record in result["candidates"]}

    assert list(tried) == ["default", "trial 1", "trial 2"]
    assert (tried["trial 1"]["weight_decay"], tried["trial 2"]["weight_decay"]) == ("1e-05", "0.01")
    assert set(result["cost"]["byStage"]) == {"Race"}
    assert "the ends of all ranges, trained in full" in (tmp_path / "out" / "report.html").read_text()


def test_the_reference_lists_an_added_algorithm() -> None:
    """The name, its description, its settings and the rule that they stand only with the name."""
    reference = _run("added_algorithm.py", "reference")

    assert "`AutoHAS` \\| `RandomSharing` \\| `RandomSearch` \\| " in reference
    assert " \\| `EndsOfRange`" in reference
    assert "EndsOfRange: the first and the last choice of each decision." in reference
    assert "| `numEnds` | integer, 1 to 9 | `1` | Number of ends that are tried. |" in reference
    assert "endsOfRange must not be given unless name is EndsOfRange" in reference


@pytest.mark.parametrize("metric", ["parameters", "macs"])
def test_a_template_is_one_row_and_one_class(metric: str, tmp_path: Path) -> None:
    """Both choices of its one decision are possible networks: a linear layer of 64 inputs and 10 outputs with and without a bias."""
    document = with_change(a_search(), "spec.task.model", {"template": "linear"})
    document = with_change(document, "spec.searchSpace.hyperparameters[1]")
    document = with_change(document, "spec.objective", {"cost": {"metric": metric, "target": "640"}})
    result = _search("added_template.py", document, tmp_path)

    assert {record["values"]["has_bias"] for record in result["candidates"]} <= {"no", "yes"}
    assert result["winner"]["parameters"] in (640, 650)
    assert result["winner"]["cost"] == (640 if metric == "macs" else result["winner"]["parameters"])
