"""The optimizer of a stand-alone training: torch's own, with the supernet's decay rule and constants."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autohas_trainer.optim.rule import UpdateRule, clamp_factor, decays
from autohas_trainer.optim.sliced import ALPHA, BETA2, EPSILON

__all__ = ["set_rate", "standalone_optimizer"]


def standalone_optimizer(module: nn.Module, rule: UpdateRule) -> torch.optim.Optimizer:
    """Return the rule's optimizer over all parameters of `module`, decaying matrices and kernels only.

    Args:
        module: The network; its parameters are held, not copied.
        rule: Kind, initial rate, momentum and decay; later rates go through `set_rate`.
    """
    parameters = list(module.parameters())
    split = [
        {"params": [p for p in parameters if decays(p.ndim)], "weight_decay": rule.weight_decay},
        {"params": [p for p in parameters if not decays(p.ndim)], "weight_decay": 0.0},
    ]
    groups: list[dict[str, Any]] = [group for group in split if group["params"]]
    match rule.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=rule.learning_rate, momentum=rule.momentum, foreach=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rule.learning_rate, alpha=ALPHA, eps=EPSILON, foreach=True)
        case "adam":
            return torch.optim.Adam(groups, lr=rule.learning_rate, betas=(rule.momentum, BETA2), eps=EPSILON, foreach=True)


def set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the absolute rate of every group for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = clamp_factor(learning_rate)
