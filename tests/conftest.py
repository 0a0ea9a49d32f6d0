"""Fixtures of every level. Levels that this machine cannot host are skipped with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog

pytest_plugins = ["testcluster.fixtures"]


def pytest_configure() -> None:
    """Send the log lines of the product to `logging`: pytest shows those of a failed test, from WARNING on or from `--log-level`."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the ids of the tests that failed where `tests/run-all` asks for them."""
    path = os.environ.get("AUTOHAS_FAILED_TESTS")
    if path:
        reports = [report for outcome in ("failed", "error") for report in terminalreporter.stats.get(outcome, [])]
        Path(path).write_text("".join(f"{name}\n" for name in sorted({report.nodeid for report in reports})))
