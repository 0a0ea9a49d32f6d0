"""Wrong searches are refused offline with the field and the words that the API server uses."""

from __future__ import annotations

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.spec.search import parse
from autohas_api.testing.rejected_pods import ACCEPTED_PATHS
from autohas_api.testing.rejections import REJECTED_BY_RULE, REJECTED_BY_SCHEMA, UNACCEPTABLE, Rejection, a_search, with_change


def test_the_example_is_accepted() -> None:
    """The search that every rejection changes is itself valid."""
    search, space = accept(a_search())

    assert search.metadata.name == "example"
    assert [d.name for d in space.decisions] == ["learning_rate", "weight_decay", "depth", "width_1", "width_2", "width_3", "activation"]


def test_an_empty_map_of_arguments_is_none_at_all() -> None:
    """An empty map means the same as none."""
    search, _ = accept(with_change(a_search(), "spec.task.model", {"template": "mlp-small", "arguments": {}}))

    assert search.spec.task.model.template == "mlp-small"


@pytest.mark.parametrize("rejection", [*REJECTED_BY_SCHEMA, *REJECTED_BY_RULE], ids=str)
def test_wrong_values_are_refused_naming_the_field(rejection: Rejection) -> None:
    """Each wrong value is refused with its field and a message that says what is allowed."""
    with pytest.raises(SpecError) as caught:
        parse(rejection.document())

    blamed = {problem.path: problem.message for problem in caught.value.field_errors}
    assert rejection.field in blamed
    assert rejection.words in blamed[rejection.field]


@pytest.mark.parametrize("rejection", UNACCEPTABLE, ids=str)
def test_what_the_schema_cannot_say_is_refused_with_a_path(rejection: Rejection) -> None:
    """Each of these parses, and acceptance names the field."""
    parse(rejection.document())
    with pytest.raises(SpecError) as caught:
        accept(rejection.document())

    blamed = {problem.path: problem.message for problem in caught.value.field_errors}
    assert rejection.field in blamed
    assert rejection.words in blamed[rejection.field]


@pytest.mark.parametrize("field", ["task", "searchSpace", "training"])
def test_required_fields_are_named(field: str) -> None:
    """A missing required field is named with the API server's words."""
    with pytest.raises(SpecError, match=rf"spec\.{field}: Required value"):
        parse(with_change(a_search(), f"spec.{field}"))


def test_an_unquoted_number_is_answered_with_its_quoted_form() -> None:
    """A number where a decimal string belongs says how to write it."""
    with pytest.raises(SpecError, match=r'must be a quoted decimal, for example "5"'):
        parse(with_change(a_search(), "spec.budget.trainings", 5))


def test_another_kind_is_refused() -> None:
    """A resource of another kind is not a search."""
    with pytest.raises(SpecError, match="kind: Unsupported value"):
        parse(with_change(a_search(), "kind", "Job"))


@pytest.mark.parametrize("path", ACCEPTED_PATHS)
def test_a_path_that_only_looks_like_the_operators_is_accepted(path: str) -> None:
    """Whole parts are compared, not beginnings of text."""
    parse(with_change(a_search(), "spec.trainer", mounted(path)))


def mounted(path: str) -> dict[str, object]:
    return {"volumes": [{"name": "data", "emptyDir": {}}], "volumeMounts": [{"name": "data", "mountPath": path}]}
