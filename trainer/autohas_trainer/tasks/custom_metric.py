"""A task that is judged by a metric of the user's: `metric(outputs, targets)`, called by name.

It returns either what each example contributes to its mean (N,), or one number for all the examples that it is given: then it is given the
whole split, and the jackknife tells how certain a difference is. Trainings, rungs before the end of a training, and a supernet's rewards
keep the task's own loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.entrypoints import attribute_errors_to
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import stream
from autohas_trainer.tasks._base import Floats, Measurement, Statistics, Task, join
from autohas_trainer.tasks.jackknife import jackknife
from autohas_trainer.tasks.metric_numbers import read_metric_numbers
from autohas_trainer.tasks.wrapped import WrappedTask

__all__ = ["CUSTOM_METRIC_FIELD", "CustomMetric", "MetricFunction"]

CUSTOM_METRIC_FIELD: Final = "objective.customMetric.entrypoint"


class MetricFunction(Protocol):
    """(outputs (N, ...), targets (N, ...)) to contributions (N,) or a scalar."""

    def __call__(self, *, outputs: Tensor, targets: Tensor) -> Tensor | float:
        """The metric of these examples."""


class CustomMetric(WrappedTask):
    """`task` with another metric; its quality is the metric itself, negative where smaller is better."""

    def __init__(self, task: Task, function: MetricFunction, entrypoint: str, direction: str, scale: tuple[float, float] | None) -> None:
        """Wrap a task.

        Args:
            task: What trainings minimise.
            function: The metric.
            entrypoint: Its name, for errors.
            direction: Maximize or Minimize.
            scale: Mean and deviation by which numeric targets are standardised: the metric sees their own unit. None: classes.
        """
        super().__init__(task)
        self._function = function
        self._who = f"{CUSTOM_METRIC_FIELD} {entrypoint}"
        self._sign = 1.0 if direction == "Maximize" else -1.0
        self._scale = scale
        self._is_scalar = False

    @property
    def constant_quality(self) -> float:
        """0: rewards are losses against a constant's."""
        return 0.0

    @torch.no_grad()
    def check(self, targets_N: Tensor) -> None:
        """Try the metric on random outputs and learn its form; equal outputs must give equal numbers.

        Raises:
            ConfigurationError: it raises, gives another shape, a number that is not finite, or other numbers the second time.
        """
        draws = stream("custom metric", "outputs").standard_normal((len(targets_N), *self._task.output_shape))
        outputs_N = torch.tensor(draws, dtype=torch.float32, device=targets_N.device)
        first, second = (self._call(outputs_N, targets_N) for _ in range(2))
        self._is_scalar = first.ndim == 0
        if not torch.equal(first, second):
            raise ConfigurationError(f"{self._who} gave other numbers for the same outputs and targets: draw no random numbers in it")

    def qualities(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """1 - loss / loss of a constant: a batch is too small for a metric that may be no mean."""
        return 1 - self.losses(outputs_BK, targets_B).float() / self.constant_loss

    def statistics(self, outputs_BK: Tensor, targets_B: Tensor) -> Statistics:
        """The contributions of these examples; outputs and targets where the metric has none."""
        if self._is_scalar:
            return outputs_BK.float().cpu().numpy(), targets_B.cpu().numpy()
        return (self._call_again(outputs_BK.float(), targets_B).numpy(),)

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """The mean of the contributions, or the number that the metric gives for the whole split."""
        if self._is_scalar:
            value, contributions = self._jackknife(*join(statistics))
        else:
            (contributions,) = join(statistics)
            value = float(contributions.mean())
        return Measurement(value=value, quality=self._sign * value, contributions_N=self._sign * contributions)

    def _jackknife(self, outputs_N: npt.NDArray[Any], targets_N: npt.NDArray[Any]) -> tuple[float, Floats]:
        outputs, targets = torch.from_numpy(outputs_N), torch.from_numpy(targets_N)

        def metric_of(places: npt.NDArray[np.int64]) -> float:
            rows = torch.from_numpy(places)
            return float(self._call_again(outputs[rows], targets[rows]))

        return jackknife(metric_of, len(outputs_N))

    def _call_again(self, outputs_N: Tensor, targets_N: Tensor) -> Tensor:
        """As `_call`, in the form that `check` learned.

        Raises:
            ConfigurationError: as `_call`, and for another form.
        """
        values = self._call(outputs_N, targets_N)
        if (values.ndim == 0) is not self._is_scalar:
            forms = ("one number for all", f"what each example contributes, ({len(targets_N)},)")
            now, before = forms if values.ndim == 0 else forms[::-1]
            raise ConfigurationError(f"{self._who} gave {now}, but before the first step {before}: let it have one form at every call")
        return values

    def _call(self, outputs_N: Tensor, targets_N: Tensor) -> Tensor:
        """Return contributions (N,) or a scalar, float64 on the host.

        Raises:
            ConfigurationError: the metric raises, gives another shape, or a number that is not finite.
        """
        if self._scale is not None:
            mean, deviation = self._scale
            outputs_N, targets_N = (part.double() * deviation + mean for part in (outputs_N.reshape(targets_N.shape), targets_N))
        with attribute_errors_to(self._who, "metric(outputs, targets)"):
            given: object = self._function(outputs=outputs_N, targets=targets_N)
        return read_metric_numbers(given, len(targets_N), self._who)
