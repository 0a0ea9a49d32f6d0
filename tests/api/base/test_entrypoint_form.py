"""What is wrong with an entrypoint is said in words."""

from __future__ import annotations

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.entrypoint_form import ENTRYPOINT_PATTERN, explain_entrypoint
from autohas_api.base.spec_errors import SpecError
from autohas_api.testing.rejections import a_search, with_change

FORM = "write package.module:object"


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        ("mine.model.Net", f"there is no colon: {FORM}"),
        ("model", f"there is no colon: {FORM}"),
        (":Net", f"there is no module before the colon: {FORM}"),
        ("mine.model:", f"there is no object after the colon: {FORM}"),
        ("mine:model:Net", f"there is more than one colon: {FORM}"),
        ("my-model.net:Net", '"my-model" has a dash, which no name of Python has: rename it with _'),
        ("mine/model.py:Net", "it is the path of a file: write the module with dots and without .py"),
        ("mine.2nd:Net", '"2nd" is no name of Python: it must have letters, digits and _, and no digit first'),
        ("mine..model:Net", '"" is no name of Python'),
        ("mine.model:Net()", '"Net()" is no name of Python'),
        ("mine.model:Net\n", "is no name of Python"),
    ],
)
def test_a_wrong_entrypoint_is_explained(entrypoint: str, words: str) -> None:
    """After the words of the API server, with the JSON path."""
    with pytest.raises(SpecError) as caught:
        accept(with_change(a_search(), "spec.task.model", {"entrypoint": entrypoint}))
    (problem,) = [error for error in caught.value.field_errors if error.path == "spec.task.model.entrypoint"]

    assert f" in body should match '{ENTRYPOINT_PATTERN}': " in problem.message
    assert words in problem.message.partition(f"'{ENTRYPOINT_PATTERN}': ")[2]


def test_a_right_entrypoint_needs_no_explanation() -> None:
    """A module of any depth, names with digits and _."""
    assert explain_entrypoint("a:b") is explain_entrypoint("_my.model_2.nets:Net_1") is None
