"""Studies as an Optuna JournalStorage: in memory, and as a file that any program with Optuna opens."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.errors import DataError
from autohas_trainer.reporting.studies.trials import StudyTrials

__all__ = ["open_studies", "read_journal", "write_journal"]

_WORKER: Final = "autohas"
_METRIC_NAMES: Final = "study:metric_names"
"""The system attribute of `optuna.study.Study.set_metric_names`."""


class _Lines(BaseJournalBackend):
    """The lines of a journal in memory: a file of Optuna's own backend is locked and synced once for each line."""

    def __init__(self, lines: Sequence[dict[str, Any]] = ()) -> None:
        self._lines = list(lines)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._lines[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._lines += logs

    def encode(self) -> bytes:
        """The file; the writer's identity, which Optuna draws at random, is left out, so that equal studies are equal bytes."""
        lines = [json.dumps({**line, "worker_id": _WORKER}, separators=(",", ":"), ensure_ascii=False) for line in self._lines]
        return "".join(f"{line}\n" for line in lines).encode()


def open_studies(studies: Iterable[StudyTrials]) -> JournalStorage:
    """A storage in memory with all studies, numbered in their order."""
    return _fill(_Lines(), studies)


def write_journal(path: Path, studies: Iterable[StudyTrials]) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: the disk is full, read-only or gone; names the file.
    """
    lines = _Lines()
    _fill(lines, studies)
    write_atomically(path, lines.encode())


def read_journal(path: Path) -> list[StudyTrials]:
    """The studies of a journal that this module, or any program with Optuna, has written.

    Raises:
        DataError: it is no journal, or one that the installed Optuna does not read.
        OSError: it cannot be read.
    """
    version = importlib.metadata.version("optuna")
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        storage = JournalStorage(_Lines(lines))
        studies = [
            StudyTrials(
                name=study.study_name,
                trials=tuple(storage.get_all_trials(study._study_id, deepcopy=False)),  # noqa: SLF001 - Optuna has no public name for it
                directions=tuple(study.directions),
                user_attrs=study.user_attrs,
                system_attrs=study.system_attrs,
            )
            for study in storage.get_all_studies()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError) as error:
        raise DataError(
            f"{path} is no journal that Optuna {version} reads ({type(error).__name__}: {error}): write it again with"
            f" autohas dashboard DIR --out {path}, or open it with the Optuna that wrote it"
        ) from error
    if not studies:
        raise DataError(f"{path} is a journal without a study: nothing can be shown")
    return studies


def _fill(lines: _Lines, studies: Iterable[StudyTrials]) -> JournalStorage:
    storage = JournalStorage(lines)
    for study in studies:
        number = storage.create_new_study(study.directions, study.name)
        names = {_METRIC_NAMES: list(study.metric_names)} if study.metric_names else {}
        for key, value in {**study.system_attrs, **names}.items():
            storage.set_study_system_attr(number, key, value)
        for key, value in study.user_attrs.items():
            storage.set_study_user_attr(number, key, value)
        for trial in study.trials:
            storage.create_new_trial(number, template_trial=trial)
    return storage
