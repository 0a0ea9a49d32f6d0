"""The optimizer of a stand-alone training: torch's own SGD with the supernet's decay rule."""

from __future__ import annotations

import torch
from torch import nn

from autohas_trainer.optim.rule import UpdateRule, decays

__all__ = ["set_rate", "standalone_optimizer"]


def standalone_optimizer(module: nn.Module, rule: UpdateRule) -> torch.optim.SGD:
    """Return SGD over all parameters of `module`, decaying matrices and kernels only.

    Args:
        module: The network; its parameters are held, not copied.
        rule: Initial rate, momentum and decay; later rates go through `set_rate`.
    """
    parameters = list(module.parameters())
    groups = [
        {"params": [p for p in parameters if decays(p.ndim)], "weight_decay": rule.weight_decay},
        {"params": [p for p in parameters if not decays(p.ndim)], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=rule.learning_rate,
        momentum=rule.momentum,
        foreach=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the absolute rate of every group for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
