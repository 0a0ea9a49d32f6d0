"""Every search under examples/ is accepted offline, by the rules that the API server and the operator apply."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.yaml_file import read_search

EXAMPLES = Path(__file__).parents[3] / "examples"
SEARCHES = sorted(path for path in EXAMPLES.rglob("*.yaml") if "kind: AutoHASSearch" in path.read_text())


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_example_is_accepted(path: Path) -> None:
    """Schema, rules, space and budget; its name is its file's, so that `kubectl get ahs` shows which example runs."""
    search, space = accept(read_search(path).value)

    assert space.size() > 1
    name = (path.parent if path.stem == "search" else path).relative_to(EXAMPLES).stem
    assert search.metadata.name == re.sub(r"^\d\d-", "", name)
