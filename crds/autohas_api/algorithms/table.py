"""The table of algorithms: a new one is a file next to this one and a row here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec
from autohas_api.algorithms.auto_has import LANES, ONE_STEP, PAIRED
from autohas_api.algorithms.bohb import BOHB_ROW
from autohas_api.algorithms.default_only import DEFAULT_ONLY
from autohas_api.algorithms.hyperband import HYPERBAND
from autohas_api.algorithms.one_factor import ONE_FACTOR
from autohas_api.algorithms.random_search import RANDOM_SEARCH
from autohas_api.algorithms.random_sharing import RANDOM_SHARING
from autohas_api.algorithms.regularized_evolution import EVOLUTION_ROW
from autohas_api.algorithms.successive_halving import SUCCESSIVE_HALVING
from autohas_api.algorithms.tpe import TPE_ROW

__all__ = ["ALGORITHM_ROWS", "default_rows", "find_algorithm", "list_names"]

ALGORITHM_ROWS: Final[list[AlgorithmSpec]] = [
    ONE_FACTOR,
    LANES,
    ONE_STEP,
    PAIRED,
    RANDOM_SHARING,
    RANDOM_SEARCH,
    SUCCESSIVE_HALVING,
    HYPERBAND,
    TPE_ROW,
    BOHB_ROW,
    EVOLUTION_ROW,
    DEFAULT_ONLY,
]
"""The first row is the default of the spec; of several rows with one name, the first is the default strategy."""


def find_algorithm(name: str, strategy: str | None) -> AlgorithmSpec:
    """The row of a name and, where its knobs have one, a strategy.

    Raises:
        LookupError: The table has no such row.
    """
    for row in ALGORITHM_ROWS:
        if row.name == name and row.strategy in (None, strategy):
            return row
    message = f"the table of algorithms has no row for {name}" + (f", strategy {strategy}" if strategy is not None else "")
    raise LookupError(message)


def default_rows() -> tuple[AlgorithmSpec, ...]:
    """One row for each name, in the order of the table."""
    return tuple({row.name: row for row in reversed(ALGORITHM_ROWS)}[name] for name in list_names())


def list_names(rows: Iterable[AlgorithmSpec] | None = None) -> tuple[str, ...]:
    """The distinct names of some rows, or of all, in the order of the table."""
    return tuple(dict.fromkeys(row.name for row in (ALGORITHM_ROWS if rows is None else rows)))
