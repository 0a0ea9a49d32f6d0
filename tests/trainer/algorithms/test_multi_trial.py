"""What a multi-trial algorithm proposes, and what its sampler may know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from autohas_api.base.condition import When
from autohas_api.space.decisions import Configuration, Decision, Range, Role, Space
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.algorithms.multi_trial import MultiTrial
from autohas_trainer.algorithms.uniform import UniformSampler, draw_uniformly
from autohas_trainer.seeding import stream

DEPTH = Decision(name="depth", role=Role.ARCHITECTURE, choices=("1", "2", "3"), default="1")
WIDTH = Decision(name="width", role=Role.ARCHITECTURE, choices=("8", "16"), default="8", when=When(decision="depth", values=["3"]))
RATE = Decision(
    name="learning_rate",
    role=Role.UPDATE_RULE,
    choices=("0.001", "0.1"),
    default="0.1",
    range=Range(minimum=0.001, maximum=0.1, is_log=True),
)
SMALL = Space(decisions=(DEPTH, WIDTH))


class Spy:
    """Draws uniformly and keeps the numbers of the trials that it was shown."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.seen: list[list[int]] = []

    def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:
        self.seen.append([record.number for record in history])
        return draw_uniformly(self._space, rng)


class Stubborn:
    """Always draws the default."""

    def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:
        return SMALL.default


def _records(count: int) -> list[TrialRecord]:
    return [TrialRecord(number=number, configuration=SMALL.default, rung=2, score=0.0) for number in range(count)]


@pytest.mark.parametrize(("parallel_trials", "seen"), [(1, [0, 1, 2, 3, 4]), (2, [0, 1, 2, 3]), (4, [0, 1]), (9, [])])
def test_a_proposal_knows_the_trials_that_would_be_finished(parallel_trials: int, seen: list[int]) -> None:
    """Trial 5 of n parallel ones is proposed from the results of trials 0 to 5 - n."""
    spy = Spy(SMALL)
    MultiTrial(SMALL, spy, parallel_trials=parallel_trials).propose(5, 0, _records(5), set())
    assert spy.seen[0] == seen


def test_a_proposal_is_a_function_of_seed_number_and_history() -> None:
    """Whatever was proposed before it, in whatever process."""
    space = Space(decisions=(RATE,))
    first, second = (MultiTrial(space, UniformSampler(space)) for _ in range(2))
    for number in range(1, 5):
        first.propose(number, 3, [], set())
    assert first.propose(7, 3, [], set()) == second.propose(7, 3, [], set())
    assert second.propose(7, 3, [], set()) != second.propose(8, 3, [], set())
    assert second.propose(7, 3, [], set()) != second.propose(7, 4, [], set())


def test_the_default_and_the_initial_points_come_first() -> None:
    """Trial 0 is the default; an initial point that is the default is no trial of its own."""
    point = SMALL.configuration({"depth": "3", "width": "16"})
    algorithm = MultiTrial(SMALL, UniformSampler(SMALL), initial=[SMALL.default, point])
    assert [algorithm.propose(number, 0, [], set()) for number in (0, 1)] == [SMALL.default, point]


def test_a_sampler_that_repeats_itself_is_replaced_by_uniform_draws_until_the_space_is_empty() -> None:
    """Depth 1, 2, and 3 with two widths: four configurations, each proposed once, then none."""
    algorithm, proposed = MultiTrial(SMALL, Stubborn()), {SMALL.default}
    for number in range(1, 4):
        following = algorithm.propose(number, 0, [], proposed)
        assert following is not None
        assert following not in proposed
        proposed.add(following)
    assert len(proposed) == SMALL.size() == 4
    assert algorithm.propose(4, 0, [], proposed) is None


def test_uniform_draws_take_choices_alike_and_ranges_by_their_exponent() -> None:
    """3,000 draws: each depth a third, the median of the rate 0.01; an inactive width holds its default."""
    space, rng = Space(decisions=(DEPTH, WIDTH, RATE)), stream(0, "uniform")
    drawn = [space.as_mapping(draw_uniformly(space, rng)) for _ in range(3000)]
    assert all(abs(count - 1000) < 100 for count in Counter(values["depth"] for values in drawn).values())
    assert np.median([float(values["learning_rate"]) for values in drawn]) == pytest.approx(0.01, rel=0.1)
    assert {values["width"] for values in drawn if values["depth"] != "3"} == {"8"}
    assert {values["width"] for values in drawn if values["depth"] == "3"} == {"8", "16"}
