"""The row of a built-in model template: what every other module may ask about it, so that none of them compares names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autohas_api.base.condition import When

OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw"]
"""Values of `spec.task.recipe.optimizer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDecision:
    """One architecture decision of a template: its choices in order, its default, its condition."""

    name: str
    choices: tuple[str, ...]
    default: str
    when: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSpec:
    """One family of networks.

    Attributes:
        name: Value of `spec.task.model.template`.
        description: What `kubectl explain` says about it.
        decisions: The architecture decisions of a path, parents first.
        needs_images: Whether inputs must be images (C, H, W); a table then needs another template.
        default_optimizer: The optimizer where the recipe names none.
    """

    name: str
    description: str
    decisions: tuple[TemplateDecision, ...]
    needs_images: bool = False
    default_optimizer: OptimizerName = "sgd"
