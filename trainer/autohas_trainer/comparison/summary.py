"""What the runs of a comparison say: a row for each method, and sentences. Pure.

Every difference is that of the user's search to another method on the same seed, positive where the search is better. A run that
failed is worse than every other: it counts as lost, and a method with one has no mean difference.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from autohas_api.accept.comparison import AS_LONG, OWN
from autohas_api.base.objective_metrics import gain, is_share, metric_text
from autohas_api.wire.compared_methods import MethodName, MethodOutcome
from autohas_trainer.comparison.paired_statistics import COVERAGE, MIN_SEEDS, POWER, deviation, mean_interval, pair, seeds_needed
from autohas_trainer.comparison.record import Comparison, RunRecord, camel_fields

__all__ = [
    "Difference",
    "MethodRow",
    "difference_text",
    "interval_text",
    "method_outcomes",
    "outcome_text",
    "sentences",
    "summary_fields",
    "summary_rows",
]

_EQUAL_WORK: Final = 0.05
"""Share by which the work of two methods may differ without a sentence: rungs are whole steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The user's search minus a method over the seeds that both have run, in the metric's unit; positive: the search is better.

    `mean` is None where a run failed; `low`, `high` and `t` also with fewer than three seeds, and where nothing varies.
    """

    num_seeds: int
    wins: int
    ties: int
    losses: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    t: float | None = None
    seeds_needed: int | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """One method: numbers over the seeds on which it finished, None without any."""

    name: str
    title: str
    num_finished: int
    num_failed: int
    test: float | None
    test_deviation: float | None
    selection: float | None
    selection_deviation: float | None
    trainings: float | None
    cost: float | None
    num_defaults: int
    difference: Difference | None
    """To the user's search; None for that itself, and before both have run."""


def summary_rows(comparison: Comparison) -> list[MethodRow]:
    """A row for each method, in the order of the table."""
    runs = comparison.by_method_and_seed
    own = {seed: run for (name, seed), run in runs.items() if name == OWN}
    rows = []
    for method in comparison.methods:
        by_seed = {seed: run for (name, seed), run in runs.items() if name == method.name}
        finished = [run for run in by_seed.values() if run.failure is None]
        tests, selections = ([value for run in finished if (value := getattr(run, name)) is not None] for name in ("test", "selection"))
        rows.append(
            MethodRow(
                name=method.name,
                title=method.title,
                num_finished=len(finished),
                num_failed=len(by_seed) - len(finished),
                test=_mean(tests),
                test_deviation=deviation(tests) if len(tests) > 1 else None,
                selection=_mean(selections),
                selection_deviation=deviation(selections) if len(selections) > 1 else None,
                trainings=_mean([run.trainings for run in finished if run.trainings is not None]),
                cost=_mean([run.cost for run in finished if run.cost is not None]),
                num_defaults=sum(run.is_default for run in finished),
                difference=None if method.name == OWN else _difference(comparison.better, own, by_seed),
            )
        )
    return rows


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _difference(better: str, own: Mapping[int, RunRecord], other: Mapping[int, RunRecord]) -> Difference | None:
    seeds = [seed for seed in own if seed in other]
    if not seeds:
        return None
    gains, wins, ties, losses = [], 0, 0, 0
    for seed in seeds:
        one, two = own[seed].test, other[seed].test
        if one is not None and two is not None:
            gains.append(gain(better, one, two))
            wins, ties, losses = wins + (gains[-1] > 0), ties + (gains[-1] == 0), losses + (gains[-1] < 0)
        else:
            wins, ties, losses = wins + (one is not None), ties + (one is two), losses + (two is not None)
    counts = Difference(num_seeds=len(seeds), wins=wins, ties=ties, losses=losses)
    if len(gains) < len(seeds):
        return counts
    low, high = mean_interval(gains) or (None, None)
    paired = pair(gains, [0.0] * len(gains))
    return replace(
        counts,
        mean=paired.mean,
        low=low,
        high=high,
        t=paired.t if low is not None else None,
        seeds_needed=seeds_needed(gains),
    )


def sentences(comparison: Comparison) -> list[str]:
    """What a reader may conclude, the most important first."""
    rows = summary_rows(comparison)
    own, others = rows[0], rows[1:]
    parts = [_state_progress(comparison), _name_best(comparison, rows)]
    parts += [_judge(comparison, own, row) for row in others if row.difference is not None]
    parts += [_say_noise(comparison), _say_few(rows), _say_work(comparison, rows), _say_cost(comparison), _say_failures(comparison)]
    parts += [f"{_capital(left.title)} is left out: {left.reason}." for left in comparison.left_out]
    return [part for part in parts if part]


def _state_progress(comparison: Comparison) -> str:
    left = comparison.num_runs - len(comparison.by_method_and_seed)
    return f"{left} of {comparison.num_runs} runs are not finished: what follows is an early look." if left else ""


def _name_best(comparison: Comparison, rows: Sequence[MethodRow]) -> str:
    scored = [row for row in rows if row.test is not None and not row.num_failed]
    if not scored:
        return "No method finished on every seed, so that none has a mean over all of them."
    if len(scored) == 1 and not any(row.num_failed for row in rows):
        score = metric_text(comparison.metric, scored[0].test or 0.0)
        return f"{_capital(_cut(scored[0].title))} alone has finished so far: test {comparison.metric} {score}."
    best = max(scored, key=lambda row: gain(comparison.better, row.test or 0.0, 0.0))
    equal = [row.title for row in scored if row.test == best.test]
    names = " and ".join(_cut(title) for title in equal)
    verb = "have" if len(equal) > 1 else "has"
    start = f"{_capital(names)} {verb} the best mean test {comparison.metric}"
    score, own = metric_text(comparison.metric, best.test or 0.0), rows[0]
    if best.name == OWN:
        who = "they are" if len(equal) > 1 else "it is"
        level = [_cut(row.title) for row in scored if row.difference is not None and row.test != best.test and not row.difference.is_clear]
        return f"{start}, {score}, but these seeds do not show that {who} ahead of {_join(level)}." if level else f"{start}: {score}."
    if own.test is None or own.num_failed:
        return f"{start}: {score}."
    own_score = metric_text(comparison.metric, own.test)
    if best.difference is not None and best.difference.is_clear:
        return f"{start}: {score}; your search has {own_score}."
    return f"{start}, {score}, but these seeds do not show that it is more than noise: your search has {own_score}."


def _judge(comparison: Comparison, own: MethodRow, row: MethodRow) -> str:
    """One sentence about the user's search and one other method."""
    difference, other = row.difference, row.title
    assert difference is not None  # noqa: S101 - the caller asks
    if difference.mean is None:
        who = "your search" if own.num_failed else other
        count = f"won on {difference.wins}, tied on {difference.ties} and lost on {difference.losses} of {difference.num_seeds} seeds"
        return f"Against {other}: {count}; a run of {who} failed, which counts as lost, so there is no mean difference."
    if difference.wins == difference.losses == 0:
        return f"Your search and {other} have the same score on {_count(difference.num_seeds)}."
    size = size_text(comparison.metric, difference.mean)
    word = "better" if difference.mean > 0 else "worse"
    if difference.low is None and difference.num_seeds >= MIN_SEEDS:
        seeds = _count(difference.num_seeds)
        return f"Your search is {word} than {other} by {size} on each of {seeds}: without a spread there is no interval."
    if difference.low is None:
        return (
            f"Your search is {word} than {other} by {size} on average; with {_count(difference.num_seeds)} nothing says whether that is"
            f" noise: compare with --seeds {MIN_SEEDS} or more."
        )
    proof = f"{interval_text(comparison.metric, difference)}, {100 * COVERAGE:.0f} % interval over {difference.num_seeds} seeds"
    if difference.is_clear:
        return f"Your search is {word} than {other} by {size} ({proof}): more than the noise of the seeds."
    return f"Your search and {other} cannot be told apart: {word} by {size} ({proof}).{_say_needed(difference)}"


def _say_needed(difference: Difference) -> str:
    if difference.seeds_needed is None:
        return ""
    return f" A difference of this size would show in {100 * POWER:.0f} % of comparisons with {difference.seeds_needed:,} seeds."


def _say_noise(comparison: Comparison) -> str:
    """The default's training with one seed is the same in every search: different scores mean code or a device that is not seeded."""
    by_seed: dict[int, set[float]] = {}
    for (_, seed), run in comparison.by_method_and_seed.items():
        if run.default_test is not None:
            by_seed.setdefault(seed, set()).add(run.default_test)
    different = [seed for seed, scores in by_seed.items() if len(scores) > 1]
    if not different:
        return ""
    return (
        f"The default configuration has different test scores in searches with the same seed ({', '.join(map(str, different))}): your code"
        " or the device draws random numbers that the seed does not decide, and the differences above contain that noise too; autohas"
        " conformance says which promise is broken."
    )


def _say_few(rows: Sequence[MethodRow]) -> str:
    returned = [row for row in rows if row.name != AS_LONG and row.num_defaults]
    if not returned:
        return ""
    first, *others = returned
    parts = [f"{_capital(_cut(first.title))} returned the default configuration on {first.num_defaults} of {first.num_finished} seeds"]
    parts += [f"{_cut(row.title)} on {row.num_defaults} of {row.num_finished}" for row in others]
    return f"{', '.join(parts)}."


def _say_work(comparison: Comparison, rows: Sequence[MethodRow]) -> str:
    """Whether the work was equal, and who did not spend the budget."""
    works = {row.title: row.trainings for row in rows if row.trainings is not None}
    if len(works) < 2:  # noqa: PLR2004 - nothing to compare with
        return ""
    least, most = min(works.values()), max(works.values())
    text = f"Work on average: {least:.2f} to {most:.2f} trainings of the default, of a budget of {comparison.budget:g}"
    if most - least <= _EQUAL_WORK * most:
        return f"{text}: equal within {max(1, round(100 * (most - least) / most))} %."
    less = [_cut(title) for title, work in works.items() if work < comparison.budget * (1 - _EQUAL_WORK)]
    more = [_cut(title) for title, work in works.items() if work > comparison.budget * (1 + _EQUAL_WORK)]
    parts = [f"{text}."]
    if less:
        names = _capital(" and ".join(less))
        parts.append(f"{names} spent less than the budget: what was left paid for no further training, or the search ended early.")
    if more:
        names = _capital(" and ".join(more))
        parts.append(f"{names} spent more than the budget: the last candidates cost more than was set aside for them.")
    return " ".join(parts)


def _say_cost(comparison: Comparison) -> str:
    if comparison.cost_metric is None:
        return ""
    return (
        f"The searches also weigh {comparison.cost_metric} (objective.cost), which the test {comparison.metric} does not contain: look at"
        " both columns."
    )


def _say_failures(comparison: Comparison) -> str:
    failed = [run for run in comparison.by_method_and_seed.values() if run.failure is not None]
    if not failed:
        return ""
    places = ", ".join(f"{run.method} with seed {run.seed}" for run in failed)
    return f"Failed runs: {places}. {_capital(failed[0].failure or '')}."


def size_text(metric: str, size: float) -> str:
    """The size of a difference, without its sign: percentage points for shares, else the metric's own unit."""
    return f"{100 * abs(size):.2f} points" if is_share(metric) else f"{abs(size):.3g}"


def difference_text(metric: str, value: float) -> str:
    """A difference with its sign."""
    return f"{100 * value:+.2f}" if is_share(metric) else f"{value:+.3g}"


def interval_text(metric: str, difference: Difference) -> str:
    """Both ends of an interval, or nothing."""
    if difference.low is None or difference.high is None:
        return ""
    return f"{difference_text(metric, difference.low)} to {difference_text(metric, difference.high)}"


def outcome_text(difference: Difference) -> str:
    """Wins, ties and losses of the user's search."""
    return f"{difference.wins}/{difference.ties}/{difference.losses}"


def summary_fields(comparison: Comparison) -> dict[str, Any]:
    """What compare.json and `-o json` add for readers: rows and sentences."""
    return {"summary": camel_fields(summary_rows(comparison)), "sentences": sentences(comparison)}


def method_outcomes(comparison: Comparison) -> list[MethodOutcome]:
    """The rows for the termination message, with six significant digits."""
    return [_outcome(row) for row in summary_rows(comparison)]


def _outcome(row: MethodRow) -> MethodOutcome:
    difference = row.difference
    outcome = MethodOutcome(
        method=MethodName(row.name),
        test=_shorten(row.test),
        deviation=_shorten(row.test_deviation),
        runs=row.num_finished,
        failed=row.num_failed,
    )
    if difference is None:
        return outcome
    return outcome.replace(
        difference=_shorten(difference.mean),
        low=_shorten(difference.low),
        high=_shorten(difference.high),
        t=_shorten(difference.t),
        wins=difference.wins,
        ties=difference.ties,
        losses=difference.losses,
    )


def _shorten(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _cut(title: str) -> str:
    """A title inside a sentence."""
    return title.partition(" (")[0]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _join(titles: Sequence[str]) -> str:
    """One, two, or more methods in a sentence."""
    return " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))


def _count(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"
