"""How each kind of fault is done to a search, on the node test cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.faults.checking import Document, is_leaving, uid_of
from benchmarks.faults.drawing import Fault, Kind
from benchmarks.faults.watching import View

from line import NAMESPACE, OPERATOR_NAMESPACE, Line, trainer_process
from testcluster.commands import CommandFailedError
from testcluster.control_plane import ControlPlane
from testcluster.waiting import until

LOOK_S: Final = 0.1
QUICK_S: Final = 0.3
"""Between the halves of a suspension that is flipped twice."""
API_BACK_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A fault that hit something."""

    fault: Fault
    hit: str
    phase: str
    at_s: float


class Striker:
    """Strikes one search after the other, from many threads."""

    def __init__(self, line: Line, plane: ControlPlane, view: View) -> None:
        self._line, self._plane, self._view = line, plane, view
        self._api = threading.Lock()  # no request goes to an API server that this program has stopped
        self._resumptions: dict[str, threading.Thread] = {}
        self._do: dict[Kind, Callable[[Fault, str], str | None]] = {
            Kind.TRAINER_KILL: self._kill_trainer,
            Kind.OPERATOR_KILL: self._kill_operator,
            Kind.POD_DELETE: self._delete_pod,
            Kind.JOB_DELETE: self._delete_job,
            Kind.SUSPEND_FLIP: self._flip,
            Kind.API_OUTAGE: self._take_api_away,
        }

    def strike(self, fault: Fault, name: str, end_s: float) -> Strike | None:
        """Do it as soon as there is something to hit; None when the search ends before.

        Raises:
            TimeoutError: there is nothing to hit until `end_s`, monotonic seconds.
        """
        while not self.has_ended(name):
            if time.monotonic() > end_s:
                raise TimeoutError(f"nothing of {name} to hit by {fault}")
            phase = str(self._view.search(name).get("status", {}).get("phase", "New"))
            hit = self._do[fault.kind](fault, name)
            if hit is not None:
                return Strike(fault=fault, hit=hit, phase=phase, at_s=time.time())
            time.sleep(LOOK_S)
        return None

    def has_ended(self, name: str) -> bool:
        """Whether its result or failure is stored."""
        return "completionTime" in self._view.search(name).get("status", {})

    def settle(self, name: str) -> None:
        """Wait until a suspension of this search is over."""
        if (resumption := self._resumptions.get(name)) is not None:
            resumption.join()

    @contextlib.contextmanager
    def api(self) -> Iterator[Line]:
        """The line, while no fault takes the API server away."""
        with self._api:
            yield self._line

    def _kill_trainer(self, _: Fault, name: str) -> str | None:
        """A pod has a process from the moment its container runs until shortly before the API server sees its end."""
        for pod in self._pods(name):
            try:
                process = trainer_process(uid_of(pod))
                os.kill(process, signal.SIGKILL)
            except (LookupError, ProcessLookupError):
                continue
            return f"process of {pod['metadata']['name']}"
        return None

    def _kill_operator(self, _: Fault, name: str) -> str | None:
        with self.api() as line:
            if self.has_ended(name):
                return None
            try:
                pod: str = line.operator_pod()
                line.cluster.kubectl("delete", "-n", OPERATOR_NAMESPACE, "pod", pod, "--grace-period=0", "--force")
            except (AssertionError, CommandFailedError):
                return None  # between two operators
        return pod

    def _delete_pod(self, fault: Fault, name: str) -> str | None:
        grace = ("--grace-period=1",) if fault.how == "within 1 s" else ()
        return self._delete("pod", [pod for pod in self._pods(name) if not is_leaving(pod)], *grace)

    def _delete_job(self, fault: Fault, name: str) -> str | None:
        jobs = self._view.jobs(self._uid(name))
        return self._delete("job", [job for job in jobs if not is_leaving(job)], f"--cascade={fault.how}")

    def _delete(self, kind: str, documents: list[Document], *flags: str) -> str | None:
        for one in documents:
            target = str(one["metadata"]["name"])
            with self.api() as line, contextlib.suppress(CommandFailedError):
                line.cluster.kubectl("delete", "-n", NAMESPACE, kind, target, "--wait=false", *flags)
                return target
        return None

    def _flip(self, fault: Fault, name: str) -> str | None:
        """Suspend now, and resume after a while, during which other faults may strike."""
        self.settle(name)
        if not self._suspend(name, wanted=True):
            return None
        if fault.how == "twice":
            time.sleep(QUICK_S)
            self._suspend(name, wanted=False)
            time.sleep(QUICK_S)
            self._suspend(name, wanted=True)

        def resume() -> None:
            time.sleep(fault.hold_s)
            self._suspend(name, wanted=False)

        self._resumptions[name] = threading.Thread(target=resume, daemon=True)
        self._resumptions[name].start()
        return name

    def _suspend(self, name: str, *, wanted: bool) -> bool:
        """Whether the search had not ended when the request was made."""
        patch = json.dumps({"spec": {"suspend": wanted}})

        def answer() -> Document | None:
            with self.api() as line, contextlib.suppress(CommandFailedError):
                output = line.cluster.kubectl("patch", "-n", NAMESPACE, "ahs", name, "--type=merge", "-p", patch, "-o", "json")
                search: Document = json.loads(output)
                return search
            return None

        search = until(answer, what=f"{name} is asked to {'suspend' if wanted else 'resume'}", deadline_s=API_BACK_S)
        return "completionTime" not in search.get("status", {})

    def _take_api_away(self, fault: Fault, name: str) -> str | None:
        with self._api:
            if self.has_ended(name):
                return None
            if fault.how == "freeze":
                self._signal_api_server(signal.SIGSTOP)
                time.sleep(fault.hold_s)
                self._signal_api_server(signal.SIGCONT)
            else:
                self._plane.kill_api_server()
                time.sleep(fault.hold_s)
                self._plane.start_api_server()
            until(self._is_api_ready, what="the API server answers again", deadline_s=API_BACK_S, context=self._plane.processes.explain)
        return f"kube-apiserver for {fault.hold_s:.1f} s"

    def _signal_api_server(self, number: int) -> None:
        server = self._plane.processes.find("kube-apiserver")
        if server is None or not server.is_alive():
            raise RuntimeError(f"no API server\n{self._plane.processes.explain('kube-apiserver')}")
        server.signal(number)

    def _is_api_ready(self) -> bool:
        try:
            self._line.cluster.kubectl("get", "--raw", "/readyz", "--request-timeout=5s")
        except CommandFailedError:
            return False
        return True

    def _pods(self, name: str) -> list[Document]:
        return self._view.pods(self._uid(name))

    def _uid(self, name: str) -> str:
        search = self._view.search(name)
        return uid_of(search) if search else ""
