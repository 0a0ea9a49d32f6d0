"""The optimizer of a stand-alone training: torch's own, with the supernet's decay rule and constants; its state by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autohas_trainer.optim.rule import UpdateRule, clamp_factor, decays
from autohas_trainer.optim.sliced import ALPHA

__all__ = ["load_optimizer", "optimizer_tensors", "set_rate", "standalone_optimizer"]


def standalone_optimizer(module: nn.Module, rule: UpdateRule, *, fuses: bool = True) -> torch.optim.Optimizer:
    """Return the rule's optimizer over all parameters of `module` that train, in the groups that the rule decays and does not.

    Args:
        module: The network; its parameters are held, not copied.
        rule: Kind, initial rate, momentum and decay; later rates go through `set_rate`.
        fuses: Whether adamw takes its fused kernel where it can; benchmarks compare with the multi-tensor operations too.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    does_decay = [rule.decays_vectors or decays(parameter.ndim) for parameter in parameters]
    split = [
        {"params": [p for p, decays in zip(parameters, does_decay, strict=True) if decays], "weight_decay": rule.weight_decay},
        {"params": [p for p, decays in zip(parameters, does_decay, strict=True) if not decays], "weight_decay": 0.0},
    ]
    groups: list[dict[str, Any]] = [group for group in split if group["params"]]
    rate, betas = rule.learning_rate, (rule.momentum, rule.beta2)
    match rule.optimizer:
        case "sgd":
            is_nesterov = rule.is_nesterov and rule.momentum > 0
            return torch.optim.SGD(groups, lr=rate, momentum=rule.momentum, nesterov=is_nesterov, foreach=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=ALPHA, eps=rule.epsilon, foreach=True)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=betas, eps=rule.epsilon, foreach=True)
        case "adamw":
            kernels = _kernels(parameters, fuses=fuses)
            optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, eps=rule.epsilon, **kernels)
            if "fused" in kernels:
                optimizer.register_step_pre_hook(_lay_out_gradients)
            return optimizer


def _kernels(parameters: list[nn.Parameter], *, fuses: bool) -> dict[str, bool]:
    """Return the choice of kernels: one for a whole update where torch has it, else its multi-tensor operations.

    Only adamw chooses: the last digits of both differ, and the other optimizers keep theirs. On a CPU the supernet uses the same kernel
    (see `fused`), which takes elements as they lie in memory without a look at their layout.
    """
    is_on_gpu = all(parameter.is_cuda for parameter in parameters)
    is_in_order = all(parameter.is_cpu and parameter.is_contiguous() for parameter in parameters)
    is_fused = fuses and (is_on_gpu or is_in_order) and all(parameter.is_floating_point() for parameter in parameters)
    return {"fused": True} if is_fused else {"foreach": True}


def _lay_out_gradients(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Lay out each gradient as its parameter on a CPU, for the fused kernel: autograd does so, a hook of a user's model need not."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.is_cpu and not parameter.grad.is_contiguous():
                parameter.grad = parameter.grad.contiguous()


def set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the absolute rate of every group for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = clamp_factor(learning_rate)


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the optimizer keeps for each named parameter, as `optimizer/KEY/NAME`."""
    return {
        f"optimizer/{key}/{name}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy what `optimizer_tensors` named into the optimizer; tensors of other names are ignored."""
    is_fused = any(group.get("fused") for group in optimizer.param_groups)
    for path, saved in tensors.items():
        kind, _, rest = path.partition("/")
        if kind == "optimizer":
            key, _, name = rest.partition("/")
            parameter = parameters[name]
            # torch keeps its step counts on the CPU, but for a fused optimizer on the device
            like = parameter if key != "step" else saved.to(parameter.device) if is_fused else saved
            optimizer.state[parameter][key] = torch.empty_like(like, requires_grad=False).copy_(saved)
