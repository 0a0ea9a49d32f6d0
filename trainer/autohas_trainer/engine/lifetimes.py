"""How many processes have worked on a search: counted at the start, so that even one killed at once is counted."""

from __future__ import annotations

import json
from pathlib import Path

from autohas_trainer.reporting.atomic import write_whole

__all__ = ["count_start"]


def count_start(workdir: Path) -> int:
    """Add this process to `starts.json` durably; returns the number of starts including it."""
    path = workdir / "starts.json"
    try:
        starts = int(json.loads(path.read_text())["starts"]) + 1
    except FileNotFoundError:
        starts = 1
    except (ValueError, KeyError, TypeError):
        starts = 2  # the file is torn: a process was here before us
    write_whole(path, json.dumps({"starts": starts}).encode())
    return starts
