"""The table of a run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from benchmarks.faults.drawing import Kind
from benchmarks.faults.searching import BACKOFF_LIMIT, SPECS, Life


def report(heading: str, undisturbed: Sequence[Life], disturbed: Sequence[Life], violations: Sequence[str], minutes: float) -> str:
    """Markdown; `heading` says where and how it was measured."""
    strikes = [strike for life in disturbed for strike in life.strikes]
    lines = [
        f"# {len(strikes)} faults over {len(disturbed)} searches",
        "",
        heading,
        "",
        "| fault | times | how | what the search was at |",
        "|---|---|---|---|",
    ]
    for kind in Kind:
        of_kind = [strike for strike in strikes if strike.fault.kind is kind]
        ways, phases = Counter(s.fault.how for s in of_kind), Counter(s.phase for s in of_kind)
        lines.append(f"| {kind} | {len(of_kind)} | {_counts(ways)} | {_counts(phases)} |")
    per_search = [len(life.strikes) for life in disturbed]
    equal = [
        sum(getattr(life, what) == getattr(undisturbed[life.number % len(SPECS)], what) for life in disturbed) for what in ("digest", "end")
    ]
    figures = {
        "faults per search": f"{min(per_search)} to {max(per_search)}",
        "ended Succeeded": f"{sum(life.phase == 'Succeeded' for life in disturbed)} of {len(disturbed)}",
        "result digest as undisturbed": f"{equal[0]} of {len(disturbed)}",
        "model file and history as undisturbed, byte for byte": f"{equal[1]} of {len(disturbed)}",
        "duplicates (two live pods, trainer processes or Jobs of one search; two Jobs of one attempt; two results)": len(violations),
        "lost (no end within the deadline, or another one)": sum(life.phase != "Succeeded" for life in disturbed),
        "left over after deletion": sum(any("left over" in problem for problem in life.problems) for life in disturbed),
        "attempts in all; most of one search": f"{sum(life.attempt for life in disturbed)}; {max(life.attempt for life in disturbed)}",
        "trainer processes seen": sum(life.num_starts for life in disturbed),
        "seconds of a search, undisturbed; disturbed (means)": f"{_mean(undisturbed):.0f}; {_mean(disturbed):.0f}",
        "minutes in all": f"{minutes:.1f}",
    }
    lines += ["", "| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures.items())]
    lines += ["", "| strategy, seed | digest | searches |", "|---|---|---|"]
    for number, (life, (strategy, seed)) in enumerate(zip(undisturbed, SPECS, strict=True)):
        lines.append(f"| {strategy}, {seed} | `{life.digest[:19]}` | {sum(one.number % len(SPECS) == number for one in disturbed)} |")
    problems = [*violations, *(f"{life.name}: {problem}" for life in (*undisturbed, *disturbed) for problem in life.problems)]
    lines += ["", *(f"- {problem}" for problem in problems)] if problems else []
    return "\n".join([*lines, ""])


def conditions(where: str, command: str, parallel: int, steps: int) -> str:
    """The line under the heading."""
    return f"""{where}.
`{command}`: real trainers and the chart's operator on the node test cluster, {parallel} searches at once on shifted digits, `conv-small`,
`training.steps: {steps}`, a checkpoint every second. `failurePolicy.backoffLimit: {BACKOFF_LIMIT}` (with the default, 6, a search fails
after seven kills of one Job's trainers, as it should), no `maxInterruptions`. Two thirds of the faults strike at a random share of a
search's progress, one third within seconds of the one before, whatever the search does then. Only faults that hit something count; one
that finds its search ended is dealt to another. Pods that a fault orphaned have no owner: this program deletes them with their search."""


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "-"


def _mean(lives: Sequence[Life]) -> float:
    return fmean(life.seconds for life in lives)
