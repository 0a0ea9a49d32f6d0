"""`task.recipe.weightByClass`: weights of classes by the names that the data give them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.config_yaml import class_weights
from autohas_trainer.engine.training.judged_task import build_task
from autohas_trainer.engine.training.search_task import load_splits
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.tasks import Task
from engine_fixtures import small_search

CPU = torch.device("cpu")


def task_of(folder: Path, weights: dict[str, str]) -> Task:
    """The task of a table with 30 rows of class no, 30 of class yes, half of them training."""
    rows = "".join(f"{index % 7},{'yes' if index % 2 else 'no'}\n" for index in range(60))
    (folder / "t.csv").write_text(f"size,spam\n{rows}")
    data = {"name": "csv", "path": str(folder / "t.csv"), "arguments": {"target": "spam", "categorical": "size"}}
    document = with_change(small_search(), "spec.task.data", data)
    document = with_change(document, "spec.task.recipe.weightByClass", weights)
    search, _ = accept(document)
    assert class_weights(search) == {"classWeights": "Uniform", "weightByClass": weights}
    return build_task(search.spec, load_splits(search.spec, CPU), CPU)


def test_a_class_that_is_not_named_has_weight_1(tmp_path: Path) -> None:
    """Yes counts three times as much as no; with as many of both the weights are 0.5 and 1.5."""
    losses = task_of(tmp_path, {"yes": "3"}).losses(torch.zeros(2, 2), torch.tensor([0, 1]))

    assert (losses / losses[0]).tolist() == pytest.approx([1, 3])


def test_an_unknown_class_is_named_with_the_classes_of_the_data(tmp_path: Path) -> None:
    """Before the first step."""
    with pytest.raises(
        ConfigurationError, match=r"task\.recipe\.weightByClass\.maybe: csv .* has no class 'maybe'; its classes are no, yes"
    ):
        task_of(tmp_path, {"yes": "3", "maybe": "2"})
