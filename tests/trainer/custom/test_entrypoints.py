"""The entrypoint contract: custom data and custom models search like built-in ones, and every breach is one sentence with its place."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

import custom_code_fixtures
from autohas_api.base.objective_metrics import TaskKind
from autohas_api.testing.rejections import with_change
from autohas_trainer.cli.app import app
from autohas_trainer.data import Splits
from autohas_trainer.data.custom import custom_data, read_splits
from autohas_trainer.data.split_indices import SplitIndices
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.events import StepRecord
from autohas_trainer.templates import build_custom
from custom_search_fixtures import DECISIONS, OWN, custom_search, loaded
from engine_fixtures import Killed, MemorySink, search

EXAMPLE = Path(__file__).parents[3] / "examples" / "07-custom-model"


def test_a_custom_model_on_own_data_is_searched_whole(tmp_path: Path) -> None:
    """Hyperparameters and the model's decisions are searched; the saved model is the one that build makes."""
    outcome = search(custom_search(), tmp_path, MemorySink()).result

    assert outcome.test_score > 0.9
    assert len(outcome.choices) == 4


def test_a_plain_module_is_searched_over_hyperparameters(tmp_path: Path) -> None:
    """Lanes need nothing but a module; its dropout draws are keyed."""
    sink = MemorySink()
    outcome = search(custom_search("Plain"), tmp_path, sink)

    assert outcome.result.test_score > 0.8
    assert set(outcome.configuration) == {"learning_rate", "weight_decay"}
    assert not [record for record in sink.steps if record.reward is not None]


def test_tokens_reach_an_embedding(tmp_path: Path) -> None:
    """Integer inputs stay integers."""
    assert search(custom_search("Tokens", defect="tokens"), tmp_path, MemorySink()).result.test_score > 0.8


def test_custom_numbers_are_a_regression(tmp_path: Path) -> None:
    """With metric rmse targets are numbers; a constant's error is 10."""
    document = with_change(custom_search(data="Numbers"), "spec.objective", {"metric": "rmse"})

    assert search(document, tmp_path, MemorySink()).result.test_score < 3


@pytest.mark.parametrize("model", ["Linear", "Plain"])
@pytest.mark.parametrize("step", [5, 60])
def test_custom_code_resumes_bit_for_bit(model: str, step: int, tmp_path: Path) -> None:
    """Killed in the middle, a search with dropout and global generators ends as the undisturbed one."""

    def kill(record: StepRecord) -> None:
        if record.step == step:
            raise Killed

    undisturbed = search(custom_search(model), tmp_path / "whole", MemorySink())
    with pytest.raises(Killed):
        search(custom_search(model), tmp_path / "killed", MemorySink(on_step=kill))

    assert search(custom_search(model), tmp_path / "killed", MemorySink()).result.digest == undisturbed.result.digest


def test_without_architecture_the_model_keeps_its_default() -> None:
    """Decisions that the search does not list stay at the model's default."""
    search_task = loaded(with_change(custom_search(), "spec.searchSpace.architecture"))

    assert search_task.num_parameters(search_task.space.default) == 16


def test_groups_never_lie_in_two_splits() -> None:
    """The third array says which examples belong together."""
    search_task = custom_data(f"{OWN}:Data", None, {"defect": "groups"}, TaskKind.CLASSIFICATION)

    assert search_task.sources_N.tolist() == (np.arange(900) // 3).tolist()


def test_a_path_and_arguments_arrive_as_keywords(monkeypatch: pytest.MonkeyPatch) -> None:
    """`task.data.path` is the keyword path."""
    seen: dict[str, str] = {}

    class Recorder:
        def __init__(self, **given: str) -> None:
            seen.update(given)

        def splits(self) -> dict[str, Any]:
            return {name: (np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])) for name in ("train", "test")}

    monkeypatch.setattr(f"{OWN}.Data", Recorder)
    custom_data(f"{OWN}:Data", "/data", {"rows": "7"}, TaskKind.CLASSIFICATION)

    assert seen == {"path": "/data", "rows": "7"}


MODEL_FAULTS = {
    "no_such_package.model:Net": r"task\.model\.entrypoint no_such_package\.model:Net: there is no module no_such_package; install it",
    "my-model:Net": r'task\.model\.entrypoint my-model:Net: "my-model" has a dash, which no name of Python has: rename it with _',
    f"{OWN}.model:Net": rf"there is no module {OWN}\.model",
    f"{OWN}:Nothing": rf"module {OWN} has no Nothing; it has .*Data",
    f"{OWN}:not_callable": r"not_callable is a int and cannot be called; it must be a class or a function",
    f"{OWN}:refuses": r"calling it with \(8,\), 2 raised ValueError: only images of 3 px",
    f"{OWN}:gives_text": r"gave a str without decisions, shared, slices, forward, build; it must give a torch\.nn\.Module",
    f"{OWN}:HalfModel": r"gave a HalfModel without shared, slices, forward, build",
    f"{OWN}:NoDefault": r"decisions\(\)\[0\] is wrong: .*default must be one of choices|decisions\(\)\[0\] inputs needs choices and one",
}


@pytest.mark.parametrize("entrypoint", MODEL_FAULTS)
def test_a_wrong_model_entrypoint_is_named(entrypoint: str) -> None:
    """No module, no object, not callable, raising, or of the wrong kind: the JSON path and what to do."""
    with pytest.raises(ConfigurationError, match=MODEL_FAULTS[entrypoint]) as caught:
        build_custom(entrypoint, None, (8,), 2)
    assert str(caught.value).startswith("task.model.entrypoint ")


def test_an_unknown_argument_is_named() -> None:
    """Arguments go to the object as keywords; one that it does not take is its TypeError."""
    with pytest.raises(ConfigurationError, match=r"calling it with \(8,\), 2, depth='3' raised TypeError: .*depth"):
        build_custom(f"{OWN}:Plain", {"depth": "3"}, (8,), 2)


def resnet(*, weights: str | None = None, progress: bool = True, **kwargs: Any) -> nn.Module:
    """As torchvision's factories are declared."""
    return nn.Linear(8, 2)


def by_position(input_shape: tuple[int, ...], num_outputs: int, /) -> nn.Module:
    return nn.Linear(8, 2)


def of_anything(*given: Any) -> nn.Module:
    return nn.Linear(8, 2)


FACTORIES: dict[str, tuple[Callable[..., Any], str]] = {
    "of another library": (
        resnet,
        (
            "takes (weights, progress, **kwargs); it is called with input_shape, num_outputs by name and cannot take input_shape,"
            f" num_outputs; write\nfrom {__name__} import resnet\ndef make(input_shape, num_outputs):\n"
            "    return resnet(num_classes=num_outputs)"
        ),
    ),
    "a layer": (nn.Linear, "takes (in_features, out_features, bias, device, dtype); it is called with input_shape"),
    "positional only": (by_position, "takes (input_shape by position, num_outputs by position); it is called"),
    "any arguments": (of_anything, "takes (*given); it is called with"),
    "a builtin": (dict, "takes arguments that Python cannot name; it is called with"),
}


@pytest.mark.parametrize("case", FACTORIES)
def test_a_factory_that_cannot_take_our_names_is_refused_before_it_is_called(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By position the shape would land in any parameter; here the first is `weights`, and a download begins."""
    function, said = FACTORIES[case]
    calls: list[str] = []
    if inspect.isfunction(function):

        @functools.wraps(function)
        def counting(*_positional: Any, **_named: Any) -> Any:
            calls.append(case)

        function = counting
    monkeypatch.setattr(f"{OWN}.Plain", function)
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        build_custom(f"{OWN}:Plain", None, (8,), 2)
    assert calls == []


def test_names_count_and_not_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory, a loss and an augmentation with their parameters in another order, or by name only, get the right ones."""

    class Turned(custom_code_fixtures.Plain):
        def __init__(self, *, width: str = "16", num_outputs: int, input_shape: tuple[int, ...]) -> None:
            super().__init__(input_shape, num_outputs, width)

        def loss(self, hyperparameters: dict[str, str], targets: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(outputs, targets, reduction="none")

    class TurnedData(custom_code_fixtures.Data):
        def augment(self, rng: np.random.Generator, *, hyperparameters: dict[str, str], inputs: torch.Tensor) -> torch.Tensor:
            return inputs + 0 * rng.standard_normal()

    monkeypatch.setattr(f"{OWN}.Plain", Turned)
    monkeypatch.setattr(f"{OWN}.Data", TurnedData)
    search_task = loaded(custom_search("Plain"))

    training = Training(search_task, search_task.space.default)
    training.step()

    assert training.read_loss() > 0


def test_hooks_that_cannot_take_our_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss module as the attribute loss, an augmentation of other names, data that takes no path."""

    class WithModule(custom_code_fixtures.Plain):
        def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
            super().__init__(input_shape, num_outputs)
            self.loss = nn.CrossEntropyLoss()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            for layer in list(self)[:-1]:
                inputs = layer(inputs)
            return inputs

    class Renamed(custom_code_fixtures.Data):
        def augment(self, batch: torch.Tensor) -> torch.Tensor:
            return batch

    monkeypatch.setattr(f"{OWN}.Plain", WithModule)
    said = "task.model.entrypoint: loss takes (input, target); it is called with outputs, targets, hyperparameters by name"
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        loaded(custom_search("Plain"))
    monkeypatch.undo()
    monkeypatch.setattr(f"{OWN}.Data", Renamed)
    with pytest.raises(
        ConfigurationError, match=re.escape("augment takes (batch); it is called with inputs, rng, hyperparameters by name")
    ):
        loaded(custom_search("Plain"))
    with pytest.raises(ConfigurationError, match=re.escape("takes (defect, rows, path); it is called with depth by name and cannot take")):
        custom_data(f"{OWN}:Data", None, {"depth": "3"}, TaskKind.CLASSIFICATION)


FIRST_STEP_FAULTS = {
    "WrongShape": r"forward\(inputs, path, leaves\) gave \(2, 1\), it must give \(2, 2\)",
    "OwnWeights": r"forward\(inputs, path, leaves\) does not depend on its leaves",
    "UnusedLeaf": r"slices\(path\) gives leaf shift, which forward does not use",
    "OutsideShared": r"slices\(path\) cuts slice\(0, 9, None\) out of leaf weight of shape \(2, 8\); it must lie inside",
    "UnknownLeaf": r"slices\(path\) gave .* for leaf kernel, unknown to shared\(\), which has weight, shift",
    "OtherParameters": r"build\(\) has parameter 1\.bias of shape \(2,\), slices\(path\) a leaf of shape None",
    "Raises": r"forward\(\) of the default path on inputs \(2, 8\) raised KeyError: 'weights'",
}


@pytest.mark.parametrize("model", FIRST_STEP_FAULTS)
def test_a_model_that_cannot_take_a_step_is_refused_before_the_first(model: str) -> None:
    """The default path is tried once when the search starts."""
    with pytest.raises(ConfigurationError, match=rf"task\.model\.entrypoint {OWN}:{model}: {FIRST_STEP_FAULTS[model]}"):
        loaded(custom_search(model))


def test_two_parameters_in_one_memory_are_refused() -> None:
    """They cannot be saved by name."""
    document = with_change(custom_search("Plain"), "spec.task", {"data": {"name": "digits"}, "model": {"entrypoint": f"{OWN}:Overlapping"}})
    with pytest.raises(ConfigurationError, match=r"build\(\) has one\.weight and other\.weight in one memory"):
        loaded(document)


DISAGREEMENTS = {
    "lacks one": (
        DECISIONS[:1],
        r"decisions lacks shift, a decision of the model; add \{name: shift, choices: \[no, yes\], default: no, when: ",
    ),
    "unknown": (
        [*DECISIONS, {"name": "depth", "choices": ["1"], "default": "1"}],
        r"decisions\[2\]\.name 'depth' is no decision of the model, which has inputs, shift",
    ),
    "foreign choice": (
        [{**DECISIONS[0], "choices": ["4", "8", "16"]}, DECISIONS[1]],
        r"decisions\[0\]\.choices has '16', which the model's inputs does not know; it knows 4, 8",
    ),
    "other condition": (
        [DECISIONS[0], {**DECISIONS[1], "when": {"decision": "inputs", "values": ["4"]}}],
        r"decisions\[1\]\.when must be \{decision: inputs, values: \[8\]\}",
    ),
}


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_the_spec_and_the_model_must_agree(case: str) -> None:
    """What differs is said with the JSON path and what the model has."""
    decisions, words = DISAGREEMENTS[case]
    with pytest.raises(ConfigurationError, match=rf"spec\.searchSpace\.architecture\.{words}"):
        loaded(with_change(custom_search(), "spec.searchSpace.architecture.decisions", decisions))


def test_what_can_never_be_active_may_be_left_out() -> None:
    """With 4 inputs pinned there is no shift to list."""
    pinned = [{"name": "inputs", "choices": ["4"], "default": "4"}]
    search_task = loaded(with_change(custom_search(), "spec.searchSpace.architecture.decisions", pinned))

    assert search_task.num_parameters(search_task.space.default) == 8


PINNED = {"decisions": [{"name": "inputs", "choices": ["4"], "default": "4"}]}
SHARING = {
    "OneStep": {"autoHAS": {"strategy": "OneStep"}},
    "Paired": {"autoHAS": {"strategy": "Paired", "pairedSamples": 2}},
    "RandomSharing": {"name": "RandomSharing", "randomSharing": {"numSamples": 3}},
}


@pytest.mark.parametrize("algorithm", SHARING)
@pytest.mark.parametrize("architecture", [None, PINNED], ids=["none", "one left out"])
def test_decisions_that_the_search_does_not_list_stand_at_their_default_in_the_supernet_too(
    algorithm: str, architecture: dict[str, Any] | None, tmp_path: Path
) -> None:
    """All inputs without an architecture, the first 4 where they are pinned and shift is left out: 16 and 8 parameters."""
    document = with_change(custom_search(), "spec.searchSpace.architecture", architecture)
    document = with_change(document, "spec.searchSpace.hyperparameters", document["spec"]["searchSpace"]["hyperparameters"][:1])
    outcome = search(with_change(document, "spec.algorithm", SHARING[algorithm]), tmp_path, MemorySink()).result

    assert outcome.parameters == (16 if architecture is None else 8)
    assert outcome.test_score > 0.8


def test_the_supernet_of_lanes_takes_a_space_with_a_decision_left_out(tmp_path: Path) -> None:
    """Another decision is searched, so that there is a supernet; shift, which can never be active, is on no path of the spec."""
    decisions = [*PINNED["decisions"], {"name": "scale", "choices": ["1", "2"], "default": "1"}]
    document = with_change(custom_search("Scaled"), "spec.searchSpace.architecture.decisions", decisions)
    sink = MemorySink()
    search(document, tmp_path, sink)

    assert {record.sample["scale"] for record in sink.steps if record.sample is not None} == {"1", "2"}


def test_the_winner_can_be_trained_again(tmp_path: Path) -> None:
    """`autohas retrain` of a custom model's config.yaml repeats its test score with the search's own seed."""
    (tmp_path / "search.yaml").write_text(json.dumps(custom_search()))
    run = CliRunner().invoke
    first = run(app, ["run", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "out")])
    assert first.exit_code == 0, first.output
    config = tmp_path / "out" / "config.yaml"
    assert yaml.safe_load(config.read_text())["model"]["entrypoint"] == f"{OWN}:Linear"
    again = run(app, ["retrain", str(config), "--seeds", "1", "--out", str(tmp_path / "again")])

    assert again.exit_code == 0, again.output
    score = json.loads((tmp_path / "out" / "result.json").read_text())["winner"]["testScore"]
    assert json.loads((tmp_path / "again" / "scores.json").read_text())["scores"][0]["test"] == score


def test_the_spec_may_restrict_and_redefault() -> None:
    """Fewer choices and another default are the search's affair."""
    only = [{"name": "inputs", "choices": ["4"], "default": "4"}]  # without shift, which is active at 8 inputs alone
    search_task = loaded(with_change(custom_search(), "spec.searchSpace.architecture.decisions", only))

    assert search_task.num_parameters(search_task.space.default) == 8


DATA_FAULTS: dict[str, tuple[type[Exception], str]] = {
    "keys": (ConfigurationError, r"splits\(\) gave keys train, validation; it must give a dictionary with train and test"),
    "nan": (DataError, r"test inputs have a value that is not finite in row 7"),
    "large": (DataError, r"test inputs have a value that is not finite in float32 in row 7; fix or drop it"),
    "class": (DataError, r"the test target of row 5 is class 2; train has 0 to 1"),
    "huge class": (DataError, r"the train target of row 9 is class 1000000000; at most 100000 are taken"),
    "float classes": (
        ConfigurationError,
        r"train targets are of type float64 and shape \(900,\); classes must be integers from 0 .* numbers need metric rmse",
    ),
    "shapes": (ConfigurationError, r"train arrays have shapes \(900, 8\), \(899,\); inputs must be \(N, \.\.\.\)"),
    "alike": (ConfigurationError, r"train inputs are \(8,\) of float32, test inputs \(4,\) of float32; they must be alike"),
    "empty": (DataError, r"test has no examples"),
    "groups with none": (DataError, r"the train group of row 1 is None; every row needs one"),
    "groups with nan": (DataError, r"the train group of row 2 is nan; every row needs one"),
    "moments": (DataError, r"train inputs \[:, 0\] lie around 1\.7e\+09 and differ by about .*, which float32 rounds away; subtract"),
    "groups in two spellings": (DataError, r"the train group of row 2 is '1\.0', the number that row 0 writes as '1': one group in two"),
    "groups of two": (
        ConfigurationError,
        r"train arrays have shapes \(900, 8\), \(900,\), \(900, 2\); inputs .* targets \(N,\) or more, groups \(N,\)",
    ),
    "groups of two kinds": (ConfigurationError, r"comparing the train groups raised TypeError: .*'int' and 'str'"),
    "ragged": (ConfigurationError, r"reading the train inputs as an array raised ValueError: .*inhomogeneous"),
    "exit": (ConfigurationError, r"splits\(\) raised SystemExit: 0"),
    "file": (DataError, r"splits\(\) raised FileNotFoundError: .*/no/such/file"),
}


@pytest.mark.parametrize("defect", DATA_FAULTS)
def test_wrong_data_are_named_with_split_and_row(defect: str) -> None:
    """What `splits()` gives is checked before anything is trained."""
    kind, words = DATA_FAULTS[defect]
    with pytest.raises(kind, match=rf"task\.data\.entrypoint {OWN}:Data: {words}"):
        custom_data(f"{OWN}:Data", None, {"defect": defect}, TaskKind.CLASSIFICATION)


def test_a_script_as_a_module_does_not_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that parses its arguments and exits when it is imported is named; its exit code is not the search's."""
    (tmp_path / "script_that_exits.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=r"task\.data\.entrypoint script_that_exits:Data: importing .* raised SystemExit: 0"):
        custom_data("script_that_exits:Data", None, {}, TaskKind.CLASSIFICATION)


def test_a_target_of_own_data_that_float32_cannot_hold_is_named() -> None:
    """Numbers of about 10 were learned; 1e60 in the test split would make its score infinite."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((40, 3)).astype(np.float32)
    targets = 10 * inputs[:, 0].astype(np.float64)
    spoilt = np.where(np.arange(40) == 5, 1e60, targets)
    search_task = read_splits({"train": (inputs, targets), "test": (inputs, spoilt)}, "custom data", TaskKind.REGRESSION)
    indices = SplitIndices(train=np.arange(30), reward=np.arange(30, 35), selection=np.arange(35, 40))

    with pytest.raises(DataError, match=r"custom data: test row 5: 1e\+60 in the target is too large"):
        Splits(search_task, indices, torch.device("cpu"))


@pytest.mark.parametrize("template", ["mlp-small", "conv-small"])
def test_integers_for_a_built_in_template_are_refused_before_the_first_step(template: str) -> None:
    """Images of bytes stay integers, which these templates cannot take: 78 says what to return instead."""
    document = with_change(custom_search(defect="images"), "spec.task.model", {"template": template})
    with pytest.raises(ConfigurationError, match=rf"Data: inputs are integers, .* {template} needs floats: return .*float32.* by 255"):
        loaded(with_change(document, "spec.searchSpace.architecture", {}))


def test_a_selection_split_of_one_example_is_refused() -> None:
    """Ten numbers give a tenth, 1 example, to selection: rungs normalise by the statistics of a batch, which one has not."""
    document = with_change(custom_search("Plain", data="Numbers", rows="10"), "spec.objective", {"metric": "rmse"})
    with pytest.raises(DataError, match=r"the selection split has 1 example, comparisons need at least 2; raise task\.splits\.selection"):
        loaded(with_change(document, "spec.task.recipe", {"batchSize": 4}))


def test_data_without_splits_are_refused() -> None:
    """Any object will not do."""
    with pytest.raises(ConfigurationError, match=r"gave a str without splits\(\)"):
        custom_data(f"{OWN}:gives_text", None, {"input_shape": "", "num_outputs": ""}, TaskKind.CLASSIFICATION)


def test_the_example_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """examples/07-custom-model runs as it stands, with a reduced budget; its saved model has the leaves' names."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    document = yaml.safe_load((EXAMPLE / "search.yaml").read_text())
    document = with_change(with_change(document, "spec.training.steps", 90), "spec.budget.trainings", "4.5")
    result = search(document, tmp_path, MemorySink()).result

    assert result.test_score > 0.6
    assert len(result.choices) == 7


def test_the_plain_example_is_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """PlainNet of the example can be searched too."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    template = build_custom("custom_model.model:PlainNet", {"width": "8"}, (1, 64), 3)

    assert isinstance(template.build({}, (0,)), nn.Module)
    assert template.num_parameters({}) == 64 * 8 + 8 + 8 * 3 + 3
    assert template.decisions == ()
