"""Targets of custom data: every shape reaches its task, and what cannot be learned is named with its row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_api.testing.rejections import with_change
from autohas_trainer.data.custom import read_splits
from autohas_trainer.data.raw import RawData
from autohas_trainer.data.split_indices import split
from autohas_trainer.data.splits import Splits
from autohas_trainer.data.targets import IGNORED, TargetKind
from autohas_trainer.errors import ConfigurationError, DataError, TrainerError
from autohas_trainer.seeding import stream
from autohas_trainer.tasks import Classification, SeveralLabels, SeveralNumbers, SoftLabels, TokenLabels, build_task_for
from custom_search_fixtures import loaded
from engine_fixtures import small_search

CLASSES, NUMBERS = TaskKind.CLASSIFICATION, TaskKind.REGRESSION
CPU = torch.device("cpu")
rng = stream("custom targets")
TOKENS = rng.integers(6, size=(40, 3))
LABELS = rng.random((40, 4)) < 0.5
SHARES = rng.dirichlet(np.ones(4), size=40)
SEVERAL = rng.standard_normal((40, 2)) * 3 + 7


def read(targets: Any, kind: TaskKind, test: Any = None) -> RawData:
    """Forty training rows and as many test rows of two inputs."""
    inputs = np.ones((len(targets), 2), dtype=np.float32)
    test = targets if test is None else test
    return read_splits({"train": (inputs, targets), "test": (np.ones((len(test), 2), dtype=np.float32), test)}, "D", kind)


def splits_of(raw: RawData) -> Splits:
    return Splits(raw, split(raw, reward=0.25, selection=0.25, stratify=True, seed=0), CPU)


@pytest.mark.parametrize(
    ("targets", "kind", "metric", "expected", "task", "shape"),
    [
        (TOKENS[:, 0], CLASSES, "accuracy", TargetKind.CLASS, Classification, (6,)),
        (TOKENS, CLASSES, "perplexity", TargetKind.TOKENS, TokenLabels, (3, 6)),
        (LABELS, CLASSES, "f1", TargetKind.LABELS, SeveralLabels, (4,)),
        (SHARES, CLASSES, "log_loss", TargetKind.SHARES, SoftLabels, (4,)),
        (SEVERAL, NUMBERS, "r2", TargetKind.NUMBERS, SeveralNumbers, (2,)),
    ],
)
def test_each_shape_has_its_task(  # noqa: PLR0913, PLR0917 - one column per fact
    targets: Any, kind: TaskKind, metric: str, expected: TargetKind, task: type, shape: tuple[int, ...]
) -> None:
    """A batch has the targets of its rows, the test split all of them, and a loss per example."""
    splits = splits_of(read(targets, kind))

    made = build_task_for(metric, splits.targets, balanced=False, name="D", device=CPU)

    assert (splits.targets.kind, type(made), made.output_shape) == (expected, task, shape)
    batch, test = splits.train_batch(0, 5, 0), torch.cat([batch.targets_B for batch in splits.test()])
    assert made.losses(torch.zeros(5, *shape), batch.targets_B).shape == (5,)
    raw = torch.tensor(targets)
    restored = test * float(np.nanstd(splits.train_targets_N)) + float(np.nanmean(splits.train_targets_N)) if kind is NUMBERS else test
    assert torch.allclose(restored.double(), raw.double(), atol=1e-5)
    assert made.measure(torch.zeros(40, *shape), test).contributions_N.shape == (40,)


def test_positions_without_a_target_are_no_class() -> None:
    """They count in no frequency."""
    tokens = np.array([[0, IGNORED, 1]] * 20 + [[1, 1, IGNORED]] * 20)

    raw = read(tokens, CLASSES)

    assert raw.num_classes == 2
    assert raw.facts(np.arange(40)).class_counts is not None
    assert raw.facts(np.arange(40)).class_counts.tolist() == [20, 60]  # type: ignore[union-attr]  # asserted above


def change(targets: Any, row: int, value: Any) -> Any:
    """The same with one row changed."""
    changed = targets.copy()
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    ("targets", "test", "kind", "error", "words"),
    [
        (change(TOKENS, 7, IGNORED), TOKENS, CLASSES, DataError, r"D: row 7 of train has no target: all are -100; drop it"),
        (change(TOKENS, 7, [0, -5, 1]), TOKENS, CLASSES, DataError, r"D: the train target of row 7 is class -5; train has 0 to 5"),
        (TOKENS, change(TOKENS, 3, [0, 1, 9]), CLASSES, DataError, r"D: the test target of row 3 is class 9; train has 0 to 5"),
        (change(SHARES, 2, 0.5), SHARES, CLASSES, DataError, r"targets of row 2 are no shares: they must be at least 0 and add up to 1"),
        (change(SHARES, 2, np.nan), SHARES, CLASSES, DataError, r"targets of row 2 are no shares"),
        (change(SEVERAL, 4, np.nan), SEVERAL, NUMBERS, DataError, r"D: row 4 of train has no target: all are NaN; drop it"),
        (change(SEVERAL, 4, [1, np.inf]), SEVERAL, NUMBERS, DataError, r"D: a train target of row 4 is infinite"),
        (TOKENS, TOKENS[:, :2], CLASSES, ConfigurationError, r"train targets are \(3,\) of int64, test targets \(2,\) of int64"),
        (LABELS, SHARES, CLASSES, ConfigurationError, r"train targets are \(4,\) of bool, test targets \(4,\) of float64"),
        (SEVERAL[:, 0], SEVERAL[:, 0], CLASSES, ConfigurationError, r"classes must be integers from 0 \(N, ...\), several labels booleans"),
    ],
)
def test_targets_that_cannot_be_learned_are_named(targets: Any, test: Any, kind: TaskKind, error: type[Exception], words: str) -> None:
    """With split and row."""
    with pytest.raises(error, match=words):
        read(targets, kind, test)


@pytest.mark.parametrize(
    ("targets", "kind", "metric", "balanced", "words"),
    [
        (TOKENS, CLASSES, "f1", False, r"D: objective.metric f1 cannot be computed, since the targets are a class per position .*accuracy"),
        (LABELS, CLASSES, "perplexity", False, r"choose one of accuracy, f1, auc, log_loss"),
        (TOKENS, CLASSES, "bpb", False, r"bpb needs to know the text that a token stands for; set task.data.arguments.bytesPerToken"),
        (TOKENS[:, 0] % 5, CLASSES, "top5", False, r"top5 is 1 for every network, since there are 5 classes; choose accuracy"),
        (SHARES, CLASSES, "log_loss", True, r"classWeights must be Uniform, since the targets are shares of classes"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(targets: Any, kind: TaskKind, metric: str, balanced: bool, words: str) -> None:  # noqa: FBT001 - a column
    """Before anything is trained, with those that fit."""
    facts = read(targets, kind).facts(np.arange(len(targets)))

    with pytest.raises(ConfigurationError, match=words):
        build_task_for(metric, facts, balanced=balanced, name="D", device=CPU)


@pytest.mark.parametrize("kind", ["equal classes", "equal labels", "equal shares", "equal tokens"])
@pytest.mark.parametrize("model", [{"template": "mlp-small"}, {"entrypoint": "custom_code_fixtures:Plain"}])
def test_targets_that_are_all_alike_are_refused_before_the_first_step(kind: str, model: dict[str, str]) -> None:
    """A constant answer has loss 0 and rewards would divide by it: of each kind of targets, for each kind of model."""
    data = {"entrypoint": "custom_code_fixtures:Targets", "arguments": {"defect": kind}}
    document = with_change(with_change(small_search(), "spec.task.data", data), "spec.task.model", model)
    if "entrypoint" in model:
        document = with_change(document, "spec.searchSpace.architecture")

    with pytest.raises(TrainerError, match=r"are alike|are of class 0; two are needed"):
        loaded(document)


@pytest.mark.parametrize(
    ("data", "template", "words"),
    [
        ("Targets", "mlp-small", r"must give outputs of shape \(3, 2\), but template mlp-small gives \(2,\) for inputs of shape \(8,\)"),
        ("Data", "transformer", r"outputs of shape \(2,\), but template transformer gives \(8, 2\)"),
    ],
)
def test_targets_that_a_template_does_not_answer_are_refused(data: str, template: str, words: str) -> None:
    """A class per position for a table, one class for a sequence: the sentence has both shapes."""
    source = {"entrypoint": f"custom_code_fixtures:{data}", "arguments": {"defect": "tokens"}}
    document = with_change(with_change(small_search(), "spec.task.data", source), "spec.task.model", {"template": template})

    with pytest.raises(ConfigurationError, match=words):
        loaded(with_change(document, "spec.searchSpace", {"architecture": {}}))


def test_weights_need_one_class_per_example() -> None:
    """Soft labels have shares of classes."""
    facts = read(SHARES, CLASSES).facts(np.arange(len(SHARES)))

    with pytest.raises(ConfigurationError, match=r"task\.recipe\.weightByClass must not be given, since the targets are shares of classes"):
        build_task_for("log_loss", facts, balanced=False, weights=[1.0, 2.0], name="D", device=CPU)
