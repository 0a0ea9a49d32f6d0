"""Background processes that outlive a shell, and ending exactly those.

A process is known by its id and its start time, so that an id given out again is never mistaken for ours. The
record lies in a file: another process, or the next start after a crash, can end what is left.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from testcluster.commands import last_lines
from testcluster.waiting import until

TERM_GRACE_S = 10.0
KILL_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A process; `started` is its start in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this id now; None if there is none, or only its zombie."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else cls(pid=pid, started=int(fields[19]))

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # our own children would stay zombies
        return Identity.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if the process is gone."""
        with contextlib.suppress(ProcessLookupError):
            if self.is_alive():
                os.kill(self.pid, number)


def this_process() -> Identity:
    """This very process, as the owner of what shall not outlive it."""
    identity = Identity.of(os.getpid())
    if identity is None:
        message = "cannot read this process's start time: /proc is not mounted"
        raise RuntimeError(message)
    return identity


def end(identities: Sequence[Identity], grace_s: float = TERM_GRACE_S) -> None:
    """SIGTERM to all of them, and SIGKILL to those that are there after `grace_s`; returns when all are gone.

    Raises TimeoutError if a killed process stays, as one does that waits for a disk.
    """

    def are_gone() -> bool:
        return not any(identity.is_alive() for identity in identities)

    if grace_s > 0:
        for identity in identities:
            identity.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            until(are_gone, what="end of processes", deadline_s=grace_s)
    for identity in identities:
        identity.signal(signal.SIGKILL)
    until(are_gone, what=f"end of killed processes {[identity.pid for identity in identities]}", deadline_s=KILL_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The processes of one cluster, recorded in `directory`/processes, their logs in `directory`/logs."""

    directory: Path

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Identity:
        """Start `command` in a session of its own; `env` is added to the environment."""
        log, record = self.log(name), self._record(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        record.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for the cluster
                env={**os.environ, **(env or {})},
            )
        child.returncode = 0  # from here on the process is known by its Identity: no warning at garbage collection
        identity = Identity.of(child.pid) or Identity(pid=child.pid, started=-1)
        record.write_text(json.dumps(asdict(identity)))
        return identity

    def find(self, name: str) -> Identity | None:
        """The recorded process, running or not."""
        try:
            return Identity(**json.loads(self._record(name).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def is_alive(self, name: str) -> bool:
        """Whether the recorded process runs."""
        identity = self.find(name)
        return identity is not None and identity.is_alive()

    def names(self) -> tuple[str, ...]:
        """All recorded, oldest first."""
        records = sorted(self.directory.glob("processes/*.json"), key=lambda path: path.stat().st_mtime_ns)
        return tuple(record.stem for record in records)

    def end(self, *names: str, grace_s: float = TERM_GRACE_S) -> None:
        """End these, or all of them, at the same time; their records go, their logs stay."""
        chosen = names or self.names()
        end([identity for identity in map(self.find, chosen) if identity], grace_s)
        for name in chosen:
            self._record(name).unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Where the outputs of `name` go."""
        return self.directory / "logs" / f"{name}.log"

    def explain(self, *names: str) -> str:
        """For error messages: which process ended, the end of each log and where the whole of it is."""
        texts = []
        for name in names or self.names():
            log = self.log(name)
            end = last_lines(log.read_text(errors="replace")) if log.exists() else "(no log)"
            texts.append(f"--- {name} {'runs' if self.is_alive(name) else 'HAS ENDED'}, log {log}\n{end}")
        return "\n".join(texts)

    def _record(self, name: str) -> Path:
        return self.directory / "processes" / f"{name}.json"
