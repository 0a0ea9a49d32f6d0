"""Rows and sentences of a comparison, on runs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from autohas_api.accept.comparison import AS_LONG, OWN, LeftOut
from autohas_trainer.comparison.record import ComparedMethod, Comparison, RunRecord
from autohas_trainer.comparison.summary import sentences, summary_rows

OTHER = "random"
METHODS = (ComparedMethod(name=OWN, title="your search (AutoHAS OneFactor)"), ComparedMethod(name=OTHER, title="random search"))


def _run(method: str, seed: int, test: float | None, **fields: Any) -> RunRecord:
    failure = "the default configuration diverged" if test is None else None
    numbers = {"trainings": 5.0, "selection": test, "seconds": 1.0} | fields
    return RunRecord(method=method, seed=seed, search_digest="d", test=test, failure=failure, **(numbers if test is not None else {}))


def _comparison(
    own: Sequence[float | None], other: Sequence[float | None], *, metric: str = "rmse", better: str = "Minimize"
) -> Comparison:
    runs = [_run(name, seed, test) for name, tests in ((OWN, own), (OTHER, other)) for seed, test in enumerate(tests)]
    return Comparison(
        name="table",
        label="AutoHAS OneFactor",
        search_digest="d",
        metric=metric,
        better=better,
        budget=5.5,
        cost_metric=None,
        seeds=tuple(range(len(own))),
        methods=METHODS,
        runs=tuple(runs),
    )


def test_a_difference_is_positive_where_the_search_is_better() -> None:
    """The rmse is 1, 2, 3 against 2, 4, 6: the search is better by 1, 2 and 3, with t = 2 sqrt 3 and the interval of three seeds."""
    own, other = summary_rows(_comparison([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]))

    assert (own.test, own.test_deviation, own.difference) == (2.0, 1.0, None)
    assert other.difference is not None
    assert other.difference.mean == pytest.approx(2.0)
    assert other.difference.t == pytest.approx(2 * 3**0.5)
    assert (other.difference.low, other.difference.high) == pytest.approx((-0.484138, 4.484138), abs=1e-6)
    assert (other.difference.wins, other.difference.ties, other.difference.losses) == (3, 0, 0)
    assert not other.difference.is_clear


def test_a_difference_within_the_noise_is_not_called_one() -> None:
    """The interval holds 0, and the sentence says how many seeds would show a difference of this size."""
    said = sentences(_comparison([1.0, 2.0, 3.0], [2.0, 2.0, 5.0]))

    assert said[0] == "Your search has the best mean test rmse, 2, but these seeds do not show that it is ahead of random search."
    assert said[1] == (
        "Your search and random search cannot be told apart: better by 1 (-1.48 to +3.48, 95 % interval over 3 seeds). A difference of this"
        " size would show in 80 % of comparisons with 10 seeds."
    )


def test_a_best_mean_within_the_noise_is_no_victory() -> None:
    """The heading names the best mean and, in the same sentence, that the seeds may explain it."""
    said = sentences(_comparison([2.0, 2.0, 5.0], [1.0, 2.0, 3.0]))

    assert said[0] == (
        "Random search has the best mean test rmse, 2, but these seeds do not show that it is more than noise: your search has 3."
    )


def test_a_difference_beyond_the_noise_names_who_is_better() -> None:
    """Shares are percentage points; the sentence about a search that loses is as plain."""
    said = sentences(_comparison([0.90, 0.91, 0.92], [0.951, 0.96, 0.969], metric="accuracy", better="Maximize"))

    assert said[0] == "Random search has the best mean test accuracy: 96.00 %; your search has 91.00 %."
    assert said[1].startswith("Your search is worse than random search by 5.00 points (")
    assert said[1].endswith("95 % interval over 3 seeds): more than the noise of the seeds.")


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_seeds_give_no_interval(count: int) -> None:
    """The mean stands, t and interval do not, and the sentence says what to do."""
    comparison = _comparison([1.0, 2.0][:count], [2.0, 2.5][:count])
    difference = summary_rows(comparison)[1].difference

    assert difference is not None
    assert (difference.low, difference.high, difference.t, difference.seeds_needed) == (None, None, None, None)
    assert "nothing says whether that is noise: compare with --seeds 3 or more" in sentences(comparison)[1]


def test_a_failed_run_counts_as_lost_and_takes_the_mean_away() -> None:
    """Of three seeds random search won one, lost one and failed on one; both failing is a tie."""
    comparison = _comparison([1.0, 2.0, 3.0], [0.5, 2.5, None])
    row = summary_rows(comparison)[1]

    assert (row.num_finished, row.num_failed, row.test) == (2, 1, 1.5)
    assert row.difference is not None
    assert (row.difference.wins, row.difference.losses, row.difference.mean) == (2, 1, None)
    assert sentences(comparison)[0] == "Your search has the best mean test rmse: 2."
    assert (
        "Against random search: won on 2, tied on 0 and lost on 1 of 3 seeds; a run of random search failed, which counts as lost, so there"
        " is no mean difference." in sentences(comparison)
    )
    assert "Failed runs: random with seed 2. The default configuration diverged." in sentences(comparison)
    both = summary_rows(_comparison([None], [None]))[1].difference
    assert both is not None
    assert (both.wins, both.ties, both.losses) == (0, 1, 0)


def test_equal_differences_have_no_interval() -> None:
    """Better by exactly 1 on three seeds: a spread of 0 proves nothing, and neither heading nor sentence says so."""
    comparison = _comparison([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    difference = summary_rows(comparison)[1].difference

    assert difference is not None
    assert (difference.mean, difference.low, difference.t, difference.is_clear) == (1.0, None, None, False)
    assert sentences(comparison)[:2] == [
        "Your search has the best mean test rmse, 2, but these seeds do not show that it is ahead of random search.",
        "Your search is better than random search by 1 on each of 3 seeds: without a spread there is no interval.",
    ]


def test_the_same_score_everywhere_is_no_difference() -> None:
    """Both return the default on every seed: a sentence without numbers of noise, and how often it was the default."""
    comparison = _comparison([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    comparison = replace(comparison, runs=tuple(replace(run, is_default=True) for run in comparison.runs))

    assert "Your search and random search have the same score on 3 seeds." in sentences(comparison)
    assert "Your search returned the default configuration on 3 of 3 seeds, random search on 3 of 3." in sentences(comparison)


def test_noise_of_own_code_is_noticed_by_the_default() -> None:
    """Two searches with one seed train the same default: other scores cannot come from the seed."""
    comparison = _comparison([1.0], [2.0])
    equal = replace(comparison, runs=tuple(replace(run, default_test=3.0) for run in comparison.runs))
    other = replace(comparison, runs=(equal.runs[0], replace(equal.runs[1], default_test=3.5)))

    assert not any("has different test scores" in sentence for sentence in sentences(equal))
    assert any(
        sentence.startswith(
            "The default configuration has different test scores in searches with the same seed (0): your code or the device"
        )
        for sentence in sentences(other)
    )


def test_unequal_work_is_said_and_equal_work_too() -> None:
    """Work within 5 % is equal; methods that spent less or more than the budget are named."""
    comparison = _comparison([1.0], [2.0])
    unequal = replace(comparison, runs=(replace(comparison.runs[0], trainings=3.1), replace(comparison.runs[1], trainings=5.9)))

    assert "Work on average: 5.00 to 5.00 trainings of the default, of a budget of 5.5: equal within 1 %." in sentences(comparison)
    assert (
        "Work on average: 3.10 to 5.90 trainings of the default, of a budget of 5.5. Your search spent less than the budget: what was left"
        " paid for no further training, or the search ended early. Random search spent more than the budget: the last candidates cost more"
        " than was set aside for them." in sentences(unequal)
    )


def test_an_early_look_and_a_method_left_out_are_named() -> None:
    """Half of the runs are there; the first sentence says so, the last one names what cannot run."""
    comparison = replace(_comparison([1.0, 2.0], [2.0]), left_out=(LeftOut(title="random search", reason="it is your search itself"),))

    assert sentences(comparison)[0] == "1 of 4 runs are not finished: what follows is an early look."
    assert sentences(comparison)[-1] == "Random search is left out: it is your search itself."


def test_a_single_method_is_compared_with_nothing() -> None:
    """Before a second method has finished no method is the best, and no work is called equal."""
    comparison = replace(_comparison([1.0], [2.0]), runs=(_run(OWN, 0, 1.0),))

    assert sentences(comparison)[1] == "Your search alone has finished so far: test rmse 1."
    assert not [sentence for sentence in sentences(comparison) if "best" in sentence or "equal" in sentence]


def test_compare_json_reads_back() -> None:
    """Names are those of result.json, camelCase; nothing is lost."""
    comparison = replace(_comparison([1.0, None], [2.0, 3.0]), left_out=(LeftOut(title="a", reason="b"),))
    record = comparison.to_json()

    assert record["runs"][0]["searchDigest"] == "d"
    assert Comparison.from_json(record) == comparison
    assert AS_LONG not in {method["name"] for method in record["methods"]}
