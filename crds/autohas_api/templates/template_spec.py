"""The row of a built-in model template: what every other module may ask about it, so that none of them compares names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from autohas_api.base.condition import When

OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw"]
"""Values of `spec.task.recipe.optimizer`."""


class InputKind(StrEnum):
    """What one example is; the value is how a sentence calls several of them."""

    TABLES = "tables"
    """A row of numbers (D,)."""
    IMAGES = "images"
    """(C, H, W)."""
    TOKENS = "tokens"
    """Whole numbers (T,) from 0 to the size of the vocabulary, which is the number of outputs; each position predicts the next token."""


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
        default_optimizer: The optimizer where the recipe names none.
        is_small: Whether its operations are so short that further threads wait for each other: it has one thread unless inputs are large.
        inputs: The kinds of examples that its networks take.
        embeds_words: Whether its networks get the columns of words of a table, which they may embed.
    """

    name: str
    description: str
    decisions: tuple[TemplateDecision, ...]
    default_optimizer: OptimizerName = "sgd"
    is_small: bool = False
    inputs: frozenset[InputKind] = frozenset({InputKind.TABLES, InputKind.IMAGES})
    embeds_words: bool = False
