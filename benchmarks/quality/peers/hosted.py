"""Peers that live in an environment of their own, because their dependencies are not ours: each is a child process that asks for losses."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.quality.peers.values import is_ordered
from benchmarks.quality.session import Session

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import Configuration, Space

__all__ = ["DEHB", "PRIOR_BAND", "SMAC", "HostedPeer", "NotInstalledError"]

ENVIRONMENTS: Final = Path(os.environ.get("AUTOHAS_BENCH_PEERS") or Path(__file__).parents[1] / ".peers")
"""A folder with one virtual environment per package."""
_CHILD: Final = Path(__file__).with_name("child.py")
_MOST_REQUESTS: Final = 5000
"""A request that repeats another is free, so a peer that repeats itself would never use a budget up."""


class NotInstalledError(Exception):
    """The peer's environment is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedPeer:
    """A peer in an environment of its own: its name in `child.PEERS`, and the package to install."""

    peer: str
    package: str

    def __call__(self, session: Session) -> None:
        """Train the default, then what the peer asks for, until the next request is no longer affordable.

        Raises:
            NotInstalledError: its environment is not there.
            RuntimeError: it ended by itself.
        """
        python = ENVIRONMENTS / self.package / "bin" / "python"
        if not python.exists():
            message = f"not installed: make a virtual environment in {python.parents[1]} and pip install {self.package} there"
            raise NotInstalledError(message)
        session.measure(session.space.default, LAST_RUNG)
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "errors").open("w+", encoding="utf-8") as errors:
            with subprocess.Popen(
                [python, _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8"
            ) as process:
                has_ended = self._answer(session, process, folder)
                process.kill()
            if has_ended:
                errors.seek(0)
                message = f"{self.package} ended before the budget was spent: {errors.read()[-2000:]}"
                raise RuntimeError(message)

    def _answer(self, session: Session, process: subprocess.Popen[str], folder: str) -> bool:
        """Answer requests while they are affordable; True if the child ended by itself."""
        assert process.stdin is not None  # noqa: S101 - a pipe
        assert process.stdout is not None  # noqa: S101 - a pipe
        heading = {"peer": self.peer, "seed": session.seed, "folder": folder, "decisions": _describe(session.space)}
        process.stdin.write(json.dumps(heading) + "\n")
        process.stdin.flush()
        for _ in range(_MOST_REQUESTS):
            line = process.stdout.readline()
            if not line:
                return True
            request = json.loads(line)
            configuration = _read(session.space, request["indices"])
            if not session.can_afford(configuration, request["rung"]):
                return False
            key = session.measure(configuration, request["rung"]).key
            process.stdin.write(json.dumps({"loss": None if key == -math.inf else -key}) + "\n")
            process.stdin.flush()
        return False


def _describe(space: Space) -> list[dict[str, Any]]:
    """The searched decisions for the child; a default that is none of the choices is described as the first."""
    return [
        {
            "name": decision.name,
            "size": len(decision.choices),
            "default": decision.choices.index(decision.default) if decision.default in decision.choices else 0,
            "is_ordered": is_ordered(decision),
        }
        for decision in space.searched_decisions()
    ]


def _read(space: Space, indices: dict[str, int]) -> Configuration:
    values = {decision.name: decision.fixed for decision in space.decisions}
    chosen = {decision.name: decision.choices[indices[decision.name]] for decision in space.searched_decisions()}
    return space.configuration(values | chosen)


DEHB: Final = HostedPeer(peer="dehb", package="dehb")
PRIOR_BAND: Final = HostedPeer(peer="neps", package="neural-pipeline-search")
SMAC: Final = HostedPeer(peer="smac", package="smac")
