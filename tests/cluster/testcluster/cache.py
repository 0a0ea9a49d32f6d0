"""What is expensive to make, kept by the content of its inputs.

An artefact is a folder named by the hash of everything that goes into it: it is there whole or not at all
(built aside, then renamed), built by one process at a time, and never out of date. Called by binaries.py and
images.py; knows nothing of what it keeps.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testcluster.steps import step

GENERATIONS_KEPT = 2  # a cluster left running may still use the one before


def root() -> Path:
    """The cache folder of this user; made if absent."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base, "autohas-test-cluster")
    path.mkdir(parents=True, exist_ok=True)
    return path


def key(*parts: str | bytes | Path) -> str:
    """Hash of texts and files, 16 hex digits; files count by relative name and content, never by time stamp.

    A folder counts as its files, byte code left out. A path that is absent raises FileNotFoundError.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for name, file in _files(part):
                _add(digest, name.encode())
                _add(digest, file.read_bytes())
        else:
            _add(digest, part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:16]


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Held by one process at a time; released by the kernel if that process dies."""
    folder = root() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def artefact(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of artefact `name` for `key`; `build` fills an empty folder if this key was never built.

    Whatever `build` raises is raised, and nothing is kept of that try.
    """
    shelf = root() / "artefacts" / name
    final = shelf / key
    if final.is_dir():
        return final
    with lock(f"artefact-{name}"):
        if not final.is_dir():
            partial = shelf / f"partial-{key}"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            with step(f"build {name} (once; later it comes from {shelf})"):
                build(partial)
            partial.rename(final)
            drop_superseded(shelf, keep=GENERATIONS_KEPT)
    return final


def drop_superseded(shelf: Path, *, keep: int) -> None:
    """Leave only the `keep` youngest folders of a shelf."""
    generations = sorted((path for path in shelf.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)
    for old in generations[: max(len(generations) - keep, 0)]:
        shutil.rmtree(old)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    if not path.is_dir():
        message = f"cannot hash {path}: no such file or folder"
        raise FileNotFoundError(message)
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            yield str(Path(path.name, file.relative_to(path))), file


def _add(digest: "hashlib._Hash", data: bytes) -> None:
    # The length first, so that ("ab", "c") and ("a", "bc") differ.
    digest.update(len(data).to_bytes(8, "big"))
    digest.update(data)
