"""Measures the memory of a training on one real step, so that it holds for any network and optimizer. Imports torch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from autohas_api.space.decisions import Configuration
from autohas_trainer.engine.live_bytes import count_evaluation
from autohas_trainer.engine.memory_limit import measure_memory_left
from autohas_trainer.engine.memory_plan import NetworkMemory, bound_activations, build_network, count_from_shapes, take_evaluated
from autohas_trainer.engine.training.own_training import begin_training
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.templates import OwnNetworks, use_batch_statistics

__all__ = ["measure_activations", "training_bytes"]


def measure_activations(search_task: SearchTask, configuration: Configuration, network: NetworkMemory) -> NetworkMemory:
    """Measure the activations of a batch on one real step and one real evaluation; count them from shapes where these might not fit.

    Raises:
        CandidateError: the network cannot be trained.
    """
    room, bound = measure_memory_left(search_task.device), bound_activations(search_task, configuration)
    if room is not None and (bound is None or network.working + bound > room.left):
        counted = count_from_shapes(search_task, configuration, network)
        if counted.activations is not None:
            return counted
    activations = max(0, training_bytes(search_task, configuration) - network.waiting - network.trained)
    return replace(network, activations=activations, evaluation=_measure_evaluation(search_task, configuration))


def _measure_evaluation(search_task: SearchTask, configuration: Configuration) -> int | None:
    """Measure one forward pass of an evaluation; None for own training, which alone knows how to call its module."""
    if isinstance(search_task.template, OwnNetworks):
        return None
    module = build_network(search_task, configuration)
    return count_evaluation(use_batch_statistics(module.to(search_task.device)), take_evaluated(search_task))


def training_bytes(search_task: SearchTask, configuration: Configuration) -> int:
    """Count the bytes of weights, averages, optimizer state, gradients and the activations that autograd saves for one batch.

    Allocator and kernel workspaces are not included; on a GPU add some hundred MiB.
    """
    training = begin_training(search_task, configuration)
    weights = {tensor.untyped_storage().data_ptr() for tensor in training.model_tensors().values()}
    saved_bytes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved_bytes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        training.step()
    state_bytes = sum(tensor.nbytes for tensor in training.tensors().values())
    gradients = 4 * search_task.num_parameters(configuration)
    return state_bytes + gradients + sum(size for pointer, size in saved_bytes.items() if pointer not in weights)
