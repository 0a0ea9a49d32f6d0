"""An exported model gives the outputs of the loaded one, for every template and any number of examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import autohas
from autohas_api.base import yaml_file
from autohas_api.testing.rejections import with_change
from autohas_trainer.cli.app import app
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.inference import TrainedModel
from autohas_trainer.inference.export import export_onnx, export_torch
from autohas_trainer.inference.hub_folder import write_hub_folder
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.result_files import FilesSink
from autohas_trainer.templates import BUILDERS, build_template, default_path
from engine_fixtures import search, small_search

TABLE: dict[str, Any] = {
    "data": {"kind": "table", "columns": [], "delimiter": ",", "hasHeader": True},
    "inputs": {"shape": [3], "type": "float32", "computedIn": "float64", "mean": [5e6, 1.0, 0.0], "deviation": [1e3, 2.0, 1.0]},
    "target": {"kind": "number", "mean": 250.0, "deviation": 40.0},
}
IMAGES: dict[str, Any] = {
    "data": {"kind": "pixels", "divideBy": 255},
    "inputs": {"shape": [1, 8, 8], "type": "float32", "computedIn": "float32", "mean": [0.5], "deviation": [0.25]},
    "target": {"kind": "classes", "classes": ["cat", "dog", "eel"]},
}


def takes(template_name: str, record: dict[str, Any]) -> bool:
    """Whether a template is for such inputs."""
    try:
        build_template(template_name, tuple(record["inputs"]["shape"]), 1)
    except ConfigurationError:
        return False
    return True


CASES = [(name, form) for name in BUILDERS for form, record in (("table", TABLE), ("images", IMAGES)) if takes(name, record)]


def a_model(template_name: str, form: str) -> TrainedModel:
    """An untrained model of a template's default network; running statistics are not those of the start."""
    record = TABLE if form == "table" else IMAGES
    num_outputs = len(record["target"].get("classes", [])) or 1
    template = build_template(template_name, tuple(record["inputs"]["shape"]), num_outputs)
    network = template.build(default_path(template.decisions), ("export",))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.fill_(0.1)
    return TrainedModel(network, record, configuration={}).eval()


def encoded(model: TrainedModel, count: int) -> torch.Tensor:
    """Random inputs; a table misses a number."""
    inputs = torch.randn((count, *model.input_shape), generator=torch.Generator().manual_seed(count)).to(model.input_type)
    if not model.classes:
        inputs[:, 0] = inputs[:, 0] * 1e3 + 5e6
        inputs[0, 1] = float("nan")
    return inputs


def test_every_template_is_exported_in_some_form() -> None:
    """None is left out."""
    assert {name for name, _ in CASES} == set(BUILDERS)


@pytest.mark.parametrize(("template_name", "form"), CASES)
def test_a_torch_export_program_gives_the_same_outputs(template_name: str, form: str, tmp_path: Path) -> None:
    """After reload, for one and for seven examples."""
    model = a_model(template_name, form)
    export_torch(model, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()

    for count in (1, 7):
        with torch.no_grad():
            torch.testing.assert_close(program(encoded(model, count)), model(encoded(model, count)), rtol=1e-6, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.parametrize(("template_name", "form"), CASES)
def test_onnx_gives_the_same_outputs(template_name: str, form: str, tmp_path: Path) -> None:
    """Computed by onnxruntime, in one file, for one and for seven examples; a table answers in the target's unit."""
    model = a_model(template_name, form)
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")

    assert [entry.name for entry in session.get_inputs()] == ["inputs"]
    assert session.get_inputs()[0].shape == ["batch", *model.input_shape]
    for count in (1, 7):
        (outputs,) = session.run(["outputs"], {"inputs": encoded(model, count).numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(outputs, model(encoded(model, count)).numpy(), rtol=1e-4, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


class _Branching(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :1] if float(inputs.sum()) > 0 else inputs[:, 1:2]


def test_a_network_that_cannot_be_traced_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Python that branches on values."""
    model = TrainedModel(_Branching(), TABLE, configuration={})
    with pytest.raises(ConfigurationError, match=r"torch\.export cannot export this network: "):
        export_torch(model, tmp_path / "model.pt2")

    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module", name="finished")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search on digits."""
    folder = tmp_path_factory.mktemp("hub") / "out"
    history = HistorySink(folder)
    search(with_change(small_search(), "metadata.name", "small"), folder, FanOutSink(history, FilesSink(folder, search_digest="sha256:0")))
    history.close()
    return folder


def test_a_folder_for_the_hub_loads_and_its_card_has_the_scores(finished: Path, tmp_path: Path) -> None:
    """config.json and a card whose head is YAML, with the default's score, the data's name and the commands that repeat it."""
    paths = write_hub_folder(autohas.load(finished), finished, tmp_path / "hub")
    record = json.loads((finished / "result.json").read_text())
    card = (tmp_path / "hub" / "README.md").read_text()
    (tmp_path / "head.yaml").write_text(card.split("---\n")[1])
    head = yaml_file.read_mapping(tmp_path / "head.yaml")
    (results,) = head["model-index"][0]["results"]
    images = np.zeros((2, 8, 8))

    assert {path.name for path in paths} == {path.name for path in (tmp_path / "hub").iterdir()}
    assert autohas.load(tmp_path / "hub").predict(images) == autohas.load(finished).predict(images)
    assert results["metrics"] == [{"type": "accuracy", "value": record["winner"]["testScore"], "name": "test accuracy"}]
    assert f"| this model | {100 * record['winner']['testScore']:.2f} % |" in card
    assert f"| default configuration | {100 * record['default']['testScore']:.2f} % |" in card
    assert "examples of digits" in card
    assert "autohas run search.yaml" in card
    assert yaml_file.read_search(tmp_path / "hub" / "search.yaml").value["metadata"]["name"] == "small"
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["id2label"]["3"] == "3"


def test_a_used_folder_and_a_folder_without_scores_are_refused(finished: Path, tmp_path: Path) -> None:
    """Nothing is overwritten, nothing is made up."""
    model = autohas.load(finished)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is not empty; choose another folder with --hf DIR"):
        write_hub_folder(model, finished, tmp_path)
    with pytest.raises(DataError, match=r"has no result\.json"):
        write_hub_folder(model, tmp_path, tmp_path / "hub")


def test_the_command_lists_what_it_wrote_and_asks_for_a_format(finished: Path, tmp_path: Path) -> None:
    """Paths on standard output, the rest on standard error."""
    nothing = CliRunner().invoke(app, ["export", str(finished)])
    written = CliRunner().invoke(app, ["export", str(finished), "--hf", str(tmp_path / "hub")])

    assert (nothing.exit_code, nothing.stderr.strip()) == (64, "autohas: name a format: --onnx, --torch-export or --hf DIR")
    assert written.exit_code == 0, written.output
    assert {Path(line) for line in written.stdout.split()} == set((tmp_path / "hub").iterdir())
