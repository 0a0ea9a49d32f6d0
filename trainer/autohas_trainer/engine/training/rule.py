"""From a training recipe to the update rule and the learning rate of one step."""

from __future__ import annotations

from functools import lru_cache

from autohas_trainer.optim import Schedule, UpdateRule, clamp_factor
from autohas_trainer.space.recipe import TrainingRecipe

__all__ = ["rate_at", "rule_of", "schedule_of"]


def rule_of(recipe: TrainingRecipe, learning_rate: float) -> UpdateRule:
    """The recipe's rule at an absolute rate, its peak times the schedule."""
    return UpdateRule(
        optimizer=recipe.optimizer,
        learning_rate=clamp_factor(learning_rate),
        momentum=recipe.momentum,
        weight_decay=clamp_factor(recipe.weight_decay),
        decays_vectors=recipe.decay_norms,
        is_nesterov=recipe.nesterov,
        beta2=recipe.beta2,
        epsilon=clamp_factor(recipe.epsilon),
    )


@lru_cache(maxsize=1024)
def schedule_of(recipe: TrainingRecipe) -> Schedule:
    """The recipe's schedule."""
    return Schedule(
        kind=recipe.schedule,
        warmup_fraction=recipe.warmup_fraction,
        floor=recipe.schedule_floor,
        decay_fraction=recipe.decay_fraction,
        step_fraction=recipe.step_fraction,
        step_factor=recipe.step_factor,
    )


def rate_at(recipe: TrainingRecipe, step: int, total: int) -> float:
    """The absolute rate at `step` of a training, or a supernet, of `total` steps: the recipe's peak times its schedule."""
    return recipe.learning_rate * schedule_of(recipe).at(step, total)
