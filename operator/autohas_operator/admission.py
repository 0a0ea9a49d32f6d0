"""Who holds a search back: the platform, a queue (Kueue) that suspends its Job, or the person who suspended the search. Pure.

Kueue is recognised by what it does to the Job and never guessed from labels: a cluster may give Jobs a queue by default.
"""

from __future__ import annotations

from typing import Final

from autohas_api.pod_spec import Trainer
from autohas_api.status import ConditionType, Phase, Status
from autohas_operator import policy
from autohas_operator.conditions import Verdict, goes_on, is_durable, verdict_of
from autohas_operator.observe import JobRecord
from autohas_operator.settings import PodSettings
from autohas_operator.wording import epoch

_QUEUED: Final = ("QuotaReserved", "WaitingForQuota", "WaitingForQuotaTooLong", "Evicted")


def platform_refusal(trainer: Trainer, pods: PodSettings) -> Verdict | None:
    """Why the platform makes no Job of this, if it does not: Kubernetes does not ask whether the author may use image and account."""
    account = trainer.service_account_name
    if account is not None and account not in pods.service_accounts:
        allowed = ", ".join(pods.service_accounts) or "none"
        where = f'spec.trainer.serviceAccountName: "{account}"'
        message = f"{where} must be one that the platform allows (chart value trainer.serviceAccounts): {allowed}"
        return Verdict(status="False", reason="ServiceAccountNotAllowed", message=message)
    if trainer.image and pods.allowed_images and not any(_begins_with(trainer.image, part) for part in pods.allowed_images):
        where, allowed = f'spec.trainer.image: "{trainer.image}"', ", ".join(pods.allowed_images)
        message = f"{where} must begin with one of what the platform allows (chart value trainer.allowedImages): {allowed}"
        return Verdict(status="False", reason="ImageNotAllowed", message=message)
    return None


def _begins_with(image: str, prefix: str) -> bool:
    """Whole parts only: `registry.example/team` must not let `registry.example/team-of-somebody-else/image` pass."""
    rest = image.removeprefix(prefix)
    return image.startswith(prefix) and (not rest or prefix[-1] in "/:@" or rest[0] in "/:@")


def admitted_verdict(job: JobRecord | None, previous: Status, now_s: float) -> Verdict:
    """Whether the Job may make pods, as far as queues are concerned."""
    was = verdict_of(previous, ConditionType.ADMITTED)
    if job is None or job.is_deleting:
        return Verdict(status="Unknown", reason="NoJob", message="no Job asks for quota")
    if job.is_suspended:
        return _held_back(job, previous, now_s)
    if job.resumed_s is not None or (was is not None and was.reason in _QUEUED):
        return Verdict(status="True", reason="QuotaReserved", message=f"Job {job.name} may run{_by(job)}")
    if job.queue:
        message = f"the label names queue {job.queue}, but nothing suspended Job {job.name}: is Kueue installed?"
        return Verdict(status="True", reason="NotQueued", message=message)
    return Verdict(status="True", reason="NotQueued", message="no queue is asked for")


def _held_back(job: JobRecord, previous: Status, now_s: float) -> Verdict:
    was = verdict_of(previous, ConditionType.ADMITTED)
    if was is not None and (was.reason == "Evicted" or (was.status == "True" and was.reason == "QuotaReserved")):
        reason, message = "Evicted", f"Job {job.name} lost its quota{_by(job)} and {goes_on(previous)} when it gets another"
    else:
        since = next(
            (c.last_transition_time for c in previous.conditions if c.type == ConditionType.ADMITTED and c.status == "False"), None
        )
        waited_s = now_s - (epoch(since) or now_s)
        reason = "WaitingForQuota" if waited_s < policy.QUOTA_EXPECTED_S else "WaitingForQuotaTooLong"
        message = f"Job {job.name} waits for quota{_by(job)}"
    if not job.queue:
        message = f"Job {job.name} is suspended, but names no queue: whoever set its spec.suspend must unset it"
    return Verdict(status="False", reason=reason, message=message)


def _by(job: JobRecord) -> str:
    return f" (queue {job.queue})" if job.queue else ""


def suspended_verdict(phase: Phase, previous: Status, *, is_wanted: bool) -> Verdict:
    """Whether the search is at rest because a person wants it."""
    was = verdict_of(previous, ConditionType.SUSPENDED)
    if phase is Phase.SUSPENDED:
        if previous.checkpoint is None:
            left = "nothing has been trained; set spec.suspend to false to go on"
        elif is_durable(previous):
            left = f"the checkpoint of step {previous.checkpoint.step} is kept; set spec.suspend to false to go on"
        else:
            left = "its checkpoints went with it (no claim in checkpoint.storage); with spec.suspend set to false it begins anew"
        return Verdict(status="True", reason="SuspendRequested", message=f"no pod is left and {left}")
    is_at_work = phase not in (Phase.SUCCEEDED, Phase.FAILED, Phase.REJECTED)
    if is_wanted and is_at_work:
        return Verdict(status="False", reason="Suspending", message="spec.suspend is true; the trainer is being stopped")
    if is_at_work and was is not None and was.reason in ("SuspendRequested", "Suspending", "Resumed"):
        return Verdict(status="False", reason="Resumed", message="the search goes on after it was suspended")
    return Verdict(status="False", reason="NotSuspended", message="the search is not suspended")
