"""One operator for each namespace: the holder of a Lease. Other operators do nothing there, report it, and take over when it expires.

The holder is a release, not a pod, so a restarted operator continues at once. As in client-go, a Lease has expired when its holder has
not renewed it for its duration by the observer's own clock, so clocks need not agree.
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
"""The name of the Lease in every served namespace; the chart's roles contain it."""
PERIOD_S: Final = 20.0
"""Seconds between two renewals."""
PAUSE_S: Final = 0.5
"""Seconds between two namespaces: at most two renewals a second; with many namespaces the Leases last longer."""
DURATIONS: Final = 4
"""Renewal periods after which a Lease expires."""
MAX_DURATION_S: Final = 3600.0
"""Upper bound of the duration that the operator accepts from a Lease; with 7,000 namespaces it still renews its own in time."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LeaseState:
    """A Lease as last read or written; `since_s` is the time at which this renewal was first seen."""

    holder: str
    renewed: str
    duration_s: float
    since_s: float


class NamespaceLeases:
    """The Leases of the served namespaces. `monotonic` measures expiry; `clock` (seconds since the epoch) dates renewals.

    `wake` is called with a namespace after a takeover; `in_use` returns the namespaces with searches.
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
        self._states: dict[str, _LeaseState] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._unwatched: set[str] = set()

    async def holds(self, namespace: str) -> bool:
        """Whether this operator may act in `namespace`; reads the Lease if its state is unknown.

        Raises:
            OperatorError: the API server did not answer.
        """
        state = self._states.get(namespace)
        if namespace in self._unwatched or (state is not None and not self._is_mine_and_expired(state)):
            return state is None or state.holder == self._identity
        await self.refresh(namespace)
        return namespace in self._unwatched or self._states[namespace].holder == self._identity

    def list_taken(self) -> dict[str, str]:
        """Namespaces that another operator serves, with its name."""
        return {namespace: state.holder for namespace, state in sorted(self._states.items()) if state.holder != self._identity}

    async def refresh(self, namespace: str) -> None:
        """Renew the Lease, acquire it if it is free, or read its holder.

        Raises:
            OperatorError: the API server did not answer.
        """
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            before = self._states.get(namespace)
            try:
                after = await self._renew(namespace, before)
            except (ForbiddenError, NotFoundError) as error:
                self._leave_unwatched(namespace, error)
                return
            self._unwatched.discard(namespace)
            self._states[namespace] = after
            self._log_change(namespace, before, after)

    async def run(self) -> None:
        """Renew the held Leases and read the others, forever; configured namespaces come first, so that their state is known at once."""
        while True:
            served = tuple(dict.fromkeys((*self._namespaces, *self._in_use())))
            for namespace in served:
                try:
                    await self.refresh(namespace)
                except OperatorError as error:
                    _log.warning("lease renewal failed", namespace=namespace, lease=LEASE_NAME, error=str(error))
                await asyncio.sleep(PAUSE_S)
            for namespace in self._states.keys() - served:
                del self._states[namespace]  # no search is left there: the Lease expires
            self._metrics.set_taken_namespaces(len(self.list_taken()))
            await asyncio.sleep(max(0.0, PERIOD_S - PAUSE_S * len(served)))

    def _is_mine_and_expired(self, state: _LeaseState) -> bool:
        """A holder that could not renew in time may have a successor, so it reads the Lease before it acts."""
        return state.holder == self._identity and self._has_expired(state)

    def _has_expired(self, state: _LeaseState) -> bool:
        return self._monotonic() - state.since_s >= state.duration_s

    async def _renew(self, namespace: str, before: _LeaseState | None) -> _LeaseState:
        try:
            lease = await self._client.get(LEASES, namespace, LEASE_NAME)
        except NotFoundError:
            document = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE_NAME, "namespace": namespace}}
            return await self._write(namespace, {**document, "spec": self._spec(is_new_holder=True)}, is_new=True)
        current = self._read(lease, before)
        if current.holder not in ("", self._identity) and not self._has_expired(current):
            return current
        spec = self._spec(is_new_holder=current.holder != self._identity)
        return await self._write(namespace, {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec})

    async def _write(self, namespace: str, document: dict[str, Any], *, is_new: bool = False) -> _LeaseState:
        began_s = self._monotonic()  # before the request, so that a slow answer does not prolong the Lease
        try:
            if is_new:
                await self._client.create(LEASES, namespace, document)
            else:
                await self._client.merge(LEASES, namespace, LEASE_NAME, document)
        except ConflictError:
            return self._read(await self._client.get(LEASES, namespace, LEASE_NAME), None)  # another operator was faster
        spec = document["spec"]
        return _LeaseState(holder=self._identity, renewed=spec["renewTime"], duration_s=spec["leaseDurationSeconds"], since_s=began_s)

    def _read(self, lease: Document, before: _LeaseState | None) -> _LeaseState:
        """The state of a Lease; a renewal that was seen before keeps the time at which it was first seen."""
        spec = get_object(lease, "spec")
        holder, renewed = get_text(spec, "holderIdentity"), get_text(spec, "renewTime")
        is_known = before is not None and (before.holder, before.renewed) == (holder, renewed)
        since_s = before.since_s if before is not None and is_known else self._monotonic()
        duration = get_int(spec, "leaseDurationSeconds", 0)
        duration_s = min(float(duration), MAX_DURATION_S) if duration > 0 else DURATIONS * PERIOD_S
        return _LeaseState(holder=holder, renewed=renewed, duration_s=duration_s, since_s=since_s)

    def _spec(self, *, is_new_holder: bool) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        period_s = max(PERIOD_S, PAUSE_S * len(self._states))
        spec = {"holderIdentity": self._identity, "leaseDurationSeconds": int(DURATIONS * period_s), "renewTime": now}
        return {**spec, "acquireTime": now} if is_new_holder else spec

    def _leave_unwatched(self, namespace: str, error: OperatorError) -> None:
        """Serve the namespace without a Lease, because the right is missing: two operators are better than none."""
        if namespace not in self._unwatched:
            self._unwatched.add(namespace)
            message = "without the right to it the operator does not notice another one that serves this namespace"
            _log.warning("lease unavailable", namespace=namespace, lease=LEASE_NAME, message=message, error=str(error))
        self._states.pop(namespace, None)

    def _log_change(self, namespace: str, before: _LeaseState | None, after: _LeaseState) -> None:
        is_mine, was_others = after.holder == self._identity, before is not None and before.holder != self._identity
        if not is_mine and (before is None or before.holder != after.holder):
            message = f"the operator {after.holder} serves this namespace; this one does nothing in it until the Lease expires"
            _log.warning("namespace held", namespace=namespace, lease=LEASE_NAME, holder=after.holder, message=message)
        elif is_mine and was_others:
            _log.info("namespace taken over", namespace=namespace, lease=LEASE_NAME)
            self._wake(namespace)
