"""A world in memory for tests: an API server with a Job controller, kubelet and garbage collector that do as told.

`FakeApi` stands in for a real API server where a test needs full control over order and failures: versions, conflicts,
the status subresource, generations and foreground deletion are as on a real one; schemas, rights, admission and
watches are not there. The control-plane level runs the same life on a real one.
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
from autohas_operator.cluster.informer import Intake
from autohas_operator.cluster.resync import refill
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import ConflictError, NotFoundError, OperatorError
from autohas_operator.metrics import Metrics
from autohas_operator.rate_limit import TokenBucket
from autohas_operator.reconcile.events import EventRecorder
from autohas_operator.reconcile.reconciler import Reconciler
from autohas_operator.reconcile.warning_events import Explanations
from autohas_operator.reconcile.worker import attend
from autohas_operator.records.observed import Document, Key, Report
from autohas_operator.testing import builders
from autohas_operator.testing.documents import is_selected, merge, nth_order
from autohas_operator.wording import timestamp

MAX_PASSES: Final = 100
"""More passes than this without rest are an endless loop."""


class KilledError(BaseException):
    """The operator's process ends here; nothing may catch it."""


class Trouble(Protocol):
    """What may befall a request: raise, or let others go first."""

    async def before(self, verb: str, plural: str) -> None:
        """The request is about to arrive."""

    async def after(self, verb: str, plural: str) -> None:
        """The request was served, its answer is about to leave."""


@dataclass(frozen=True, slots=True)
class Refusing:
    """Every request of one kind ends with an error."""

    verb: str
    plural: str
    error: OperatorError

    async def before(self, verb: str, plural: str) -> None:
        """Refuse, or let pass."""
        if (verb, plural) == (self.verb, self.plural):
            raise self.error

    async def after(self, verb: str, plural: str) -> None:
        """Nothing is lost on the way back."""


class FakeApi:
    """`KubeClient` on a dict. `now_s` is the world's clock; tests set it.

    `kill_at` n: the n-th write from now ends the operator, after it was done or, with `kill_before`, before.
    `kill_in_phase`: the first status with it ends the operator too. `trouble` is asked at every request.
    `refusals`: an error raised at every create of a plural. `suspends_jobs`: as Kueue's webhook does.
    """

    def __init__(self) -> None:
        self.now_s = builders.NOW_S
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.num_writes = 0
        self.kill_at: int | None = None
        self.kill_before = False
        self.refusals: dict[str, OperatorError] = {}
        self.suspends_jobs = False
        self.trouble: Trouble | None = None
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
        found = [
            copy.deepcopy(document)
            for (plural, where, _), document in self.objects.items()
            if plural == resource.plural
            and namespace in (None, where)
            and is_selected(document, labels)
            and (not involved or document["involvedObject"]["uid"] == involved)
        ]
        yield Page(items=tuple(found), resource_version=str(next(self._versions)))

    async def create(self, resource: Resource, namespace: str, document: Document) -> Document:
        """See `KubeClient`."""
        await self._begin("create", resource)
        if resource.plural in self.refusals:
            raise self.refusals[resource.plural]
        answer = self._written(lambda: self.add(resource, namespace, document))
        await self._end("create", resource)
        return answer

    async def replace_status(self, resource: Resource, document: Document) -> Document:
        """See `KubeClient`."""
        await self._begin("update", resource)
        metadata = document["metadata"]
        found = self._find(resource, metadata["namespace"], metadata["name"])
        if metadata["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise ConflictError(status=409, message="the object has been modified", request="PUT")

        def write() -> dict[str, Any]:
            found["status"] = json.loads(json.dumps(document["status"]))
            return self.touch(found)

        answer = self._written(write)
        if self.kill_in_phase and answer["status"]["phase"] == self.kill_in_phase:
            self.kill_in_phase = ""
            raise KilledError
        await self._end("update", resource)
        return answer

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Document) -> Document:
        """See `KubeClient`."""
        await self._begin("patch", resource)
        found = self._find(resource, namespace, name)
        if patch.get("metadata", {}).get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            raise ConflictError(status=409, message="the uid differs", request="PATCH")
        if patch.get("metadata", {}).get("resourceVersion", found["metadata"]["resourceVersion"]) != found["metadata"]["resourceVersion"]:
            raise ConflictError(status=409, message="the object has been modified", request="PATCH")

        def write() -> dict[str, Any]:
            merge(found, patch)
            return self.touch(found)

        return self._written(write)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """See `KubeClient`."""
        await self._begin("delete", resource)
        found = self._find(resource, namespace, name)
        if found["metadata"]["uid"] != uid:
            raise ConflictError(status=409, message="the uid differs", request="DELETE")

        def write() -> dict[str, Any]:
            found["metadata"]["deletionTimestamp"] = timestamp(self.now_s)
            return self.touch(found)

        self._written(write)
        await self._end("delete", resource)

    async def _begin(self, verb: str, resource: Resource) -> None:
        if self.trouble is not None:
            await self.trouble.before(verb, resource.plural)

    async def _end(self, verb: str, resource: Resource) -> None:
        if self.trouble is not None:
            await self.trouble.after(verb, resource.plural)

    # What other parts of a cluster, and people, do: not counted as the operator's writes.

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
        """An object is gone."""
        del self.objects[resource.plural, namespace, name]

    def edit(self, resource: Resource, namespace: str, name: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of an object
        """Replace top-level parts; a new spec is a new generation."""
        found = self._find(resource, namespace, name)
        found.update(copy.deepcopy(parts))
        if "spec" in parts:
            found["metadata"]["generation"] += 1
        return self.touch(found)

    def all(self, resource: Resource) -> tuple[dict[str, Any], ...]:
        """Every object of a kind, the oldest first."""
        return tuple(document for (plural, _, _), document in self.objects.items() if plural == resource.plural)

    def _find(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        try:
            return self.objects[resource.plural, namespace, name]
        except KeyError:
            raise NotFoundError(status=404, message=f"{name} not found", request="GET") from None

    def _written(self, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        is_last = self.kill_at == self.num_writes + 1
        if is_last and self.kill_before:
            self.num_writes += 1
            raise KilledError
        answer = write()
        self.num_writes += 1  # a refused write is none
        if is_last:
            raise KilledError
        return answer


class Operator:
    """One process of the operator: cache, queue and reconciler over a world; watches deliver when `settle` is called."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.cache = Cache()
        self.metrics = Metrics()
        self.queue: WorkQueue[Key] = WorkQueue(lambda: api.now_s, lambda: 0.5)
        bucket = TokenBucket(rate_per_s=1000, burst=1000, clock=lambda: api.now_s)
        self.intake = Intake(self.cache, self.queue.add, self.metrics)
        self.events = EventRecorder(api, self.metrics, lambda: api.now_s, bucket, monotonic=lambda: api.now_s)
        self.explanations = Explanations(api, lambda: api.now_s, monotonic=lambda: api.now_s)
        self.reconciler = Reconciler(
            api,
            self.cache,
            self.events,
            builders.PODS,
            lambda: api.now_s,
            explanations=self.explanations,
            metrics=self.metrics,
            monotonic=lambda: api.now_s,
        )

    async def settle(self) -> None:
        """Deliver everything that happened, and work until nothing is left to do now."""
        for _ in range(MAX_PASSES):
            await self.hear()
            if not await self.work():
                return
        raise AssertionError("the operator does not come to rest")

    async def hear(self) -> None:
        """The watches say what happened; they are no requests that trouble could befall."""
        trouble, self.api.trouble = self.api.trouble, None
        await refill(self.api, self.intake, ())
        self.api.trouble = trouble

    async def work(self) -> bool:
        """One pass on what the cache knows; False when there was nothing to do."""
        key = self.queue.pop()
        if key is not None:
            await attend(key, self.queue, self.reconciler, self.metrics, lambda: self.api.now_s)
            self.queue.done(key)
            while await self.events.post_next():
                pass
        return key is not None

    def report(self, report: Report, key: Key) -> None:
        """The poller has read a trainer."""
        self.cache.put_report(report)
        self.queue.add(key)


class World:
    """A cluster and its operator; a kill is followed by a new operator, as the kubelet would start one.

    `removal_order`: in which order the pods of a deleted Job go (see `collect_garbage`); -1 is the newest first.
    """

    def __init__(self) -> None:
        self.api = FakeApi()
        self.removal_order = -1
        self.operator = Operator(self.api)
        self.num_restarts = 0

    async def settle(self) -> None:
        """Let the operator work; when it is killed, start another, which finishes the work."""
        try:
            await self.operator.settle()
        except KilledError:
            self.num_restarts += 1
            self.operator = Operator(self.api)
            await self.operator.settle()

    async def wait(self, seconds: float) -> None:
        """Time passes."""
        self.api.now_s += seconds
        await self.settle()

    def apply(self, search: Mapping[str, Any]) -> None:
        """A person applies a search."""
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
        """A pod appears or changes."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if ("pods", namespace, name) in self.api.objects:
            self.api.edit(PODS, namespace, name, status=pod["status"])
        else:
            self.api.add(PODS, namespace, pod)

    def edit_spec(self, **parts: Any) -> None:  # noqa: ANN401 - parts of a spec
        """A person edits the search."""
        metadata, spec = self.search["metadata"], self.search["spec"]
        self.api.edit(SEARCHES, metadata["namespace"], metadata["name"], spec={**spec, **parts})

    def annotate(self, annotations: Mapping[str, str]) -> None:
        """A person sets the annotations of the search."""
        metadata = self.search["metadata"]
        self.api.edit(SEARCHES, metadata["namespace"], metadata["name"], metadata={**metadata, "annotations": dict(annotations)})

    def suspend_job(self) -> None:
        """A queue takes its quota back; the Job controller deletes the pods."""
        self._edit_job(suspend=True, condition={"type": "Suspended", "status": "True", "reason": "JobSuspended"})

    def resume_job(self) -> None:
        """A queue admits the Job."""
        self._edit_job(suspend=False, condition={"type": "Suspended", "status": "False", "reason": "JobResumed"})

    def _edit_job(self, *, suspend: bool, condition: Mapping[str, Any]) -> None:
        metadata, spec = self.job["metadata"], self.job["spec"]
        status = {**self.job["status"], "conditions": [{**condition, "lastTransitionTime": timestamp(self.api.now_s)}]}
        self.api.edit(JOBS, metadata["namespace"], metadata["name"], spec={**spec, "suspend": suspend}, status=status)

    def finish_job(self, *conditions: Mapping[str, Any]) -> None:
        """The Job controller ends the newest Job."""
        metadata = self.job["metadata"]
        self.api.edit(JOBS, metadata["namespace"], metadata["name"], status={"conditions": list(conditions)})

    async def collect_garbage(self) -> None:
        """Objects marked for deletion go one by one, a Job after its pods (foreground deletion); the operator sees every step.

        The pods of a Job go in the order that `removal_order` numbers among all orders of its pods, from the oldest.
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
        """One object is gone, and the operator sees it."""
        self.api.remove(resource, document["metadata"]["namespace"], document["metadata"]["name"])
        await self.settle()

    def events(self) -> list[str]:
        """Reasons of all events, in order."""
        return [event["reason"] for (plural, _, _), event in self.api.objects.items() if plural == "events"]


def owned_by(document: Mapping[str, Any], uid: str) -> bool:
    """Whether an object's labels and owner name this search."""
    metadata = document["metadata"]
    is_labelled: bool = metadata["labels"][LABEL_UID] == uid
    return is_labelled and metadata["ownerReferences"][0]["uid"] == uid
