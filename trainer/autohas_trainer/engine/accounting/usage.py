"""What the steps of each stage used: examples, floating-point operations, waiting for data, memory.

It is shown to people, enters no decision and no digest. What a kill repeats counts once, as in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch

from autohas_api.wire.messages import Stage
from autohas_trainer.events import StageUse, StepUse

__all__ = ["Usage", "read_peaks", "reset_peaks"]

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
"""Source: proc_pid_clear_refs(5): sets the peak resident set size to the current one."""
_KIB: Final = 1024


class Usage:
    """The books of what was used, by stage."""

    def __init__(self) -> None:
        """Start at zero."""
        self._examples: dict[str, int] = {}
        self._flops: dict[str, float] = {}
        self._waited: dict[str, float] = {}
        self._peaks: dict[str, dict[str, int]] = {}

    def add(self, stage: Stage, use: StepUse) -> None:
        """Count one step; every step calls it, so it builds no object."""
        self._examples[stage] = self._examples.get(stage, 0) + use.num_examples
        self._flops[stage] = self._flops.get(stage, 0.0) + use.flops
        self._waited[stage] = self._waited.get(stage, 0.0) + use.waited_s

    def observe_memory(self, stage: Stage, *, ends: bool = False) -> None:
        """Read the peak of the memory since the last stage ended; at the end of a stage the next one starts from what is in use then."""
        peaks = self._peaks.setdefault(stage, {})
        for kind, peak in read_peaks().items():
            peaks[kind] = max(peak, peaks.get(kind, 0))
        if ends:
            reset_peaks()

    def by_stage(self) -> dict[str, StageUse]:
        """What each stage used so far."""
        return {
            stage: StageUse(
                num_examples=self._examples.get(stage, 0),
                flops=self._flops.get(stage, 0.0),
                waited_s=self._waited.get(stage, 0.0),
                peak_memory=dict(self._peaks.get(stage, {})),
            )
            for stage in dict.fromkeys((*self._examples, *self._peaks))
        }

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {stage: asdict(use) for stage, use in self.by_stage().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        uses = {stage: replace(StageUse(), **use) for stage, use in state.items()}
        self._examples = {stage: use.num_examples for stage, use in uses.items()}
        self._flops = {stage: use.flops for stage, use in uses.items()}
        self._waited = {stage: use.waited_s for stage, use in uses.items()}
        self._peaks = {stage: dict(use.peak_memory) for stage, use in uses.items() if use.peak_memory}


def read_peaks() -> dict[str, int]:
    """Return the peak of the resident memory where Linux says it, and that of the GPU."""
    peaks = {}
    with suppress(OSError, StopIteration):  # no Linux
        line = next(line for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines() if line.startswith("VmHWM:"))
        peaks["process"] = int(line.split()[1]) * _KIB
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch has no annotation here
        peaks["device"] = torch.cuda.max_memory_allocated()
    return peaks


def reset_peaks() -> None:
    """Let the peaks start from what is in use now; where that is not allowed, the peak of the process stays that of its life."""
    with suppress(OSError):
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # as above
        torch.cuda.reset_peak_memory_stats()
