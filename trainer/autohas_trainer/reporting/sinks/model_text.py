"""How a search for a model split its budget, and what the curve said, as sentences for console and report."""

from __future__ import annotations

from autohas_trainer.algorithms.best_model import explain_end
from autohas_trainer.reporting.sinks.result_files import FinishedSearch

__all__ = ["model_sentence"]


def model_sentence(finished: FinishedSearch) -> str | None:
    """The split of the budget and the reason; None where the budget was for a configuration."""
    split = finished.outcome.model_budget
    if split is None:
        return None
    falls = f", with a rate that falls from step {split.decay_from:,} on" if split.decay_from < split.steps else ""
    worth = None if split.value is None or split.price is None else (split.value, split.price)
    return (
        f"The model took {split.trained:.2f} trainings ({split.steps:,} steps{falls}); the search and the comparisons took"
        f" {split.searched:.2f}. By its own curve the default would lose {100 * split.gain_of_twice:.1f} % of its error in twice as many"
        f" trainings. The search ended: {explain_end(worth)}."
    )
