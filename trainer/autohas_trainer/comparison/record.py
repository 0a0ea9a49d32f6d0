"""compare.json: what a comparison consists of and what its runs gave. Written after every run, read by a resume and by programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pydantic.alias_generators import to_camel

from autohas_api.accept.comparison import LeftOut
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.comparison import RECORD_FILE
from autohas_trainer.errors import DataError

__all__ = ["ComparedMethod", "Comparison", "RunRecord", "camel_fields", "read_comparison"]

_FORMAT: Final = 1

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMethod:
    """A method of the comparison: name of its folder, and name for people."""

    name: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One finished run.

    Attributes:
        method: Name of the method.
        seed: Its algorithm.seed.
        search_digest: Of the search that ran.
        file_digest: SHA-256 of its result.json; empty for a run that failed.
        failure: Why it has no result; None where it has one. Such a run is worse than every other.
        test: Metric of the winner on the test split; None where the run failed, like all numbers below.
        selection: The same on the selection split.
        default_test: The same of the default after a training of `training.steps`; None where it was not trained, or longer.
        trainings: Work in trainings of the default at the search's own length.
        seconds: Of work, over all processes; in a pod also of a run that failed.
        steps: Over all stages, as a pod counted them; 0 on a laptop, which follows each run for itself.
        is_default: Whether the winner is the default configuration.
        parameters: Of the winner.
        cost: Of the winner, in units of objective.cost.metric; None without a cost.
    """

    method: str
    seed: int
    search_digest: str
    file_digest: str = ""
    failure: str | None = None
    test: float | None = None
    selection: float | None = None
    default_test: float | None = None
    trainings: float | None = None
    seconds: float | None = None
    steps: int = 0
    is_default: bool = False
    parameters: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison, finished or not; `runs` are in the order in which they ran.

    Attributes:
        name: Of the search.
        label: Its algorithm.
        search_digest: Of the user's search as it stands; a resume must have the same.
        metric: Of the objective.
        better: Maximize or Minimize.
        budget: Trainings that each run may cost.
        cost_metric: Of objective.cost; None without a cost.
        seeds: Values of algorithm.seed.
        methods: In the order of the tables, the user's search first.
        left_out: Methods that this search does not allow.
        runs: What the finished runs gave.
    """

    name: str
    label: str
    search_digest: str
    metric: str
    better: str
    budget: float
    cost_metric: str | None
    seeds: tuple[int, ...]
    methods: tuple[ComparedMethod, ...]
    left_out: tuple[LeftOut, ...] = ()
    runs: tuple[RunRecord, ...] = ()

    @property
    def num_runs(self) -> int:
        """Runs of the whole comparison."""
        return len(self.seeds) * len(self.methods)

    @property
    def is_finished(self) -> bool:
        """Whether every method ran with every seed."""
        return len(self.by_method_and_seed) == self.num_runs

    @property
    def by_method_and_seed(self) -> dict[tuple[str, int], RunRecord]:
        """The finished runs of these seeds."""
        return {(run.method, run.seed): run for run in self.runs if run.seed in self.seeds}

    def add(self, run: RunRecord) -> Comparison:
        """The comparison with one more finished run."""
        return replace(self, runs=(*self.runs, run))

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {"format": _FORMAT, **camel_fields(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read `to_json`."""
        lists = {
            "seeds": tuple(record["seeds"]),
            "methods": tuple(_read(ComparedMethod, part) for part in record["methods"]),
            "leftOut": tuple(_read(LeftOut, part) for part in record["leftOut"]),
            "runs": tuple(_read(RunRecord, part) for part in record["runs"]),
        }
        return _read(cls, {**record, **lists})

    def write(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Write compare.json durably; `summary` is added for readers.

        Raises:
            OSError: the disk is full, read-only or gone; names the file.
        """
        text = json.dumps({**self.to_json(), **summary}, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / RECORD_FILE, text.encode() + b"\n")


def camel_fields(part: Any) -> Any:  # noqa: ANN401 - a dataclass, or what one holds
    """The JSON form of a dataclass, with the names of result.json: camelCase."""
    if is_dataclass(part):
        return {to_camel(field.name): camel_fields(getattr(part, field.name)) for field in fields(part)}
    return [camel_fields(each) for each in part] if isinstance(part, tuple | list) else part


def _read(kind: type[Part], record: Mapping[str, Any]) -> Part:
    """A dataclass from its JSON form; fields that a newer version added are passed over.

    Raises:
        KeyError, TypeError: a field is missing, or `record` is no object.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # the callers give dataclasses
    return kind(**{name: record[to_camel(name)] for name in names})


def read_comparison(folder: Path) -> Comparison | None:
    """Read the comparison of a folder; None where there is none.

    Raises:
        DataError: compare.json is damaged, or of another version.
        OSError: the folder cannot be read.
    """
    path = folder / RECORD_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            message = f"{path} has format {record['format']}, this version reads {_FORMAT}: compare again in another folder (--out DIR)"
            raise DataError(message)
        return Comparison.from_json(record)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} cannot be read ({type(error).__name__}: {error}); restore it, or compare again in another folder (--out DIR)"
        raise DataError(message) from error
