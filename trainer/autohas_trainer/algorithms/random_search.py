"""RandomSearch: the multi-trial control. Every trial is a full training of its own; nothing is shared.

Source: Bergstra & Bengio, "Random Search for Hyper-Parameter Optimization"; drawn by Optuna's RandomSampler.
Ours: the default configuration is trial 0, as it is a candidate everywhere, and the initial points follow it. A continuous range is drawn
from itself, uniformly or by its exponent; its bases are the controller's. Whole numbers are drawn from those that `step` leaves, choices
from the choices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from autohas_api.space.decisions import Configuration, Decision, Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.algorithms._trials import TrialAlgorithm
from autohas_trainer.algorithms.uniform import draw_active
from autohas_trainer.seeding import stream

if TYPE_CHECKING:
    import optuna

__all__ = ["RandomSearch"]

_MOST_REPEATS: Final = 1000
"""Draws in a row that were trials already, after which what is left of a space is too unlikely to be drawn."""


class RandomSearch(TrialAlgorithm):
    """Proposes trials; has no shared weights and no controller that learns."""

    def __init__(self, space: Space, initial: Sequence[Configuration] = ()) -> None:
        """Propose the default, then `initial`, then what Optuna draws."""
        super().__init__(space)
        self._initial = initial
        self._sequences: dict[int, _Sequence] = {}

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:
        """The algorithm of a search, at its start."""
        return cls(space, initial_points(spec, space))

    def propose(self, number: int, seed: int, history: Sequence[TrialRecord], left_out: Collection[Configuration]) -> Configuration | None:  # noqa: ARG002 - the protocol's
        """The `number`-th distinct configuration of the seed, from 0; None where there are fewer. Results change nothing. Needs Optuna."""
        if seed not in self._sequences:
            self._sequences[seed] = _Sequence(self._draw_distinct(seed))
        return self._sequences[seed].find(number)

    def _draw_distinct(self, seed: int) -> Iterator[Configuration]:
        """The default, the initial points, then what Optuna draws, each configuration once."""
        distinct = dict.fromkeys((self._space.default, *self._initial))
        yield from distinct
        is_countable = all(decision.range is None for decision in self._space.searched_decisions())
        sampler = _OptunaSampler(self._space, int(stream(seed, "trials").integers(2**31)))
        drawn, num_repeats = set[Configuration](), 0
        while num_repeats < _MOST_REPEATS and not (is_countable and len(drawn) == self._space.size()):
            drawn.add(configuration := sampler.draw())
            if configuration in distinct:
                num_repeats += 1
                continue
            distinct[configuration], num_repeats = None, 0
            yield configuration


class _Sequence:
    """Configurations that are drawn as far as they are asked for: a process that asks for n trials pays for n draws."""

    def __init__(self, source: Iterator[Configuration]) -> None:
        self._source = source
        self._drawn: list[Configuration] = []

    def find(self, number: int) -> Configuration | None:
        """Element `number`, from 0; None where the sequence is shorter."""
        self._drawn += islice(self._source, max(0, number + 1 - len(self._drawn)))
        return self._drawn[number] if number < len(self._drawn) else None


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
