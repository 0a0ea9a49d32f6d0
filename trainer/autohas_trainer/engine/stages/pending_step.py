"""A supernet step between its last kernel and the reading of what it measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from autohas_api.space.decisions import Configuration
from autohas_api.wire.messages import Stage
from autohas_trainer.algorithms._base import Reading, Update
from autohas_trainer.events import StepRecord, StepUse
from autohas_trainer.space.policy import Draw

__all__ = ["Measurements", "PendingStep"]


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """The draws of a step, and its numbers, which nothing has waited for yet.

    Attributes:
        draw: The sample.
        rivals: Update rules that were compared along its path.
        is_guarded: Whether the guard judged the update.
        has_quality: Whether the sample's quality was measured.
        numbers: (R,) float64: the loss, whether the update was kept if it is guarded, the quality if there is one, the rivals' losses.
    """

    draw: Draw
    rivals: tuple[Draw, ...]
    is_guarded: bool
    has_quality: bool
    numbers: Tensor

    @classmethod
    def of(cls, update: Update) -> Self:
        """Gather what a step has measured in one tensor on the device, so that reading it is one wait."""
        measured = (update.loss, update.is_kept, update.quality, *update.rival_losses)
        return cls(
            draw=update.draw,
            rivals=update.rivals,
            is_guarded=update.is_kept is not None,
            has_quality=update.quality is not None,
            numbers=torch.stack([value.detach().double() for value in measured if value is not None]),
        )

    def read(self) -> Reading:
        """Wait for the device."""
        loss, *rest = (value if math.isfinite(value) else math.nan for value in self.numbers.tolist())
        is_kept = not self.is_guarded or rest.pop(0) > 0
        quality = rest.pop(0) if self.has_quality else None
        return Reading(draw=self.draw, loss=loss, is_kept=is_kept, quality=quality, rivals=self.rivals, rival_losses=tuple(rest))

    def to_json(self) -> dict[str, Any]:
        """As JSON, numbers in hexadecimal, which has those that are not finite too; waits for the device."""
        return {
            "draw": self.draw.to_json(),
            "rivals": [rival.to_json() for rival in self.rivals],
            "isGuarded": self.is_guarded,
            "hasQuality": self.has_quality,
            "numbers": [value.hex() for value in self.numbers.tolist()],
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The measurements of `to_json`; the numbers are on the host."""
        return cls(
            draw=Draw.from_json(state["draw"]),
            rivals=tuple(Draw.from_json(rival) for rival in state["rivals"]),
            is_guarded=bool(state["isGuarded"]),
            has_quality=bool(state["hasQuality"]),
            numbers=torch.tensor([float.fromhex(value) for value in state["numbers"]], dtype=torch.float64),
        )


@dataclass(frozen=True, kw_only=True)
class PendingStep:
    """What is left of a step that is queued and booked.

    Attributes:
        number: Of the step, among all of the supernet.
        reference: The configuration whose hyperparameters moved the shared weights.
        measurements: What the controller will learn from.
        record: The event that the reading completes.
    """

    number: int
    reference: Configuration
    measurements: Measurements
    record: StepRecord

    def to_json(self) -> dict[str, Any]:
        """As JSON; waits for the device."""
        sample = None if self.record.sample is None else list(self.record.sample.items())  # pairs: a checkpoint sorts names
        return {
            "number": self.number,
            "reference": list(self.reference.values),
            "measurements": self.measurements.to_json(),
            "record": {**asdict(self.record), "sample": sample},
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The step of `to_json`."""
        record = dict(state["record"])
        sample = None if record["sample"] is None else dict(record["sample"])
        return cls(
            number=int(state["number"]),
            reference=Configuration(values=tuple(state["reference"])),
            measurements=Measurements.from_json(state["measurements"]),
            record=StepRecord(**record | {"stage": Stage(record["stage"]), "sample": sample, "use": StepUse(**record["use"])}),
        )
