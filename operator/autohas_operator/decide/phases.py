"""The rules that decide what to do about one accepted search: each looks, and decides or lets the next one look. Pure.

Read `course` from top to bottom. Called by `plan` only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide import policy
from autohas_operator.decide.admission import has_been_admitted, image_for, is_relabelled
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.decide.conditions import changed_s, verdict_of
from autohas_operator.decide.limits import COULD_START, Moment, broken_limit, late_without_job, next_limit_s, start_due_s
from autohas_operator.decide.policy import Ending
from autohas_operator.decide.readiness import Readiness, not_ready, readiness, spoiled, stopping, unpullable
from autohas_operator.decide.replacements import is_held, outliving, replacement
from autohas_operator.errors import Obstacle
from autohas_operator.hints import with_cure
from autohas_operator.manifests.job import Attempt, build_config_map, build_job
from autohas_operator.records.observed import JobRecord, Observed, PodRecord, child_name
from autohas_operator.settings import PodSettings
from autohas_operator.wording import epoch

_MOST_LOST_ATTEMPTS: Final = 100
"""Attempts that may have been made without their number reaching the status."""
_LOOK_AGAIN_S: Final = 5.0
"""How soon to look again for pods and Jobs that are about to vanish, should their event be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that the rules look at: the search and its space, what is observed, what was said, when it is."""

    search: Search
    space: Space
    observed: Observed
    previous: Status
    pods: PodSettings
    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAttempt:
    """Create the ConfigMap, then the Job, of attempt `number`."""

    number: int
    config_map: dict[str, Any]
    job: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteJob:
    """Delete exactly this Job, its pods first."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchJob:
    """Annotate exactly this Job: its controller looks at it again, should it have forgotten it."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a rule decided.

    `attempt` and `image` are set when a Job is there or is to be made. `reason` is that of the condition Succeeded while
    the search goes on; None stands for the phase. `failures`: those that the next Job begins with, when they change.
    """

    readiness: Readiness
    action: CreateAttempt | DeleteJob | TouchJob | CleanUp | None = None
    ending: Ending | None = None
    attempt: int | None = None
    image: str | None = None
    reason: Reason | None = None
    failures: int | None = None


def course(scene: Scene) -> Course:
    """What the first rule that applies decides."""
    job = scene.observed.job
    if job is None:
        return _at_rest(scene) or _next_attempt(scene)
    rules = (_outdated, _ended, _leaving, _spoiled, _repeated, _suspending, _limited, _requeued, _replaced, _renewed, _unpullable)
    for rule in rules:
        decided = rule(scene, job)
        if decided is not None:
            return decided
    going_on = _exited(scene, job) or readiness(job, scene.observed, scene.previous, scene.now_s)
    limit_s = next_limit_s(_moment(scene, job, going_on))
    touch_s = policy.next_touch_s(job, scene.observed.pods_of(job), epoch(scene.previous.last_report_time))
    action = TouchJob(name=job.name, uid=job.uid) if touch_s is not None and touch_s <= scene.now_s else None
    rest_s = None if touch_s is None else max(_LOOK_AGAIN_S, touch_s - scene.now_s)
    look_again_s = min((s for s in (going_on.look_again_s, limit_s, rest_s) if s is not None), default=None)
    going_on = replace(going_on, look_again_s=look_again_s)
    return Course(readiness=going_on, action=action, attempt=job.attempt, image=job.image, reason=_kept_reason(scene, job))


def hindered(scene: Scene, decided: Course, obstacle: Obstacle) -> Course:
    """The API server refused the action: what it says is shown, nothing is noted as done, and it is tried again, ever more seldom."""
    attempted = decided.action if isinstance(decided.action, CreateAttempt) else None
    phase = decided.readiness.phase
    if attempted is not None:
        late = late_without_job(scene.search.spec, scene.previous, f"{obstacle.reason}: {obstacle.message}", scene.now_s)
        if late is not None:
            left = CleanUp(config_maps=(attempted.config_map["metadata"]["name"],), jobs=())
            return Course(readiness=not_ready(Phase.FAILED, Reason.FINISHED, "no Job was made"), action=left, ending=late)
        phase = Phase.INTERRUPTED if scene.previous.attempt else Phase.PENDING
    since_s = changed_s(scene.previous, ConditionType.TRAINER_READY, *COULD_START)
    look_again_s, due_s = policy.retry_s(since_s, scene.now_s), start_due_s(scene.search.spec, scene.previous)
    if due_s is not None:
        look_again_s = min(look_again_s, max(0.0, due_s - scene.now_s))
    shown = not_ready(phase, obstacle.reason, obstacle.message, look_again_s)
    attempt, image = (None, None) if attempted is not None else (decided.attempt, decided.image)
    reason = _kept_reason(scene, None) if attempted is not None else decided.reason
    return Course(readiness=shown, attempt=attempt, image=image, reason=reason)


def _at_rest(scene: Scene) -> Course | None:
    """A suspended search without a Job; Suspended is said when no pod of it is left."""
    if not scene.search.spec.suspend:
        return None
    resting = not_ready(Phase.SUSPENDED, Reason.SUSPENDED, "no pod runs while the search is suspended")
    return Course(readiness=_pod_left(scene, Phase.SUSPENDING) or resting, reason=_kept_reason(scene, None))


def _pod_left(scene: Scene, phase: Phase) -> Readiness | None:
    """A pod whose Job is gone and that could still work on the checkpoint."""
    left = [pod for pod in scene.observed.pods if pod.search_uid == scene.observed.search.uid and not pod.is_over]
    if not left:
        return None
    stuck = stopping(left[-1], phase, scene.now_s) if left[-1].deletion_s is not None else None
    if stuck is not None and stuck.verdict.reason == Reason.NODE_UNREACHABLE:
        return stuck
    message = f"pod {left[-1].name} of an earlier attempt still runs without its Job; nothing follows before it is gone"
    return not_ready(phase, Reason.WAITING_FOR_POD_TERMINATION, message, _LOOK_AGAIN_S)


def _next_number(scene: Scene) -> int:
    """One more than any attempt that left a trace, and no name that others hold.

    Labels of pods are anybody's to write, so a number far beyond ours is no trace.
    """
    known = scene.previous.attempt or 0
    labelled = (pod.attempt for pod in scene.observed.pods if pod.search_uid == scene.observed.search.uid)
    first = max([known, *(number for number in labelled if number <= known + _MOST_LOST_ATTEMPTS)]) + 1
    return next(number for number in count(first) if number not in scene.observed.taken)


def _next_attempt(scene: Scene) -> Course:
    """A new Job, once no pod of the search is left that could still work on its checkpoint."""
    record, previous = scene.observed.search, scene.previous
    waiting = _pod_left(scene, Phase.INTERRUPTED)
    if waiting is not None:
        return Course(readiness=waiting, reason=_kept_reason(scene, None))
    number = _next_number(scene)
    image = image_for(scene.search, previous, scene.pods)
    name = child_name(record, number)
    attempt = Attempt(
        number=number,
        image=image,
        starts_before=previous.starts or 0,
        step_before=previous.checkpoint.step if previous.checkpoint is not None else 0,
        interruptions_before=previous.interruptions or 0,
        failures_before=previous.failures or 0,
    )
    return Course(
        readiness=not_ready(Phase.STARTING, Reason.WAITING_FOR_POD, f"Job {name} is created, its pod is not yet", policy.PODS_EXPECTED_S),
        action=CreateAttempt(
            number=number,
            config_map=build_config_map(record, number),
            job=build_job(record, scene.search, attempt, scene.pods),
        ),
        attempt=number,
        image=image,
        reason=Reason.RECOVERING_RESULT if _kept_reason(scene, None) is not None else None,
    )


def _outdated(scene: Scene, job: JobRecord) -> Course | None:
    """A Job of a spec that was edited before its attempt was noted in status; after that the API server allows no edits."""
    is_noted = job.attempt <= (scene.previous.attempt or 0)
    if is_noted or job.spec_hash == scene.observed.search.spec_hash:
        return None
    waiting = not_ready(Phase.STARTING, Reason.SPEC_CHANGED, f"Job {job.name} runs an older spec and is replaced", _LOOK_AGAIN_S)
    return Course(readiness=waiting, action=None if job.is_deleting else DeleteJob(name=job.name, uid=job.uid))


def _leaving(scene: Scene, job: JobRecord) -> Course | None:
    """A Job that is being deleted, by a person or by one of these rules."""
    if not job.is_deleting:
        return None
    is_suspended = scene.search.spec.suspend
    phase = Phase.SUSPENDING if is_suspended else Phase.INTERRUPTED
    follows = "" if is_suspended else "; the next attempt follows"
    waiting = not_ready(phase, Reason.JOB_DELETED, f"Job {job.name} is being deleted{follows}", _LOOK_AGAIN_S)
    lost = next((stopping(pod, phase, scene.now_s) for pod in scene.observed.pods_of(job) if pod.deletion_s and not pod.is_over), None)
    if lost is not None and lost.verdict.reason == Reason.NODE_UNREACHABLE:
        waiting = lost
    return Course(readiness=waiting, attempt=job.attempt, image=job.image, reason=_kept_reason(scene, job))


def _ended(scene: Scene, job: JobRecord) -> Course | None:
    """A trainer that exited with 0 and said something, or a Job that gave up."""
    pods, ignored = scene.observed.pods_of(job), scene.observed.ignored
    succeeded = policy.successful_pod(pods)
    if succeeded is not None and policy.has_last_word(succeeded):
        return _over(policy.judge_result(succeeded, scene.search, scene.space), job, pods)
    failure = job.failure or policy.certain_failure(job, pods)
    is_on_its_way = job.is_deleting and _was_ready_reason(scene) in (Reason.POD_LOST, Reason.JOB_DELETED)
    if failure is None or policy.is_forgiven(job, pods) or (is_on_its_way and failure.reason == policy.BY_LIMIT):
        return None
    if policy.is_spoiled(job, pods, ignored):
        return None
    return _over(policy.judge_failure(job, failure, pods), job, pods)


def _spoiled(scene: Scene, job: JobRecord) -> Course | None:
    """A Job that pods have ended which count for nothing."""
    found = spoiled(job, scene.observed, scene.previous, is_suspended=scene.search.spec.suspend)
    if found is None:
        return None
    waiting, is_replaced = found
    if is_replaced:
        return _deleting(scene, job, waiting)
    return Course(readiness=waiting, attempt=job.attempt, image=job.image, reason=_kept_reason(scene, job))


def _deleting(scene: Scene, job: JobRecord, waiting: Readiness) -> Course:
    """The Job goes; whatever it had counted stays in status."""
    waiting, action = replace(waiting, look_again_s=_LOOK_AGAIN_S), DeleteJob(name=job.name, uid=job.uid)
    return Course(readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=_kept_reason(scene, job))


def _over(ending: Ending, job: JobRecord, pods: tuple[PodRecord, ...] = ()) -> Course:
    phase, message = Phase.SUCCEEDED if ending.result is not None else Phase.FAILED, f"attempt {job.attempt} has ended"
    if pods and pods[-1].is_outlived:
        message = with_cure(Reason.SIDECAR_RUNNING, f"{message}; its Job is deleted, since {outliving(pods[-1])}")
    over = not_ready(phase, Reason.FINISHED, message)
    return Course(readiness=over, ending=ending, attempt=job.attempt, image=job.image)


def _repeated(scene: Scene, job: JobRecord) -> Course | None:
    """A complete Job whose result is lost: one repetition, in which the trainer finds its result and says it again.

    The intention is written to status before the Job is deleted, so that whoever comes next knows that it was one.
    """
    silent = policy.successful_pod(scene.observed.pods_of(job))
    if not job.is_complete and (silent is None or not is_held(silent, scene.now_s)):
        return None
    was, attempt = _kept_reason(scene, job), scene.previous.attempt or 0
    if was == Reason.RECOVERING_RESULT:
        message = f"attempt {job.attempt} is complete like the one before it, but the result of neither could be read"
        return _over(Ending(reason=Reason.RESULT_MISSING, message=message), job)
    waiting = not_ready(
        Phase.FINALIZING, Reason.RESULT_MISSING, f"Job {job.name} is complete, but left no result; it is repeated once", 0.0
    )
    is_noted = was == Reason.RESULT_MISSING and attempt == job.attempt
    action = DeleteJob(name=job.name, uid=job.uid) if is_noted else None
    return Course(readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=Reason.RESULT_MISSING)


def _suspending(scene: Scene, job: JobRecord) -> Course | None:
    """The search is to be suspended: its Job goes, and with it its pod, which writes a checkpoint first.

    A trainer that has just exited with 0 is waited for: a result is better than a pause.
    """
    ended_well = policy.successful_pod(scene.observed.pods_of(job))
    if not scene.search.spec.suspend or (ended_well is not None and not ended_well.is_outlived):
        return None
    waiting = not_ready(Phase.SUSPENDING, Reason.SUSPENDING, f"Job {job.name} is deleted because spec.suspend is true", _LOOK_AGAIN_S)
    action = DeleteJob(name=job.name, uid=job.uid)
    return Course(readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=_kept_reason(scene, job), failures=0)


def _limited(scene: Scene, job: JobRecord) -> Course | None:
    """A search that its spec gives no more time or patience; a trainer that has just ended well is heard first."""
    if policy.successful_pod(scene.observed.pods_of(job)) is not None:
        return None
    ending = broken_limit(_moment(scene, job, readiness(job, scene.observed, scene.previous, scene.now_s)))
    return _over(ending, job) if ending is not None else None


def _moment(scene: Scene, job: JobRecord, going_on: Readiness) -> Moment:
    waits_for = f"{going_on.verdict.reason}: {going_on.verdict.message}"
    return Moment(spec=scene.search.spec, job=job, observed=scene.observed, previous=scene.previous, waits_for=waits_for, now_s=scene.now_s)


def _requeued(scene: Scene, job: JobRecord) -> Course | None:
    """A Job that no queue has admitted, and whose search has other labels or annotations for Kueue by now: they act at creation."""
    if not is_relabelled(scene.observed.search, job) or has_been_admitted(job, scene.previous) or scene.observed.pods_of(job):
        return None
    message = f"Job {job.name} was made with other labels or annotations for Kueue and was never admitted; it is replaced"
    waiting = not_ready(Phase.QUEUED, Reason.QUEUE_CHANGED, message, _LOOK_AGAIN_S)
    action = DeleteJob(name=job.name, uid=job.uid)
    return Course(readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=_kept_reason(scene, job))


def _replaced(scene: Scene, job: JobRecord) -> Course | None:
    """A Job that cannot continue by itself though its search can (see `replacements`).

    Why, and what its failures have used up of backoffLimit, is written to status before it is deleted: its pods may vanish first.
    """
    pods = scene.observed.pods_of(job)
    found = replacement(job, pods, scene.previous, scene.now_s)
    if found is None:
        return None
    failures = job.failures_before + policy.num_failures(job, pods)
    is_noted = failures == (scene.previous.failures or 0) and _was_ready_reason(scene) == found.readiness.verdict.reason
    action = DeleteJob(name=job.name, uid=job.uid) if found.rest_s <= 0 and is_noted else None
    return Course(
        readiness=replace(found.readiness, look_again_s=_LOOK_AGAIN_S if action is not None else max(0.0, found.rest_s)),
        action=action,
        attempt=job.attempt,
        image=job.image,
        reason=_kept_reason(scene, job),
        failures=failures,
    )


def _was_ready_reason(scene: Scene) -> str:
    """Reason of TrainerReady as status has it."""
    was = verdict_of(scene.previous, ConditionType.TRAINER_READY)
    return was.reason if was is not None else ""


def _renewed(scene: Scene, job: JobRecord) -> Course | None:
    """A Job whose pods were interrupted again and again, and got on: its back-off, up to 10 minutes, would punish them.

    Kubernetes counts no failure for them, but makes the next pod wait as if it did (measured, Kubernetes 1.35). A Job that a
    queue has admitted stays: a new one would have to queue again.
    """
    previous, pods = scene.previous, scene.observed.pods_of(job)
    is_between_pods = all(pod.is_over for pod in pods) and (not pods or policy.is_interruption(pods[-1]))
    num_interrupted = (previous.starts or 0) - job.starts_before - policy.num_failures(job, pods)
    step = previous.checkpoint.step if previous.checkpoint is not None else 0
    if (
        job.is_suspended
        or job.resumed_s is not None
        or not is_between_pods
        or num_interrupted < policy.MAX_IGNORED_ENDS
        or step <= job.step_before
    ):
        return None
    message = f"Job {job.name} was interrupted {num_interrupted} times and got on; a new one does not wait as long for its next pod"
    waiting = not_ready(Phase.INTERRUPTED, Reason.JOB_RECREATED, message, _LOOK_AGAIN_S)
    action = DeleteJob(name=job.name, uid=job.uid)
    return Course(readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=_kept_reason(scene, job), failures=0)


def _unpullable(scene: Scene, job: JobRecord) -> Course | None:
    """A Job whose image cannot be pulled while a new Job would have another."""
    waiting = unpullable(job, scene.observed, image_for(scene.search, scene.previous, scene.pods))
    return _deleting(scene, job, waiting) if waiting is not None else None


def _exited(scene: Scene, job: JobRecord) -> Readiness | None:
    """A trainer that exited with 0 and said nothing: the Job controller has the next word."""
    succeeded = policy.successful_pod(scene.observed.pods_of(job))
    if succeeded is None:
        return None
    return not_ready(Phase.FINALIZING, Reason.TRAINER_EXITED, f"pod {succeeded.name} has ended; its Job is not complete yet", _LOOK_AGAIN_S)


def _kept_reason(scene: Scene, job: JobRecord | None) -> Reason | None:
    """A repetition stays one until the search ends, whoever restarts in between."""
    was = verdict_of(scene.previous, ConditionType.SUCCEEDED)
    if was is None or was.reason not in (Reason.RESULT_MISSING, Reason.RECOVERING_RESULT):
        return None
    is_next = job is not None and job.attempt > (scene.previous.attempt or 0)
    return Reason.RECOVERING_RESULT if is_next else Reason(was.reason)
