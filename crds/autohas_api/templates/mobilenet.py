"""Template `mobilenet`: the decisions of a network of MBConv blocks in seven stages; EfficientNet-B0 is a path of it."""

from __future__ import annotations

from typing import Final

from autohas_api.templates.template_spec import InputKind, TemplateDecision, TemplateSpec

__all__ = ["MOBILENET"]

_STAGES: Final = (
    (("1", "2"), "1", "3"),
    (("1", "2"), "2", "3"),
    (("1", "2"), "2", "5"),
    (("1", "2", "3"), "2", "3"),
    (("1", "2", "3"), "2", "5"),
    (("1", "2", "4"), "2", "5"),
    (("1", "2"), "1", "3"),
)
"""Of each stage: numbers of blocks, the default number, the default kernel."""


def _mobilenet() -> tuple[TemplateDecision, ...]:
    """Width, expansion, squeeze-and-excitation and activation of all blocks; number of blocks and kernel of each stage."""
    decisions = [
        TemplateDecision(name="width", choices=("2", "4", "6", "8"), default="4"),
        TemplateDecision(name="expansion", choices=("3", "4", "6"), default="4"),
        TemplateDecision(name="squeeze_excite", choices=("no", "yes"), default="yes"),
    ]
    for stage, (depths, depth, kernel) in enumerate(_STAGES, start=1):
        decisions.append(TemplateDecision(name=f"stage{stage}_depth", choices=depths, default=depth))
        decisions.append(TemplateDecision(name=f"stage{stage}_kernel", choices=("3", "5", "7"), default=kernel))
    decisions.append(TemplateDecision(name="activation", choices=("relu", "silu", "hardswish"), default="silu"))
    return tuple(decisions)


MOBILENET: Final = TemplateSpec(
    name="mobilenet",
    description="MBConv blocks with depthwise convolutions in 7 stages, up to EfficientNet-B0.",
    decisions=_mobilenet(),
    inputs=frozenset({InputKind.IMAGES}),
)
