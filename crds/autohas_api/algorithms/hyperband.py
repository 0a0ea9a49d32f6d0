"""Hyperband: successive halving in brackets that begin at later and later rungs (Source: Li et al.)."""

from __future__ import annotations

from typing import Final

from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.multi_trial import build_row

__all__ = ["HYPERBAND"]

HYPERBAND: Final = build_row(
    Schedule.HYPERBAND,
    name="Hyperband",
    description="successive halving of random trials in brackets that begin at later and later rungs.",
    stage_texts={"Race": "the default, then brackets of random trials, of which the best continue from rung to rung"},
)
