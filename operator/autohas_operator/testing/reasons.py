"""Every reason and event name that the operator can write, read off its own code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from autohas_operator.decide import announcements, policy, reports
from autohas_operator.decide.phases import REPEATING, RESULT_MISSING

_SAID: Final = re.compile(
    r'reason=f?"([A-Z]\w+)"|not_ready\([^,()]+, "([A-Z]\w+)"|reason, message = f?"([A-Z]\w+)"|reason = "([A-Z]\w+)"|refused\("([A-Z]\w+)"'
)
_FROM_THE_JOB: Final = ("BackoffLimitExceeded", "DeadlineExceeded", "JobFailed")


def said() -> set[str]:
    """The words, without those of trainers (`autohas_api.wire.messages.NOTICE_TYPES`)."""
    package = Path(policy.__file__).parents[1]
    sources = sorted(path for path in package.rglob("*.py") if "testing" not in path.parts)
    literal = {word for path in sources for groups in _SAID.findall(path.read_text(encoding="utf-8")) for word in groups if word}
    tabled = {*policy.FAILURE_REASONS.values(), *(reason for reason, _ in reports.CONVERGED.values()), *announcements.EVENT_NAMES.values()}
    return literal | tabled | {RESULT_MISSING, REPEATING, *_FROM_THE_JOB}
