"""What the watches have said so far: one record per object, and of each search the report of the newest pod that gave one.

Filled by `handlers` (events) and `resync` (lists), read by `reconcile` and `poller`; all in one event loop, no locks.
Versions never go back: an event that is older than what is known is dropped.
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
from autohas_operator.records.pod_template import difference

MAX_GONE: Final = 20_000
"""Uids remembered as gone, the newest: a list or a read that was on its way takes seconds, not thousands of deletions."""
_MAX_DIGITS: Final = 20
"""Of a resource version: an unsigned number of 64 bits."""


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
        """Remember; False when something as new is known, or that it is gone: a slow answer must not bring it back."""
        known, seen = self.get(record.uid), version(record.resource_version)
        if seen <= self._gone.get(record.uid, -1) or (known is not None and version(known.resource_version) >= seen):
            return False
        if known is not None:
            self._leave(known)  # a label that names the search may have been changed
        self[record.uid] = record
        self.by_key.setdefault(record.key, set()).add(record.uid)
        return True

    def forget(self, uid: str, at: int = 0) -> R | None:
        """Drop one record; only what is younger than version `at` (0: nothing) brings it back.

        A watch also calls deleted what has lost the label that it selects by, and that may come again.
        """
        self._gone[uid] = at or math.inf
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]
        record = self.pop(uid, None)
        if record is not None:
            self._leave(record)
        return record

    def _leave(self, record: R) -> None:
        """Take a record away from its search."""
        uids = self.by_key.get(record.key, set())
        uids.discard(record.uid)
        if not uids:
            self.by_key.pop(record.key, None)

    def of(self, key: Key) -> tuple[R, ...]:
        """The records of one search."""
        return tuple(self[uid] for uid in self.by_key.get(key, ()) if uid in self)


def version(word: str) -> int:
    """Resource versions of one kind are ordered numbers (Source: Kubernetes API concepts, since 1.35; true of etcd before)."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS else 0


class Cache:
    """Searches, Jobs and pods as last seen."""

    def __init__(self, ended: Callable[[PodRecord], None] = lambda _: None, injected_mounts: tuple[str, ...] = ()) -> None:
        """`ended` is called once for each trainer that was seen alive and then ended; `injected_mounts` are those of webhooks."""
        self._ended = ended
        self._injected_mounts = injected_mounts
        self.searches: _Kind[SearchRecord] = _Kind()
        self.jobs: _Kind[JobRecord] = _Kind()
        self.pods: _Kind[PodRecord] = _Kind()
        self.reports: dict[str, Report] = {}
        self._reporters: dict[str, tuple[float, str]] = {}

    def put_search(self, document: Document) -> Key | None:
        """Remember a search; its key when that is worth a look (our own status writes are not)."""
        record = search_record(document)
        known = self.search(record.key)
        if known is not None and known.uid != record.uid:
            if _age(record) < _age(known):
                self.searches.forget(record.uid)  # a watch that was cut tells the past: the name belongs to the younger one
                return None
            self.searches.forget(known.uid)
        if not self.searches.put(record):
            return None
        is_same = known is not None and _without_version(known) == _without_version(record)
        return None if is_same else record.key

    def put_job(self, document: Document) -> Key | None:
        """Remember a Job; one that no longer has our labels is forgotten."""
        record = job_record(document)
        if record is None:
            return _key_of(self._forget_unlabelled(self.jobs, document))
        return record.key if self.jobs.put(record) else None

    def put_pod(self, document: Document) -> Key | None:
        """Remember a pod; one that no longer has our labels is forgotten."""
        record = pod_record(document)
        if record is None:
            return _key_of(self._forget_unlabelled(self.pods, document))
        known = self.pods.get(record.uid)
        if not self.pods.put(record):
            return None
        if known is not None and known.end is None and record.end is not None:
            self._ended(record)
        return record.key

    def put_report(self, report: Report) -> bool:
        """Remember what a pod said; False when it is older than what is known of its search.

        Pods of one search work one after the other, and vanish in any order: once a pod has reported, its predecessors' reports
        are history. The answers of one pod are ordered by the time that its trainer has worked.
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
        """Drop an object that is gone; the key of the search that may care."""
        metadata = document["metadata"]
        uid, at = metadata["uid"], version(get_text(metadata, "resourceVersion"))
        self.reports.pop(uid, None)
        self._reporters.pop(uid, None)
        return _key_of(self.searches.forget(uid, at) or self.jobs.forget(uid, at) or self.pods.forget(uid, at))

    def _forget_unlabelled(self, kind: _Kind[R], document: Document) -> R | None:
        """Drop a child that has lost our labels."""
        metadata = document["metadata"]
        known, seen = kind.get(metadata["uid"]), version(get_text(metadata, "resourceVersion"))
        return kind.forget(known.uid, seen) if known is not None and version(known.resource_version) < seen else None

    def is_trainer(self, pod: PodRecord) -> bool:
        """Whether a pod is what the Job describes that is noted in its search's status; labels, which anybody can write, prove nothing."""
        job, search = self.jobs.get(pod.job_uid), self.searches.get(pod.search_uid)
        return job is not None and search is not None and self._speaks_for(pod, job, search)

    def _speaks_for(self, pod: PodRecord, job: JobRecord, search: SearchRecord) -> bool:
        is_noted = job.uid == search.job_uid and job.search_uid == search.uid
        return is_noted and difference(pod.template, job.template, self._injected_mounts) is None

    def search(self, key: Key) -> SearchRecord | None:
        """The search of this name."""
        return next(iter(self.searches.of(key)), None)

    def observe(self, key: Key) -> Observed | None:
        """All that is known of one search."""
        search = self.search(key)
        if search is None:
            return None
        return self.view(search, self.jobs.of(key), self.pods.of(key), is_fresh=False)

    def view(self, search: SearchRecord, jobs: tuple[JobRecord, ...], pods: tuple[PodRecord, ...], *, is_fresh: bool) -> Observed:
        """These records with the report of the newest pod that has one."""
        newest_first = sorted(pods, key=_rank, reverse=True)
        own_jobs = {job.uid: job for job in jobs}
        own = (pod for pod in newest_first if pod.job_uid in own_jobs and self._speaks_for(pod, own_jobs[pod.job_uid], search))
        report = next((self.reports[pod.uid] for pod in own if pod.uid in self.reports), None)
        return Observed(search=search, jobs=jobs, pods=pods, report=report, is_fresh=is_fresh)

    def all_keys(self) -> Iterator[Key]:
        """Every search."""
        return iter(tuple(self.searches.by_key))

    def forget_unlisted(self, kind: _Kind[R], listed: set[str], list_version: int, namespace: str | None = None) -> set[Key]:
        """Drop what a complete list of `kind` (uids) in a namespace (None: in all) no longer has; a watch may miss a deletion."""
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
    """What orders the pods of a search: a pod is made when its predecessor has ended."""
    return pod.created_s, pod.name


def _worked_s(report: Report | None) -> float:
    """How far a report is, in seconds of work of its search; -1 without a progress."""
    return -1.0 if report is None or report.progress is None else report.progress.active_seconds


def _age(record: SearchRecord) -> tuple[int, float]:
    """What orders two searches of one name: the later one was made after the earlier one had gone."""
    return version(record.resource_version), record.created_s


def _without_version(record: SearchRecord) -> tuple[object, ...]:
    """What makes a search worth a look: not its version and, since only we write it, not its status."""
    return (record.uid, record.generation, record.is_deleting, record.document, record.queue_hash, record.is_paused)
