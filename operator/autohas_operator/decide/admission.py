"""What keeps a search from starting: the platform's lists, a queue (Kueue) that suspends its Job, or `spec.suspend`. Pure.

Kueue is recognised by what it does to the Job, not by labels: a cluster may give Jobs a queue by default.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from autohas_api.accept.acceptance import find_resource_errors
from autohas_api.spec.search import Search
from autohas_api.spec.trainer import Trainer
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide import intervals
from autohas_operator.decide.conditions import Verdict, continuation, is_durable, verdict_of
from autohas_operator.records.observed import JobRecord, SearchRecord
from autohas_operator.settings import PodSettings
from autohas_operator.trainer_defaults import with_defaults
from autohas_operator.wording import epoch

_SYSTEM: Final = "system-"
_USUAL_SCHEDULER: Final = "default-scheduler"
"""The scheduler of a pod that names none."""
_QUEUED: Final = (Reason.QUOTA_RESERVED, Reason.WAITING_FOR_QUOTA, Reason.WAITING_FOR_QUOTA_TOO_LONG, Reason.EVICTED)


def image_for(search: Search, status: Status, pods: PodSettings) -> str:
    """The image of the next attempt: the search's own, else the one that its trainers ran with, else the chart's."""
    return search.spec.trainer.image or pinned_image(status) or pods.image


def pinned_image(status: Status) -> str:
    """The image that a trainer of this search ran with. Older operators noted only that a trainer had reported."""
    if status.trainer is None:
        return ""
    reported = status.trainer.image if status.last_report_time is not None else ""
    return status.trainer.pinned_image or reported


def find_platform_refusal(search: Search, status: Status, pods: PodSettings) -> Verdict | None:
    """Why the platform does not allow this search, or None. Kubernetes does not check whether its author may use what it names."""
    trainer = search.spec.trainer
    account, priority = trainer.service_account_name, trainer.priority_class_name
    runtime, scheduler = trainer.runtime_class_name, trainer.scheduler_name
    if account is not None and account not in pods.service_accounts:
        message = _describe_allowed("serviceAccountName", account, "serviceAccounts", pods.service_accounts)
        return Verdict(status="False", reason=Reason.SERVICE_ACCOUNT_NOT_ALLOWED, message=message)
    if priority is not None and priority.startswith(_SYSTEM):
        message = f'spec.trainer.priorityClassName: "{priority}" must not begin with {_SYSTEM}: these classes are the cluster\'s own'
        return Verdict(status="False", reason=Reason.PRIORITY_CLASS_NOT_ALLOWED, message=message)
    if _is_missing(priority, pods.priority_classes):
        message = _describe_allowed("priorityClassName", priority, "priorityClasses", pods.priority_classes)
        return Verdict(status="False", reason=Reason.PRIORITY_CLASS_NOT_ALLOWED, message=message)
    if _is_missing(runtime, pods.runtime_classes):
        message = _describe_allowed("runtimeClassName", runtime, "runtimeClasses", pods.runtime_classes)
        return Verdict(status="False", reason=Reason.RUNTIME_CLASS_NOT_ALLOWED, message=message)
    if _is_missing(scheduler, (*pods.schedulers, *([_USUAL_SCHEDULER] if pods.schedulers else []))):
        message = _describe_allowed("schedulerName", scheduler, "schedulers", pods.schedulers)
        return Verdict(status="False", reason=Reason.SCHEDULER_NOT_ALLOWED, message=message)
    return (
        _check_csi_drivers(trainer, pods)
        or _check_other_images(trainer, pods)
        or _check_image(trainer, status, pods)
        or _check_default_resources(search, pods)
    )


def _is_missing(name: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a list of the platform lacks the name; an empty list allows every name."""
    return name is not None and bool(allowed) and name not in allowed


def _describe_allowed(field: str, name: str | None, value: str, allowed: tuple[str, ...]) -> str:
    listed = ", ".join(allowed) or "none"
    return f'spec.trainer.{field}: "{name}" must be one that the platform allows (chart value trainer.{value}): {listed}'


def _check_image(trainer: Trainer, status: Status, pods: PodSettings) -> Verdict | None:
    """Why the image is not allowed, or None. The chart's own image is always allowed, and so is a pinned one of its repository."""
    image = trainer.image or pinned_image(status)
    is_known = image in ("", pods.image) or (not trainer.image and _repository(image) == _repository(pods.image))
    if is_known or not pods.allowed_images or any(_begins_with(image, part) for part in pods.allowed_images):
        return None
    where, allowed = "spec.trainer.image" if trainer.image else "status.trainer.pinnedImage", ", ".join(pods.allowed_images)
    message = f'{where}: "{image}" must begin with an entry of the chart value trainer.allowedImages: {allowed}'
    hint = "" if trainer.image else "; name another in spec.trainer.image"
    return Verdict(status="False", reason=Reason.IMAGE_NOT_ALLOWED, message=message + hint)


def _check_other_images(trainer: Trainer, pods: PodSettings) -> Verdict | None:
    """Why an image of a volume or of an init container is not allowed, or None."""
    for name, image in trainer.other_images:
        if image != pods.image and pods.allowed_images and not any(_begins_with(image, part) for part in pods.allowed_images):
            allowed = ", ".join(pods.allowed_images)
            message = f'spec.trainer.{name}: "{image}" must begin with an entry of the chart value trainer.allowedImages: {allowed}'
            return Verdict(status="False", reason=Reason.IMAGE_NOT_ALLOWED, message=message)
    return None


def _check_csi_drivers(trainer: Trainer, pods: PodSettings) -> Verdict | None:
    """Why an inline volume is not allowed, or None: an empty list allows no driver, because each has rights of its own on the node."""
    for index, volume in enumerate(trainer.volumes or []):
        if volume.csi is not None and volume.csi.driver not in pods.csi_drivers:
            message = _describe_allowed(f"volumes[{index}].csi.driver", volume.csi.driver, "csiDrivers", pods.csi_drivers)
            return Verdict(status="False", reason=Reason.CSI_DRIVER_NOT_ALLOWED, message=message)
    return None


def _check_default_resources(search: Search, pods: PodSettings) -> Verdict | None:
    """Why the search does not fit into the resources that the platform gives it, or None; `accept` has checked those of its own."""
    problem = next(find_resource_errors(with_defaults(search, pods.defaults).spec), None)
    if problem is None:
        return None
    message = f"{problem} (with what the search leaves out from the chart value trainer.defaults)"
    return Verdict(status="False", reason=Reason.INVALID_SPEC, message=message)


def _repository(image: str) -> str:
    """The image without its tag and digest. A port belongs to the registry."""
    name = image.partition("@")[0]
    before, slash, last = name.rpartition("/")
    return before + slash + last.partition(":")[0]


def _begins_with(image: str, prefix: str) -> bool:
    """Compares whole path components: `registry.example/team` does not allow `registry.example/team-of-others/image`."""
    rest = image.removeprefix(prefix)
    return image.startswith(prefix) and (not rest or prefix[-1] in "/:@" or rest[0] in "/:@")


def is_relabelled(search: SearchRecord, job: JobRecord) -> bool:
    """Whether the labels or annotations for Kueue have changed since the Job was created. Jobs of older operators note none."""
    return bool(job.queue_hash) and job.queue_hash != search.queue_hash


def has_been_admitted(job: JobRecord, previous: Status) -> bool:
    """Whether a queue has ever admitted this Job, or no queue holds it."""
    before = verdict_of(previous, ConditionType.ADMITTED)
    return (
        not job.is_suspended
        or job.resumed_s is not None
        or (before is not None and before.reason in (Reason.QUOTA_RESERVED, Reason.EVICTED))
    )


def admitted_verdict(search: SearchRecord, job: JobRecord | None, previous: Status, now_s: float) -> Verdict:
    """The condition Admitted: whether a queue holds the Job back."""
    verdict = _judge_admission(job, previous, now_s)
    if job is None or job.is_deleting or not is_relabelled(search, job) or not has_been_admitted(job, previous):
        return verdict
    later = "the search's labels or annotations for Kueue have changed: they apply to the next Job (suspend the search and resume it)"
    return replace(verdict, message=f"{verdict.message}; {later}")


def _judge_admission(job: JobRecord | None, previous: Status, now_s: float) -> Verdict:
    before = verdict_of(previous, ConditionType.ADMITTED)
    if job is None or job.is_deleting:
        return Verdict(status="Unknown", reason=Reason.NO_JOB, message="no Job requests quota")
    if job.is_suspended:
        return _judge_held_job(job, previous, now_s)
    if job.resumed_s is not None or (before is not None and before.reason in _QUEUED):
        return Verdict(status="True", reason=Reason.QUOTA_RESERVED, message=f"Job {job.name} may run{_name_queue(job)}")
    if job.queue:
        message = f"the label names queue {job.queue}, but nothing suspended Job {job.name}: is Kueue installed?"
        return Verdict(status="True", reason=Reason.NOT_QUEUED, message=message)
    return Verdict(status="True", reason=Reason.NOT_QUEUED, message="the Job names no queue")


def _judge_held_job(job: JobRecord, previous: Status, now_s: float) -> Verdict:
    before = verdict_of(previous, ConditionType.ADMITTED)
    if before is not None and (before.reason == Reason.EVICTED or (before.status == "True" and before.reason == Reason.QUOTA_RESERVED)):
        reason, message = (
            Reason.EVICTED,
            f"Job {job.name} lost its quota{_name_queue(job)}; when it gets quota again, the search {continuation(previous)}",
        )
    else:
        since = next(
            (c.last_transition_time for c in previous.conditions if c.type == ConditionType.ADMITTED and c.status == "False"), None
        )
        waited_s = now_s - (epoch(since) or now_s)
        reason = Reason.WAITING_FOR_QUOTA if waited_s < intervals.QUOTA_EXPECTED_S else Reason.WAITING_FOR_QUOTA_TOO_LONG
        message = f"Job {job.name} waits for quota{_name_queue(job)}"
    if not job.queue:
        message = f"Job {job.name} is suspended, but names no queue: set its spec.suspend to false"
    return Verdict(status="False", reason=reason, message=message)


def _name_queue(job: JobRecord) -> str:
    return f" (queue {job.queue})" if job.queue else ""


def suspended_verdict(phase: Phase, previous: Status, *, is_wanted: bool) -> Verdict:
    """The condition Suspended: whether no pod is left, as `spec.suspend` asks."""
    before = verdict_of(previous, ConditionType.SUSPENDED)
    if phase is Phase.SUSPENDED:
        if previous.checkpoint is None:
            left = "nothing has been trained; set spec.suspend to false to continue"
        elif is_durable(previous):
            left = f"the checkpoint of step {previous.checkpoint.step} is kept; set spec.suspend to false to continue"
        else:
            left = (
                "its checkpoints are gone with it (checkpoint.storage names no claim); with spec.suspend false the search starts from zero"
            )
        return Verdict(status="True", reason=Reason.SUSPEND_REQUESTED, message=f"no pod is left, and {left}")
    is_at_work = phase not in (Phase.SUCCEEDED, Phase.FAILED, Phase.REJECTED)
    if is_wanted and is_at_work:
        return Verdict(status="False", reason=Reason.SUSPENDING, message="spec.suspend is true; the trainer is being stopped")
    if is_at_work and before is not None and before.reason in (Reason.SUSPEND_REQUESTED, Reason.SUSPENDING, Reason.RESUMED):
        return Verdict(status="False", reason=Reason.RESUMED, message="the search continues after a suspension")
    return Verdict(status="False", reason=Reason.NOT_SUSPENDED, message="the search is not suspended")
