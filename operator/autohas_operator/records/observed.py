"""Objects of the cluster trimmed to records, and one search's view of them. Pure.

A record holds only what `plan` needs, so that thousands of searches fit into memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from autohas_api.base.digest import canonical, sha256
from autohas_api.base.names import (
    ANNOTATION_FAILURES_BEFORE,
    ANNOTATION_INTERRUPTIONS_BEFORE,
    ANNOTATION_PAUSED,
    ANNOTATION_QUEUE_HASH,
    ANNOTATION_SPEC_HASH,
    ANNOTATION_STARTS_BEFORE,
    ANNOTATION_STEP_BEFORE,
    ANNOTATION_TOUCHED_AT,
    API_VERSION,
    KIND,
    LABEL_ATTEMPT,
    LABEL_QUEUE,
    LABEL_SEARCH,
    LABEL_UID,
    QUEUE_PREFIXES,
)
from autohas_api.wire.messages import Progress
from autohas_operator.errors import Blocker
from autohas_operator.lenient import get_int, get_object, get_objects, get_optional_int, get_text
from autohas_operator.records.containers import (
    End,
    InitContainer,
    current_init_container,
    end_of,
    init_ended_s,
    list_living,
    metrics_port,
    read_waiting,
    trainer_in,
)
from autohas_operator.records.metadata import controller_of, read_count, read_number, resumed_s, true_conditions
from autohas_operator.records.pod_identity import PodIdentity, PodTemplate, identity_in, pod_spec_in, pod_template
from autohas_operator.wording import epoch

Document: TypeAlias = Mapping[str, Any]
"""An object as the API server sends it."""
_USUAL_GRACE_S: Final = 30
_USUAL_BACKOFF_LIMIT: Final = 6
"""Default of Kubernetes."""
MUTABLE_SPEC: Final = ("suspend", "failurePolicy", "cleanup", "monitoring")
"""Parts of the spec that may change while a search runs; the hash of the spec leaves them out."""


class Key(NamedTuple):
    """Key of one search in queue and cache."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """A search; `document` and `status` are canonical JSON. Its Jobs get `queue_labels` and `queue_annotations` for Kueue.

    `job_uid`: uid of the newest Job, as the operator noted it in status; empty before the first Job.
    """

    key: Key
    uid: str
    resource_version: str
    generation: int
    created_s: float
    is_deleting: bool
    is_paused: bool
    document: str
    spec_hash: str
    queue_labels: tuple[tuple[str, str], ...]
    queue_annotations: tuple[tuple[str, str], ...]
    status: str
    job_uid: str

    @property
    def queue_hash(self) -> str:
        """Hash of the labels and annotations that its Jobs get for Kueue."""
        return sha256([dict(self.queue_labels), dict(self.queue_annotations)])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """Reason and message of a failed Job."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A trainer Job; `search_uid` is the uid of its controller, empty if that is not a search.

    `attempt` is read from its name, which is immutable; 0 if that is not the name of a search's child.
    `queue`: name of its Kueue queue, empty without one; `resumed_s`: when it was last resumed after a suspension;
    `touched_s`: when the operator last annotated it; `ttl_s`: its `ttlSecondsAfterFinished`.
    `lost_pods`: uids of its lost pods, as noted in status (see `recognition`).
    """

    key: Key
    name: str
    uid: str
    resource_version: str
    search_uid: str
    attempt: int
    spec_hash: str
    image: str
    template: PodTemplate
    identity: PodIdentity
    created_s: float
    is_deleting: bool
    is_suspended: bool
    resumed_s: float | None
    touched_s: float | None
    ttl_s: int | None
    queue: str
    queue_hash: str
    is_complete: bool
    failure: JobFailure | None
    num_failed: int
    backoff_limit: int
    starts_before: int
    step_before: int
    interruptions_before: int
    failures_before: int
    lost_pods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """A trainer pod; `waiting` is (reason, message) of a trainer that cannot start, `grace_s` its termination grace period.

    `init` is the init container that keeps the trainer waiting, `init_ended_s` when the last one before it ended.

    `ready_s`: when its trainer began to work, that is, when its startup probe passed.
    `reason` and `message`: why the pod as a whole failed. `living`: other running containers, for example the proxy of a mesh.
    """

    key: Key
    name: str
    uid: str
    resource_version: str
    search_uid: str
    job_uid: str
    template: PodTemplate
    attempt: int
    created_s: float
    scheduled_s: float | None
    deletion_s: float | None
    grace_s: float
    phase: str
    address: str
    port: int
    node: str
    unschedulable: str | None
    disruption: str | None
    waiting: tuple[str, str] | None
    is_running: bool
    is_started: bool
    end: End | None
    ready_s: float | None = None
    reason: str = ""
    message: str = ""
    living: tuple[str, ...] = ()
    init: InitContainer | None = None
    init_ended_s: float | None = None

    @property
    def last_end(self) -> End | None:
        """How the pod's work ended: the end of its trainer, else that of the init container for which it failed."""
        return self.init.end if self.end is None and self.init is not None and self.init.has_failed else self.end

    @property
    def is_outlived(self) -> bool:
        """Whether the trainer has ended while another container still runs: the Job controller does not count that end yet."""
        return self.end is not None and not self.is_over and bool(self.living)

    @property
    def is_over(self) -> bool:
        """Whether the pod is in a terminal phase: no container of it runs or will run."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The newest answers of one pod: the last valid `progress`, and the number of `misses` since then.

    `is_early`: the misses date from before the startup probe passed, while a trainer that imports torch cannot answer yet.
    """

    pod_uid: str
    time_s: float
    progress: Progress | None
    misses: int = 0
    problem: str = ""
    is_version_skew: bool = False
    is_early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEvent:
    """The newest warning event about a child that does not progress, and its time."""

    reason: str
    message: str
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredPod:
    """A pod that is not what its Job describes, and the difference."""

    pod: PodRecord
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The input of one pass. `is_fresh`: read from the API server for this pass, not from the cache.

    `ignored`: pods of the Job that are not recognized (see `recognition`). `taken`: attempts whose names belong to other objects.
    """

    search: SearchRecord
    jobs: tuple[JobRecord, ...]
    pods: tuple[PodRecord, ...]
    report: Report | None = None
    warning: WarningEvent | None = None
    blocker: Blocker | None = None
    is_fresh: bool = False
    ignored: tuple[IgnoredPod, ...] = ()
    taken: frozenset[int] = frozenset()

    @property
    def own_jobs(self) -> tuple[JobRecord, ...]:
        """The Jobs with the search as controller and a name of its attempts, oldest first; `recognition` tells who created them."""
        ours = (job for job in self.jobs if job.search_uid == self.search.uid and job.name == child_name(self.search, job.attempt))
        return tuple(sorted(ours, key=lambda job: job.attempt))

    @property
    def job(self) -> JobRecord | None:
        """The Job that is noted in status, else the newest one of `own_jobs`."""
        ours = self.own_jobs
        return next((job for job in ours if job.uid == self.search.job_uid), ours[-1] if ours else None)

    def pods_of(self, job: JobRecord) -> tuple[PodRecord, ...]:
        """The pods of a Job, oldest first."""
        return tuple(sorted((pod for pod in self.pods if pod.job_uid == job.uid), key=lambda pod: (pod.created_s, pod.name)))


def child_name(record: SearchRecord, attempt: int) -> str:
    """`<name>-<uid8>-<attempt>`, the name of both ConfigMap and Job."""
    return f"{record.key.name}-{record.uid[:8]}-{attempt}"


def search_record(document: Document) -> SearchRecord:
    """Trim a search."""
    metadata, spec, status = document["metadata"], get_object(document, "spec"), get_object(document, "status")
    key, labels = Key(metadata["namespace"], metadata["name"]), get_object(metadata, "labels")
    generation = get_int(metadata, "generation", 0)
    kept = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": metadata["uid"], "generation": generation},
        "spec": spec,
    }
    return SearchRecord(
        key=key,
        uid=metadata["uid"],
        resource_version=get_text(metadata, "resourceVersion"),
        generation=generation,
        created_s=epoch(metadata.get("creationTimestamp")) or 0.0,
        is_deleting="deletionTimestamp" in metadata,
        is_paused=get_text(get_object(metadata, "annotations"), ANNOTATION_PAUSED, "false") != "false",
        document=canonical(kept),
        spec_hash=sha256({name: value for name, value in spec.items() if name not in MUTABLE_SPEC}),
        queue_labels=_select_kueue(labels),
        queue_annotations=_select_kueue(get_object(metadata, "annotations")),
        status=canonical(status),
        job_uid=get_text(status, "jobUid"),
    )


def _select_kueue(written: Document) -> tuple[tuple[str, str], ...]:
    """The labels or annotations of a search that Kueue reads from its Jobs."""
    return tuple((name, get_text(written, name)) for name in sorted(written) if name.startswith(QUEUE_PREFIXES))


def search_document(record: SearchRecord) -> dict[str, Any]:
    """The search as its author wrote it, with uid and generation; a new dict at every call."""
    document: dict[str, Any] = json.loads(record.document)
    return document


def job_record(document: Document) -> JobRecord | None:
    """Trim a Job; None when it does not carry our labels."""
    metadata, spec, status = document["metadata"], get_object(document, "spec"), get_object(document, "status")
    labels, owner, annotations = get_object(metadata, "labels"), controller_of(metadata), get_object(metadata, "annotations")
    search_uid = get_text(owner, "uid") if owner.get("kind") == KIND else ""
    search = get_text(owner, "name") if search_uid else get_text(labels, LABEL_SEARCH)
    if not search or LABEL_UID not in labels:
        return None
    return JobRecord(
        key=Key(metadata["namespace"], search),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=get_text(metadata, "resourceVersion"),
        search_uid=search_uid,
        attempt=read_number(get_text(metadata, "name").rpartition("-")[2]),
        spec_hash=get_text(annotations, ANNOTATION_SPEC_HASH),
        image=get_text(trainer_in(pod_spec_in(document), "containers"), "image"),
        template=pod_template(pod_spec_in(document)),
        identity=identity_in(document),
        created_s=epoch(metadata.get("creationTimestamp")) or 0.0,
        is_deleting="deletionTimestamp" in metadata,
        is_suspended=spec.get("suspend") is True,
        resumed_s=resumed_s(status),
        touched_s=epoch(annotations.get(ANNOTATION_TOUCHED_AT)),
        ttl_s=get_optional_int(spec, "ttlSecondsAfterFinished"),
        queue=get_text(labels, LABEL_QUEUE),
        queue_hash=get_text(annotations, ANNOTATION_QUEUE_HASH),
        is_complete="Complete" in true_conditions(status),
        failure=_failure(status),
        num_failed=get_int(status, "failed", 0),
        backoff_limit=get_int(spec, "backoffLimit", _USUAL_BACKOFF_LIMIT),
        starts_before=read_count(annotations, ANNOTATION_STARTS_BEFORE),
        step_before=read_count(annotations, ANNOTATION_STEP_BEFORE),
        interruptions_before=read_count(annotations, ANNOTATION_INTERRUPTIONS_BEFORE),
        failures_before=read_count(annotations, ANNOTATION_FAILURES_BEFORE),
    )


def pod_record(document: Document) -> PodRecord | None:
    """Trim a pod; None when it does not carry our labels."""
    metadata, spec, status = document["metadata"], get_object(document, "spec"), get_object(document, "status")
    labels, owner = get_object(metadata, "labels"), controller_of(metadata)
    if not get_text(labels, LABEL_SEARCH) or LABEL_UID not in labels:
        return None
    container = trainer_in(status, "containerStatuses")
    state = get_object(container, "state")
    conditions = true_conditions(status)
    return PodRecord(
        key=Key(metadata["namespace"], labels[LABEL_SEARCH]),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=get_text(metadata, "resourceVersion"),
        search_uid=get_text(labels, LABEL_UID),
        job_uid=get_text(owner, "uid") if owner.get("kind") == "Job" else "",
        template=pod_template(spec),
        attempt=read_count(labels, LABEL_ATTEMPT),
        created_s=epoch(metadata.get("creationTimestamp")) or 0.0,
        scheduled_s=epoch(conditions.get("PodScheduled", {}).get("lastTransitionTime")),
        deletion_s=epoch(metadata.get("deletionTimestamp")),
        grace_s=get_int(spec, "terminationGracePeriodSeconds", _USUAL_GRACE_S),
        phase=get_text(status, "phase", "Pending"),
        address=get_text(status, "podIP"),
        port=metrics_port(spec),
        node=get_text(spec, "nodeName"),
        unschedulable=_read_unschedulable(status),
        disruption=get_text(conditions["DisruptionTarget"], "message") if "DisruptionTarget" in conditions else None,
        waiting=read_waiting(state),
        is_running="running" in state,
        is_started=container.get("started") is True,
        end=end_of(state),
        ready_s=epoch(conditions.get("Ready", {}).get("lastTransitionTime")),
        reason=get_text(status, "reason"),
        message=get_text(status, "message"),
        living=list_living(status),
        init=current_init_container(spec, status),
        init_ended_s=init_ended_s(status),
    )


def _read_unschedulable(status: Document) -> str | None:
    """Why the scheduler finds no node; None where it has said no such thing."""
    conditions = get_objects(status, "conditions")
    is_unschedulable = (c for c in conditions if c.get("type") == "PodScheduled" and c.get("reason") == "Unschedulable")
    return next((get_text(condition, "message") for condition in is_unschedulable), None)


def _failure(status: Document) -> JobFailure | None:
    conditions = true_conditions(status)
    failed = conditions.get("Failed") or conditions.get("FailureTarget")
    return None if failed is None else JobFailure(reason=get_text(failed, "reason"), message=get_text(failed, "message"))
