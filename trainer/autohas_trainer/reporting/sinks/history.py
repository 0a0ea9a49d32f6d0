"""history.jsonl: steps, policies and comparisons of a search, one JSON object per line, without times.

    {"fact": "step", "stage": "Lanes", "step": 7, "cost": 0.01, "loss": 2.29, "learningRate": 0.02, "candidate": "default"}
    {"fact": "step", "stage": "Supernet", ..., "reward": 0.61, "advantage": 0.8, "sample": {"depth": "2", ...}}
    {"fact": "policy", "step": 900, "probabilities": {"depth": [0.2, 0.5, 0.3]}, "entropy": {...}, "normalizedEntropy": 0.9, ...}
    {"fact": "candidate", "stage": "Race", "name": "argmax", "fraction": 0.11, "score": 0.9, "kept": true, ...}

Long searches are thinned by position, never by time, so the history of a resumed search is the undisturbed one's, byte for byte. There
is no header line: a history that is not empty promises that a checkpoint exists, and the first checkpoint is written before the first fact.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Final, assert_never

from autohas_api.budget.progress_steps import stage_steps
from autohas_api.wire.messages import Stage
from autohas_trainer.atomic_file import fsync, name_os_errors
from autohas_trainer.events import (
    HISTORY_FILE,
    BatchEvaluated,
    CandidateRecord,
    CheckpointFailed,
    CheckpointWritten,
    EarlyStopDecided,
    EffectMeasured,
    Event,
    NoticeIssued,
    PolicyRecord,
    RunInfo,
    SearchFinished,
    SearchStarted,
    StagesPlanned,
    StepRecord,
    WorkStarted,
)

__all__ = ["History", "HistorySink", "read_history"]

_MAX_POLICY_LINES: Final = 400
_MAX_PLAIN_LINES: Final = 4000
"""Maximum number of step lines without a reward; lines with a reward are never thinned, since the report draws them."""
_DECIMALS: Final = 6
_MAX_PENDING_BYTES: Final = 64 * 1024


class HistorySink:
    """Writes the history of one search. For the engine's thread only."""

    def __init__(self, workdir: Path) -> None:
        """Nothing is opened before `SearchStarted`."""
        self._path = workdir / HISTORY_FILE
        self._file: FileIO | None = None
        self._length = 0
        """Length in bytes of the complete lines in the file."""
        self._pending = bytearray()
        """Lines not yet written: a disk that is full for a while loses none of them."""
        self._plain_stride = 1
        self._policy_stride = 1
        self._last_policy_step = 0

    def emit(self, event: Event) -> None:
        """Write steps, policies and comparisons, one line each; steps and policies are thinned.

        Raises:
            OSError: at `SearchStarted`, when the file cannot be opened; later events wait in memory for a `flush`.
        """
        match event:
            case StepRecord():
                if event.reward is not None or event.step % self._plain_stride == 0:
                    self._write(_step_line(event))
            case PolicyRecord():
                if event.step % self._policy_stride == 0 or event.step == self._last_policy_step:
                    self._write(_policy_line(event))
            case CandidateRecord():
                self._write(_candidate_line(event))
            case SearchStarted(info=info):
                self._open(info)
            case StagesPlanned(stages=stages):
                self._last_policy_step = _end_of_supernet(stages)
            case WorkStarted() | BatchEvaluated() | CheckpointWritten() | CheckpointFailed():
                pass  # they differ between a resumed search and an undisturbed one, whose histories must be equal
            case EffectMeasured() | NoticeIssued() | EarlyStopDecided() | SearchFinished():
                pass  # checkpoint and result.json keep them
            case _:
                assert_never(event)

    def _open(self, info: RunInfo) -> None:
        """Open the file and cut it to its length at the restored checkpoint."""
        plan = info.plan
        self._plain_stride = max(1, math.ceil(sum(stage_steps(plan).values()) / _MAX_PLAIN_LINES))  # the plan at step 0
        self._policy_stride = max(1, math.ceil(plan.supernet_steps / _MAX_POLICY_LINES))
        self._last_policy_step = _end_of_supernet(info.stages)
        with name_os_errors(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)
            kept = info.history_bytes
            if os.fstat(descriptor).st_size < kept:  # a part is lost: what is left of its last line would damage the next one
                kept = self._file.read().rfind(b"\n") + 1
            self._file.truncate(kept)
            self._file.seek(kept)
            self._length = kept
            fsync(self._path.parent)

    def flush(self) -> int:
        """Make all lines durable; returns their length in bytes.

        Raises:
            OSError: the disk is full, read-only or gone.
        """
        self._drain()
        file = self._require_file()
        with name_os_errors(self._path):
            os.fsync(file.fileno())
            return self._length

    def close(self) -> None:
        """Write the pending lines and close the file. Lines that the disk refuses are lost, as after a kill."""
        if self._file is None:
            return
        with suppress(OSError):
            self._drain()
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._pending += _encode(line)
        if len(self._pending) > _MAX_PENDING_BYTES:
            with suppress(OSError):  # the `flush` of the next checkpoint reports it
                self._drain()

    def _drain(self) -> None:
        """Write the pending lines to the file; after a failure all of them are still pending, and a part that was written is cut off.

        Raises:
            OSError: the disk is full, read-only or gone.
        """
        file = self._require_file()
        with name_os_errors(self._path):
            try:
                written = 0
                while written < len(self._pending):
                    written += file.write(self._pending[written:])
            except OSError:
                with suppress(OSError):  # the first error is the one to report; a lost disk refuses both calls
                    file.seek(self._length)
                    file.truncate()
                raise
            self._length += written
            self._pending.clear()

    def _require_file(self) -> FileIO:
        if self._file is None:
            raise RuntimeError("history was used before the search started")
        return self._file


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The lines of a history, without those that were thinned."""

    steps: tuple[StepRecord, ...]
    policies: tuple[PolicyRecord, ...]
    candidates: tuple[CandidateRecord, ...]


def read_history(workdir: Path, num_bytes: int | None = None) -> History:
    """Read the first `num_bytes` (all when None) of a folder's history; a missing file is an empty history.

    Raises:
        ValueError: a line is damaged; the message has file and line.
    """
    steps, policies, candidates = [], [], []
    path = workdir / HISTORY_FILE
    for number, (fact, line) in enumerate(_lines(path, num_bytes), start=1):
        try:
            match fact:
                case "step":
                    steps.append(_step_of(line))
                case "policy":
                    policies.append(_policy_of(line))
                case "candidate":
                    candidates.append(_candidate_of(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}:{number}: damaged line: {error}") from error
    return History(steps=tuple(steps), policies=tuple(policies), candidates=tuple(candidates))


def _end_of_supernet(stages: Mapping[Stage, int]) -> int:
    """Return the position after the last step of the supernet."""
    return sum(steps for stage, steps in stages.items() if stage not in (Stage.RACE, Stage.EVALUATE))


def _lines(path: Path, num_bytes: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            raw = file.read() if num_bytes is None else file.read(num_bytes)
    except FileNotFoundError:
        return
    for number, text in enumerate(raw.splitlines(), start=1):
        try:
            line = json.loads(text)
            yield line["fact"], line
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: damaged line: {error}") from error


def _encode(line: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_replace_infinities(line), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _replace_infinities(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _replace_infinities(inner) for key, inner in value.items()}
    return [_replace_infinities(inner) for inner in value] if isinstance(value, list) else value


def _step_line(record: StepRecord) -> dict[str, Any]:
    line: dict[str, Any] = {
        "fact": "step",
        "stage": record.stage,
        "step": record.step,
        "cost": record.cost,
        "loss": record.loss,
        "learningRate": record.learning_rate,
    }
    optional = {"candidate": record.candidate, "reward": record.reward, "advantage": record.advantage}
    line |= {name: value for name, value in optional.items() if value is not None}
    if not record.is_finite:
        line["finite"] = False
    if record.is_rejected:
        line["rejected"] = True
    if record.sample is not None:
        line["sample"] = dict(record.sample)
    return line


def _step_of(line: Mapping[str, Any]) -> StepRecord:
    return StepRecord(
        stage=Stage(line["stage"]),
        step=line["step"],
        steps=0,
        cost=line["cost"],
        loss=line["loss"],
        learning_rate=line["learningRate"],
        candidate=line.get("candidate"),
        reward=line.get("reward"),
        advantage=line.get("advantage"),
        is_finite=line.get("finite", True),
        is_rejected=line.get("rejected", False),
        sample=line.get("sample"),
    )


def _policy_line(record: PolicyRecord) -> dict[str, Any]:
    return {
        "fact": "policy",
        "step": record.step,
        "cost": record.cost,
        "probabilities": {name: [round(p, _DECIMALS) for p in row] for name, row in record.probabilities.items()},
        "entropy": {name: round(value, _DECIMALS) for name, value in record.entropy.items()},
        "normalizedEntropy": record.normalized_entropy,
        "baseline": record.baseline,
    }


def _policy_of(line: Mapping[str, Any]) -> PolicyRecord:
    return PolicyRecord(
        step=line["step"],
        cost=line["cost"],
        probabilities={name: tuple(row) for name, row in line["probabilities"].items()},
        entropy=line["entropy"],
        normalized_entropy=line["normalizedEntropy"],
        baseline=line["baseline"],
    )


def _candidate_line(record: CandidateRecord) -> dict[str, Any]:
    line = {
        "fact": "candidate",
        "stage": record.stage,
        "name": record.name,
        "values": dict(record.values),
        "step": record.step,
        "cost": record.cost,
        "fraction": record.fraction,
        "score": record.score,
        "metric": record.metric,
        "loss": record.loss,
        "kept": record.kept,
    }
    return line if record.parent is None else {**line, "parent": record.parent}


def _candidate_of(line: Mapping[str, Any]) -> CandidateRecord:
    return CandidateRecord(**{name: line[name] for name in line if name not in ("fact", "stage")}, stage=Stage(line["stage"]))
