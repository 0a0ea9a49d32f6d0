"""`--set`: fields changed from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.base.yaml_file import dump, parse_scalar, parse_search
from autohas_api.testing.rejections import a_search
from autohas_trainer.cli.settings import apply_settings


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("budget.trainings=6", ("budget", "trainings"), "6"),
        ("budget.trainings=1e1", ("budget", "trainings"), "1e1"),
        ("spec.training.steps=90", ("training", "steps"), 90),
        ("task.splits.stratify=false", ("task", "splits", "stratify"), False),
        ("task.data.arguments.variant=shifted", ("task", "data", "arguments", "variant"), "shifted"),
        ("task.data.arguments.trainLimit=100", ("task", "data", "arguments", "trainLimit"), "100"),
        ("trainer.resources.limits={cpu: 2}", ("trainer", "resources", "limits"), {"cpu": 2}),
        ("algorithm={name: RandomSharing}", ("algorithm",), {"name": "RandomSharing"}),
        ("searchSpace.hyperparameters[0].continuous.max=2", ("searchSpace", "hyperparameters", 0, "continuous", "max"), "2"),
    ],
)
def test_a_value_takes_the_fields_type(setting: str, path: tuple[str | int, ...], value: object) -> None:
    """Decimals stay text, numbers and booleans become what they are, objects are read as YAML."""
    found: Any = apply_settings(a_search(), [setting])["spec"]
    for key in path:
        found = found[key]
    assert found == value
    assert type(found) is type(value)


def test_later_settings_win_and_the_file_is_untouched() -> None:
    """Settings apply in order to a copy."""
    document = a_search()
    changed = apply_settings(document, ["training.steps=30", "training.steps=60", "metadata.name=other"])
    assert changed["spec"]["training"]["steps"] == 60
    assert changed["metadata"]["name"] == "other"
    assert document == a_search()


@pytest.mark.parametrize(("written", "steps"), [("9e1", 90), ("0x1b", 27), ("033", 27), ("27.0", 27), ("+27", 27)])
def test_a_file_keeps_its_numbers_however_they_are_written(written: str, steps: int) -> None:
    """A whole number that YAML reads from another notation reaches the search as that number, and an error shows it as written."""
    text = dump(a_search()).replace("steps: 27", f"steps: {written}")
    assert written in text

    changed = apply_settings(parse_search(text, "search.yaml").value, ["metadata.name=other"])

    search, _ = accept(changed)
    assert search.spec.training.steps == steps
    assert str(changed["spec"]["training"]["steps"]) == str(parse_scalar(written))
    assert json.loads(search.spec.training.model_dump_json(by_alias=True))["steps"] == steps


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("budget.trainings", "--set budget.trainings: must be path=value, for example budget.trainings=3"),
        ("=3", "--set =3: must be path=value, for example budget.trainings=3"),
        ("a b=3", "a b: is no path: write names with dots and list positions as [0]"),
        ("searchSpace.hyperparameters[7].name=x", "leads nowhere: there is no [7] in a list of 2 items"),
        ("training.steps.more=1", "leads nowhere: there is no more in a single value"),
        ("training={", "value:1: is not YAML"),
    ],
)
def test_a_setting_that_leads_nowhere_is_refused(setting: str, said: str) -> None:
    """The sentence names the setting and what is there instead."""
    with pytest.raises(SpecError) as caught:
        apply_settings(a_search(), [setting])
    assert said in str(caught.value)


def test_an_unknown_field_is_named_by_validation() -> None:
    """A misspelt field is no silent extra."""
    with pytest.raises(SpecError, match=r"spec\.budget\.training: unknown field"):
        accept(apply_settings(a_search(), ["budget.training=3"]))
