"""Watches searches, Jobs, pods and the trainer processes of this host, and passes them to the checker.

A watch that breaks (the API server is killed every now and then) lists again and continues.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.faults.checking import Checker, Document, is_over, search_of

from autohas_api.base.names import API_VERSION, ENV_POD_UID, ENV_SEARCH_UID, PLURAL
from line import NAMESPACE

Handler = Callable[[str, Iterable[Document]], None]
ANSWER_S: Final = 30.0
"""Timeout of a request, in seconds; longer than an API server is frozen."""
RENEWAL_S: Final = 20
SCAN_S: Final = 0.5
PATHS: Final = {
    "searches": f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}",
    "jobs": f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs",
    "pods": f"/api/v1/namespaces/{NAMESPACE}/pods",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The API server, read with the token of a kubeconfig."""

    address: str
    context: ssl.SSLContext
    token: str

    @classmethod
    def of(cls, kubeconfig: Path) -> Server:
        """The API server of the test cluster's kubeconfig, which is JSON."""
        document = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster = document["clusters"][0]["cluster"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        return cls(address=urlsplit(cluster["server"]).netloc, context=context, token=document["users"][0]["user"]["token"])

    def watch(self, path: str, handle: Handler) -> None:
        """Pass a list and then every change to `seen`, until the process ends."""
        while True:
            try:
                version = self._list(path, handle)
                while version:
                    version = self._follow(path, version, handle)
            except (OSError, http.client.HTTPException, ValueError):
                pass  # the API server is unavailable
            time.sleep(0.2)

    def _list(self, path: str, handle: Handler) -> str:
        document = json.loads(self._get(path).read())
        handle("LISTED", document["items"])
        return str(document["metadata"]["resourceVersion"])

    def _follow(self, path: str, version: str, handle: Handler) -> str:
        """Follow until the server ends the watch; returns where to continue, empty if that is too old."""
        for line in self._get(f"{path}?watch=1&timeoutSeconds={RENEWAL_S}&allowWatchBookmarks=true&resourceVersion={version}"):
            event: dict[str, Any] = json.loads(line)
            if event["type"] == "ERROR":
                return ""
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                handle(event["type"], [event["object"]])
        return version

    def _get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(self.address, timeout=ANSWER_S, context=self.context)
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise http.client.HTTPException(f"GET {path}: {answer.status}")
        return answer


class View:
    """The current objects; thread-safe."""

    def __init__(self, server: Server) -> None:
        self.checker = Checker()
        self._lock = threading.RLock()
        handle = {"searches": self.checker.check_searches, "jobs": self.checker.check_jobs, "pods": self.checker.check_pods}
        for name, path in PATHS.items():
            threading.Thread(target=server.watch, args=(path, self._synchronize(handle[name])), daemon=True).start()
        threading.Thread(target=self._scan, daemon=True).start()

    def search(self, name: str) -> Document:
        """The search of this name; empty if it does not exist."""
        with self._lock:
            return next((s for s in self.checker.searches.values() if s["metadata"]["name"] == name), {})

    def jobs(self, uid: str) -> list[Document]:
        """The Jobs of a search."""
        with self._lock:
            return [job for job in self.checker.jobs.values() if search_of(job) == uid]

    def pods(self, uid: str) -> list[Document]:
        """The pods of a search that have not ended."""
        with self._lock:
            return [pod for pod in self.checker.pods.values() if search_of(pod) == uid and not is_over(pod)]

    def _synchronize(self, handle: Handler) -> Handler:
        def note(kind: str, documents: Iterable[Document]) -> None:
            with self._lock:
                handle(kind, documents)

        return note

    def _scan(self) -> None:
        while True:
            processes = trainers()
            with self._lock:
                self.checker.check_processes(processes)
            time.sleep(SCAN_S)


def trainers() -> dict[str, set[str]]:
    """Uids of the pods whose trainer runs on this host, by uid of the search."""
    pods: dict[str, set[str]] = defaultdict(set)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if b"autohas_trainer" not in (folder / "cmdline").read_bytes():
                continue
            environment = dict(
                entry.split("=", 1) for entry in (folder / "environ").read_text(encoding="utf-8").split("\0") if "=" in entry
            )
        except OSError:
            continue  # the process has ended meanwhile

        if ENV_POD_UID in environment:
            pods[environment[ENV_SEARCH_UID]].add(environment[ENV_POD_UID])
    return pods
