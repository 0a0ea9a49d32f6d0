"""The memory that a plan needs at its peak, and what a checkpoint weighs: counted from shapes before anything is trained.

    a network that waits      weights, their average, what the optimizer keeps
    the one in training       these, gradients, and the largest of the activations of a batch, the update's temporary tensors, and a
                              comparison: a copy of the weights with the activations of the examples that are evaluated at once
    a finished network        weights
    the supernet              shared weights and what its optimizers keep, the same again in its safety copy; the gradient of a path

Left out: kernels' workspaces, gaps of the allocator, the data, the process itself, and the copy of a checkpoint while it is written, which
takes at most half of the memory that is then left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import torch
from torch import Tensor, nn

from autohas_api.algorithms.algorithm_spec import Race
from autohas_api.algorithms.brackets import find_bracket
from autohas_api.space.decisions import Configuration
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.candidate_faults import candidate_part, fault_key
from autohas_trainer.engine.live_bytes import count_evaluation
from autohas_trainer.engine.memory_limit import measure_memory_left
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import CandidateError, ConfigurationError
from autohas_trainer.nn.searchable import Searchable
from autohas_trainer.optim import STATE_KEYS
from autohas_trainer.templates import OwnNetworks, tied_names, trained_parameters, use_batch_statistics

__all__ = [
    "Moment",
    "NetworkMemory",
    "PlanMemory",
    "bound_activations",
    "build_network",
    "count_from_shapes",
    "list_moments",
    "measure_network",
    "plan_memory",
    "refuse_without_room",
    "take_evaluated",
]

_FLOAT: Final = 4
_TEMPORARY: Final = {"sgd": 1}
"""Tensors as large as the weights that an update makes for a moment: the decayed gradient, and of other optimizers the divisors too."""
_MOST_TEMPORARY: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkMemory:
    """Bytes of one stand-alone network; those of activations are None where they are not counted."""

    weights: int
    trained: int
    """Of the weights, those that are trained."""
    moments: int
    temporary: int
    activations: int | None = None
    """What autograd keeps of one batch."""
    evaluation: int | None = None
    """What is alive at once while examples are evaluated, as many as one forward pass takes."""

    @property
    def waiting(self) -> int:
        """Between two of its steps."""
        return self.weights + self.trained + self.moments

    @property
    def working(self) -> int:
        """In a step or in a comparison, which copies the network."""
        return self.waiting + self.trained + max(self.activations or 0, self.temporary, self.weights + (self.evaluation or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The fullest moment of a stage: what is held in it."""

    stage: Stage
    waiting: int = 0
    finished: int = 0
    working: int = 0
    has_supernet: bool = False

    @property
    def text(self) -> str:
        """What is held, for a sentence."""
        counts = ((self.waiting, "waiting"), (self.finished, "finished"), (self.working, "in training"))
        parts = [f"{number} {what}" for number, what in counts if number]
        networks = [f"networks: {', '.join(parts)}"] if parts else []
        return "; ".join([*(["the supernet"] if self.has_supernet else []), *networks])


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMemory:
    """Bytes at the peak of a plan whose candidates all have one size, the moment of the peak, and the largest checkpoint."""

    peak: int
    moment: Moment
    checkpoint: int
    has_activations: bool


def list_moments(search_task: SearchTask) -> list[Moment]:
    """The fullest moment of each stage of the plan; a race that becomes wider than planned frees and repeats, it does not hold more."""
    plan, race = search_task.plan, search_task.spec.row.race
    has_lanes, has_supernet = plan.num_lanes > 0, plan.supernet_steps > 0
    moments = []
    if has_lanes:
        kept = plan.num_finalists if race in (Race.LEADERS, Race.MODEL) else ceil(plan.num_lanes / 3)
        moments.append(Moment(stage=Stage.LANES, waiting=1 + kept if race is Race.MODEL else min(1 + kept, plan.num_lanes - 1), working=1))
    if has_supernet:
        moments.append(Moment(stage=Stage.SUPERNET, waiting=2 if has_lanes else 0, has_supernet=True))
    if race in (Race.LEADERS, Race.MODEL):
        moments.append(Moment(stage=Stage.RACE, waiting=plan.num_finalists, working=1))
    elif race is Race.HALVING:
        lanes = 0 if not has_lanes else 1 if has_supernet else ceil(plan.num_lanes / 3)
        moments.append(Moment(stage=Stage.RACE, waiting=1 + lanes + max(0, plan.num_candidates - 1), working=1))
    elif race is Race.BRACKETS:
        moments.append(Moment(stage=Stage.RACE, waiting=_count_waiting(search_task), finished=min(2, plan.num_trials - 1), working=1))
    elif race is Race.SAMPLES:
        moments.append(Moment(stage=Stage.RACE, has_supernet=True))
    if race is Race.MODEL:
        return [*moments, Moment(stage=Stage.EVALUATE, waiting=1, working=1)]
    before = 0 if plan.trains_derived or race is Race.SAMPLES else 2
    finished = before + plan.num_repeats
    is_trained = plan.num_repeats > 0 or not before
    moments.append(Moment(stage=Stage.EVALUATE, finished=max(0, finished - 1) if is_trained else finished, working=int(is_trained)))
    return moments


def _count_waiting(search_task: SearchTask) -> int:
    """Trials of a bracket that wait while another is trained: at its first rung those that would continue, afterwards these."""
    schedule, rungs = search_task.spec.row.schedule, search_task.rungs
    if schedule is None:
        return 0
    brackets = [find_bracket(schedule, number, eta=rungs.eta, num_rungs=rungs.count) for number in range(rungs.count)]
    most = max((b.num_at(b.first_rung + 1, rungs.eta) for b in brackets if b.first_rung < rungs.last), default=0)
    return min(most, search_task.plan.num_trials - 1)


def plan_memory(search_task: SearchTask, network: NetworkMemory) -> PlanMemory:
    """The peak of the plan where every candidate has a network of this size."""
    shared = _supernet_bytes(search_task) if search_task.plan.supernet_steps else 0
    moments = list_moments(search_task)

    def held(moment: Moment) -> int:
        supernet = 2 * shared if moment.has_supernet else 0
        return supernet + moment.waiting * network.waiting + moment.finished * network.weights

    def needed(moment: Moment) -> int:
        path = 2 * network.trained + (network.activations or 0) if moment.has_supernet else 0
        tested = 0 if moment.working or not moment.finished else network.evaluation or 0
        return held(moment) + path + tested + moment.working * network.working

    fullest = max(moments, key=needed)
    return PlanMemory(
        peak=needed(fullest),
        moment=fullest,
        checkpoint=max(held(moment) + moment.working * network.waiting for moment in moments),
        has_activations=network.activations is not None,
    )


def _supernet_bytes(search_task: SearchTask) -> int:
    """Shared weights and what the optimizers in use keep for them."""
    keys = {key for optimizer in search_task.optimizers for key in STATE_KEYS[optimizer]}
    weights = search_task.template.shared((search_task.seed, "supernet"))
    return (1 + len(keys)) * sum(weight.nbytes for weight in weights.values())


def measure_network(search_task: SearchTask, configuration: Configuration) -> NetworkMemory:
    """Measure the network of a configuration, without its activations, by its shapes: it is built on the CPU once.

    Raises:
        CandidateError: the network cannot be built.
    """
    module, recipe = build_network(search_task, configuration), search_task.recipe(configuration)
    tied = tied_names(module)
    trained = sum(parameter.nbytes for parameter in trained_parameters(module).values())
    keeps_nothing = recipe.optimizer == "sgd" and recipe.momentum == 0
    return NetworkMemory(
        weights=sum(tensor.nbytes for name, tensor in module.state_dict().items() if name not in tied),
        trained=trained,
        moments=0 if keeps_nothing else len(STATE_KEYS[recipe.optimizer]) * trained,
        temporary=_TEMPORARY.get(recipe.optimizer, _MOST_TEMPORARY) * trained,
    )


def build_network(search_task: SearchTask, configuration: Configuration) -> nn.Module:
    """Build the network of a configuration as a training does.

    Raises:
        CandidateError: it cannot be built.
    """
    with candidate_part("building its network", culprit=fault_key(configuration), is_custom=search_task.custom.is_custom):
        return search_task.template.build(search_task.built_from(configuration), (search_task.seed, "network"))


def bound_activations(search_task: SearchTask, configuration: Configuration) -> int | None:
    """Bytes that the activations of a batch and those of an evaluation stay below; None where the work of the network cannot be counted.

    An output takes at least nine multiply-accumulates in a convolution, and autograd keeps up to four tensors of its size.
    """
    works = search_task.works
    if works.uncounted is not None:
        return None
    examples = max(_part_size(search_task, configuration), search_task.evaluation_chunk)
    return round(_FLOAT * works.flops(configuration, 0, examples) / 2)  # two operations each


def count_from_shapes(search_task: SearchTask, configuration: Configuration, network: NetworkMemory) -> NetworkMemory:
    """Count the activations of a training step and of an evaluation in float32, on the meta device.

    Neither where the network needs its numbers, nor for a custom module that knows nothing of `autohas.nn`: it may keep what it saw.
    Torch loads its shape functions for this, which takes seconds.

    Raises:
        CandidateError: the network cannot be built.
    """
    template = search_task.template
    if isinstance(template, OwnNetworks) or (search_task.custom.has_model and not isinstance(template, Searchable)):
        return network
    module = build_network(search_task, configuration).to("meta")
    batch = search_task.splits.train_batch(0, search_task.recipe(configuration).batch_size, search_task.seed).inputs
    try:
        return replace(
            network,
            activations=_count_saved(module.train(), batch[: _part_size(search_task, configuration)].to("meta")),
            evaluation=count_evaluation(use_batch_statistics(module), take_evaluated(search_task).to("meta")),
        )
    except (RuntimeError, NotImplementedError):
        return network


def take_evaluated(search_task: SearchTask) -> Tensor:
    """Return the inputs of one forward pass of an evaluation."""
    return next(search_task.splits.selection(None, search_task.evaluation_chunk)).inputs


def _count_saved(module: nn.Module, inputs: Tensor) -> int:
    """Count the bytes that autograd keeps between the two passes."""
    weights = {tensor.untyped_storage()._cdata for tensor in module.state_dict().values()}  # noqa: SLF001 - meta tensors have no address
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage  # noqa: SLF001 - as above; held, so that no other storage gets its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(inputs)
    return sum(storage.nbytes() for place, storage in saved.items() if place not in weights)


def _part_size(search_task: SearchTask, configuration: Configuration) -> int:
    """Examples of one forward pass in training."""
    recipe = search_task.recipe(configuration)
    return ceil(recipe.batch_size / recipe.accumulate)


def refuse_without_room(search_task: SearchTask) -> None:
    """Before step 0: refuse a plan that cannot fit into the memory of the device, with candidates as large as the default.

    Raises:
        ConfigurationError: it cannot fit.
    """
    room, default = measure_memory_left(search_task.device), search_task.space.default
    if room is None:
        return
    try:
        network = measure_network(search_task, default)
        plan, bound = plan_memory(search_task, network), bound_activations(search_task, default)
        if plan.peak <= room.left and (bound is None or plan.peak + bound > room.left):
            plan = plan_memory(search_task, count_from_shapes(search_task, default, network))
    except CandidateError:
        return  # the first step says why the default cannot be trained
    if plan.peak > room.left:
        counted = "with the activations of a batch" if plan.has_activations else "without any activations"
        raise ConfigurationError(
            f"the plan needs {_mebibytes(plan.peak)} MiB of memory at its peak, stage {plan.moment.stage} ({plan.moment.text}, of the"
            f" default's size, {counted}), but {_mebibytes(room.left)} MiB are left of {room.source} ({_mebibytes(room.limit)} MiB):"
            " give the search more memory, choose a smaller default, or lower task.recipe.batchSize or budget.trainings"
        )


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:,.0f}"
