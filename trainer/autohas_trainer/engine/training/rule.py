"""From a training recipe to the update rule of one step."""

from __future__ import annotations

from autohas_trainer.optim import UpdateRule, clamp_factor
from autohas_trainer.space.recipe import TrainingRecipe

__all__ = ["rule_of"]


def rule_of(recipe: TrainingRecipe, learning_rate: float) -> UpdateRule:
    """The recipe's rule at an absolute rate, its peak times the schedule."""
    return UpdateRule(
        optimizer=recipe.optimizer,
        learning_rate=clamp_factor(learning_rate),
        momentum=recipe.momentum,
        weight_decay=clamp_factor(recipe.weight_decay),
    )
