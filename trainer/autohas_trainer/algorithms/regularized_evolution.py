"""RegularizedEvolution: a population whose oldest member dies. The sampler.

    the first trials    the default, initial points and uniform draws, as many as the population has members
    every other trial   a random sample of the population; a copy of its best member, in which one decision is changed
    who dies            the oldest member, however good it is; without aging the worst member of the sample

Source: Real et al. (2019), "Regularized Evolution for Image Classifier Architecture Search". Without aging and with a sample of two, Real
et al. (2017), "Large-Scale Evolution of Image Classifiers".
Ours: a sample has distinct members, as in the public code of NAS-Bench-101; the authors' own code may draw a member twice.
Hyperparameters are changed as architecture is. A changed decision takes any of its other choices, or any value of its range;
decisions that the change makes active have their default. There is no mutation that changes nothing: a configuration is a trial once.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from autohas_api.algorithms.regularized_evolution import RegularizedEvolution
from autohas_api.space.decisions import Configuration, Decision, Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.algorithms.multi_trial import MultiTrial
from autohas_trainer.algorithms.uniform import draw_uniformly, draw_value
from autohas_trainer.seeding import stream

__all__ = ["EvolutionSampler", "build_evolution", "mutate"]


class EvolutionSampler:
    """Proposes children of good members of a population, which is a function of seed and history."""

    def __init__(self, space: Space, seed: int, *, population: int, sample: int, aging: bool) -> None:
        """Draw from `space`.

        Args:
            space: What is searched.
            seed: Of the search; it keys the samples.
            population: Number of members.
            sample: Members of which the best one is copied, at most `population`.
            aging: Whether the oldest member dies, not the worst one of the sample.
        """
        self._space, self._seed = space, seed
        self._population, self._sample, self._aging = population, sample, aging

    def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:
        """A uniform configuration as long as the population is not complete, then a child of `find_parent`."""
        parent = self.find_parent(history)
        return draw_uniformly(self._space, rng) if parent is None else mutate(self._space, parent.configuration, rng)

    def find_parent(self, history: Sequence[TrialRecord]) -> TrialRecord | None:
        """The best member of the sample that is due after this history, the oldest one of equals; None: the population is not complete."""
        trials = _list_trials(history)
        if len(trials) < self._population:
            return None
        return max(self._draw_sample(self.list_members(trials), len(trials)), key=attrgetter("key"))

    def list_members(self, history: Sequence[TrialRecord]) -> list[TrialRecord]:
        """The members that live after this history, the oldest first."""
        trials = _list_trials(history)
        if self._aging:
            return trials[-self._population :]
        members = trials[: self._population]
        for num_known in range(self._population, len(trials)):
            members.remove(min(self._draw_sample(members, num_known), key=attrgetter("key")))
            members.append(trials[num_known])
        return members

    def _draw_sample(self, members: Sequence[TrialRecord], num_known: int) -> list[TrialRecord]:
        """Distinct members, the oldest first. Keyed by the number of known trials, so that a later draw can find out who died."""
        rng = stream(self._seed, "tournament", num_known)
        return [members[index] for index in sorted(rng.choice(len(members), size=self._sample, replace=False).tolist())]


def mutate(space: Space, parent: Configuration, rng: np.random.Generator) -> Configuration:
    """The parent with another value of one of its active decisions, each of which is as likely."""
    values = space.as_mapping(parent)
    active = [decision for decision in space.searched_decisions() if space.is_active(decision, values)]
    decision = active[int(rng.integers(len(active)))]
    return space.configuration({**values, decision.name: _draw_other(decision, values[decision.name], rng)})


def _draw_other(decision: Decision, value: str, rng: np.random.Generator) -> str:
    if decision.range is not None:
        return draw_value(decision, rng)
    others = [choice for choice in decision.choices if choice != value]
    return others[int(rng.integers(len(others)))]


def _list_trials(history: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The latest record of each trial, by its number: the default is compared at every rung, other trials at their end only."""
    return list({record.number: record for record in history}.values())


def build_evolution(spec: Spec, space: Space) -> MultiTrial:
    """The algorithm of a search, at its start."""
    knobs = spec.algorithm.knobs_as(RegularizedEvolution)
    sampler = EvolutionSampler(space, spec.algorithm.seed, population=knobs.population, sample=knobs.sample, aging=knobs.aging)
    return MultiTrial(
        space,
        sampler,
        initial=initial_points(spec, space),
        parallel_trials=knobs.parallel_trials,
        find_parent=sampler.find_parent,
    )
