"""One pass over one search: observe, plan, read again before an irreversible action, act, write the status, post events.

Every trigger (watch event, report, resync, retry) leads here; a pass does not depend on which one it was. After a kill at any point,
the next pass of any operator finds the same state in the cluster and continues.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog
from pydantic import ValidationError

from autohas_api.base.names import LABEL_UID
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import Status
from autohas_operator.client import JOBS, PODS, SEARCHES, KubeClient, list_all
from autohas_operator.cluster.cache import Cache
from autohas_operator.decide.actions import CreateAttempt, DeleteJob, TouchJob
from autohas_operator.decide.announcements import Announcement, log_event
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.decide.conditions import is_finished
from autohas_operator.decide.plan import Plan, plan
from autohas_operator.errors import (
    ApiError,
    InvalidError,
    NameTakenError,
    NotFoundError,
    OperatorError,
    StatusUnreadableError,
    blocker_to_creating,
    refusal,
)
from autohas_operator.metrics import Metrics
from autohas_operator.reconcile.apply import clean_up, create_attempt, touch
from autohas_operator.reconcile.events import EventRecorder
from autohas_operator.reconcile.stray_warnings import StrayWarnings
from autohas_operator.reconcile.warning_events import WarningEvents
from autohas_operator.records.observed import Key, Observed, SearchRecord, job_record, pod_record, search_document, search_record
from autohas_operator.settings import PodSettings

MAX_TAKEN: Final = 20
"""Attempts with a taken name that one pass skips."""
MAX_UNWRITABLE: Final = 1000
"""Searches remembered so that an invalid report is logged once for each."""

_log = structlog.get_logger(__name__)


async def _always(_namespace: str) -> bool:
    return True


class Reconciler:
    """Brings Jobs, ConfigMaps and status in line with the searches. `clock` gives seconds since the epoch, `monotonic` limits warnings."""

    def __init__(  # noqa: PLR0913 - each is one collaborator
        self,
        client: KubeClient,
        cache: Cache,
        events: EventRecorder,
        pods: PodSettings,
        clock: Callable[[], float],
        *,
        warning_events: WarningEvents,
        metrics: Metrics,
        monotonic: Callable[[], float],
        may_serve: Callable[[str], Awaitable[bool]] = _always,
    ) -> None:
        """`may_serve` says whether this operator holds the Lease of a namespace."""
        self._client = client
        self._cache = cache
        self._events = events
        self._pods = pods
        self._clock = clock
        self._metrics = metrics
        self._warning_events = warning_events
        self._may_serve = may_serve
        self._unwritable: dict[str, None] = {}
        self._strays = StrayWarnings(events, monotonic=monotonic)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; returns the seconds after which to requeue the key, None for never.

        Raises:
            OperatorError: an error that no condition shows; the caller retries the pass.
        """
        observed = self._cache.observe(key)
        if observed is None:
            self._warning_events.forget(key)
            return None
        if not await self._may_serve(key.namespace):
            return None  # the key is added again when the namespace is taken over
        observed = replace(observed, warning=await self._warning_events.about(observed))
        decision = self._plan(observed)
        try:
            if decision.needs_fresh_reads:
                fresh = await self._reread(observed)
                if fresh is None:
                    return None
                observed, decision = fresh, self._plan(fresh)
            self._strays.warn(observed.search, decision.warnings)
            await self._delete_strays(observed, decision)
            observed, decision = await self._carry_out(observed, decision)
        except OperatorError as error:
            blocker = refusal(error, is_create=isinstance(decision.action, CreateAttempt))
            if blocker is None or is_finished(status_of(observed.search)):
                await self._show_failed_create(observed, decision, error)
                raise
            self._metrics.count_blocked(blocker.reason)
            observed = replace(observed, blocker=blocker)
            decision = self._plan(observed)
            if decision.is_irreversible and not observed.is_fresh:
                raise  # an irreversible status needs fresh reads
            await self._leave_nothing(observed, decision)
        await self._write(observed, decision)
        return decision.requeue_after_s

    async def _carry_out(self, observed: Observed, decision: Plan) -> tuple[Observed, Plan]:
        """Act; skip attempts whose Job name is taken by another owner, so that a taken name cannot block a search."""
        for _ in range(MAX_TAKEN):
            try:
                return observed, await self._act(observed, decision)
            except NameTakenError as error:
                if not isinstance(decision.action, CreateAttempt):
                    raise
                number = decision.action.number
                message = f"{error}; attempt {number} is passed over"
                taken = Announcement(type="Warning", reason=Reason.NAME_CONFLICT, message=message)
                self._strays.warn(observed.search, {f"{observed.search.uid}/{number}": taken})
                observed = replace(observed, taken=observed.taken | {number})
                decision = self._plan(observed)
        return observed, await self._act(observed, decision)

    async def _delete_strays(self, observed: Observed, decision: Plan) -> None:
        """Delete Jobs that falsely claim to belong to the search; a refused deletion must not stop the search's own Job."""
        for job in decision.strays:
            try:
                await self._client.delete(JOBS, observed.search.key.namespace, job.name, uid=job.uid)
            except ApiError as error:
                key = observed.search.key
                _log.warning("deletion of a stray job refused", namespace=key.namespace, search=key.name, job=job.name, error=str(error))

    async def _leave_nothing(self, observed: Observed, decision: Plan) -> None:
        """Delete the children before the final status is written: a finished search is not checked again for children."""
        try:
            await self._act(observed, decision)
        except OperatorError as error:
            if refusal(error, is_create=False) is None:
                raise
            key = observed.search.key
            message = "the garbage collector deletes the children with the search"
            _log.warning("clean-up refused", namespace=key.namespace, search=key.name, message=message, error=str(error))

    async def _show_failed_create(self, observed: Observed, decision: Plan, error: OperatorError) -> None:
        """Show in a condition why there is no Job; the caller retries the pass with the delay of its error."""
        blocker = blocker_to_creating(error)
        if blocker is not None and isinstance(decision.action, CreateAttempt):
            self._metrics.count_blocked(blocker.reason)
            observed = replace(observed, blocker=blocker)
            await self._write(observed, self._plan(observed))

    def _plan(self, observed: Observed) -> Plan:
        with self._metrics.time_decision():
            return plan(observed, status_of(observed.search), self._pods, self._clock())

    async def _reread(self, observed: Observed) -> Observed | None:
        """Read search, Jobs and pods from the API server; None when the search is gone."""
        key, uid = observed.search.key, observed.search.uid
        try:
            search = await self._client.get(SEARCHES, key.namespace, key.name)
        except NotFoundError:
            return None
        if search["metadata"]["uid"] != uid:
            return None
        jobs = await list_all(self._client, JOBS, key.namespace, labels=f"{LABEL_UID}={uid}")
        pods = await list_all(self._client, PODS, key.namespace, labels=f"{LABEL_UID}={uid}")
        self._cache.put_search(search)
        for item in jobs:
            self._cache.put_job(item)
        for item in pods:
            self._cache.put_pod(item)
        fresh = self._cache.view(
            search_record(search),
            tuple(job for item in jobs if (job := job_record(item)) is not None),
            tuple(pod for item in pods if (pod := pod_record(item)) is not None),
            is_fresh=True,
        )
        return replace(fresh, warning=observed.warning)

    async def _act(self, observed: Observed, decision: Plan) -> Plan:
        """Carry out the plan's action; returns the plan, with the uid of a created Job in its status."""
        namespace = observed.search.key.namespace
        match decision.action:
            case CreateAttempt() as attempt:
                job = await create_attempt(self._client, observed.search, attempt)
                self._cache.put_job(job)
                decision = replace(decision, status=decision.status.replace(job_uid=job["metadata"]["uid"]))
                if decision.is_first_attempt:
                    self._metrics.observe_first_job(self._clock() - observed.search.created_s)
            case DeleteJob(name=name, uid=uid):
                await self._client.delete(JOBS, namespace, name, uid=uid)
            case TouchJob() as touched:
                self._cache.put_job(await touch(self._client, namespace, touched, self._clock()))
            case CleanUp() as rest:
                await clean_up(self._client, observed.search, rest)
            case None:
                pass
        return decision

    async def _write(self, observed: Observed, decision: Plan) -> None:
        """Write the status if it has changed, then log and post the plan's announcements."""
        before = status_of(observed.search)
        if decision.status == before:
            return
        try:
            written = await self._client.replace_status(SEARCHES, _with_status(observed.search, decision.status))
        except InvalidError as error:
            await self._write_without_report(observed, decision, error)
            return
        self._cache.put_search(written)
        key, age_s = observed.search.key, self._clock() - observed.search.created_s
        self._metrics.observe_status(key.namespace, before, decision.status, age_s)
        for announcement in decision.announcements:
            log = _log.warning if announcement.type == "Warning" else _log.info
            fields = {"namespace": key.namespace, "search": key.name, "reason": announcement.reason, "message": announcement.message}
            log(log_event(announcement), **fields)
        self._events.announce(observed.search, decision.announcements)

    async def _write_without_report(self, observed: Observed, refused: Plan, error: InvalidError) -> None:
        """Write the status without the trainer's report: an invalid report must not keep the operator from storing the end of a search."""
        if observed.report is None:
            raise error
        bare = replace(observed, report=None)
        decision = self._plan(bare)
        if decision.action != refused.action or (decision.is_irreversible and not observed.is_fresh):
            raise error  # the status would name an action that was not taken, or an end that was not read again
        if observed.search.uid not in self._unwritable:
            self._unwritable[observed.search.uid] = None
            if len(self._unwritable) > MAX_UNWRITABLE:
                del self._unwritable[next(iter(self._unwritable))]
            key = observed.search.key
            _log.warning(
                "report rejected", message="it does not fit into the status", namespace=key.namespace, search=key.name, error=str(error)
            )
        await self._write(bare, decision)


def status_of(record: SearchRecord) -> Status:
    """The status as a model.

    Raises:
        StatusUnreadableError: the stored status does not fit the model.
    """
    try:
        return Status.model_validate_json(record.status)
    except ValidationError as error:
        raise StatusUnreadableError(f"status of {record.key.namespace}/{record.key.name} cannot be read: {error}") from error


def _with_status(record: SearchRecord, status: Status) -> dict[str, object]:
    document = search_document(record)
    document["metadata"]["resourceVersion"] = record.resource_version
    return {**document, "status": json.loads(status.model_dump_json(by_alias=True, exclude_none=True))}
