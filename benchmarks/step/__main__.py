"""`python -m benchmarks.step`: what a supernet step costs beside the floor of ALGORITHMS section 7, as one markdown file.

    floor = plain training step of the same subnetwork * gradients + its forward pass on each batch that was looked at

Every measured step is paired: the strategy takes its step, then the subnetwork that it sampled, as a stand-alone network under
torch's optimizer, takes the same number of gradients and forwards, after one untimed run. The A/A row pairs two floors.
Time is CPU time of this process with one thread, so that other work on the machine disturbs little. The algorithm's step is timed:
sampling, gradients, temporary weights, updates, rewards. What the stage adds (batches, ledger, history lines) is not.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.provenance import provenance

from autohas_api.acceptance import accept
from autohas_trainer.algorithms import SupernetStep
from autohas_trainer.engine.board import Board
from autohas_trainer.engine.ledger import Ledger
from autohas_trainer.engine.problem import Problem
from autohas_trainer.engine.rule import rule_of
from autohas_trainer.engine.stages.supernet import StepOfSupernet
from autohas_trainer.optim import standalone_optimizer
from autohas_trainer.reporting.silent import SilentSink
from autohas_trainer.seeding import make_deterministic
from autohas_trainer.space.recipe import path_of

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


class Floor:
    """The stand-alone form of one sampled subnetwork, which does what the step did and nothing else."""

    def __init__(self, board: Board, context: StepOfSupernet, done: SupernetStep) -> None:
        """Build the network and run everything once, so that only work is timed."""
        problem = board.problem
        recipe = problem.recipe(done.sample)
        self._task, self._context, self._done = problem.task, context, done
        self._module = problem.template.build(path_of(problem.space, done.sample), (0,)).to(problem.device).train()
        self._optimizer = standalone_optimizer(self._module, rule_of(recipe, 1e-6))
        self.run()

    def run(self) -> None:
        """The step's gradients, each with its update, and its forward passes."""
        train = self._context.train_batch()
        for _ in range(self._done.num_gradients):
            loss = self._task.losses(self._module(train.inputs), train.targets_B).mean()
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            float(loss.detach())
            self._optimizer.step()
        with torch.no_grad():
            for _ in range(self._done.num_reward_forwards):
                batch = self._context.reward_batch()
                float(self._task.qualities(self._module(batch.inputs), batch.targets_B).mean())
            for _ in range(self._done.num_train_forwards):
                float(self._task.losses(self._module(train.inputs), train.targets_B).mean())


def board_of(algorithm: dict[str, Any], steps: int, *, optimizers: bool) -> Board:
    """A fresh board on shifted digits with conv-small, planned so that about `steps` supernet steps come."""
    hyperparameters = [_RATE, *([_OPTIMIZER] if optimizers else [])]
    document = {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {"data": {"name": "digits", "arguments": {"variant": "shifted"}}, "model": {"template": "conv-small"}},
            "searchSpace": {"hyperparameters": hyperparameters, "architecture": {}},
            "algorithm": algorithm,
            "budget": {"trainings": "6"},
            "retrain": {"steps": max(9, steps)},
        },
    }
    parsed, space = accept(document)
    problem = Problem.load(parsed.spec, space, torch.device("cpu"))
    return Board(problem, SilentSink(), Ledger(0, time.monotonic), time.time)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returned."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def measure(algorithm: dict[str, Any], steps: int, *, optimizers: bool) -> list[Pair]:
    """Pairs of a whole supernet stage: uniform steps, the window of the hyperparameters, the steps after it."""
    board = board_of(algorithm, steps, optimizers=optimizers)
    total = board.problem.plan.supernet_steps
    pairs = []
    for number in range(total):
        context = StepOfSupernet(board, number)
        context.train_batch(), context.reward_batch(), context.temporary_batch()
        seconds, done = timed(lambda context=context: board.algorithm.step(context))
        floor = Floor(board, context, done)
        pairs.append(Pair(step=seconds, floor=timed(floor.run)[0]))
    return pairs[total // 50 :]


def against_itself(steps: int) -> list[Pair]:
    """The A/A row: two floors of the same sampled subnetworks, in random order."""
    board = board_of(STRATEGIES["AutoHAS Lanes"], steps, optimizers=False)
    order = random.Random(0)  # noqa: S311 - an order, no secret
    pairs = []
    for number in range(board.problem.plan.supernet_steps):
        context = StepOfSupernet(board, number)
        done = board.algorithm.step(context)
        one, other = Floor(board, context, done), Floor(board, context, done)
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
        "# Cost of a supernet step beside its floor\n\n"
        f"{provenance()}; shifted digits, `conv-small`, batch 64, CPU time.\n\n"
        "Floor: the sampled subnetwork as a stand-alone network, as many gradients with torch's optimizer and as many forward passes as\n"
        "the step ran. Each step is paired with its own floor; the first use of a path (its views are cut then) is part of the step.\n"
        "Timed is the algorithm's step: sampling, gradients, temporary weights, updates, rewards; not batches, ledger, history.\n\n"
        "| strategy | steps | step, ms | floor, ms | ratio, median (quartiles) | ratio of sums |\n|---|---|---|---|---|---|"
    )


def main() -> None:
    """Measure, print as it goes, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="retrain.steps; a stage has a few times as many (default 200)")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    arguments = parser.parse_args()
    make_deterministic(1)
    lines = [heading(), row("A/A: floor against floor", against_itself(arguments.steps))]
    print("\n".join(lines), flush=True)
    for name, algorithm in STRATEGIES.items():
        lines.append(row(name, measure(algorithm, arguments.steps, optimizers=False)))
        print(lines[-1], flush=True)
    lines.append(row("AutoHAS OneStep, three optimizers", measure(STRATEGIES["AutoHAS OneStep"], arguments.steps, optimizers=True)))
    print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
