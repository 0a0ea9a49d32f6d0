"""What a longer training of the default would give, next to what the search gave, as one sentence for console and report."""

from __future__ import annotations

from autohas_api.base.objective_metrics import gain, metric_text
from autohas_trainer.reporting.sinks.result_files import FinishedSearch

__all__ = ["longer_sentence"]


def longer_sentence(finished: FinishedSearch) -> str | None:
    """The prediction, and whether the search gained more; None where nothing was predicted."""
    longer, metric = finished.outcome.longer, finished.search.spec.objective.metric_name
    if longer is None:
        return None
    text = (
        f"By a power law through its own scores, twice the steps ({longer.steps:,}) would give the default a selection {metric} of about"
        f" {longer.text(metric)}"
    )
    if not longer.is_clear:
        return f"{text}; it has {metric_text(metric, longer.now)} now, so that a longer training is no clear gain."
    chosen = finished.outcome.result.selection_score
    answer = f"the configuration that this search chose has {metric_text(metric, chosen)}"
    if gain(finished.search.spec.objective.better, longer.predicted, chosen) > 0:
        return f"{text}, and {answer}: train longer before you search."
    return f"{text}, and {answer}: the search gained more."
