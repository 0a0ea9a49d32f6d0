"""`python -m benchmarks.step`: what a supernet step costs compared with its floor, as one markdown file.

    floor = plain training step of the same subnetwork * gradients + its forward pass on each batch that was looked at

Every measured step is paired: the strategy takes its step, then the subnetwork that it sampled, as a stand-alone network under
torch's optimizer, takes the same number of gradients and forwards, after one untimed run. The A/A row pairs two floors.
Time is CPU time of this process with one thread, so that other work on the machine disturbs little. The algorithm's step is timed:
sampling, gradients, temporary weights, updates, rewards. The last rows time the whole stage instead: batches, books, history, live state
around that step, next to a floor that makes its batches too.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.provenance import provenance
from benchmarks.step.floor import Floor
from benchmarks.step.stage import stage_pairs
from benchmarks.step.work import measure_work

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet import SupernetStepContext
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.reporting.sinks.null import NullSink
from autohas_trainer.seeding import make_deterministic

STRATEGIES: dict[str, dict[str, Any]] = {
    "RandomSharing": {"name": "RandomSharing"},
    "AutoHAS Lanes": {"autoHAS": {"strategy": "Lanes"}},
    "AutoHAS OneStep": {"autoHAS": {"strategy": "OneStep"}},
    "AutoHAS OneStep, sharedUpdate Sampled": {"autoHAS": {"strategy": "OneStep", "sharedUpdate": "Sampled"}},
    "AutoHAS OneStep, temporaryBatch Own": {"autoHAS": {"strategy": "OneStep", "temporaryBatch": "Own"}},
    "AutoHAS Paired": {"autoHAS": {"strategy": "Paired"}},
}
_RATE = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1", "scale": "Log", "numBases": 7}}
_OPTIMIZER = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam", "rmsprop"]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One measured step: seconds of the strategy and of its floor."""

    step: float
    floor: float


def document_of(algorithm: dict[str, Any], steps: int, *, optimizers: bool = False, template: str = "conv-small") -> dict[str, Any]:
    """A search on shifted digits, planned so that about `steps` supernet steps come."""
    hyperparameters = [{**_RATE, "rateFactors": {"adam": "0.01", "rmsprop": "0.01"}}, _OPTIMIZER] if optimizers else [_RATE]
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {"data": {"name": "digits", "arguments": {"variant": "shifted"}}, "model": {"template": template}},
            "searchSpace": {"hyperparameters": hyperparameters, "architecture": {}},
            "algorithm": algorithm,
            "budget": {"trainings": "6"},
            "training": {"steps": max(9, steps)},
        },
    }


def build_state(document: dict[str, Any]) -> SearchState:
    """A fresh search state whose events are dropped."""
    parsed, space = accept(document)
    search_task = SearchTask.load(parsed.spec, space, torch.device("cpu"))
    return SearchState(search_task, NullSink(), Ledger(0, time.monotonic), time.time)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returned."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def measure(document: dict[str, Any]) -> list[Pair]:
    """Pairs of a whole supernet stage: uniform steps, the window of the hyperparameters, the steps after it."""
    state = build_state(document)
    total = state.search_task.plan.supernet_steps
    pairs = []
    for number in range(total):
        context = SupernetStepContext(state, number)
        context.train_batch(), context.reward_batch(), context.temporary_batch()
        seconds, done = timed(partial(state.algorithm.step, context))
        floor = Floor(state, context, done)
        pairs.append(Pair(step=seconds, floor=timed(floor.run)[0]))
    return pairs[total // 50 :]


def measure_stage(document: dict[str, Any]) -> list[Pair]:
    """Pairs of the same stage as the product runs it, with everything around the algorithm's step."""
    pairs = [Pair(step=step, floor=floor) for step, floor in stage_pairs(document, timed)]
    return pairs[len(pairs) // 50 :]


def against_itself(steps: int) -> list[Pair]:
    """The A/A row: two floors of the same sampled subnetworks, in random order."""
    state = build_state(document_of(STRATEGIES["AutoHAS Lanes"], steps))
    order = random.Random(0)  # noqa: S311 - an order, no secret
    pairs = []
    for number in range(state.search_task.plan.supernet_steps):
        context = SupernetStepContext(state, number)
        done = state.algorithm.step(context)
        one, other = Floor(state, context, done), Floor(state, context, done)
        if order.random() < 0.5:
            first, second = timed(one.run)[0], timed(other.run)[0]
        else:
            second, first = timed(other.run)[0], timed(one.run)[0]
        pairs.append(Pair(step=first, floor=second))
    return pairs


def row(name: str, pairs: list[Pair]) -> str:
    """Median ratio with its quartiles, ratio of the sums, medians in milliseconds."""
    ratios = [pair.step / pair.floor for pair in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    whole = sum(pair.step for pair in pairs) / sum(pair.floor for pair in pairs)
    step, floor = (1000 * statistics.median(values) for values in ([p.step for p in pairs], [p.floor for p in pairs]))
    return f"| {name} | {len(pairs)} | {step:.2f} | {floor:.2f} | {middle:.3f} ({low:.3f} to {high:.3f}) | {whole:.3f} |"


def heading() -> str:
    """What, when, where, at which commit."""
    return (
        "# Cost of a supernet step compared with its floor\n\n"
        f"{provenance()}; shifted digits, `conv-small`, batch 64, CPU time.\n\n"
        "Floor: the sampled subnetwork as a stand-alone network, as many gradients with torch's optimizer and as many forward passes as\n"
        "the step ran. Each step is paired with its own floor; the first use of a path (its views are cut then) is part of the step.\n"
        "Timed is the algorithm's step: sampling, gradients, temporary weights, updates, rewards. *Whole stage* also times batches,\n"
        "books, history on disk and live state, and its floor makes the same batches; in short steps as of `mlp-small` they show most.\n\n"
        "| strategy | steps | step, ms | floor, ms | ratio, median (quartiles) | ratio of sums |\n|---|---|---|---|---|---|"
    )


def main() -> None:
    """Measure, print as it goes, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="training.steps; a stage has a few times as many (default 200)")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    parser.add_argument("--work", action="store_true", help="measure the work of training steps instead: see benchmarks.step.work")
    parser.add_argument("--networks", type=int, default=120, help="with --work: random networks per template (default 120)")
    parser.add_argument("--raw", type=Path, help="with --work: JSON file of the timings; where it exists, they are not taken again")
    arguments = parser.parse_args()
    if arguments.work:
        measured = list(measure_work(arguments.networks, 8, arguments.raw))
        print("\n".join(measured))
        if arguments.out:
            arguments.out.write_text("\n".join(measured) + "\n", encoding="utf-8")
        return
    make_deterministic(1)
    lines = [heading(), row("A/A: floor against floor", against_itself(arguments.steps))]
    print("\n".join(lines), flush=True)
    for name, algorithm in STRATEGIES.items():
        lines.append(row(name, measure(document_of(algorithm, arguments.steps))))
        print(lines[-1], flush=True)
    lanes, one_step = STRATEGIES["AutoHAS Lanes"], STRATEGIES["AutoHAS OneStep"]
    lines.append(row("AutoHAS OneStep, three optimizers", measure(document_of(one_step, arguments.steps, optimizers=True))))
    print(lines[-1], flush=True)
    for template in ("conv-small", "mlp-small"):
        lines.append(row(f"whole stage: AutoHAS Lanes, {template}", measure_stage(document_of(lanes, arguments.steps, template=template))))
        print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
