"""The container's environment, read once and checked. Imports nothing heavy."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autohas_api.base import names
from autohas_trainer.cli.exits import UsageError

__all__ = ["ContainerEnvironment", "available_threads", "let_threads_sleep"]

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEnvironment:
    """What the operator tells the trainer beside search.json. The variables are named in `autohas_api.base.names`."""

    search_file: Path
    search_uid: str
    pod_uid: str
    attempt: int
    workdir: Path
    cpu_limit: float | None
    """Cores the container may use; None: as many as the node gives."""
    device: str
    """What the pod asks for beside CPU and memory, the platform's defaults included; empty without a device."""
    port: int

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> ContainerEnvironment:
        """From the process's variables, defaults where one is absent.

        Raises:
            UsageError: a variable has a value that means nothing.
        """
        return cls(
            search_file=Path(variables.get(names.ENV_SEARCH_FILE, f"{names.CONFIG_DIRECTORY}/{names.SEARCH_FILE}")),
            search_uid=variables.get(names.ENV_SEARCH_UID, "")[:128],
            pod_uid=variables.get(names.ENV_POD_UID, "")[:128],
            attempt=_whole(variables, names.ENV_ATTEMPT, default=1, most=2**31),
            workdir=Path(variables.get(names.ENV_WORKDIR, names.CHECKPOINT_DIRECTORY)),
            cpu_limit=_cores(variables),
            device=variables.get(names.ENV_GPU, "")[:256],
            port=_whole(variables, names.ENV_PORT, default=names.TRAINER_PORT, most=_MAX_PORT),
        )


def available_threads(cpu_limit: float | None) -> int:
    """Threads worth having: the CPU limit rounded up, never more than the cores that this process may run on."""
    cores = _cores_of_this_process()
    return cores if cpu_limit is None else max(1, min(cores, math.ceil(cpu_limit)))


def _cores_of_this_process() -> int:
    """Cores that this process may run on; all of the machine's where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def let_threads_sleep() -> None:
    """Before torch is imported: threads that wait for each other sleep and do not spin.

    Measured on 2 shared cores, conv-small at batch 64: a step takes 1,250 ms when two spinning threads have company, 44 ms asleep.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _whole(variables: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    text = variables.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most):  # noqa: PLR2004 - digits of a 32-bit number
        raise UsageError(f"{name} must be a whole number from 0 to {most}, not {text!r}")
    return int(text)


def _cores(variables: Mapping[str, str]) -> float | None:
    text = variables.get(names.ENV_CPU_LIMIT, "").strip()
    if not text:
        return None
    number, scale = (text[:-1], 1000) if text.endswith("m") else (text, 1)
    try:
        cores = float(number) / scale
    except ValueError:
        cores = math.nan
    if not 0 <= cores <= 1e6:  # noqa: PLR2004 - no machine has more; NaN fails too
        raise UsageError(f"{names.ENV_CPU_LIMIT} must be a number of cores such as 2 or 1500m, not {text!r}")
    return cores or None
