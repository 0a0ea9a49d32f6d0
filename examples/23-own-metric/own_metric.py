"""A custom metric: to predict too little costs five times as much as to predict too much."""

import torch
from torch import Tensor


def cost(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return what each prediction costs, shape (N,).

    Args:
        outputs: Predicted numbers (N,), in the target's unit.
        targets: True numbers (N,).
    """
    error = outputs - targets
    return torch.where(error < 0, -5 * error, error)
