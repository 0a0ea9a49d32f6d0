"""Notices about the budget: a stage that gets too little of it, and trainings that are not spent at the end."""

from __future__ import annotations

import math
from typing import Final

from autohas_api.accept.plan_check import hardly_seen, short_supernet
from autohas_api.algorithms.algorithm_spec import Race
from autohas_api.base.objective_metrics import metric_text
from autohas_api.budget.epochs import few_epochs
from autohas_api.budget.selection_size import small_selection
from autohas_api.budget.steps_per_stage import EARLY_EXAMPLES
from autohas_api.space.rates import shared_rate
from autohas_api.wire.messages import StopReason
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms.one_factor import list_neighbours
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.further_lanes import further_lanes
from autohas_trainer.engine.stages.multi_trial import find_fault_of_all
from autohas_trainer.engine.training.compute import explain_precision
from autohas_trainer.engine.training.longer import predict_longer
from autohas_trainer.events import LongerTraining

__all__ = ["predict_default", "report_longer", "report_unspent", "warn_at_start"]

_WHY: Final = {
    StopReason.GOAL_REACHED: "the goal ended the search",
    StopReason.CONVERGED: "budget.earlyStopping ended the supernet to save them",
    StopReason.PLATEAU: "budget.earlyStopping ended the supernet to save them",
    StopReason.BUDGET: "budget.maxActiveSeconds ended the search first",
}
_THIRD: Final = 3
"""The prediction needs the default after one part in this number of its training."""
_MOST_OVERDRAWN: Final = 0.05
"""Share of the budget that may be spent beyond it without a sentence: rungs are whole steps."""


def warn_at_start(state: SearchState) -> None:
    """Before the first step: what the spec and the sizes of the data say about how well the search can work."""
    search_task = state.search_task
    if (text := search_task.spec.row.notice) is not None:
        state.notify(NoticeReason.PUBLISHED_FORM, text)
    if (text := explain_precision(search_task.spec, search_task.device)) is not None:
        state.notify(NoticeReason.PRECISION_UNUSED, text)
    if (text := hardly_seen(search_task.spec, search_task.space)) is not None:
        state.notify(NoticeReason.WEAK_REWARD, text)
    if (text := shared_rate(search_task.spec)) is not None:
        state.notify(NoticeReason.SHARED_LEARNING_RATE, text)
    if (text := few_epochs(search_task.spec, search_task.splits.num_train)) is not None:
        state.notify(NoticeReason.FEW_EPOCHS, text)
    if (text := small_selection(search_task.spec, search_task.splits.num_selection)) is not None:
        state.notify(NoticeReason.SMALL_SELECTION, text)
    if (text := short_supernet(search_task.spec, search_task.space, search_task.plan)) is not None:
        state.notify(NoticeReason.SUPERNET_SHORT, text)
    if (why := search_task.works.uncounted) is not None:
        text = f"the work of this model's networks cannot be counted: {why}; every training counts as one, however large its network"
        state.notify(NoticeReason.WORK_UNCOUNTED, text)


def predict_default(state: SearchState) -> LongerTraining | None:
    """What twice the steps would give the default; None until it was compared after 1/3 and at the end of its training."""
    by_rung, search_task = state.comparisons.get(DEFAULT, {}), state.search_task
    end = search_task.rungs.last
    if search_task.rungs.eta != _THIRD or end not in by_rung or end - 1 not in by_rung:
        return None
    num_selection = search_task.splits.num_selection
    return predict_longer(
        search_task.spec.objective.metric_name,
        by_rung[end - 1].metric,
        by_rung[end].metric,
        steps=search_task.spec.training.steps,
        num_examples=(min(num_selection, EARLY_EXAMPLES), num_selection),
    )


def report_longer(state: SearchState) -> None:
    """As soon as the default's training is complete: say it if the default still learns, once."""
    longer = predict_default(state)
    if longer is None or not longer.is_clear or any(notice.reason == NoticeReason.TRAIN_LONGER for notice in state.notices):
        return
    spec, third = state.search_task.spec, state.comparisons[DEFAULT][state.search_task.rungs.last - 1].metric
    metric, epochs = spec.objective.metric_name, spec.training.epochs
    assert third is not None  # noqa: S101 - nothing is predicted without it
    field = f"training.steps: {longer.steps}" if epochs is None else f'training.epochs: "{2 * float(epochs):g}"'
    state.notify(
        NoticeReason.TRAIN_LONGER,
        f"the default still learns at the end of its training: {metric} {metric_text(metric, third)} after 1/3 of it and"
        f" {metric_text(metric, longer.now)} at its end put twice the steps ({field}) at about {longer.text(metric)}, by a power law with"
        " its standard deviation; train longer first, unless this search gains more",
    )


def report_unspent(state: SearchState, reason: StopReason | None) -> None:
    """After the last step: what was spent beyond the budget, or is left of it and why, where it had paid for the default at 1/9.

    Args:
        state: The finished search.
        reason: Why it ended before its plan, None where it did not.
    """
    budget = state.search_task.spec.budget.trainings
    left = float(budget) - state.ledger.cost
    if left < -_MOST_OVERDRAWN * float(budget):
        text = f"{state.ledger.cost:.2f} trainings are spent, of {budget}: the last candidates cost more than was set aside for them"
        state.notify(NoticeReason.BUDGET_EXCEEDED, text)
    if left < state.prices(DEFAULT).first:
        return
    if reason is not None and reason in _WHY:
        why = _WHY[reason]
    elif not state.search_task.spec.row.is_search:
        name = state.search_task.spec.algorithm.name
        why = f"{name} trains the default once; raise training.steps or training.epochs for a longer training"
    elif not state.search_task.spec.algorithm.has_race:
        why = "no race follows the supernet that could spend them"
    elif state.search_task.spec.algorithm.row.race is Race.BRACKETS and find_fault_of_all(state) is not None:
        why = "the latest trials all failed"
    elif not further_lanes(state, 1):
        why = "every configuration that could be drawn was a candidate"
    elif state.search_task.spec.row.race is Race.LEADERS and not _has_untried_neighbour(state):
        why = "every configuration next to one that did not diverge was a candidate"
    else:
        why = "they came free too late, or do not pay for the whole way of one more candidate"
    state.notify(NoticeReason.BUDGET_LEFT, f"{left:.2f} of {budget} trainings are not spent: {why}")


def _has_untried_neighbour(state: SearchState) -> bool:
    """Whether a configuration one step away from one that was compared at 1/9, and did not diverge there, was no candidate."""
    space, tried = state.search_task.space, set(state.configurations.values())
    finite = [
        state.configurations[name] for name, by_rung in state.comparisons.items() if by_rung and by_rung[min(by_rung)].key > -math.inf
    ]
    return any(neighbour not in tried for configuration in finite for neighbour in list_neighbours(space, configuration))
