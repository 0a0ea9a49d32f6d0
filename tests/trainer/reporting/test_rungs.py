"""Rank correlations between rungs, by hand."""

from __future__ import annotations

import pytest

from autohas_api.wire.messages import Stage
from autohas_trainer.events import CandidateRecord
from autohas_trainer.reporting.sinks.rungs import correlate_rungs, share_text


def _record(name: str, fraction: float, score: float | None) -> CandidateRecord:
    return CandidateRecord(
        stage=Stage.RACE,
        name=name,
        values={},
        step=1,
        cost=1.0,
        fraction=fraction,
        score=score,
        metric=score,
        loss=None,
        kept=True,
    )


def _records(scores: dict[float, dict[str, float | None]]) -> list[CandidateRecord]:
    return [_record(name, fraction, score) for fraction, at in scores.items() for name, score in at.items()]


def test_the_correlation_is_that_of_the_candidates_that_reached_both_rungs() -> None:
    """Ranks 0 1 2 3 against 0 1 3 2: 1 - 6 * 2 / (4 * 15) = 0.8; who diverged or was stopped does not count."""
    records = _records(
        {
            1 / 9: {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "stopped": 0.05, "diverged": 0.9},
            1 / 3: {"a": 0.5, "b": 0.6, "c": 0.8, "d": 0.7, "diverged": None},
            1.0: {"a": 0.9, "b": 0.8},
        }
    )
    pairs = correlate_rungs(records)
    assert [(pair.early, pair.late, pair.num_candidates) for pair in pairs] == [(1 / 9, 1 / 3, 4)]
    assert pairs[0].spearman == pytest.approx(0.8)


def test_ties_share_their_mean_rank() -> None:
    """Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: covariance 4.5, squares 4.5 and 5, so 4.5 / sqrt(22.5)."""
    pairs = correlate_rungs(_records({0.5: {"a": 0.0, "b": 0.5, "c": 0.5, "d": 1.0}, 1.0: {"a": 1, "b": 2, "c": 3, "d": 4}}))
    assert pairs[0].spearman == pytest.approx(4.5 / 22.5**0.5)


def test_equal_scores_have_no_correlation() -> None:
    """One rung without an order predicts nothing and is left out."""
    assert correlate_rungs(_records({0.5: {"a": 1.0, "b": 1.0, "c": 1.0}, 1.0: {"a": 1, "b": 2, "c": 3}})) == ()


def test_a_candidate_that_race_and_lanes_compared_counts_once() -> None:
    """The first record of a candidate at a rung is what decided."""
    records = [*_records({0.5: {"a": 1.0, "b": 2.0, "c": 3.0}, 1.0: {"a": 1.0, "b": 2.0, "c": 3.0}}), _record("a", 0.5, 9.0)]
    pairs = correlate_rungs(records)
    assert [pair.num_candidates for pair in pairs] == [3]
    assert pairs[0].spearman == pytest.approx(1.0)


@pytest.mark.parametrize(("fraction", "text"), [(1 / 27, "1/27"), (100 / 900, "1/9"), (34 / 100, "1/3"), (1.0, "1"), (0.7, "0.7")])
def test_a_rung_is_named_by_its_part_of_a_training(fraction: float, text: str) -> None:
    """Whole steps make fractions inexact."""
    assert share_text(fraction, 3) == text
