"""Template `mlp-small`: the decisions of a fully connected network."""

from __future__ import annotations

from typing import Final

from autohas_api.base.condition import When
from autohas_api.templates.template_spec import TemplateDecision, TemplateSpec

__all__ = ["MLP_SMALL"]

_WIDTHS: Final = ("16", "32", "64", "128")


def _mlp_small() -> tuple[TemplateDecision, ...]:
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


MLP_SMALL: Final = TemplateSpec(
    name="mlp-small", description="fully connected network of 1 to 3 hidden layers.", decisions=_mlp_small(), is_small=True
)
