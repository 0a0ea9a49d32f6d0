"""The memo of the benchmark: what a training gave at each of its rungs, and what a method chose. One sqlite file, any number of processes.

Trainings are deterministic: the same data, seed, length and configuration give the same bits to every method, and each runs once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

__all__ = ["RunKey", "RungRecord", "Store", "TrainingKey"]

_SEPARATOR: Final = "|"
_WAIT_SECONDS: Final = 120.0
_SCHEMA: Final = """
create table if not exists trainings(
    data text, seed integer, steps integer, configuration text, rung integer,
    step integer, key real, score real, metric real, loss real, contributions text, test real, test_quality real, error real, cpu_s real,
    primary key(data, seed, steps, configuration, rung)) without rowid;
create table if not exists runs(
    task text, method text, seed integer, budget real, code text, run text,
    primary key(task, method, seed, budget, code)) without rowid;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingKey:
    """One training: name of the data, key of every draw, steps of the default's whole training, and the configuration's values."""

    data: str
    seed: int
    steps: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    """One run of a method: `code` is the digest of what decides its choice."""

    task: str
    method: str
    seed: int
    budget: float
    code: str


@dataclass(frozen=True, slots=True)
class RungRecord:
    """A training at a rung. Qualities are without any price.

    Attributes:
        step: Steps of the training so far.
        key: What rungs rank by; None if the training diverged.
        score: The quality by the metric on the selection split; None if it diverged.
        metric: The metric on the selection split; None if it diverged.
        loss: Mean loss on the selection split; None if it diverged or the record comes from a table.
        contributions: See `Comparison`; empty if the record comes from a table.
        test: The metric on the test split, at the last rung.
        test_quality: The same as a quality.
        error: Standard error of the paired difference to the default at the same rung; None where it is still to be computed.
        cpu_s: CPU seconds of the training up to here.
    """

    step: int
    key: float | None
    score: float | None
    metric: float | None
    loss: float | None
    contributions: str
    test: float | None
    test_quality: float | None
    error: float | None
    cpu_s: float

    @property
    def is_diverged(self) -> bool:
        """Whether the training ended without an answer, after `step` steps."""
        return self.key is None


class Store:
    """The trainings and runs so far."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; its folder must exist."""
        self.path = path
        self._database = sqlite3.connect(path, timeout=_WAIT_SECONDS)
        self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=normal")
        self._database.executescript(_SCHEMA)

    def find(self, key: TrainingKey, rung: int) -> RungRecord | None:
        """A training at a rung; None if it was not measured there."""
        row = self._database.execute(
            "select step,key,score,metric,loss,contributions,test,test_quality,error,cpu_s from trainings"
            " where data=? and seed=? and steps=? and configuration=? and rung=?",
            (*_columns(key), rung),
        ).fetchone()
        return RungRecord(*row) if row is not None else None

    def add(self, key: TrainingKey, records: dict[int, RungRecord]) -> None:
        """Keep records by rung, in the place of those that were there before."""
        with self._database:
            self._database.executemany(
                "insert or replace into trainings values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [(*_columns(key), rung, *astuple(record)) for rung, record in records.items()],
            )

    def list_trainings(self) -> Iterator[tuple[TrainingKey, int, RungRecord]]:
        """Every training at every rung, in the order of their keys."""
        cursor = self._database.execute("select * from trainings order by data,seed,steps,configuration,rung")
        for data, seed, steps, configuration, rung, *record in cursor:
            yield TrainingKey(data=data, seed=seed, steps=steps, values=tuple(configuration.split(_SEPARATOR))), rung, RungRecord(*record)

    def find_run(self, key: RunKey) -> str | None:
        """What `add_run` kept."""
        row = self._database.execute(
            "select run from runs where task=? and method=? and seed=? and budget=? and code=?", astuple(key)
        ).fetchone()
        return str(row[0]) if row is not None else None

    def add_run(self, key: RunKey, run: str) -> None:
        """Keep what a method chose, as JSON."""
        with self._database:
            self._database.execute("insert or replace into runs values (?,?,?,?,?,?)", (*astuple(key), run))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _columns(key: TrainingKey) -> tuple[str, int, int, str]:
    return key.data, key.seed, key.steps, _SEPARATOR.join(key.values)
