"""What all stages of a search share: its trainings, their comparisons, the supernet, the algorithm, the books.

Stages act through the search state, so that cost, records and divergence are handled once. The search state knows no order of stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.base.text_encoding import replace_unprintable
from autohas_api.space.decisions import Configuration
from autohas_api.wire.messages import NOTICES_PER_START, Effect, Notice, Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import Algorithm, build_algorithm
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.accounting.spending import Prices
from autohas_trainer.engine.candidate_faults import explain_default_divergence, explain_default_failure, fault_key
from autohas_trainer.engine.checkpointing.staging import Part
from autohas_trainer.engine.live_trainings import LiveTrainings, select
from autohas_trainer.engine.training.comparison import Comparison
from autohas_trainer.engine.training.final_scores import compute_test_scores
from autohas_trainer.engine.training.guard import SupernetGuards
from autohas_trainer.engine.training.own_training import BuildTraining, begin_training
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.shared_supernet import SharedSupernet
from autohas_trainer.engine.training.supernet_share import SupernetShare
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, DeviceError
from autohas_trainer.events import (
    DEFAULT,
    BatchEvaluated,
    CandidateRecord,
    NoticeIssued,
    PolicyRecord,
    Sink,
    StagesPlanned,
    StepRecord,
    WorkStarted,
    finite,
)
from autohas_trainer.supernet import Supernet

__all__ = ["DEFAULT", "SearchState"]

MAX_NOTICE_LENGTH = 1024


class SearchState:
    """The state of a search between any two steps."""

    def __init__(self, search_task: SearchTask, sink: Sink, ledger: Ledger, wall_clock: Callable[[], float]) -> None:
        """An empty state: no training begun, shared weights fresh, policy uniform; `wall_clock` dates notices."""
        self._wall_clock = wall_clock
        self.notices: list[Notice] = []
        self.search_task = search_task
        self.sink = sink
        self.ledger = ledger
        self.algorithm: Algorithm = build_algorithm(search_task.spec, search_task.space)
        self._shared = SharedSupernet(search_task)
        self.supernet_is_abandoned = False
        self.supernet_fault: str | None = None
        """Why no sample of the supernet could be trained; None if one could."""
        self.failed_samples = 0
        """Samples of the supernet in a row that could not be trained."""
        self.faults: dict[str, str] = {}
        """Message of each failure, by `candidate_faults.fault_key` or the name of a supernet step: what failed is not tried again."""
        self._said: set[str] = set()
        """Faults that a notice has named."""
        self.guards = SupernetGuards(search_task.task, search_task.device)
        self.configurations: dict[str, Configuration] = {DEFAULT: search_task.space.default}
        self.build_training: BuildTraining = begin_training
        self.trainings = LiveTrainings()
        self.comparisons: dict[str, dict[int, Comparison]] = {}
        self.records: list[CandidateRecord] = []
        self.effects: list[Effect] = []
        self.best_lane: str | None = None
        self.best_sample: str | None = None
        """The best of RandomSharing's samples so far: known again from its scores after a restore."""
        self.winner: str | None = None
        self.goal_reached_by: str | None = None
        """The first compared candidate whose metric reached objective.goal."""
        self.supernet_share = SupernetShare(search_task)
        self.withheld = 0.0
        """Trainings of the budget that an early end saves: the race must not spend them."""
        self.worth: tuple[float, float] | None = None
        """Value and price of the best step of search that a search for a model considered last, as logarithms; None: none was left."""
        self.starts = 1
        """Processes that worked on the search, this one included."""
        self.num_rewards_here = 0
        """Rewards in this process."""

    @property
    def supernet(self) -> Supernet:
        """The shared weights, built when they are first asked for.

        Raises:
            RuntimeError: they were released.
        """
        return self._shared.get()

    def release_supernet(self) -> None:
        """Free the shared weights and their safety copy: no later stage needs them."""
        self._shared.release()
        self.guards.safety.drop()

    @property
    def supernet_reference(self) -> Configuration:
        """The configuration whose batch size and hyperparameters the supernet has: the best lane's, the default's where no lane ran."""
        return self.configurations[self.best_lane or DEFAULT]

    @property
    def supernet_batch_size(self) -> int:
        """Examples in a training batch of the supernet: those that the best lane's rate belongs to."""
        return self.search_task.recipe(self.supernet_reference).batch_size

    @property
    def supernet_plan(self) -> StagePlan:
        """The plan with the supernet's steps that its share pays for."""
        return self.supernet_share.plan(self.supernet_reference)

    def enter_repeat(self, name: str, configuration: Configuration, repeat: int) -> None:
        """Give a configuration one more training, from other first weights and in another order of the data."""
        self.configurations[name] = configuration
        self.trainings.enter(name, self._begin(configuration, repeat))
        self.say_faults()

    def enter(self, name: str, configuration: Configuration) -> str:
        """Give a configuration a training; returns the name under which it runs (an equal one may run already)."""
        for other, training in self.trainings.items():
            if training.configuration == configuration and training.repeat == 0:
                return other
        self.configurations[name] = configuration
        self.comparisons.pop(name, None)
        self.trainings.enter(name, self._begin(configuration))
        self.say_faults()
        return name

    def _begin(self, configuration: Configuration, repeat: int = 0) -> Training:
        """Place a training before step 0; one that failed before is out."""
        return self.build_training(self.search_task, configuration, repeat, fault=self.faults.get(fault_key(configuration, repeat)))

    def _restore(self, saved: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Training:
        """Make a training of a checkpoint; one that failed before, or cannot be built, is out.

        Raises:
            ConfigurationError: it is the default's.
            DeviceError: the device failed.
        """
        training = self._begin(Configuration(values=tuple(saved["values"])), saved["repeat"])
        try:
            training.load(saved, tensors)
        except DeviceError:
            raise
        except CandidateError as error:
            self._judge_failure(training.configuration, training.repeat, error)
            self.faults[fault_key(training.configuration, training.repeat)] = str(error)
            training.give_up(str(error))
        return training

    def _judge_failure(self, configuration: Configuration, repeat: int, error: CandidateError) -> None:
        """Accept the failure of any candidate but the default, without which there is no answer.

        Raises:
            ConfigurationError: it was the default.
        """
        if configuration == self.search_task.space.default and repeat == 0:
            raise explain_default_failure(error) from None

    def _take_out(self, training: Training, fault: str) -> None:
        """Keep a training that failed from being tried again, here and after a resume, and say it once."""
        training.give_up(fault)
        self.faults[fault_key(training.configuration, training.repeat)] = fault
        self.say_faults()

    def say_faults(self) -> None:
        """Issue a notice for each candidate that was left out, once; after a restore the sinks receive it when they have started."""
        for name, training in self.trainings.items():
            key = fault_key(training.configuration, training.repeat)
            if training.fault is not None and key not in self._said:
                self._said.add(key)
                values = self.search_task.values_text(training.configuration)
                self.notify(NoticeReason.CANDIDATE_FAILED, f"{name} is out: {training.fault}; {values}")

    def keep_only(self, names: set[str]) -> None:
        """End the trainings of all other candidates; their comparisons stay."""
        self.trainings.keep_only(names)

    def rewind(self, names: Iterable[str]) -> None:
        """Free the networks of candidates that the plan does not need; should one be trained further, it repeats its steps, unbooked."""
        self.trainings.rewind([name for name in names if name in self.trainings])

    def train(self, stage: Stage, name: str) -> None:
        """One training step of a candidate; one that cannot be taken puts the candidate out.

        Raises:
            NumericalError: the default configuration diverged, under whatever name.
            ConfigurationError: the default configuration cannot be trained.
            DeviceError: the device failed.
        """
        is_repeating, before = self.trainings.is_repeating(name), (training := self.trainings[name]).units_done
        try:
            loss = training.step()
        except DeviceError:
            raise
        except CandidateError as error:
            self._judge_failure(training.configuration, training.repeat, error)
            self._take_out(training, str(error))
            loss = math.nan
        self._judge_divergence(training)
        if training.compile_fault is not None and not any(n.reason == NoticeReason.COMPILE_FAILED for n in self.notices):
            self.notify(NoticeReason.COMPILE_FAILED, f"{name} is trained without compilation: {training.compile_fault}")
        if is_repeating:
            self.report_batch()
            return
        ledger, num_steps = self.ledger, 1 - training.num_steps_lost  # a divergence is read late: the budget is as if each loss were read
        ledger.advance_to(ledger.step + training.units_done - before)
        ledger.spend(stage, num_steps * self.search_task.step_work(training.configuration), candidate=name)
        ledger.usage.add(stage, use := self.search_task.use(training.configuration, training.recipe.batch_size))
        self.sink.emit(
            StepRecord(
                stage=stage,
                step=ledger.step,
                steps=ledger.steps,
                cost=ledger.cost,
                loss=None if loss is None else finite(loss),
                is_finite=loss is None or math.isfinite(loss),
                learning_rate=training.learning_rate,
                candidate=name,
                use=use,
            )
        )

    def _judge_divergence(self, training: Training) -> None:
        """Free a network that diverged and fail the search if it is the default's: others lose, but without it there is no comparison."""
        if not training.is_diverged:
            return
        training.release()
        if training.configuration == self.search_task.space.default and training.repeat == 0:
            recipe, rate = training.recipe, training.learning_rate
            step, spec = training.num_steps_done, self.search_task.spec
            raise explain_default_divergence(spec, step=step, steps=recipe.steps, rate=rate, peak=recipe.learning_rate)

    def compare(self, stage: Stage, name: str, rung: int, *, keeps_contributions: bool = False) -> None:
        """Measure a candidate at a rung, unless it was measured there before; one that gives no outputs is out.

        Raises:
            NumericalError: the default configuration diverged in its last step.
            ConfigurationError: the default configuration gives no outputs.
            DeviceError: the device failed.
        """
        comparisons, training = self.comparisons.setdefault(name, {}), self.trainings[name]
        if rung not in comparisons:
            was_diverged = training.is_diverged
            comparisons[rung] = self._compare(name, keeps_contributions=keeps_contributions)
            if not was_diverged:  # nothing is measured of a training without an answer
                self.ledger.spend(stage, self.search_task.comparison_work(training.configuration, rung))
            self._judge_divergence(training)
            training.rest()
        if self.goal_reached_by is None and self.search_task.reaches_goal(comparisons[rung].metric):
            self.goal_reached_by = name

    def _compare(self, name: str, *, keeps_contributions: bool) -> Comparison:
        training = self.trainings[name]
        try:
            return training.compare(self.report_batch, keeps_contributions=keeps_contributions)
        except DeviceError:
            raise
        except CandidateError as error:
            self._judge_failure(training.configuration, training.repeat, error)
            self._take_out(training, str(error))
            return training.compare()

    def test(self) -> dict[str, float]:
        """Read the test split: the metric of every finished training by name; one that gives no outputs is out.

        Raises:
            DeviceError: the device failed.
        """

        def fail(name: str, error: CandidateError) -> None:
            self._take_out(self.trainings[name], str(error))

        self.sink.emit(WorkStarted(description=f"testing on {self.search_task.splits.num_test:,} examples"))
        return compute_test_scores(self.search_task, self.trainings, self.report_batch, fail)

    @property
    def trainings_left(self) -> float:
        """Trainings that lanes and race may still spend: without the repeats, and without what an early end saves."""
        return self.search_task.plan.search_trainings - self.withheld - self.ledger.cost

    def prices(self, name: str) -> Prices:
        """The prices of a candidate from one rung to the next."""
        return self.search_task.prices(self.configurations[name])

    def replan(self, stage: Stage, num_steps: int) -> None:
        """Let the stage at work have `num_steps` more steps than it has taken."""
        self.lay_out(stage, {stage: self.ledger.steps_in_stage + num_steps})

    def lay_out(self, stage: Stage, planned: Mapping[Stage, int]) -> None:
        """Change the plan of the stage at work and of those after it, and emit it."""
        self.ledger.lay_out(planned)
        self.sink.emit(StagesPlanned(stage=stage, stages=self.ledger.stages, use=self.ledger.usage.by_stage()))

    def forget_contributions(self, rung: int, names: Iterable[str]) -> None:
        """Drop what no further paired comparison needs: a number per example and candidate in every checkpoint."""
        for name in names:
            self.comparisons[name][rung] = replace(self.comparisons[name][rung], contributions="")

    def notify(self, reason: NoticeReason, message: str) -> None:
        """Issue a notice."""
        # Readers skip ids that they have seen: ids grow over all processes, also past those of a killed one after its last checkpoint.
        number = max((self.starts * NOTICES_PER_START, *(notice.id for notice in self.notices))) + 1
        notice = Notice(id=number, reason=reason, message=replace_unprintable(message)[:MAX_NOTICE_LENGTH], time=self._wall_clock())
        self.notices.append(notice)
        self.sink.emit(NoticeIssued(notice=notice))

    def report_batch(self) -> None:
        """Report one more batch of work that makes no steps, so that a liveness probe sees progress."""
        self.sink.emit(BatchEvaluated())

    def report_supernet(self, record: StepRecord, *, has_learned: bool) -> None:
        """Tell the sink about a supernet step and, when the controller learned, about its policy."""
        self.sink.emit(record)
        self.num_rewards_here += record.reward is not None
        if not has_learned:
            return
        policy = self.algorithm.policy
        self.sink.emit(
            PolicyRecord(
                step=record.step,
                cost=record.cost,
                probabilities=policy.probabilities(),
                entropy=policy.entropy(),
                normalized_entropy=policy.normalized_entropy(),
                baseline=policy.baseline,
            )
        )

    def parts(self) -> dict[str, Part]:
        """Every tensor that changes, by what it belongs to: supernet, guards, each training."""
        shared = {"supernet": Part(tensors=self._shared.tensors()), "guards": Part(tensors=self.guards.tensors())}
        return {name: part for name, part in shared.items() if part.tensors} | self.trainings.parts()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes and is no tensor, as JSON."""
        return {
            "algorithm": self.algorithm.state_dict(),
            "ledger": self.ledger.state_dict(),
            "supernetIsAbandoned": self.supernet_is_abandoned,
            "supernetIsOver": self._shared.is_over,
            "supernetFault": self.supernet_fault,
            "failedSamples": self.failed_samples,
            "faults": self.faults,
            "faultsSaid": sorted(self._said),
            "supernetShare": self.supernet_share.state_dict(),
            "withheld": self.withheld,
            "guards": self.guards.state_dict(),
            "costs": self.search_task.costs.state_dict(),
            "configurations": {name: list(c.values) for name, c in self.configurations.items()},
            "trainings": self.trainings.state_dict(),
            "comparisons": {name: {str(rung): c.to_json() for rung, c in by_rung.items()} for name, by_rung in self.comparisons.items()},
            "records": [asdict(record) for record in self.records],
            "effects": [effect.to_json() for effect in self.effects],
            "notices": [notice.to_json() for notice in self.notices],
            **({"worth": self.worth} if self.worth is not None else {}),
            "bestLane": self.best_lane,
            "winner": self.winner,
        }

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict` and `tensors`."""
        self.algorithm.load_state_dict(state["algorithm"])
        self.ledger.load_state_dict(state["ledger"])
        self.supernet_is_abandoned, self.supernet_fault = bool(state["supernetIsAbandoned"]), state["supernetFault"]
        self.failed_samples = int(state["failedSamples"])
        self.faults = {**self.faults, **state["faults"]}
        self._said = set(state["faultsSaid"])
        self.supernet_share.load_state_dict(state["supernetShare"])
        self.withheld = float(state["withheld"])
        self.guards.load(state["guards"], select("guards/", tensors))
        self.search_task.costs.load_state_dict(state["costs"])
        self._shared.load(select("supernet/", tensors), is_over=bool(state["supernetIsOver"]))
        self.configurations = {n: Configuration(values=tuple(v)) for n, v in state["configurations"].items()}
        self.trainings.load(state["trainings"], tensors, self._restore)
        self.comparisons = {
            name: {int(rung): Comparison.from_json(c) for rung, c in by_rung.items()} for name, by_rung in state["comparisons"].items()
        }
        self.records = [CandidateRecord(**{**r, "stage": Stage(r["stage"])}) for r in state["records"]]
        self.effects = [Effect.model_validate(effect) for effect in state["effects"]]
        self.notices = [Notice.model_validate(notice) for notice in state["notices"]]
        self.worth = None if (worth := state.get("worth")) is None else (float(worth[0]), float(worth[1]))
        self.best_lane, self.winner = state["bestLane"], state["winner"]
