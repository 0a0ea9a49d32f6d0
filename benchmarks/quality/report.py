"""The measurements as markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.provenance import provenance
from benchmarks.quality.figures import Curve, Reach, bootstrap
from benchmarks.quality.qualification import NUM_RANDOM, Qualification
from benchmarks.quality.tasks import Task

from autohas_trainer.comparison.paired_statistics import deviation, pair

__all__ = ["Row", "heading", "qualification_table", "speed_table", "table"]

_COVERAGE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method at one budget, seed by seed.

    Attributes:
        method: Its name.
        values: What is compared, higher is better: the metric with its sign, or the objective with the price, on the test split.
        works: What each seed spent.
        num_defaults: How often it returned the default.
        curves: For a peer, its values after every unit of work.
        missing: Why there are no values.
    """

    method: str
    values: Sequence[float] = ()
    works: Sequence[float] = ()
    num_defaults: int = 0
    curves: Sequence[Curve] = ()
    missing: str | None = None


def heading() -> str:
    """What, when, where, at which commit, and how to read the tables."""
    return (
        "# Search quality at equal work\n\n"
        f"{provenance()}.\n\n"
        "- Joint space: learning rate, weight decay, batch size, dropout and the template's whole architecture, except where a task names\n"
        "  the choices that it keeps. AutoHAS OneStep, Paired and RandomSharing search the rate and the architecture of it, because a\n"
        "  reward one step ahead sees no more; Published searches weight decay too.\n"
        "- A budget is work in trainings of the default configuration; every method selects on the same split and has the default as its\n"
        "  first trial. A peer ends when the next rung of its trial is no longer affordable.\n"
        "- *lead*: mean over seeds of the reference (first row) minus the method, positive if the reference is better, with its 90 %\n"
        "  bootstrap interval, paired by seed; *lead / sd*: in seed deviations, the sample standard deviation of the default's score;\n"
        "  *t*: paired; *w/t/l*: seeds on which the reference won, tied, lost. *default*: how often the default was returned.\n"
        "- *default, trained as long*: the default in one training that takes the whole budget.\n"
    )


def table(task: Task, rows: Sequence[Row], seed_deviation: float) -> str:
    """One task at one budget; the first row is the reference."""
    unit = "objective" if task.cost is not None else task.metric
    lines = [
        f"| method | test {unit}, mean | sd | lead [90 %] | lead / sd | t | w/t/l | work | default |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    reference = rows[0]
    for row in rows:
        if row.missing is not None:
            lines.append(f"| {row.method} | {row.missing} | | | | | | | |")
            continue
        sign = 1 if task.is_maximised or task.cost is not None else -1
        lines.append(
            f"| {row.method} | {sign * statistics.fmean(row.values):.4f} | {deviation(row.values):.4f} |"
            f" {_lead(reference, row, seed_deviation)} | {statistics.fmean(row.works):.2f} | {row.num_defaults} of {len(row.values)} |"
        )
    return "\n".join(lines)


def _lead(reference: Row, row: Row, seed_deviation: float) -> str:
    """Four columns about the reference minus a row."""
    count = min(len(reference.values), len(row.values))
    if row is reference or not count:
        return "| | | "
    differences = [a - b for a, b in zip(reference.values[:count], row.values[:count], strict=True)]
    low, high = bootstrap(count, lambda seeds: statistics.fmean(differences[i] for i in seeds), _COVERAGE)
    figures = pair(reference.values[:count], row.values[:count])
    in_deviations = f"{figures.mean / seed_deviation:+.2f}" if seed_deviation > 0 else ""
    t = f"{figures.t:+.1f}" if figures.t is not None else ""
    outcome = f"{figures.wins}/{figures.ties}/{figures.losses}"
    return f"{figures.mean:+.4f} [{low:+.4f}, {high:+.4f}] | {in_deviations} | {t} | {outcome}"


def speed_table(reference: Row, peers: Sequence[Row], most: float) -> str:
    """The work that each peer needs to reach the reference's median.

    Args:
        reference: The product at its budget.
        peers: With curves of the same seeds.
        most: Budget of the curves.
    """
    level, spent = statistics.median(reference.values), statistics.fmean(reference.works)
    lines = [
        f"Median of {reference.method}: {abs(level):.4f} after {spent:.2f} trainings of work; peers may spend {most:g}.\n",
        "| peer | work to this median | speed-up [90 %] |",
        "|---|---|---|",
    ]
    for peer in peers:
        count = min(len(reference.values), len(peer.curves))
        if not count:
            continue
        reach = Reach(peer.curves[:count])

        def speed_up(seeds: Sequence[int], reach: Reach = reach) -> float:
            values, works = [reference.values[i] for i in seeds], [reference.works[i] for i in seeds]
            return reach.work(statistics.median(values), seeds) / statistics.fmean(works)

        low, high = bootstrap(count, speed_up, _COVERAGE)
        work, beyond = reach.work(level), most / spent
        ratio, first, last = (_bounded(value, beyond) for value in (work / spent, low, high))
        lines.append(f"| {peer.method} | {_bounded(work, most)} | {ratio} [{first}, {last}] |")
    return "\n".join(lines)


def _bounded(value: float, most: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else f"> {most:.2f}"


def qualification_table(tasks: Sequence[tuple[Task, Qualification]]) -> str:
    """Which tasks can tell searches apart, and which are plateaus."""
    lines = [
        f"## Which tasks qualify\n\n{NUM_RANDOM} random configurations for each seed, trained in full. Higher is better.\n",
        "| task | seed deviation | random@5 | random@50 | better than the default | gain by twice the steps | qualifies | plateau |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, figures in tasks:
        qualifies = figures.has_something_to_find and figures.default_is_ordinary
        lines.append(
            f"| {task.name} | {figures.deviation:.4f} | {figures.few:.4f} | {figures.many:.4f} | {figures.better:.0%} |"
            f" {figures.gain:+.4f} | {_yes(qualifies)} | {_yes(figures.is_plateau)} |"
        )
    return "\n".join(lines) + "\n"


def _yes(is_true: bool) -> str:  # noqa: FBT001 - a word for a boolean
    return "yes" if is_true else "no"
