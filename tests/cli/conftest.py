"""The fixture that puts a scripted kubectl first on the path."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kubectl_fixtures import FAKE, Cluster


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    home = tmp_path / "cluster"
    home.mkdir()
    script = home / "kubectl"
    script.write_text(FAKE)
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(home), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_KUBECTL", str(home))
    return Cluster(home)
