"""`python -m benchmarks.ranking`: does the supernet know which architecture is better, beyond that larger ones are?

A controller cannot be better than the ranking that rewards it. So look at the rank correlation of the shared weights with stand-alone
trainings at fixed hyperparameters, and at the partial correlation given size. Architectures are drawn uniformly; the truth is the test
accuracy of a whole training of each; shared weights are trained on uniform paths for as many steps as a search has, then score each
architecture by its mean loss on reward batches. Nothing here is a controller.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from benchmarks.provenance import provenance
from benchmarks.quality.tasks import RATE_ALONE, TASKS, Task, data_of, document
from scipy.stats import rankdata, spearmanr

from autohas_api.accept.acceptance import accept
from autohas_api.space.decisions import Configuration, Role, Space
from autohas_trainer.engine.training.rule import rule_of
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.optim import schedule
from autohas_trainer.seeding import make_deterministic, stream
from autohas_trainer.space.policy import Policy
from autohas_trainer.space.recipe import path_of
from autohas_trainer.supernet import Supernet

Floats = npt.NDArray[np.float64]
_REWARD_BATCHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Architectures with what they are worth and how large they are."""

    architectures: tuple[Configuration, ...]
    truth: Floats
    log_size: Floats


def draw(search_task: SearchTask, count: int) -> tuple[Configuration, ...]:
    """Uniform architectures with the default's hyperparameters."""
    uniform = Policy(Space(decisions=tuple(d for d in search_task.space.decisions if d.role is Role.ARCHITECTURE)), learning_rate=1.0)
    drawn = (uniform.sample(stream("ranking", index)).configuration for index in range(count))
    base = search_task.space.as_mapping(search_task.space.default)
    names = [d.name for d in uniform.decisions]
    return tuple(search_task.space.configuration({**base, **dict(zip(names, c.values, strict=True))}) for c in drawn)


def judge(search_task: SearchTask, architectures: tuple[Configuration, ...]) -> Sample:
    """Train every architecture alone and test it; 0 where it diverged."""
    batches = list(search_task.splits.test())
    targets = torch.cat([batch.targets_B for batch in batches])
    truth = []
    for configuration in architectures:
        training = Training(search_task, configuration)
        while not (training.is_finished or training.is_diverged):
            training.step()
        with torch.no_grad():
            outputs = torch.cat([training.outputs(batch) for batch in batches])
        truth.append(0.0 if training.is_diverged else search_task.task.measure(outputs, targets).value)
    sizes = [search_task.num_parameters(configuration) for configuration in architectures]
    return Sample(architectures=architectures, truth=np.asarray(truth), log_size=np.log(sizes))


def share(search_task: SearchTask, architectures: int, steps: int, begin: Callable[[Supernet], object]) -> Supernet:
    """Shared weights after `steps` uniform paths under the default recipe; `begin` may set them before the first."""
    net = Supernet(search_task.template, search_task.task, (search_task.seed, "supernet"), search_task.device)
    begin(net)
    recipe, uniform = search_task.recipe(search_task.space.default), draw(search_task, architectures + steps)[architectures:]
    for step, configuration in enumerate(uniform):
        path = path_of(search_task.space, configuration)
        rate = recipe.learning_rate * schedule(step, steps, recipe.warmup_fraction, recipe.schedule)
        _, gradient = net.gradient(path, search_task.splits.train_batch(step, recipe.batch_size, search_task.seed, replica=-1))
        net.commit(path, gradient, rule_of(recipe, rate))
    return net


def losses(search_task: SearchTask, net: Supernet, sample: Sample) -> Floats:
    """Mean loss of every architecture on the same reward batches."""
    batches = [search_task.splits.reward_batch(n, search_task.reward_batch_size, search_task.seed) for n in range(_REWARD_BATCHES)]
    paths = [path_of(search_task.space, configuration) for configuration in sample.architectures]
    return np.asarray([np.mean([float(net.loss_and_quality(path, batch)[0]) for batch in batches]) for path in paths])


def partial(score: Floats, truth: Floats, given: Floats) -> float:
    """Rank correlation of `score` and `truth` when the ranks of `given` are known: correlation of what a line through them leaves."""
    ranks = [rankdata(values) for values in (score, truth)]
    line = np.stack([np.ones_like(given), rankdata(given)], axis=1)
    left = [r - line @ np.linalg.lstsq(line, r, rcond=None)[0] for r in ranks]
    return float(np.corrcoef(left[0], left[1])[0, 1])


def rows(task: Task, seed: int, count: int, steps: int) -> list[str]:
    """One line per way to begin the shared weights."""
    search_task = _load(task, seed)
    sample = judge(search_task, draw(search_task, count))
    size = float(spearmanr(sample.log_size, sample.truth)[0])
    lines = [f"| {task.name} | {seed} | number of parameters | {size:.2f} | | |"]
    lane = Training(search_task, search_task.space.default)
    while lane.num_steps_done < lane.rung(1):
        lane.step()
    path = path_of(search_task.space, search_task.space.default)
    ways: dict[str, Callable[[Supernet], object]] = {
        "fresh weights": lambda _net: None,
        "the default's lane (1/3 of a training)": lambda net: net.adopt(path, lane.parameters()),
    }
    for name, begin in ways.items():
        begun = time.process_time()
        net = share(search_task, count, steps, begin)
        seconds, scores = time.process_time() - begun, -losses(search_task, net, sample)
        whole, beyond = float(spearmanr(scores, sample.truth)[0]), partial(scores, sample.truth, sample.log_size)
        lines.append(f"| {task.name} | {seed} | shared weights, from {name} | {whole:.2f} | {beyond:.2f} | {seconds:.1f} |")
    return lines


def _load(task: Task, seed: int) -> SearchTask:
    """A task with the rate and the architecture as its space."""
    make_deterministic(1)
    data = data_of(task, Path(tempfile.gettempdir()))
    parsed, space = accept(document(task, data, seed=seed, hyperparameters=RATE_ALONE))
    return SearchTask.load(parsed.spec, space, torch.device("cpu"))


def main() -> None:
    """Measure, print as it goes, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="seeds per task (default 2)")
    parser.add_argument("--architectures", type=int, default=40, help="architectures trained alone (default 40)")
    parser.add_argument("--steps", type=int, default=300, help="uniform steps of the shared weights (default 300)")
    parser.add_argument("--task", action="append", help="only the task of exactly this name; may be repeated")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    arguments = parser.parse_args()
    lines = [
        "# What the shared weights know\n",
        f"{provenance()}; {arguments.architectures} uniform architectures of `conv-small`, each trained alone for 300 steps (truth: test",
        f"accuracy); shared weights after {arguments.steps} uniform steps, scored by loss on {_REWARD_BATCHES} reward batches.\n",
        "| task | seed | score | Spearman with truth | partial, given size | CPU s |\n|---|---|---|---|---|---|",
    ]
    for task in TASKS.values():
        if (
            task.is_maximised
            and task.cost is None
            and not task.is_plateau
            and not task.missing
            and (not arguments.task or task.name in arguments.task)
        ):
            for seed in range(arguments.seeds):
                found = rows(task, seed, arguments.architectures, arguments.steps)
                print("\n".join(found), flush=True)
                lines += found
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
