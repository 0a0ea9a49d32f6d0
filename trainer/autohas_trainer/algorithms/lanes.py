"""Which configurations the lanes train: the default first, then a Latin design over the hyperparameters.

Ours (ALGORITHMS section 6, "First plan"): every second lane keeps the default architecture, the others draw one; choices of a
hyperparameter are used equally often, so few lanes cover a range.
"""

from __future__ import annotations

from collections.abc import Sequence

from autohas_api.space import Configuration, Role, Space
from autohas_trainer.algorithms._base import Candidate
from autohas_trainer.seeding import stream
from autohas_trainer.space.policy import Policy

__all__ = ["lane_candidates"]


def lane_candidates(space: Space, num_lanes: int, seed: int, initial: Sequence[Configuration] = ()) -> list[Candidate]:
    """`num_lanes` distinct configurations (fewer when the space is smaller): the default, so called, `initial`, then the design."""
    hyperparameters = space.searched(Role.UPDATE_RULE, Role.TRAINING)
    orders = {d.name: stream(seed, "lanes", "order", d.name).permutation(len(d.choices)).tolist() for d in hyperparameters}
    uniform = Policy(space, learning_rate=1.0)
    seen = dict.fromkeys((space.default, *initial))
    lanes = [Candidate(name=f"lane {n}" if n else "default", configuration=c) for n, c in enumerate(seen)]
    attempts = 0
    while len(lanes) < num_lanes and attempts < 50 * num_lanes:
        latin = {d.name: d.choices[orders[d.name][attempts % len(d.choices)]] for d in hyperparameters}
        keeps_default = attempts % 2 == 0 and bool(hyperparameters)
        architecture = space.default if keeps_default else uniform.sample(stream(seed, "lanes", "architecture", attempts)).configuration
        configuration = _merged(space, architecture, latin)
        attempts += 1
        if configuration not in seen:
            seen[configuration] = None
            lanes.append(Candidate(name=f"lane {len(lanes)}", configuration=configuration))
    return lanes


def _merged(space: Space, architecture: Configuration, hyperparameters: dict[str, str]) -> Configuration:
    return space.configuration({**space.as_mapping(architecture), **hyperparameters})
