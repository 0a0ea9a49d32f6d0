"""Searches that benchmarks run in their own process, on one thread of the CPU, to their end."""

from __future__ import annotations

from pathlib import Path

from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_trainer.engine.search import Job
from autohas_trainer.events import Identity

__all__ = ["NeverStopped", "make_job"]


class NeverStopped:
    """Nothing asks a search of a benchmark to stop."""

    is_requested = False


def make_job(search: Search, space: Space, workdir: Path) -> Job:
    """One search on one CPU thread, in a working folder of its own."""
    identity = Identity(search_uid="", pod_uid="", attempt=1)
    return Job(search=search, space=space, workdir=workdir, identity=identity, threads=1, device="cpu")
