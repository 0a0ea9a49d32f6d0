"""`autohas conformance` of own training: the sound ones keep every promise, each broken one breaks its own."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_trainer.engine.training.own_training_checks import check_own_training
from custom_search_fixtures import loaded
from engine_fixtures import small_search

WIDTH: dict[str, Any] = {"name": "width", "categorical": {"choices": ["8", "16"]}, "default": "8"}


def _problems(name: str) -> dict[str, str]:
    document = with_change(small_search({"autoHAS": {"strategy": "OneFactor"}}), "spec.searchSpace", {"hyperparameters": [WIDTH]})
    task = {"data": {"entrypoint": "custom_code_fixtures:Data"}, "training": {"entrypoint": f"own_training_fixtures:{name}"}}
    checks = check_own_training(loaded(with_change(document, "spec.task", task)))
    return {promise: problem for promise, problem in checks if problem is not None}


@pytest.mark.parametrize("name", ["Plain", "TwoOptimizers"])
def test_sound_training_keeps_every_promise(name: str) -> None:
    """With the recipe's optimizer, and with two optimizers, a schedule and a state of its own."""
    assert _problems(name) == {}


@pytest.mark.parametrize(
    ("name", "promise", "words"),
    [
        ("KeepsState", "a resume gives equal bits", "return from state_dict what training_loss keeps between calls"),
        ("SharesState", "trainings do not change each other", "when another training takes steps in between"),
        ("Unseeded", "equal seeds give equal bits", "draw from torch's, numpy's or Python's global generator only"),
        ("EvaluateTrains", "evaluate changes nothing", "evaluate changed network/"),
        ("NarrowOnly", "builds, steps and evaluates with every searched value", "raised ValueError: too wide (values {'width': '16'})"),
        ("LeavesOut", "builds, steps and evaluates with every searched value", "optimizer leaves out 2 parameters"),
        ("ChangesForm", "builds, steps and evaluates with every searched value", "one form at every call"),
        ("Ignores", "every searched value is read", "nothing reads values['width'], which is searched"),
    ],
)
def test_a_broken_promise_is_found(name: str, promise: str, words: str) -> None:
    """State between calls, randomness without a seed, an evaluation that trains, one value that raises, one that nothing reads."""
    assert words in _problems(name)[promise]
