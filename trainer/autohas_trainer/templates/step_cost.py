"""What a training step of a network costs: the coefficients of each template, measured once, so that no search measures anything.

    step = per_step + per_layer * layers + optimizer + dropout + B * (per_mac * MACs + per_activation * activations)

The unit is nanoseconds of CPU time of one thread on the processor that `benchmarks/results/2026-11-30-work-amd-epyc-2-cores.md` names;
only ratios of steps matter. `python -m benchmarks.step --work` measures them again. Another processor, and a GPU most of all, has other
coefficients: these are committed for that one, and a search on a GPU counts small networks too low (a GPU's constant is larger).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

from autohas_trainer.templates._base import Path

__all__ = ["CONV_SMALL_STEP", "CUSTOM_STEP", "MLP_SMALL_STEP", "CountsWork", "NetworkSize", "StepCost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSize:
    """What the cost of a network's step depends on.

    Attributes:
        macs: Multiply-accumulates of one forward of one example.
        num_layers: Layers that have weights; a normalisation is one.
        num_activations: Numbers that these layers give for one example: a training keeps them for the gradient.
    """

    macs: int
    num_layers: int = 0
    num_activations: int = 0


_MEASURED_AS: Final = {"adamw": "adam"}
"""The optimizer whose operations another one has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """The coefficients of one template, in nanoseconds.

    `optimizers` has what a kind costs beyond sgd, `dropout` what it costs at all, `supernet` what a step of the supernet costs beyond that
    of the same network alone: sampling, slices, clipping, the controller.
    """

    per_step: float
    per_mac: float
    per_layer: float = 0.0
    per_activation: float = 0.0
    optimizers: Mapping[str, float]
    dropout: float = 0.0
    supernet: float = 5e5
    """Ours, measured: the step of an mlp-small takes 1.7 times as long in the supernet, of conv-small 1.04 to 1.09 times, when
    this was measured (2026-11-28); both are half a millisecond."""

    def of(self, size: NetworkSize, batch_size: int, optimizer: str = "sgd", *, has_dropout: bool = False) -> float:
        """The cost of one step with a batch of `batch_size` examples: forward, backward, update."""
        constant = (
            self.per_step
            + self.per_layer * size.num_layers
            + self.optimizers.get(_MEASURED_AS.get(optimizer, optimizer), 0.0)
            + self.dropout * has_dropout
        )
        return constant + batch_size * (self.per_mac * size.macs + self.per_activation * size.num_activations)


@runtime_checkable
class CountsWork(Protocol):
    """A template that knows what a step of its networks costs."""

    step_cost: StepCost

    def size(self, path: Path) -> NetworkSize:
        """Return what the cost of a step of the network `path` depends on, in closed form."""


MLP_SMALL_STEP: Final = StepCost(
    per_step=302e3,
    per_layer=76.3e3,
    per_mac=0.0787,
    per_activation=2.64,
    optimizers={"adam": 180e3, "rmsprop": 112e3},
    dropout=232e3,
)
CONV_SMALL_STEP: Final = StepCost(
    per_step=930e3,
    per_layer=210e3,
    per_mac=0.0488,
    per_activation=4.8,
    optimizers={"adam": 486e3, "rmsprop": 321e3},
    dropout=363e3,
)
MLP_STEP: Final = MLP_SMALL_STEP
RESNET_STEP: Final = CONV_SMALL_STEP
CELL_STEP: Final = CONV_SMALL_STEP
TRANSFORMER_STEP: Final = CONV_SMALL_STEP
"""Ours: these four consist of the same operations as the two that were fitted. On digits the defaults of resnet, cell and transformer took
1.3 to 1.45 times what this says, on a busy machine; a search needs ratios of steps of one template only."""
MOBILENET_STEP: Final = replace(CONV_SMALL_STEP, per_layer=650e3)
"""Ours: a step of the default on digits took 108 ms on the same busy machine, 3.3 times what conv-small's coefficients say. Its depthwise
convolutions take their time whatever their size, so the price of a layer is set to that."""
CUSTOM_STEP: Final = StepCost(per_step=1e6, per_mac=0.1, optimizers={})
"""Of a custom model only the multiply-accumulates are known. Ours: a step costs what 10 million of them cost, wherever they come from:
between mlp-small (about 8 million) and conv-small (about 40 million, of which the activations, not counted here, are half)."""
