"""Every pod that a search ever had and every status, as watches saw them: when a test asks, pods of replaced Jobs are gone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from line import NAMESPACE, Line

from testcluster.waiting import until

ENDED_S = 180
"""The longest that a trainer may take to its end from where a test asks for it: the rest of a search, on a slow machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One pod. Times are the cluster's own, in seconds since the epoch; `begin` and `end` order what the watch said."""

    uid: str
    job: str
    created_s: float
    finished_s: float | None
    exit_code: int | None
    begin: int
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a watch on one search's pods has written so far."""

    file: Path

    def lives(self) -> list[Life]:
        """The pods in the order in which they appeared; a pod has ended when its trainer has, or when it is gone."""
        seen: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
        for index, event in enumerate(self._events()):
            pod = event["object"]
            seen.setdefault(pod["metadata"]["uid"], []).append((index, event["type"], pod))
        return [_life(changes) for changes in seen.values()]

    def ended(self, number: int) -> list[Life]:
        """The pods, once so many have ended with an exit code."""

        def all_ended() -> list[Life] | None:
            lives = self.lives()
            return lives if sum(life.exit_code is not None for life in lives) >= number else None

        return until(all_ended, what=f"{number} trainers have ended", deadline_s=ENDED_S, context=lambda: str(self.lives()))

    def _events(self) -> Iterator[dict[str, Any]]:
        return watched(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one status of a search said about its trainer; `has_reported`: whether any trainer had by then."""

    phase: str
    status: str
    reason: str
    message: str
    has_reported: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a watch on one search has written so far."""

    file: Path

    def told(self) -> list[Told]:
        """TrainerReady and phase, one for each status that was written."""
        return [_told(event["object"].get("status", {})) for event in watched(self.file)]

    def until_phase(self, phase: str) -> list[Told]:
        """The same, once the watch has seen a phase, which the search has reached."""
        return until(lambda: (told := self.told()) and told[-1].phase == phase and told, what=f"the watch has seen {phase}", deadline_s=30)


def watched(file: Path) -> Iterator[dict[str, Any]]:
    """The events that kubectl has written whole."""
    text, decoder, place = file.read_text(), json.JSONDecoder(), 0
    while text[place:].strip():
        place += len(text[place:]) - len(text[place:].lstrip())
        try:
            event, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError:  # kubectl is still writing it
            return
        yield event


def overlapping(lives: list[Life]) -> list[tuple[str, str]]:
    """Pairs of pods of which the second appeared before the first had ended."""
    pairs = pairwise(lives)
    return [(one.uid, other.uid) for one, other in pairs if one.end is None or one.end > other.begin]


@contextmanager
def recorded(line: Line, name: str, folder: Path) -> Iterator[Recording]:
    """Watch the pods of a search that need not exist yet."""
    file = folder / f"{name}-pods.json"
    with _watching(line, file, "pods", "-l", f"autohas.dev/search={name}"):
        yield Recording(file=file)


@contextmanager
def followed(line: Line, name: str, folder: Path) -> Iterator[History]:
    """Watch a search that need not exist yet."""
    file = folder / f"{name}-statuses.json"
    with _watching(line, file, "ahs", f"--field-selector=metadata.name={name}"):
        yield History(file=file)


@contextmanager
def _watching(line: Line, file: Path, *selection: str) -> Iterator[None]:
    tool = line.cluster.kubectl
    what = ["get", *selection, "-n", NAMESPACE, "--watch", "--output-watch-events", "-o", "json"]
    with (
        file.open("wb") as target,
        subprocess.Popen([str(tool.executable), f"--kubeconfig={tool.kubeconfig}", *what], stdout=target) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


def _told(status: dict[str, Any]) -> Told:
    ready = next((c for c in status.get("conditions", []) if c["type"] == "TrainerReady"), {})
    return Told(
        phase=status.get("phase", ""),
        status=ready.get("status", ""),
        reason=ready.get("reason", ""),
        message=ready.get("message", ""),
        has_reported="lastReportTime" in status,
    )


def _life(changes: list[tuple[int, str, dict[str, Any]]]) -> Life:
    ends = [(index, _terminated(pod)) for index, kind, pod in changes if kind == "DELETED" or _terminated(pod)]
    said = next((terminated for _, terminated in ends if terminated), None)
    first = changes[0][2]["metadata"]
    return Life(
        uid=first["uid"],
        job=first["labels"]["batch.kubernetes.io/job-name"],
        created_s=_epoch(first["creationTimestamp"]),
        finished_s=_epoch(said["finishedAt"]) if said else None,
        exit_code=said["exitCode"] if said else None,
        begin=changes[0][0],
        end=ends[0][0] if ends else None,
    )


def _terminated(pod: dict[str, Any]) -> dict[str, Any] | None:
    for status in pod.get("status", {}).get("containerStatuses", []):
        if found := status["state"].get("terminated"):
            ended: dict[str, Any] = found
            return ended
    return None


def _epoch(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
