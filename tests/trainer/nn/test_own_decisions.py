"""A search that reads its decisions from the model's code: the ten-line example, from beginning to end and over kills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from autohas import nn
from autohas_api.accept.acceptance import accept
from autohas_api.base.names import MAX_TERMINATION_MESSAGE_BYTES
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Effect, MessageError, Result, StopReason, encode_termination_message
from autohas_api.wire.result import name_decisions, search_result
from autohas_trainer.cli.app import app
from autohas_trainer.engine.checkpointing.space_file import SPACE_FILE
from autohas_trainer.errors import CheckpointError, ConfigurationError
from autohas_trainer.events import StepRecord
from custom_search_fixtures import loaded
from engine_fixtures import Killed, MemorySink, search

EXAMPLE = Path(__file__).parents[3] / "examples" / "12-own-model"


@pytest.fixture
def document(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The example with short trainings."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    whole = yaml.safe_load((EXAMPLE / "search.yaml").read_text())
    whole["metadata"]["uid"] = "uid"
    whole["metadata"]["namespace"] = "default"
    whole = with_change(whole, "spec.algorithm", {"autoHAS": {"strategy": "Lanes"}})
    return with_change(with_change(whole, "spec.training.steps", 27), "spec.checkpoint.periodSeconds", 40)


def test_the_trainer_lists_the_decisions_of_the_model(document: dict[str, Any]) -> None:
    """The space of the operator has the learning rate only, that of the trainer the model's decisions too."""
    _, space = accept(document)
    task = loaded(document)

    assert [d.name for d in space.decisions] == ["learning_rate"]
    assert {d.name: d.choices for d in task.space.decisions[1:]} == {
        "width": ("32", "64", "128"),
        "activation": ("relu", "silu", "tanh"),
        "second_layer": ("keep", "skip"),
    }


@pytest.mark.parametrize("step", [5, 60])
def test_own_decisions_resume_bit_for_bit(step: int, document: dict[str, Any], tmp_path: Path) -> None:
    """Killed in the lanes and in the supernet, the search ends as the undisturbed one, with names that the operator can publish."""

    def kill(record: StepRecord) -> None:
        if record.step == step:
            raise Killed

    undisturbed = search(document, tmp_path / "whole", sink := MemorySink())
    with pytest.raises(Killed):
        search(document, tmp_path / "killed", MemorySink(on_step=kill))
    outcome = search(document, tmp_path / "killed", MemorySink())
    parsed, space = accept(document)
    published = search_result(outcome.result, parsed.spec, space, None)

    assert outcome.result.digest == undisturbed.result.digest
    assert {pair.name: pair.value for pair in published.architecture} == {
        name: value for name, value in outcome.configuration.items() if name != "learning_rate"
    }
    assert [d["name"] for d in json.loads((tmp_path / "killed" / SPACE_FILE).read_text())["decisions"]] == list(outcome.configuration)
    assert sink.info is not None
    assert (sink.info.space_digest or "").startswith("sha256:")


def test_a_resume_with_other_decisions_is_refused(document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that was edited after the first step is named with the decision that differs."""

    def kill(record: StepRecord) -> None:
        if record.step == 5:
            raise Killed

    with pytest.raises(Killed):
        search(document, tmp_path, MemorySink(on_step=kill))
    choice = nn.Choice
    monkeypatch.setattr(nn, "Choice", lambda name, choices, default: choice(name, choices[1:], default=default))
    with pytest.raises(
        CheckpointError, match=r"space\.json: the model's code gives other decisions .* began with \(width\); restore the code"
    ):
        search(document, tmp_path, MemorySink())


def test_the_checks_of_the_operator_are_made_by_the_trainer(document: dict[str, Any]) -> None:
    """A budget that is too small for the model's decisions, a model without decisions, a name that is a hyperparameter's."""
    with pytest.raises(ConfigurationError, match=r"spec\.budget\.trainings: must be at least"):
        loaded(with_change(document, "spec.budget.trainings", "1"))
    with pytest.raises(ConfigurationError, match=r"spec\.searchSpace\.architecture: the model of .* has no decisions; give it some by"):
        loaded(with_change(document, "spec.task.model.entrypoint", "custom_code_fixtures:Scalar"))
    width = {"name": "width", "categorical": {"choices": ["1", "2"]}, "default": "1"}
    with pytest.raises(ConfigurationError, match=r'decisions\[0\]\.name: "width" is the name of a hyperparameter'):
        loaded(with_change(document, "spec.searchSpace.hyperparameters", [width]))


def a_result(choices: list[int], values: list[str], architecture: dict[str, str] | None = None) -> Result:
    """A termination message with these choices."""
    digest = "sha256:" + "0" * 64
    return Result(
        search_uid="uid", pod_uid="pod", attempt=1, choices=choices, values=values, test_score=0.5, selection_score=0.5, trainings=4,
        parameters=9, stop_reason=StopReason.COMPLETED, configuration_digest=digest, model_digest=digest, digest=digest,
        architecture=architecture,
    )  # fmt: skip


def test_names_that_find_no_room_are_counted(document: dict[str, Any]) -> None:
    """The message stays within what the kubelet keeps; choices that differ from the default come first."""
    task = loaded(document)
    names = [f"decision_{i:03}_{'x' * 40}" for i in range(100)]
    decisions = [{"name": name, "choices": ["a" * 60, "b" * 60], "default": "a" * 60} for name in names]
    listed = with_change(document, "spec.searchSpace.architecture.decisions", decisions)
    parsed, space = accept(listed)
    configuration = space.configuration({**space.as_mapping(space.default), names[99]: "b" * 60})
    result = a_result(list(space.indices(configuration)), ["0.1"])
    effects = [Effect(decision=name, value="b" * 60, effect=0.1, standard_error=0.01) for name in names[:20]]
    named = name_decisions(result, configuration, effects, parsed.spec, space)

    assert len(encode_termination_message(named)) <= MAX_TERMINATION_MESSAGE_BYTES
    assert next(iter(named.architecture or {})) == names[99]
    assert len(named.architecture or {}) + named.architecture_omitted == 100
    assert named.choices == [result.choices[0]]
    assert task.has_read_decisions


def test_a_result_names_its_architecture_only_where_the_operator_does_not_know_it(document: dict[str, Any]) -> None:
    """A name out of nowhere is not believed."""
    parsed, space = accept(with_change(document, "spec.searchSpace.architecture"))
    result = a_result([0], [""], {"width": "64"})
    with pytest.raises(MessageError, match="only where decisions are read from code"):
        search_result(result, parsed.spec, space, None)


def test_the_example_runs_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`autohas run`, and then its result: every decision of the model in result.json and in config.yaml, which retrain reads."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    run, file = CliRunner().invoke, str(EXAMPLE / "search.yaml")
    settings = ["--set", "training.steps=27", "--out", str(tmp_path)]
    ended, valid = run(app, ["run", file, *settings]), run(app, ["validate", file])
    record, config = json.loads((tmp_path / "result.json").read_text()), yaml.safe_load((tmp_path / "config.yaml").read_text())

    assert ended.exit_code == valid.exit_code == 0
    assert "own-model is valid: the decisions of its model, 4 trainings" in valid.output
    assert set(record["winner"]["configuration"]) == {"learning_rate", "width", "activation", "second_layer"}
    assert set(config["model"]["architecture"]) == {"width", "activation", "second_layer"}
    again = run(app, ["retrain", str(tmp_path / "config.yaml"), "--seeds", "1"])
    assert again.exit_code == 0
    assert json.loads((tmp_path / "retrain" / "scores.json").read_text())["scores"][0]["test"] == record["winner"]["testScore"]
