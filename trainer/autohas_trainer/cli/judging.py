"""Judges a search before it runs: a new search by all rules, one that has begun by its schema alone.

A newer version may have more rules. A search that an earlier version accepted must be able to end under the newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import FieldError, SpecError
from autohas_api.space.decisions import Space, resolve
from autohas_api.spec.search import Search, read
from autohas_trainer.engine.checkpointing.start_counter import has_begun

__all__ = ["accept_unless_begun", "read_for_folder", "refuse_comparison"]


def accept_unless_begun(document: Mapping[str, Any], workdir: Path) -> tuple[Search, Space]:
    """Read a search; judge it by all rules unless `workdir` holds a checkpoint, whose digest then tells whether it is the same search.

    Raises:
        SpecError: the schema is violated or, where the search has not begun, a rule.
        OSError: `workdir` cannot be read.
    """
    if not has_begun(workdir):
        return accept(document)
    search = read(document)
    return search, resolve(search.spec)


def refuse_comparison(search: Search) -> None:
    """Refuse `algorithm.compare` where one search is to run.

    Raises:
        SpecError: the search has it.
    """
    if search.spec.algorithm.compare is not None:
        message = (
            "asks for a comparison, which autohas run does not make: run autohas compare with this file, or the search alone with --set"
            " algorithm.compare=null"
        )
        raise SpecError([FieldError(path="spec.algorithm.compare", message=message)])


def read_for_folder(document: Mapping[str, Any], out: Path | None, *, resume: bool) -> tuple[Path, Search, Space]:
    """Return the folder of a search on this machine, `out` or autohas-out/NAME, and the search; a resumed one is not judged again.

    Raises:
        SpecError: the schema is violated or, where the search has not begun, a rule.
        OSError: the folder cannot be read.
    """
    folder = out if out is not None else Path("autohas-out") / read(document).metadata.name
    return folder, *(accept_unless_begun(document, folder) if resume else accept(document))
