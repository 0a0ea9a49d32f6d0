"""Creating the children of one attempt so that a repetition does no harm, and reading what is said about them.

A name that is taken is only accepted when its holder is controlled by this very search.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from autohas_api.base.names import ANNOTATION_TOUCHED_AT
from autohas_operator.client import CONFIG_MAPS, JOBS, KubeClient, Resource
from autohas_operator.decide.actions import CreateAttempt, TouchJob
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.errors import ConflictError, NameTakenError, NotFoundError, WaitError
from autohas_operator.records.observed import Document, SearchRecord, WarningEvent
from autohas_operator.records.pod_template import difference, pod_spec_in, pod_template
from autohas_operator.wording import clean, epoch, timestamp

DELETION_POLL_S = 2.0
"""How soon to look again whether a name has become free."""


async def create_attempt(client: KubeClient, search: SearchRecord, attempt: CreateAttempt) -> Document:
    """ConfigMap, then Job; returns the Job, new or found.

    Raises:
        NameTakenError: a name belongs to somebody else.
        WaitError: a name becomes free soon.
    """
    await _find_or_create(client, search, attempt.config_map)
    return await _create_or_find(client, JOBS, search, attempt.job)


async def _find_or_create(client: KubeClient, search: SearchRecord, config_map: Document) -> None:
    """Looked for first: while the Job is refused, that of an earlier try is there, and reading costs none of the rationed writes."""
    try:
        found = await client.get(CONFIG_MAPS, search.key.namespace, config_map["metadata"]["name"])
    except NotFoundError:
        await _create_or_find(client, CONFIG_MAPS, search, config_map)
    else:
        await _accept_or_replace(client, CONFIG_MAPS, search, found, config_map)


async def _create_or_find(client: KubeClient, resource: Resource, search: SearchRecord, document: Document) -> Document:
    namespace, name, kind = search.key.namespace, document["metadata"]["name"], document["kind"]
    try:
        return await client.create(resource, namespace, document)
    except ConflictError as error:
        try:
            found = await client.get(resource, namespace, name)
        except NotFoundError:
            raise WaitError(f"{kind} {name} has just gone", delay_s=DELETION_POLL_S) from error
        return await _accept_or_replace(client, resource, search, found, document)


async def _accept_or_replace(client: KubeClient, resource: Resource, search: SearchRecord, found: Document, wanted: Document) -> Document:
    """What has our name, if it is what we would make; else it is deleted: it is of an older spec, or a forgery."""
    metadata, kind = _ours(found, wanted["kind"], search)["metadata"], wanted["kind"]
    if not _is_alike(found, wanted):
        await client.delete(resource, search.key.namespace, metadata["name"], uid=metadata["uid"])
        raise WaitError(f"{kind} {metadata['name']} is not what this search needs, and is replaced", delay_s=DELETION_POLL_S)
    return found


def _is_alike(found: Document, wanted: Document) -> bool:
    if wanted["kind"] == "ConfigMap":
        return (found.get("data"), found.get("immutable")) == (wanted["data"], True)
    return difference(pod_template(pod_spec_in(found)), pod_template(pod_spec_in(wanted))) is None


def _ours(found: Document, kind: str, search: SearchRecord) -> Document:
    """What has our name, when it is ours and stays."""
    name = found["metadata"]["name"]
    if not _is_controlled_by(found["metadata"], search.uid):
        raise NameTakenError(f"{kind} {name} exists and does not belong to this search; delete or rename it")
    if "deletionTimestamp" in found["metadata"]:
        raise WaitError(f"{kind} {name} is being deleted", delay_s=DELETION_POLL_S)
    return found


async def touch(client: KubeClient, namespace: str, job: TouchJob, now_s: float) -> Document:
    """Note on a Job that it was touched now; returns it. Another one of the same name is left alone."""
    metadata = {"uid": job.uid, "annotations": {ANNOTATION_TOUCHED_AT: timestamp(now_s)}}
    return await client.merge(JOBS, namespace, job.name, {"metadata": metadata})


async def clean_up(client: KubeClient, search: SearchRecord, action: CleanUp) -> None:
    """Delete what a search that has ended left behind, now or by a Job's own time; what is gone already or not ours is passed over."""
    namespace = search.key.namespace
    for name in action.config_maps:
        try:
            metadata = (await client.get(CONFIG_MAPS, namespace, name))["metadata"]
            if _is_controlled_by(metadata, search.uid):
                await client.delete(CONFIG_MAPS, namespace, name, uid=metadata["uid"])
        except NotFoundError:
            continue
    for name, uid in action.jobs:
        with suppress(NotFoundError):
            await client.delete(JOBS, namespace, name, uid=uid)
    for name, uid, seconds in action.expiring:
        with suppress(NotFoundError):
            await client.merge(JOBS, namespace, name, {"metadata": {"uid": uid}, "spec": {"ttlSecondsAfterFinished": seconds}})


def _is_controlled_by(metadata: Document, uid: str) -> bool:
    owners: list[Document] = metadata.get("ownerReferences", [])
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def newest_warning(events: Iterable[Document]) -> WarningEvent | None:
    """The text of the newest of these events."""
    newest = max(events, key=_time_s, default=None)
    if newest is None:
        return None
    reason, message = clean(newest.get("reason", ""), 64), clean(newest.get("message", ""), 768)
    return WarningEvent(reason=reason, message=message, time_s=_time_s(newest))


def _time_s(event: Document) -> float:
    """When it was given last: components fill in different fields."""
    times = (event.get("lastTimestamp"), event.get("eventTime"), event.get("metadata", {}).get("creationTimestamp"))
    return max((epoch(time) or 0.0 for time in times), default=0.0)
