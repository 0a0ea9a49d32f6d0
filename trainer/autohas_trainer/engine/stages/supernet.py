"""Warmup and Supernet: shared weights, one sampled path per step, a controller that learns after the warm-up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from autohas_api.space.decisions import Configuration
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import SupernetStep
from autohas_trainer.algorithms._base import Gradient
from autohas_trainer.data import RewardBatch, TrainBatch
from autohas_trainer.engine.candidate_faults import candidate_part
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.training.rule import rate_at, rule_of
from autohas_trainer.engine.training.safety_copy import MAX_RESTARTS
from autohas_trainer.errors import CandidateError, DeviceError
from autohas_trainer.events import StepRecord, finite
from autohas_trainer.optim import clip, norm_of
from autohas_trainer.seeding import stream

__all__ = ["SupernetStage", "SupernetStepContext"]

_SUPERNET_REPLICA = -1
"""The supernet's own data order; stand-alone trainings share replica 0."""
_TEMPORARY_REPLICA = -2
"""The order of the batches that make temporary weights, where they have their own."""
_CULPRIT = "supernet step "
_MAX_DEVICE_ERRORS = 3
_MAX_FAILURES = 8
"""Ours: samples in a row that fail before the supernet is left; a single choice that always fails is learned sooner."""


class SupernetStepContext:
    """What an algorithm may ask during supernet step `step` (see `algorithms.StepContext`)."""

    def __init__(self, state: SearchState, step: int) -> None:
        self.step = step
        plan = state.supernet_plan
        self.num_steps = plan.schedule_steps
        self.is_warmup = step < plan.warmup_steps
        self._state = state
        self.culprit = f"{_CULPRIT}{step}"
        """Name of what this works on among the faults."""
        self.failed: Configuration | None = None
        """The sample that could not be trained or scored."""
        self.last_quality: float | None = None
        """Quality that `score` measured last, without the cost penalty."""
        self._train: TrainBatch | None = None
        self._temporary: TrainBatch | None = None
        self._reward: RewardBatch | None = None

    def train_batch(self) -> TrainBatch:
        """The step's training batch."""
        if self._train is None:
            self._train = self._batch(_SUPERNET_REPLICA)
        return self._train

    def temporary_batch(self) -> TrainBatch:
        """Another training batch."""
        if self._temporary is None:
            self._temporary = self._batch(_TEMPORARY_REPLICA)
        return self._temporary

    def _batch(self, replica: int) -> TrainBatch:
        search_task = self._state.search_task
        size, values = self._state.supernet_batch_size, search_task.custom.transform_values(search_task.space.default)
        batch = search_task.splits.train_batch(self.step, size, search_task.seed, replica=replica, values=values)
        return search_task.custom.augment(batch, search_task.space.default, "supernet", replica, self.step)

    def reward_batch(self) -> RewardBatch:
        """The step's reward batch."""
        search_task = self._state.search_task
        if self._reward is None:
            self._reward = search_task.splits.reward_batch(self.step, search_task.reward_batch_size, search_task.seed)
        return self._reward

    def gradient(self, configuration: Configuration, batch: TrainBatch) -> Gradient:
        """Gradient at the shared weights, clipped: temporary and shared updates see the same.

        A gradient that is not finite counts as a loss that is not: no scaling makes it an update.
        """
        self._state.search_task.custom.seed("supernet", self.step)
        with self._part(configuration):
            loss, tensors = self._state.supernet.gradient(
                self._state.search_task.path(configuration), batch, self._smoothing(configuration)
            )
            value, norm = torch.stack((loss, norm_of(tensors))).tolist()  # one wait for the device instead of two
        if not math.isfinite(norm):
            return Gradient(loss=math.nan, tensors=tensors)
        return Gradient(loss=value, tensors=clip(tensors, norm))

    @contextmanager
    def trial(self, configuration: Configuration, gradient: Gradient) -> Iterator[None]:
        """Temporary weights under the configuration's own hyperparameters, whose rate no restart of the supernet lowers: it is judged."""
        rule = rule_of(self._state.search_task.recipe(configuration), self._scheduled_rate(configuration))
        with self._state.supernet.trial(self._state.search_task.path(configuration), gradient.tensors, rule):
            yield

    def commit(self, configuration: Configuration, gradient: Gradient, reference: Configuration) -> None:
        """Update the shared weights, unless the gradient is of a loss that is not finite."""
        if math.isfinite(gradient.loss):
            rule = rule_of(self._state.search_task.recipe(reference), self.learning_rate(reference))
            self._state.supernet.commit(self._state.search_task.path(configuration), gradient.tensors, rule)

    def try_commit(self, configuration: Configuration, gradient: Gradient, reference: Configuration) -> bool:
        """Update the shared weights and take it back when the guard calls it harmful."""
        if not math.isfinite(gradient.loss):
            return False
        optimizer = self._state.search_task.recipe(reference).optimizer
        with self._state.supernet.revertible(self._state.search_task.path(configuration), optimizer) as revert:
            self.commit(configuration, gradient, reference)
            is_kept = self._state.guards.update.accepts(gradient.loss, self._training_loss(configuration))
            if not is_kept:
                revert()
        return is_kept

    def loss(self, configuration: Configuration, batch: RewardBatch) -> float:
        """Mean loss on the reward batch."""
        self._state.search_task.custom.seed("supernet", self.step)
        with self._part(configuration):
            loss, _ = self._state.supernet.loss_and_quality(self._state.search_task.path(configuration), batch)
            return float(loss)

    def _training_loss(self, configuration: Configuration) -> float:
        """The loss of `gradient` on the step's training batch with the weights as they stand: the same draws, the same mode."""
        self._state.search_task.custom.seed("supernet", self.step)
        batch, smoothing = self.train_batch(), self._smoothing(configuration)
        with self._part(configuration):
            return float(self._state.supernet.training_loss(self._state.search_task.path(configuration), batch, smoothing))

    def _smoothing(self, configuration: Configuration) -> float:
        return self._state.search_task.recipe(configuration).label_smoothing

    def score(self, configuration: Configuration, batch: RewardBatch) -> float:
        """Quality on the reward batch with the price of size."""
        self._state.search_task.custom.seed("supernet", self.step)
        with self._part(configuration):
            _, quality = self._state.supernet.loss_and_quality(self._state.search_task.path(configuration), batch)
            self.last_quality = float(quality)
            return self._state.search_task.objective(self.last_quality, configuration)

    @contextmanager
    def _part(self, configuration: Configuration) -> Iterator[None]:
        """Attribute a failure of the block to the sample; skip the block if the device failed at this step in an earlier process.

        Raises:
            CandidateError: The sample cannot be trained or scored.
        """
        self.failed = configuration
        if (fault := self._state.faults.get(self.culprit)) is not None:
            raise CandidateError(fault)
        with candidate_part(f"a sample at step {self.step}", culprit=self.culprit, is_custom=self._state.search_task.custom.is_custom):
            yield
        self.failed = None

    def learning_rate(self, configuration: Configuration) -> float:
        """Peak of the configuration times the supernet's own schedule, lowered by each restart."""
        return self._scheduled_rate(configuration) * self._state.guards.safety.rate_factor

    def _scheduled_rate(self, configuration: Configuration) -> float:
        return rate_at(self._state.search_task.recipe(configuration), self.step, self.num_steps)

    def rng(self, name: str) -> np.random.Generator:
        """A generator keyed by (seed, stage, step, name)."""
        return stream(self._state.search_task.seed, "supernet", self.step, name)


class SupernetStage:
    """A run of supernet steps.

    Warmup: the first ones, uniform paths, no architecture reward. Supernet: the others, every sample is rewarded and the controller learns.
    """

    def __init__(self, state: SearchState, name: Stage, num_steps: int) -> None:
        """`num_steps`: its part of the progress, in steps at the default batch size."""
        self._state = state
        self._steps_done = 0
        self._failures = 0
        self.name = name
        self._num_planned = num_steps

    @property
    def num_steps(self) -> int:
        """Its part of the progress, in steps at the default batch size: those that its share pays for, once that is fixed."""
        state = self._state
        if state.supernet_share.trainings is None:
            return self._num_planned
        first, last = self._span()
        return round((last - first) * state.supernet_batch_size / state.search_task.spec.task.recipe.batch_size)

    def begin(self) -> None:
        """Fix what the supernet may spend; shared weights and policy are fresh in the search state."""
        state = self._state
        lane = None if state.best_lane is None else state.prices(state.best_lane)
        state.supernet_share.fix(state.trainings_left, state.supernet_reference, len(state.comparisons.get(DEFAULT, {})), lane)

    def advance(self) -> bool:
        """One supernet step; a fault that cannot be repaired abandons the supernet, and the race continues with the lanes."""
        self._leave_failing_device()
        first, _ = self._span()
        if not self._has_more():
            return False
        self._keep_copy(first + self._steps_done)
        context = SupernetStepContext(self._state, first + self._steps_done)
        try:
            done = self._state.algorithm.step(context)
        except DeviceError:
            raise
        except CandidateError as error:
            done = self._reject(context)
            self._steps_done += 1
            self._book(done)
            self._count_failure(done.sample, str(error))
        else:
            self._steps_done += 1
            self._state.failed_samples = 0
            self._book(done)
            self._watch(done, context.last_quality)
        if not self._has_more():
            self._drop_copy()
            return False
        return True

    def _keep_copy(self, step: int) -> None:
        """Copy the state before `step` now and then, if it is healthy: the supernet restarts from there should it diverge."""
        state, safety = self._state, self._state.guards.safety
        if safety.is_due(step, state.supernet_plan.schedule_steps) and safety.is_healthy(tensors := state.supernet.state_dict()):
            learners = {"algorithm": state.algorithm.state_dict(), "guards": state.guards.learned_state()}
            safety.keep(tensors, {"step": step, "cost": state.ledger.cost, **learners})

    def _drop_copy(self) -> None:
        """Free the copy once no step of the supernet follows."""
        if self.name is Stage.SUPERNET or self._state.supernet_is_abandoned:
            self._state.guards.safety.drop()

    def _span(self) -> tuple[int, int]:
        """(number of its first step among all of the supernet, number of the step after its last), at the batch size of the best lane."""
        plan = self._state.supernet_plan
        return (0, plan.warmup_steps) if self.name is Stage.WARMUP else (plan.warmup_steps, plan.supernet_steps)

    def _has_more(self) -> bool:
        """Whether steps are left that the share pays for."""
        first, last = self._span()
        is_overdrawn = self._state.supernet_share.is_overdrawn(self._state.ledger.cost_by_stage())
        return first + self._steps_done < last and not self._state.supernet_is_abandoned and not is_overdrawn

    def _count_units(self, steps: int) -> int:
        """Steps in units of the progress: `num_steps` of them are the stage, whatever its batch."""
        first, last = self._span()
        return steps * self.num_steps // (last - first)

    def _leave_failing_device(self) -> None:
        """Leave a supernet under which the device fails again and again: every failure costs a process."""
        state = self._state
        if not state.supernet_is_abandoned and sum(fault.startswith(_CULPRIT) for fault in state.faults) >= _MAX_DEVICE_ERRORS:
            state.supernet_is_abandoned = True
            state.notify(
                NoticeReason.SUPERNET_DIVERGED,
                f"the device failed {_MAX_DEVICE_ERRORS} times in the supernet: it is abandoned, and {self._describe_unspent()}",
            )

    def _reject(self, context: SupernetStepContext) -> SupernetStep:
        """A sample that fails counts as one whose update was taken back: the weights stay, and the controller learns to avoid it."""
        sample = context.failed or self._state.search_task.space.default
        has_learned = not context.is_warmup and self._state.algorithm.reject(sample)
        return SupernetStep(
            sample=sample, loss=math.nan, learning_rate=context.learning_rate(sample), is_rejected=True, has_learned=has_learned
        )

    def _count_failure(self, sample: Configuration, fault: str) -> None:
        """Say the first failure of the stage; leave a supernet in which nothing can be trained."""
        state = self._state
        self._failures, state.failed_samples = self._failures + 1, state.failed_samples + 1
        if self._failures == 1:
            text = f"a sample of {self.name} failed and is rejected, as others may be: {fault}; {state.search_task.values_text(sample)}"
            state.notify(NoticeReason.CANDIDATE_FAILED, text)
        if state.failed_samples == _MAX_FAILURES:
            state.supernet_is_abandoned, state.supernet_fault = True, fault
            state.notify(
                NoticeReason.SUPERNET_DIVERGED,
                f"{_MAX_FAILURES} samples of the supernet in a row failed: it is abandoned, and {self._describe_unspent()}; {fault}",
            )

    def _watch(self, done: SupernetStep, quality: float | None) -> None:
        """Abandon shared weights that are lost, and a controller that decided on nothing."""
        state = self._state
        if done.is_rejected and state.guards.update.num_rejected == 1:
            state.notify(
                NoticeReason.UPDATE_REJECTED,
                "an update that harmed its own training batch was taken back; history.jsonl marks such steps as rejected",
            )
        if math.isfinite(done.loss):
            state.guards.safety.record(done.loss)
        else:
            self._restart()
            return
        if quality is None or not state.search_task.spec.algorithm.has_race:
            return
        if state.guards.collapse.is_collapsed(quality, state.algorithm.policy.normalized_entropy()):
            state.supernet_is_abandoned = True
            state.notify(
                NoticeReason.POLICY_COLLAPSED,
                f"the controller has decided while its samples are no better than chance, after {self._steps_done} steps of {self.name};"
                f" the supernet is abandoned and the race decides; {self._describe_unspent()}",
            )

    def _restart(self) -> None:
        """Continue from the last finite state at a third of the rate; after two restarts leave the supernet to the race."""
        state, safety = self._state, self._state.guards.safety
        text = f"the supernet's loss or gradient is not finite after {self._steps_done} steps of {self.name}"
        rate = _name_rate(safety.rate_factor)
        lost = state.ledger.cost - safety.state.get("cost", state.ledger.cost)
        if (last := safety.restart(lost)) is None:
            state.supernet_is_abandoned = True
            cost = f"; its {safety.num_restarts} restarts lost {safety.trainings_lost:.2f} trainings" if safety.num_restarts else ""
            state.notify(NoticeReason.SUPERNET_DIVERGED, f"{text}{rate}: it is abandoned, and {self._describe_unspent()}{cost}")
            return
        tensors, learners = last
        state.supernet.load_state_dict(tensors)
        state.algorithm.load_state_dict(learners["algorithm"])
        state.guards.load_learned_state(learners["guards"])
        first, _ = self._span()
        state.notify(
            NoticeReason.SUPERNET_RESTARTED,
            f"{text}{rate}: restart {safety.num_restarts} of {MAX_RESTARTS} continues{_name_rate(safety.rate_factor)} from its state after"
            f" {learners['step']} steps in all; {first + self._steps_done - learners['step']} steps, {lost:.2f} trainings, are lost",
        )

    def _describe_unspent(self) -> str:
        """The trainings that the supernet does not spend, as a clause."""
        planned, spent = self._state.supernet_share.planned, self._state.ledger.cost_by_stage()
        left = planned - sum(spent.get(stage, 0.0) for stage in (Stage.WARMUP, Stage.SUPERNET))
        return f"{left:.2f} of its {planned:.2f} trainings are not spent"

    def state_dict(self) -> dict[str, Any]:
        """Steps done, and those that failed."""
        return {"step": self._steps_done, "failures": self._failures}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._steps_done = int(state["step"])
        self._failures = int(state["failures"])

    def _book(self, done: SupernetStep) -> None:
        state, search_task = self._state, self._state.search_task
        state.ledger.advance_to(state.ledger.step + self._count_units(self._steps_done) - self._count_units(self._steps_done - 1))
        works, size = search_task.works, state.supernet_batch_size
        num_examples = done.num_train_forwards * size + done.num_reward_forwards * search_task.reward_batch_size
        cost = done.num_gradients * works.gradient(done.sample, size) + works.forward(done.sample, num_examples)
        state.ledger.spend(self.name, cost, gradients=done.num_gradients * works.gradient_alone(done.sample, size))
        use = search_task.use(done.sample, done.num_gradients * size, num_examples)
        state.ledger.usage.add(self.name, use)
        record = StepRecord(
            use=use,
            stage=self.name,
            step=state.ledger.step,
            steps=state.ledger.steps,
            cost=state.ledger.cost,
            loss=finite(done.loss),
            is_finite=math.isfinite(done.loss),
            learning_rate=done.learning_rate,
            reward=done.reward,
            advantage=done.advantage,
            is_rejected=done.is_rejected,
            sample=search_task.space.as_mapping(done.sample),
        )
        state.report_supernet(record, has_learned=done.has_learned)


def _name_rate(factor: float) -> str:
    """What restarts left of the rate, as a clause; empty before the first."""
    return f" at 1/{round(1 / factor)} of the rate" if factor < 1 else ""
