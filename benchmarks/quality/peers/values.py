"""What a decision's choices are to a peer."""

from __future__ import annotations

from autohas_api.space.decisions import Decision

__all__ = ["is_ordered"]


def is_ordered(decision: Decision) -> bool:
    """Whether all choices are numbers, which have an order."""
    try:
        return all(float(choice) is not None for choice in decision.choices)
    except ValueError:
        return False
