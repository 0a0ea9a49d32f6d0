"""How a search for a model split its budget, and what the curve of the default said; for the result and for people."""

from __future__ import annotations

from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.model_judge import ModelJudge
from autohas_trainer.events import ModelBudget

__all__ = ["describe_model_budget"]


def describe_model_budget(state: SearchState) -> ModelBudget | None:
    """The split, after the last step; None where the budget is for a configuration."""
    if not state.search_task.spec.budget.is_for_model or state.winner is None:
        return None
    training, search_task = state.trainings[state.winner], state.search_task
    trained = training.num_steps_done * search_task.step_work(training.configuration)
    value, price = state.worth or (None, None)
    return ModelBudget(
        trained=round(trained, 6),
        searched=round(state.ledger.cost - trained, 6),
        steps=training.num_steps_done,
        decay_from=training.length.decay_from or training.num_steps_done,
        gain_of_twice=ModelJudge(state).curve.gain_of_twice(trained),
        value=value,
        price=price,
    )
