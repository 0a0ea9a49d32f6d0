"""Multiply-accumulates of one forward of one example: convolutions and linear layers. Biases, normalisation, activations count nothing.

A template that knows a closed form has `num_macs`; of any other network they are counted by forward hooks on the network itself.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from autohas_trainer.errors import ConfigurationError
from autohas_trainer.templates._base import Path

__all__ = ["CountsMacs", "count_macs"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FREE = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 - the one base of all batch and instance normalisations
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.PReLU,
    nn.Embedding,
)
"""Layers with weights and no matrix product."""


@runtime_checkable
class CountsMacs(Protocol):
    """A template with a closed form."""

    def num_macs(self, path: Path) -> int:
        """Return the multiply-accumulates of one forward of the network `path` on one example."""


@torch.no_grad()
def count_macs(network: nn.Module, example: Tensor) -> int:
    """Count by running `network` once on `example`: a batch of one, of the type and on the device that it takes.

    Raises:
        ConfigurationError: the network has weights in a layer whose multiply-accumulates are not known here.
    """
    totals: list[int] = []
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear)):
            handles.append(module.register_forward_hook(lambda m, inputs, output: totals.append(_macs_of(m, inputs[0], output))))
        elif any(True for _ in module.parameters(recurse=False)) and not isinstance(module, _FREE):
            message = (
                f"objective.cost.metric macs: layer {name or 'of the model'} ({type(module).__name__}) has weights and cannot be counted;"
                " use metric parameters or latencyMilliseconds"
            )
            raise ConfigurationError(message)
    was_training = network.training
    try:
        network.eval()(example)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return sum(totals)


def _macs_of(module: nn.Module, inputs: Tensor, output: Tensor) -> int:
    """One layer, batch of one: every number of the output (of the input when transposed) takes one kernel's worth of products."""
    weight = module.weight
    assert isinstance(weight, Tensor)  # noqa: S101 - the layers above have one
    if isinstance(module, _CONVOLUTIONS):
        numbers = inputs if isinstance(module, _TRANSPOSED) else output
        return numbers.numel() * math.prod(weight.shape[1:])
    return output.numel() * int(weight.shape[1])
