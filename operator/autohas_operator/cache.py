"""What the watches have said so far: one record per object, one report per pod.

Filled by `handlers` (events) and `resync` (lists), read by `reconcile` and `poller`; all in one event loop, no locks.
Versions never go back: an event that is older than what is known is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeVar

from autohas_operator.observe import (
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

MAX_GONE: Final = 20_000
"""Uids remembered as gone, the newest: a list or a read that was on its way takes seconds, not thousands of deletions."""


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
        self._gone: dict[str, None] = {}

    def put(self, record: R) -> bool:
        """Remember; False when something as new is known, or that it is gone: a slow answer must not bring it back."""
        known = self.get(record.uid)
        if record.uid in self._gone:
            return False
        if known is not None and version(known.resource_version) >= version(record.resource_version):
            return False
        self[record.uid] = record
        self.by_key.setdefault(record.key, set()).add(record.uid)
        return True

    def forget(self, uid: str) -> R | None:
        """Drop one record for good: uids do not come again."""
        self._gone[uid] = None
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]
        record = self.pop(uid, None)
        if record is not None:
            uids = self.by_key[record.key]
            uids.discard(uid)
            if not uids:
                del self.by_key[record.key]
        return record

    def of(self, key: Key) -> tuple[R, ...]:
        """The records of one search."""
        return tuple(self[uid] for uid in self.by_key.get(key, ()))


def version(text: str) -> int:
    """Resource versions of one kind are ordered numbers (Source: Kubernetes API concepts, since 1.35; true of etcd before)."""
    return int(text) if text.isdigit() else 0


class Cache:
    """Searches, Jobs and pods as last seen."""

    def __init__(self, ended: Callable[[PodRecord], None] = lambda _: None) -> None:
        """`ended` is called once for each trainer that was seen alive and then ended."""
        self._ended = ended
        self.searches: _Kind[SearchRecord] = _Kind()
        self.jobs: _Kind[JobRecord] = _Kind()
        self.pods: _Kind[PodRecord] = _Kind()
        self.reports: dict[str, Report] = {}

    def put_search(self, document: Document) -> Key | None:
        """Remember a search; its key when that is worth a look (our own status writes are not)."""
        record = search_record(document)
        known = self.search(record.key)
        if not self.searches.put(record):
            return None
        if known is not None and known.uid != record.uid:
            self.searches.forget(known.uid)
        is_same = known is not None and _without_version(known) == _without_version(record)
        return None if is_same else record.key

    def put_job(self, document: Document) -> Key | None:
        """Remember a Job."""
        record = job_record(document)
        return record.key if record is not None and self.jobs.put(record) else None

    def put_pod(self, document: Document) -> Key | None:
        """Remember a pod."""
        record = pod_record(document)
        known = self.pods.get(record.uid) if record is not None else None
        if record is None or not self.pods.put(record):
            return None
        if known is not None and known.end is None and record.end is not None:
            self._ended(record)
        return record.key

    def forget(self, document: Document) -> Key | None:
        """Drop an object that is gone; the key of the search that may care."""
        uid = document["metadata"]["uid"]
        self.reports.pop(uid, None)
        gone = self.searches.forget(uid) or self.jobs.forget(uid) or self.pods.forget(uid)
        return None if gone is None else gone.key

    def search(self, key: Key) -> SearchRecord | None:
        """The search of this name."""
        return next(iter(self.searches.of(key)), None)

    def observed(self, key: Key) -> Observed | None:
        """All that is known of one search."""
        search = self.search(key)
        if search is None:
            return None
        return self.view(search, self.jobs.of(key), self.pods.of(key), is_fresh=False)

    def view(self, search: SearchRecord, jobs: tuple[JobRecord, ...], pods: tuple[PodRecord, ...], *, is_fresh: bool) -> Observed:
        """These records with the report of the newest pod that has one."""
        newest_first = sorted(pods, key=lambda pod: (pod.created_s, pod.name), reverse=True)
        own = (pod for pod in newest_first if pod.search_uid == search.uid)
        report = next((self.reports[pod.uid] for pod in own if pod.uid in self.reports), None)
        return Observed(search=search, jobs=jobs, pods=pods, report=report, is_fresh=is_fresh)

    def all_keys(self) -> Iterator[Key]:
        """Every search."""
        return iter(tuple(self.searches.by_key))

    def forget_unlisted(self, kind: _Kind[R], listed: set[str], list_version: int) -> set[Key]:
        """Drop what a complete list of `kind` (uids) no longer has; a watch may miss a deletion."""
        gone = [uid for uid, record in kind.items() if uid not in listed and version(record.resource_version) <= list_version]
        for uid in gone:
            self.reports.pop(uid, None)
        return {record.key for uid in gone if (record := kind.forget(uid)) is not None}


def _without_version(record: SearchRecord) -> tuple[object, ...]:
    """What makes a search worth a look: not its version and, since only we write it, not its status."""
    return (record.uid, record.generation, record.is_deleting, record.document, record.queue_labels, record.is_paused)
