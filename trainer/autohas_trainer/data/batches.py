"""Four types of batch. The type says who may see it, so that a type checker finds a leak.

Train: gradients. Reward: the policy. Selection: best, lanes, race. Test: once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["RewardBatch", "SelectionBatch", "TestBatch", "TrainBatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainBatch:
    """Examples that may make gradients: inputs (B, C, ...) float32 normalised, targets_B int64 or float32."""

    inputs: Tensor
    targets_B: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardBatch:
    """Examples that may reward a policy: inputs (B, C, ...) float32 normalised, targets_B int64 or float32."""

    inputs: Tensor
    targets_B: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionBatch:
    """Examples that may choose between candidates: inputs (B, C, ...) float32 normalised, targets_B int64 or float32."""

    inputs: Tensor
    targets_B: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TestBatch:
    """Examples that only the final evaluation sees: inputs (B, C, ...) float32 normalised, targets_B int64 or float32."""

    __test__ = False  # pytest: a name, not a test class

    inputs: Tensor
    targets_B: Tensor
