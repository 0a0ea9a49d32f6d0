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
    """The variables that the operator sets in addition to search.json; `autohas_api.base.names` has their names."""

    search_file: Path
    search_uid: str
    pod_uid: str
    attempt: int
    workdir: Path
    cpu_limit: float | None
    """CPU limit of the container in cores; None without a limit."""
    device: str
    """Device that the pod requests, the platform's defaults included; empty without one."""
    port: int

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> ContainerEnvironment:
        """Read the process's variables, with defaults for absent ones.

        Raises:
            UsageError: the value of a variable is invalid.
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
    """Return the number of useful threads: the CPU limit rounded up, at most the cores that this process may run on."""
    cores = _cores_of_this_process()
    return cores if cpu_limit is None else max(1, min(cores, math.ceil(cpu_limit)))


def _cores_of_this_process() -> int:
    """Count the cores that this process may run on; on macOS, which does not tell, all cores of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def let_threads_sleep() -> None:
    """Let waiting OpenMP threads sleep instead of spin; call it before torch is imported.

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
