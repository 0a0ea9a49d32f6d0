"""Which names are offered for an unknown field."""

from __future__ import annotations

import copy
import functools
import operator

import pytest

from autohas_api.base.field_lookup import FORMER_NAMES
from autohas_api.base.spec_errors import SpecError
from autohas_api.spec.search import parse
from autohas_api.testing.builders import a_search
from autohas_api.testing.documents import EVERY_FIELD
from autohas_api.testing.rejections import with_change


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
        ("spec.cleanup.x", 1, "spec.cleanup.x: unknown field; the only one here is ttlSecondsAfterFinished"),
        ("spec.checkpoint.storage.emptyDir.zzz", 1, "spec.checkpoint.storage.emptyDir.zzz: unknown field; there are none here"),
        (
            "spec.zzz",
            1,
            (
                "spec.zzz: unknown field; known are algorithm, budget, checkpoint, cleanup, failurePolicy, monitoring, objective,"
                " searchSpace, suspend, task, trainer, training"
            ),
        ),
    ],
)
def test_an_unknown_field_gets_an_offer(path: str, value: object, sentence: str) -> None:
    """The nearest name, else all names when they are few, inside lists and optional objects too."""
    document = with_change(a_search(), "spec.checkpoint", {"storage": {"emptyDir": {}}})
    with pytest.raises(SpecError) as caught:
        parse(with_change(document, path, value))

    assert str(caught.value.field_errors[0]) == sentence


@pytest.mark.parametrize(("former", "present"), FORMER_NAMES.items())
def test_a_former_name_is_refused_with_the_present_one(former: str, present: str) -> None:
    """One sentence: a document that says all else right learns the new name, and not also that the new field is missing."""
    document = copy.deepcopy(EVERY_FIELD[0])
    *place, name = former.split(".")
    holder = functools.reduce(operator.getitem, place, document)
    holder[name] = holder.pop(present)
    with pytest.raises(SpecError) as caught:
        parse(document)

    assert [str(problem) for problem in caught.value.field_errors] == [f'{former}: unknown field; it is now "{present}"']
