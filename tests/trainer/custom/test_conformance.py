"""The conformance test: built-in templates and sound custom code keep every promise, each defect breaks the one that names it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import custom_code_fixtures as custom
from autohas_api.base.objective_metrics import TaskKind
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli.app import app
from autohas_trainer.conformance import assert_data_conforms, assert_model_conforms, check_data, check_model, check_template
from autohas_trainer.seeding import stream
from autohas_trainer.templates import build_template

EXAMPLE = Path(__file__).parents[3] / "examples" / "07-custom-model"


@pytest.mark.parametrize("name", ["mlp", "mlp-small", "conv-small"])
def test_built_in_templates_conform(name: str) -> None:
    """They keep every promise that custom models are held to."""
    inputs = torch.tensor(stream("noise").standard_normal((8, 1, 8, 8)), dtype=torch.float32)
    checks = check_template(build_template(name, (1, 8, 8), 10), inputs, (10,))

    assert [(check.promise, check.problem) for check in checks if check.problem] == []
    assert len(checks) == 9


def test_a_transformer_of_tokens_conforms(tmp_path: Path) -> None:
    """One output per token: (8, 4, K) for windows of 4 characters."""
    (tmp_path / "text.txt").write_text("to be or not to be that is the question " * 8)
    search = with_change(a_search(), "spec.task.data", {"name": "text", "path": str(tmp_path / "text.txt"), "arguments": {"length": "4"}})
    for field, value in (("task.model", {"template": "transformer"}), ("task.recipe", {"learningRate": "0.001"})):
        search = with_change(search, f"spec.{field}", value)
    search = with_change(search, "spec.searchSpace", {"architecture": {}})
    (tmp_path / "search.yaml").write_text(json.dumps(search))

    printed = CliRunner().invoke(app, ["conformance", str(tmp_path / "search.yaml")])

    assert "BROKEN" not in printed.output
    assert printed.exit_code == 0, printed.output


@pytest.mark.parametrize("model", [custom.Linear, custom.Plain])
def test_sound_custom_models_conform(model: type) -> None:
    """A model with decisions, and a plain module with dropout and batch normalisation."""
    assert_model_conforms(model, input_shape=(8,), num_outputs=2)


BROKEN = {
    custom.WrongShape: ("forward gives (B, K) and uses its leaves", r"gave \(8, 1\), it must give \(8, 2\)"),
    custom.OwnWeights: ("forward gives (B, K) and uses its leaves", r"does not depend on its leaves"),
    custom.UnusedLeaf: ("forward gives (B, K) and uses its leaves", r"slices\(path\) gives leaf shift, which forward does not use"),
    custom.OutsideShared: ("forward gives (B, K) and uses its leaves", r"it must lie inside and not be empty"),
    custom.Raises: ("forward gives (B, K) and uses its leaves", r"raised KeyError: 'weights'"),
    custom.OtherParameters: ("build has the same parameters", r"build\(\) has parameter 1\.bias of shape \(2,\)"),
    custom.OtherFunction: ("both forms compute the same", r"forward\(\) and build\(\) differ by"),
    custom.OwnRandomness: ("equal seeds give equal numbers", r"shared\(\) gave another weight with the same seeds"),
    custom.InactiveMatters: ("inactive decisions change nothing", r"slices\(path\) changes with shift, which is inactive"),
    custom.refuses: ("can be made", r"raised ValueError: only images of 3 px"),
}


@pytest.mark.parametrize("model", list(BROKEN), ids=lambda model: model.__name__)
def test_each_defect_breaks_its_promise(model: type) -> None:
    """The promise is named, with a sentence that says how."""
    promise, words = BROKEN[model]
    problems = {check.promise: check.problem for check in check_model(model, input_shape=(8,), num_outputs=2)}

    problem = problems[promise]
    assert problem is not None
    assert re.search(words, problem)
    with pytest.raises(AssertionError, match=re.escape(promise)):
        assert_model_conforms(model, input_shape=(8,), num_outputs=2)


@pytest.mark.parametrize("model", [custom.Tied, custom.Frozen, custom.Rotary])
def test_tied_and_frozen_weights_and_tables_that_are_not_saved_conform(model: type) -> None:
    """One parameter under two names, parameters without gradients, a buffer that is in no file."""
    assert_model_conforms(model, input_shape=(64,), num_outputs=2)


def test_two_parameters_in_one_memory_do_not_conform() -> None:
    """They cannot be saved, and are no tied weights: each would be trained on its own."""
    problems = [check.problem for check in check_model(custom.Overlapping, input_shape=(64,), num_outputs=2) if check.problem]

    assert any("one.weight and other.weight in one memory" in problem for problem in problems)


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("keys", "splits() gave keys train, validation"),
        ("nan", "not finite in row 7"),
        ("random", "splits() gave other inputs at the second call"),
        ("leak", "50 of 50 test inputs are training inputs too"),
        ("augment shape", "must give (8, 8) of torch.float32 as it got"),
    ],
)
def test_defects_of_data_are_found(defect: str, words: str) -> None:
    """Each broken promise of the data is a sentence."""
    problems = [check.problem for check in check_data(custom.Noisy(defect), "the data", TaskKind.CLASSIFICATION) if check.problem]

    assert len(problems) == 1
    assert words in problems[0]


def test_sound_data_conform() -> None:
    """Classes, groups and numbers."""
    assert_data_conforms(custom.Data())
    assert_data_conforms(custom.Data("groups"))
    assert_data_conforms(custom.Numbers(), regression=True)
    assert_data_conforms(custom.Noisy())
    assert np.array_equal(custom.Data().splits()["train"][0], custom.Data().splits()["train"][0])


def test_the_command_checks_a_search_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example keeps every promise, and each is printed."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    printed = CliRunner().invoke(app, ["conformance", str(EXAMPLE / "search.yaml")])

    assert printed.exit_code == 0
    assert len(re.findall(r"^  kept", printed.output, re.MULTILINE)) == 14
    assert "agrees with the spec" in printed.output


def test_the_command_checks_an_entrypoint() -> None:
    """A model needs its shapes; a broken promise ends in 78, a wrong call in 64."""
    run = CliRunner().invoke
    options = ["--input-shape", "8", "--outputs", "2"]

    assert run(app, ["conformance", "custom_code_fixtures:Linear", *options]).exit_code == 0
    assert run(app, ["conformance", "custom_code_fixtures:Data", "--argument", "rows=30"]).exit_code == 0
    broken = run(app, ["conformance", "custom_code_fixtures:OtherFunction", *options])
    assert broken.exit_code == 78
    assert "BROKEN  both forms compute the same: forward() and build() differ" in broken.output
    assert "2 promises are broken; see above" in broken.output
    assert run(app, ["conformance", "custom_code_fixtures:Linear", "--input-shape", "8"]).exit_code == 64
    assert run(app, ["conformance", "custom_code_fixtures:Linear", "--input-shape", "8by8"]).exit_code == 64
    assert run(app, ["conformance", "custom_code_fixtures:Data", "--argument", "rows"]).exit_code == 64
