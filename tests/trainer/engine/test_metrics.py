"""Searches for metrics other than accuracy: the test score is the metric of the model that was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.space.recipe import path_of
from engine_fixtures import MemorySink, search, small_search


def _test_metric(metric: str, document: dict[str, object], workdir: Path, values: dict[str, str]) -> float:
    """The metric of model.safetensors on the test split, by scikit-learn alone."""
    parsed, space = accept(document)
    search_task = SearchTask.load(parsed.spec, space, torch.device("cpu"))
    model = search_task.template.build(path_of(space, space.configuration(values)), (0,))
    model.load_state_dict(load_file(workdir / "model.safetensors"))
    batches = list(search_task.splits.test())
    labels = torch.cat([batch.targets_B for batch in batches]).numpy()
    with torch.no_grad():
        probabilities = torch.cat([model.eval()(batch.inputs) for batch in batches]).double().softmax(dim=1).numpy()
    match metric:
        case "f1":
            return float(f1_score(labels, probabilities.argmax(axis=1), average="macro"))
        case "auc":
            return float(roc_auc_score(labels, probabilities, multi_class="ovr"))
        case _:
            return float(log_loss(labels, probabilities))


@pytest.mark.parametrize("metric", ["f1", "auc", "log_loss"])
def test_the_test_score_is_the_chosen_metric(metric: str, tmp_path: Path) -> None:
    """The result's score is scikit-learn's for the saved model, and no winner is worse than the default on selection."""
    document = with_change(small_search(), "spec.objective", {"metric": metric})
    document = with_change(document, "spec.task.recipe.classWeights", "Balanced")
    outcome = search(document, tmp_path, MemorySink())
    result = outcome.result

    assert result.test_score == pytest.approx(_test_metric(metric, document, tmp_path, dict(outcome.configuration)), rel=1e-6)
    assert result.default_selection_score is not None
    better = result.selection_score - result.default_selection_score
    assert outcome.winner == "default" or (better < 0 if metric == "log_loss" else better > 0)
