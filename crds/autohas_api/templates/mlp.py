"""Template `mlp`: the decisions of a fully connected network for tables."""

from __future__ import annotations

from typing import Final

from autohas_api.base.condition import When
from autohas_api.templates.template_spec import TemplateDecision, TemplateSpec

__all__ = ["MLP"]

_DEPTHS: Final = ("1", "2", "3", "4", "6", "8")

MLP: Final = TemplateSpec(
    name="mlp",
    description="fully connected network for tables, of 1 to 8 hidden layers of up to 1,024 units.",
    decisions=(
        TemplateDecision(name="depth", choices=_DEPTHS, default="3"),
        TemplateDecision(name="width", choices=("64", "128", "256", "512", "1024"), default="256"),
        TemplateDecision(name="numbers", choices=("plain", "periodic"), default="periodic"),
        TemplateDecision(name="norm", choices=("none", "batch", "layer"), default="batch"),
        TemplateDecision(name="residual", choices=("no", "yes"), default="yes", when=When(decision="depth", values=_DEPTHS[1:])),
        TemplateDecision(name="activation", choices=("relu", "gelu", "silu"), default="relu"),
    ),
    default_optimizer="adamw",
    embeds_words=True,
)
