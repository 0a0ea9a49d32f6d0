"""The product's trainings, read from the record: a search runs as it is, but its candidates take no step twice over all searches.

What a search sees of a training is where it diverges and what its comparisons say; both are recorded. Whatever asks for weights gets them
from a training for real.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from benchmarks.quality.store import RungRecord
from benchmarks.quality.trainings import Trainings
from torch import Tensor

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import Configuration
from autohas_trainer.data import TestBatch
from autohas_trainer.engine.training.comparison import Comparison, lose_by_divergence
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training

__all__ = ["RecordedTraining"]

_RUNGS: Final = range(LAST_RUNG + 1)


class RecordedTraining(Training):
    """A training whose steps count only."""

    def __init__(
        self, trainings: Trainings, search_task: SearchTask, configuration: Configuration, repeat: int = 0, *, fault: str | None = None
    ) -> None:
        """Build nothing.

        Raises:
            ValueError: A repeat or a candidate that failed, neither of which is recorded.
        """
        if repeat or fault is not None:
            raise ValueError(f"only first trainings without a failure are recorded, not repeat {repeat} with failure {fault}")
        self._trainings = trainings
        self._recorded_as = trainings.space.configuration(
            trainings.space.as_mapping(trainings.space.default) | search_task.space.as_mapping(configuration)
        )  # a strategy may search a part of the joint space
        super().__init__(search_task, configuration, repeat, fault="nothing is built")
        self.fault, self.is_diverged = None, False
        self._ahead: tuple[int, RungRecord] | None = None

    def step(self) -> float | None:
        """Count one step, or diverge where the recorded training did; the loss, which is not recorded, is NaN."""
        record = self._record_ahead()
        if record.is_diverged and record.step == self.num_steps_done:
            self.is_diverged = True
            return math.nan
        self.num_steps_done += 1
        self.is_diverged = self.is_finished and record.is_diverged
        return math.nan

    def _record_ahead(self) -> RungRecord:
        """The record of the next rung, read once on the way to it."""
        rung = next(rung for rung in _RUNGS if self.num_steps_done < self.rung(rung))
        if self._ahead is None or self._ahead[0] != rung:
            self._ahead = (rung, self._trainings.measure(self._recorded_as, rung))
        return self._ahead[1]

    def compare(self, on_batch: Callable[[], None] = lambda: None, *, keeps_contributions: bool = False) -> Comparison:
        """The recorded comparison.

        Raises:
            ValueError: The training stands at no rung.
        """
        on_batch()
        if self.is_diverged:
            return lose_by_divergence(self.num_steps_done)
        rung = next((rung for rung in _RUNGS if self.num_steps_done == self.rung(rung)), None)
        if rung is None:
            raise ValueError(f"a training is recorded at its rungs, not after {self.num_steps_done} of {self.recipe.steps} steps")
        has_contributions = keeps_contributions or rung > 0
        comparison = self._trainings.compare(self._recorded_as, rung, needs_contributions=has_contributions)
        self.is_diverged = comparison.key == -math.inf
        return comparison if has_contributions else replace(comparison, contributions="")

    def outputs(self, batch: TestBatch) -> Tensor:
        """Outputs (B, K) of a training for real."""
        return self._for_real().outputs(batch)

    def parameters(self) -> dict[str, Tensor]:
        """The weights of a training for real by leaf name."""
        return self._for_real().parameters()

    def model_tensors(self) -> dict[str, Tensor]:
        """The weights and buffers of a training for real."""
        return self._for_real().model_tensors()

    def tensors(self) -> dict[str, Tensor]:
        """Nothing: a checkpoint needs the number of steps only."""
        return {}

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:  # noqa: ARG002 - there are no tensors
        """Continue from `state_dict`."""
        self.num_steps_done, self.is_diverged = int(state["step"]), bool(state["diverged"])

    def _for_real(self) -> Training:
        return self._trainings.continue_to(self._recorded_as, self.num_steps_done)
