"""Every search under examples/ runs with a reduced budget, by the code of `autohas run`, and keeps the promise of its comments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from autohas_api.templates import TEMPLATES
from autohas_trainer.cli.app import app

EXAMPLES = Path(__file__).parents[2] / "examples"
DEFAULTS = {name: {decision.name: decision.default for decision in decisions} for name, decisions in TEMPLATES.items()}


def _autohas(example: str, out: Path, *settings: str) -> Result:
    options = [part for setting in settings for part in ("--set", setting)]
    return CliRunner().invoke(app, ["run", str(EXAMPLES / example), "--out", str(out), *options])


def _searched(example: str, out: Path, *settings: str) -> dict[str, Any]:
    """The record of the example's search, run to its end."""
    done = _autohas(example, out, *settings)
    assert done.exit_code == 0, done.output
    record: dict[str, Any] = json.loads((out / "result.json").read_text())
    return record


def _tried(record: dict[str, Any]) -> list[dict[str, str]]:
    """Configurations that the record shows: winner, default, runners-up."""
    return [found["configuration"] for found in (record["winner"], record["default"], *record["runnersUp"])]


def test_the_quickstart_searches_both(tmp_path: Path) -> None:
    """01: two hyperparameters and all 13 decisions of conv-small; the page to open is there."""
    record = _searched("01-quickstart.yaml", tmp_path, "retrain.steps=27", "budget.trainings=5")

    assert record["winner"]["configuration"].keys() == {"learning_rate", "weight_decay", *DEFAULTS["conv-small"]}
    assert (tmp_path / "report.html").is_file()


def test_hyperparameters_only_keeps_the_network(tmp_path: Path) -> None:
    """04: every candidate is the default network; a batch of b takes 45 * 64 / b steps; two seeds have a deviation."""
    record = _searched("04-hyperparameters-only.yaml", tmp_path, "retrain.steps=45")
    winner = record["winner"]

    assert [{name: tried[name] for name in DEFAULTS["mlp"]} for tried in _tried(record)] == [DEFAULTS["mlp"]] * len(_tried(record))
    assert len({tuple(tried.values()) for tried in _tried(record)}) > 2
    assert winner["recipe"]["batchSize"] * winner["recipe"]["steps"] == 64 * 45
    assert len(winner["testScores"]) == 2
    assert winner["testStandardDeviation"] is not None


def test_architecture_only_keeps_the_recipe(tmp_path: Path) -> None:
    """05: the winner is trained by the recipe as it stands; what is pinned or left out is in no candidate."""
    record = _searched("05-architecture-only.yaml", tmp_path, "retrain.steps=27")
    tried = _tried(record)

    asked = record["search"]["spec"]["task"]["recipe"]
    assert {name: record["winner"]["recipe"][name] for name in ("batchSize", "optimizer", "learningRate")} == {
        name: asked[name] for name in ("batchSize", "optimizer", "learningRate")
    }
    assert float(record["winner"]["recipe"]["weightDecay"]) == float(asked["weightDecay"])
    assert {configuration["activation"] for configuration in tried} == {"relu"}
    assert {configuration["stage2_width"] for configuration in tried} <= {"16", "32"}
    assert len({tuple(configuration.values()) for configuration in tried}) > 2
