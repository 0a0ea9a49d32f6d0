"""`autohas run --dry-run`: memory in closed form, costs that can be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import device
from typer.testing import CliRunner, Result

from autohas_api.accept.acceptance import accept
from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.cli.app import app
from autohas_trainer.cli.memory import training_bytes
from autohas_trainer.engine.training.search_task import SearchTask
from custom_code_fixtures import Faulty, FaultyLinear
from custom_search_fixtures import custom_search


def _dry_run(document: dict[str, Any], folder: Path) -> Result:
    file = folder / "search.yaml"
    file.write_text(yaml_file.dump(document))
    return CliRunner().invoke(app, ["run", str(file), "--dry-run"])


def _bytes(batch_size: int) -> int:
    parsed, space = accept(with_change(a_search(), "spec.task.recipe.batchSize", batch_size))
    return training_bytes(SearchTask.load(parsed.spec, space, device("cpu")), space.default)


def test_memory_grows_with_the_batch_and_has_a_part_that_does_not() -> None:
    """Activations are proportional to the batch; the rest is weights, gradients, average and momentum: four times the parameters."""
    fixed = 2 * _bytes(32) - _bytes(64)
    parsed, space = accept(a_search())
    parameters = SearchTask.load(parsed.spec, space, device("cpu")).num_parameters(space.default)
    buffers = 2 * (2 * 64 * 4 + 8)  # two layers of running mean and variance and a counter
    saved_statistics = 2 * 2 * 64 * 4  # each normalisation keeps mean and inverse deviation of the batch

    assert _bytes(96) - _bytes(64) == _bytes(64) - _bytes(32) > 0
    assert fixed == pytest.approx(4 * 4 * parameters + buffers + saved_statistics, rel=0.01)


def test_the_peak_of_the_plan_and_the_weight_of_a_checkpoint_are_shown(tmp_path: Path) -> None:
    """Networks of 64 units weigh less than a megabyte each: the plan holds some of them, and says which."""
    shown = _flat(_dry_run(with_change(a_search(), "spec.algorithm", {"autoHAS": {"strategy": "OneFactor"}}), tmp_path).output)

    assert "MiB at its peak, stage Lanes: networks: " in shown
    assert " waiting, 1 in training" in shown
    assert "if every candidate has the largest network" in shown
    assert "a checkpoint takes at most " in shown


def test_the_reachable_costs_are_shown_and_a_target_outside_is_refused(tmp_path: Path) -> None:
    """As the search itself would, before anything is trained."""
    shown = _dry_run(with_change(a_search(), "spec.objective", {"cost": {"metric": "macs", "target": "9000"}}), tmp_path)
    assert shown.exit_code == 0, shown.output
    assert "cost: macs from 1,184 to" in " ".join(shown.output.split())
    refused = _dry_run(with_change(a_search(), "spec.objective", {"cost": {"metric": "macs", "target": "9"}}), tmp_path)
    assert refused.exit_code == 78
    assert "spec.objective.cost.target is 9, below the least macs" in " ".join(refused.stderr.split())
    later = _dry_run(with_change(a_search(), "spec.objective", {"cost": {"metric": "latencyMilliseconds", "target": "9"}}), tmp_path)
    assert "latency is measured when the search begins" in " ".join(later.output.split())


def _tiny(folder: Path) -> dict[str, Any]:
    """Eighty rows: 6 of them would reward, 64 are needed where a supernet is rewarded."""
    rows = "\n".join(f"{n}.5,{n * n % 7},{'even' if n % 2 == 0 else 'odd'}" for n in range(80))
    (folder / "tiny.csv").write_text(f"a,b,label\n{rows}\n", encoding="utf-8")
    data = {"name": "csv", "path": str(folder / "tiny.csv"), "arguments": {"target": "label"}}
    document = with_change(a_search(), "spec.algorithm", {"autoHAS": {"strategy": "Lanes"}})
    return with_change(with_change(document, "spec.task.recipe.batchSize", 16), "spec.task.data", data)


def _own(model: str) -> dict[str, Any]:
    document = with_change(a_search(), "spec.task.data", {"entrypoint": "custom_code_fixtures:Data"})
    document = with_change(document, "spec.task.model", {"entrypoint": model})
    rates = {"name": "learning_rate", "continuous": {"min": "0.03", "max": "0.3", "scale": "Log", "numBases": 3}}
    return with_change(document, "spec.searchSpace", {"hyperparameters": [rates]})


def _own_training(name: str) -> dict[str, Any]:
    task = {"data": {"entrypoint": "custom_code_fixtures:Data"}, "training": {"entrypoint": f"own_training_fixtures:{name}"}}
    document = with_change(with_change(a_search(), "spec.algorithm", {"autoHAS": {"strategy": "OneFactor"}}), "spec.task", task)
    widths = {"name": "width", "categorical": {"choices": ["8", "16"]}, "default": "8"}
    return with_change(document, "spec.searchSpace", {"hyperparameters": [widths]})


CANNOT_RUN: dict[str, tuple[Callable[[Path], dict[str, Any]], int, str]] = {
    "too few rewards": (_tiny, 65, "the reward split has 6 examples, rewards need at least 64"),
    "no data": (
        lambda _: with_change(a_search(), "spec.task.data", {"name": "idx", "path": "/no/such/folder"}),
        65,
        "/no/such/folder is not a folder",
    ),
    "no module": (lambda _: _own("nowhere.model:Net"), 78, "there is no module nowhere"),
    "an own metric under another name": (lambda _: _own_training("OtherMetric"), 78, "evaluate gave bleu, but the objective's metric is"),
    "an own optimizer of another module": (lambda _: _own_training("ForeignOptimizer"), 78, "optimizer updates 4 parameters of another"),
    "no device": (lambda _: with_change(a_search(), "spec.trainer.device", "CUDA"), 78, "spec.trainer.device is CUDA"),
    "a default that fails": (lambda _: _own("custom_code_fixtures:Faulty"), 78, "the default configuration cannot be trained"),
}


@pytest.mark.parametrize("case", CANNOT_RUN)
def test_a_search_that_cannot_run_ends_a_dry_run_as_the_run(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same exit code and the same last sentence; nothing is trained."""

    def fault(_module: object, inputs: torch.Tensor) -> None:
        if torch.is_grad_enabled() and len(inputs) > 2:
            raise MemoryError

    monkeypatch.setattr(Faulty, "fault", staticmethod(fault))
    make, code, said = CANNOT_RUN[case]
    dry = _dry_run(make(tmp_path), tmp_path)
    run = CliRunner().invoke(app, ["run", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "out")])

    assert (dry.exit_code, run.exit_code) == (code, code)
    assert said in dry.stderr
    assert dry.stderr == run.stderr


def test_the_plan_is_shown_without_the_data(tmp_path: Path) -> None:
    """It needs none, and helps to correct the rest."""
    shown = _dry_run(with_change(a_search(), "spec.task.data", {"name": "idx", "path": "/no/such/folder"}), tmp_path)
    assert "steps planned" in " ".join(shown.stdout.split())


def test_a_largest_network_that_fails_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search would leave it out: exit 0, and the line of the memory says why."""

    def fault(path: dict[str, str], where: str) -> None:
        if where == "build" and path["shift"] == "yes":
            raise MemoryError

    monkeypatch.setattr(FaultyLinear, "fault", staticmethod(fault))
    shown = _dry_run(custom_search("FaultyLinear"), tmp_path)
    assert shown.exit_code == 0, shown.output
    assert "memory: the largest network cannot be trained, the search would leave it out: building its network" in _flat(shown.output)


def _flat(text: str) -> str:
    return " ".join(text.split())


def test_repeats_are_steps_of_the_plan(tmp_path: Path) -> None:
    """training.seeds 2 adds one training to Evaluate."""
    document = with_change(with_change(a_search(), "spec.training.seeds", 2), "spec.budget.trainings", "6")
    assert "Evaluate 27 steps" in " ".join(_dry_run(document, tmp_path).output.split())


def test_every_column_and_what_was_converted_are_shown(tmp_path: Path) -> None:
    """Sizes of the splits, what became of each column, and a word of the test file that training never saw."""
    rows = "".join(f"{i % 50},{('Ulm', 'Bonn')[i % 2]},{i},{'xy'[i % 2]}\n" for i in range(900))
    (tmp_path / "train.csv").write_text("age,city,id,label\n" + rows)
    (tmp_path / "test.csv").write_text("age,city,id,label\n3,Kiel,1,x\n4,Ulm,2,y\n")
    data = {"name": "csv", "path": str(tmp_path), "arguments": {"target": "label", "ignore": "id"}}
    shown = _dry_run(with_change(a_search(), "spec.task.data", data), tmp_path)
    lines = [line.strip() for line in shown.output.splitlines()]

    assert shown.exit_code == 0, shown.output
    assert f"data: csv ({tmp_path}/train.csv): 720 train, 90 reward, 90 selection, 2 test" in lines
    assert "age: number from 0 to 49" in lines
    assert "city: one input for each of 2 words in 900 rows (Bonn, Ulm)" in lines
    assert "id: ignored" in lines
    assert "label: target, 2 classes (x, y)" in lines
    assert f"note: {tmp_path}/test.csv: 1 of 2 rows have a word in column city that training never saw: 0 in all" in lines
