"""Has a search begun, and how many processes have worked on it: counted at the start, so that even one killed at once is counted.

Asked before torch is loaded too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from autohas_trainer.atomic_file import write_atomically

__all__ = ["CHECKPOINTS", "FILES", "STARTS_FILE", "WRITING", "count_start", "has_begun"]

CHECKPOINTS: Final = "checkpoints"
"""The folder of checkpoints in the working folder."""

WRITING: Final = ".writing"
"""Name of a checkpoint while it is written; a kill leaves it behind."""

STARTS_FILE: Final = "starts.json"

FILES: Final = "files"
"""The folder of what checkpoints name; a kill in the first one leaves files that none names."""


def has_begun(workdir: Path) -> bool:
    """Whether a checkpoint was ever written there: a damaged one counts, one that a kill cut short does not.

    Raises:
        OSError: the folder cannot be read.
    """
    folder = workdir / CHECKPOINTS
    return folder.is_dir() and any(path.name not in (FILES, WRITING) for path in folder.iterdir())


def count_start(workdir: Path) -> int:
    """Add this process to `starts.json` durably; returns the number of starts including it."""
    path = workdir / STARTS_FILE
    try:
        starts = int(json.loads(path.read_text(encoding="utf-8"))["starts"]) + 1
    except FileNotFoundError:
        starts = 1
    except (ValueError, KeyError, TypeError):
        starts = 2  # the file is torn: a process was here before us
    write_atomically(path, json.dumps({"starts": starts}).encode())
    return starts
