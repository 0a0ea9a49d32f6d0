"""The cache: one record per object, and for each search the report of the newest pod that has reported.

`handlers` (watch events) and `resync` (lists) fill it; `reconcile` and `poller` read it. All run in one event loop, so there are no
locks. Versions never decrease: an event that is older than the record is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeVar

from autohas_operator.lenient import get_text
from autohas_operator.records.observed import (
    Document,
    JobRecord,
    Key,
    Observed,
    PodRecord,
    Report,
    SearchRecord,
    job_record,
    pod_record,
    search_record,
)
from autohas_operator.records.pod_identity import difference

MAX_GONE: Final = 20_000
"""Deleted uids that are remembered, the newest ones: a list or read that is in flight takes seconds, not thousands of deletions."""
_MAX_DIGITS: Final = 20
"""Digits of a resource version, which is an unsigned number of 64 bits."""


class _Record(Protocol):
    @property
    def key(self) -> Key: ...
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


R = TypeVar("R", bound=_Record)


class _Kind(dict[str, R]):
    """Records of one kind by uid; children also by search."""

    def __init__(self) -> None:
        super().__init__()
        self.by_key: dict[Key, set[str]] = {}
        self._gone: dict[str, float] = {}

    def put(self, record: R) -> bool:
        """Store a record; returns False if it is not newer than the stored one, or the object is gone: a late answer must not revive it."""
        previous, new_version = self.get(record.uid), version(record.resource_version)
        if new_version <= self._gone.get(record.uid, -1) or (previous is not None and version(previous.resource_version) >= new_version):
            return False
        if previous is not None:
            self._remove_from_key(previous)  # the label that names the search may have changed
        self[record.uid] = record
        self.by_key.setdefault(record.key, set()).add(record.uid)
        return True

    def forget(self, uid: str, at: int = 0) -> R | None:
        """Remove a record; only a version newer than `at` (0: none) stores the object again.

        A watch also reports an object as deleted that has lost the selected label; such an object may come back.
        """
        self._gone[uid] = at or math.inf
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]
        record = self.pop(uid, None)
        if record is not None:
            self._remove_from_key(record)
        return record

    def _remove_from_key(self, record: R) -> None:
        """Remove a record from those of its search."""
        uids = self.by_key.get(record.key, set())
        uids.discard(record.uid)
        if not uids:
            self.by_key.pop(record.key, None)

    def of(self, key: Key) -> tuple[R, ...]:
        """The records of one search."""
        return tuple(self[uid] for uid in self.by_key.get(key, ()) if uid in self)


def version(word: str) -> int:
    """A resource version as a number, 0 if it is none. Source: Kubernetes API concepts define the order since 1.35; etcd has it before."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS else 0


class Cache:
    """The last known searches, Jobs, pods and reports."""

    def __init__(self, ended: Callable[[PodRecord], None] = lambda _: None, injected_mounts: tuple[str, ...] = ()) -> None:
        """`ended` is called once for each running trainer that ends; `injected_mounts` are the folders where webhooks mount volumes."""
        self._ended = ended
        self._injected_mounts = injected_mounts
        self.searches: _Kind[SearchRecord] = _Kind()
        self.jobs: _Kind[JobRecord] = _Kind()
        self.pods: _Kind[PodRecord] = _Kind()
        self.reports: dict[str, Report] = {}
        self._reporters: dict[str, tuple[float, str]] = {}

    def put_search(self, document: Document) -> Key | None:
        """Store a search; returns its key if a pass is due (not after the operator's own status writes)."""
        record = search_record(document)
        previous = self.search(record.key)
        if previous is not None and previous.uid != record.uid:
            if _age(record) < _age(previous):
                self.searches.forget(record.uid)  # an interrupted watch delivers old events: the name belongs to the younger search
                return None
            self.searches.forget(previous.uid)
        if not self.searches.put(record):
            return None
        is_same = previous is not None and _without_version(previous) == _without_version(record)
        return None if is_same else record.key

    def put_job(self, document: Document) -> Key | None:
        """Store a Job; remove one that no longer has our labels."""
        record = job_record(document)
        if record is None:
            return _key_of(self._forget_unlabelled(self.jobs, document))
        return record.key if self.jobs.put(record) else None

    def put_pod(self, document: Document) -> Key | None:
        """Store a pod; remove one that no longer has our labels."""
        record = pod_record(document)
        if record is None:
            return _key_of(self._forget_unlabelled(self.pods, document))
        previous = self.pods.get(record.uid)
        if not self.pods.put(record):
            return None
        if previous is not None and previous.end is None and record.end is not None:
            self._ended(record)
        return record.key

    def put_report(self, report: Report) -> bool:
        """Store the report of a pod; returns False if it is older than the search's newest report.

        The pods of a search run one after the other and disappear in any order: once a pod has reported, reports of its predecessors
        are obsolete. Reports of one pod are ordered by the active time of its trainer.
        """
        pod = self.pods.get(report.pod_uid)
        if pod is None:
            return False
        rank, newest = _rank(pod), self._reporters.get(pod.search_uid)
        if (newest is not None and rank < newest) or _worked_s(report) < _worked_s(self.reports.get(pod.uid)):
            return False
        if newest != rank:
            for earlier in self.pods.of(pod.key):
                if earlier.search_uid == pod.search_uid:
                    self.reports.pop(earlier.uid, None)
            self._reporters[pod.search_uid] = rank
        self.reports[pod.uid] = report
        return True

    def forget(self, document: Document) -> Key | None:
        """Remove a deleted object; returns the key of its search."""
        metadata = document["metadata"]
        uid, at = metadata["uid"], version(get_text(metadata, "resourceVersion"))
        self.reports.pop(uid, None)
        self._reporters.pop(uid, None)
        return _key_of(self.searches.forget(uid, at) or self.jobs.forget(uid, at) or self.pods.forget(uid, at))

    def _forget_unlabelled(self, kind: _Kind[R], document: Document) -> R | None:
        """Remove a child that has lost our labels."""
        metadata = document["metadata"]
        previous, new_version = kind.get(metadata["uid"]), version(get_text(metadata, "resourceVersion"))
        is_newer = previous is not None and version(previous.resource_version) < new_version
        return kind.forget(previous.uid, new_version) if previous is not None and is_newer else None

    def is_trainer(self, pod: PodRecord) -> bool:
        """Whether a pod is as described by the Job in its search's status; labels prove nothing, since every user can write them."""
        job, search = self.jobs.get(pod.job_uid), self.searches.get(pod.search_uid)
        return job is not None and search is not None and self._speaks_for(pod, job, search)

    def _speaks_for(self, pod: PodRecord, job: JobRecord, search: SearchRecord) -> bool:
        is_noted = job.uid == search.job_uid and job.search_uid == search.uid
        return is_noted and difference(pod.template, job.template, self._injected_mounts) is None

    def search(self, key: Key) -> SearchRecord | None:
        """The search of this name."""
        return next(iter(self.searches.of(key)), None)

    def observe(self, key: Key) -> Observed | None:
        """The records of a search, its Jobs and its pods."""
        search = self.search(key)
        if search is None:
            return None
        return self.view(search, self.jobs.of(key), self.pods.of(key), is_fresh=False)

    def view(self, search: SearchRecord, jobs: tuple[JobRecord, ...], pods: tuple[PodRecord, ...], *, is_fresh: bool) -> Observed:
        """These records, with the report of the newest pod that has one."""
        newest_first = sorted(pods, key=_rank, reverse=True)
        own_jobs = {job.uid: job for job in jobs}
        own = (pod for pod in newest_first if pod.job_uid in own_jobs and self._speaks_for(pod, own_jobs[pod.job_uid], search))
        report = next((self.reports[pod.uid] for pod in own if pod.uid in self.reports), None)
        return Observed(search=search, jobs=jobs, pods=pods, report=report, is_fresh=is_fresh)

    def all_keys(self) -> Iterator[Key]:
        """The keys of all searches."""
        return iter(tuple(self.searches.by_key))

    def forget_unlisted(self, kind: _Kind[R], listed: set[str], list_version: int, namespace: str | None = None) -> set[Key]:
        """Remove the records of `kind` that a complete list (uids) of a namespace (None: of all) lacks; a watch may miss a deletion."""
        gone = [
            uid
            for uid, record in kind.items()
            if uid not in listed and version(record.resource_version) <= list_version and namespace in (None, record.key.namespace)
        ]
        for uid in gone:
            self.reports.pop(uid, None)
            self._reporters.pop(uid, None)
        return {record.key for uid in gone if (record := kind.forget(uid, list_version)) is not None}


def _key_of(record: _Record | None) -> Key | None:
    return None if record is None else record.key


def _rank(pod: PodRecord) -> tuple[float, str]:
    """Sort key of the pods of a search: a pod is created after its predecessor has ended."""
    return pod.created_s, pod.name


def _worked_s(report: Report | None) -> float:
    """The active time of the search at a report, in seconds; -1 without progress."""
    return -1.0 if report is None or report.progress is None else report.progress.active_seconds


def _age(record: SearchRecord) -> tuple[int, float]:
    """Sort key of two searches of one name: the later one was created after the earlier one was gone."""
    return version(record.resource_version), record.created_s


def _without_version(record: SearchRecord) -> tuple[object, ...]:
    """The parts of a search whose change needs a pass: not the version, and not the status, which only the operator writes."""
    return (record.uid, record.generation, record.is_deleting, record.document, record.queue_hash, record.is_paused)
