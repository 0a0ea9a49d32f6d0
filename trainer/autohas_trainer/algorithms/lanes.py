"""Which configurations the lanes train: the default first, then a Latin design over the hyperparameters.

Ours: every second lane keeps the default architecture, the others draw one. Each choice of a
hyperparameter is used equally often, and equally often with the default architecture, so few lanes cover a range. Permutations are
drawn for each hyperparameter separately, so that two with equally many choices are not correlated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

from autohas_api.space.decisions import Configuration, Decision, Role, Space
from autohas_trainer.algorithms._base import Candidate
from autohas_trainer.events import DEFAULT
from autohas_trainer.seeding import stream
from autohas_trainer.space.policy import Policy

__all__ = ["lane_candidates"]

_DRAWS_PER_LANE = 50
"""Draws after which a space is taken to have no configuration left that is no lane yet."""


def lane_candidates(space: Space, num_lanes: int, seed: int, initial: Sequence[Configuration] = ()) -> list[Candidate]:
    """`num_lanes` distinct configurations (fewer when the space is smaller): the default, so called, `initial`, then the design."""
    distinct = dict.fromkeys((space.default, *initial))
    for configuration in islice(_design(space, seed), _DRAWS_PER_LANE * num_lanes):
        if len(distinct) >= num_lanes:
            break
        distinct[configuration] = None
    return [Candidate(name=f"lane {n}" if n else DEFAULT, configuration=c) for n, c in enumerate(distinct)]


def _design(space: Space, seed: int) -> Iterator[Configuration]:
    """Lanes without end: default architecture and drawn one in turn, where both are searched."""
    uniform = Policy(space, learning_rate=1.0)
    hyperparameters = space.searched_decisions(Role.UPDATE_RULE, Role.TRAINING)
    is_mixed = bool(hyperparameters) and bool(space.searched_decisions(Role.ARCHITECTURE))
    for number in count():
        latin = {decision.name: _latin(decision, number, seed) for decision in hyperparameters}
        keeps_default = bool(hyperparameters) and not (is_mixed and number % 2)
        drawn = space.default if keeps_default else uniform.sample(stream(seed, "lanes", "architecture", number)).configuration
        yield space.configuration({**space.as_mapping(drawn), **latin})


def _latin(decision: Decision, number: int, seed: int) -> str:
    """The choice of lane `number`: in each run of n lanes each of n choices once, in each run of 2n once with either architecture.

    The second run of a pair repeats the first's permutation, turned by an odd number of places where n is even: otherwise a choice
    would come back on lanes of the same parity, and so always with the default architecture, or never.
    """
    num_choices = len(decision.choices)
    run, position = divmod(number, num_choices)
    rng = stream(seed, "lanes", "order", decision.name, run // 2)
    order, turn = rng.permutation(num_choices), 2 * int(rng.integers((num_choices + 1) // 2)) + 1
    if run % 2 and num_choices % 2 == 0:
        position += turn
    return decision.choices[int(order[position % num_choices])]
