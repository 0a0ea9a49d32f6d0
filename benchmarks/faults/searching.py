"""One search, disturbed or not, from `kubectl apply` to the last thing it leaves."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from benchmarks.faults.checking import uid_of
from benchmarks.faults.drawing import Fault, Kind
from benchmarks.faults.striking import Strike, Striker
from benchmarks.faults.watching import View, trainers
from benchmarks.reliability.__main__ import End

from autohas_api.base.names import TRAINER_PORT
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import MessageError, decode_progress
from line import NAMESPACE, Line, durable
from testcluster.waiting import until

SPECS: Final = tuple(product(("Lanes", "OneStep"), (0, 1)))
"""Strategy and seed."""
BACKOFF_LIMIT: Final = 50
"""Kills of trainers that a Job endures: more than are drawn for one search."""
GONE_S: Final = 180.0
POLL_S: Final = 0.3


def document(name: str, number: int, steps: int) -> dict[str, Any]:
    """The search of this number; every fourth has the same spec and must find the same."""
    strategy, seed = SPECS[number % len(SPECS)]
    limits: dict[str, Any] = {"spec.failurePolicy": {"backoffLimit": BACKOFF_LIMIT}, "spec.budget": {"trainings": "4.5"}}
    search = durable(name, steps=steps, **limits)
    search = with_change(search, "spec.algorithm", {"name": "AutoHAS", "seed": seed, "autoHAS": {"strategy": strategy}})
    hyperparameters = search["spec"]["searchSpace"]["hyperparameters"]
    return with_change(search, "spec.searchSpace.hyperparameters", hyperparameters[: 1 if strategy == "OneStep" else 2])


@dataclass(slots=True, kw_only=True)
class Life:
    """What became of a search."""

    name: str
    number: int
    uid: str = ""
    phase: str = "lost"
    end: End | None = None
    digest: str = ""
    attempt: int = 0
    num_jobs: int = 0
    num_results: int = 0
    num_starts: int = 0
    seconds: float = 0.0
    strikes: list[Strike] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def compare(self, undisturbed: Life) -> None:
        """Note everything in which it is not like the undisturbed one."""
        if self.phase != undisturbed.phase:
            self.problems.append(f"ended {self.phase}, not {undisturbed.phase}")
        if self.digest != undisturbed.digest:
            self.problems.append(f"digest {self.digest or 'none'}, not {undisturbed.digest}")
        if self.end != undisturbed.end:
            self.problems.append(f"files {self.end}, not {undisturbed.end}")
        if self.num_results != 1:
            self.problems.append(f"{self.num_results} results")
        if not self.num_jobs <= self.attempt <= most_attempts(self.strikes):
            self.problems.append(f"status.attempt {self.attempt} with {self.num_jobs} Jobs after {len(self.strikes)} faults")


def most_attempts(strikes: list[Strike]) -> int:
    """The first attempt, and one for each fault that may end a Job: a Job whose pods are deleted is sometimes recreated."""
    worth = {Kind.JOB_DELETE: 1, Kind.SUSPEND_FLIP: 1, Kind.POD_DELETE: 1}
    return 1 + sum(2 if strike.fault.how == "twice" else worth.get(strike.fault.kind, 0) for strike in strikes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where searches live."""

    line: Line
    striker: Striker
    view: View
    steps: int
    deadline_s: float
    last_s: float
    """No fault strikes later, monotonic seconds."""

    def live(self, name: str, number: int, faults: list[Fault]) -> Life:
        """Apply, disturb, wait for the end, compare nothing yet; delete and look for what is left."""
        life, begun = Life(name=name, number=number), time.monotonic()
        with self.striker.api() as line:
            line.apply(document(name, number, self.steps))
        until(lambda: self.view.search(name), what=f"{name} is seen", deadline_s=GONE_S)
        life.uid = uid_of(self.view.search(name))
        try:
            self._disturb(life, faults, begun + self.deadline_s)
            self.striker.settle(name)
            until(lambda: self.striker.has_ended(name), what="it ends", deadline_s=begun + self.deadline_s - time.monotonic())
        except TimeoutError as error:
            life.problems.append(f"lost: {error}")
        life.seconds = time.monotonic() - begun
        self._read(life)
        self._delete(life)
        return life

    def _disturb(self, life: Life, faults: list[Fault], end: float) -> None:
        """Every fault in its turn, until the search or the time for faults ends."""
        for fault in faults:
            due = time.monotonic() + fault.delay_s
            while not self.striker.has_ended(life.name) and (time.monotonic() < due or not self._is_done(life, fault.done)):
                if time.monotonic() > end:
                    raise TimeoutError(f"{life.name} did not get on to {fault}")
                time.sleep(POLL_S)
            strike = self.striker.strike(fault, life.name, end) if time.monotonic() < self.last_s else None
            if strike is None:
                return
            life.strikes.append(strike)
            print(f"  {life.name}: {fault.kind} ({fault.how}) of {strike.hit} while {strike.phase}", flush=True)

    def _is_done(self, life: Life, share: float | None) -> bool:
        """Whether its trainer reports at least this share of the work as done."""
        if share is None:
            return True
        for pod in self.view.pods(life.uid):
            address = pod["status"].get("podIP")
            try:
                with urllib.request.urlopen(f"http://{address}:{TRAINER_PORT}/progress", timeout=1) as answer:
                    return decode_progress(answer.read()).percent >= 100 * share
            except (OSError, MessageError):
                continue
        return False

    def _read(self, life: Life) -> None:
        search, checker = self.view.search(life.name), self.view.checker
        status = search.get("status", {})
        life.phase = status.get("phase", "lost") if "completionTime" in status else "lost"
        life.digest = status.get("result", {}).get("digest", "")
        life.attempt = status.get("attempt", 0)
        life.num_jobs, life.num_results = checker.num_jobs(life.uid), checker.num_results(life.uid)
        life.num_starts = len(checker.starts[life.uid])
        if life.phase != "Succeeded":
            conditions = [f"{c['type']}={c['status']}, {c['reason']}: {c['message']}" for c in status.get("conditions", [])]
            life.problems.append(f"phase {status.get('phase', 'none')}; {'; '.join(conditions)}")
        if search and (folder := self.line.folder(search)).joinpath("result.json").exists():
            life.end = End.of(folder)

    def _delete(self, life: Life) -> None:
        """Nothing of a search outlives it but its folder on the claim."""
        with self.striker.api() as line:
            line.cluster.kubectl("delete", "-n", NAMESPACE, "--wait=false", "ahs", life.name)

        def is_gone() -> bool:
            with self.striker.api() as line:
                left = line.objects("jobs,pods,configmaps", life.name)
                # A pod that a fault took from its Job is ours to delete; the garbage collector may act only now.
                orphans = [one["metadata"]["name"] for one in left if "ownerReferences" not in one["metadata"]]
                if orphans:
                    line.cluster.kubectl("delete", "-n", NAMESPACE, "--wait=false", "--ignore-not-found", "pod", *orphans)
            return not left and life.uid not in trainers()

        try:
            until(is_gone, what=f"Jobs, pods and ConfigMaps of {life.name} are gone", deadline_s=GONE_S)
        except TimeoutError as error:
            life.problems.append(f"left over: {error}")
