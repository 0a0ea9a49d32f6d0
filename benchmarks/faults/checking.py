"""The invariants of a search under faults. Pure: the caller passes objects of watches and of /proc.

A search has at most one live pod, one Job that is not being deleted, one trainer process, one Job of each attempt ever, and one
result, which stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from autohas_api.base.names import LABEL_ATTEMPT, LABEL_UID

Document = Mapping[str, Any]
OVER: Final = ("Succeeded", "Failed")


def uid_of(document: Document) -> str:
    """The uid of an object."""
    return str(document["metadata"]["uid"])


def search_of(document: Document) -> str:
    """The uid of the search that an object belongs to; empty if there is none."""
    return str(document["metadata"].get("labels", {}).get(LABEL_UID, ""))


def is_leaving(document: Document) -> bool:
    """Whether an object is being deleted."""
    return "deletionTimestamp" in document["metadata"]


def is_live(pod: Document) -> bool:
    """Whether a pod has a running container and is not being deleted."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return not is_leaving(pod) and any("running" in status.get("state", {}) for status in statuses)


def is_over(pod: Document) -> bool:
    """Whether a pod has ended."""
    return pod.get("status", {}).get("phase") in OVER


@dataclass(slots=True)
class Checker:
    """Keeps the latest objects and checks the invariants; `violations` are sentences."""

    pods: dict[str, Document] = field(default_factory=dict)
    jobs: dict[str, Document] = field(default_factory=dict)
    searches: dict[str, Document] = field(default_factory=dict)
    attempts: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    results: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    violations: list[str] = field(default_factory=list)

    def check_pods(self, kind: str, pods: Iterable[Document]) -> None:
        """Check pods; `kind` is that of a watch event, or LISTED for a complete list."""
        _keep(self.pods, kind, pods)
        self._check_at_most_one("live pods", [pod for pod in self.pods.values() if is_live(pod)])

    def check_jobs(self, kind: str, jobs: Iterable[Document]) -> None:
        """Check Jobs; see `check_pods`."""
        _keep(self.jobs, kind, jobs)
        for job in self.jobs.values():
            self.attempts[search_of(job), int(job["metadata"]["labels"][LABEL_ATTEMPT])].add(uid_of(job))
        for (search, attempt), uids in self.attempts.items():
            if len(uids) > 1:
                self._report_violation(f"search {search}: attempt {attempt} had {len(uids)} Jobs")
        self._check_at_most_one("Jobs", [job for job in self.jobs.values() if not is_leaving(job)])

    def check_searches(self, kind: str, searches: Iterable[Document]) -> None:
        """Check searches; see `check_pods`."""
        _keep(self.searches, kind, searches)
        for uid, search in self.searches.items():
            status, results = search.get("status", {}), self.results[uid]
            result = f"{status['result']['digest']} of {status.get('completionTime')}" if "result" in status else ""
            if result and result not in results:
                results.append(result)
            if len(results) > 1 or (results and not result):
                self._report_violation(f"search {uid}: its result changed or went away: {', '.join(results)}, now {result or 'none'}")

    def check_processes(self, pods_by_search: Mapping[str, set[str]]) -> None:
        """Check the running trainer processes of this host: uids of their pods, by uid of the search."""
        for search, pods in pods_by_search.items():
            self.starts[search] |= pods
            if len(pods) > 1:
                self._report_violation(f"search {search}: trainers of {len(pods)} pods run at once: {', '.join(sorted(pods))}")

    def num_results(self, search: str) -> int:
        """Number of different results that a search has had."""
        return len(self.results[search])

    def num_jobs(self, search: str) -> int:
        """Number of Jobs that a search has had."""
        return sum(len(uids) for (owner, _), uids in self.attempts.items() if owner == search)

    def _check_at_most_one(self, what: str, documents: list[Document]) -> None:
        by_search: dict[str, list[str]] = defaultdict(list)
        for one in documents:
            by_search[search_of(one)].append(one["metadata"]["name"])
        for search, names in by_search.items():
            if search and len(names) > 1:
                self._report_violation(f"search {search}: {len(names)} {what} at once: {', '.join(sorted(names))}")

    def _report_violation(self, sentence: str) -> None:
        if sentence not in self.violations:
            self.violations.append(sentence)


def _keep(current: dict[str, Document], kind: str, documents: Iterable[Document]) -> None:
    if kind == "LISTED":
        current.clear()
    for document in documents:
        if kind == "DELETED":
            current.pop(uid_of(document), None)
        else:
            current[uid_of(document)] = document
