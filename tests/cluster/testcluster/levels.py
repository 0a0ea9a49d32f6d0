"""Which levels of tests this machine can host, and why not the others.

Each question returns None for yes, or a reason that a person can act on.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from testcluster import binaries, cache, packages

KUBECONFIG_VARIABLE = "AUTOHAS_TEST_KUBECONFIG"
REQUIRE_VARIABLE = "AUTOHAS_REQUIRE_ALL_LEVELS"
FREE_GIB = 27  # four copies of torch's libraries (6 GiB each) while images are built and loaded; three stay


def leave_out(reason: str) -> NoReturn:
    """Skip a test whose level is not to be had here, or fail it where AUTOHAS_REQUIRE_ALL_LEVELS=1 says that there must be all."""
    required = os.environ.get(REQUIRE_VARIABLE, "")
    if required not in ("", "0", "1"):
        pytest.fail(f'{REQUIRE_VARIABLE} is "{required}" and must be 1, 0 or absent', pytrace=False)
    if required == "1":
        pytest.fail(f"{REQUIRE_VARIABLE}=1 and this level cannot run: {reason}", pytrace=False)
    pytest.skip(reason)


def given_kubeconfig() -> Path | None:
    """The cluster that the environment names instead of one of ours; raises FileNotFoundError if it is not there."""
    name = os.environ.get(KUBECONFIG_VARIABLE)
    if not name:
        return None
    path = Path(name).expanduser()
    if not path.exists():
        message = f"{KUBECONFIG_VARIABLE} names {path}, which does not exist"
        raise FileNotFoundError(message)
    return path


def why_no_control_plane() -> str | None:
    """Why no control plane can run here."""
    if sys.platform != "linux":
        return f"the test cluster runs on Linux, not {sys.platform}; name another by {KUBECONFIG_VARIABLE}"
    if shutil.which("openssl") is None and packages.why_not_installable() is not None:
        return "needs openssl, for the key that signs service accounts' tokens"
    return binaries.why_not_buildable()


def why_no_node() -> str | None:
    """Why no pods can run here."""
    reason = why_no_control_plane() or packages.why_not_installable()
    if reason:
        return reason
    if os.geteuid() != 0:
        return f"a node needs root (bridge, mounts, containers); name another cluster by {KUBECONFIG_VARIABLE}"
    free_gib = shutil.disk_usage(cache.root()).free >> 30
    if free_gib < FREE_GIB and not any((cache.root() / "images").glob("*/trainer.key")):
        return f"building the images needs {FREE_GIB} GiB free in {cache.root()}, and there are {free_gib}"
    return None
