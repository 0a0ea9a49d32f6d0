"""The samplers of TPE, BOHB and RegularizedEvolution: pure, inside the space, and better than chance on a toy; evolution's deaths."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
import pytest

from autohas_api.base.condition import When
from autohas_api.space.decisions import Configuration, Decision, Range, Role, Space
from autohas_trainer.algorithms import bohb
from autohas_trainer.algorithms._order import find_place, sort_choices
from autohas_trainer.algorithms._proposer import Sampler, TrialRecord
from autohas_trainer.algorithms.bohb import DensitySampler
from autohas_trainer.algorithms.regularized_evolution import EvolutionSampler, mutate
from autohas_trainer.algorithms.tpe import ParzenSampler
from autohas_trainer.algorithms.uniform import UniformSampler
from autohas_trainer.seeding import stream

RATE = Decision(
    name="rate",
    role=Role.UPDATE_RULE,
    choices=("0.01", "0.1", "1"),
    default="0.05",
    range=Range(minimum=0.01, maximum=1.0, is_log=True),
)
BATCH = Decision(name="batch", role=Role.TRAINING, choices=("128", "16", "32", "64", "256"), default="20")
DEPTH = Decision(name="depth", role=Role.ARCHITECTURE, choices=("1", "2", "3"), default="2")
THIRD = Decision(name="third", role=Role.ARCHITECTURE, choices=("16", "32", "64"), default="16", when=When(decision="depth", values=("3",)))
ACTIVATION = Decision(name="activation", role=Role.ARCHITECTURE, choices=("relu", "tanh", "silu"), default="gelu")
PINNED = Decision(name="pinned", role=Role.TRAINING, choices=("8",), default="8")
SPACE = Space(decisions=(RATE, BATCH, DEPTH, THIRD, ACTIVATION, PINNED))
LAST = 2

MAKERS: dict[str, Callable[[], Sampler]] = {
    "TPE": lambda: ParzenSampler(SPACE, startup_trials=10, last_rung=LAST),
    "BOHB": lambda: DensitySampler(SPACE),
    "RegularizedEvolution": lambda: EvolutionSampler(SPACE, 7, population=10, sample=3, aging=True),
    "NonAgingEvolution": lambda: EvolutionSampler(SPACE, 7, population=10, sample=2, aging=False),
}


def _score(configuration: Configuration) -> float:
    """Best, 0, at rate 0.3, batch 128, depth 3, third width 64 and tanh; each decision has a share of its own."""
    values = SPACE.as_mapping(configuration)
    third = {"16": 0.3, "32": 0.15, "64": 0.0}[values["third"]] if values["depth"] == "3" else 0.3
    return -(
        abs(math.log10(float(values["rate"]) / 0.3))
        + 0.2 * abs(math.log2(float(values["batch"]) / 128))
        + 0.3 * (3 - int(values["depth"]))
        + third
        + (0.0 if values["activation"] == "tanh" else 0.4)
    )


def _search(sampler: Sampler, count: int, seed: int = 0) -> list[TrialRecord]:
    """Full trainings, the default first. Every tenth trial fails."""
    history: list[TrialRecord] = []
    for number in range(count):
        drawn = SPACE.default if number == 0 else sampler.draw(history, stream(seed, "trials", number))
        score = None if number % 10 == 9 else _score(drawn)
        history.append(TrialRecord(number=number, configuration=drawn, rung=LAST, score=score))
    return history


def _best(history: Sequence[TrialRecord]) -> float:
    return max(record.score for record in history if record.score is not None)


@pytest.mark.parametrize("name", MAKERS)
def test_a_draw_is_a_function_of_seed_and_history(name: str) -> None:
    """Two samplers draw the same trials, and a third one, which sees the history of 30 at once, continues in the same way."""
    first, second = _search(MAKERS[name](), 40), _search(MAKERS[name](), 40)
    late = MAKERS[name]().draw(first[:30], stream(0, "trials", 30))

    assert first == second
    assert late == first[30].configuration


@pytest.mark.parametrize("name", MAKERS)
def test_draws_are_canonical_configurations_of_the_space(name: str) -> None:
    """All 60 draws are made of allowed values, inactive decisions have their default, and several values of each decision occur."""
    configurations = [record.configuration for record in _search(MAKERS[name](), 60)[1:]]

    for configuration in configurations:
        values = SPACE.as_mapping(configuration)
        assert SPACE.configuration(values) == configuration
        assert all(decision.allows(values[decision.name]) for decision in SPACE.decisions)
    varied = [len({configuration.values[place] for configuration in configurations}) for place in range(5)]
    assert min(varied) > 1


@pytest.mark.parametrize("name", MAKERS)
def test_sixty_trials_come_nearer_to_the_optimum_than_uniform_ones(name: str) -> None:
    """The mean of the best score over three seeds is higher by 0.05 and more: uniform draws reach -0.42."""
    mine = [_best(_search(MAKERS[name](), 60, seed)) for seed in range(3)]
    uniform = [_best(_search(UniformSampler(SPACE), 60, seed)) for seed in range(3)]

    assert np.mean(mine) > np.mean(uniform) + 0.05


def test_choices_that_are_numbers_have_the_place_of_their_value() -> None:
    """128, 16, 32, 64, 256 are 3, 0, 1, 2, 4; the default 20 lies next to 16; categories have the spec's order, and gelu is none."""
    assert sort_choices(BATCH) == ("16", "32", "64", "128", "256")
    assert [find_place(BATCH, value) for value in (*BATCH.choices, "20", "1e9")] == [3, 0, 1, 2, 4, 0, 4]
    assert [find_place(ACTIVATION, value) for value in ("tanh", "gelu")] == [1, None]


# RegularizedEvolution


def _scored(*scores: float | None) -> list[TrialRecord]:
    return [TrialRecord(number=n, configuration=SPACE.default, rung=LAST, score=score) for n, score in enumerate(scores)]


def test_the_oldest_member_dies_although_it_is_the_best() -> None:
    """A population of three after four trials: trial 0, by far the best, is out, and the parent is the best of those that live."""
    sampler = EvolutionSampler(SPACE, 0, population=3, sample=3, aging=True)
    history = _scored(9.0, 1.0, 2.0, None)

    assert [record.number for record in sampler.list_members(history)] == [1, 2, 3]
    parent = sampler.find_parent(history)
    assert parent is not None
    assert parent.number == 2


def test_without_aging_the_worst_of_the_sample_dies() -> None:
    """A sample that is the whole population: the failed trial dies, then the score 1; trial 0 lives and has all children."""
    sampler = EvolutionSampler(SPACE, 0, population=3, sample=3, aging=False)

    assert [record.number for record in sampler.list_members(_scored(9.0, 1.0, None, 2.0))] == [0, 1, 3]
    assert [record.number for record in sampler.list_members(_scored(9.0, 1.0, None, 2.0, 3.0))] == [0, 3, 4]
    parent = sampler.find_parent(_scored(9.0, 1.0, None, 2.0, 3.0))
    assert parent is not None
    assert parent.number == 0


def test_a_loser_of_a_pair_stays_dead() -> None:
    """With samples of two each of 20 children replaces one member, and members who died never live again."""
    sampler = EvolutionSampler(SPACE, 3, population=5, sample=2, aging=False)
    history = _scored(*(math.sin(number) for number in range(25)))
    lives = [{record.number for record in sampler.list_members(history[:count])} for count in range(5, 26)]

    assert all(len(members) == 5 for members in lives)
    assert all(after - before == {number} for number, (before, after) in enumerate(itertools.pairwise(lives), start=5))


def test_no_child_before_the_population_is_complete() -> None:
    """Of a population of three, two trials are known: there is no parent yet."""
    assert EvolutionSampler(SPACE, 0, population=3, sample=2, aging=True).find_parent(_scored(1.0, 2.0)) is None


def test_a_mutation_changes_one_active_decision() -> None:
    """Each of 200 children differs from its parent in one active decision, and in what that makes active or inactive."""
    parent = SPACE.configuration({**SPACE.as_mapping(SPACE.default), "activation": "relu"})
    values = SPACE.as_mapping(parent)
    changed = set()
    for number in range(200):
        child = SPACE.as_mapping(mutate(SPACE, parent, stream(number)))
        differing = [name for name, value in child.items() if value != values[name]]
        assert len(differing) == 1
        changed.add(differing[0])
    assert changed == {"rate", "batch", "depth", "activation"}


# TPE


def test_optunas_defaults_are_those_that_the_documentation_names() -> None:
    """24 candidates, a gamma of a tenth that ends at 25, and 10 trials first: what an update of Optuna must not change unseen."""
    from optuna.samplers._tpe.sampler import default_gamma  # noqa: PLC0415 - private: that is the point

    defaults = {name: parameter.default for name, parameter in inspect.signature(optuna.samplers.TPESampler.__init__).parameters.items()}

    assert defaults["n_ei_candidates"] == 24
    assert defaults["n_startup_trials"] == 10
    assert [default_gamma(count) for count in (0, 10, 11, 250, 1000)] == [0, 1, 2, 25, 25]


def test_a_trial_that_failed_at_a_later_rung_is_told_as_the_worst() -> None:
    """Optuna ranks pruned trials by the rung that they reached: one that failed at the second has none, and comes last."""
    tanh = SPACE.configuration({**SPACE.as_mapping(SPACE.default), "activation": "tanh"})
    failed = [
        TrialRecord(number=0, configuration=tanh, rung=0, score=0.9),
        TrialRecord(number=0, configuration=tanh, rung=1, score=None),
    ]
    pruned = [TrialRecord(number=1, configuration=tanh, rung=0, score=0.1)]
    complete = [
        TrialRecord(number=2, configuration=tanh, rung=0, score=0.2),
        TrialRecord(number=2, configuration=tanh, rung=2, score=0.3),
    ]
    study = ParzenSampler(SPACE, startup_trials=1, last_rung=LAST)._make_study([*failed, *pruned, *complete], 0)

    assert [trial.state.name for trial in study.trials] == ["PRUNED", "PRUNED", "COMPLETE"]
    assert [trial.intermediate_values for trial in study.trials] == [{}, {0: 0.1}, {0: 0.2, 2: 0.3}]
    assert study.trials[2].value == 0.3


# BOHB


def _counts(rungs: dict[int, int]) -> list[TrialRecord]:
    """Trials that differ in their rate, some at each rung."""
    records = []
    for rung, count in rungs.items():
        for number in range(count):
            values = {**SPACE.as_mapping(SPACE.default), "rate": RATE.range.write(RATE.range.at(number / count)) if RATE.range else ""}
            records.append(TrialRecord(number=number, configuration=SPACE.configuration(values), rung=rung, score=float(number)))
    return sorted(records, key=lambda record: (record.number, record.rung))


@pytest.mark.parametrize(("rungs", "expected"), [({0: 7}, None), ({0: 8}, 0), ({0: 20, 1: 7, 2: 2}, 0), ({0: 27, 1: 9, 2: 3}, 1)])
def test_the_density_is_that_of_the_latest_rung_with_enough_trials(rungs: dict[int, int], expected: int | None) -> None:
    """Five searched decisions: densities need six points each, and a rung eight trials."""
    found = DensitySampler(SPACE)._find_rung(_counts(rungs))

    assert {record.rung for record in found} == (set() if expected is None else {expected})


def test_a_third_of_the_draws_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 draws after enough trials between 80 and 120 are uniform (mean 100, deviation 8)."""
    uniform: list[Configuration] = []

    def draw(space: Space, rng: np.random.Generator) -> Configuration:
        uniform.append(space.default)
        return space.default

    monkeypatch.setattr(bohb, "draw_uniformly", draw)
    history, sampler = _counts({0: 12}), DensitySampler(SPACE)
    for number in range(300):
        sampler.draw(history, stream(number))

    assert 80 <= len(uniform) <= 120


def test_an_inactive_decision_is_filled_in_from_those_that_have_it() -> None:
    """One of three configurations has the third width, 64: the others get its coordinate; the category's default gelu gets a choice."""
    deep = SPACE.configuration({**SPACE.as_mapping(SPACE.default), "depth": "3", "third": "64", "activation": "silu"})
    sampler = DensitySampler(SPACE)
    points = np.array([sampler._encode(c) for c in (SPACE.default, deep, SPACE.default)])

    filled = sampler._fill_in(points, stream(0))

    third = 5 / 6
    assert points[1].tolist() == pytest.approx([math.log(5) / math.log(100), 0.1, 5 / 6, third, 2])
    assert np.isnan(points[0][3:]).all()
    assert filled[:, 3].tolist() == pytest.approx([third, third, third])
    assert filled[:, 4].tolist() == [2, 2, 2]
