"""Reads a source whose path is an address: from its local copy, with the address in everything that is said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from autohas_trainer.data.files.remote_cache import fetch
from autohas_trainer.data.raw import Place, RawData
from autohas_trainer.errors import TrainerError

__all__ = ["read_remote"]

_IDX_FILES: Final = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_NEEDED: Final = {
    "csv": frozenset(("train.csv", "train.csv.gz", "test.csv", "test.csv.gz")),
    "idx": frozenset(name + end for name in _IDX_FILES for end in ("", ".gz")),
}
"""What a source reads of a folder; the others read all of it."""


def read_remote(name: str, url: str, arguments: Mapping[str, str], read: Callable[[str], RawData]) -> RawData:
    """Return what `read` gives for the local copy of `url`.

    Raises:
        TrainerError: As `fetch` and `read`, about the address.
    """
    test_file = arguments.get("testFile", "")
    needed = _NEEDED.get(name)
    beside = (test_file,) if test_file else ()
    local = fetch(url, wants=lambda file: needed is None or file in needed or file in beside, beside=beside)
    is_folder = local.is_dir()
    copy, address = (str(local), url.rstrip("/")) if is_folder else (str(local.parent), url.rpartition("/")[0])

    def shown(place: Place) -> Place:
        return lambda row: place(row).replace(copy, address)

    try:
        raw = read(str(local))
    except TrainerError as error:
        text = str(error)
        if copy in text:
            raise type(error)(text.replace(copy, address)) from error
        raise
    notes, summary = (tuple(line.replace(copy, address) for line in lines) for lines in (raw.notes, raw.summary))
    return replace(
        raw, name=raw.name.replace(copy, address), place=shown(raw.place), test_place=shown(raw.test_place), notes=notes, summary=summary
    )
