"""A cache folder for data that `task.data.path` names by an address: `fetch` returns the path of a local copy.

A copy is known by the listing (names, sizes, ETags) of its address, so it is never out of date: what changes in the store has another
folder. Files are written aside and renamed, so that a kill in the middle leaves whole files only, from which the next start continues.
Copies that no process uses make room for new ones, the longest unused first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from autohas_trainer.data.files.remote_store import Entry, Listing, Store, open_store
from autohas_trainer.errors import DataError

__all__ = ["cache_folder", "fetch"]

_RESERVE: Final = 256 << 20
"""Bytes that stay free: checkpoints often lie on the same disk."""
_WORKERS: Final = 8
_in_use: list[int] = []
"""Descriptors whose locks say which copies this process reads; they are open until it ends."""


def cache_folder() -> Path:
    """The folder of all copies: in $XDG_CACHE_HOME or ~/.cache; in a pod the home is its scratch volume, so a claim must be named there."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "autohas", "data")


def fetch(url: str, *, wants: Callable[[str], bool] = lambda _: True, beside: tuple[str, ...] = ()) -> Path:
    """Return a local file or folder with the content of `url`; nothing is transferred that is there.

    Args:
        url: An object, or a folder of objects.
        wants: Which objects of a folder are needed, by their name relative to it.
        beside: Names of further objects next to `url` where it is one object.

    Raises:
        ConfigurationError: The package for this kind of address is not installed.
        DataError: There is nothing to read, it may not be read, its names are no file names, or there is no room for it.
        UnreachableError: The store does not answer.
    """
    store = open_store(url)
    listing = store.list(beside)
    if listing.is_folder:
        listing = Listing(entries=tuple(entry for entry in listing.entries if wants(entry.name)), is_folder=True)
    for entry in listing.entries:
        _check_name(url, entry.name)
    cache = cache_folder()
    digest = _digest(store.place, url, listing)
    folder = cache / digest
    cache.mkdir(parents=True, exist_ok=True)
    _hold(cache / f"{digest}.use")
    folder.mkdir(exist_ok=True)
    root = folder / (PurePosixPath(url.partition("://")[2]).name if listing.is_folder else "")
    root.mkdir(exist_ok=True)
    with _lock(cache / f"{digest}.download"):
        missing = [entry for entry in listing.entries if not _is_whole(root / entry.name, entry)]
        _make_room(url, sum(entry.size for entry in missing), cache, digest)
        _download(store, missing, root, cache / f"{digest}.partial")
    os.utime(folder)
    return root if listing.is_folder else root / listing.entries[0].name


def _digest(place: str, url: str, listing: Listing) -> str:
    lines = (place, url, *(f"{entry.name}\0{entry.size}\0{entry.tag}" for entry in listing.entries))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _check_name(url: str, name: str) -> None:
    """Refuse what is no relative path, or would lead out of the cache."""
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in name:
        message = f"{url} holds an object called {name!r}, which cannot be the name of a file; rename it"
        raise DataError(message)


def _is_whole(path: Path, entry: Entry) -> bool:
    return path.is_file() and path.stat().st_size == entry.size


def _download(store: Store, missing: list[Entry], root: Path, aside: Path) -> None:
    """Bring all that is missing; the first failure in the order of the names is raised."""
    aside.mkdir(exist_ok=True)
    with ThreadPoolExecutor(_WORKERS) as pool:
        tasks = [pool.submit(_bring, store, entry, root / entry.name, aside / str(index)) for index, entry in enumerate(missing)]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    shutil.rmtree(aside)


def _bring(store: Store, entry: Entry, target: Path, part: Path) -> None:
    with part.open("wb") as file:
        for chunk in store.read(entry):
            file.write(chunk)
        size = file.tell()
    if size != entry.size:
        message = f"{entry.key} gave {size} bytes instead of {entry.size}; start again when nothing writes there"
        raise DataError(message)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        message = f"{entry.key} is an object, and so is a part of its name: both cannot be files of one folder; rename one"
        raise DataError(message) from error


def _make_room(url: str, needed: int, cache: Path, own: str) -> None:
    """Delete unused copies until `needed` bytes fit.

    Raises:
        DataError: They do not.
    """
    others = sorted((path for path in cache.iterdir() if path.is_dir() and path.stem != own), key=lambda path: path.stat().st_mtime_ns)
    while needed and shutil.disk_usage(cache).free < needed + _RESERVE:
        if not others:
            free = shutil.disk_usage(cache).free
            message = (
                f"{url} needs {_gib(needed)} in the cache folder {cache}, where {_gib(free)} are free ({_gib(_RESERVE)} of them stay so);"
                " set XDG_CACHE_HOME to a folder on a larger volume, or read less"
            )
            raise DataError(message)
        _delete_unused(others.pop(0))


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _delete_unused(folder: Path) -> None:
    """Delete a copy, or what a killed download left, unless a process holds it."""
    with folder.with_name(f"{folder.stem}.use").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        shutil.rmtree(folder, ignore_errors=True)


def _hold(path: Path) -> None:
    """Keep a copy from being deleted while this process lives."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _in_use.append(descriptor)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held by one process at a time; the kernel releases it when the process dies."""
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
