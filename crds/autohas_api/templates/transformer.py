"""Template `transformer`: the decisions of a transformer for tokens, as a causal language model, and for images, as a classifier."""

from __future__ import annotations

from typing import Final

from autohas_api.templates.template_spec import InputKind, TemplateDecision, TemplateSpec

__all__ = ["TRANSFORMER"]

TRANSFORMER: Final = TemplateSpec(
    name="transformer",
    description="language model for tokens, classifier of patches for images.",
    decisions=(
        TemplateDecision(name="depth", choices=("1", "2", "3", "4", "6", "8"), default="4"),
        TemplateDecision(name="width", choices=("32", "64", "128", "256", "384"), default="128"),
        TemplateDecision(name="heads", choices=("1", "2", "4", "8", "12"), default="4"),
        TemplateDecision(name="expansion", choices=("1", "2", "4"), default="4"),
        TemplateDecision(name="activation", choices=("gelu", "relu", "silu"), default="gelu"),
        TemplateDecision(name="norm", choices=("pre", "post"), default="pre"),
        TemplateDecision(name="positions", choices=("learned", "rotary"), default="learned"),
    ),
    inputs=frozenset({InputKind.TOKENS, InputKind.IMAGES}),
    default_optimizer="adamw",
)
