"""Debian packages that the node level needs, installed where they are missing.

The one module that changes the machine itself, and only by apt-get.
"""

import os
import shutil

from testcluster import cache
from testcluster.commands import CommandFailedError, run

# What is looked for on this machine -> the Debian package that brings it.
NEEDED = {
    "/usr/bin/containerd": "containerd",
    "/usr/sbin/runc": "runc",
    "/usr/sbin/iptables": "iptables",
    "/usr/bin/ip": "iproute2",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/bin/buildah": "buildah",
    "/usr/bin/skopeo": "skopeo",
    "/usr/bin/mmdebstrap": "mmdebstrap",
    "/usr/bin/openssl": "openssl",
}


def missing() -> list[str]:
    """Packages to install, by what of theirs is absent."""
    return sorted({package for path, package in NEEDED.items() if not os.path.exists(path)})  # noqa: PTH110 - links count


def why_not_installable() -> str | None:
    """Why what is missing cannot be installed here; None if it can, or if nothing is missing."""
    absent = missing()
    if absent and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        return f"needs the Debian packages {' '.join(absent)}, and installing them takes root and apt-get"
    return None


def install() -> list[str]:
    """Install what is missing; returns the packages, none if all were there.

    Raises CommandFailedError with apt-get's words.
    """
    with cache.lock("packages"):  # two parts of `make test` may ask at once, and apt-get does not wait for another
        absent = missing()
        if absent:
            _apt_get_install(absent)
    return absent


def _apt_get_install(names: list[str]) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *names]
    try:
        run(command, env=quiet, timeout_s=600)
    except CommandFailedError:
        # A fresh machine has no package lists yet, or old ones.
        run(["apt-get", "update"], timeout_s=600)
        run(command, env=quiet, timeout_s=600)
