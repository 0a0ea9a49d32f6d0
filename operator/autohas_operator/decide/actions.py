"""What a pass may do to the children of a search; `reconcile` carries it out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAttempt:
    """Create the ConfigMap, then the Job, of attempt `number`."""

    number: int
    config_map: dict[str, Any]
    job: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteJob:
    """Delete exactly this Job, its pods first."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchJob:
    """Annotate exactly this Job, so that its controller processes it again."""

    name: str
    uid: str
