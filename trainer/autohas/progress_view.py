"""Summarises the status of a search in one line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from autohas_api.wire.status import ConditionType, Phase

__all__ = ["SearchLine", "line_of"]

_REASONS: Final = (ConditionType.ACCEPTED, ConditionType.SUCCEEDED, ConditionType.ADMITTED, ConditionType.TRAINER_READY)
"""Conditions that explain, in this order, why a search does not run: the first one that is False has the message."""
_QUIET_PHASES: Final = (Phase.RUNNING, Phase.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLine:
    """One search at one moment; `percent` is None before the trainer's first report."""

    namespace: str
    name: str
    phase: str
    stage: str
    percent: int | None
    best: str
    eta: str
    why: str
    """Why the search waits or failed, in one sentence; else empty."""

    @property
    def is_succeeded(self) -> bool:
        """Whether the search ended with a result."""
        return self.phase == Phase.SUCCEEDED

    @property
    def is_lost(self) -> bool:
        """Whether the search failed or was rejected."""
        return self.phase in (Phase.FAILED, Phase.REJECTED)

    @property
    def is_over(self) -> bool:
        """Whether the search has ended."""
        return self.is_succeeded or self.is_lost

    def to_json(self) -> dict[str, Any]:
        """Return the fields for `-o json`; `percent` is null before the first report."""
        return asdict(self)

    def text(self) -> str:
        """Return the line for logs and pipes: the fields that have a value."""
        percent = "" if self.percent is None else f"{self.percent} %"
        best, eta = f"best {self.best}" if self.best else "", f"{self.eta} left" if self.eta else ""
        parts = (self.phase, self.stage, percent, best, eta, self.why)
        return f"{self.name}: " + "  ".join(part for part in parts if part)


def line_of(search: Mapping[str, Any]) -> SearchLine:
    """Summarise a search as kubectl prints it; without a status it is Pending."""
    metadata, status = search["metadata"], search.get("status") or {}
    phase = str(status.get("phase") or Phase.PENDING)
    is_over = phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.REJECTED)
    return SearchLine(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata["name"]),
        phase=phase,
        stage="" if is_over else _stage(status),
        percent=100 if phase == Phase.SUCCEEDED else _percent(status.get("progress")),
        best=str(status.get("best") or ""),
        eta="" if is_over else str(status.get("eta") or ""),
        why=_why(status, phase),
    )


def _stage(status: Mapping[str, Any]) -> str:
    """The stage, and of a comparison the run that it is of: Race (3/20)."""
    stage, run = str(status.get("stage") or ""), status.get("run")
    return f"{stage} ({run})" if stage and run else stage


def _percent(text: Any) -> int | None:  # noqa: ANN401 - whatever lies in status
    digits = str(text or "").removesuffix("%")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _why(status: Mapping[str, Any], phase: str) -> str:
    """Return the message of the condition that explains the phase; paused reconciliation comes first."""
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    explained = () if phase in _QUIET_PHASES else _REASONS
    for kind, explaining_status in ((ConditionType.RECONCILIATION_PAUSED, "True"), *((kind, "False") for kind in explained)):
        condition = conditions.get(kind)
        if condition is not None and condition.get("status") == explaining_status and condition.get("message"):
            return f"{condition.get('reason', '')}: {condition['message']}"
    return "waiting for the operator" if phase == Phase.PENDING and not conditions else ""
