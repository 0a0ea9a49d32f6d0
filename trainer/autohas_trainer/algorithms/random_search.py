"""RandomSearch: the multi-trial control. Every trial is a full training of its own; nothing is shared.

Source: Bergstra & Bengio, "Random Search for Hyper-Parameter Optimization"; drawn by Optuna's RandomSampler.
Ours: the default configuration is trial 0, as it is a candidate everywhere. A continuous range is drawn from itself, uniformly or by its
exponent; its bases are the controller's. Whole numbers are drawn from those that `step` leaves, choices from the choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from autohas_api.space.decisions import Configuration, Decision, Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Candidate
from autohas_trainer.algorithms.uniform import draw_active
from autohas_trainer.events import DEFAULT
from autohas_trainer.space.policy import Policy

if TYPE_CHECKING:
    import optuna

__all__ = ["RandomSearch"]

_DRAWS_PER_TRIAL = 50
"""Draws after which what is left of a space is too unlikely to be drawn."""


class RandomSearch:
    """Proposes trials; has no shared weights and no controller that learns."""

    def __init__(self, space: Space, initial: Sequence[Configuration] = ()) -> None:
        """Propose the default, then `initial`, then what Optuna draws."""
        self._initial = initial
        self.policy = Policy(space, learning_rate=1.0)
        self._space = space

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:
        """The algorithm of a search, at its start."""
        return cls(space, initial_points(spec, space))

    def begin(self, reference: Configuration) -> None:
        """Nothing to take: there are no lanes."""

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """`count` distinct trials (fewer when the space is smaller), the default first. Needs Optuna."""
        is_countable = all(decision.range is None for decision in self._space.searched_decisions())
        sampler = _OptunaSampler(self._space, int(rng.integers(2**31)))
        distinct = dict.fromkeys(islice((self._space.default, *self._initial), count))
        drawn: set[Configuration] = set()
        for _ in range(_DRAWS_PER_TRIAL * count):
            if len(distinct) == count or (is_countable and len(drawn) == self._space.size()):
                break
            configuration = sampler.draw()
            drawn.add(configuration)
            distinct[configuration] = None
        return [Candidate(name=f"trial {i}" if i else DEFAULT, configuration=c) for i, c in enumerate(distinct)]

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes: trials are a function of the seed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""


class _OptunaSampler:
    """Draws configurations by Optuna's define-by-run interface, so that inactive decisions are never drawn."""

    def __init__(self, space: Space, seed: int) -> None:
        import optuna  # noqa: PLC0415 - half a second that only this algorithm pays

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

    def draw(self) -> Configuration:
        """One configuration."""
        trial = self._study.ask()
        return draw_active(self._space, lambda decision: _suggest(trial, decision))


def _suggest(trial: optuna.Trial, decision: Decision) -> str:
    """A value of the range, or one of the choices."""
    if decision.range is None:
        return str(trial.suggest_categorical(decision.name, decision.choices))
    low, high = decision.range.minimum, decision.range.maximum
    return decision.range.write(trial.suggest_float(decision.name, low, high, log=decision.range.is_log))
