"""Fixtures of every level. Levels that this machine cannot host are skipped with the reason."""

from __future__ import annotations

pytest_plugins = ["testcluster.fixtures"]
