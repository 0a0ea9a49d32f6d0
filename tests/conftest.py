"""Fixtures of every level. Levels that this machine cannot host are skipped with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["testcluster.fixtures"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the ids of the tests that failed where `tests/run-all` asks for them."""
    path = os.environ.get("AUTOHAS_FAILED_TESTS")
    if path:
        reports = [report for outcome in ("failed", "error") for report in terminalreporter.stats.get(outcome, [])]
        Path(path).write_text("".join(f"{name}\n" for name in sorted({report.nodeid for report in reports})))
