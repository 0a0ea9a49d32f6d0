"""Every notice of the contract is one that the trainer issues. mypy sees to the other direction: `notify` takes a `NoticeReason`."""

from __future__ import annotations

import ast
from pathlib import Path

import autohas_trainer
from autohas_api.wire.messages import NOTICE_TYPES
from autohas_api.wire.reasons import NoticeReason


def reasons(source: str) -> set[NoticeReason]:
    """Members of `NoticeReason` in the first argument of every call of `notify`: one member, or a table of them."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("notify")]
    members = [node for call in calls if call.args for node in ast.walk(call.args[0]) if isinstance(node, ast.Attribute)]
    return {NoticeReason[node.attr] for node in members if ast.unparse(node.value) == "NoticeReason"}


def test_the_trainer_gives_every_notice_of_the_contract() -> None:
    """What stands first in some call of `notify` is every member of NoticeReason, and NOTICE_TYPES gives each its type."""
    sources = [path.read_text() for path in Path(autohas_trainer.__file__).parent.rglob("*.py")]

    assert set.union(*map(reasons, sources)) == set(NoticeReason) == set(NOTICE_TYPES)
