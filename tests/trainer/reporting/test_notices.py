"""Every notice of the trainer is one that the contract knows, so the operator makes an event of its own name from it."""

from __future__ import annotations

import ast
from pathlib import Path

import autohas_trainer
from autohas_api.wire.messages import NOTICE_TYPES


def reasons(source: str) -> set[str]:
    """Words in the first argument of every call of `notify`: a literal, or a table of them."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("notify")]
    constants = [node for call in calls if call.args for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    return {node.value for node in constants if isinstance(node.value, str)}


def test_the_trainer_gives_every_notice_of_the_contract_and_no_other() -> None:
    """What stands first in some call of `notify` is what NOTICE_TYPES names."""
    sources = [path.read_text() for path in Path(autohas_trainer.__file__).parent.rglob("*.py")]

    assert set.union(*map(reasons, sources)) == set(NOTICE_TYPES)
