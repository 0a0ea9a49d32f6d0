"""Reads gzip files, and names one that is damaged or cut."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autohas_trainer.errors import DataError

__all__ = ["explain_gzip_errors"]


@contextmanager
def explain_gzip_errors(path: Path) -> Iterator[None]:
    """Read from the gzip file `path` inside the block.

    Raises:
        DataError: The file is damaged or cut short; names it.
    """
    try:
        yield
    except (gzip.BadGzipFile, zlib.error) as error:
        message = f"{path} is not a sound gzip file ({error}); copy it again"
        raise DataError(message) from error
    except EOFError as error:
        message = f"{path} is a gzip file cut short; copy it again"
        raise DataError(message) from error
