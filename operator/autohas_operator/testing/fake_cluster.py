"""A fake cluster in memory: an API server, and methods with which a test plays Job controller, kubelet and garbage collector.

`FakeApi` replaces a real API server where a test needs full control over order and failures. Versions, conflicts, the
status subresource, generations and foreground deletion behave as on a real one; it has no schemas, rights, admission
and watches. The control-plane tests run a whole search on a real one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

from autohas_api.base.names import LABEL_UID
from autohas_operator.client import CONFIG_MAPS, JOBS, PODS, SEARCHES, Page, Resource
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.informer import Informer
from autohas_operator.cluster.resync import refill
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import ConflictError, NotFoundError, OperatorError
from autohas_operator.metrics import Metrics
from autohas_operator.reconcile.events import EventRecorder
from autohas_operator.reconcile.reconciler import Reconciler
from autohas_operator.reconcile.warning_events import WarningEvents
from autohas_operator.reconcile.worker import attend
from autohas_operator.records.observed import Document, Key, Report
from autohas_operator.testing import builders
from autohas_operator.testing.documents import is_selected, merge, nth_order
from autohas_operator.token_bucket import TokenBucket
from autohas_operator.wording import timestamp

MAX_PASSES: Final = 100
"""Passes after which an operator that still has work is an endless loop."""


class KilledError(BaseException):
    """Kills the operator's process here; nothing may catch it."""


class RequestFault(Protocol):
    """A fault of requests: raises, or lets other tasks run first."""

    async def before(self, verb: str, plural: str) -> None:
        """Called before the request takes effect."""

    async def after(self, verb: str, plural: str) -> None:
        """Called after the request took effect and before its answer arrives."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Every request with this verb and plural fails with `error`."""

    verb: str
    plural: str
    error: OperatorError

    async def before(self, verb: str, plural: str) -> None:
        """Raise the error for a request of this kind."""
        if (verb, plural) == (self.verb, self.plural):
            raise self.error

    async def after(self, verb: str, plural: str) -> None:
        """Every answer arrives."""


class FakeApi:
    """`KubeClient` on a dict. `now_s` is the clock of the cluster; tests set it.

    `kill_at` n: the n-th write kills the operator, after it took effect or, with `kill_before`, before.
    `kill_in_phase`: the first status with this phase kills the operator. `fault` is called at every request.
    `refusals`: the error of every create, by plural. `suspends_jobs`: new Jobs are suspended, as by Kueue's webhook.
    """

    def __init__(self) -> None:
        self.now_s = builders.NOW_S
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.num_writes = 0
        self.kill_at: int | None = None
        self.kill_before = False
        self.refusals: dict[str, OperatorError] = {}
        self.suspends_jobs = False
        self.fault: RequestFault | None = None
        self.kill_in_phase = ""
        self.jobs_made: list[str] = []
        self._versions = count(100)

    async def get(self, resource: Resource, namespace: str, name: str) -> Document:
        """See `KubeClient`."""
        await self._begin("get", resource)
        return copy.deepcopy(self._find(resource, namespace, name))

    async def pages(
        self, resource: Resource, namespace: str | None, *, labels: str | None = None, fields: str | None = None
    ) -> AsyncIterator[Page]:
        """See `KubeClient`."""
        await self._begin("list", resource)
        involved = (fields or "").partition("involvedObject.uid=")[2].partition(",")[0]
        documents = [
            copy.deepcopy(document)
            for (plural, where, _), document in self.objects.items()
            if plural == resource.plural
            and namespace in (None, where)
            and is_selected(document, labels)
            and (not involved or document["involvedObject"]["uid"] == involved)
        ]
        yield Page(items=tuple(documents), resource_version=str(next(self._versions)))

    async def create(self, resource: Resource, namespace: str, document: Document) -> Document:
        """See `KubeClient`."""
        await self._begin("create", resource)
        if resource.plural in self.refusals:
            raise self.refusals[resource.plural]
        answer = self._write(lambda: self.add(resource, namespace, document))
        await self._end("create", resource)
        return answer

    async def replace_status(self, resource: Resource, document: Document) -> Document:
        """See `KubeClient`."""
        await self._begin("update", resource)
        metadata = document["metadata"]
        stored = self._find(resource, metadata["namespace"], metadata["name"])
        if metadata["resourceVersion"] != stored["metadata"]["resourceVersion"]:
            raise ConflictError(status=409, message="the object has been modified", request="PUT")

        def write() -> dict[str, Any]:
            stored["status"] = json.loads(json.dumps(document["status"]))
            return self.touch(stored)

        answer = self._write(write)
        if self.kill_in_phase and answer["status"]["phase"] == self.kill_in_phase:
            self.kill_in_phase = ""
            raise KilledError
        await self._end("update", resource)
        return answer

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Document) -> Document:
        """See `KubeClient`."""
        await self._begin("patch", resource)
        stored = self._find(resource, namespace, name)
        if patch.get("metadata", {}).get("uid", stored["metadata"]["uid"]) != stored["metadata"]["uid"]:
            raise ConflictError(status=409, message="the uid differs", request="PATCH")
        if patch.get("metadata", {}).get("resourceVersion", stored["metadata"]["resourceVersion"]) != stored["metadata"]["resourceVersion"]:
            raise ConflictError(status=409, message="the object has been modified", request="PATCH")

        def write() -> dict[str, Any]:
            merge(stored, patch)
            return self.touch(stored)

        return self._write(write)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """See `KubeClient`."""
        await self._begin("delete", resource)
        stored = self._find(resource, namespace, name)
        if stored["metadata"]["uid"] != uid:
            raise ConflictError(status=409, message="the uid differs", request="DELETE")

        def write() -> dict[str, Any]:
            stored["metadata"]["deletionTimestamp"] = timestamp(self.now_s)
            return self.touch(stored)

        self._write(write)
        await self._end("delete", resource)

    async def _begin(self, verb: str, resource: Resource) -> None:
        if self.fault is not None:
            await self.fault.before(verb, resource.plural)

    async def _end(self, verb: str, resource: Resource) -> None:
        if self.fault is not None:
            await self.fault.after(verb, resource.plural)

    # The changes of other controllers and of people: not counted as writes of the operator.

    def add(self, resource: Resource, namespace: str, document: Document) -> dict[str, Any]:
        """Store an object."""
        name = document["metadata"]["name"]
        key = (resource.plural, namespace, name)
        if key in self.objects:
            raise ConflictError(status=409, message=f"{resource.plural} {name} already exists", request="POST")
        stored = copy.deepcopy(dict(document))
        fresh = {"uid": f"uid-{next(self._versions):06d}", "creationTimestamp": timestamp(self.now_s), "generation": 1}
        stored["metadata"] = {**fresh, **stored["metadata"], "namespace": namespace}
        stored.setdefault("status", {})
        self.objects[key] = stored
        if resource is JOBS:
            self.jobs_made.append(name)
            stored["spec"] |= {"suspend": True} if self.suspends_jobs else {}
        return self.touch(stored)

    def touch(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Give an object its next version; returns a copy."""
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        return copy.deepcopy(stored)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Remove an object at once."""
        del self.objects[resource.plural, namespace, name]

    def edit(self, resource: Resource, namespace: str, name: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of an object
        """Replace top-level fields; a new spec increases the generation."""
        stored = self._find(resource, namespace, name)
        stored.update(copy.deepcopy(parts))
        if "spec" in parts:
            stored["metadata"]["generation"] += 1
        return self.touch(stored)

    def all(self, resource: Resource) -> tuple[dict[str, Any], ...]:
        """Every object of a kind, the oldest first."""
        return tuple(document for (plural, _, _), document in self.objects.items() if plural == resource.plural)

    def _find(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        try:
            return self.objects[resource.plural, namespace, name]
        except KeyError:
            raise NotFoundError(status=404, message=f"{name} not found", request="GET") from None

    def _write(self, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        is_last = self.kill_at == self.num_writes + 1
        if is_last and self.kill_before:
            self.num_writes += 1
            raise KilledError
        answer = write()
        self.num_writes += 1  # a refused write does not count
        if is_last:
            raise KilledError
        return answer


class Operator:
    """One process of the operator: cache, queue and reconciler on a fake cluster; watches deliver when `settle` is called."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.cache = Cache()
        self.metrics = Metrics()
        self.queue: WorkQueue[Key] = WorkQueue(lambda: api.now_s, lambda: 0.5)
        bucket = TokenBucket(rate_per_s=1000, burst=1000, clock=lambda: api.now_s)
        self.informer = Informer(self.cache, self.queue.add, self.metrics)
        self.events = EventRecorder(api, self.metrics, lambda: api.now_s, bucket, monotonic=lambda: api.now_s)
        self.warning_events = WarningEvents(api, lambda: api.now_s, monotonic=lambda: api.now_s)
        self.reconciler = Reconciler(
            api,
            self.cache,
            self.events,
            builders.PODS,
            lambda: api.now_s,
            warning_events=self.warning_events,
            metrics=self.metrics,
            monotonic=lambda: api.now_s,
        )

    async def settle(self) -> None:
        """Deliver all changes, and reconcile until no key is due."""
        for _ in range(MAX_PASSES):
            await self.watch()
            if not await self.work():
                return
        raise AssertionError("the operator does not come to rest")

    async def watch(self) -> None:
        """Deliver all changes to the cache; faults do not apply to watches."""
        fault, self.api.fault = self.api.fault, None
        await refill(self.api, self.informer, ())
        self.api.fault = fault

    async def work(self) -> bool:
        """Reconcile one key from the cache; False when no key is due."""
        key = self.queue.pop()
        if key is not None:
            await attend(key, self.queue, self.reconciler, self.metrics, lambda: self.api.now_s)
            self.queue.done(key)
            while await self.events.post_next():
                pass
        return key is not None

    def report(self, report: Report, key: Key) -> None:
        """Put a report into the cache, as the poller does."""
        self.cache.put_report(report)
        self.queue.add(key)


class FakeCluster:
    """A cluster with its operator; after a kill a new operator starts, as the kubelet would restart the container.

    `removal_order`: the order in which the pods of a deleted Job are removed (see `collect_garbage`); -1 is the newest first.
    """

    def __init__(self) -> None:
        self.api = FakeApi()
        self.removal_order = -1
        self.operator = Operator(self.api)
        self.num_restarts = 0

    async def settle(self) -> None:
        """Let the operator reconcile; when it is killed, start another one, which finishes."""
        try:
            await self.operator.settle()
        except KilledError:
            self.num_restarts += 1
            self.operator = Operator(self.api)
            await self.operator.settle()

    async def wait(self, seconds: float) -> None:
        """Advance the clock, then settle."""
        self.api.now_s += seconds
        await self.settle()

    def apply(self, search: Mapping[str, Any]) -> None:
        """Create a search, as a person does."""
        self.api.add(SEARCHES, search["metadata"]["namespace"], search)

    @property
    def search(self) -> dict[str, Any]:
        """The only search."""
        return self.api.all(SEARCHES)[0]

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        status: dict[str, Any] = self.search["status"]
        return status

    @property
    def job(self) -> dict[str, Any]:
        """The newest Job."""
        return self.api.all(JOBS)[-1]

    def put_pod(self, pod: Mapping[str, Any]) -> None:
        """Create a pod, or replace its status."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if ("pods", namespace, name) in self.api.objects:
            self.api.edit(PODS, namespace, name, status=pod["status"])
        else:
            self.api.add(PODS, namespace, pod)

    def edit_spec(self, **parts: Any) -> None:  # noqa: ANN401 - parts of a spec
        """Replace fields of the spec, as a person does."""
        metadata, spec = self.search["metadata"], self.search["spec"]
        self.api.edit(SEARCHES, metadata["namespace"], metadata["name"], spec={**spec, **parts})

    def annotate(self, annotations: Mapping[str, str]) -> None:
        """Replace the annotations of the search, as a person does."""
        metadata = self.search["metadata"]
        self.api.edit(SEARCHES, metadata["namespace"], metadata["name"], metadata={**metadata, "annotations": dict(annotations)})

    def suspend_job(self) -> None:
        """Suspend the Job, as a queue does that evicts it."""
        self._edit_job(suspend=True, condition={"type": "Suspended", "status": "True", "reason": "JobSuspended"})

    def resume_job(self) -> None:
        """Resume the Job, as a queue does that admits it."""
        self._edit_job(suspend=False, condition={"type": "Suspended", "status": "False", "reason": "JobResumed"})

    def _edit_job(self, *, suspend: bool, condition: Mapping[str, Any]) -> None:
        metadata, spec = self.job["metadata"], self.job["spec"]
        status = {**self.job["status"], "conditions": [{**condition, "lastTransitionTime": timestamp(self.api.now_s)}]}
        self.api.edit(JOBS, metadata["namespace"], metadata["name"], spec={**spec, "suspend": suspend}, status=status)

    def finish_job(self, *conditions: Mapping[str, Any]) -> None:
        """Give the newest Job its final conditions, as the Job controller does."""
        metadata = self.job["metadata"]
        self.api.edit(JOBS, metadata["namespace"], metadata["name"], status={"conditions": list(conditions)})

    async def collect_garbage(self) -> None:
        """Remove objects marked for deletion one by one, a Job after its pods (foreground deletion); the operator sees every step.

        `removal_order` is the number of the order among all orders of the Job's pods, counted from the oldest pod first.
        """
        for job in self.api.all(JOBS):
            if "deletionTimestamp" in job["metadata"]:
                pods = [pod for pod in self.api.all(PODS) if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]]
                for pod in nth_order(pods, self.removal_order):
                    await self._vanish(PODS, pod)
                await self._vanish(JOBS, job)
        for resource in (PODS, CONFIG_MAPS):
            for document in self.api.all(resource):
                if "deletionTimestamp" in document["metadata"]:
                    await self._vanish(resource, document)

    async def _vanish(self, resource: Resource, document: Mapping[str, Any]) -> None:
        """Remove one object, and let the operator see it."""
        self.api.remove(resource, document["metadata"]["namespace"], document["metadata"]["name"])
        await self.settle()

    def events(self) -> list[str]:
        """The reasons of all events, in order."""
        return [event["reason"] for (plural, _, _), event in self.api.objects.items() if plural == "events"]


def is_owned_by(document: Mapping[str, Any], uid: str) -> bool:
    """Whether the labels and the owner reference of an object name this search."""
    metadata = document["metadata"]
    is_labelled: bool = metadata["labels"][LABEL_UID] == uid
    return is_labelled and metadata["ownerReferences"][0]["uid"] == uid
