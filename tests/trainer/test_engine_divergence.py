"""Whatever diverges, at whichever moment, loses; only the default's divergence ends a search, and never in a loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_fixtures import MemorySink, search, small_search

from autohas_api.testing import changed
from autohas_trainer.engine import training as training_module
from autohas_trainer.engine.comparison import Comparison, diverged
from autohas_trainer.engine.stages.best_of import BestOfStage
from autohas_trainer.engine.training import Training
from autohas_trainer.errors import NumericalError

SHARING: dict[str, Any] = {"name": "RandomSharing", "randomSharing": {"numSamples": 5}}


def _diverge_at(monkeypatch: pytest.MonkeyPatch, step: int, *, only_default: bool) -> None:
    """Let trainings lose all sense at a step."""
    original = Training.step

    def stepped(self: Training) -> float:
        is_default = self.configuration == self._problem.space.default
        if self.num_steps_done == step and (is_default or not only_default):
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setattr(training_module.Training, "step", stepped)


def test_a_winner_that_is_the_default_under_another_name_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RandomSharing's sample equals the default and diverges: there is nothing to fall back to, so exit 70, not a loop."""
    monkeypatch.setattr(BestOfStage, "_samples", lambda stage: [stage._board.problem.space.default])
    _diverge_at(monkeypatch, 20, only_default=True)
    sink = MemorySink()

    with pytest.raises(NumericalError, match="the default configuration diverged at step 20"):
        search(small_search(SHARING), tmp_path, sink)
    assert [notice.reason for notice in sink.notices] == []


def test_another_winner_that_diverges_falls_back_to_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is trained instead, once, and a notice says so."""
    original = Training.step

    def stepped(self: Training) -> float:
        if self.num_steps_done == 20 and self.configuration != self._problem.space.default:
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setattr(training_module.Training, "step", stepped)
    sink = MemorySink()
    outcome = search(small_search(SHARING), tmp_path, sink)

    assert outcome.winner == "default"
    assert [notice.reason for notice in sink.notices] == ["WinnerDiverged"]


def _last_comparison_fails(monkeypatch: pytest.MonkeyPatch, *, of_default: bool) -> None:
    """Let the last update of trainings overflow: every loss before it was finite, the comparison is not."""
    compare = Training.compare

    def compared(self: Training, on_batch: Callable[[], None]) -> Comparison:
        is_default = self.configuration == self._problem.space.default
        if self.is_finished and is_default == of_default:
            for parameter in self._parameters.values():
                parameter.data.fill_(math.nan)
            for buffer in self._module.buffers():
                if buffer.is_floating_point():
                    buffer.fill_(math.nan)
        return compare(self, on_batch)

    monkeypatch.setattr(training_module.Training, "compare", compared)


def test_a_default_that_overflows_in_its_last_step_is_a_numerical_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its finished network gives no number: exit 70 with the cure, not a crash."""
    _last_comparison_fails(monkeypatch, of_default=True)

    with pytest.raises(NumericalError, match=r"lower task.recipe.learningRate"):
        search(small_search(), tmp_path, MemorySink())


@pytest.mark.parametrize("algorithm", [None, SHARING], ids=["Lanes", "RandomSharing"])
def test_a_winner_that_overflows_in_its_last_step_loses(
    algorithm: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is the answer."""
    _last_comparison_fails(monkeypatch, of_default=False)

    assert search(small_search(algorithm), tmp_path, MemorySink()).winner == "default"


def test_a_sample_without_a_finite_score_is_last(tmp_path: Path) -> None:
    """Rates of 1e20 under log_loss give scores that are no numbers: the search ends with a result all the same."""
    document = changed(small_search(SHARING), "spec.objective", {"metric": "log_loss", "direction": "Minimize"})
    document = changed(
        document,
        "spec.searchSpace.hyperparameters",
        [{"name": "learning_rate", "continuous": {"min": "0.1", "max": "1e20", "scale": "Log", "numBases": 3}, "default": "0.1"}],
    )
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)
    scores = [record.reward for record in sink.steps if record.candidate is not None and record.candidate.startswith("sample")][:5]

    assert None in scores
    assert outcome.configuration["learning_rate"] == "0.1" or outcome.winner == "default"


def test_a_diverged_comparison_is_below_every_other() -> None:
    """Its key and score are minus infinity."""
    assert (diverged(3).key, diverged(3).score) == (-math.inf, -math.inf)
