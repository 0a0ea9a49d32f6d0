"""The order in which the parts of a control plane start, with shell scripts in place of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from testcluster import binaries, control_plane
from testcluster.control_plane import ControlPlane

KUBERNETES = """#!/bin/sh
# The API server has its certificate at once and is ready later, as on a busy machine; controllers that it does not answer end.
part=$1
for word in "$@"; do case $word in
  --cert-dir=*) certificates=${word#*=} ;;
  --kubeconfig=*) certificates=$(dirname "${word#*=}")/certificates ;;
esac; done
case $part in
  etcd) ;;
  kube-apiserver) mkdir -p "$certificates"; touch "$certificates/apiserver.crt"; sleep 0.5; touch "$certificates/ready" ;;
  *) [ -e "$certificates/ready" ] || exit 1; touch "$certificates/$part" ;;
esac
exec sleep 600
"""
KUBECTL = """#!/bin/sh
certificates=$(dirname "$KUBECONFIG")/certificates
case "$*" in
  *readyz*) exec test -e "$certificates/ready" ;;
  *) exec test -e "$certificates/kube-controller-manager" ;;
esac
"""


@pytest.fixture(autouse=True)
def _scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("kubernetes", KUBERNETES), ("kubectl", KUBECTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
        monkeypatch.setattr(binaries, name, lambda name=name: tmp_path / name)
    monkeypatch.setattr(control_plane, "run", lambda command: None)  # the key: openssl is not what this is about


def test_controllers_start_once_the_api_server_is_ready(tmp_path: Path) -> None:
    """An API server that is slow to become ready ends no controller: all four run when the start returns."""
    plane = ControlPlane.start(tmp_path / "plane")
    try:
        running = {name for name in plane.processes.names() if plane.processes.is_alive(name)}
    finally:
        plane.stop()

    assert running == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
