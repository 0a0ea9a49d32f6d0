"""Checks of data against recipe and template, before anything is trained."""

from __future__ import annotations

from typing import Final

from autohas_api.algorithms.plan_request import MIN_REWARD_BATCH
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Spec
from autohas_api.templates.table import TEMPLATES
from autohas_api.templates.template_spec import InputKind
from autohas_trainer.data import Splits
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.tasks import Task

__all__ = ["check_outputs", "check_real", "check_sizes", "list_batch_sizes"]

_MIN_SELECTION: Final = 2
"""Rungs normalise by the statistics of the batch, which one example does not have."""


def list_batch_sizes(spec: Spec, space: Space) -> list[int]:
    """Every size of batch that some training may take."""
    return [spec.task.recipe.batch_size, *(int(choice) for d in space.decisions if d.name == "batch_size" for choice in d.choices)]


def check_sizes(splits: Splits, batch_size: int, *, rewards: bool) -> None:
    """Refuse data that cannot fill a batch, before anything is trained.

    Raises:
        DataError: The train or the reward split is smaller than a batch, or selection too small for the statistics of one.
    """
    if splits.num_train < batch_size:
        message = (
            f"{splits.name}: {splits.num_train} training examples cannot fill a batch of {batch_size};"
            " lower task.recipe.batchSize, the max of hyperparameter batch_size, or give more data"
        )
        raise DataError(message)
    if splits.num_selection < _MIN_SELECTION:
        message = (
            f"{splits.name}: the selection split has {splits.num_selection} example, comparisons need at least {_MIN_SELECTION};"
            " raise task.splits.selection, or give more data"
        )
        raise DataError(message)
    if rewards and splits.num_reward < MIN_REWARD_BATCH:
        message = (
            f"{splits.name}: the reward split has {splits.num_reward} examples, rewards need at least {MIN_REWARD_BATCH};"
            " raise task.splits.reward, give more data, or search hyperparameters only"
        )
        raise DataError(message)


def check_outputs(splits: Splits, template: str, task: Task) -> None:
    """Refuse targets whose outputs a built-in template does not give: one row (K,) per example, or per token (T, K).

    Raises:
        ConfigurationError: The targets have another shape.
    """
    given = (task.num_outputs,) if splits.has_real_inputs else (*splits.input_shape, task.num_outputs)
    if task.output_shape != given:
        message = (
            f"{splits.name}: for these targets ({splits.targets.kind}, of shape {splits.targets.shape} each) a network must give outputs of"
            f" shape {task.output_shape}, but template {template} gives {given} for inputs of shape {splits.input_shape}: give targets of"
            " the other shape, or a network that fits them by task.model.entrypoint"
        )
        raise ConfigurationError(message)


def check_real(splits: Splits, template: str) -> None:
    """Refuse own integers for a built-in template.

    Raises:
        ConfigurationError: The inputs are integers.
    """
    if not splits.has_real_inputs and InputKind.TOKENS not in TEMPLATES[template].inputs:
        message = (
            f"{splits.name}: inputs are integers, but template {template} needs floats:"
            " return inputs.astype('float32'), images of bytes divided by 255, or give task.model.entrypoint"
        )
        raise ConfigurationError(message)
