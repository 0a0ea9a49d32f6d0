"""`autohas retrain`: several seeds of one configuration; the first is the search's own training."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

import autohas
from autohas_api.accept.acceptance import accept
from autohas_api.base import yaml_file
from autohas_api.base.model import DECIMAL_PATTERN
from autohas_api.base.spec_errors import SpecError
from autohas_api.spec.hyperparameters import OPTIMIZERS
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli.app import app
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.config_yaml import read_config
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import DataError
from autohas_trainer.folder_lock import LOCK_FILE, hold_folder
from autohas_trainer.reporting.sinks.result_files import read_result
from autohas_trainer.space.recipe import recipe_of

BATCHES = {"name": "batch_size", "integer": {"min": 256, "max": 512, "step": 2, "scale": "Log"}, "default": "512"}


def _autohas(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search."""
    folder = tmp_path_factory.mktemp("searched")
    file = folder / "search.yaml"
    file.write_text(yaml_file.dump(with_change(a_search("small"), "spec.task.splits", {"reward": "0.2"})))
    assert _autohas("run", file, "--out", folder / "out").exit_code == 0
    return folder / "out"


@pytest.mark.parametrize("where", ["compare", "outputs"])
def test_a_seed_whose_finished_network_gives_no_number_is_named_diverged(
    where: str, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 1 overflows in its last update, or on the test split: it is left out, and scores.json is readable JSON."""
    original = getattr(Training, where)

    def broken(self: Training, *batch: object) -> object:
        if self.repeat == 1:
            for tensor in (*self._module.parameters(), *self._module.buffers()):
                if tensor.is_floating_point():
                    tensor.data.fill_(float("nan"))
        return original(self, *batch)

    monkeypatch.setattr(Training, where, broken)
    printed = _autohas("retrain", searched / "config.yaml", "--seeds", 3, "--out", tmp_path / "out")

    assert printed.exit_code == 0, printed.output
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [score["test"] is None for score in record["scores"]] == [False, True, False]
    assert record["summary"]["num_scores"] == 2
    assert "seed 1: diverged" in printed.output


def test_seed_0_is_the_search_s_own_training_and_the_others_differ(searched: Path, tmp_path: Path) -> None:
    """Same model digest and score as the search's; mean and sample deviation of all in scores.json, table and report."""
    printed = _autohas("retrain", searched / "config.yaml", "--seeds", 3, "--out", tmp_path / "out")
    assert printed.exit_code == 0, printed.output
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    found = read_result(searched)
    assert found is not None
    tests = [score["test"] for score in record["scores"]]

    assert record["scores"][0]["model_digest"] == found.outcome.result.model_digest
    assert tests[0] == found.outcome.result.test_score
    assert len({score["model_digest"] for score in record["scores"]}) == 3
    assert record["summary"] == {"num_scores": 3, "mean": statistics.fmean(tests), "standard_deviation": statistics.stdev(tests)}
    said = f"test accuracy over 3 seeds: {100 * statistics.fmean(tests):.2f} %, standard deviation {100 * statistics.stdev(tests):.2f} %"
    assert said in _flat(printed.output)
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock",
        "config.yaml",
        *(f"model-{seed}.safetensors" for seed in range(3)),
        "preprocessing.json",
        "report.html",
        "scores.json",
    ]


def test_the_model_of_each_seed_can_be_loaded(searched: Path, tmp_path: Path) -> None:
    """By its file; that of seed 0 is the search's own, and the folder alone is not enough."""
    assert _autohas("retrain", searched / "config.yaml", "--seeds", 2, "--out", tmp_path / "out").exit_code == 0
    own = autohas.load(searched)
    models = [autohas.load(tmp_path / "out" / f"model-{seed}.safetensors") for seed in range(2)]
    inputs = torch.rand(4, *own.input_shape, dtype=own.input_type)

    assert torch.equal(models[0](inputs), own(inputs))
    assert not torch.equal(models[1](inputs), own(inputs))
    with pytest.raises(DataError, match=r"has the models of several seeds: name one, such as .*model-0\.safetensors"):
        autohas.load(tmp_path / "out")


def test_what_is_read_back_is_the_recipe_that_was_written(searched: Path) -> None:
    """The recipe of config.yaml, parsed, gives the record in config.yaml again."""
    found = read_result(searched)
    assert found is not None
    search, space = read_config(searched / "config.yaml")

    assert recipe_of(search.spec, space, space.default).record() == dict(found.outcome.recipe)


def test_a_rate_of_a_file_is_the_one_that_adam_gets(searched: Path, tmp_path: Path) -> None:
    """With adam the file's 0.002 is the rate that is trained with."""
    text = (searched / "config.yaml").read_text()
    changed = re.sub(r"learningRate: .*", 'learningRate: "0.002"', text.replace("optimizer: sgd", "optimizer: adam"))
    (tmp_path / "config.yaml").write_text(changed)
    search, space = read_config(tmp_path / "config.yaml")

    assert recipe_of(search.spec, space, space.default).learning_rate == 0.002


@pytest.mark.parametrize("text", ["", " [tanh]", " relu"], ids=["nothing", "list", "word"])
def test_an_architecture_that_is_no_object_is_refused(searched: Path, tmp_path: Path, text: str) -> None:
    """An editor leaves such a line behind; the sentence has its place, and says what stands there."""
    document = yaml.safe_load((searched / "config.yaml").read_text())
    document["model"]["architecture"] = yaml.safe_load(text)
    (tmp_path / "config.yaml").write_text(yaml_file.dump(document))

    with pytest.raises(SpecError, match=r"model\.architecture: must be an object that maps each decision to its choice"):
        read_config(tmp_path / "config.yaml")


def test_more_seeds_keep_the_finished_ones(searched: Path, tmp_path: Path) -> None:
    """Two seeds, then --seeds 4 --resume: the two are not trained again and the four equal four at once."""
    config = searched / "config.yaml"
    assert _autohas("retrain", config, "--seeds", 2, "--out", tmp_path / "parts").exit_code == 0
    first = (tmp_path / "parts" / "model-0.safetensors").stat().st_mtime_ns
    refused = _autohas("retrain", config, "--seeds", 4, "--out", tmp_path / "parts")
    assert refused.exit_code == 64
    assert "is not empty. To continue with the seeds in it add --resume" in _flat(refused.stderr)
    assert _autohas("retrain", config, "--seeds", 4, "--out", tmp_path / "parts", "--resume").exit_code == 0
    assert _autohas("retrain", config, "--seeds", 4, "--out", tmp_path / "whole").exit_code == 0

    assert (tmp_path / "parts" / "model-0.safetensors").stat().st_mtime_ns == first
    assert (tmp_path / "parts" / "scores.json").read_bytes() == (tmp_path / "whole" / "scores.json").read_bytes()


def test_a_second_retraining_in_one_folder_is_refused(searched: Path, tmp_path: Path) -> None:
    """Exit 64 with the process that works there; nothing is trained, and the folder is free afterwards."""
    command = ("retrain", searched / "config.yaml", "--seeds", 1, "--out", tmp_path)
    with hold_folder(tmp_path):
        refused, resumed = _autohas(*command), _autohas(*command, "--resume")

    assert (refused.exit_code, resumed.exit_code) == (64, 64)
    assert f"{tmp_path} is in use: process" in _flat(refused.stderr)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
    assert _autohas(*command).exit_code == 0


def test_ctrl_c_prints_the_command_that_goes_on(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 75; the printed command ends with all seeds."""
    with monkeypatch.context() as patch:
        patch.setattr(StopOnSignal, "install", lambda stop: setattr(stop, "is_requested", True))
        stopped = _autohas("retrain", searched / "config.yaml", "--seeds", 2, "--out", tmp_path / "out")
    assert stopped.exit_code == 75
    assert "stopped on request at step 1 of seed 0; finished seeds are kept. Continue with" in stopped.stderr
    program, *arguments = shlex.split(stopped.stderr.strip().splitlines()[-1])
    assert program == "autohas"
    assert _autohas(*arguments).exit_code == 0
    assert len(json.loads((tmp_path / "out" / "scores.json").read_text())["scores"]) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed: 0\n", "", "config.yaml: is no config.yaml of a search: it has no seed; autohas run writes one"),
        ("  batchSize: 64\n", "  batchSize: 1\n", "config.yaml: recipe.batchSize: Invalid value: 1"),
        ("  steps: 27\n", "", "config.yaml: recipe: exactly one of steps and epochs must be given"),
        ("  steps: 27\n", "  steps: 0\n", "config.yaml: recipe.steps: Invalid value: 0: must be at least 1"),
        ("  template: mlp-small\n", "  template: vgg\n", 'config.yaml: model.template: Unsupported value: "vgg"'),
    ],
)
def test_a_wrong_file_is_named_with_its_own_paths(searched: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    """Paths are those of config.yaml, not of the search that it becomes; exit 78 and nothing is trained."""
    text = (searched / "config.yaml").read_text()
    assert old in text
    (tmp_path / "config.yaml").write_text(text.replace(old, new))
    refused = _autohas("retrain", tmp_path / "config.yaml")

    assert refused.exit_code == 78
    assert words in _flat(refused.stderr)
    assert not (tmp_path / "retrain").exists()


def test_scores_of_another_configuration_are_not_continued(searched: Path, tmp_path: Path) -> None:
    """A changed config.yaml does not mix with the scores of the old one."""
    config = tmp_path / "config.yaml"
    text = (searched / "config.yaml").read_text()
    config.write_text(text)
    assert _autohas("retrain", config, "--seeds", 1).exit_code == 0
    config.write_text(text.replace("batchSize: 64", "batchSize: 32"))
    refused = _autohas("retrain", config, "--seeds", 2, "--resume")

    assert refused.exit_code == 64
    assert "is of another configuration" in _flat(refused.stderr)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_s_recipe_is_read_back_as_it_was_written(searched: Path, tmp_path: Path, optimizer: str) -> None:
    """The rate in config.yaml is absolute, whatever the optimizer."""
    config = tmp_path / "config.yaml"
    config.write_text((searched / "config.yaml").read_text().replace("optimizer: sgd", f"optimizer: {optimizer}"))
    search, space = read_config(config)
    record = recipe_of(search.spec, space, space.default).record()

    assert (record["optimizer"], record["learningRate"]) == (optimizer, yaml_file.read_mapping(config)["recipe"]["learningRate"])


def test_a_retraining_needs_neither_a_search_s_budget_nor_its_rewards(searched: Path, tmp_path: Path) -> None:
    """A search of 9 steps would refuse this selection split and these 20 rewards; a retraining uses neither."""
    document = yaml_file.read_mapping(searched / "config.yaml")
    document["recipe"] |= {"batchSize": 8, "steps": 9}
    document["task"]["splits"] = {"reward": "0.02", "selection": "0.4"}
    config = tmp_path / "config.yaml"
    config.write_text(yaml_file.dump(document))
    printed = _autohas("retrain", config, "--seeds", 1, "--out", tmp_path / "out")

    assert printed.exit_code == 0, printed.output


def test_a_winner_with_few_large_batches_can_be_trained_again(tmp_path: Path) -> None:
    """60 steps of 64 are 8 of 512: fewer than the 9 that a search needs for its rungs, and enough for a training."""
    document = with_change(a_search("small"), "spec.training.steps", 60)
    document = with_change(document, "spec.searchSpace.hyperparameters", [BATCHES])
    document = with_change(document, "spec.objective", {"goal": "0.01"})  # the first that is compared wins: the default
    file = tmp_path / "search.yaml"
    file.write_text(yaml_file.dump(with_change(document, "spec.searchSpace.architecture")))
    assert _autohas("run", file, "--out", tmp_path / "out").exit_code == 0
    printed = _autohas("retrain", tmp_path / "out" / "config.yaml", "--seeds", 1, "--out", tmp_path / "again")
    found = read_result(tmp_path / "out")

    assert printed.exit_code == 0, printed.output
    assert found is not None
    assert found.outcome.recipe["steps"] == 8
    record = json.loads((tmp_path / "again" / "scores.json").read_text())
    assert (record["steps"], record["scores"][0]["test"]) == (8, found.outcome.result.test_score)


@pytest.mark.parametrize("factor", ["1", "0.01", "0.037"])
def test_every_rate_of_a_recipe_survives_the_file(factor: str) -> None:
    """Two thousand rates of 1 to 15 digits: what config.yaml says is read back as the rate that was trained with, to the bit."""
    rng = np.random.default_rng(7)
    written = [f"{rng.uniform(1e-5, 3):.{rng.integers(1, 16)}g}" for _ in range(2000)]
    optimizers = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}}
    hyperparameters = [{**a_search()["spec"]["searchSpace"]["hyperparameters"][0], "rateFactors": {"adam": factor}}, optimizers]
    search, space = accept(with_change(a_search(), "spec.searchSpace.hyperparameters", hyperparameters))
    values = space.as_mapping(space.default)
    recipes = [recipe_of(search.spec, space, space.configuration({**values, "optimizer": "adam", "learning_rate": r})) for r in written]
    records = [str(recipe.record()["learningRate"]) for recipe in recipes]

    assert [float(text) for text in records] == [recipe.learning_rate for recipe in recipes]
    assert [recipe.learning_rate for recipe in recipes] == pytest.approx([float(text) * float(factor) for text in written], rel=1e-15)
    assert [text for text in records if re.fullmatch(DECIMAL_PATTERN, text) is None] == []


def test_a_rate_that_people_write_stays_short() -> None:
    """The product of 0.07 and 0.01 has a tail of digits in doubles, which no file shows."""
    hyperparameters = [
        {**a_search()["spec"]["searchSpace"]["hyperparameters"][0], "rateFactors": {"adam": "0.01"}, "default": "0.07"},
        {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}, "default": "adam"},
    ]
    search, space = accept(with_change(a_search(), "spec.searchSpace.hyperparameters", hyperparameters))

    assert recipe_of(search.spec, space, space.default).record()["learningRate"] == "0.0007"
