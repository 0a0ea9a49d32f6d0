"""Single steps of a supernet, as its stage takes them but without books and events: each reads the one before."""

from __future__ import annotations

from autohas_trainer.algorithms import SupernetAlgorithm
from autohas_trainer.algorithms._base import Update
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.pending_step import Measurements
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext

__all__ = ["SingleSteps"]


class SingleSteps:
    """The algorithm of a search at work on its shared weights."""

    def __init__(self, state: SearchState) -> None:
        """Nothing is pending."""
        assert isinstance(state.algorithm, SupernetAlgorithm)  # noqa: S101 - a search with a supernet
        self._algorithm = state.algorithm
        self._pending: tuple[SupernetStepContext, Measurements] | None = None

    def take(self, context: SupernetStepContext) -> Update:
        """Sample and gradient, what the step before has measured, update."""
        draw = self._algorithm.sample(context)
        gradient = context.gradient(draw.configuration, context.train_batch())
        if self._pending is not None:
            before, measurements = self._pending
            self._algorithm.learn(before, measurements.read())
        update = self._algorithm.train(context, draw, gradient)
        self._pending = (context, Measurements.of(update))
        return update
