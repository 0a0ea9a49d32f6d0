"""Whatever diverges, at whichever moment, loses; only the default's divergence ends a search, and never in a loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autohas_api.space.decisions import Role
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.algorithms import Candidate
from autohas_trainer.algorithms.random_sharing import RandomSharing
from autohas_trainer.data import TestBatch
from autohas_trainer.engine.stages import lanes as lanes_module
from autohas_trainer.engine.stages.best_of import BestOfStage
from autohas_trainer.engine.training import training as training_module
from autohas_trainer.engine.training.comparison import Comparison, lose_by_divergence, rank
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import NumericalError
from custom_search_fixtures import NOISE, searched
from engine_fixtures import MemorySink, search, small_search

SHARING: dict[str, Any] = {"name": "RandomSharing", "randomSharing": {"numSamples": 5}}


def _diverge_at(monkeypatch: pytest.MonkeyPatch, step: int, *, only_default: bool) -> None:
    """Let trainings lose all sense at a step."""
    original = Training.step

    def stepped(self: Training) -> float | None:
        is_default = self.configuration == self._search_task.space.default
        if self.num_steps_done == step and (is_default or not only_default):
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setattr(training_module.Training, "step", stepped)


def test_a_winner_that_is_the_default_under_another_name_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RandomSharing's sample equals the default and diverges: there is nothing to fall back to, so exit 70, not a loop."""
    monkeypatch.setattr(BestOfStage, "_samples", property(lambda stage: [stage._state.search_task.space.default]))
    _diverge_at(monkeypatch, 20, only_default=True)
    sink = MemorySink()

    with pytest.raises(NumericalError, match="the default configuration diverged at step 20"):
        search(small_search(SHARING), tmp_path, sink)
    assert [notice.reason for notice in sink.other_notices] == []


def test_another_winner_that_diverges_falls_back_to_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is trained instead, once; one notice says so, another that nothing was set aside for this training."""
    original = Training.step

    def stepped(self: Training) -> float | None:
        if self.num_steps_done == 20 and self.configuration != self._search_task.space.default:
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setattr(training_module.Training, "step", stepped)
    sink = MemorySink()
    outcome = search(small_search(SHARING), tmp_path, sink)

    assert outcome.winner == "default"
    assert [notice.reason for notice in sink.other_notices] == ["WinnerDiverged", "BudgetExceeded"]


def _last_comparison_fails(monkeypatch: pytest.MonkeyPatch, *, of_default: bool) -> None:
    """Let the last update of trainings overflow: every loss before it was finite, the comparison is not."""
    compare = Training.compare

    def compared(self: Training, on_batch: Callable[[], None], *, keeps_contributions: bool = False) -> Comparison:
        is_default = self.configuration == self._search_task.space.default
        if self.is_finished and is_default == of_default:
            for parameter in self._parameters.values():
                parameter.data.fill_(math.nan)
            for buffer in self._module.buffers():
                if buffer.is_floating_point():
                    buffer.fill_(math.nan)
        return compare(self, on_batch, keeps_contributions=keeps_contributions)

    monkeypatch.setattr(training_module.Training, "compare", compared)


def test_a_default_that_overflows_in_its_last_step_is_a_numerical_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its finished network gives no number: exit 70 with the hint, not a crash."""
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


def _no_answer_on_test(monkeypatch: pytest.MonkeyPatch, concerned: Callable[[Training], bool]) -> None:
    """Let trainings give no number on the test split: the selection split had none of the inputs that overflow."""
    original = Training.outputs

    def outputs(self: Training, batch: TestBatch) -> torch.Tensor:
        given = original(self, batch)
        return given * math.nan if concerned(self) else given

    monkeypatch.setattr(training_module.Training, "outputs", outputs)


def _is_other(training: Training) -> bool:
    return training.configuration != training._search_task.space.default


def test_a_winner_without_a_finite_answer_on_the_test_split_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is the answer with its own test score, and a notice says why."""
    expected = search(small_search(), tmp_path / "plain", MemorySink())
    _no_answer_on_test(monkeypatch, _is_other)
    sink = MemorySink()
    outcome = search(small_search(), tmp_path / "broken", sink)

    assert (expected.winner == "default", outcome.winner) == (False, "default")
    assert outcome.result.test_score == expected.result.default_test_score
    text = f"{expected.winner} gives outputs on the test split that are not finite, though those on the selection split are"
    assert [(n.reason, n.message) for n in sink.other_notices] == [
        ("WinnerDiverged", f"{text}; the default configuration, trained as long, is the answer instead")
    ]


def test_a_default_without_a_finite_answer_has_no_test_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The winner's result stands alone."""
    _no_answer_on_test(monkeypatch, lambda training: not _is_other(training))
    outcome = search(small_search(), tmp_path, MemorySink())

    assert (outcome.winner == "default", outcome.result.default_test_score) == (False, None)


def test_a_repeat_without_a_finite_answer_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and deviation are of the other two seeds."""
    _no_answer_on_test(monkeypatch, lambda training: training.repeat == 1)
    sink = MemorySink()
    document = with_change(with_change(small_search(), "spec.training.seeds", 3), "spec.budget.trainings", "6")
    outcome = search(document, tmp_path, sink)

    assert outcome.result.seeds == 2
    assert [notice.reason for notice in sink.other_notices] == ["RepeatDiverged"]


def test_nobody_with_a_finite_answer_on_the_test_split_is_a_failure_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate is not to blame: the sentence points to the test inputs."""
    _no_answer_on_test(monkeypatch, lambda training: True)

    with pytest.raises(NumericalError, match="look for numbers in the test inputs that lie far outside of the training inputs"):
        search(small_search(SHARING), tmp_path, MemorySink())


def test_a_sample_without_a_finite_score_is_last(tmp_path: Path) -> None:
    """Rates of 1e20 under log_loss give scores that are no numbers: the search ends with a result all the same."""
    document = with_change(small_search(SHARING), "spec.objective", {"metric": "log_loss", "direction": "Minimize"})
    document = with_change(
        document,
        "spec.searchSpace.hyperparameters",
        [{"name": "learning_rate", "continuous": {"min": "0.1", "max": "1e20", "scale": "Log", "numBases": 3}, "default": "0.1"}],
    )
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)
    scores = [record.reward for record in sink.steps if record.candidate is not None and record.candidate.startswith("sample")][:5]

    assert None in scores
    assert outcome.configuration["learning_rate"] == "0.1" or outcome.winner == "default"


def test_lanes_that_all_diverged_leave_the_default_as_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every survivor but the default diverges between 1/9 and 1/3: the supernet trains with the default's hyperparameters."""
    original = Training.step

    def stepped(self: Training) -> float | None:
        if self.num_steps_done == 5 and self.configuration != self._search_task.space.default:
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setattr(training_module.Training, "step", stepped)
    monkeypatch.setattr(lanes_module, "rank", lambda comparisons: sorted(rank(comparisons), key="default".__eq__))  # default last
    sink = MemorySink()
    search(small_search(), tmp_path, sink)
    hyperparameters = [d.name for d in sink.info.space.decisions if d.role is not Role.ARCHITECTURE] if sink.info else []
    default = sink.info.space.as_mapping(sink.info.space.default) if sink.info else {}
    used = [record.sample for record in sink.steps if record.stage is Stage.SUPERNET]

    assert {r.loss for r in sink.candidates if r.stage is Stage.LANES and r.fraction > 0.2} == {None}
    assert used
    assert all(
        sample is not None and {n: sample[n] for n in hyperparameters} == {n: default[n] for n in hyperparameters} for sample in used
    )


def test_updates_that_are_taken_back_are_told_once(tmp_path: Path) -> None:
    """Rates of 1e38 in the window: every such update is marked as rejected, one notice says so, and the race decides."""
    rates = {
        "name": "learning_rate",
        "continuous": {"min": "0.1", "max": "1e38", "scale": "Log", "numBases": 2, "mixing": "OneHot"},
        "default": "0.1",
    }
    document = small_search({"autoHAS": {"strategy": "OneStep", "sharedUpdate": "Sampled"}}, steps=90)
    sink = MemorySink()
    outcome = search(with_change(document, "spec.searchSpace.hyperparameters", [rates]), tmp_path, sink)
    rejected = [record for record in sink.steps if record.is_rejected]

    assert len(rejected) > 1
    assert all(record.advantage == -3 and record.reward is None for record in rejected)
    assert [notice.reason for notice in sink.other_notices] == ["UpdateRejected"]
    assert any(record.stage is Stage.RACE and record.fraction == 1.0 for record in sink.candidates)
    assert outcome.configuration["learning_rate"] == "0.1"


def test_samples_are_drawn_once_however_many_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand samples drawn again at each of a thousand steps took minutes."""
    original = RandomSharing.candidates
    asked: list[int] = []

    def candidates(self: RandomSharing, number: int, rng: np.random.Generator) -> list[Candidate]:
        asked.append(number)
        return original(self, number, rng)

    monkeypatch.setattr(RandomSharing, "candidates", candidates)
    search(small_search(SHARING), tmp_path, MemorySink())

    assert asked == [5]


def test_a_diverged_comparison_is_below_every_other() -> None:
    """Its key and score are minus infinity."""
    assert (lose_by_divergence(3).key, lose_by_divergence(3).score) == (-math.inf, -math.inf)


@pytest.mark.parametrize("algorithm", [None, {"name": "RandomSearch"}], ids=["Lanes", "RandomSearch"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_rates_and_decays_beyond_float32_diverge(optimizer: str, algorithm: dict[str, Any] | None, tmp_path: Path) -> None:
    """Torch raises for a factor that float32 cannot hold; such a candidate is out as any other that diverges."""
    ranges = [
        {"name": "learning_rate", "continuous": {"min": "0.001", "max": "1e60", "scale": "Log", "numBases": 2}},
        {"name": "weight_decay", "continuous": {"min": "1e-5", "max": "1e60", "scale": "Log", "numBases": 2}},
    ]
    document = with_change(small_search(algorithm), "spec.searchSpace.hyperparameters", ranges)
    document = with_change(document, "spec.task.recipe", {"optimizer": optimizer, "learningRate": "0.001", "momentum": "0.999999"})

    assert math.isfinite(search(document, tmp_path, MemorySink()).result.test_score)


@pytest.mark.parametrize("field", ["learningRate", "weightDecay"])
def test_a_default_beyond_float32_is_a_numerical_failure(field: str, tmp_path: Path) -> None:
    """Exit 70 with the hint, not a crash."""
    with pytest.raises(NumericalError, match=r"lower task.recipe.learningRate"):
        search(with_change(small_search(), "spec.task.recipe", {field: "1e60"}), tmp_path, MemorySink())


def test_a_network_that_only_bfloat16_cannot_train_ends_with_the_precision_to_choose(tmp_path: Path) -> None:
    """Under bfloat16 the default's first loss is NaN, and the sentence offers Float32, with which the same search ends well."""
    document = searched("Plain", NOISE)
    document = with_change(document, "spec.task.model", {"entrypoint": "custom_code_fixtures:Cancelling"})
    document = with_change(document, "spec.task.recipe.learningRate", "0.001")
    with pytest.raises(NumericalError, match=r"diverged at step 0 .* or set task.recipe.precision to Float32"):
        search(with_change(document, "spec.task.recipe.precision", "BFloat16"), tmp_path / "bfloat16", MemorySink())

    outcome = search(with_change(document, "spec.task.recipe.precision", "Float32"), tmp_path / "float32", MemorySink())

    assert math.isfinite(outcome.result.test_score)
