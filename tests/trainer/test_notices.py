"""Every notice of the trainer is one that the contract knows, so the operator makes an event of its own name from it."""

from __future__ import annotations

import re
from pathlib import Path

import autohas_trainer
from autohas_api.messages import NOTICE_TYPES


def test_every_notice_of_the_source_is_in_the_contract() -> None:
    """Reasons are literals beside `notify`; none is missing from NOTICE_TYPES."""
    sources = [path.read_text() for path in Path(autohas_trainer.__file__).parent.rglob("*.py")]
    reasons = {reason for text in sources for reason in re.findall(r'notify\(\s*"([A-Za-z]+)"', text)}

    assert {"CheckpointRestored", "RestoreFailed"} <= reasons
    assert reasons <= NOTICE_TYPES.keys()
