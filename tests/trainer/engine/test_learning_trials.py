"""Whole searches by TPE, BOHB and RegularizedEvolution: trials follow from earlier ones, and a resume changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autohas_api.testing.rejections import with_change
from autohas_trainer.algorithms._kde import KernelDensity
from autohas_trainer.algorithms.one_factor import find_change
from autohas_trainer.errors import Interrupted
from engine_fixtures import ALGORITHM_ROWS, MemorySink, Stop, search, small_search

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "TPE": (ALGORITHM_ROWS["TPE"] or {}, "3.6"),
    "TPE without halving": ({"name": "TPE", "tpe": {"startupTrials": 2, "halving": False, "parallelTrials": 2}}, "5"),
    "BOHB": (ALGORITHM_ROWS["BOHB"] or {}, "5"),
    "RegularizedEvolution": (ALGORITHM_ROWS["RegularizedEvolution"] or {}, "6"),
    "large-scale evolution": (
        {"name": "RegularizedEvolution", "regularizedEvolution": {"population": 3, "sample": 2, "aging": False}},
        "6",
    ),
}
"""Algorithms with budgets that pay for several trials that are not drawn at random."""


def _document(name: str) -> dict[str, Any]:
    algorithm, trainings = CASES[name]
    return with_change(small_search(algorithm), "spec.budget.trainings", trainings)


@pytest.mark.parametrize("name", CASES)
def test_a_search_that_stops_at_every_third_step_ends_as_the_undisturbed_one(name: str, tmp_path: Path) -> None:
    """Every boundary between two trials, and between two rungs, is one between two processes: digest and candidates are the same."""
    expected, interruptions = MemorySink(), 0
    whole = search(_document(name), tmp_path / "whole", expected)
    while True:
        stop, sink = Stop(), MemorySink()
        sink.on_step = lambda record, stop=stop: setattr(stop, "is_requested", record.step % 3 == 0)  # type: ignore[misc]
        try:
            outcome = search(_document(name), tmp_path / "parts", sink, stop)
        except Interrupted:
            interruptions += 1
            continue
        break

    assert interruptions >= len(expected.steps) // 3 - 1
    assert outcome.result.digest == whole.result.digest
    assert outcome.candidates == whole.candidates


def test_children_differ_from_a_trial_before_them_in_one_decision(tmp_path: Path) -> None:
    """Trials 3, 4 and 5 of a population of three: each is one of the three trials before it with one change."""
    sink = MemorySink()
    search(_document("RegularizedEvolution"), tmp_path, sink)
    assert sink.info is not None
    space = sink.info.space
    trials = {record.name: space.configuration(record.values) for record in sink.candidates if record.fraction == 1}
    parents = {record.name: record.parent for record in sink.candidates if record.fraction == 1}
    names = list(trials)
    assert len(names) >= 5
    assert [parents[name] for name in names[:3]] == [None] * 3
    for place, name in enumerate(names[3:], start=3):
        parent = parents[name]
        assert parent in names[place - 3 : place]
        assert find_change(space, trials[parent], trials[name]) is not None


def test_densities_propose_once_a_rung_has_enough_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six decisions: both densities of a proposal have seven points and more."""
    sizes: list[int] = []
    original = KernelDensity.fit

    def fit(points_ND: NDArray[np.float64], choices: tuple[int, ...]) -> KernelDensity:
        sizes.append(len(points_ND))
        return original(points_ND, choices)

    monkeypatch.setattr(KernelDensity, "fit", fit)
    search(_document("BOHB"), tmp_path, MemorySink())
    assert sizes
    assert len(sizes) % 2 == 0
    assert min(sizes) >= 7
