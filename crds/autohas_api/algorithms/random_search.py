"""RandomSearch: the multi-trial control. Every trial is a full training of its own (Source: Bergstra & Bengio)."""

from __future__ import annotations

from typing import Final

from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.multi_trial import build_row

__all__ = ["RANDOM_SEARCH"]

RANDOM_SEARCH: Final = build_row(
    Schedule.AT_END,
    name="RandomSearch",
    description="the multi-trial control, one full training per trial.",
    stage_texts={"Race": "the default, then random trials, each to the end"},
)
