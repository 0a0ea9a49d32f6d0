"""`python -m benchmarks.ranking`: does the supernet know which architecture is better, beyond that larger ones are, and does it survive?

A controller cannot be better than the ranking that rewards it. So look at the rank correlation of the shared weights with stand-alone
trainings at fixed hyperparameters, and at the partial correlation given size. Architectures are drawn uniformly; the truth is the test
quality of a whole training of each; shared weights are trained on uniform paths for as many steps as one training has, then score each
architecture by its mean loss on reward batches. Nothing here is a controller.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.provenance import provenance
from benchmarks.ranking.sharing import BEGINNINGS, losses, share, spread_of_outputs
from benchmarks.ranking.tasks import RATE, TASKS, RankingTask, load
from benchmarks.ranking.truth import Floats, judge
from scipy.stats import rankdata, spearmanr

_LAST_WIDTH = {"mlp-small": ("width_2", ("16", "32", "64", "128")), "conv-small": ("stage2_width", ("16", "32", "48"))}
"""The decision that sets the number of the head's inputs in the default network, and its choices."""
_DEPTH = {"mlp-small": ("depth", ("1", "2", "3")), "conv-small": ("stage2_depth", ("1", "2"))}


def partial(score: Floats, truth: Floats, given: Floats) -> float:
    """Rank correlation of `score` and `truth` when the ranks of `given` are known: correlation of what a line through them leaves."""
    ranks = [rankdata(values) for values in (score, truth)]
    line = np.stack([np.ones_like(given), rankdata(given)], axis=1)
    left = [r - line @ np.linalg.lstsq(line, r, rcond=None)[0] for r in ranks]
    return float(np.corrcoef(left[0], left[1])[0, 1])


def fidelity(task: RankingTask, seed: int, count: int, memory: Path) -> list[str]:
    """One line for the size, and one per way to begin the shared weights."""
    search_task = load(task, seed)
    sample = judge(task, search_task, count, memory)
    size = float(spearmanr(sample.log_size, sample.truth)[0])
    lines = [f"| {task.name}, {task.template} | {seed} | number of parameters | {size:.2f} | | |"]
    for name, begin in BEGINNINGS.items():
        shared = share(search_task, task.steps, begin)
        if shared.diverged_at is not None:
            lines.append(f"| {task.name}, {task.template} | {seed} | {name} | diverged at step {shared.diverged_at} | | |")
            continue
        score = -losses(search_task, shared.net, sample)
        whole, beyond = float(spearmanr(score, sample.truth)[0]), partial(score, sample.truth, sample.log_size)
        lines.append(f"| {task.name}, {task.template} | {seed} | {name} | {whole:.2f} | {beyond:.2f} | {-score.mean():.3f} |")
    return lines


def divergences(task: RankingTask, seeds: int) -> list[str]:
    """One line per way to begin: how many of `seeds` shared weights diverge at the recipe's own rate."""
    lines = []
    for name, begin in BEGINNINGS.items():
        count = sum(share(load(task, seed), task.steps, begin).diverged_at is not None for seed in range(seeds))
        lines.append(f"| {task.name}, {task.template} | {name} | {count} of {seeds} |")
    return lines


def scales(task: RankingTask, seed: int) -> list[str]:
    """One line per moment: the spread of the outputs by the head's inputs and by depth, everything else at the default."""
    search_task = load(task, seed)
    lines = []
    for moment, steps in (("first weights", 0), ("trained", task.steps)):
        net = share(search_task, steps, BEGINNINGS["fresh"]).net
        cells = [
            f"{decision} {choice}: {spread_of_outputs(search_task, net, {decision: choice}):.2f}"
            for decision, choices in (_LAST_WIDTH[task.template], _DEPTH[task.template])
            for choice in choices
        ]
        lines.append(f"| {task.name}, {task.template} | {moment} | {', '.join(cells)} |")
    return lines


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds per task of the correlations (default 3)")
    parser.add_argument("--architectures", type=int, default=24, help="architectures trained alone (default 24)")
    parser.add_argument("--divergences", type=int, default=20, help="seeds per task of the divergences (default 20)")
    parser.add_argument("--task", action="append", help="only the task of exactly this name; may be repeated")
    parser.add_argument("--memory", type=Path, help="file of stand-alone trainings, which are not repeated (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    return parser.parse_args()


def _say(lines: list[str], new: list[str]) -> None:
    print("\n".join(new), flush=True)
    lines += new


def main() -> None:
    """Measure, print as it goes, write the file."""
    arguments, lines = _parse_arguments(), list[str]()
    memory = arguments.memory or Path(tempfile.mkdtemp()) / "trainings.json"
    tasks = [task for task in TASKS if not arguments.task or task.name in arguments.task]
    _say(lines, [f"# What the shared weights know\n\n{provenance()}; sgd, rate {RATE}, {arguments.architectures} architectures.\n"])
    _say(lines, [f"{task.name} is left out: {task.missing}\n" for task in tasks if task.missing])
    present = [task for task in tasks if not task.missing]
    _say(lines, ["| task | seed | score | Spearman with truth | partial, given size | mean loss |\n|---|---|---|---|---|---|"])
    for seed in range(arguments.seeds):
        for task in present:
            _say(lines, fidelity(task, seed, arguments.architectures, memory))
    _say(lines, ["\n| task | spread of the outputs | default network with one choice changed |\n|---|---|---|"])
    for task in present:
        _say(lines, scales(task, 0))
    _say(lines, ["\n| task | shared weights from | diverged |\n|---|---|---|"])
    for task in present:
        _say(lines, divergences(task, arguments.divergences))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
