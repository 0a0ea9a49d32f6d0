"""One ordinary training of one stand-alone network: a lane, a candidate of the race, the final model.

A lane is a prefix of the final training: seed, data order and schedule do not depend on who asks for it, so the winner is
finished, not repeated. A step waits for no device: losses are read after every 16th step and before a comparison, and a training whose
loss is not finite ends then, as of the step that gave it. Knows nothing of stages.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import count
from typing import Any, Final

import torch
from torch import Tensor, nn

from autohas_api.budget.steps_per_stage import EARLY_EXAMPLES
from autohas_api.space.decisions import Configuration
from autohas_trainer.data import TestBatch, TrainBatch
from autohas_trainer.engine.candidate_faults import candidate_part, fault_key
from autohas_trainer.engine.training.comparison import Comparison, encode, lose_by_divergence
from autohas_trainer.engine.training.compute import CompiledNetwork, autocast_region, lay_out
from autohas_trainer.engine.training.loss_window import LENGTH, LossWindow, are_finite
from autohas_trainer.engine.training.regularisation import Mixture, mix_by_key
from autohas_trainer.engine.training.rule import rule_of
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.state_tree import copy_saved
from autohas_trainer.engine.training.weight_average import WeightAverage, recalibrate, steps_of_recalibration
from autohas_trainer.errors import CandidateError, DeviceError
from autohas_trainer.optim import keep_gradients, load_optimizer, optimizer_tensors, set_rate, standalone_optimizer
from autohas_trainer.seeding import Key, stream
from autohas_trainer.space.objective import normalise_quality
from autohas_trainer.tasks import Measurement
from autohas_trainer.templates import arm_layers, dropout_layers, export_leaves, tied_names, untied_copy, use_batch_statistics

__all__ = ["Training"]

_REVISIONS: Final = count(1)


class Training:
    """A training that can be stopped and continued at any step."""

    def __init__(self, search_task: SearchTask, configuration: Configuration, repeat: int = 0, *, fault: str | None = None) -> None:
        """Stand before step 0, without a network: until its first step a training is a function of its key and needs no memory.

        The same configuration always starts from the same weights and sees the same batches; another `repeat` has its own. With a `fault`,
        the sentence about what failed before, the training is out, as one that diverged.
        """
        self.configuration, self.repeat = configuration, repeat
        self.recipe = search_task.recipe(configuration)
        self.num_steps_done, self.learning_rate, self.is_diverged = 0, 0.0, False
        self.fault: str | None = None
        """Message for the user about what failed in this training; None if nothing did."""
        self.num_steps_lost = 0
        """Steps that were taken after the one that diverged, before its loss was read."""
        self._search_task, self.length = search_task, search_task.length(configuration)
        self._rungs = [self.rung(number) for number in range(search_task.rungs.count)]
        self._fault_key = fault_key(configuration, repeat)
        self._keeps_average = repeat == 0 or self.recipe.ema > 0
        self._task = search_task.custom.task(configuration)
        self.release()
        if fault is not None:
            self.give_up(fault)

    def begin(self) -> None:
        """Build the network of step 0, unless there is one or the training is out.

        Raises:
            CandidateError: the network cannot be built.
        """
        if self._optimizer is not None or self.is_diverged:
            return
        with self._part("building its network"):
            self._build()

    def _build(self) -> None:
        search_task = self._search_task
        module = self._place(search_task.template.build(search_task.built_from(self.configuration), self._key))
        self._hold(module, standalone_optimizer(module, rule_of(self.recipe, self.recipe.learning_rate)))

    @property
    def _key(self) -> Key:
        """The stream of the first weights."""
        return (self._search_task.seed, "network", *([self.repeat] if self.repeat else []))

    def _place(self, module: nn.Module) -> nn.Module:
        """Put a network where the search runs, in the layout of spec.trainer.compute."""
        module = module.to(self._search_task.device)
        return module.to(memory_format=torch.channels_last) if self._search_task.spec.trainer.has_channels_last else module

    def release(self) -> None:
        """Free the network and all that belongs to it; one that is not out is then at step 0, and can repeat its steps bit for bit."""
        self._hold(nn.Module(), None)
        if not self.is_diverged:
            self.num_steps_done = 0

    def rest(self) -> None:
        """Free the gradients, which the next step computes again, and after the last step the optimizer's state."""
        self._revision = next(_REVISIONS)
        if self._optimizer is not None:
            self._optimizer.zero_grad(set_to_none=True)
            if self.is_finished:
                self._optimizer.state.clear()

    def _hold(self, module: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        self._module, self._optimizer, self._revision = module, optimizer, next(_REVISIONS)
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}  # frozen weights stay as they are
        self._network = CompiledNetwork(module, self._search_task.spec.trainer.compile_mode)
        self._dropouts, self._is_training = dropout_layers(module), False
        self._losses = LossWindow(self._search_task.device)
        self._average = WeightAverage(self._parameters, self.recipe.ema)
        if not self._keeps_average:
            self._average.drop()

    def give_up(self, fault: str) -> None:
        """Count as diverged, and release the network."""
        self.fault, self.is_diverged = fault, True
        self.release()

    def _part(self, doing: str, *, is_custom: bool | None = None) -> AbstractContextManager[None]:
        """Attribute a failure of the block to this training; `is_custom`: whether custom code runs there (default: if any exists)."""
        self._revision = next(_REVISIONS)  # whatever computes with the network passes here
        owned = self._search_task.custom.is_custom if is_custom is None else is_custom
        return candidate_part(doing, culprit=self._fault_key, is_custom=owned)

    @property
    def compile_fault(self) -> str | None:
        """Why the network is not compiled although the spec asks for it; None where it is, or need not be."""
        return self._network.fault

    @property
    def revision(self) -> int | None:
        """While it is equal, so are the tensors; no two trainings of a process share one. None: custom code may change them at any time."""
        return None if self._search_task.custom.is_custom else self._revision

    @property
    def is_finished(self) -> bool:
        """Whether every step of the full training is done; never while its length is open."""
        return self.num_steps_done >= self.length.total

    @property
    def units_done(self) -> int:
        """Steps done in units of steps at the default batch size: training.steps of them are a full training, whatever its batch."""
        return self.num_steps_done * self._search_task.spec.training.steps // self.recipe.steps

    def rung(self, number: int) -> int:
        """Steps after which this training is compared at a rung, see `SearchTask.length`."""
        return self.length.rung(number)

    def step(self) -> float | None:
        """Take one step; return its training loss (nats) before the update if it is read now, NaN if the training has diverged, else None.

        A loss or finished weights that are not finite end the training: `num_steps_done` is then the step that gave that loss.

        Raises:
            CandidateError: the step cannot be taken; the training must be given up.
        """
        try:
            self.begin()
            with self._part(f"training step {self.num_steps_done}", is_custom=False):
                self._step()
                done = self.num_steps_done  # a resume reads at the same steps
                return self.read_loss() if done % LENGTH == 0 or done in self._rungs or self.is_finished else None
        except DeviceError:
            raise
        except CandidateError:
            if self.num_steps_done and math.isnan(self.read_loss()):
                return math.nan  # it had diverged before: that is why it raised
            raise

    def read_loss(self) -> float:
        """Wait for the device and return the latest step's loss; NaN if one since the last reading was not finite: the training ends."""
        loss, diverged_at = self._losses.read(self.num_steps_done)
        if diverged_at is not None:
            self.is_diverged = True
            self.num_steps_lost, self.num_steps_done = self.num_steps_done - 1 - diverged_at, diverged_at
            self.learning_rate = self._rate()
        elif self.is_finished and not are_finite(self._parameters.values()):
            self.is_diverged = True  # no later loss would show that the last update overflowed
        return math.nan if self.is_diverged else loss

    def _rate(self) -> float:
        return self.recipe.learning_rate * self.length.multiplier(self.num_steps_done)

    def _update_rate(self) -> None:
        self.learning_rate = self._rate()
        if self._optimizer is not None:
            set_rate(self._optimizer, self.learning_rate)

    def _drop_gradients(self) -> None:
        for parameter in self._parameters.values():  # as `zero_grad`, which also writes a record for a profiler
            parameter.grad = None

    def _step(self) -> None:
        recipe, search_task = self.recipe, self._search_task
        batch = self._read_batch(self.num_steps_done)
        assert self._optimizer is not None  # noqa: S101 - a training that was given up takes no steps
        self._update_rate()
        search_task.custom.seed("step", self.repeat, self.num_steps_done)
        with self._part(f"training step {self.num_steps_done}"):
            self._drop_gradients()
            self._losses.write(self.num_steps_done, self._backward(batch))  # if not finite, weights stay as they are until it is read
            keep_gradients((p.grad for p in self._parameters.values() if p.grad is not None), self._losses.are_finite())
            if recipe.gradient_clip > 0:
                nn.utils.clip_grad_norm_(self._parameters.values(), recipe.gradient_clip, foreach=True)
            self._optimizer.step()
        self._update_average()
        self.num_steps_done += 1
        if self.is_finished and recipe.ema > 0:
            with self._part("the statistics of the averaged weights"):
                self._keep_average()

    def _read_batch(self, step: int) -> TrainBatch:
        """Return a batch of the training; an exception of the search's own transform is this candidate's."""
        search_task, values = self._search_task, self._search_task.custom.transform_values(self.configuration)
        with self._part(f"reading the batch of step {step}", is_custom=values is not None):
            return search_task.splits.train_batch(step, self.recipe.batch_size, search_task.seed, replica=self.repeat, values=values)

    def _backward(self, batch: TrainBatch) -> Tensor:
        """Add up the gradients of the batch's parts; returns the mean training loss, a scalar tensor."""
        recipe, draw = self.recipe, (self.repeat, self.num_steps_done)
        batch = self._search_task.custom.augment(batch, self.configuration, *draw)
        mixture = mix_by_key(batch, recipe.mixup, self._search_task.cutmix, self._search_task.seed, *draw)
        if not self._is_training:
            self._module.train()
            self._is_training = True
        losses = []
        for number, part in enumerate(mixture.split(recipe.accumulate)):
            loss = self._loss(part, (*draw, number) if number else draw)
            losses.append(loss.detach())
            (loss if recipe.accumulate == 1 else loss / recipe.accumulate).backward()  # type: ignore[no-untyped-call]  # torch's
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _loss(self, part: Mixture, draw: Key) -> Tensor:
        """Mean training loss of a part of the batch under the recipe's dropout and label smoothing, drawn from streams of the step."""
        recipe, task = self.recipe, self._task
        if recipe.dropout > 0:
            arm_layers(self._dropouts, recipe.dropout, int(stream(self._search_task.seed, "dropout", *draw).integers(2**53)))
        with autocast_region(self._search_task.device, is_half=recipe.precision == "BFloat16"):
            outputs_BK = self._network(lay_out(part.inputs, self._search_task.spec))
        arm_layers(self._dropouts, 0.0, None)
        if recipe.precision == "BFloat16":
            outputs_BK = outputs_BK.float()
        losses_B = task.training_losses(outputs_BK, part.targets_B, recipe.label_smoothing)
        if part.partners_B is not None:
            partners_B = task.training_losses(outputs_BK, part.partners_B, recipe.label_smoothing)
            losses_B = part.share * losses_B + (1 - part.share) * partners_B
        return losses_B.mean()

    def _update_average(self) -> None:
        """Take the step's weights into the average; without `ema` nothing reads it after the last comparison before the end."""
        if self.recipe.ema == 0 and self.num_steps_done >= self._rungs[-2]:
            self._average.drop()
        self._average.update(self.num_steps_done)

    def _keep_average(self) -> None:
        """Let the averaged weights be the model, with statistics of batch normalisation that belong to them."""
        self._average.put_into(self._module)
        self._search_task.custom.seed("recalibrate", self.repeat)
        steps = range(steps_of_recalibration(self._search_task.splits.num_train, self.recipe.batch_size))
        recalibrate(self._module, (self._read_batch(step).inputs for step in steps))
        self._is_training = False
        self._average.drop()

    @torch.no_grad()
    def compare(self, on_batch: Callable[[], None] = lambda: None, *, keeps_contributions: bool = False) -> Comparison:
        """Measure on the selection split: before the end averaged weights with batch statistics on a part, at the end the model itself.

        `on_batch` is called after every batch; with `keeps_contributions` the comparison has them before 1/3 too.

        Raises:
            CandidateError: the network gives no outputs; the training must be given up.
        """
        if self.is_diverged:
            return lose_by_divergence(self.num_steps_done)
        self.begin()
        with self._part(f"the comparison after {self.num_steps_done} steps"):
            if self.num_steps_done and math.isnan(self.read_loss()):
                return lose_by_divergence(self.num_steps_done)
            return self._compare(on_batch, keeps_contributions=keeps_contributions)

    def _compare(self, on_batch: Callable[[], None], *, keeps_contributions: bool) -> Comparison:
        module = self._evaluated() if self.is_finished else self._average_module()
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
        measured, objective = task.summarise(statistics), self._search_task.objective
        quality = measured.quality if self.is_finished else normalise_quality(loss, task.constant_loss)
        return Comparison(
            step=self.num_steps_done,
            key=objective(quality, self.configuration),
            score=objective(measured.quality, self.configuration),
            metric=measured.value,
            loss=loss,
            contributions=self._contributions(losses_N, measured, keeps_early=keeps_contributions),
        )

    def _contributions(self, losses_N: Tensor, measured: Measurement, *, keeps_early: bool) -> str:
        """Contribution of each example to the quality that comparisons rank by, encoded; before the last rung but one only if asked for."""
        if self.is_finished:
            return encode(measured.contributions_N)
        is_decided_on = keeps_early or self.num_steps_done >= self._rungs[-2]
        return encode((1 - losses_N / self._search_task.task.constant_loss).cpu().numpy()) if is_decided_on else ""

    def _average_module(self) -> nn.Module:
        """A copy with the averaged weights; batch statistics, because running ones belong to other weights.

        Raises:
            ValueError: the average is not kept any more; comparisons before the end are at rungs.
        """
        if not self._average.tensors:
            raise ValueError(f"a training has no average to compare after {self.num_steps_done} of {self.recipe.steps} steps")
        module = use_batch_statistics(copy.deepcopy(self._module))
        self._average.put_into(module)
        return module

    def _evaluated(self) -> nn.Module:
        """The network in evaluation mode."""
        self._is_training = False
        return self._module.eval()

    @torch.no_grad()
    def outputs(self, batch: TestBatch) -> Tensor:
        """Outputs (B, K) of the finished model on one test batch.

        Raises:
            CandidateError: the network gives none.
        """
        with self._part("the test"):
            outputs_BK: Tensor = self._evaluated()(batch.inputs)
            return outputs_BK

    def parameters(self) -> dict[str, Tensor]:
        """Trainable weights by leaf name, as they stand; they share the network's memory."""
        self.begin()
        return export_leaves(self._module)

    def model_tensors(self) -> dict[str, Tensor]:
        """Weights and buffers of the network: what model.safetensors holds. Tied weights stand under each of their names."""
        self.begin()
        return untied_copy(self._module)

    def _network_tensors(self) -> dict[str, Tensor]:
        """Weights and buffers of the network, tied weights once."""
        tied = tied_names(self._module)
        return {name: tensor.detach() for name, tensor in self._module.state_dict().items() if name not in tied}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes, by name: network, average, losses that were not read, and what the optimizer keeps per parameter."""
        kept = optimizer_tensors(self._optimizer, self._parameters) if self._optimizer is not None else {}
        network = {f"network/{name}": tensor for name, tensor in self._network_tensors().items()}
        average = {f"average/{name}": tensor for name, tensor in self._average.tensors.items()}
        return network | average | kept | ({"losses": self._losses.losses} if self._optimizer is not None else {})

    def state_dict(self) -> dict[str, Any]:
        """The state apart from tensors, as JSON."""
        return {
            "values": list(self.configuration.values),
            "repeat": self.repeat,
            "step": self.num_steps_done,
            "diverged": self.is_diverged,
            "fault": self.fault,
            **({"decayFrom": self.length.decay_from} if self.length.decay_from is not None else {}),
            **({"decayTo": self.length.decay_to} if self.length.decay_to is not None else {}),
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict` and `tensors`.

        Raises:
            CheckpointError: A tensor is missing or has another shape.
            CandidateError: the network cannot be built.
        """
        self.num_steps_done, self.is_diverged = int(state["step"]), bool(state["diverged"]) or self.fault is not None
        self.length.decay_from, self.length.decay_to = state.get("decayFrom"), state.get("decayTo")
        if self.is_diverged or not (self.num_steps_done or tensors):
            return
        self.begin()
        assert self._optimizer is not None  # noqa: S101 - it has begun
        targets = {f"network/{name}": tensor for name, tensor in self._network_tensors().items()}
        if not any(name.startswith("average/") for name in tensors):
            self._average.drop()
        targets |= {f"average/{name}": tensor for name, tensor in self._average.tensors.items()} | {"losses": self._losses.losses}
        copy_saved(targets, tensors)
        load_optimizer(self._optimizer, self._parameters, tensors)
