"""Copies of models with other values."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from autohas_api.spec.budget import Budget


def test_a_replaced_field_leaves_the_others() -> None:
    """A copy differs in the field that is named, and the original stays as it was."""
    budget = Budget(trainings="4", max_active_seconds=3600)

    assert budget.replace(trainings="8") == Budget(trainings="8", max_active_seconds=3600)
    assert budget == Budget(trainings="4", max_active_seconds=3600)


def test_an_unknown_field_is_not_replaced() -> None:
    """A misspelt name, or that of the wire, raises instead of being stored in the copy."""
    budget = Budget(trainings="4")

    with pytest.raises(TypeError, match="Budget has no field maxActiveSeconds, training"):
        budget.replace(training="8", maxActiveSeconds=3600)  # type: ignore[call-arg]  # which is the plugin at work


def test_a_replaced_value_is_validated() -> None:
    """A value that the constructor refuses is refused in a copy, too."""
    with pytest.raises(ValidationError, match="trainings"):
        Budget(trainings="4").replace(trainings=8)  # type: ignore[arg-type]
