"""Every search under examples/ runs with a reduced budget, by the code of `autohas run`, and keeps the promise of its comments.

07 runs in test_entrypoints. 02 needs the real data next to the repository.
"""

from __future__ import annotations

import csv
import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_diabetes
from typer.testing import CliRunner, Result

import autohas
from autohas_api.accept.acceptance import accept
from autohas_api.base import yaml_file
from autohas_api.templates.table import TEMPLATES
from autohas_trainer.cli.app import app
from autohas_trainer.templates import CountsMacs, build_template

EXAMPLES = Path(__file__).parents[3] / "examples"
FASHION_MNIST = Path(__file__).parents[4] / "shared" / "data" / "fashion-mnist"
DEFAULTS = {name: {decision.name: decision.default for decision in row.decisions} for name, row in TEMPLATES.items()}


def _autohas(example: str, out: Path, *settings: str) -> Result:
    options = [part for setting in settings for part in ("--set", setting)]
    return CliRunner().invoke(app, ["run", str(EXAMPLES / example), "--out", str(out), *options])


def _searched(example: str, out: Path, *settings: str) -> dict[str, Any]:
    """The record of the example's search, run to its end."""
    done = _autohas(example, out, *settings)
    assert done.exit_code == 0, done.output
    record: dict[str, Any] = json.loads((out / "result.json").read_text())
    return record


def _flat(text: str) -> str:
    return " ".join(text.split())


def _tried(record: dict[str, Any]) -> list[dict[str, str]]:
    """Configurations that the record shows: winner, default, runners-up."""
    return [found["configuration"] for found in (record["winner"], record["default"], *record["runnersUp"])]


def test_the_quickstart_searches_both(tmp_path: Path) -> None:
    """01: two hyperparameters and all 13 decisions of conv-small; the page to open is there."""
    record = _searched("01-quickstart.yaml", tmp_path, "training.steps=27", "budget.trainings=5")

    assert record["winner"]["configuration"].keys() == {"learning_rate", "weight_decay", *DEFAULTS["conv-small"]}
    assert (tmp_path / "report.html").is_file()


def test_fashion_mnist_has_the_price_of_its_parameters(tmp_path: Path) -> None:
    """02: on the first 2,000 of the real pictures; every network has relu, and the winner's cost is its number of parameters."""
    if not FASHION_MNIST.is_dir():
        pytest.skip(f"the real data is absent: {FASHION_MNIST}")
    few = (f"task.data.path={FASHION_MNIST}", "task.data.arguments={trainLimit: '2000', testLimit: '500'}", "task.recipe.batchSize=64")
    record = _searched("02-fashion-mnist.yaml", tmp_path, *few, "training.steps=27")

    assert {configuration["activation"] for configuration in _tried(record)} == {"relu"}
    assert record["winner"]["cost"] == record["winner"]["parameters"]


def test_the_multi_trial_search_has_four_rungs(tmp_path: Path) -> None:
    """26: 27 trials with the default are compared at 1/27, of those at most nine at 1/9."""
    record = _searched("26-multi-trial.yaml", tmp_path, "training.steps=54")
    compared = Counter(round(candidate["fraction"] * 27) for candidate in record["candidates"])
    assert sorted(compared) == [1, 3, 9, 27]
    assert compared[1] == 27
    assert {pair["from"] for pair in record["rungCorrelations"]} >= {1 / 27}


def test_the_best_model_takes_what_the_search_leaves(tmp_path: Path) -> None:
    """27: model and search spend the budget, and the winner's rate begins to fall after 1/9 of the 810 steps that it pays for."""
    record = _searched("27-best-model.yaml", tmp_path, "budget.trainings=3")
    split = record["modelBudget"]

    assert split["trained"] + split["searched"] == pytest.approx(3, abs=0.02)
    assert split["steps"] == record["winner"]["recipe"]["steps"]
    assert 90 <= split["decayFrom"] < split["steps"]


def test_hyperparameters_only_keeps_the_network(tmp_path: Path) -> None:
    """04: every candidate is the default network; a batch of b takes 45 * 64 / b steps; two seeds have a deviation."""
    record = _searched("04-hyperparameters-only.yaml", tmp_path, "training.steps=45")
    winner = record["winner"]

    default = DEFAULTS["mlp-small"]
    assert [{name: tried[name] for name in default} for tried in _tried(record)] == [default] * len(_tried(record))
    assert len({tuple(tried.values()) for tried in _tried(record)}) > 2
    assert winner["recipe"]["batchSize"] * winner["recipe"]["steps"] == 64 * 45
    assert len(winner["testScores"]) == 2
    assert winner["testStandardDeviation"] is not None


def test_architecture_only_keeps_the_recipe(tmp_path: Path) -> None:
    """05: the winner is trained by the recipe as it stands; what is pinned or left out is in no candidate."""
    record = _searched("05-architecture-only.yaml", tmp_path, "training.steps=27")
    tried = _tried(record)

    asked = record["search"]["spec"]["task"]["recipe"]
    assert {name: record["winner"]["recipe"][name] for name in ("batchSize", "optimizer", "learningRate")} == {
        name: asked[name] for name in ("batchSize", "optimizer", "learningRate")
    }
    assert float(record["winner"]["recipe"]["weightDecay"]) == float(asked["weightDecay"])
    assert {configuration["activation"] for configuration in tried} == {"relu"}
    assert {configuration["stage2_width"] for configuration in tried} <= {"16", "32"}
    assert len({tuple(configuration.values()) for configuration in tried}) > 2


def test_the_table_is_predicted_over_three_seeds(tmp_path: Path) -> None:
    """03: the mean of all targets misses by 77; the search by less than 65, with three scores and their mean."""
    table = EXAMPLES / "03-tabular-csv" / "diabetes.csv"
    winner = _searched("03-tabular-csv/search.yaml", tmp_path, f"task.data.path={table}", "training.steps=45")["winner"]

    assert len(winner["testScores"]) == 3
    assert winner["testMean"] == pytest.approx(sum(winner["testScores"]) / 3)
    assert winner["testMean"] < 65


def test_the_table_is_scikit_learn_s() -> None:
    """03: every number is that of load_diabetes; the words a and b stand for its codes 1 and 2 of sex."""
    header, *rows = csv.reader((EXAMPLES / "03-tabular-csv" / "diabetes.csv").read_text().splitlines())
    data = load_diabetes(scaled=False)

    assert header == [*data.feature_names, "progression"]
    read = [[float({"a": "1", "b": "2"}.get(cell, cell)) for cell in row] for row in rows]
    assert read == [[*inputs, target] for inputs, target in zip(data.data.tolist(), data.target.tolist(), strict=True)]


def test_a_gpu_that_is_not_there_is_a_sentence_and_the_cpu_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """06: exit 78 before anything else; with device CPU the same search runs (on digits here).

    A stand-in hides the GPU of a machine that has one.
    """
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused = _autohas("06-gpu-with-claim.yaml", tmp_path / "gpu")
    digits = ("task.data={name: digits}", "task.recipe.batchSize=64", "training.steps=27", "budget.trainings=5")
    record = _searched("06-gpu-with-claim.yaml", tmp_path / "cpu", "trainer.device=CPU", *digits)

    assert refused.exit_code == 78
    assert "spec.trainer.device is CUDA but no GPU is visible here" in " ".join(refused.output.split())
    assert record["environment"]["device"] == "cpu"


def test_a_price_pulls_the_network_to_its_target(tmp_path: Path) -> None:
    """08: at ten times the price the winner lies within a fifth of 400,000 multiply-accumulates; the default needs 853,120."""
    winner = _searched("08-cost-target.yaml", tmp_path, "training.steps=60", "objective.cost.weight=-1")["winner"]

    assert winner["cost"] == pytest.approx(400_000, rel=0.2)


def test_the_price_is_that_of_the_formula(tmp_path: Path) -> None:
    """08: the score of every candidate at every rung is accuracy - 0.1 * |macs / 400000 - 1|, macs in closed form."""
    record = _searched("08-cost-target.yaml", tmp_path, "training.steps=27")
    template = build_template("conv-small", (1, 20, 20), 10)
    assert isinstance(template, CountsMacs)

    for candidate in record["runnersUp"]:
        macs = template.num_macs({name: candidate["configuration"][name] for name in DEFAULTS["conv-small"]})
        for compared in candidate["scores"]:
            assert compared["score"] == pytest.approx(compared["metric"] - 0.1 * abs(macs / 400_000 - 1))


def test_a_target_out_of_reach_is_refused_with_what_is_in_reach(tmp_path: Path) -> None:
    """08: exit 78 and the range, before anything is trained."""
    refused = _autohas("08-cost-target.yaml", tmp_path, "objective.cost.target=1000")

    assert refused.exit_code == 78
    assert re.search(r"below the least macs of any network in this space: choose a target from [\d,]+ to [\d,]+", _flat(refused.stderr))


PASSED_OVER = {
    "03-tabular-csv/search.yaml": "spec.trainer.resources, spec.trainer.volumes, spec.trainer.volumeMounts",
    "06-gpu-with-claim.yaml": "spec.suspend, spec.trainer.resources, spec.trainer.tolerations, spec.trainer.volumes,"
    " spec.trainer.volumeMounts, spec.checkpoint.storage, spec.budget.startDeadlineSeconds",
    "09-restricted-namespace.yaml": "spec.trainer.resources, spec.checkpoint.storage",
    "10-suspended-start.yaml": "spec.suspend, spec.checkpoint.storage",
}


@pytest.mark.parametrize("example", PASSED_OVER)
def test_what_only_a_cluster_uses_is_named(example: str, tmp_path: Path) -> None:
    """Every field that a laptop ignores is named, suspend too."""
    begun = _autohas(example, tmp_path, "task.data={name: idx, path: /no/such/folder}", "objective={}", "trainer.device=CPU")

    assert begun.exit_code == 65
    assert f"Not used on this machine: {PASSED_OVER[example]} " in _flat(begun.output)


def test_what_concerns_clusters_changes_nothing_here(tmp_path: Path) -> None:
    """09 passes over namespace, quota and claim, 10 starts though it is suspended: the same search, the same result."""
    restricted = _searched("09-restricted-namespace.yaml", tmp_path / "restricted", "training.steps=36")
    suspended = _searched("10-suspended-start.yaml", tmp_path / "suspended", "training.steps=36")

    assert restricted["search"]["metadata"]["namespace"] == "team-vision"
    assert suspended["search"]["spec"]["suspend"] is True
    assert restricted["winner"] == suspended["winner"]


def test_the_published_form_trains_what_it_derived_and_nothing_else(tmp_path: Path) -> None:
    """11: rate, optimizer, weight decay and architecture; no runner-up, no score of the default, and what was measured of it is said."""
    done = _autohas("11-autohas-published.yaml", tmp_path, "training.steps=36")
    record = json.loads((tmp_path / "result.json").read_text())

    assert done.exit_code == 0, done.output
    assert record["runnersUp"] == []
    assert {"learning_rate", "optimizer", "weight_decay"} < record["winner"]["configuration"].keys()
    assert "without comparing it" in _flat(done.output)
    assert "not trained" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("number", "template", "settings"),
    [
        (13, "mlp", (f"task.data.path={EXAMPLES / '03-tabular-csv' / 'diabetes.csv'}",)),
        (14, "resnet", ()),
        (15, "cell", ()),
        (16, "mobilenet", ()),
        (17, "transformer", ()),
    ],
)
def test_each_template_has_an_example(number: int, template: str, settings: tuple[str, ...], tmp_path: Path) -> None:
    """13 to 17: every candidate has the template's decisions, and keeps the choices to which the file restricts them."""
    record = _searched(f"{number}-{template}.yaml", tmp_path, *settings, "training.steps=12")
    spec = yaml_file.read_mapping(EXAMPLES / f"{number}-{template}.yaml")["spec"]
    restricted = {listed["name"]: listed["choices"] for listed in spec["searchSpace"]["architecture"]["decisions"]}

    for tried in _tried(record):
        assert tried.keys() >= DEFAULTS[template].keys()
        assert all(tried[name] in choices for name, choices in restricted.items())
    assert record["winner"]["parameters"] > 0


def test_the_list_of_examples_is_complete() -> None:
    """README.md links each once."""
    text = (EXAMPLES / "README.md").read_text()
    files = sorted(path for path in EXAMPLES.rglob("*.yaml") if "kind: AutoHASSearch" in path.read_text())

    assert [text.count(f"]({path.relative_to(EXAMPLES)})") for path in files] == [1] * len(files)


def test_a_folder_of_jpegs_is_augmented(tmp_path: Path) -> None:
    """18: the script draws the folder; its images are read per batch, and preprocessing.json says how one is predicted."""
    script = EXAMPLES / "18-image-folder" / "make_images.py"
    subprocess.run([sys.executable, script, tmp_path / "shapes", "90"], check=True)
    few = ("task.data.workers=0", "training.steps=27", "task.recipe.batchSize=16", "budget.trainings=4")
    _searched("18-image-folder/search.yaml", tmp_path / "out", f"task.data.path={tmp_path / 'shapes'}", *few)

    data = json.loads((tmp_path / "out" / "preprocessing.json").read_text())["data"]
    assert (data["height"], data["width"], data["fit"]) == (24, 24, "crop")


def test_an_own_augmentation_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """22: on the folder of 18; its custom hyperparameter is in the result, and the weights of the classes are in config.yaml."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "22-own-augmentation"))
    script = EXAMPLES / "18-image-folder" / "make_images.py"
    subprocess.run([sys.executable, script, tmp_path / "shapes", "90"], check=True)
    few = ("task.data.workers=1", "training.steps=27", "task.recipe.batchSize=16", "budget.trainings=4")
    record = _searched("22-own-augmentation/search.yaml", tmp_path / "out", f"task.data.path={tmp_path / 'shapes'}", *few)

    assert record["winner"]["configuration"]["hole"] in {"0", "6", "10"}
    config = yaml_file.read_mapping(tmp_path / "out" / "config.yaml")
    assert config["recipe"]["weightByClass"] == {"triangle": "2"}
    assert config["task"]["data"]["trainTransform"] == "own_augmentation:cut_out"
    assert "weightByClass: triangle 2" in (tmp_path / "out" / "report.html").read_text()


def test_a_network_of_timm_is_searched_in_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24: every candidate has the code's four decisions; ResNet-18 without its head for 1,000 classes has 11,176,512 parameters."""
    script = EXAMPLES / "18-image-folder" / "make_images.py"
    subprocess.run([sys.executable, script, tmp_path / "shapes", "90"], check=True)
    monkeypatch.syspath_prepend(EXAMPLES / "24-timm-resnet")
    few = ("task.data.workers=0", "training.steps=9", "task.recipe.batchSize=16", "budget.trainings=5")
    record = _searched("24-timm-resnet/search.yaml", tmp_path / "out", f"task.data.path={tmp_path / 'shapes'}", *few)
    winner = record["winner"]
    left_out = {"second_block_2": 2 * 9 * 128**2 + 4 * 128, "second_block_4": 2 * 9 * 512**2 + 4 * 512}

    assert {frozenset(tried) for tried in _tried(record)} == {frozenset({"learning_rate", "activation", "stem", *left_out})}
    assert winner["recipe"]["precision"] == "BFloat16"
    skipped = sum(size for name, size in left_out.items() if winner["configuration"][name] == "skip")
    assert winner["parameters"] == 11_176_512 + 3 * 512 + 3 - skipped


ZELA: dict[str, tuple[str, float, float, str]] = {
    **{f"blocks_{stage}": ("continuous", 1, 16, "Log") for stage in (1, 2, 3)},
    "filters": ("continuous", 8, 32, "Log"),
    "widening_1": ("continuous", 0.5, 8, "Log"),
    "widening_2": ("continuous", 0.5, 4, "Log"),
    "widening_3": ("continuous", 0.5, 4, "Log"),
    **{f"branches_{stage}": ("integer", 1, 5, "Linear") for stage in (1, 2, 3)},
    "learning_rate": ("continuous", 1e-3, 1, "Log"),
    "batch_size": ("integer", 32, 128, "Log"),
    "weight_decay": ("continuous", 1e-5, 1e-3, "Log"),
    "momentum": ("continuous", 1e-3, 0.99, "Linear"),
    "mixup": ("continuous", 0, 1, "Linear"),
    "cutout": ("categorical", 0, 20, "Linear"),
    "death_rate": ("continuous", 0, 1, "Linear"),
}
"""The space of the authors' code: ConfigSpace's hyperparameters of `cifar10_worker.py`."""


def test_the_space_of_zela_has_the_published_17_dimensions() -> None:
    """25: ten of architecture and seven of training, each with the published ends and scale; cutout takes all 21 integers."""
    document = yaml_file.read_mapping(EXAMPLES / "25-zela-17" / "search.yaml")
    _, space = accept(document)
    written: dict[str, tuple[str, float, float, str]] = {}
    for declared in document["spec"]["searchSpace"]["hyperparameters"]:
        kind = next(kind for kind in ("continuous", "integer", "categorical") if kind in declared)
        if kind == "categorical":
            assert declared[kind]["choices"] == [str(number) for number in range(21)]
            written[declared["name"]] = (kind, 0, 20, "Linear")
        else:
            of = declared[kind]
            written[declared["name"]] = (kind, float(of["min"]), float(of["max"]), of.get("scale", "Linear"))

    assert written == ZELA
    assert len(space.searched_decisions()) == 17


def test_the_network_of_zela_has_the_published_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shake-Shake 2x32d (Gastaldi 2017) without the second convolution of three shortcuts: 2.9 million weights."""
    monkeypatch.syspath_prepend(EXAMPLES / "25-zela-17")
    zela = importlib.import_module("zela_17")
    stages = {f"{part}_{stage}": value for stage in (1, 2, 3) for part, value in (("blocks", "4"), ("branches", "2"))}
    network = zela.net((3, 32, 32), 10, filters="16", widening_1="2", widening_2="2", widening_3="2", **stages)

    def branch(before: int, after: int) -> int:
        return 9 * before * after + 9 * after * after + 4 * after

    shortcuts = sum(before * after + 2 * after for before, after in ((16, 32), (32, 64), (64, 128)))
    blocks = sum(2 * (branch(before, after) + 3 * branch(after, after)) for before, after in ((16, 32), (32, 64), (64, 128)))
    assert sum(p.numel() for p in network.parameters()) == 9 * 3 * 16 + 32 + blocks + shortcuts + 128 * 10 + 10
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(2.9e6, rel=0.02)


def test_the_joint_search_of_zela_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 with the smallest networks, at four rungs: BOHB searches all 17 decisions."""
    script = EXAMPLES / "18-image-folder" / "make_images.py"
    subprocess.run([sys.executable, script, tmp_path / "shapes", "90"], check=True)
    monkeypatch.syspath_prepend(EXAMPLES / "25-zela-17")
    document = yaml_file.read_mapping(EXAMPLES / "25-zela-17" / "search.yaml")
    for declared in document["spec"]["searchSpace"]["hyperparameters"]:
        if declared["name"].startswith("branches"):
            declared |= {"integer": {"min": 1, "max": 2}, "default": "1"}
        elif declared["name"].startswith(("blocks", "filters", "widening")):
            declared |= {"continuous": {"min": "1", "max": "1.9", "scale": "Log"}, "default": "1"}
    spaces = json.dumps(document["spec"]["searchSpace"]["hyperparameters"])
    few = ("training.steps=27", "budget.trainings=4", "task.data.arguments.size=12", f"searchSpace.hyperparameters={spaces}")
    record = _searched("25-zela-17/search.yaml", tmp_path / "out", f"task.data.path={tmp_path / 'shapes'}", *few)

    assert record["winner"]["configuration"].keys() == ZELA.keys()


def test_a_metric_of_ones_own_is_the_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """23: the test score is the mean cost of the kept model's predictions, five times the error where they are too low."""
    monkeypatch.syspath_prepend(EXAMPLES / "23-own-metric")
    heading, *rows = (EXAMPLES / "03-tabular-csv" / "diabetes.csv").read_text().splitlines()
    for name, part in (("train", rows[:342]), ("test", rows[342:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([heading, *part]) + "\n")
    table = ("task.data.arguments={target: progression, categorical: sex}", f"task.data.path={tmp_path}")
    record = _searched("23-own-metric/search.yaml", tmp_path / "out", *table, "training.steps=45")
    predicted = autohas.load(tmp_path / "out").predict(tmp_path / "test.csv")
    errors = [float(guess) - float(row.split(",")[-1]) for guess, row in zip(predicted, rows[342:], strict=True)]

    expected = sum(error if error >= 0 else -5 * error for error in errors) / len(errors)
    assert record["winner"]["testScore"] == pytest.approx(expected, rel=1e-4)
