"""The decisions of the built-in model templates, as data.

The operator checks a search space and expands a result with these; the trainer builds networks from them.
`autohas_trainer.templates` maps a decision to the tensors that it slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autohas_api.spec.hyperparameters import When


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDecision:
    """One architecture decision of a template: its choices in order, its default, its condition."""

    name: str
    choices: tuple[str, ...]
    default: str
    when: When | None = None


_WIDTHS: Final = ("16", "32", "64", "128")


def _mlp() -> tuple[TemplateDecision, ...]:
    """Fully connected: 1 to 3 hidden layers, each with its width; one activation for all."""
    at_least = {2: ("2", "3"), 3: ("3",)}
    widths = tuple(
        TemplateDecision(
            name=f"width_{layer}",
            choices=_WIDTHS,
            default="64",
            when=When(decision="depth", values=at_least[layer]) if layer > 1 else None,
        )
        for layer in (1, 2, 3)
    )
    return (
        TemplateDecision(name="depth", choices=("1", "2", "3"), default="2"),
        *widths,
        TemplateDecision(name="activation", choices=("relu", "tanh", "silu"), default="relu"),
    )


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


TEMPLATES: Final[dict[str, tuple[TemplateDecision, ...]]] = {"mlp": _mlp(), "conv-small": _conv_small()}
