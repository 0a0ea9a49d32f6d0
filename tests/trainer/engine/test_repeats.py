"""training.seeds: the winner is trained again with further seeds; mean and deviation of the test score, paid for by the budget."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.budget.steps_per_stage import minimum_trainings, plan_stages
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage, StopReason, decode_termination_message, encode_termination_message
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import StepRecord
from engine_fixtures import ALGORITHM_ROWS, Killed, MemorySink, search, small_search


def _document(algorithm: str = "Lanes", seeds: int = 3) -> dict[str, Any]:
    document = with_change(small_search(ALGORITHM_ROWS[algorithm]), "spec.budget.trainings", "14")
    return with_change(document, "spec.training.seeds", seeds)


@pytest.mark.parametrize("algorithm", ALGORITHM_ROWS)
def test_every_seed_is_a_whole_training_of_its_own(algorithm: str, tmp_path: Path) -> None:
    """Two further trainings of 27 steps in Evaluate; three scores, mean and sample deviation in the termination message."""
    sink = MemorySink()
    outcome = search(_document(algorithm), tmp_path, sink)
    repeats = [s.candidate for s in sink.steps if s.candidate in ("seed 1", "seed 2")]

    assert repeats == ["seed 1"] * 27 + ["seed 2"] * 27
    assert all(s.stage is Stage.EVALUATE for s in sink.steps if s.candidate in ("seed 1", "seed 2"))
    assert len(outcome.test_scores) == outcome.result.seeds == 3
    assert outcome.test_scores[0] == outcome.result.test_score
    assert outcome.result.test_mean == statistics.fmean(outcome.test_scores)
    assert outcome.result.test_standard_deviation == statistics.stdev(outcome.test_scores)
    losses = [[s.loss for s in sink.steps if s.candidate == f"seed {seed}"] for seed in (1, 2)]
    assert losses[0] != losses[1]
    assert sink.steps[-1].step == sink.steps[-1].steps
    assert decode_termination_message(encode_termination_message(outcome.result)) == outcome.result


def test_one_seed_has_no_mean(tmp_path: Path) -> None:
    """A deviation of one number says nothing."""
    result = search(_document(seeds=1), tmp_path, MemorySink()).result

    assert (result.test_mean, result.test_standard_deviation, result.seeds) == (None, None, 1)


def test_the_budget_pays_for_every_further_seed() -> None:
    """Three seeds leave a search of 14 trainings what one seed leaves a search of 12, and raise the least budget by 2."""
    three, space = accept(_document())
    one, _ = accept(with_change(_document(seeds=1), "spec.budget.trainings", "12"))
    plan, cheaper = plan_stages(three.spec, space), plan_stages(one.spec, space)

    assert (plan.num_lanes, plan.supernet_steps) == (cheaper.num_lanes, cheaper.supernet_steps)
    assert plan.predicted_trainings == cheaper.predicted_trainings + 2
    assert minimum_trainings(three.spec, space) == minimum_trainings(one.spec, space) + 2
    assert plan.evaluate_steps == 2 * 27


@pytest.mark.parametrize("moment", [-1, -20, -28, -40, -54, -55])
def test_killed_while_repeating_the_end_is_the_same(moment: int, tmp_path: Path) -> None:
    """Kill -9 at the last steps of either repeat, or before the first: same scores, same digest."""
    undisturbed = MemorySink()
    expected = search(_document(), tmp_path / "whole", undisturbed)

    def kill(record: StepRecord) -> None:
        if record.step == undisturbed.steps[moment].step:
            raise Killed

    with pytest.raises(Killed):
        search(_document(), tmp_path / "parts", MemorySink(on_step=kill))
    outcome = search(_document(), tmp_path / "parts", MemorySink())

    assert outcome.test_scores == expected.test_scores
    assert outcome.result.digest == expected.result.digest


def test_a_goal_still_repeats_the_winner(tmp_path: Path) -> None:
    """An early end skips the search, not the seeds; progress ends at its last step."""
    sink = MemorySink()
    outcome = search(with_change(_document(), "spec.objective", {"goal": "0.3"}), tmp_path, sink)

    assert outcome.result.stop_reason is StopReason.GOAL_REACHED
    assert outcome.result.seeds == 3
    assert sink.steps[-1].step == sink.steps[-1].steps


def test_a_repeat_that_overflows_in_its_last_step_has_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loss of seed 2 was a number, its finished weights are not: two scores are left, and a notice says so."""
    update = Training._update_average

    def overflow(self: Training) -> None:
        update(self)
        if self.repeat == 2 and self.num_steps_done == self.recipe.steps - 1:
            next(iter(self._parameters.values())).data.fill_(math.inf)

    monkeypatch.setattr(Training, "_update_average", overflow)
    sink = MemorySink()
    outcome = search(_document(), tmp_path, sink)

    assert (outcome.result.seeds, len(outcome.test_scores)) == (2, 2)
    assert [notice.reason for notice in sink.other_notices] == ["RepeatDiverged"]
