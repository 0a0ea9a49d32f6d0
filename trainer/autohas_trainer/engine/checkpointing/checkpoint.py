"""Checkpoints: written whole or not at all, checked by digest, never unpickled.

    checkpoints/000000001200/   tensors.safetensors, state.json, manifest.json (sizes and SHA-256 of the other two)

A checkpoint is written to a temporary folder, fsynced and renamed; older ones are removed only after that. A torn or foreign one is
reported and the one before it used; a disk that does not answer is no damage. Knows nothing of what it stores.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from autohas_api.base.digest import canonical, sha256
from autohas_api.wire.messages import CheckpointInfo
from autohas_trainer.atomic_file import fsync, move_durably, name_os_errors
from autohas_trainer.engine.checkpointing.start_counter import WRITING
from autohas_trainer.engine.checkpointing.tensor_file import write_tensors
from autohas_trainer.errors import CheckpointError

__all__ = ["Checkpoint", "CheckpointStore"]

FORMAT: Final = 6
"""Bumped whenever a checkpoint of an earlier version would be read wrongly; `newest` refuses every other one."""
_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
_DAMAGED: Final = ".damaged-"
_RETIRED: Final = ".retired-"
"""Before the name of a checkpoint that one of the same step is about to replace."""
_MISSING: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors that say what a folder holds; any other OSError says that the disk did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was read and verified."""

    info: CheckpointInfo
    origin: dict[str, Any]
    """What the search was begun with, as `save` was given it."""
    state: dict[str, Any]
    tensors: dict[str, torch.Tensor]


class _OtherFormatError(CheckpointError):
    """The checkpoint is of another version of AutoHAS, and not damaged."""


class CheckpointStore:
    """The checkpoints of one search in one folder."""

    def __init__(self, folder: Path, *, search_digest: str, keep_last: int, clock: Callable[[], float]) -> None:
        """Nothing is read or written yet.

        Args:
            folder: Where checkpoints lie; made when the first one is written.
            search_digest: Digest of everything about the search that a checkpoint depends on.
            keep_last: Checkpoints to keep, at least 2.
            clock: Returns seconds since the epoch.
        """
        self._folder = folder
        self._search_digest = search_digest
        self._keep_last = keep_last
        self._clock = clock

    def save(
        self, step: int, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], origin: Mapping[str, Any]
    ) -> tuple[CheckpointInfo, int]:
        """Write a checkpoint durably; returns it and its size in bytes. `origin` goes into the manifest: what the search was begun with.

        Raises:
            OSError: the disk is full, read-only or gone; the checkpoints before are untouched.
        """
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True)
            fsync(self._folder.parent)
        self._settle_replacements()
        temporary = self._folder / WRITING
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            return self._write(temporary, step, state, tensors, origin)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)  # a half-written checkpoint takes room on a full disk
            with suppress(OSError):
                self._settle_replacements()
            raise

    def _write(
        self, temporary: Path, step: int, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], origin: Mapping[str, Any]
    ) -> tuple[CheckpointInfo, int]:
        write_tensors(tensors, temporary / _TENSORS)
        _write_text(temporary / _STATE, canonical(dict(state)))
        now = self._clock()
        files = {name: _fingerprint(temporary / name) for name in (_TENSORS, _STATE)}
        manifest = {
            "format": FORMAT,
            "step": step,
            "time": now,
            "searchDigest": self._search_digest,
            "origin": dict(origin),
            "files": files,
        }
        _write_text(temporary / _MANIFEST, canonical(manifest))
        for name in (_TENSORS, _STATE, _MANIFEST):
            fsync(temporary / name)
        self._publish(temporary, step)
        size = sum(int(entry["size"]) for entry in files.values())
        return CheckpointInfo(step=step, time=now, digest=sha256(manifest)), size

    def newest(self, on_damaged: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this search; None when none was ever written.

        Args:
            on_damaged: Called with a sentence for each checkpoint that cannot be used.

        Raises:
            CheckpointError: there are checkpoints and none can be used: starting from zero would hide a loss; or the newest that can be
                read has the format of another version: an older one instead of it would hide a loss too.
            OSError: none can be used, and of one of them it is unknown: the disk did not answer.
        """
        self._settle_replacements()
        folders, damage = self._list_written(), []
        unanswered: OSError | None = None
        for folder in reversed(folders):
            try:
                with name_os_errors(folder):
                    checkpoint = self._read(folder)
            except _OtherFormatError:
                raise
            except (CheckpointError, OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                if isinstance(error, OSError) and not isinstance(error, _MISSING):
                    unanswered = unanswered or error
                damage.append(f"checkpoint {folder.name} cannot be used: {error}")
                on_damaged(damage[-1])
            else:
                self._set_aside(folders[folders.index(folder) + 1 :])
                return checkpoint
        if unanswered is not None:
            raise unanswered
        if folders:
            message = f"no usable checkpoint is left in {self._folder} ({'; '.join(damage)}); remove the folder to start again"
            raise CheckpointError(message)
        return None

    def _set_aside(self, damaged: list[Path]) -> None:
        """Rename checkpoints that cannot be used: they would count as the newest, and pruning would take the good ones instead."""
        for folder in damaged:
            with suppress(OSError):  # a folder that cannot be renamed is reported again, no more
                folder.rename(folder.with_name(f"{_DAMAGED}{folder.name}"))
        if self._folder.is_dir():
            kept = sorted(path for path in self._folder.iterdir() if path.name.startswith(_DAMAGED))
            for old in kept[: -self._keep_last]:
                shutil.rmtree(old, ignore_errors=True)

    def _list_written(self) -> list[Path]:
        """Folders of checkpoints, oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if path.is_dir() and path.name.isdigit())

    def _settle_replacements(self) -> None:
        """End what a kill between two renames of `_publish` left: the replaced checkpoint goes, or comes back when nothing replaced it."""
        if not self._folder.is_dir():
            return
        for retired in [path for path in self._folder.iterdir() if path.name.startswith(_RETIRED)]:
            final = self._folder / retired.name.removeprefix(_RETIRED)
            if final.exists():
                shutil.rmtree(retired, ignore_errors=True)
            else:
                retired.rename(final)
                fsync(self._folder)

    def _publish(self, temporary: Path, step: int) -> None:
        """Rename into place, then remove what is too old. A checkpoint of the same step is replaced: it may be of another stage."""
        final = self._folder / f"{step:012d}"
        if final.exists():
            final.rename(self._folder / f"{_RETIRED}{final.name}")
        move_durably(temporary, final)
        self._settle_replacements()
        for old in self._list_written()[: -self._keep_last]:
            shutil.rmtree(old, ignore_errors=True)

    def _read(self, folder: Path) -> Checkpoint:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            message = (
                f"checkpoint {folder} has format {manifest['format']},"
                f" AutoHAS {importlib.metadata.version('autohas')} reads format {FORMAT}:"
                " let the version that began the search finish it (in a cluster: suspend, set spec.trainer.image to that version's"
                " image, resume), or start again in a new folder"
            )
            raise _OtherFormatError(message)
        if manifest["searchDigest"] != self._search_digest:
            message = "it belongs to another search (task, objective, space, algorithm, budget or training differ)"
            raise CheckpointError(message)
        for name, expected in manifest["files"].items():
            if _fingerprint(folder / name) != expected:
                message = f"{name} is torn (size or SHA-256 differs from the manifest)"
                raise CheckpointError(message)
        info = CheckpointInfo(step=manifest["step"], time=manifest["time"], digest=sha256(manifest))
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return Checkpoint(info=info, origin=manifest["origin"], state=state, tensors=load_file(folder / _TENSORS))


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _write_text(path: Path, text: str) -> None:
    with name_os_errors(path):
        path.write_text(text, encoding="utf-8")
