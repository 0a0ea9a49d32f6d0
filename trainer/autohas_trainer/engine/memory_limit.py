"""How much memory this process may still take: what is free on a GPU; else the limit of its control group, or the machine's memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

__all__ = ["MemoryLeft", "measure_memory_left"]

_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")
_STATM: Final = Path("/proc/self/statm")
_NO_LIMIT: Final = 2**60
"""Version 1 of control groups writes a number above this where there is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLeft:
    """Bytes that are left of a limit, and what the limit is, for a sentence."""

    left: int
    limit: int
    source: str


def measure_memory_left(device: torch.device) -> MemoryLeft | None:
    """Measure it now, with the data loaded; None where the system does not tell."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return MemoryLeft(left=free, limit=total, source="the GPU's memory")
    used = _resident_bytes()
    limits = [(_machine_bytes(), "this machine's memory"), (_cgroup_bytes(), "the memory limit of this container")]
    known = [(limit, source) for limit, source in limits if limit is not None]
    if used is None or not known:
        return None
    limit, source = min(known)
    return MemoryLeft(left=max(0, limit - used), limit=limit, source=source)


def _cgroup_bytes() -> int | None:
    """The lowest limit of the control groups that this process is in, of either version."""
    limits = [limit for path in _limit_files() if (limit := _read_number(path)) is not None and limit < _NO_LIMIT]
    return min(limits, default=None)


def _limit_files() -> Iterable[Path]:
    yield _CGROUPS / "memory.max"  # a container sees its own group as the root
    yield _CGROUPS / "memory" / "memory.limit_in_bytes"
    try:
        lines = _MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            folder = _CGROUPS / group.lstrip("/")
            yield from (parent / "memory.max" for parent in (folder, *folder.parents) if parent.is_relative_to(_CGROUPS))


def _read_number(path: Path) -> int | None:
    """The number in a file; None without one (`max`)."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _machine_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _resident_bytes() -> int | None:
    """Memory of this process; None outside of Linux."""
    try:
        return int(_STATM.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
