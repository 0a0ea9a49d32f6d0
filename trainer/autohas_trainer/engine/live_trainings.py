"""The trainings of the candidates that are in the search, and which of their steps are paid for already.

A network that may not be needed is freed and its training goes back to step 0, since its steps can be repeated bit for bit. A repeated step
costs nothing a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from autohas_trainer.engine.checkpointing.staging import Part
from autohas_trainer.engine.training.training import Training

__all__ = ["LiveTrainings"]


class LiveTrainings(dict[str, Training]):
    """Trainings by the candidate's name, in the order of entry."""

    def __init__(self) -> None:
        """No training yet."""
        super().__init__()
        self._paid_steps: dict[str, int] = {}
        """Steps that a training had done when it was rewound."""

    def enter(self, name: str, training: Training) -> None:
        """Add a training, in the place of one of the same name if there is one."""
        self[name] = training
        self._paid_steps.pop(name, None)

    def keep_only(self, names: set[str]) -> None:
        """End all other trainings."""
        for name in [n for n in self if n not in names]:
            del self[name]
            self._paid_steps.pop(name, None)

    def rewind(self, names: Iterable[str]) -> None:
        """Free the networks of trainings that have begun; should one of them continue, it repeats its steps."""
        for name in names:
            training = self[name]
            if training.num_steps_done and not training.is_diverged:
                self._paid_steps[name] = max(training.num_steps_done, self._paid_steps.get(name, 0))
                training.release()

    def is_repeating(self, name: str) -> bool:
        """Whether the next step of a training is one that it did before it was rewound."""
        return self[name].num_steps_done < self._paid_steps.get(name, 0)

    def parts(self) -> dict[str, Part]:
        """Every network that exists, by the place of its training."""
        parts = {
            f"training/{place}": Part(tensors=training.tensors(), revision=training.revision)
            for place, training in enumerate(self.values())
        }
        return {name: part for name, part in parts.items() if part.tensors}

    def state_dict(self) -> list[dict[str, Any]]:
        """Everything that is no tensor, as JSON."""
        return [{"name": name, "paidSteps": self._paid_steps.get(name, 0), **training.state_dict()} for name, training in self.items()]

    def load(
        self,
        state: Iterable[Mapping[str, Any]],
        tensors: Mapping[str, Tensor],
        restore: Callable[[Mapping[str, Any], dict[str, Tensor]], Training],
    ) -> None:
        """Continue from `state_dict` and the tensors of `parts`; `restore` makes a training of its part of both."""
        self.clear()
        self._paid_steps = {str(saved["name"]): int(saved["paidSteps"]) for saved in state if saved["paidSteps"]}
        for place, saved in enumerate(state):
            self[saved["name"]] = restore(saved, select(f"training/{place}/", tensors))


def select(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
