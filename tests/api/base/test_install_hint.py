"""The hint for a missing extra fits the way in which AutoHAS was installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from autohas_api.base.install_hint import install_hint

ROOT = Path(__file__).parents[3]
PACKAGES = ("crds/autohas_api", "operator/autohas_operator", "trainer/autohas", "trainer/autohas_trainer")


@pytest.mark.parametrize("extra", ["operator", "trainer"])
def test_a_wheel_is_completed_by_pip_and_a_checkout_by_make(tmp_path: Path, extra: Literal["operator", "trainer"]) -> None:
    """site-packages has neither Makefile nor pyproject.toml; this checkout has both."""
    assert install_hint(extra, tmp_path) == f"run `pip install 'autohas[{extra}]'`"
    assert install_hint(extra) == f"run `make setup` in {ROOT}, or `pip install -e '.[{extra}]'` there"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_sentence_assumes_a_checkout(package: str) -> None:
    """`make` and the checkout are named in one place."""
    named = re.compile(r"make setup|checkout of AutoHAS|'\.\[")
    files = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py") if named.search(path.read_text())}

    assert files <= {"crds/autohas_api/base/install_hint.py", "trainer/autohas/__init__.py"}


def test_the_operator_without_its_extra_says_what_to_install() -> None:
    """As after `make demo`: exit 1 and one sentence, no traceback."""
    code = "import sys, runpy; sys.modules['kopf'] = None; runpy.run_module('autohas_operator', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == f"the package kopf is not installed; the operator needs it: {install_hint('operator')}\n"
