"""Recognition of a search's own Job and pods among those that claim to be: any user may write labels and owner references. Pure.

The operator notes the uid of each Job in status after it has created it. That Job is the search's own as long as it exists. A Job without
a noted uid (the operator was killed between both steps, or an older operator created it) is recognized if it runs what this operator
would run. A pod is recognized if it is what its Job describes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autohas_api.spec.search import Search
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import Status
from autohas_operator.decide.admission import image_for
from autohas_operator.decide.announcements import Announcement
from autohas_operator.manifests.job import Attempt, build_job
from autohas_operator.records.observed import IgnoredPod, JobRecord, Observed
from autohas_operator.records.pod_identity import PodTemplate, difference, is_made_alike, pod_spec_in, pod_template
from autohas_operator.settings import PodSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognized:
    """`observed` with the recognized objects; `strays` are other Jobs with the search's owner reference and a name of its attempts."""

    observed: Observed
    strays: tuple[JobRecord, ...] = ()

    @property
    def warnings(self) -> dict[str, Announcement]:
        """The warning about each Job and pod that is not recognized, by its uid."""
        jobs = {job.uid: _warn_of_job(job) for job in self.strays}
        return jobs | {ignored.pod.uid: _warn_of_pod(ignored) for ignored in self.observed.ignored}


def recognize(observed: Observed, previous: Status, search: Search, settings: PodSettings) -> Recognized:
    """Separate the search's own Job and pods from others."""
    own = _own_job(observed, previous, search, settings)
    strays = tuple(job for job in observed.own_jobs if job is not own and not job.is_deleting)
    if own is None:
        return Recognized(observed=replace(observed, jobs=()), strays=strays)
    differing = ((pod, difference(pod.template, own.template, settings.injected_mounts)) for pod in observed.pods_of(own))
    ignored = tuple(IgnoredPod(pod=pod, difference=text) for pod, text in differing if text is not None)
    uids = {item.pod.uid for item in ignored}
    pods = tuple(pod for pod in observed.pods if pod.uid not in uids)
    remembered = replace(own, lost_pods=tuple(previous.lost_pods or ())) if own.uid == previous.job_uid else own
    return Recognized(observed=replace(observed, jobs=(remembered,), pods=pods, ignored=ignored), strays=strays)


def _own_job(observed: Observed, previous: Status, search: Search, settings: PodSettings) -> JobRecord | None:
    ours, newest = observed.own_jobs, previous.attempt or 0
    job = next((job for job in ours if job.uid == previous.job_uid), None)
    if job is not None:
        return job
    inherited = next((job for job in ours if job.attempt == newest), None) if previous.job_uid is None else None
    if inherited is not None and _is_inherited(inherited, observed, previous, search, settings):
        return inherited
    return next((job for job in ours if job.attempt > newest and _is_unnoted(job, observed, previous, search, settings)), None)


def _is_inherited(job: JobRecord, observed: Observed, previous: Status, search: Search, settings: PodSettings) -> bool:
    """Whether an older operator, which noted the image but no uid, created this Job."""
    image = previous.trainer.image if previous.trainer is not None else image_for(search, previous, settings)
    return is_made_alike(job.template, _template(job, observed, search, settings, image))


def _is_unnoted(job: JobRecord, observed: Observed, previous: Status, search: Search, settings: PodSettings) -> bool:
    """Whether this operator created the Job, before an edit of the spec (then it is replaced) or as it would create it now."""
    if job.spec_hash != observed.search.spec_hash:
        return True
    wanted = _template(job, observed, search, settings, image_for(search, previous, settings))
    return difference(job.template, wanted, settings.injected_mounts) is None and job.template.account == wanted.account


def _template(job: JobRecord, observed: Observed, search: Search, settings: PodSettings, image: str) -> PodTemplate:
    wanted = build_job(observed.search, search, Attempt(number=job.attempt, image=image), settings)
    return pod_template(pod_spec_in(wanted))


def _warn_of_job(job: JobRecord) -> Announcement:
    message = f"Job {job.name} claims to be attempt {job.attempt}, but this operator did not create it: the operator ignores and deletes it"
    return Announcement(type="Warning", reason=Reason.JOB_IGNORED, message=message)


def _warn_of_pod(ignored: IgnoredPod) -> Announcement:
    message = f"pod {ignored.pod.name} claims to be a trainer, but {ignored.difference}: the operator ignores it"
    return Announcement(type="Warning", reason=Reason.POD_IGNORED, message=message)
