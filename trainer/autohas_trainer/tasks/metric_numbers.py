"""What a metric of the user's may give: real, finite numbers, one for each example or one for all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autohas_trainer.errors import ConfigurationError

__all__ = ["read_metric_numbers"]


def read_metric_numbers(given: object, count: int, who: str, of: str = "") -> Tensor:
    """Return contributions (N,) or a scalar, float64 on the host.

    Args:
        given: What the user's code returned.
        count: Number of examples, N.
        who: Subject of the error sentence.
        of: The metric, where the code gave several.

    Raises:
        ConfigurationError: `given` is no number, has another shape, or a number that is not finite.
    """
    metric, forms = f" for {of}" if of else "", f"what each example contributes, here ({count},), or one number for all"
    if isinstance(given, bool) or not isinstance(given, Tensor | float | int):
        raise ConfigurationError(f"{who} gave a {type(given).__name__}{metric}; it must give a tensor: {forms}")
    if isinstance(given, Tensor) and given.is_complex():
        raise ConfigurationError(f"{who} gave a tensor of {given.dtype}{metric}; it must give real numbers")
    values = given.detach().double().cpu() if isinstance(given, Tensor) else torch.tensor(float(given), dtype=torch.float64)
    if values.shape not in ((), (count,)):
        raise ConfigurationError(f"{who} gave a tensor of shape {tuple(values.shape)}{metric}; it must give {forms}")
    if not bool(values.isfinite().all()):
        wrong = next(number for number in values.reshape(-1).tolist() if not math.isfinite(number))
        raise ConfigurationError(f"{who} gave {wrong}{metric}; every number must be finite: decide what the metric is in that case")
    return values
