"""Checkpoints: written whole or not at all, checked by digest, never unpickled.

    checkpoints/000000001200/manifest.json    the files of this checkpoint by SHA-256 and size: state (JSON), and tensors by part
    checkpoints/files/<SHA-256>               their content; safetensors where it is tensors

Each training is a part with a file of its own. One that did not change since the checkpoint before is named again, not written again.
The order of a save: (1) new files, each fsynced and renamed, then their folder; (2) the manifest, fsynced in a folder that is renamed, then
the folder around it; (3) manifests that are too old are removed, and that is made durable; (4) files that no manifest names are removed.
Whatever ends the process in between, every manifest on disk has all of its files. A torn or foreign checkpoint is reported and the one
before it used; a disk that does not answer is no damage. A process that finds the checkpoint of another one stops before it writes. Knows
nothing of what it stores.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from autohas_api.base.digest import canonical, sha256
from autohas_api.wire.messages import CheckpointInfo
from autohas_trainer.atomic_file import fsync, move_durably, name_os_errors, write_durably
from autohas_trainer.engine.checkpointing.content_files import CHUNK, Content, ContentFiles
from autohas_trainer.engine.checkpointing.staging import Part, StagedPart, stage
from autohas_trainer.engine.checkpointing.start_counter import FILES, WRITING
from autohas_trainer.errors import CheckpointError, FolderInUseError

__all__ = ["Checkpoint", "CheckpointStore", "Draft", "Saved"]

FORMAT: Final = 9
"""Bumped whenever a checkpoint of an earlier version would be read wrongly; `newest` refuses every other one."""
_MANIFEST: Final = "manifest.json"
_DAMAGED: Final = ".damaged-"
_UNKNOWN: Final = "?"
"""Instead of the SHA-256 of a manifest for which the disk does not answer."""
_MISSING: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors that say what a folder holds; any other OSError says that the disk did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was read and verified."""

    info: CheckpointInfo
    origin: dict[str, Any]
    """What the search was begun with, as `draft` was given it."""
    state: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    """By name, after the name of their part and a slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A checkpoint to be written. State and origin do not change any more; the tensors do not where they are staged."""

    step: int
    time: float
    state: bytes
    origin: Mapping[str, Any]
    unchanged: Mapping[str, Content]
    """Parts that a file has already."""
    changed: Mapping[str, Part]
    staged: dict[str, StagedPart] | None = None
    """Copies of `changed`, each dropped when it is written; None: each is copied when it is written."""

    @property
    def num_changed_bytes(self) -> int:
        """Bytes of the parts that changed."""
        return sum(part.num_bytes for part in self.changed.values())

    def copied(self) -> Draft:
        """The same with copies of its tensors: the training may change them from now on."""
        return replace(self, staged=stage(self.changed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint that is durable; `seconds` is the time that it took to write, `size` the bytes of its files."""

    info: CheckpointInfo
    size: int
    seconds: float


class _OtherFormatError(CheckpointError):
    """The checkpoint is of another version of AutoHAS, and not damaged."""


class CheckpointStore:
    """The checkpoints of one search in one folder. One thread at a time, any thread."""

    def __init__(self, folder: Path, *, search_digest: str, keep_last: int, clock: Callable[[], float]) -> None:
        """Nothing is read or written yet.

        Args:
            folder: Where checkpoints lie; made when the first one is written.
            search_digest: Digest of everything about the search that a checkpoint depends on.
            keep_last: Checkpoints to keep, at least 2.
            clock: Returns seconds since the epoch.
        """
        self._folder = folder
        self._files = ContentFiles(folder / FILES)
        self._search_digest = search_digest
        self._keep_last = keep_last
        self._clock = clock
        self._has_durable_name = False
        """Whether this process has made the name of the folder durable: the one that made the folder may have been killed before."""
        self._by_revision: dict[int, Content] = {}
        """Files of the parts of the newest checkpoint that this process wrote."""
        self._own: set[tuple[str, str]] | None = None
        """Folder and SHA-256 of the manifests that this process found or wrote, as `_list_manifests` gives them; None before both."""

    def draft(self, step: int, state: Mapping[str, Any], parts: Mapping[str, Part], origin: Mapping[str, Any]) -> Draft:
        """Take what a checkpoint holds at this moment; nothing is written. `origin`: what the search was begun with."""
        unchanged = {
            name: content
            for name, part in parts.items()
            if part.revision is not None and (content := self._by_revision.get(part.revision)) is not None and self._files.has(content)
        }
        changed = {name: part for name, part in parts.items() if name not in unchanged}
        text = canonical(dict(state)).encode()
        return Draft(step=step, time=self._clock(), state=text, origin=dict(origin), unchanged=unchanged, changed=changed)

    def write(self, draft: Draft, check: Callable[[], None] = lambda: None) -> Saved:
        """Write a checkpoint durably. `check` is called now and then, and may raise.

        Raises:
            FolderInUseError: another process has written a checkpoint here; it lies where it did.
            OSError: the disk is full, read-only or gone; the checkpoints before are untouched.
        """
        begun = time.perf_counter()
        try:
            with name_os_errors(self._folder):
                self._refuse_other_writer()
                return self._write(draft, check, begun)
        except FolderInUseError:
            raise  # what no manifest names may be what the other process is about to name
        except Exception:  # half-written files take room on a full disk
            shutil.rmtree(self._folder / WRITING, ignore_errors=True)
            self._remove_unnamed()
            raise

    def _write(self, draft: Draft, check: Callable[[], None], begun: float) -> Saved:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True)
            self._has_durable_name = False
        if not self._has_durable_name:
            fsync(self._folder.parent)
            self._has_durable_name = True
        parts = dict(draft.unchanged)
        for name in draft.changed:
            parts[name] = self._files.put(_staged_part(draft, name).chunks(CHUNK), check)
        state = self._files.put([memoryview(draft.state)], check)
        self._files.sync()
        self._files.require([state, *parts.values()])
        manifest = {
            "format": FORMAT,
            "step": draft.step,
            "time": draft.time,
            "searchDigest": self._search_digest,
            "origin": draft.origin,
            "state": state.to_json(),
            "parts": {name: content.to_json() for name, content in parts.items()},
        }
        self._refuse_other_writer()
        self._publish(draft.step, canonical(manifest).encode())
        revisions = {name: part.revision for name, part in draft.changed.items() if part.revision is not None}
        known = {revision: content for revision, content in self._by_revision.items() if content in draft.unchanged.values()}
        self._by_revision = known | {revision: parts[name] for name, revision in revisions.items()}
        self._prune()
        return Saved(
            info=CheckpointInfo(step=draft.step, time=draft.time, digest=sha256(manifest)),
            size=state.size + sum(content.size for content in parts.values()),
            seconds=time.perf_counter() - begun,
        )

    def _refuse_other_writer(self) -> None:
        """Stop where another process writes checkpoints of this search: on a file system without locks, or after its node was lost.

        Raises:
            FolderInUseError: there is a checkpoint that this process neither found nor wrote.
        """
        there = self._list_manifests()
        if self._own is None:
            self._own = there
        if other := sorted(name for name, digest in there - self._own if digest != _UNKNOWN and (name, _UNKNOWN) not in self._own):
            raise FolderInUseError(
                f"{self._folder} is in use: another process has written checkpoint {other[-1]}, which this process neither read nor"
                " wrote; let that process finish, or stop it and resume the search"
            )

    def _list_manifests(self) -> set[tuple[str, str]]:
        """Folder and SHA-256 of every manifest."""
        manifests = set()
        for folder in self._list_written():
            try:
                manifests.add((folder.name, hashlib.sha256((folder / _MANIFEST).read_bytes()).hexdigest()))
            except _MISSING:
                continue
            except OSError:
                manifests.add((folder.name, _UNKNOWN))
        return manifests

    def _publish(self, step: int, manifest: bytes) -> None:
        """Give the manifest its name. One of the same step is replaced: it may be of another stage."""
        temporary, final = self._folder / WRITING, self._folder / f"{step:012d}"
        if self._own is not None:
            self._own.add((final.name, hashlib.sha256(manifest).hexdigest()))  # before: an error may come after the rename
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_durably(temporary / _MANIFEST, [memoryview(manifest)])
        if final.is_dir():
            move_durably(temporary / _MANIFEST, final / _MANIFEST)
            temporary.rmdir()
            fsync(self._folder)  # a kill, or an error of the disk, may have come before the first one had a durable name
        else:
            move_durably(temporary, final)

    def _prune(self) -> None:
        """Remove checkpoints that are too old, then the files that none names; what cannot be removed stays."""
        old = self._list_written()[: -self._keep_last]
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            if old:
                fsync(self._folder)
            self._remove_unnamed()

    def _remove_unnamed(self) -> None:
        """Remove the files that no manifest names, unless a manifest cannot be read."""
        with suppress(OSError, ValueError):
            self._files.remove_unnamed(self._list_named())

    def _list_named(self) -> set[str]:
        """SHA-256 of the files of all checkpoints, also of damaged ones.

        Raises:
            OSError, ValueError: a manifest cannot be read, so that it is unknown what it names.
        """
        damaged, named = [*self._folder.glob(f"{_DAMAGED}*")], set()
        for folder in [*self._list_written(), *damaged]:
            try:
                manifest = json.loads((folder / _MANIFEST).read_bytes())
                named |= {content.sha256 for content in _list_contents(manifest)}
            except _MISSING:
                continue
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if folder not in damaged:
                    raise ValueError(f"{folder / _MANIFEST}: {error}") from error
        return named

    def newest(self, on_damaged: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this search; None when none was ever written.

        Args:
            on_damaged: Called with a sentence for each checkpoint that cannot be used.

        Raises:
            CheckpointError: there are checkpoints and none can be used: starting from zero would hide a loss; or the newest that can be
                read has the format of another version: an older one instead of it would hide a loss too.
            OSError: the disk does not answer for the newest that may be whole: an older one instead would hide a loss that is none.
        """
        self._own = self._list_manifests()
        folders, damage = self._list_written(), []
        for folder in reversed(folders):
            try:
                with name_os_errors(folder):
                    checkpoint = self._read(folder)
            except _OtherFormatError:
                raise
            except (CheckpointError, OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                if isinstance(error, OSError) and not isinstance(error, _MISSING):
                    raise
                damage.append(f"checkpoint {folder.name} cannot be used: {_describe_damage(error)}")
                on_damaged(damage[-1])
            else:
                self._set_aside(folders[folders.index(folder) + 1 :])
                return checkpoint
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
        paths = {content: self._files.verify(content) for content in _list_contents(manifest)}
        tensors = {
            f"{name}/{tensor}": value
            for name, record in manifest["parts"].items()
            for tensor, value in load_file(paths[Content.from_json(record)]).items()
        }
        info = CheckpointInfo(step=manifest["step"], time=manifest["time"], digest=sha256(manifest))
        state = json.loads(paths[Content.from_json(manifest["state"])].read_text(encoding="utf-8"))
        return Checkpoint(info=info, origin=manifest["origin"], state=state, tensors=tensors)


def _staged_part(draft: Draft, name: str) -> StagedPart:
    """The copy of a part that changed; made now, and alone in memory, unless all were copied before."""
    return draft.staged.pop(name) if draft.staged is not None else stage({name: draft.changed[name]})[name]


def _describe_damage(error: Exception) -> str:
    """What is wrong with a checkpoint, in words instead of Python's."""
    match error:
        case FileNotFoundError():
            return f"{error.filename} is missing"
        case OSError() | CheckpointError() | SafetensorError():
            return str(error)
        case json.JSONDecodeError() | UnicodeDecodeError():
            return f"its {_MANIFEST} is damaged: {error}"
        case _:
            return f"its {_MANIFEST} lacks fields that a checkpoint of this version has, or has other values in them"


def _list_contents(manifest: Mapping[str, Any]) -> Iterable[Content]:
    """Every file that a manifest names."""
    return [Content.from_json(record) for record in (manifest["state"], *manifest["parts"].values())]
