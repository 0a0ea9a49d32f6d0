"""`python -m benchmarks.step`: what a step of a supernet and of a lane costs compared with its floor, as one markdown file.

    floor of a supernet step = plain training step of the same subnetwork * gradients + its forward pass on each batch that was looked at
    floor of a lane's step   = a step of the loop that a user would write for the same network

Every measured step is paired: the strategy takes its step, then the subnetwork that it sampled, as a stand-alone network under
torch's optimizer, takes the same number of gradients and forwards, after one untimed run. The A/A rows pair two floors.
Time is CPU time of this process with one thread, so that other work on the machine disturbs little. The algorithm's step is timed:
sampling, gradients, temporary weights, updates, rewards. *Whole stage* times the stage instead: batches, books, history, live state
around that step, next to a floor that makes its batches too.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from benchmarks.step.floor import Floor
from benchmarks.step.kernels import kernel_rows
from benchmarks.step.lanes import compare_loops, measure_lane
from benchmarks.step.pairs import HEAD, Pair, row, timed
from benchmarks.step.searches import STRATEGIES, TEMPLATES, begin_supernet, document_of, load_task
from benchmarks.step.single_steps import SingleSteps
from benchmarks.step.stage import stage_pairs
from benchmarks.step.work import measure_work, write_table

from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.seeding import make_deterministic

_LANES = STRATEGIES["AutoHAS Lanes"]
_LANE_STEPS = 5000
"""training.steps of the measured lanes: enough that all measured steps lie in the first ninth."""


def measure(document: Mapping[str, Any], count: int) -> list[Pair]:
    """`count` pairs over a whole supernet stage: uniform steps, the window of the hyperparameters, the steps after it."""
    state = begin_supernet(document)
    pairs, steps = [], SingleSteps(state)
    for number in _spread(state, count):
        context = SupernetStepContext(state, number)
        context.train_batch(), context.reward_batch(), context.temporary_batch()
        seconds, done = timed(partial(steps.take, context))
        floor = Floor(state, context, done)
        pairs.append(Pair(step=seconds, floor=timed(floor.run)[0]))
    return pairs[max(1, len(pairs) // 50) :]


def measure_stage(document: Mapping[str, Any], count: int | None, *, fuses: bool = False) -> list[Pair]:
    """All pairs of the same stage as the product runs it, or the first `count`, with everything around the algorithm's step."""
    pairs = [Pair(step=step, floor=floor) for step, floor in stage_pairs(document, timed, count, fuses=fuses)]
    return pairs[max(1, len(pairs) // 50) :]


def _spread(state: SearchState, count: int) -> list[int]:
    """Numbers of about `count` steps of the supernet, evenly spread."""
    total = state.supernet_plan.supernet_steps
    return list(range(0, total, max(1, total // count)))


def against_itself(document: Mapping[str, Any], count: int) -> list[Pair]:
    """The A/A row: two floors of the same sampled subnetworks, in random order."""
    state = begin_supernet(document)
    order = random.Random(0)  # noqa: S311 - an order, no secret
    pairs, steps = [], SingleSteps(state)
    for number in _spread(state, count):
        context = SupernetStepContext(state, number)
        done = steps.take(context)
        one, other = Floor(state, context, done), Floor(state, context, done)
        if order.random() < 0.5:
            first, second = timed(one.run)[0], timed(other.run)[0]
        else:
            second, first = timed(other.run)[0], timed(one.run)[0]
        pairs.append(Pair(step=first, floor=second))
    return pairs


def supernet_lines(share: float) -> Iterator[str]:
    """The table of supernet steps; `share` of the steps of each row."""
    yield "## A supernet step\n"
    yield (
        "Floor: the sampled subnetwork as a stand-alone network, as many gradients with torch's optimizer and as many forward passes as the"
        " step ran. Each\nstep is paired with its own floor; the first use of a path (its views are cut then) is part of the step. Timed is"
        " the algorithm's step: sampling,\ngradients, temporary weights, updates, rewards. *Whole stage* also times batches, books, history"
        " on disk and live state, over all of\nits steps, and its floor makes the same batches; its first steps, which earlier"
        " files have only, meet a new path nearly every time. The floor's\noptimizers are torch's multi-tensor ones, as in earlier"
        " files; in one row it is the fused AdamW of the product. Shifted digits, batch 64.\n"
    )
    yield HEAD
    counts = {name: max(8, round(share * size.pairs)) for name, size in TEMPLATES.items()}
    number = counts["conv-small"]
    yield row("A/A: floor against floor, conv-small", against_itself(document_of(_LANES), number))
    for name, algorithm in STRATEGIES.items():
        yield row(f"{name}, conv-small", measure(document_of(algorithm), number))
    optimizers = document_of(STRATEGIES["AutoHAS OneStep"], has_optimizers=True)
    yield row("AutoHAS OneStep, conv-small, three optimizers", measure(optimizers, number))
    for template in TEMPLATES:
        if template != "conv-small":
            yield row(f"AutoHAS Lanes, {template}", measure(document_of(_LANES, template=template), counts[template]))
    searches = {template: document_of(_LANES, template=template) for template in ("conv-small", "mlp-small", "mlp")}
    stages = counts if share < 1 else dict.fromkeys(counts)  # None: all steps
    for template, search in searches.items():
        yield row(f"whole stage: AutoHAS Lanes, {template}", measure_stage(search, stages[template]))
    fused = measure_stage(searches["mlp"], stages["mlp"], fuses=True)
    yield row("whole stage: AutoHAS Lanes, mlp, the floor with fused AdamW", fused)
    yield row("first steps of the stage: AutoHAS Lanes, mlp", measure_stage(searches["mlp"], counts["mlp"]))


def lane_lines(share: float, folder: Path) -> Iterator[str]:
    """The table of lanes; `share` of the pairs of each row."""
    yield "\n## A step of a lane\n"
    yield (
        "Floor: rows of a shuffled tensor, forward, backward, torch's optimizer and schedule. The lane also keeps the average of its"
        " weights and sees to it\nthat they stay finite. Pairs of 16 steps of the default network; *table* is noise of the shape of UCI"
        " protein, the rest shifted digits. Waits are\noperations that bring a number to the host, per step; readings of the losses,"
        " one in 16 steps, are counted apart.\n"
    )
    yield HEAD.replace(" ratio of sums |", " ratio of sums | waits | readings |") + "---|---|"
    data, metric = write_table(folder)
    table = partial(document_of, _LANES, steps=_LANE_STEPS, task={"data": data}, metric=metric)
    searches = {template: document_of(_LANES, steps=_LANE_STEPS, template=template) for template in TEMPLATES}
    searches |= {f"{name}, table": table(template=name) for name in ("mlp-small", "mlp")}
    for name in ("conv-small", "mlp, table"):
        blocks = _blocks(name, share)
        yield f"{row(f'A/A: loop against loop, {name}', compare_loops(load_task(searches[name]), blocks))} | |"
    for name, document in searches.items():
        cost = measure_lane(load_task(document), _blocks(name, share))
        yield f"{row(name, cost.pairs)} {cost.waits_per_step:.3g} | {cost.readings_per_step:.3g} |"


def _blocks(name: str, share: float) -> int:
    return max(2, round(share * TEMPLATES[name.removesuffix(", table")].blocks))


def commit_lines() -> Iterator[str]:
    """The table of kernels."""
    yield "\n## Kernels of a commit\n"
    yield (
        "What an accelerator would launch for an update of the shared weights, on the random paths with the fewest and the most leaves of"
        " twelve: as views of\nthe shared tensors, the form of a CPU, and gathered into a buffer, the form of every other device.\n"
    )
    yield "| template | optimizer | leaves | views | buffer |\n|---|---|---|---|---|"
    for name in TEMPLATES:
        search_task = load_task(document_of(_LANES, template=name))
        yield from kernel_rows(name, search_task.template, search_task.task, search_task.optimizers)


def main() -> None:
    """Measure, print as it goes, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="share of the steps of every row (default 1: some ten minutes)")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    parser.add_argument("--work", action="store_true", help="measure the work of training steps instead: see benchmarks.step.work")
    parser.add_argument("--networks", type=int, default=120, help="with --work: random networks per template (default 120)")
    parser.add_argument("--raw", type=Path, help="with --work: JSON file of the timings; where it exists, they are not taken again")
    arguments = parser.parse_args()
    make_deterministic(1)
    with tempfile.TemporaryDirectory() as folder:
        lines = measure_work(arguments.networks, 8, arguments.raw) if arguments.work else _step_lines(arguments.share, Path(folder))
        printed = []
        for line in lines:
            printed.append(line)
            print(line, flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(printed) + "\n", encoding="utf-8")


def _step_lines(share: float, folder: Path) -> Iterator[str]:
    yield f"# Cost of a step compared with its floor\n\n{provenance()}; CPU time.\n"
    yield from supernet_lines(share)
    yield from lane_lines(share, folder)
    yield from commit_lines()


if __name__ == "__main__":
    main()
