"""Where and when a benchmark ran: the line under every result's heading."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from pathlib import Path

import torch

__all__ = ["provenance"]


def provenance() -> str:
    """Date, processor, cores, threads, torch and commit, for example "2026-11-23, AMD EPYC, 2 cores, one thread, ..."."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores, one thread, torch {torch.__version__},"
        f" commit {commit}{changed}"
    )


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", check=False).stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
