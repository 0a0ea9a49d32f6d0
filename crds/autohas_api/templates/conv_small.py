"""Template `conv-small`: the decisions of a small convolutional network."""

from __future__ import annotations

from typing import Final

from autohas_api.base.condition import When
from autohas_api.templates.template_spec import InputKind, TemplateDecision, TemplateSpec

__all__ = ["CONV_SMALL"]


def _conv_block(stage: int, block: int) -> tuple[TemplateDecision, ...]:
    when = When(decision=f"stage{stage}_depth", values=("2",)) if block > 1 else None
    prefix = f"stage{stage}_block{block}"
    return (
        TemplateDecision(name=f"{prefix}_kernel", choices=("1", "3", "5"), default="3", when=when),
        TemplateDecision(name=f"{prefix}_expansion", choices=("1", "2"), default="1", when=when),
    )


def _conv_small() -> tuple[TemplateDecision, ...]:
    """Dense fused-MBConv network: stem and two stages of one or two residual blocks (31,752 architectures)."""
    stages = ((1, ("8", "16", "24"), "16"), (2, ("16", "32", "48"), "32"))
    decisions: list[TemplateDecision] = []
    for stage, widths, default in stages:
        decisions.append(TemplateDecision(name=f"stage{stage}_width", choices=widths, default=default))
        decisions.append(TemplateDecision(name=f"stage{stage}_depth", choices=("1", "2"), default="2"))
        decisions.extend(_conv_block(stage, 1))
        decisions.extend(_conv_block(stage, 2))
    decisions.append(TemplateDecision(name="activation", choices=("relu", "silu"), default="relu"))
    return tuple(decisions)


CONV_SMALL: Final = TemplateSpec(
    name="conv-small",
    description="residual convolutional network for small images.",
    decisions=_conv_small(),
    is_small=True,
    inputs=frozenset({InputKind.IMAGES}),
)
