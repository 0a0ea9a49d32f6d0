"""One operator for each namespace: a Lease says which; the others do nothing there, say so, and take over when it is gone.

The holder is a release, not a pod: a restarted operator continues at once. As in client-go, a Lease has expired when its holder has not
renewed it for its duration by the observer's own clock, so clocks need not agree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from autohas_operator.client import KubeClient, Resource
from autohas_operator.errors import ConflictError, ForbiddenError, NotFoundError, OperatorError
from autohas_operator.lenient import get_int, get_object, get_text
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Document

LEASES: Final = Resource(prefix="/apis/coordination.k8s.io/v1", plural="leases")
LEASE_NAME: Final = "autohas-operator"
"""In every namespace that is served; the chart's roles name it."""
PERIOD_S: Final = 20.0
"""Between two renewals."""
PAUSE_S: Final = 0.5
"""Between two namespaces: at most two renewals a second, however many there are; then they last longer."""
DURATIONS: Final = 4
"""Periods that a Lease lasts."""
MAX_DURATION_S: Final = 3600.0
"""The longest duration that is believed of a Lease: an operator with 7,000 namespaces still renews its own in time."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A Lease as it was last read or written: `since_s` is when this renewal was first seen."""

    holder: str
    renewed: str
    duration_s: float
    since_s: float


class NamespaceLeases:
    """Which namespaces this operator may serve. `monotonic` judges expiry; `clock` (seconds since the epoch) dates renewals.

    `wake` is called with a namespace that was taken over, `in_use` names those that have searches now.
    """

    def __init__(  # noqa: PLR0913 - each is one collaborator or one knob
        self,
        client: KubeClient,
        metrics: Metrics,
        *,
        identity: str,
        namespaces: Sequence[str],
        in_use: Callable[[], Iterable[str]],
        wake: Callable[[str], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._identity = identity
        self._namespaces = namespaces
        self._in_use = in_use
        self._wake = wake
        self._clock = clock
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._unwatched: set[str] = set()

    async def holds(self, namespace: str) -> bool:
        """Whether this operator may act in `namespace` now; asks the API server when it does not know.

        Raises:
            OperatorError: the API server gave no answer.
        """
        seen = self._seen.get(namespace)
        if namespace in self._unwatched or (seen is not None and not self._is_mine_and_expired(seen)):
            return seen is None or seen.holder == self._identity
        await self.refresh(namespace)
        return namespace in self._unwatched or self._seen[namespace].holder == self._identity

    def list_taken(self) -> dict[str, str]:
        """Namespaces that another operator serves, with its name."""
        return {namespace: seen.holder for namespace, seen in sorted(self._seen.items()) if seen.holder != self._identity}

    async def refresh(self, namespace: str) -> None:
        """Renew the Lease, take it when it is free, or look who holds it.

        Raises:
            OperatorError: the API server gave no answer.
        """
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            before = self._seen.get(namespace)
            try:
                after = await self._renew(namespace, before)
            except (ForbiddenError, NotFoundError) as error:
                self._leave_unwatched(namespace, error)
                return
            self._unwatched.discard(namespace)
            self._seen[namespace] = after
            self._log_change(namespace, before, after)

    async def run(self) -> None:
        """Keep what is held and look at what is not, forever; the namespaces of the settings first, so that they are known at once."""
        while True:
            wanted = tuple(dict.fromkeys((*self._namespaces, *self._in_use())))
            for namespace in wanted:
                try:
                    await self.refresh(namespace)
                except OperatorError as error:
                    _log.warning("a Lease cannot be renewed", namespace=namespace, error=str(error))
                await asyncio.sleep(PAUSE_S)
            for namespace in self._seen.keys() - wanted:
                del self._seen[namespace]  # nothing to serve there: it expires
            self._metrics.set_taken_namespaces(len(self.list_taken()))
            await asyncio.sleep(max(0.0, PERIOD_S - PAUSE_S * len(wanted)))

    def _is_mine_and_expired(self, seen: _Seen) -> bool:
        """A holder that could not renew in time may have been followed by another, so it asks before it acts."""
        return seen.holder == self._identity and self._has_expired(seen)

    def _has_expired(self, seen: _Seen) -> bool:
        return self._monotonic() - seen.since_s >= seen.duration_s

    async def _renew(self, namespace: str, before: _Seen | None) -> _Seen:
        try:
            lease = await self._client.get(LEASES, namespace, LEASE_NAME)
        except NotFoundError:
            document = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE_NAME, "namespace": namespace}}
            return await self._write(namespace, {**document, "spec": self._spec(is_new_holder=True)}, is_new=True)
        found = self._read(lease, before)
        if found.holder not in ("", self._identity) and not self._has_expired(found):
            return found
        spec = self._spec(is_new_holder=found.holder != self._identity)
        return await self._write(namespace, {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec})

    async def _write(self, namespace: str, document: dict[str, Any], *, is_new: bool = False) -> _Seen:
        began_s = self._monotonic()  # before the request: a slow answer must not make the Lease last longer here than there
        try:
            if is_new:
                await self._client.create(LEASES, namespace, document)
            else:
                await self._client.merge(LEASES, namespace, LEASE_NAME, document)
        except ConflictError:
            return self._read(await self._client.get(LEASES, namespace, LEASE_NAME), None)  # another was faster
        spec = document["spec"]
        return _Seen(holder=self._identity, renewed=spec["renewTime"], duration_s=spec["leaseDurationSeconds"], since_s=began_s)

    def _read(self, lease: Document, before: _Seen | None) -> _Seen:
        """What the Lease says; a renewal that was seen before keeps the moment when it was first seen."""
        spec = get_object(lease, "spec")
        holder, renewed = get_text(spec, "holderIdentity"), get_text(spec, "renewTime")
        is_known = before is not None and (before.holder, before.renewed) == (holder, renewed)
        since_s = before.since_s if before is not None and is_known else self._monotonic()
        duration = get_int(spec, "leaseDurationSeconds", 0)
        duration_s = min(float(duration), MAX_DURATION_S) if duration > 0 else DURATIONS * PERIOD_S
        return _Seen(holder=holder, renewed=renewed, duration_s=duration_s, since_s=since_s)

    def _spec(self, *, is_new_holder: bool) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        period_s = max(PERIOD_S, PAUSE_S * len(self._seen))
        spec = {"holderIdentity": self._identity, "leaseDurationSeconds": int(DURATIONS * period_s), "renewTime": now}
        return {**spec, "acquireTime": now} if is_new_holder else spec

    def _leave_unwatched(self, namespace: str, error: OperatorError) -> None:
        """Without the right to Leases the namespace is served as if there were no other operator: better twice than not at all."""
        if namespace not in self._unwatched:
            self._unwatched.add(namespace)
            _log.warning(
                "no Lease can be had: another operator that serves this namespace goes unnoticed", namespace=namespace, error=str(error)
            )
        self._seen.pop(namespace, None)

    def _log_change(self, namespace: str, before: _Seen | None, after: _Seen) -> None:
        is_mine, was_others = after.holder == self._identity, before is not None and before.holder != self._identity
        if not is_mine and (before is None or before.holder != after.holder):
            _log.warning(
                "another operator serves this namespace; nothing is done in it until its Lease expires",
                namespace=namespace,
                holder=after.holder,
                lease=LEASE_NAME,
            )
        elif is_mine and was_others:
            _log.info("namespace taken over", namespace=namespace, lease=LEASE_NAME)
            self._wake(namespace)
