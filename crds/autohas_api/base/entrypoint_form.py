"""The form of the name of custom code, `package.module:object`, and what is wrong with one of another form. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ENTRYPOINT_PATTERN", "explain_entrypoint"]

ENTRYPOINT_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def explain_entrypoint(text: str) -> str | None:
    """What is wrong with an entrypoint; None where nothing is."""
    if re.fullmatch(ENTRYPOINT_PATTERN, text):
        return None
    module, colon, name = text.partition(":")
    wrong = next((part for part in (*module.split("."), name) if not _NAME.fullmatch(part)), "")
    if "/" in text or module.endswith(".py"):
        return "it is the path of a file: write the module with dots and without .py, then a colon and the object, package.module:object"
    if text.count(":") != 1 or not module or not name:
        side = "no module before the colon" if not module else "no object after the colon"
        problem = "no colon" if not colon else "more than one colon" if ":" in name else side
        return f"there is {problem}: write package.module:object"
    if "-" in wrong:
        return f'"{wrong}" has a dash, which no name of Python has: rename it with _'
    return f'"{wrong}" is no name of Python: it must have letters, digits and _, and no digit first'
