"""One ordinary training of one stand-alone network: a lane, a candidate of the race, the final model.

A lane is a prefix of the final training: seed, data order and schedule do not depend on who asks for it, so the winner is
finished, not repeated. Knows nothing of stages.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from autohas_api.algorithms.rungs import rung_steps
from autohas_api.budget.steps_per_stage import EARLY_EXAMPLES
from autohas_api.space.decisions import Configuration
from autohas_trainer.data import TestBatch, TrainBatch
from autohas_trainer.engine.candidate_faults import candidate_part, fault_key
from autohas_trainer.engine.training.comparison import Comparison, encode, lose_by_divergence
from autohas_trainer.engine.training.regularisation import keep_unmixed, mix
from autohas_trainer.engine.training.rule import rate_at, rule_of
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import CheckpointError
from autohas_trainer.optim import set_rate, standalone_optimizer
from autohas_trainer.seeding import Key, stream
from autohas_trainer.space.objective import normalise_quality
from autohas_trainer.tasks import Measurement
from autohas_trainer.templates import arm_dropout, disarm_dropout, export_leaves, tied_names, use_batch_statistics

__all__ = ["BuildTraining", "Training"]

_TAIL: Final = 9
"""Ours: tail average w̄ += 9/(t+9)·(w - w̄). On a prototype its loss ranked better than that of the last weights: 0.73 and 0.97 at 1/9 and
1/3 instead of 0.70 and 0.94."""


class Training:
    """A training that can be stopped and continued at any step."""

    def __init__(self, search_task: SearchTask, configuration: Configuration, repeat: int = 0, *, fault: str | None = None) -> None:
        """Build the network at step 0.

        The same configuration always starts from the same weights and sees the same batches; another `repeat` has its own. With a `fault`,
        the sentence about what failed before, nothing is built: the training is out, as one that diverged.

        Raises:
            CandidateError: the network cannot be built.
        """
        self.configuration = configuration
        self.repeat = repeat
        self.recipe = search_task.recipe(configuration)
        self.num_steps_done = 0
        self.is_diverged = False
        self.fault: str | None = None
        """Message for the user about what failed in this training; None if nothing did."""
        self.learning_rate = 0.0
        self._search_task = search_task
        self._task = search_task.custom.task(configuration)
        if fault is not None:
            self.give_up(fault)
            return
        with self._part("building its network"):
            module = search_task.template.build(search_task.built_from(configuration), _network_key(search_task.seed, repeat)).to(
                search_task.device
            )
            self._hold(module, standalone_optimizer(module, rule_of(self.recipe, self.recipe.learning_rate)))

    def _hold(self, module: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        self._module, self._optimizer = module, optimizer
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}  # frozen weights stay as they are
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}

    def give_up(self, fault: str) -> None:
        """Count as diverged, and release the network."""
        self.fault, self.is_diverged = fault, True
        self._hold(nn.Module(), None)

    def _part(self, doing: str, *, is_custom: bool | None = None) -> AbstractContextManager[None]:
        """Attribute a failure of the block to this training; `is_custom`: whether custom code runs there (default: if any exists)."""
        owned = self._search_task.custom.is_custom if is_custom is None else is_custom
        return candidate_part(doing, culprit=fault_key(self.configuration, self.repeat), is_custom=owned)

    @property
    def is_finished(self) -> bool:
        """Whether every step of the full training is done."""
        return self.num_steps_done >= self.recipe.steps

    @property
    def units_done(self) -> int:
        """Steps done in units of steps at the default batch size: training.steps of them are a full training, whatever its batch."""
        return self.num_steps_done * self._search_task.spec.training.steps // self.recipe.steps

    def rung(self, number: int) -> int:
        """Steps after which this training is compared at a rung: 1/9, 1/3 or all of them."""
        return rung_steps(self.recipe.steps, number)

    def step(self) -> float:
        """Take one step and return the training loss (nats) before it; a loss or finished weights that are not finite end it.

        Raises:
            CandidateError: the step cannot be taken; the training must be given up.
        """
        with self._part(f"training step {self.num_steps_done}", is_custom=False):
            return self._step()

    def _step(self) -> float:
        recipe, search_task = self.recipe, self._search_task
        batch = search_task.splits.train_batch(self.num_steps_done, recipe.batch_size, search_task.seed, replica=self.repeat)
        self.learning_rate = rate_at(recipe, self.num_steps_done, recipe.steps)
        assert self._optimizer is not None  # noqa: S101 - a training that was given up takes no steps
        set_rate(self._optimizer, self.learning_rate)
        search_task.custom.seed("step", self.repeat, self.num_steps_done)
        with self._part(f"training step {self.num_steps_done}"):
            loss = self._loss(batch)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
            value = float(loss.detach())
            if not math.isfinite(value):
                self.is_diverged = True
                return value
            self._optimizer.step()
        self._update_average()
        self.num_steps_done += 1
        if self.is_finished and not all(bool(p.isfinite().all()) for p in self._parameters.values()):
            self.is_diverged = True  # no later loss would show that the last update overflowed
        return value

    def _loss(self, batch: TrainBatch) -> Tensor:
        """Mean training loss under the recipe's dropout, label smoothing and mixup, drawn from streams of the step."""
        recipe, task, seed = self.recipe, self._task, self._search_task.seed
        draw = (self.repeat, self.num_steps_done)
        batch = self._search_task.custom.augment(batch, self.configuration, *draw)
        mixture = mix(batch, recipe.mixup, stream(seed, "mixup", *draw)) if recipe.mixup > 0 else keep_unmixed(batch)
        self._module.train()
        if recipe.dropout > 0:
            arm_dropout(self._module, recipe.dropout, int(stream(seed, "dropout", *draw).integers(2**53)))
        outputs_BK = self._module(mixture.inputs)
        disarm_dropout(self._module)
        losses_B = task.training_losses(outputs_BK, batch.targets_B, recipe.label_smoothing)
        if mixture.partners_B is not None:
            partners_B = task.training_losses(outputs_BK, mixture.partners_B, recipe.label_smoothing)
            losses_B = mixture.share * losses_B + (1 - mixture.share) * partners_B
        return losses_B.mean()

    @torch.no_grad()
    def _update_average(self) -> None:
        rate = _TAIL / (self.num_steps_done + _TAIL)
        averages, weights = list(self._average.values()), [p.detach() for p in self._parameters.values()]
        torch._foreach_lerp_(averages, weights, rate)

    @torch.no_grad()
    def compare(self, on_batch: Callable[[], None] = lambda: None, *, keeps_contributions: bool = False) -> Comparison:
        """Measure on the selection split: before the end averaged weights with batch statistics on a part, at the end the model itself.

        `on_batch` is called after every batch; with `keeps_contributions` the comparison has them before 1/3 too.

        Raises:
            CandidateError: the network gives no outputs; the training must be given up.
        """
        if self.is_diverged:
            return lose_by_divergence(self.num_steps_done)
        with self._part(f"the comparison after {self.num_steps_done} steps"):
            return self._compare(on_batch, keeps_contributions=keeps_contributions)

    def _compare(self, on_batch: Callable[[], None], *, keeps_contributions: bool) -> Comparison:
        module = self._module.eval() if self.is_finished else self._average_module()
        self._search_task.custom.seed("compare", self.num_steps_done)
        task = self._search_task.task
        losses, statistics = [], []
        for batch in self._search_task.splits.selection(None if self.is_finished else EARLY_EXAMPLES, self._search_task.evaluation_chunk):
            outputs_BK = module(batch.inputs)
            losses.append(task.losses(outputs_BK, batch.targets_B).double())
            statistics.append(task.statistics(outputs_BK, batch.targets_B))
            on_batch()
        losses_N = torch.cat(losses)
        loss = float(losses_N.mean())
        if not math.isfinite(loss):
            self.is_diverged = True
            return lose_by_divergence(self.num_steps_done)
        measured = task.summarise(statistics)
        quality = measured.quality if self.is_finished else normalise_quality(loss, task.constant_loss)
        return Comparison(
            step=self.num_steps_done,
            key=self._search_task.objective(quality, self.configuration),
            score=self._search_task.objective(measured.quality, self.configuration),
            metric=measured.value,
            loss=loss,
            contributions=self._contributions(losses_N, measured, keeps_early=keeps_contributions),
        )

    def _contributions(self, losses_N: Tensor, measured: Measurement, *, keeps_early: bool) -> str:
        """Contribution of each example to the quality that comparisons rank by, encoded; before 1/3 of the training only if asked for."""
        if self.is_finished:
            return encode(measured.contributions_N)
        is_decided_on = keeps_early or self.num_steps_done >= self.rung(1)
        return encode((1 - losses_N / self._search_task.task.constant_loss).cpu().numpy()) if is_decided_on else ""

    def _average_module(self) -> nn.Module:
        """A copy with the averaged weights; batch statistics, because running ones belong to other weights."""
        module = use_batch_statistics(copy.deepcopy(self._module))
        parameters = dict(module.named_parameters())
        for name, average in self._average.items():
            parameters[name].copy_(average)
        return module

    @torch.no_grad()
    def outputs(self, batch: TestBatch) -> Tensor:
        """Outputs (B, K) of the finished model on one test batch.

        Raises:
            CandidateError: the network gives none.
        """
        with self._part("the test"):
            outputs_BK: Tensor = self._module.eval()(batch.inputs)
            return outputs_BK

    def parameters(self) -> dict[str, Tensor]:
        """Trainable weights by leaf name, as they stand; they share the network's memory."""
        return export_leaves(self._module)

    def model_tensors(self) -> dict[str, Tensor]:
        """Weights and buffers of the network: what model.safetensors holds. Tied weights stand under each of their names."""
        tied = tied_names(self._module)
        state = {name: tensor.detach() for name, tensor in self._module.state_dict().items()}
        return {name: tensor.clone() if name in tied else tensor for name, tensor in state.items()}  # a file holds no shared memory

    def _network_tensors(self) -> dict[str, Tensor]:
        """Weights and buffers of the network, tied weights once."""
        tied = tied_names(self._module)
        return {name: tensor.detach() for name, tensor in self._module.state_dict().items() if name not in tied}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes, by name: network, average, and what the optimizer keeps per parameter."""
        kept = {
            f"optimizer/{key}/{name}": value
            for name, parameter in self._parameters.items()
            for key, value in (self._optimizer.state.get(parameter, {}) if self._optimizer is not None else {}).items()
            if isinstance(value, Tensor)
        }
        network = {f"network/{name}": tensor for name, tensor in self._network_tensors().items()}
        return network | {f"average/{name}": tensor for name, tensor in self._average.items()} | kept

    def state_dict(self) -> dict[str, Any]:
        """The state apart from tensors, as JSON."""
        return {
            "values": list(self.configuration.values),
            "repeat": self.repeat,
            "step": self.num_steps_done,
            "diverged": self.is_diverged,
            "fault": self.fault,
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict` and `tensors`.

        Raises:
            CheckpointError: A tensor is missing or has another shape.
        """
        self.num_steps_done, self.is_diverged = int(state["step"]), bool(state["diverged"]) or self.fault is not None
        if self._optimizer is None:
            return
        targets = {f"network/{name}": tensor for name, tensor in self._network_tensors().items()}
        targets |= {f"average/{name}": tensor for name, tensor in self._average.items()}
        for name, target in targets.items():
            source = tensors.get(name)
            if source is None or source.shape != target.shape:
                message = f"the checkpoint's training has no tensor {name} of shape {tuple(target.shape)}"
                raise CheckpointError(message)
            target.copy_(source)
        for path, saved in tensors.items():
            kind, _, rest = path.partition("/")
            if kind == "optimizer":
                key, _, name = rest.partition("/")
                parameter = self._parameters[name]
                like = saved if key == "step" else parameter  # torch keeps its step counts on the CPU
                self._optimizer.state[parameter][key] = torch.empty_like(like, requires_grad=False).copy_(saved)


class BuildTraining(Protocol):
    """What begins the trainings of a search: `Training` itself, or a subclass that knows what its comparisons are without its steps."""

    def __call__(self, search_task: SearchTask, configuration: Configuration, repeat: int = 0, *, fault: str | None = None) -> Training:
        """Begin one at step 0, see `Training.__init__`."""


def _network_key(seed: int, repeat: int) -> Key:
    """The stream of the first weights."""
    return (seed, "network", repeat) if repeat else (seed, "network")
