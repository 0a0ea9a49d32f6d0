"""SuccessiveHalving: random trials, of which the best continue from rung to rung (Source: Jamieson & Talwalkar)."""

from __future__ import annotations

from typing import Final

from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.multi_trial import build_row

__all__ = ["SUCCESSIVE_HALVING"]

SUCCESSIVE_HALVING: Final = build_row(
    Schedule.HALVING,
    name="SuccessiveHalving",
    description="random trials, of which the best continue from rung to rung.",
    stage_texts={"Race": "the default, then random trials to the first rung of each bracket, of which the best continue to the next"},
)
