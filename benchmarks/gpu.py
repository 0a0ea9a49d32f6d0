"""`python -m benchmarks.gpu`: what the trainer costs on one GPU, and what it keeps; one markdown file, in about ten minutes.

- Steps: a lane's step next to a plain PyTorch loop, a supernet step next to its floor, examples per second, waits for the device per step.
- Updates: bytes that an update must move over its time, as a fraction of the bandwidth that a copy reaches.
- Precision: the default trained in float32, TF32 and bfloat16: time of a step, and the metric of the same trainings.
- Exact resume: searches under Strict that stop halfway and continue have the digests of undisturbed ones.

Pairs take turns, so that a slower clock slows both. On a CPU the same tables come from small networks; what counts as a wait is then a
number that is taken out of a tensor, other than the counts of updates that torch keeps on the host.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from benchmarks.gpu_data import Case, write_data
from benchmarks.jobs import make_job
from benchmarks.plain_loop import PlainLoop
from benchmarks.provenance import provenance
from benchmarks.step.kernels import Waits
from benchmarks.step.lanes import step_counts
from benchmarks.step.pairs import timed
from benchmarks.step.stage import stage_pairs

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search import run
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.compute import apply_compute
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import Interrupted
from autohas_trainer.reporting.sinks.null import NullSink
from autohas_trainer.seeding import make_deterministic

BLOCK: Final = 16
"""Steps that are timed at once: a lane reads its losses once in them."""
_SUPERNET_STEPS: Final = 100
"""The most steps of a supernet that are measured."""
_PASSES: Final = {"sgd": 5, "adamw": 7}
"""Float32 numbers that an update reads or writes per parameter: weight twice, gradient once, each moment twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    cases: tuple[Case, ...]
    examples: int
    blocks: int
    supernet_steps: int
    parity_steps: int
    seeds: int
    copied_mib: int


GPU: Final = Sizes(
    cases=(
        Case(template="mlp", size=100, batch_size=1024),
        Case(template="conv-small", size=32, batch_size=256),
        Case(template="resnet", size=64, batch_size=256),
        Case(template="transformer", size=64, batch_size=256),
    ),
    examples=20_000,
    blocks=12,
    supernet_steps=60,
    parity_steps=400,
    seeds=3,
    copied_mib=2048,
)
CPU: Final = Sizes(
    cases=(
        Case(template="mlp", size=9, batch_size=64),
        Case(template="conv-small", size=16, batch_size=64),
        Case(template="resnet", size=8, batch_size=32),
        Case(template="transformer", size=8, batch_size=32),
    ),
    examples=1200,
    blocks=6,
    supernet_steps=18,
    parity_steps=60,
    seeds=3,
    copied_mib=64,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The device, and how time and waits are taken on it."""

    device: torch.device

    @property
    def is_gpu(self) -> bool:
        """Whether the device runs behind the program."""
        return self.device.type == "cuda"

    def time(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds of a call and what it returned: from idle to idle on a GPU, of this process on the processor on a CPU."""
        if not self.is_gpu:
            return timed(work)
        torch.cuda.synchronize()
        begun = time.perf_counter()
        result = work()
        torch.cuda.synchronize()
        return time.perf_counter() - begun, result

    def count_waits(self, work: Callable[[], Any], on_host: Sequence[torch.Tensor] = ()) -> tuple[int, Any]:
        """How often a call waits for the device, and what it returned; on a CPU reading `on_host` is none, see `Waits`."""
        if not self.is_gpu:
            with Waits(on_host) as waits:
                result = work()
            return waits.count, result
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                result = work()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(warning.message) for warning in caught), result

    def bandwidth(self, mib: int) -> float:
        """Bytes per second of a copy within the device: read and written."""
        source = torch.ones(mib * 2**18, device=self.device)
        target = torch.empty_like(source)
        target.copy_(source)
        return 2 * source.nbytes / min(self.time(lambda: target.copy_(source))[0] for _ in range(5))


class Workbench:
    """One case on one device: its data, written once, and its searches."""

    def __init__(self, bench: Bench, case: Case, sizes: Sizes, folder: Path) -> None:
        self.bench, self.case, self.sizes = bench, case, sizes
        self._data, self._metric = write_data(folder, case, sizes.examples)

    def document(self, steps: int, precision: str = "Float32") -> dict[str, Any]:
        """A search of rate and architecture with a supernet."""
        rate = {"name": "learning_rate", "continuous": {"min": "0.0001", "max": "0.1", "scale": "Log", "numBases": 4}}
        spec = {
            "task": {
                "data": self._data,
                "model": {"template": self.case.template},
                "recipe": {"batchSize": self.case.batch_size, "precision": precision},
            },
            "objective": {"metric": self._metric},
            "searchSpace": {"hyperparameters": [rate], "architecture": {}},
            "algorithm": {"autoHAS": {"strategy": "Lanes"}},
            "training": {"steps": steps},
            "budget": {"trainings": "6"},
            "trainer": {"device": "CUDA" if self.bench.is_gpu else "CPU"},
        }
        return {"apiVersion": "autohas.dev/v1alpha1", "kind": "AutoHASSearch", "metadata": {"name": "gpu"}, "spec": spec}

    def load(self, steps: int, precision: str = "Float32") -> SearchTask:
        """The search's problem, the process set to its precision."""
        parsed, space = accept(self.document(steps, precision))
        apply_compute(parsed.spec, self.bench.device)
        return SearchTask.load(parsed.spec, space, self.bench.device, is_search=False)

    def step_rows(self) -> Iterator[str]:
        """Rows of the table of steps: the lane, then the supernet."""
        steps = BLOCK * (2 * self.sizes.blocks + 4)
        search_task = self.load(9 * steps)
        lane, loop = Training(search_task, search_task.space.default), PlainLoop(search_task)

        def run_lane() -> None:
            for _ in range(BLOCK):
                lane.step()

        run_lane()
        loop.run(BLOCK)
        pairs = [
            (self.bench.time(run_lane)[0] / BLOCK, self.bench.time(partial(loop.run, BLOCK))[0] / BLOCK) for _ in range(self.sizes.blocks)
        ]
        waits = self.bench.count_waits(run_lane, step_counts(lane))[0] / BLOCK
        yield self._row("lane", pairs, waits)
        document = self.document(self.sizes.supernet_steps)
        pairs, counts = (
            stage_pairs(document, measure, _SUPERNET_STEPS, self.bench.device) for measure in (self.bench.time, self.bench.count_waits)
        )
        yield self._row("supernet", pairs[len(pairs) // 10 :], statistics.median(waits for waits, _ in counts))

    def _state(self) -> SearchState:
        return SearchState(self.load(self.sizes.supernet_steps), NullSink(), Ledger(0, time.monotonic), time.time)

    def _row(self, what: str, pairs: list[tuple[float, float]], waits: float) -> str:
        low, middle, high = statistics.quantiles([step / floor for step, floor in pairs], n=4)
        step, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
        rates = f"{self.case.batch_size / step:,.0f} | {self.case.batch_size / floor:,.0f}" if what == "lane" else " | "
        times = f"{1000 * step:.2f} | {1000 * floor:.2f} | {middle:.2f} ({low:.2f} to {high:.2f})"
        return f"| {self.case.template}, {what} | {times} | {rates} | {waits:.2f} |"

    def update_row(self, bandwidth: float) -> str:
        """The default's update: of a stand-alone training, and of the same path in shared weights."""
        state = self._state()
        search_task, default = state.search_task, state.search_task.space.default
        loop, context = PlainLoop(search_task), SupernetStepContext(state, 0)
        loop.run(1)
        gradient = context.gradient(default, context.train_batch())
        commit = partial(context.commit, default, gradient, default)
        commit()
        moved = 4 * search_task.num_parameters(default) * _PASSES[search_task.recipe(default).optimizer]
        alone, shared = (min(self.bench.time(work)[0] for _ in range(10)) for work in (loop.optimizer.step, commit))
        fractions = f"{moved / alone / bandwidth:.2f} | {moved / shared / bandwidth:.2f}"
        return f"| {self.case.template} | {moved / 2**20:.1f} | {1000 * alone:.3f} | {1000 * shared:.3f} | {fractions} |"

    def precision_rows(self) -> Iterator[str]:
        """The default trained in each precision, with the same seeds."""
        exact: list[float] = []
        for precision in ("Float32", *(["TF32"] if self.bench.is_gpu else []), "BFloat16"):
            search_task = self.load(self.sizes.parity_steps, precision)
            times, metrics = [], []
            for seed in range(self.sizes.seeds):
                training = Training(search_task, search_task.space.default, repeat=seed)
                training.step()
                seconds, _ = self.bench.time(partial(_finish, training))
                times.append(seconds / (self.sizes.parity_steps - 1))
                metrics.append(float(training.compare().metric or 0))
            exact = exact or metrics
            differences = [metric - other for metric, other in zip(metrics, exact, strict=True)]
            change = f"{statistics.mean(differences):+.4f} ± {statistics.stdev(differences) / len(differences) ** 0.5:.4f}"
            values = f"{1000 * statistics.median(times):.2f} | {statistics.mean(metrics):.4f} | {change}"
            yield f"| {self.case.template} | {precision} | {values} |"

    def resume_rows(self, folder: Path) -> Iterator[tuple[str, bool]]:
        """A search that is stopped halfway and resumed, next to one that is not, in both precisions."""
        for precision in ("Float32", "BFloat16"):
            search, space = accept(self.document(self.sizes.supernet_steps, precision))
            digests, looks = [], _StopAfter()
            for name, stop in (("undisturbed", looks), ("stopped", None)):
                work = folder / f"{self.case.template}-{precision}-{name}"
                work.mkdir()
                job = replace(make_job(search, space, work), device=self.bench.device.type)
                if stop is None:
                    with suppress(Interrupted):
                        run(job, NullSink(), _StopAfter(looks.looks // 2))
                        raise AssertionError  # it has not stopped
                digests.append(run(job, NullSink(), stop or _StopAfter()).result.digest.removeprefix("sha256:")[:12])
            first, second = digests
            cells = (self.case.template, precision, f"{looks.looks // 2} of {looks.looks}", first, "equal" if first == second else second)
            yield f"| {' | '.join(cells)} |", first != second


class _StopAfter:
    """Asks a search to stop when it has looked `number` times, or never; counts the looks."""

    def __init__(self, number: int | None = None) -> None:
        self.number, self.looks = number, 0

    @property
    def is_requested(self) -> bool:
        """Whether to stop; the engine asks after every step."""
        self.looks += 1
        return self.looks == self.number


def _finish(training: Training) -> None:
    while not training.is_finished and not training.is_diverged:
        training.step()


def report(bench: Bench, sizes: Sizes) -> Iterator[tuple[str, bool]]:
    """The lines of the file as they are ready, and whether a line shows a failure."""
    make_deterministic(1)
    name = torch.cuda.get_device_name() if bench.is_gpu else "CPU"
    bandwidth = bench.bandwidth(sizes.copied_mib)
    yield f"# One device\n\n{provenance()}; device {name}, a copy moves {bandwidth / 1e9:,.0f} GB/s.\n", False
    with tempfile.TemporaryDirectory() as folder:
        workbenches = []
        for case in sizes.cases:
            place = Path(folder) / case.template
            place.mkdir()
            workbenches.append(Workbench(bench, case, sizes, place))
        for heading, rows in (
            (STEPS, lambda bench: bench.step_rows()),
            (UPDATES, lambda bench: [bench.update_row(bandwidth)]),
            (PRECISION, lambda bench: bench.precision_rows()),
        ):
            yield heading, False
            for workbench in workbenches:
                for row in rows(workbench):
                    yield row, False
        yield RESUME, False
        for workbench in workbenches:
            yield from workbench.resume_rows(Path(folder))


STEPS: Final = """## Steps

Lane: the product's step of the default, next to a plain loop of the same module. Supernet: the stage's step, next to its floor (the sampled
networks alone, as many gradients and forwards). Waits: how often a step waits for the device.

| | step, ms | floor, ms | ratio, median (quartiles) | examples/s | plain loop, examples/s | waits per step |
|---|---|---|---|---|---|---|"""
UPDATES: Final = """
## Updates

| default of | bytes, MiB | stand-alone, ms | shared weights, ms | stand-alone, of the bandwidth | shared weights |
|---|---|---|---|---|---|"""
PRECISION: Final = """
## Precision

The difference is paired by seed, with its standard error.

| template | precision | step, ms | metric | difference from Float32 |
|---|---|---|---|---|"""
RESUME: Final = """
## Exact resume under Strict

Searches with lanes, supernet and race: stopped halfway and resumed from the checkpoint, the digest of configuration, score and model is
that of the search that was not stopped.

| template | precision | stopped after step | digest | resumed |
|---|---|---|---|---|"""


def main() -> int:
    """Measure, print as it goes, write the file; 1 if a resumed search ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    arguments = parser.parse_args()
    lines, failed = [], 0
    bench = Bench(torch.device(arguments.device))
    for line, is_failure in report(bench, GPU if bench.is_gpu else CPU):
        lines.append(line)
        failed += is_failure
        print(line, flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
