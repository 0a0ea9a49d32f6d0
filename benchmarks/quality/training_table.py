"""The recorded trainings as a small table of numbers, which is committed: what peers need to run again without training anything.

A row is a training at a rung. Configurations are choice indices, one character for each decision, or the values themselves where one is
none of the choices. Empty fields are as the one that they nearly always equal: `key` as score at the last rung, `metric` and
`test_quality` as score and test of a classification; a training without a score diverged after `step` steps. Contributions, which paired
comparisons need, are not in it: the standard error of the difference to the default at the same rung is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.quality.store import RungRecord, Store, TrainingKey

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import Configuration, Space
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.engine.training.comparison import Comparison, paired_standard_error

__all__ = ["read_table", "write_table"]

_HEADING: Final = (
    "data",
    "seed",
    "steps",
    "configuration",
    "rung",
    "step",
    "key",
    "score",
    "metric",
    "test",
    "test_quality",
    "error",
    "cpu_s",
)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_SEPARATOR: Final = "|"

SpaceOf = Callable[[str], Space]
"""Name of the data to the joint space of its tasks."""


def write_table(store: Store, path: Path, space_of: SpaceOf) -> int:
    """Write every recorded training; returns the number of rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADING)
    defaults: dict[tuple[str, int, int, int], RungRecord] = {}
    for key, rung, record in store.list_trainings():
        if key.values == space_of(key.data).default.values:
            defaults[key.data, key.seed, key.steps, rung] = record
    count = 0
    for key, rung, record in store.list_trainings():
        writer.writerow(_row(key, rung, record, _error(record, defaults.get((key.data, key.seed, key.steps, rung))), space_of(key.data)))
        count += 1
    write_atomically(path, text.getvalue().encode())
    return count


def _row(key: TrainingKey, rung: int, record: RungRecord, error: float | None, space: Space) -> Iterable[str | int]:
    return (
        key.data,
        key.seed,
        key.steps,
        _encode(space, key.values),
        rung,
        record.step,
        "" if rung == LAST_RUNG and record.key == record.score else _number(record.key),
        _number(record.score),
        "" if record.metric == record.score else _number(record.metric),
        _number(record.test),
        "" if record.test_quality == record.test else _number(record.test_quality),
        "" if error is None else f"{error:.4g}",
        f"{record.cpu_s:.3g}",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _error(record: RungRecord, default: RungRecord | None) -> float | None:
    """Standard error of the paired difference to the default, from the contributions where they are there."""
    if record.contributions and default is not None and default.contributions:
        return paired_standard_error(_explain(record), _explain(default))
    return record.error


def _explain(record: RungRecord) -> Comparison:
    """A comparison of which only the contributions are read."""
    return Comparison(step=record.step, key=0.0, score=0.0, metric=None, loss=0.0, contributions=record.contributions)


def _encode(space: Space, values: tuple[str, ...]) -> str:
    indices = space.indices(Configuration(values=values))
    return "".join(_DIGITS[i] for i in indices) if all(0 <= i < len(_DIGITS) for i in indices) else _SEPARATOR.join(values)


def _decode(space: Space, text: str) -> tuple[str, ...]:
    if _SEPARATOR in text:
        return tuple(text.split(_SEPARATOR))
    return tuple(decision.choices[_DIGITS.index(digit)] for decision, digit in zip(space.decisions, text, strict=True))


def read_table(store: Store, path: Path, space_of: SpaceOf) -> int:
    """Add the trainings of a table that the store has not; returns their number.

    Raises:
        ValueError: the file is no such table.
    """
    count = 0
    for key, rung, record in _read(path, space_of):
        if store.find(key, rung) is None:
            store.add(key, {rung: record})
            count += 1
    return count


def _read(path: Path, space_of: SpaceOf) -> Iterator[tuple[TrainingKey, int, RungRecord]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != _HEADING:
            message = f"{path}: the columns must be {', '.join(_HEADING)}, not {', '.join(reader.fieldnames or ())}"
            raise ValueError(message)
        for row in reader:
            key = TrainingKey(
                data=row["data"],
                seed=int(row["seed"]),
                steps=int(row["steps"]),
                values=_decode(space_of(row["data"]), row["configuration"]),
            )
            yield key, int(row["rung"]), _parse(row)


def _parse(row: dict[str, str]) -> RungRecord:
    score, test = _optional(row["score"]), _optional(row["test"])
    return RungRecord(
        step=int(row["step"]),
        key=_optional(row["key"]) if row["key"] else score,
        score=score,
        metric=_optional(row["metric"]) if row["metric"] else score,
        loss=None,
        contributions="",
        test=test,
        test_quality=_optional(row["test_quality"]) if row["test_quality"] else test,
        error=_optional(row["error"]),
        cpu_s=float(row["cpu_s"]),
    )


def _optional(text: str) -> float | None:
    return float(text) if text else None
