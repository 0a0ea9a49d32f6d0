"""The exit codes of a trainer, which both sides know. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["FATAL_EXIT_CODES", "ExitCode"]


class ExitCode(IntEnum):
    """Exit codes of a trainer and their meaning for the Job; docs/protocol.md has the table."""

    RESULT = 0
    BUG = 1
    USAGE = 64
    DATA = 65
    NO_CHECKPOINT = 66
    NUMERICAL = 70
    INTERRUPTED = 75
    CONFIGURATION = 78


FATAL_EXIT_CODES: Final = (
    ExitCode.USAGE,
    ExitCode.DATA,
    ExitCode.NO_CHECKPOINT,
    ExitCode.NUMERICAL,
    ExitCode.CONFIGURATION,
)
"""The Job fails at once, because a retry would end the same way."""
