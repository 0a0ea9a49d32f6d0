"""Which configurations the lanes train: the default first, then a Latin design over the hyperparameters.

Ours (ALGORITHMS section 6, "First plan"): every second lane keeps the default architecture, the others draw one. Each half has a design
of its own, in which every choice of a hyperparameter is used equally often, so few lanes cover a range; permutations are drawn anew
whenever all choices were used, so that hyperparameters with equally many choices do not go in step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

from autohas_api.space import Configuration, Role, Space
from autohas_trainer.algorithms._base import Candidate
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
    return [Candidate(name=f"lane {n}" if n else "default", configuration=c) for n, c in enumerate(distinct)]


def _design(space: Space, seed: int) -> Iterator[Configuration]:
    """Lanes without end: default architecture and drawn one in turn, where both are searched."""
    uniform = Policy(space, learning_rate=1.0)
    of_default, of_drawn = _latin(space, seed, "default"), _latin(space, seed, "drawn")
    has_drawn_lanes = bool(space.searched(Role.ARCHITECTURE))
    has_default_lanes = bool(space.searched(Role.UPDATE_RULE, Role.TRAINING)) or not has_drawn_lanes
    for number in count():
        if has_default_lanes:
            yield _merged(space, space.default, next(of_default))
        if has_drawn_lanes:
            drawn = uniform.sample(stream(seed, "lanes", "architecture", number)).configuration
            yield _merged(space, drawn, next(of_drawn))


def _latin(space: Space, seed: int, half: str) -> Iterator[dict[str, str]]:
    """Hyperparameters of one half's lanes: in each run of as many lanes as a hyperparameter has choices, each choice once."""
    hyperparameters = space.searched(Role.UPDATE_RULE, Role.TRAINING)
    for number in count():
        chosen = {}
        for decision in hyperparameters:
            block, position = divmod(number, len(decision.choices))
            order = stream(seed, "lanes", half, decision.name, block).permutation(len(decision.choices))
            chosen[decision.name] = decision.choices[int(order[position])]
        yield chosen


def _merged(space: Space, architecture: Configuration, hyperparameters: dict[str, str]) -> Configuration:
    return space.configuration({**space.as_mapping(architecture), **hyperparameters})
