"""`autohas run --dry-run`: what a search would cost, without running it. Imports torch."""

from __future__ import annotations

import statistics
import time

import torch
from rich.console import Console

from autohas_api.accept.comparison import describe_comparison
from autohas_api.accept.plan_check import hardly_seen, short_supernet, stage_trainings, unused_trainings
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.budget.epochs import few_epochs
from autohas_api.budget.progress_steps import stage_steps
from autohas_api.budget.selection_size import small_selection, visible_difference
from autohas_api.budget.steps_per_stage import plan_stages
from autohas_api.space.decisions import Configuration, Role, Space, reads_decisions_from_code
from autohas_api.space.rates import shared_rate
from autohas_api.spec.search import Search
from autohas_trainer.cli.devices import choose_device
from autohas_trainer.cli.memory import measure_activations
from autohas_trainer.engine.accounting.costs import Costs
from autohas_trainer.engine.candidate_faults import explain_default_failure
from autohas_trainer.engine.memory_plan import NetworkMemory, measure_network, plan_memory, refuse_without_room
from autohas_trainer.engine.training.compute import apply_compute
from autohas_trainer.engine.training.own_training import begin_training, try_own_training
from autohas_trainer.engine.training.search_task import SearchTask, reading_text
from autohas_trainer.errors import CandidateError, TrainerError
from autohas_trainer.reporting.sinks.progress_bar import duration
from autohas_trainer.seeding import make_deterministic

__all__ = ["dry_run"]

_WARM_STEPS, _TIMED_STEPS = 2, 8
_CHEAP_S = 5.0
"""No further step is timed after this many seconds: a dry run should answer at once."""


def dry_run(search: Search, space: Space, threads: int, console: Console) -> None:
    """Print space, plan, sizes and predicted time; a search that cannot run fails as the run itself would.

    Raises:
        TrainerError: as `autohas_trainer.engine.search.run`, after the plan was printed.
    """
    device = choose_device(search.spec)
    make_deterministic(threads)
    _print_line(console, reading_text(search.spec))
    try:
        search_task = SearchTask.load(search.spec, space, torch.device(device))
    except TrainerError:
        if not reads_decisions_from_code(search.spec):
            _print_plan(search, space, None, console)
        raise
    threads = search_task.useful_threads(threads)
    torch.set_num_threads(threads)
    apply_compute(search_task.spec, search_task.device)
    _print_plan(search, search_task.space, search_task.plan, console)
    _print_line(console, search_task.data_text)
    _print_data(search_task, console)
    _print_warnings(search_task, console)
    if search_task.spec.task.training is not None:
        _print_line(console, "trying task.training: one step and one comparison")
        try_own_training(search_task)
    refuse_without_room(search_task)
    _print_line(console, "measuring a few training steps")
    try:
        seconds = _seconds_per_step(search_task)
    except CandidateError as error:
        raise explain_default_failure(error) from error
    _print_sizes(search_task, console)
    if seconds is not None:
        total_s = seconds * search_task.spec.training.steps * search_task.plan.predicted_trainings
        where = f"{device}, {threads} thread{'' if threads == 1 else 's'}"
        _print_line(console, f"about {duration(total_s)} on this machine ({where}) if every step took as long as the default network's;")
        limit = "" if search_task.spec.budget.is_for_model else ": budget.maxActiveSeconds limits the time"
        _print_line(console, f"larger candidates take longer per step{limit}")


def _print_data(search_task: SearchTask, console: Console) -> None:
    """Print the size of each split, the treatment of each column, and conversions."""
    splits = search_task.splits
    sizes = f"{splits.num_train:,} train, {splits.num_reward:,} reward, {splits.num_selection:,} selection, {splits.num_test:,} test"
    _print_line(console, f"data: {splits.name}: {sizes}")
    for line in splits.summary:
        _print_line(console, f"  {line}")
    for note in splits.notes:
        _print_line(console, f"note: {note}")


def _print_sizes(search_task: SearchTask, console: Console) -> None:
    """Print the sizes of the default and of the largest network, its training memory, and the attainable range of objective.cost."""
    space = search_task.space
    largest = Costs(None, space, search_task.template, search_task.costs.example).find_extreme(sign=1)
    sizes = f"default network {search_task.num_parameters(space.default):,}, largest {search_task.num_parameters(largest):,}"
    _print_line(console, f"parameters: {sizes}")
    _print_memory(search_task, largest, console)
    if search_task.spec.objective.cost is None:
        return
    if not search_task.costs.is_measured:
        _print_line(console, "cost: latency is measured when the search begins")
        return
    search_task.costs.check_target()
    least, greatest = search_task.costs.find_range()
    _print_line(
        console, f"cost: {search_task.costs.metric} from {least:,.0f} to {greatest:,.0f}, target {search_task.spec.objective.cost.target}"
    )


def _print_memory(search_task: SearchTask, largest: Configuration, console: Console) -> None:
    """Print the memory of the largest network, of the plan and of a checkpoint; a network that cannot be trained is left out."""
    default = _measure(search_task, search_task.space.default)
    plan = most = plan_memory(search_task, default)
    if largest != search_task.space.default:
        try:
            network = _measure(search_task, largest)
        except CandidateError as error:
            _print_line(console, f"memory: the largest network cannot be trained, the search would leave it out: {error}")
        else:
            most, batch = plan_memory(search_task, network), search_task.recipe(largest).batch_size
            _print_line(console, f"memory: the largest network takes {_mebibytes(network.working)} MiB in training at batch {batch}")
    _print_line(console, f"memory: the default network takes {_mebibytes(default.working)} MiB in training")
    _print_line(console, f"  the plan needs {_mebibytes(plan.peak)} MiB at its peak, stage {plan.moment.stage}: {plan.moment.text}")
    if most is not plan:
        _print_line(console, f"  and at most {_mebibytes(most.peak)} MiB, if every candidate has the largest network")
    checkpoints = search_task.spec.checkpoint.keep_last
    _print_line(
        console,
        f"  a checkpoint takes at most {_mebibytes(most.checkpoint)} MiB on disk, where {checkpoints} are kept; each writes what changed",
    )
    _print_line(console, "  counted from shapes, with what autograd keeps of a batch; data, workspaces and the process itself come on top")


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:,.1f}"


def _measure(search_task: SearchTask, configuration: Configuration) -> NetworkMemory:
    """Measure a network with its activations."""
    network = measure_network(search_task, configuration)
    return measure_activations(search_task, configuration, network)


def _print_warnings(search_task: SearchTask, console: Console) -> None:
    spec, splits = search_task.spec, search_task.splits
    _print_line(console, f"selection: {visible_difference(spec.objective.metric_name, splits.num_selection)}")
    warnings = (
        spec.row.notice,
        hardly_seen(spec, search_task.space),
        shared_rate(spec),
        few_epochs(spec, splits.num_train),
        small_selection(spec, splits.num_selection),
        short_supernet(spec, search_task.space, search_task.plan),
        unused_trainings(spec, search_task.plan),
    )
    for warning in warnings:
        if warning is not None:
            _print_line(console, f"warning: {warning}")


def _print_plan(search: Search, space: Space, plan: StagePlan | None, console: Console) -> None:
    """Print the space and the plan; None: the data cannot be read, so that the plan does not count what depends on them."""
    searched = space.searched_decisions()
    shapes = sum(d.role is Role.ARCHITECTURE for d in searched)
    _print_line(
        console,
        f"{search.metadata.name}: {space.size():,} configurations"
        f" ({len(searched) - shapes} hyperparameters, {shapes} architecture decisions), algorithm {search.spec.algorithm.name}",
    )
    if (comparison := describe_comparison(search)) is not None:
        _print_line(console, f"  compare: {comparison}; what follows is one run of the search")
    training = search.spec.training
    if plan is None and training.given_steps is None:
        _print_line(console, f"  one training: {training.epochs} epochs, whose steps depend on the data")
        return
    plan = plan or plan_stages(search.spec, space)
    total, shares, steps_of_training = 0, stage_trainings(plan), plan.training_steps
    for stage, steps in stage_steps(plan).items():
        total += steps
        if steps:
            _print_line(console, f"  {stage:<9}{steps:>9,} steps {shares.get(stage, 0.0):>8.2f} trainings")
    length = f"{steps_of_training:,} steps" + ("" if training.epochs is None else f" ({training.epochs} epochs)")
    _print_line(console, f"  {'together':<9}{total:>9,} steps planned: {plan.predicted_trainings:.2f} trainings of {length}")


def _seconds_per_step(search_task: SearchTask) -> float | None:
    """Return the median over a few steps; None when they take too long to time."""
    training = begin_training(search_task, search_task.space.default)
    started_at, durations = time.monotonic(), []
    for _ in range(_WARM_STEPS + _TIMED_STEPS):
        before = time.monotonic()
        training.step()
        durations.append(time.monotonic() - before)
        if time.monotonic() - started_at > _CHEAP_S:
            break
    timed = durations[_WARM_STEPS:]
    return statistics.median(timed) if timed else None


def _print_line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
