"""What the whole-line tests share: the chart installed, searches applied, trainers found on the host and killed."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from autohas_api.base.names import ENV_POD_UID, TRAINER_PORT
from autohas_api.testing.rejections import a_search, changed
from autohas_api.wire.messages import Progress, Stage, decode_progress
from testcluster.cluster import Cluster
from testcluster.waiting import until

NAMESPACE = "searches"
OPERATOR_NAMESPACE = "autohas"
HALF_A_CORE = {"spec.trainer.resources.limits.cpu": "500m"}
"""For a trainer that must be at work for longer than somebody waits between two looks at it: the kubelet, a new operator."""
GIVEN = "a given cluster's nodes do not see this machine's folders and processes: searches on a real node need a cluster of ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A cluster with the operator installed and a namespace that admits only restricted pods."""

    cluster: Cluster
    claim: Path
    """Folder of this machine behind the claim `checkpoints`."""

    def apply(self, document: dict[str, Any]) -> None:
        """Kubectl apply in the searches' namespace."""
        self.cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=json.dumps(document))

    def search(self, name: str) -> dict[str, Any]:
        """The resource as it is now."""
        found: dict[str, Any] = self.cluster.kubectl.json("get", "-n", NAMESPACE, "ahs", name)
        return found

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One condition of a search; empty before it is set."""
        conditions = self.search(name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def wait(self, name: str, condition: str, timeout_s: int = 300) -> dict[str, Any]:
        """Kubectl wait, as a user does; returns the search."""
        self.cluster.kubectl(
            "wait", "-n", NAMESPACE, f"--for=condition={condition}", f"ahs/{name}", f"--timeout={timeout_s}s", timeout_s=timeout_s + 30
        )
        return self.search(name)

    def wait_for_phase(self, name: str, phase: str, timeout_s: float = 120) -> None:
        """Until the printed phase is the given one."""
        until(lambda: self.search(name).get("status", {}).get("phase") == phase, what=f"{name} is {phase}", deadline_s=timeout_s)

    def objects(self, kind: str, name: str) -> list[dict[str, Any]]:
        """Jobs or pods of a search."""
        found: list[dict[str, Any]] = self.cluster.kubectl.json("get", "-n", NAMESPACE, kind, "-l", f"autohas.dev/search={name}")["items"]
        return found

    def exit_codes(self, name: str) -> list[int]:
        """How the trainers of a search ended, in numerical order: 137 is SIGKILL."""
        statuses = [pod["status"]["containerStatuses"][0] for pod in self.objects("pods", name)]
        return sorted(status["state"]["terminated"]["exitCode"] for status in statuses)

    def progress(self, name: str) -> Progress | None:
        """What the running trainer says on its own port, asked from the host."""
        for pod in self.objects("pods", name):
            address = pod["status"].get("podIP")
            if pod["status"]["phase"] != "Running" or not address:
                continue
            try:
                with urllib.request.urlopen(f"http://{address}:{TRAINER_PORT}/progress", timeout=1) as answer:
                    return decode_progress(answer.read())
            except OSError:
                continue
        return None

    def kill_trainer_in(self, name: str, stage: Stage, timeout_s: float = 240) -> None:
        """SIGKILL to the trainer's process, from the host, as soon as it reports `stage`."""

        def reached() -> Progress | None:
            progress = self.progress(name)
            if progress is not None:
                order = list(STAGE_ORDER)
                assert order.index(progress.stage) <= order.index(stage), f"{name} is past {stage} already: {progress.stage}"
            return progress if progress is not None and progress.stage == stage else None

        until(reached, what=f"{name} reports stage {stage}", deadline_s=timeout_s)
        running = [pod for pod in self.objects("pods", name) if pod["status"]["phase"] == "Running"]
        os.kill(trainer_process(running[0]["metadata"]["uid"]), signal.SIGKILL)

    def freeze_trainer(self, name: str) -> int:
        """SIGSTOP to the one trainer of a search, from the host; returns its process."""
        (running,) = (pod for pod in self.objects("pods", name) if pod["status"]["phase"] == "Running")
        process = trainer_process(running["metadata"]["uid"])
        os.kill(process, signal.SIGSTOP)
        return process

    @contextmanager
    def holding_trainer(self, name: str) -> Iterator[None]:
        """Freeze the one trainer of a search meanwhile, so that it does not end first, however fast it is."""
        process = self.freeze_trainer(name)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def events(self, name: str) -> dict[str, str]:
        """Reason and newest message of the events about a search."""
        about = f"--field-selector=involvedObject.kind=AutoHASSearch,involvedObject.name={name}"
        found = self.cluster.kubectl.json("get", "-n", NAMESPACE, "events", about)["items"]
        return {event["reason"]: event["message"] for event in sorted(found, key=lambda event: event["lastTimestamp"])}

    def suspend(self, name: str, *, wanted: bool = True) -> None:
        """Set spec.suspend, as a user does."""
        self.cluster.kubectl("patch", "-n", NAMESPACE, "ahs", name, "--type=merge", f"--patch={json.dumps({'spec': {'suspend': wanted}})}")

    def works(self, name: str, timeout_s: float = 180) -> None:
        """Until the trainer has done a step that its newest checkpoint does not hold."""

        def has_got_on() -> bool:
            said = self.progress(name)
            return said is not None and said.step > (said.checkpoint.step if said.checkpoint is not None else 0)

        until(has_got_on, what=f"the trainer of {name} works", deadline_s=timeout_s)

    def until_watched(self, name: str, timeout_s: float = 60) -> None:
        """Until the startup probe of the one trainer has passed: before that, no liveness probe looks at it, however well it works."""

        def started() -> bool:
            pods = self.objects("pods", name)
            return any(status.get("started", False) for pod in pods for status in pod["status"].get("containerStatuses", []))

        until(started, what=f"the kubelet watches over the trainer of {name}", deadline_s=timeout_s)

    def folder(self, search: Mapping[str, Any]) -> Path:
        """Where a search keeps its files, on this machine."""
        metadata: dict[str, str] = search["metadata"]
        return self.claim / metadata["namespace"] / metadata["name"] / metadata["uid"]

    def clear(self) -> None:
        """Delete every search but the reference, which later modules compare with."""
        self.cluster.kubectl("delete", "-n", NAMESPACE, "ahs", f"--field-selector=metadata.name!={Reference.NAME}", "--timeout=60s")

    def operator_pod(self) -> str:
        """Name of the one operator pod that is not ending."""
        pods = self.cluster.kubectl.json("get", "-n", OPERATOR_NAMESPACE, "pods")["items"]
        alive = [p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"]]
        assert len(alive) == 1
        name: str = alive[0]
        return name

    def kill_operator(self) -> None:
        """End the operator at once; its Deployment makes another one."""
        self.cluster.kubectl("delete", "-n", OPERATOR_NAMESPACE, "pod", self.operator_pod(), "--grace-period=0", "--force")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A search left alone: whatever is done to another one of as many STEPS must end with its digest."""

    NAME: ClassVar[str] = "reference"
    STEPS: ClassVar[int] = 120
    line: Line

    def finished(self) -> dict[str, Any]:
        """The search after its end."""
        return self.line.wait(self.NAME, "Finished")

    def digest(self) -> str:
        """What equal searches end with."""
        digest: str = self.finished()["status"]["result"]["digest"]
        return digest


def durable(name: str, *, claim: str = "checkpoints", steps: int = 90, **settings: Any) -> dict[str, Any]:
    """A search of some seconds on digits, checkpointed every second on the claim; `settings` replace values by their paths."""
    document = changed(a_search(name), "spec.task.data.arguments", {"variant": "shifted"})
    document = changed(document, "spec.task.model.template", "conv-small")
    storage = {"persistentVolumeClaim": {"claimName": claim}}
    document = changed(document, "spec.checkpoint", {"periodSeconds": 1, "storage": storage})
    document = changed(document, "spec.retrain.steps", steps)
    document = changed(
        document, "spec.trainer.resources", {"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "100m", "memory": "512Mi"}}
    )
    for path, value in settings.items():
        document = changed(document, path, value)
    return document


STAGE_ORDER = (Stage.LANES, Stage.WARMUP, Stage.SUPERNET, Stage.RACE, Stage.EVALUATE)


def trainer_process(pod_uid: str) -> int:
    """Process id, on this host, of the trainer of a pod: the one whose environment names the pod's uid."""
    wanted = f"{ENV_POD_UID}={pod_uid}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted in environment and b"autohas_trainer" in command:
            return int(folder.name)
    message = f"no trainer process of pod {pod_uid} on this host"
    raise LookupError(message)
