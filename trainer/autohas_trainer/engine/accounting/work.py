"""The work of a training, in trainings of the default configuration: a pure function of the configuration. No clock, no measuring.

A built-in template has closed forms and measured coefficients (`templates.step_cost`). A custom model's network is built once and its
multiply-accumulates are counted; where they cannot be, every training counts as one, whatever its network, and a notice says so.
Mixup, augmentation and custom losses are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from typing import Final

from torch import Tensor

from autohas_api.algorithms.plan_request import FORWARD_SHARE
from autohas_api.base.digest import canonical
from autohas_api.space.decisions import Configuration, Space
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Spec
from autohas_trainer.engine.candidate_faults import candidate_part
from autohas_trainer.errors import CandidateError
from autohas_trainer.space.recipe import TrainingRecipe, path_of, recipe_of
from autohas_trainer.templates import CUSTOM_STEP, CountsWork, NetworkSize, OwnNetworks, Path, StepCost, Template, measure_path, whole_path

__all__ = ["Work"]

_MAX_KEPT: Final = 4096
"""Recipes, paths, sizes and trainings that are kept each: a supernet draws more configurations than memory should hold."""


class Work:
    """Costs of the trainings of one search. Every figure is in trainings of the default."""

    def __init__(
        self, spec: Spec, space: Space, template: Template, own_values: Callable[[Configuration], Mapping[str, str]], example: Tensor
    ) -> None:
        """Count nothing yet.

        Args:
            spec: The search.
            space: Its space, whose default is the unit.
            template: The family of networks.
            own_values: The custom hyperparameters of a configuration, which a custom model is built from too.
            example: One input (1, ...).
        """
        self._space = space
        self._template = template
        self._own_values = own_values
        self._example = example.cpu()  # the same count on every device, and no device can fail under it
        self._cost: StepCost = template.step_cost if isinstance(template, CountsWork) else CUSTOM_STEP
        self._uncounted: str | None = None
        keep = lru_cache(maxsize=_MAX_KEPT)
        self._recipe_of = keep(partial(recipe_of, spec, space))
        self.recipe = keep(self._read_recipe)
        """The training recipe of a configuration: every step of a training and of a supernet asks for it."""
        self.path = keep(self._find_path)
        """The path of a configuration's network, every decision of the model present."""
        self._length = keep(self._count_length)
        self._size = keep(self._find_size)
        self._size_of_network = keep(self._count)

    @property
    def uncounted(self) -> str | None:
        """Why nothing can be counted, so that every training counts as one; None where the networks are counted."""
        _ = self._size_of_default
        return self._uncounted

    @property
    def default_macs(self) -> int:
        """Multiply-accumulates of one forward of one example in the default's network; 0 where they cannot be counted."""
        return self._size_of_default.macs

    def training(self, configuration: Configuration) -> float:
        """One whole training of `configuration`; exactly 1 for the default."""
        return 1.0 if self.uncounted is not None else self._length(configuration) / self._length(self._space.default)

    def flops(self, configuration: Configuration, num_gradients: int, num_forwards: int) -> float:
        """Floating-point operations of gradients and forward passes over that number of examples; 0 where they cannot be counted.

        A multiply-accumulate is two; a backward pass costs two forward passes.
        """
        if self.uncounted is not None:
            return 0.0
        return 2.0 * self._size(configuration).macs * (3 * num_gradients + num_forwards)

    def gradient(self, configuration: Configuration, batch_size: int) -> float:
        """One step of a supernet along the path of `configuration` with a batch of `batch_size`: gradient and update, no dropout."""
        return self._gradient(configuration, batch_size, self._cost.supernet)

    def gradient_alone(self, configuration: Configuration, batch_size: int) -> float:
        """The same in a training of the network of `configuration`: without what a supernet adds to it."""
        return self._gradient(configuration, batch_size, 0.0)

    def _gradient(self, configuration: Configuration, batch_size: int, added: float) -> float:
        unit = self.recipe(self._space.default)
        if self.uncounted is not None:
            return batch_size / unit.batch_size / unit.steps
        optimizer = self.recipe(configuration).optimizer
        return (self._cost.of(self._size(configuration), batch_size, optimizer) + added) / self._length(self._space.default)

    def forward(self, configuration: Configuration, num_examples: int) -> float:
        """Forward passes of the network of `configuration` over `num_examples`, which come in batches of the default's size."""
        unit = self.recipe(self._space.default)
        share = FORWARD_SHARE * num_examples / unit.batch_size / unit.steps
        if self.uncounted is not None:
            return share
        return share * (self._cost.of(self._size(configuration), unit.batch_size) / self._step(self._space.default))

    def _read_recipe(self, configuration: Configuration) -> TrainingRecipe:
        """Read it once for all architectures: nearly every step of a supernet meets its path for the first time."""
        pairs = zip(self._space.decisions, configuration.values, strict=True)
        return self._recipe_of(Configuration(values=tuple(value if d.name in KNOWN else d.default for d, value in pairs)))

    def _find_path(self, configuration: Configuration) -> Path:
        return whole_path(self._template.decisions, path_of(self._space, configuration))

    def _built_from(self, configuration: Configuration) -> tuple[tuple[str, str], ...]:
        """What a network is built from; several configurations may have the same."""
        return tuple({**self.path(configuration), **self._own_values(configuration)}.items())

    def _count_length(self, configuration: Configuration) -> float:
        return self.recipe(configuration).steps * self._step(configuration)

    def _step(self, configuration: Configuration) -> float:
        recipe = self.recipe(configuration)
        return self._cost.of(self._size(configuration), recipe.batch_size, recipe.optimizer, has_dropout=recipe.dropout > 0)

    @cached_property
    def _size_of_default(self) -> NetworkSize:
        """The size of the default's network; its failure is that of all."""
        try:
            return self._size_of_network(self._built_from(self._space.default))
        except CandidateError as error:
            self._uncounted = str(error)
            return NetworkSize(macs=0)

    def _find_size(self, configuration: Configuration) -> NetworkSize:
        """The size of a network; that of the default's for one that cannot be built or run: its training ends before it costs anything."""
        try:
            return self._size_of_network(self._built_from(configuration))
        except CandidateError:
            return self._size_of_default

    def _count(self, built_from: tuple[tuple[str, str], ...]) -> NetworkSize:
        """Count one network.

        Raises:
            CandidateError: it cannot be built or run, or PyTorch counts no multiply-accumulates in a layer of it.
        """
        values = dict(built_from)
        if isinstance(self._template, CountsWork):
            return self._template.size(values)
        if isinstance(self._template, OwnNetworks):
            raise CandidateError("own training computes what only its code knows")
        with candidate_part("counting its work", culprit=canonical(values), is_custom=True):
            count = measure_path(self._template, values, self._example)
        if count.uncounted is not None:
            raise CandidateError(f"layer {count.uncounted} has weights, but PyTorch counts no multiply-accumulates in it")
        if count.macs == 0:
            raise CandidateError("PyTorch counts no multiply-accumulates in it")
        return NetworkSize(macs=count.macs)
