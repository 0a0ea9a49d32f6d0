"""Warmup and Supernet: shared weights, one sampled path per step, a controller that learns after the warm-up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autohas_api.space.decisions import Configuration
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import SupernetAlgorithm
from autohas_trainer.algorithms._base import Gradient, Lesson, Reading, Update
from autohas_trainer.engine.candidate_faults import candidate_part
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.pending_step import Measurements, PendingStep
from autohas_trainer.engine.stages.supernet_context import CULPRIT, SupernetStepContext
from autohas_trainer.engine.training.safety_copy import MAX_RESTARTS
from autohas_trainer.errors import CandidateError, DeviceError
from autohas_trainer.events import StepRecord, StepUse, finite
from autohas_trainer.space.policy import Draw

__all__ = ["SupernetStage"]

_MAX_DEVICE_ERRORS = 3
_MAX_FAILURES = 8
"""Ours: samples in a row that fail before the supernet is left; a single choice that always fails is learned sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A sample and its gradient, or why there is none."""

    draw: Draw
    gradient: Gradient | CandidateError

    @property
    def sample(self) -> Configuration:
        """What was drawn."""
        return self.draw.configuration


class SupernetStage:
    """A run of supernet steps.

    Warmup: the first ones, uniform paths, no architecture reward. Supernet: the others, every sample is rewarded and the controller learns.
    A step is read when the gradient of the next one is queued, so that nothing waits for the device; the last of a stage is at its end.
    """

    def __init__(self, state: SearchState, name: Stage, num_steps: int) -> None:
        """`num_steps`: its part of the progress, in steps at the default batch size."""
        assert isinstance(state.algorithm, SupernetAlgorithm)  # noqa: S101 - plans of the others have no supernet steps
        self._state, self._algorithm = state, state.algorithm
        self._steps_done = 0
        self._failures = 0
        self._pending: PendingStep | None = None
        """The step that was taken last, until it is read."""
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
        if self._has_more():
            self._take(SupernetStepContext(self._state, self._span()[0] + self._steps_done))
        if self._has_more():
            return True
        self.settle()
        self._drop_copy()
        return False

    def settle(self) -> None:
        """Read the step that is pending, if there is one, where no other follows it."""
        if not self._read_pending():
            self._recover()

    def _take(self, context: SupernetStepContext) -> None:
        """Queue a step; between its gradient and its update read the one before."""
        begun = self._begin(context)
        if not self._read_pending():  # the gradient is of weights that are lost
            self._spend(begun.sample)
            if not self._recover():
                return
            begun = self._begin(context)
        self._keep_copy(context.step)
        queued = self._finish(context, begun)
        self._steps_done += 1
        if isinstance(queued, CandidateError):
            self._reject(context, queued)
            return
        self._state.failed_samples = 0
        update, measurements = queued
        record = self._book(context, update.draw.configuration, update.reference, update)
        self._pending = PendingStep(number=context.step, reference=update.reference, measurements=measurements, record=record)
        if not self._algorithm.has_lag:
            self.settle()

    def _begin(self, context: SupernetStepContext) -> _Begun:
        """Draw a sample and queue its gradient."""
        draw = self._algorithm.sample(context)
        try:
            return _Begun(draw=draw, gradient=context.gradient(draw.configuration, context.train_batch()))
        except DeviceError:
            raise
        except CandidateError as error:
            return _Begun(draw=draw, gradient=error)

    def _finish(self, context: SupernetStepContext, begun: _Begun) -> tuple[Update, Measurements] | CandidateError:
        """Queue the rest of a step; a failure of the sample's network is returned."""
        if isinstance(begun.gradient, CandidateError):
            return begun.gradient
        try:
            update = self._algorithm.train(context, begun.draw, begun.gradient)
            with context.attribute_to(begun.sample):
                return update, Measurements.of(update)
        except DeviceError:
            raise
        except CandidateError as error:
            return error

    def _read_pending(self) -> bool:
        """Learn from the step that is pending, if there is one; whether the supernet may continue with the weights that it has."""
        if (pending := self._pending) is None:
            return True
        context = SupernetStepContext(self._state, pending.number)
        with candidate_part(f"step {pending.number} of the supernet", culprit=context.culprit, is_custom=False):
            reading = pending.measurements.read()
        self._pending = None
        if not reading.is_kept:
            self._count_rejection(pending)
        lesson = self._algorithm.learn(context, reading)
        self._state.report_supernet(
            replace(
                pending.record,
                loss=finite(reading.loss),
                is_finite=math.isfinite(reading.loss),
                reward=lesson.reward,
                advantage=lesson.advantage,
                is_rejected=not reading.is_kept,
            ),
            has_learned=lesson.has_learned,
        )
        return self._is_sound(reading, lesson)

    def _count_rejection(self, pending: PendingStep) -> None:
        """The device has put weights and moments back; Adam's counts are numbers of the host."""
        state = self._state
        optimizer = state.search_task.recipe(pending.reference).optimizer
        state.supernet.discount(state.search_task.path(pending.measurements.draw.configuration), optimizer)
        state.guards.update.num_rejected += 1
        if state.guards.update.num_rejected == 1:
            state.notify(
                NoticeReason.UPDATE_REJECTED,
                "an update that harmed its own training batch was taken back; history.jsonl marks such steps as rejected",
            )

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
        return not self._state.supernet_is_abandoned and self._takes_steps_until(self._span()[1])

    def _takes_steps_until(self, last: int) -> bool:
        """Whether the supernet takes another step before step `last`, as far as its share pays."""
        is_overdrawn = self._state.supernet_share.is_overdrawn(self._state.ledger.cost_by_stage())
        return self._span()[0] + self._steps_done < last and not is_overdrawn

    def _count_units(self, steps: int) -> int:
        """Steps in units of the progress: `num_steps` of them are the stage, whatever its batch."""
        first, last = self._span()
        return steps * self.num_steps // (last - first)

    def _leave_failing_device(self) -> None:
        """Leave a supernet under which the device fails again and again: every failure costs a process."""
        state = self._state
        if not state.supernet_is_abandoned and sum(fault.startswith(CULPRIT) for fault in state.faults) >= _MAX_DEVICE_ERRORS:
            state.supernet_is_abandoned = True
            state.notify(
                NoticeReason.SUPERNET_DIVERGED,
                f"the device failed {_MAX_DEVICE_ERRORS} times in the supernet: it is abandoned, and {self._describe_unspent()}",
            )

    def _reject(self, context: SupernetStepContext, error: CandidateError) -> None:
        """A sample that fails counts as one whose update was taken back: the weights stay, and the controller learns to avoid it.

        It learns at once: nothing of the sample is to be read from the device.
        """
        sample = context.failed or self._state.search_task.space.default
        has_learned = not context.is_warmup and self._algorithm.reject(sample)
        record = replace(self._book(context, sample, sample), is_finite=False, is_rejected=True)
        self._state.report_supernet(record, has_learned=has_learned)
        self._count_failure(sample, str(error))

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

    def _is_sound(self, reading: Reading, lesson: Lesson) -> bool:
        """Whether the weights are finite, and the controller has not decided on nothing, which abandons the supernet."""
        state = self._state
        if not math.isfinite(reading.loss):
            return False
        state.guards.safety.record(reading.loss)
        if reading.quality is None or lesson.reward is None or not state.search_task.spec.algorithm.has_race:
            return True
        if state.guards.collapse.is_collapsed(reading.quality, state.algorithm.policy.normalized_entropy()):
            state.supernet_is_abandoned = True
            state.notify(
                NoticeReason.POLICY_COLLAPSED,
                f"the controller has decided while its samples are no better than chance, after {self._steps_done} steps of {self.name};"
                f" the supernet is abandoned and the race decides; {self._describe_unspent()}",
            )
        return not state.supernet_is_abandoned

    def _recover(self) -> bool:
        """Restart a supernet that was not abandoned; whether it continues."""
        if not self._state.supernet_is_abandoned:
            self._restart()
        return not self._state.supernet_is_abandoned

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
        how = f"restart {safety.num_restarts} of {MAX_RESTARTS} continues{_name_rate(safety.rate_factor)} from"
        if not self._takes_steps_until(state.supernet_plan.supernet_steps):  # read where the supernet ends
            how = "no step follows, and the race takes"
        num_lost = self._span()[0] + self._steps_done - learners["step"]
        state.notify(
            NoticeReason.SUPERNET_RESTARTED,
            f"{text}{rate}: {how} its state after {learners['step']} steps in all; {num_lost} steps, {lost:.2f} trainings, are lost",
        )

    def _describe_unspent(self) -> str:
        """The trainings that the supernet does not spend, as a clause."""
        planned, spent = self._state.supernet_share.planned, self._state.ledger.cost_by_stage()
        left = planned - sum(spent.get(stage, 0.0) for stage in (Stage.WARMUP, Stage.SUPERNET))
        return f"{left:.2f} of its {planned:.2f} trainings are not spent"

    def state_dict(self) -> dict[str, Any]:
        """Steps done, those that failed, and the step that is pending; waits for the device."""
        pending = None if self._pending is None else self._pending.to_json()
        return {"step": self._steps_done, "failures": self._failures, "pending": pending}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._steps_done, self._failures = int(state["step"]), int(state["failures"])
        self._pending = None if state["pending"] is None else PendingStep.from_json(state["pending"])

    def _book(
        self, context: SupernetStepContext, sample: Configuration, reference: Configuration, update: Update | None = None
    ) -> StepRecord:
        """Count a step, of which only the gradient was taken if there is no `update`; the record without what is still to be read."""
        state = self._state
        state.ledger.advance_to(state.ledger.step + self._count_units(self._steps_done) - self._count_units(self._steps_done - 1))
        use = self._spend(sample) if update is None else self._spend_update(update)
        return StepRecord(
            use=use,
            stage=self.name,
            step=state.ledger.step,
            steps=state.ledger.steps,
            cost=state.ledger.cost,
            loss=None,
            learning_rate=context.learning_rate(reference),
            sample=state.search_task.space.as_mapping(sample),
        )

    def _spend_update(self, update: Update) -> StepUse:
        num_examples = update.num_train_forwards * self._state.supernet_batch_size
        num_examples += update.num_reward_forwards * self._state.search_task.reward_batch_size
        return self._spend(update.draw.configuration, update.num_gradients, num_examples)

    def _spend(self, sample: Configuration, num_gradients: int = 1, num_examples: int = 0) -> StepUse:
        """Book gradients along a path, and forward passes of examples."""
        state, size = self._state, self._state.supernet_batch_size
        works = state.search_task.works
        cost = num_gradients * works.gradient(sample, size) + works.forward(sample, num_examples)
        state.ledger.spend(self.name, cost, gradients=num_gradients * works.gradient_alone(sample, size))
        use = state.search_task.use(sample, num_gradients * size, num_examples)
        state.ledger.usage.add(self.name, use)
        return use


def _name_rate(factor: float) -> str:
    """What restarts left of the rate, as a clause; empty before the first."""
    return f" at 1/{round(1 / factor)} of the rate" if factor < 1 else ""
