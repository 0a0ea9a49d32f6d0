"""Template `resnet`: the decisions of a residual network of four stages; torchvision's ResNet-18, 34 and 50 are paths of it."""

from __future__ import annotations

from typing import Final

from autohas_api.templates.template_spec import InputKind, TemplateDecision, TemplateSpec

__all__ = ["RESNET"]

_DEPTHS: Final = (("1", "2", "3"), ("1", "2", "4"), ("1", "2", "4", "6"), ("1", "2", "3"))
_KERNEL_STAGES: Final = (1, 2)
"""The later ones have a kernel of 3: with 5 they would hold most of the shared weights."""


def _resnet() -> tuple[TemplateDecision, ...]:
    """Kind of block, channels of the first stage, blocks and kernels of stages, one activation (6,912 architectures)."""
    decisions = [
        TemplateDecision(name="block", choices=("basic", "bottleneck"), default="basic"),
        TemplateDecision(name="width", choices=("8", "16", "32", "64"), default="16"),
    ]
    for stage, depths in enumerate(_DEPTHS, start=1):
        decisions.append(TemplateDecision(name=f"stage{stage}_depth", choices=depths, default="2"))
        if stage in _KERNEL_STAGES:
            decisions.append(TemplateDecision(name=f"stage{stage}_kernel", choices=("3", "5"), default="3"))
    decisions.append(TemplateDecision(name="activation", choices=("relu", "silu"), default="relu"))
    return tuple(decisions)


RESNET: Final = TemplateSpec(
    name="resnet",
    description="residual network of basic or bottleneck blocks in 4 stages, up to ResNet-50.",
    decisions=_resnet(),
    inputs=frozenset({InputKind.IMAGES}),
)
