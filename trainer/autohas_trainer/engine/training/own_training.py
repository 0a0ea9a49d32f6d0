"""A training by the user's own code: the engine keeps loop, order of data, rungs, checkpoints and the sharing of faults.

See `autohas_trainer.templates.own_training` for the methods of that code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from pydantic.alias_generators import to_camel
from torch import Tensor, nn

from autohas_api.budget.steps_per_stage import EARLY_EXAMPLES
from autohas_api.space.decisions import Configuration
from autohas_trainer.data import SelectionBatch, TestBatch, TrainBatch
from autohas_trainer.engine.candidate_faults import explain_default_failure
from autohas_trainer.engine.training.comparison import Comparison, encode
from autohas_trainer.engine.training.own_metric import compare_by_groups, measure_groups, read_metric
from autohas_trainer.engine.training.own_optimizer import require_methods, require_own_parameters
from autohas_trainer.engine.training.own_values import RecordedValues, find_unread_fields
from autohas_trainer.engine.training.rule import rule_of
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.state_tree import copy_saved, join_tree, split_tree
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, ConfigurationError, DeviceError
from autohas_trainer.optim import standalone_optimizer
from autohas_trainer.tasks import Floats
from autohas_trainer.templates import Batch, OwnNetworks, OwnOptimizer

__all__ = ["BuildTraining", "OwnTraining", "WatchedTraining", "begin_training", "try_own_training"]


class BuildTraining(Protocol):
    """What begins the trainings of a search: `Training` itself, or a subclass that knows what its comparisons are without its steps."""

    def __call__(self, search_task: SearchTask, configuration: Configuration, repeat: int = 0, *, fault: str | None = None) -> Training:
        """Begin one at step 0, see `Training.__init__`."""


def begin_training(search_task: SearchTask, configuration: Configuration, repeat: int = 0, *, fault: str | None = None) -> Training:
    """Begin a training of the search at step 0, by the user's own code where there is some; see `Training`."""
    kind = OwnTraining if isinstance(search_task.template, OwnNetworks) else Training
    return kind(search_task, configuration, repeat, fault=fault)


def try_own_training(search_task: SearchTask) -> None:
    """Before step 0: take a step of the default's own training and compare it.

    Raises:
        ConfigurationError: own code raises, or breaks its contract.
        DeviceError: the device failed.
    """
    if not isinstance(search_task.template, OwnNetworks):
        return
    try:
        training = WatchedTraining(search_task, search_task.space.default)
        training.require_own_parameters()
        training.step()
        training.compare(keeps_contributions=True)
        split_tree(training.state_dict(), "the training")
    except DeviceError:
        raise
    except CandidateError as error:
        raise explain_default_failure(error) from error
    recipe, is_own = search_task.spec.task.recipe, training.has_own_optimizer
    if unread := find_unread_fields(recipe, training.recorder.read, has_own_optimizer=is_own):
        raise ConfigurationError(
            f"task.recipe.{to_camel(unread[0])} has no effect: it is left to {search_task.template.who}"
            f"{', which has an optimizer of its own' if is_own else ''}, and its code does not read values[{unread[0]!r}] in the default"
            " configuration: read it, or remove the field"
        )


class OwnTraining(Training):
    """A training whose module, loss, optimizer and metric are the user's."""

    _module: nn.Module

    def _build(self) -> None:
        search_task = self._search_task
        assert isinstance(search_task.template, OwnNetworks)  # noqa: S101 - `begin_training` looks
        self._networks = search_task.template
        self.recipe = replace(self.recipe, ema=0.0, dropout=0.0, mixup=0.0)  # own code has them as values
        self._values = dict(search_task.custom.values(self.configuration))
        key = self._key
        self._code = self._networks.create(key)
        module = self._place(self._networks.build_with(self._code, self._given(), key))
        make = getattr(self._code, "optimizer", None)
        self.has_own_optimizer = make is not None
        if make is None:
            self._hold(module, standalone_optimizer(module, rule_of(self.recipe, self.recipe.learning_rate)))
            return
        optimizer = make(module=module, values=self._given())
        require_methods(optimizer, self._networks.who)
        self._hold(module, optimizer)

    def require_own_parameters(self) -> None:
        """Refuse an own optimizer over other parameters than the module's. Not asked of a search that an earlier version began.

        Raises:
            CandidateError: it has others, or leaves some out.
        """
        with self._part("optimizer"):
            self.begin()
            if self.has_own_optimizer:
                require_own_parameters(self._optimizer, self._module, self._networks.who)

    def _given(self) -> dict[str, str]:
        """The values as own code gets them: a copy, which it may change."""
        return dict(self._values)

    def _hold(self, module: nn.Module, optimizer: Any) -> None:  # noqa: ANN401 - any object with an optimizer's methods
        super()._hold(module, optimizer)
        self._average.drop()

    def _update_rate(self) -> None:
        """Set the recipe's rate; an own optimizer has its own, of which the first group's is shown."""
        if not self.has_own_optimizer:
            super()._update_rate()
            return
        groups = getattr(self._optimizer, "param_groups", None)
        self.learning_rate = float(groups[0]["lr"]) if groups else 0.0

    def _drop_gradients(self) -> None:
        """As its optimizer does it, which may be any object."""
        self._optimizer.zero_grad(set_to_none=True)  # type: ignore[union-attr]  # a step has one

    def _rate(self) -> float:
        return self.learning_rate if self.has_own_optimizer else super()._rate()

    def rest(self) -> None:
        """Nothing is freed: own code may keep what it likes in gradients and in its optimizer."""

    def _update_average(self) -> None:
        """The module is compared and kept as it stands."""

    def _backward(self, batch: TrainBatch) -> Tensor:
        search_task = self._search_task
        batch = search_task.custom.augment(batch, self.configuration, self.repeat, self.num_steps_done)
        self._module.train()
        is_half = self.recipe.precision == "BFloat16"
        with torch.autocast(search_task.device.type, dtype=torch.bfloat16, enabled=is_half):
            given = Batch(batch.inputs, batch.targets_B)
            loss: object = self._code.training_loss(module=self._module, batch=given, values=self._given())
        if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
            shown = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise ConfigurationError(
                f"{self._networks.who}: training_loss gave {shown}; it must give one number that depends on the module's parameters"
            )
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        return loss.detach()

    def _compare(self, on_batch: Callable[[], None], *, keeps_contributions: bool) -> Comparison:
        search_task = self._search_task
        objective, splits = search_task.spec.objective, search_task.splits
        most = splits.num_selection if self.is_finished else min(EARLY_EXAMPLES, splits.num_selection)
        sign = 1.0 if objective.better == "Maximize" else -1.0
        measured = self._measure(splits.selection(most, search_task.evaluation_chunk), on_batch)
        value, contributions = read_metric(measured, objective.metric_name, most, self._evaluate_name)
        is_decided_on = keeps_contributions or self.num_steps_done >= self.rung(self._search_task.rungs.last - 1)
        if contributions is None and is_decided_on:
            contributions = self._compare_by_groups(value, most, on_batch)
        loss = measured.get("loss")
        score = search_task.objective(sign * value, self.configuration)
        return Comparison(
            step=self.num_steps_done,
            key=score,
            score=score,
            metric=value,
            loss=math.inf if loss is None else float(torch.as_tensor(loss).double().mean()),
            contributions="" if contributions is None or not is_decided_on else encode(sign * contributions),
        )

    @property
    def _evaluate_name(self) -> str:
        """Subject of errors about what the own code measures."""
        return f"{self._networks.who}: evaluate"

    def _compare_by_groups(self, value: float, num_examples: int, on_batch: Callable[[], None]) -> Floats | None:
        search_task = self._search_task
        name = search_task.spec.objective.metric_name
        size, lengths = measure_groups(num_examples, search_task.evaluation_chunk)

        def measure(batches: Iterable[SelectionBatch]) -> float:
            number = self._measure(batches, on_batch).get(name, math.nan)
            return float(number.double().mean() if isinstance(number, Tensor) else number)

        return compare_by_groups(value, measure, lambda: search_task.splits.selection(num_examples, size), lengths)

    def _measure(self, batches: Iterable[SelectionBatch | TestBatch], on_batch: Callable[[], None]) -> Mapping[str, Any]:
        """Ask the own code for its metrics over some batches."""

        def pass_on() -> Iterator[Batch]:
            for batch in batches:
                yield Batch(batch.inputs, batch.targets_B)
                on_batch()

        self._search_task.custom.seed("compare", self.num_steps_done)
        self._is_training = False
        measured: object = self._code.evaluate(module=self._module.eval(), batches=pass_on(), values=self._given())
        if not isinstance(measured, Mapping):
            raise ConfigurationError(f"{self._evaluate_name} gave a {type(measured).__name__}, it must give metrics by name")
        return measured

    @torch.no_grad()
    def test_metric(self, batches: Iterable[TestBatch], on_batch: Callable[[], None]) -> float:
        """The metric of the finished module over one pass of the test split.

        Raises:
            CandidateError: own code raises or gives no finite metric.
        """
        search_task = self._search_task
        with self._part("the test"):
            measured = self._measure(batches, on_batch)
            return read_metric(measured, search_task.spec.objective.metric_name, search_task.splits.num_test, self._evaluate_name)[0]

    def tensors(self) -> dict[str, Tensor]:
        """Network, losses that were not read, and the tensors of both states."""
        if self._optimizer is None:
            return {}
        network = {f"network/{name}": tensor for name, tensor in self._network_tensors().items()}
        _, optimizer = self._split_optimizer()
        _, own = self._split_own()
        return network | {"losses": self._losses.losses} | optimizer | {name: tensor.clone() for name, tensor in own.items()}

    def state_dict(self) -> dict[str, Any]:
        """The state apart from tensors, as JSON."""
        if self._optimizer is None:
            return super().state_dict()
        return {**super().state_dict(), "optimizer": self._split_optimizer()[0], "own": self._split_own()[0]}

    def _split_optimizer(self) -> tuple[Any, dict[str, Tensor]]:
        optimizer = cast("OwnOptimizer", self._optimizer)
        return split_tree(optimizer.state_dict(), f"{self._networks.who}: the optimizer's state_dict()", "optimizer")

    def _split_own(self) -> tuple[Any, dict[str, Tensor]]:
        state_of = getattr(self._code, "state_dict", None)
        return (None, {}) if state_of is None else split_tree(state_of(), f"{self._networks.who}: state_dict()", "own")

    @torch.no_grad()
    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict` and `tensors`.

        Raises:
            CheckpointError: A tensor is missing or has another shape.
        """
        self.num_steps_done, self.is_diverged = int(state["step"]), bool(state["diverged"]) or self.fault is not None
        if self.is_diverged or not (self.num_steps_done or tensors):
            return
        self.begin()
        targets = {f"network/{name}": tensor for name, tensor in self._network_tensors().items()} | {"losses": self._losses.losses}
        copy_saved(targets, tensors)
        device = self._search_task.device
        placed = {name: tensor.to(device) if tensor.ndim else tensor for name, tensor in tensors.items()}  # step counts stay on the CPU
        cast("OwnOptimizer", self._optimizer).load_state_dict(join_tree(state["optimizer"], placed))
        if state["own"] is not None:
            self._code.load_state_dict(join_tree(state["own"], placed))  # type: ignore[attr-defined]  # checked: both or none


class WatchedTraining(OwnTraining):
    """A training whose own code gets values that remember which of them were read."""

    def _given(self) -> dict[str, str]:
        if not hasattr(self, "recorder"):
            self.recorder = RecordedValues(self._values)
        return self.recorder
