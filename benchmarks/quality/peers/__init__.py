"""The peers by name: each spends a session's budget, the default configuration as its first trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.quality.peers.hosted import DEHB, PRIOR_BAND, SMAC
from benchmarks.quality.peers.optuna import Halving, search, tpe, uniform
from benchmarks.quality.session import Session

from autohas_api.algorithms.rungs import LAST_RUNG

__all__ = ["PEERS", "Peer"]

Peer = Callable[[Session], None]


def _train_default(session: Session) -> None:
    session.measure(session.space.default, LAST_RUNG)


PEERS: Final[dict[str, Peer]] = {
    "random": lambda session: search(session, uniform(session.seed), Halving.NONE),
    "random + halving": lambda session: search(session, uniform(session.seed), Halving.SUCCESSIVE),
    "Hyperband": lambda session: search(session, uniform(session.seed), Halving.HYPERBAND),
    "TPE + halving": lambda session: search(session, tpe(session.seed, 5), Halving.SUCCESSIVE),
    "TPE ordinal + halving": lambda session: search(session, tpe(session.seed, 10), Halving.SUCCESSIVE, is_ordinal=True),
    "DEHB": DEHB,
    "NePS PriorBand": PRIOR_BAND,
    "SMAC": SMAC,
    "default": _train_default,
}
"""The peers by name. All but `default` are better the more they may spend, and their curves do not depend on the budget."""
