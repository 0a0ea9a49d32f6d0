"""Creates the children of an attempt idempotently, and deletes them.

The operator accepts an existing object only when this search is its controller.
"""

from __future__ import annotations

from contextlib import suppress

from autohas_api.base.names import ANNOTATION_TOUCHED_AT
from autohas_operator.client import CONFIG_MAPS, JOBS, KubeClient, Resource
from autohas_operator.decide.actions import CreateAttempt, TouchJob
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.errors import ConflictError, NameTakenError, NotFoundError, WaitError
from autohas_operator.records.observed import Document, SearchRecord
from autohas_operator.records.pod_identity import difference, pod_spec_in, pod_template
from autohas_operator.wording import timestamp

DELETION_POLL_S = 2.0
"""Requeue delay while an object with the name of a child is being deleted."""


async def create_attempt(client: KubeClient, search: SearchRecord, attempt: CreateAttempt) -> Document:
    """Create the ConfigMap, then the Job; returns the Job, new or existing.

    Raises:
        NameTakenError: the name belongs to an object of another owner.
        WaitError: the object with this name is being deleted.
    """
    await _find_or_create(client, search, attempt.config_map)
    return await _create_or_find(client, JOBS, search, attempt.job)


async def _find_or_create(client: KubeClient, search: SearchRecord, config_map: Document) -> None:
    """Read before writing: while the Job is refused, the ConfigMap of an earlier try exists, and reads do not count as writes."""
    try:
        existing = await client.get(CONFIG_MAPS, search.key.namespace, config_map["metadata"]["name"])
    except NotFoundError:
        await _create_or_find(client, CONFIG_MAPS, search, config_map)
    else:
        await _accept_or_replace(client, CONFIG_MAPS, search, existing, config_map)


async def _create_or_find(client: KubeClient, resource: Resource, search: SearchRecord, document: Document) -> Document:
    namespace, name, kind = search.key.namespace, document["metadata"]["name"], document["kind"]
    try:
        return await client.create(resource, namespace, document)
    except ConflictError as error:
        try:
            existing = await client.get(resource, namespace, name)
        except NotFoundError:
            raise WaitError(f"{kind} {name} was just deleted", delay_s=DELETION_POLL_S) from error
        return await _accept_or_replace(client, resource, search, existing, document)


async def _accept_or_replace(
    client: KubeClient, resource: Resource, search: SearchRecord, existing: Document, desired: Document
) -> Document:
    """Return the existing object if it equals the desired one; otherwise delete it: it is of an older spec, or forged."""
    kind, metadata = desired["kind"], existing["metadata"]
    _check_owner(existing, kind, search)
    if not _is_equal(existing, desired):
        await client.delete(resource, search.key.namespace, metadata["name"], uid=metadata["uid"])
        raise WaitError(f"{kind} {metadata['name']} is not what this search needs, and is replaced", delay_s=DELETION_POLL_S)
    return existing


def _is_equal(existing: Document, desired: Document) -> bool:
    if desired["kind"] == "ConfigMap":
        return (existing.get("data"), existing.get("immutable")) == (desired["data"], True)
    return difference(pod_template(pod_spec_in(existing)), pod_template(pod_spec_in(desired))) is None


def _check_owner(existing: Document, kind: str, search: SearchRecord) -> None:
    """Raise unless the search controls the existing object and the object is not being deleted."""
    name = existing["metadata"]["name"]
    if not _is_controlled_by(existing["metadata"], search.uid):
        raise NameTakenError(f"{kind} {name} exists and does not belong to this search; delete or rename it")
    if "deletionTimestamp" in existing["metadata"]:
        raise WaitError(f"{kind} {name} is being deleted", delay_s=DELETION_POLL_S)


async def touch(client: KubeClient, namespace: str, job: TouchJob, now_s: float) -> Document:
    """Write the current time into an annotation of the Job with this name and uid, so that the Job controller syncs it; returns the Job."""
    metadata = {"uid": job.uid, "annotations": {ANNOTATION_TOUCHED_AT: timestamp(now_s)}}
    return await client.merge(JOBS, namespace, job.name, {"metadata": metadata})


async def clean_up(client: KubeClient, search: SearchRecord, action: CleanUp) -> None:
    """Delete the children of an ended search, or give its Jobs a TTL; skips objects that are gone or have another owner."""
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
