"""The measurements as markdown tables."""

from __future__ import annotations

import statistics

from benchmarks.provenance import provenance
from benchmarks.quality.equal import TOLERANCE
from benchmarks.quality.methods import Measurement

__all__ = ["heading", "table"]


def heading(trainings: float, seeds: int) -> str:
    """What, when, where, at which commit."""
    return (
        "# Search quality at equal CPU seconds\n\n"
        f"{provenance()}; {seeds} seeds; reference budget {trainings} trainings of 300 steps.\n\n"
        "- Space: learning rate (0.01 to 1, 7 bases) and the architecture of `conv-small` (658 to 212,338 parameters, the default has\n"
        "  19,034). *rate only* searches no architecture, *+ weight decay* adds a hyperparameter that one-step rewards cannot see.\n"
        f"- Reference: AutoHAS Lanes. The others get its CPU seconds of the same seed: searches run again with another budget until\n"
        f"  they are within {TOLERANCE:.0%} of it (at most three runs, the closest is shown), peers stop at that second.\n"
        "- Peers: one training per trial by Optuna, the default configuration as trial 0, rungs at 1/9, 1/3 and 1 of a training.\n"
        "- Every method selects on the same split and is tested once. *default, trained as long*: one longer training of the default\n"
        "  configuration, so its network had more steps than any winner.\n"
        "- Tasks with a number of parameters have a price: objective = accuracy - 0.1·|parameters/10,000 - 1|, for every method.\n"
        "  Without it, `conv-small` rewards size.\n"
        "- *t*: paired t statistic of Lanes minus the method over seeds, on the objective; with 3 seeds |t| < 4.3, with 5 |t| < 2.8,\n"
        "  with 10 |t| < 2.3 is noise (95 %).\n"
    )


def table(rows: list[Measurement], *, has_price: bool) -> str:
    """Mean, spread and every seed of each method; the objective where size has a price."""
    by_method = {method: [row for row in rows if row.method == method] for method in dict.fromkeys(row.method for row in rows)}
    reference = next(iter(by_method.values()))
    score = "test objective" if has_price else "test accuracy"
    lines = [f"| method | CPU s | {score}, mean | sd | t | parameters, median | every seed |", "|---|---|---|---|---|---|---|"]
    for method, runs in by_method.items():
        scores = [row.objective for row in runs]
        every = ", ".join(f"{row.objective:.4f} ({row.winner})" for row in runs)
        lines.append(
            f"| {method} | {statistics.mean(row.cpu_s for row in runs):.1f} | {statistics.mean(scores):.4f} | {_deviation(scores):.4f}"
            f" | {_paired_t(reference, runs)} | {statistics.median(row.parameters for row in runs):,.0f} | {every} |"
        )
    return "\n".join(lines)


def _deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _paired_t(reference: list[Measurement], rows: list[Measurement]) -> str:
    """Mean difference over its standard error, seed by seed; empty for the reference itself and where nothing varies."""
    others = {row.seed: row.objective for row in rows}
    differences = [row.objective - others[row.seed] for row in reference if row.seed in others]
    error = _deviation(differences) / len(differences) ** 0.5
    return f"{statistics.mean(differences) / error:+.1f}" if rows is not reference and error > 0 else ""
