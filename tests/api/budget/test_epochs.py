"""Length of a training in epochs: exact steps, checks before the data are read, and the warning about too few."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.accept.plan_check import plan_lines
from autohas_api.base.spec_errors import SpecError
from autohas_api.budget.epochs import few_epochs, few_epochs_of_spec, resolve_steps
from autohas_api.spec.search import Spec
from autohas_api.testing.rejections import a_search, with_change

LANES = {"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}}
"""The first strategy with a controller."""


def _document(**training: Any) -> dict[str, Any]:
    return with_change(a_search(), "spec.training", training)


def _spec(**training: Any) -> Spec:
    return accept(_document(**training))[0].spec


@pytest.mark.parametrize(
    ("epochs", "num_train", "steps"),
    [("8", 6400, 800), ("8.0", 6401, 801), ("0.3", 6400, 30), ("1e1", 640, 100), ("2.5", 1000, 40), ("0.1", 64 * 90, 9)],
)
def test_epochs_are_whole_batches_rounded_up(epochs: str, num_train: int, steps: int) -> None:
    """ceil(epochs * examples / 64), exactly: 0.3 times 100 batches are 30 steps, though not in binary."""
    assert resolve_steps(_spec(epochs=epochs), num_train).training.steps == steps


def test_given_steps_stay_what_they_are() -> None:
    """The data change nothing where steps are given."""
    spec = _spec(steps=27)

    assert resolve_steps(spec, 10_000) is spec


@pytest.mark.parametrize(
    ("epochs", "num_train", "sentence"),
    [
        (
            "0.5",
            1000,
            "0.5 epochs of 1,000 training examples in batches of 64 are 8 steps, and a training must have 9 to 100,000,000: raise",
        ),
        ("1e6", 64_000, "are 1,000,000,000 steps, and a training must have 9 to 100,000,000: lower training.epochs"),
    ],
)
def test_epochs_that_are_no_training_are_refused(epochs: str, num_train: int, sentence: str) -> None:
    """The sentence names the field, the numbers and what to do."""
    with pytest.raises(ValueError, match=r"^spec\.training\.epochs: ") as caught:
        resolve_steps(_spec(epochs=epochs), num_train)
    assert sentence in str(caught.value)


def test_the_number_of_steps_is_never_guessed() -> None:
    """Code that asks for the steps before the data are read is wrong, and learns it."""
    with pytest.raises(ValueError, match="depends on the data"):
        _ = _spec(epochs="8").training.steps


def test_a_budget_that_no_data_could_make_enough_is_refused_at_acceptance() -> None:
    """Epochs hide no budget below the minimum, which is that of a long training."""
    document = with_change(_document(epochs="8"), "spec.budget.trainings", "2")
    with pytest.raises(SpecError, match=r"spec.budget.trainings: must be at least"):
        accept(document)


def test_a_plateau_that_depends_on_the_data_is_accepted() -> None:
    """27 steps could never have 5,000 rewards, 8 epochs of unknown data may."""
    stopping = {"plateauSteps": 5000}

    def document(**training: Any) -> dict[str, Any]:
        return with_change(with_change(_document(**training), "spec.algorithm", LANES), "spec.budget.earlyStopping", stopping)

    with pytest.raises(SpecError, match="could never come true"):
        accept(document(steps=27))

    accept(document(epochs="8"))


def test_validate_says_what_depends_on_the_data() -> None:
    """No line about sizes that only the data decide, and the warning where the spec itself gives too few epochs."""
    lines = plan_lines(_spec(epochs="2"), accept(_document(epochs="2"))[1])

    warning = (
        "warning: one training sees each training example 2 times (training.epochs): below 3 times, longer trainings gain more than a"
        ' search; raise training.epochs to "3" or more'
    )
    assert lines[1:] == ["the number of steps follows from training.epochs when the data is read, and the plan is checked again", warning]


@pytest.mark.parametrize(("epochs", "warns"), [("2.99", True), ("3", False), ("30", False)])
def test_epochs_below_three_are_warned_of_before_the_data_are_read(epochs: str, *, warns: bool) -> None:
    """The bound itself is enough; steps say nothing before the data are read."""
    assert (few_epochs_of_spec(_spec(epochs=epochs)) is not None) == warns
    assert few_epochs_of_spec(_spec(steps=27)) is None


@pytest.mark.parametrize(("num_train", "warns"), [(576, False), (577, True), (6400, True)])
def test_data_that_are_seen_less_than_three_times_are_warned_of(num_train: int, *, warns: bool) -> None:
    """27 steps of 64 are 1,728 examples: three times 576."""
    assert (few_epochs(_spec(steps=27), num_train) is not None) == warns


def test_the_warning_has_the_numbers_and_what_to_write() -> None:
    """Passes, steps, batch size, and the steps that three passes are."""
    assert few_epochs(_spec(steps=27), 6400) == (
        "one training sees each of the 6,400 training examples 0.27 times (27 steps of 64): below 3 times, longer trainings gain more than"
        ' a search; write training.epochs: "3" or more in place of training.steps (300 steps)'
    )


def test_a_search_for_a_model_is_not_told_to_train_longer() -> None:
    """It decides itself whether a longer training is worth more than a search: 27 steps are then no length of a training."""
    document = with_change(_document(steps=27), "spec.budget", {"trainings": "40", "for": "Model"})
    spec = accept(with_change(document, "spec.task.recipe", {"schedule": "WSD"}))[0].spec

    assert (few_epochs(spec, 6400), few_epochs_of_spec(spec)) == (None, None)
