"""The history next to the checkpoints: its size, and whether it is shorter than a checkpoint remembers."""

from __future__ import annotations

from pathlib import Path

from autohas_trainer.engine.checkpointing.checkpoint import Checkpoint
from autohas_trainer.events import HISTORY_FILE

__all__ = ["history_bytes", "history_loss"]


def history_bytes(workdir: Path) -> int:
    """Size of the history in a working folder; 0 without one."""
    return history.stat().st_size if (history := workdir / HISTORY_FILE).exists() else 0


def history_loss(workdir: Path, checkpoint: Checkpoint | None) -> list[str]:
    """Says it when the history is shorter than the checkpoint remembers; asked before the history is opened."""
    missing = 0 if checkpoint is None else int(checkpoint.state["historyBytes"]) - history_bytes(workdir)
    return [f"{workdir / HISTORY_FILE} has lost {missing} bytes: the report will lack a part of the search"] if missing > 0 else []
