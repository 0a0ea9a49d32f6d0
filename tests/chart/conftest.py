"""Helm, without a cluster."""

from __future__ import annotations

import pytest

from testcluster import binaries, levels
from testcluster.client import Tool


@pytest.fixture(scope="session", name="helm")
def _helm(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    if reason := binaries.why_not_buildable():
        levels.leave_out(reason)
    return Tool(executable=binaries.helm(), kubeconfig=tmp_path_factory.mktemp("helm") / "none")
