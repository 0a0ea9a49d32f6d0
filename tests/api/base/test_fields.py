"""What is offered to somebody who wrote a field that does not exist."""

from __future__ import annotations

import pytest

from autohas_api.base.spec_errors import SpecError
from autohas_api.spec.search import parse
from autohas_api.testing.builders import a_search
from autohas_api.testing.rejections import changed


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("spec.budget.training", "3", 'spec.budget.training: unknown field; did you mean "trainings"?'),
        ("spec.task.recipe.batchsize", 3, 'spec.task.recipe.batchsize: unknown field; did you mean "batchSize"?'),
        (
            "spec.searchSpace.hyperparameters[0].continuous.foo",
            2,
            "spec.searchSpace.hyperparameters[0].continuous.foo: unknown field; known are derive, max, min, mixing, numBases, scale, topK",
        ),
        ("spec.checkpoint.storage.emptyDir.zzz", 1, "spec.checkpoint.storage.emptyDir.zzz: unknown field; there are none here"),
        (
            "spec.zzz",
            1,
            (
                "spec.zzz: unknown field; known are algorithm, budget, checkpoint, cleanup, failurePolicy, monitoring, objective, retrain,"
                " searchSpace, suspend, task, trainer"
            ),
        ),
    ],
)
def test_an_unknown_field_gets_an_offer(path: str, value: object, sentence: str) -> None:
    """The nearest name, else all names when they are few, inside lists and optional objects too."""
    document = changed(a_search(), "spec.checkpoint", {"storage": {"emptyDir": {}}})
    with pytest.raises(SpecError) as caught:
        parse(changed(document, path, value))

    assert str(caught.value.problems[0]) == sentence
