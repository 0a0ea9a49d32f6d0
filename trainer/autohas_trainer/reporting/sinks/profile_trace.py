"""A trace of some steps by torch.profiler, which chrome://tracing and ui.perfetto.dev open: `spec.monitoring.profileSteps`.

It starts after the first steps, which allocate memory and choose kernels. A search has one trace: a process that resumes writes none
where there is one. The profiler changes no bits; the steps that it records take longer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import structlog
import torch
from torch.profiler import ProfilerActivity

from autohas_trainer.atomic_file import replace_file
from autohas_trainer.events import Event, SearchFinished, StepRecord

__all__ = ["PROFILE_FILE", "ProfileSink"]

PROFILE_FILE: Final = "profile.json"
WARM_UP: Final = 10
"""Steps of this process before the trace."""


class ProfileSink:
    """Starts and ends the profiler between steps; for the engine's thread only."""

    def __init__(self, workdir: Path, num_steps: int) -> None:
        """Record `num_steps` steps unless the folder has a trace."""
        self._path = workdir / PROFILE_FILE
        self._end = WARM_UP + num_steps
        self._num_steps = 0
        self._profiler: Any = None
        self._is_over = self._path.exists()

    def emit(self, event: Event) -> None:
        """Count steps; after the last one, or where the search ends before it, write the trace."""
        if self._is_over:
            return
        if isinstance(event, StepRecord):
            self._num_steps += 1
            if self._num_steps == WARM_UP:
                self._attempt(self._start)
            elif self._num_steps == self._end:
                self.close()
        elif isinstance(event, SearchFinished):
            self.close()

    def close(self) -> None:
        """Write what was recorded; nothing if the trace is written or was never begun."""
        if self._profiler is not None and not self._is_over:
            self._attempt(self._write)
        self._is_over = True

    def _start(self) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._profiler = torch.profiler.profile(activities=activities)
        self._profiler.start()

    def _write(self) -> None:
        self._profiler.stop()
        with replace_file(self._path) as temporary:
            self._profiler.export_chrome_trace(str(temporary))

    def _attempt(self, act: Any) -> None:  # noqa: ANN401 - a method without arguments
        """Run a part that must not end the search: without a trace its result is the same."""
        try:
            act()
        except (OSError, RuntimeError) as error:
            self._is_over = True
            structlog.get_logger().warning("profile not written", error=f"{type(error).__name__}: {error}")
