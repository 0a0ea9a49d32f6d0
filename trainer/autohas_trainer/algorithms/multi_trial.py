"""The multi-trial algorithms except RandomSearch: trials with trainings of their own, which a sampler proposes and a schedule cuts short.

The default is trial 0 and the spec's initial points follow it, whatever the sampler is. A configuration is a trial once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from autohas_api.space.decisions import Configuration, Space
from autohas_trainer.algorithms._proposer import Sampler, TrialRecord
from autohas_trainer.algorithms._trials import TrialAlgorithm
from autohas_trainer.algorithms.one_factor import find_change
from autohas_trainer.algorithms.uniform import draw_uniformly
from autohas_trainer.seeding import stream

__all__ = ["MultiTrial"]

_DRAWS_OF_SAMPLER: Final = 50
"""Draws of the sampler for one trial before it is drawn uniformly: a sampler that is certain repeats itself."""
_UNIFORM_DRAWS: Final = 1000
"""Uniform draws after which what is left of a space is too unlikely to be drawn."""


class MultiTrial(TrialAlgorithm):
    """Proposes trials; has no shared weights and no controller that learns."""

    def __init__(
        self,
        space: Space,
        sampler: Sampler,
        *,
        initial: Sequence[Configuration] = (),
        parallel_trials: int = 1,
        find_parent: Callable[[Sequence[TrialRecord]], TrialRecord | None] | None = None,
    ) -> None:
        """Propose the default, then `initial`, then what the sampler draws.

        A draw knows the results of all trials before it but the last `parallel_trials - 1`. `find_parent` says which trial is bred after a
        history; None: none is.
        """
        super().__init__(space)
        self._sampler, self._parallel_trials = sampler, parallel_trials
        self._find_parent = find_parent
        self._first = (space.default, *(point for point in dict.fromkeys(initial) if point != space.default))

    def propose(self, number: int, seed: int, history: Sequence[TrialRecord], left_out: Collection[Configuration]) -> Configuration | None:
        """The configuration of trial `number`, none of `left_out`; None where the space has no more of them, or only unlikely ones."""
        if number < len(self._first):
            return self._first[number]
        known = self._list_known(number, history)
        rng = stream(seed, "trials", number)
        for _ in range(_DRAWS_OF_SAMPLER):
            if (drawn := self._sampler.draw(known, rng)) not in left_out:
                return drawn
        uniform = (draw_uniformly(self._space, rng) for _ in range(_UNIFORM_DRAWS))
        return next((drawn for drawn in uniform if drawn not in left_out), None)

    def find_parent(self, number: int, configuration: Configuration, history: Sequence[TrialRecord]) -> int | None:
        """The trial of which trial `number` is a copy with one change; None where it was not bred. The history may be a later one."""
        if self._find_parent is None or number < len(self._first):
            return None
        parent = self._find_parent(self._list_known(number, history))
        is_child = parent is not None and find_change(self._space, parent.configuration, configuration) is not None
        return parent.number if parent is not None and is_child else None

    def _list_known(self, number: int, history: Sequence[TrialRecord]) -> list[TrialRecord]:
        """What is known when trial `number` is proposed."""
        return [record for record in history if record.number <= number - self._parallel_trials]
