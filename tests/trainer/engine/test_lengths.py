"""What the length of a training and the sizes of the splits say before the first step, and a length in epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli.app import app
from autohas_trainer.config_yaml import read_config
from autohas_trainer.errors import ConfigurationError, NumericalError
from autohas_trainer.reporting.sinks.result_files import read_result
from engine_fixtures import MemorySink, search, small_search

NUM_TRAIN = 1075
"""Of the original digits without test, reward and selection split."""
EPOCHS = "1.6"
"""27 steps of 64: ceil(1.6 * 1075 / 64)."""


def _ended_by_its_goal(document: dict[str, Any]) -> dict[str, Any]:
    """The search ends with the finished default."""
    return with_change(with_change(document, "spec.searchSpace.architecture"), "spec.objective", {"goal": "0.01"})


def _reasons(document: dict[str, Any], folder: Path) -> dict[str, str]:
    sink = MemorySink()
    search(document, folder, sink)
    return {notice.reason: notice.message for notice in sink.notices}


def test_epochs_are_the_search_of_their_steps_bit_for_bit(tmp_path: Path) -> None:
    """Same plan, same steps, same result; the digest of the search differs, since its file does."""
    by_steps, by_epochs = MemorySink(), MemorySink()
    document = _ended_by_its_goal(small_search())

    first = search(document, tmp_path / "steps", by_steps)
    second = search(with_change(document, "spec.training", {"epochs": EPOCHS}), tmp_path / "epochs", by_epochs)

    assert by_epochs.steps == by_steps.steps
    assert second.result.digest == first.result.digest
    assert by_epochs.info is not None
    assert (by_epochs.info.plan.rungs[-1], by_epochs.info.num_train) == (27, NUM_TRAIN)


def test_epochs_that_make_a_number_impossible_are_refused_when_the_data_is_read(tmp_path: Path) -> None:
    """What acceptance could not know is checked before the first step, with the steps that came out."""
    lanes = with_change(a_search(), "spec.algorithm", {"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}})
    document = with_change(with_change(lanes, "spec.training", {"epochs": EPOCHS}), "spec.budget.earlyStopping", {"plateauSteps": 500})
    with pytest.raises(
        ConfigurationError, match=r"earlyStopping.plateauSteps: could never come true.*\(training.epochs: 1.6 are 27 steps\)"
    ):
        search(document, tmp_path, MemorySink())

    with pytest.raises(
        ConfigurationError, match=r"spec.training.epochs: 0.1 epochs of 1,075 training examples in batches of 64 are 2 steps"
    ):
        search(with_change(a_search(), "spec.training", {"epochs": "0.1"}), tmp_path, MemorySink())


@pytest.mark.parametrize(("steps", "warns"), [(27, True), (51, False)])
def test_trainings_that_see_the_data_too_rarely_are_a_notice(steps: int, tmp_path: Path, *, warns: bool) -> None:
    """1.6 passes over 1,075 examples are too few, 3.03 are not."""
    text = _reasons(_ended_by_its_goal(small_search(steps=steps)), tmp_path).get("FewEpochs")

    assert (text is not None) == warns
    assert text is None or text.startswith("one training sees each of the 1,075 training examples 1.6 times (27 steps of 64)")


@pytest.mark.parametrize(("share", "warns"), [("0.05", True), ("0.1", False)])
def test_a_selection_split_that_shows_too_little_is_a_notice(share: str, tmp_path: Path, *, warns: bool) -> None:
    """70 examples show 6.9 points of accuracy, 136 show 4.9."""
    document = with_change(_ended_by_its_goal(small_search()), "spec.task.splits", {"selection": share})
    text = _reasons(document, tmp_path).get("SmallSelection")

    assert (text is not None) == warns
    assert text is None or "examples show differences from about 6.9 points of accuracy on" in text


def _run(folder: Path, document: dict[str, Any], *options: str) -> str:
    file = folder / "search.yaml"
    file.write_text(yaml_file.dump(document))
    result = CliRunner().invoke(app, ["run", str(file), "--out", str(folder / "out"), *options])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_a_dry_run_shows_length_sizes_and_warnings(tmp_path: Path) -> None:
    """The steps of the epochs, what the selection split shows, and both warnings."""
    document = with_change(with_change(small_search(), "spec.training", {"epochs": EPOCHS}), "spec.task.splits", {"selection": "0.05"})
    text = _run(tmp_path, document, "--dry-run")

    assert "trainings of 29 steps (1.6 epochs)" in text
    assert "selection: 70 examples show differences from about 6.9 points of accuracy on; 280 would show half of that" in text
    assert "warning: one training sees each of the" in text
    assert "warning: the selection split is too small" in text


def test_a_dry_run_without_its_data_says_that_the_steps_depend_on_them(tmp_path: Path) -> None:
    """No number is invented."""
    document = with_change(small_search(), "spec.training", {"epochs": "8"})
    file = tmp_path / "search.yaml"
    file.write_text(yaml_file.dump(with_change(document, "spec.task.data", {"name": "idx", "path": "/no/such/folder"})))
    result = CliRunner().invoke(app, ["run", str(file), "--dry-run"])

    assert result.exit_code == 65
    assert "one training: 8 epochs, whose steps depend on the data" in " ".join(result.output.split())


def test_a_search_by_epochs_is_reported_and_trained_again(tmp_path: Path) -> None:
    """result.json and report have steps and passes; config.yaml has the steps, and takes epochs in their place."""
    _run(tmp_path, with_change(_ended_by_its_goal(small_search()), "spec.training", {"epochs": EPOCHS}))
    folder = tmp_path / "out"

    finished = read_result(folder)
    assert finished is not None
    assert (finished.steps, finished.num_train) == (27, NUM_TRAIN)
    assert json.loads((folder / "result.json").read_text())["training"] == {"steps": 27, "examples": NUM_TRAIN}
    assert "One training is 27 steps, 1.6 passes over the 1,075 training examples." in (folder / "report.html").read_text()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["recipe"]["steps"] == 27

    del config["recipe"]["steps"]
    config["recipe"]["epochs"] = EPOCHS
    (tmp_path / "epochs.yaml").write_text(yaml_file.dump(config))
    assert read_config(tmp_path / "epochs.yaml")[0].spec.training.epochs == EPOCHS
    again = CliRunner().invoke(app, ["retrain", str(tmp_path / "epochs.yaml"), "--seeds", "1", "--out", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    scores = json.loads((tmp_path / "again" / "scores.json").read_text())
    assert (scores["steps"], scores["scores"][0]["test"]) == (27, finished.outcome.result.test_score)
    assert "Each seed is one training of 1.6 epochs" in (tmp_path / "again" / "report.html").read_text()


@pytest.mark.parametrize(
    ("default", "field"), [(None, "task.recipe.learningRate"), ("1e30", "searchSpace.hyperparameters[0].default")], ids=["recipe", "space"]
)
def test_a_default_that_diverges_names_step_rate_and_what_to_do(default: str | None, field: str, tmp_path: Path) -> None:
    """Without the default there is nothing to compare with: exit 70, and the field to change."""
    rate: dict[str, Any] = {"name": "learning_rate", "continuous": {"min": "1e-2", "max": "1e30", "scale": "Log", "numBases": 3}}
    document = with_change(small_search(), "spec.task.recipe", {"learningRate": "1e30", "batchSize": 64})
    document = with_change(document, "spec.searchSpace.hyperparameters", [rate if default is None else {**rate, "default": default}])
    with pytest.raises(NumericalError) as caught:
        search(document, tmp_path, MemorySink())

    text = str(caught.value)
    assert text.startswith("the default configuration diverged at step ")
    assert f"of 27, where the learning rate was 1e+30 (its peak is 1e+30): lower {field}, for example to 3.3e+29," in text
    assert text.endswith(" or raise task.recipe.warmupFraction (0.05)")
