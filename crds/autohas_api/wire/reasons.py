"""Reasons: the CamelCase words of conditions and events, each with its meaning. `docs/troubleshooting.md` has them with what to do.

`Reason` is what the operator writes, `NoticeReason` what a trainer may give in a notice, which the operator posts as an event.
Meanings are one line of Markdown; a test compares them with the tables of the document.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _Explained(StrEnum):
    """A word with its meaning."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> Self:
        """Make the member `word`."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member


class Reason(_Explained):
    """Every reason of a condition and of an event that the operator writes, except the phases, which are reasons too."""

    # Accepted
    VALID = "Valid", "the spec is valid, and the platform allows it"
    INVALID_SPEC = "InvalidSpec", "the schema accepts the spec, but a rule that it cannot express does not; the message names the field"
    TEMPLATE_REJECTED = "TemplateRejected", "the API server refuses the Job or ConfigMap as this spec makes it (400, 422)"
    SERVICE_ACCOUNT_NOT_ALLOWED = "ServiceAccountNotAllowed", "the platform does not allow this `trainer.serviceAccountName`"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed", "an image of the pod does not begin with an entry of the platform's list"
    CSI_DRIVER_NOT_ALLOWED = "CsiDriverNotAllowed", "the platform does not allow the driver of a `csi` volume"
    PRIORITY_CLASS_NOT_ALLOWED = (
        "PriorityClassNotAllowed",
        "the platform does not allow this `trainer.priorityClassName`; classes that begin with `system-` are never allowed",
    )
    RUNTIME_CLASS_NOT_ALLOWED = "RuntimeClassNotAllowed", "the platform does not allow this `trainer.runtimeClassName`"
    SCHEDULER_NOT_ALLOWED = "SchedulerNotAllowed", "the platform does not allow this `trainer.schedulerName`"
    SPEC_UNREADABLE = (
        "SpecUnreadable",
        (
            "the search was stored under a former schema, and its spec does not fit the present one: its result stays, the operator does"
            " nothing more for it; delete it, and apply it again with the present names of fields"
        ),
    )
    VERSION_SKEW = "VersionSkew", "the image of the running trainer has another version of AutoHAS than the operator"

    # Admitted
    NOT_QUEUED = "NotQueued", "no queue holds the Job"
    NO_JOB = "NoJob", "there is no Job yet, or it is being deleted"
    WAITING_FOR_QUOTA = "WaitingForQuota", "a queue, or a user, keeps the Job suspended"
    WAITING_FOR_QUOTA_TOO_LONG = "WaitingForQuotaTooLong", "the Job has been suspended for ten minutes"
    QUOTA_RESERVED = "QuotaReserved", "the queue has admitted the Job: it may run"
    EVICTED = "Evicted", "the queue took its quota back from the Job"

    # TrainerReady
    REPORTING = "Reporting", "the trainer works and reports its progress"
    WAITING_FOR_POD = "WaitingForPod", "the Job is a few seconds old and has no pod yet"
    QUOTA_EXCEEDED = "QuotaExceeded", "the ResourceQuota is too small for the Job or its pod"
    NAMESPACE_TERMINATING = "NamespaceTerminating", "the namespace is being deleted; nothing can start in it"
    PODS_NOT_CREATED = (
        "PodsNotCreated",
        "the Job controller cannot create the pod: Pod Security, an admission policy, a missing service account or priority class",
    )
    UNSCHEDULABLE = "Unschedulable", "no node fits"
    IMAGE_PULL_FAILED = "ImagePullFailed", "the image does not exist, or the pull is not allowed"
    CONTAINER_NOT_CREATED = (
        "ContainerNotCreated",
        "the kubelet cannot create the container: missing Secret or ConfigMap, broken runtime",
    )
    FAILED_MOUNT = "FailedMount", "a volume could not be mounted for a minute"
    POD_STARTING = "PodStarting", "the container is being created"
    INIT_CONTAINER_RUNNING = "InitContainerRunning", "an init container runs; the trainer starts when it has ended"
    WAITING_FOR_REPORT = "WaitingForReport", "the pod runs and has not answered yet"
    PROGRESS_UNREACHABLE = "ProgressUnreachable", "the trainer runs, but three polls of its progress had no usable answer"
    QUEUE_CHANGED = (
        "QueueChanged",
        "the labels or annotations for Kueue changed before the Job was admitted; the Job is replaced",
    )
    JOB_SUSPENDED = "JobSuspended", "a queue, or a user, suspended the Job"
    TERMINATING = "Terminating", "the pod is being stopped"
    NODE_UNREACHABLE = (
        "NodeUnreachable",
        "the pod should have been gone for a minute, and its node does not confirm that it has stopped",
    )
    INTERRUPTED = "Interrupted", "the trainer was stopped from outside (preemption, eviction, drain)"
    POD_LOST = (
        "PodLost",
        (
            "the pod's node rebooted, or the node's container runtime was restarted (exit code 255 `Unknown`, 137"
            " `ContainerStatusUnknown`): an interruption, although the Job counts it as a failure. If the Job gives up because of that, a"
            " new Job follows"
        ),
    )
    TRAINER_FAILED = "TrainerFailed", "the trainer failed, or the kubelet did not admit its pod"
    INIT_CONTAINER_FAILED = (
        "InitContainerFailed",
        "an init container failed, so that the trainer did not start; the message has its name, exit code and last lines",
    )
    SIDECAR_RUNNING = (
        "SidecarRunning",
        (
            "the trainer has ended, but another container of its pod still runs, so that the pod does not end for Kubernetes; after 30 s"
            " the Job is deleted"
        ),
    )
    STALLED = (
        "Stalled",
        (
            "no step within `failurePolicy.stallTimeoutSeconds`, no answer to three probes 30 s apart, or imports and data took more than"
            " half an hour; the kubelet stopped the trainer, and the next pod follows"
        ),
    )
    BACK_OFF = "BackOff", "the Job waits before its next pod: 10 s, doubled up to 10 minutes"
    JOB_RECREATED = "JobRecreated", "three interruptions with progress in between: a new Job has a shorter back-off"
    JOB_DELETED = "JobDeleted", "the Job is being deleted, by a user or by the operator"
    WAITING_FOR_POD_TERMINATION = "WaitingForPodTermination", "a pod whose Job is gone could still write to the checkpoint"
    SPEC_CHANGED = "SpecChanged", "the spec was edited before the first Job was noted in status; the Job is replaced"
    POD_IGNORED = (
        "PodIgnored",
        (
            "a pod with this search's labels is not what its Job describes (another image, command, variable, mount or volume): the"
            " operator ignores its result and its progress"
        ),
    )
    JOB_REPLACED = (
        "JobReplaced",
        "an ignored pod has ended the Job, or its image cannot be pulled and the chart names another one now: a new Job follows",
    )
    TRAINER_EXITED = "TrainerExited", "the trainer exited with 0; its Job is not complete yet"
    RESULT_MISSING = "ResultMissing", "the Job is complete, but its result is lost (the pod was deleted too early)"
    JOB_FORBIDDEN = "JobForbidden", "an admission policy refuses the Job, or its deletion"
    JOB_NOT_CREATED = (
        "JobNotCreated",
        "the API server fails to create the Job (a webhook that is down, a namespace that is being deleted)",
    )
    NAME_STILL_TERMINATING = "NameStillTerminating", "a deleted ConfigMap or Job of the same name still exists"
    NAME_CONFLICT = (
        "NameConflict",
        "objects with the names of twenty attempts in a row have another owner; a single one is skipped, with an event of this name",
    )
    OPERATOR_FORBIDDEN = "OperatorForbidden", "the operator itself lacks a permission"
    SUSPENDING = "Suspending", "`spec.suspend` is true, and the trainer is being stopped; it writes its checkpoint first"
    SUSPENDED = "Suspended", "no pod runs while the search is suspended"
    NOT_ACCEPTED = "NotAccepted", "nothing starts before the search is accepted"
    FINISHED = "Finished", "the search has ended"

    # CheckpointReady
    FRESH = "Fresh", "the newest checkpoint is on the claim, and not older than two periods"
    NO_CHECKPOINT_YET = "NoCheckpointYet", "the trainer has reported no checkpoint yet"
    STALE = "Stale", "the newest checkpoint is older than two periods"
    RESTORE_FAILED = "RestoreFailed", "the search ended because none of its checkpoints could be read"
    NOT_DURABLE = "NotDurable", "checkpoints are on the pod's own disk"

    # Converged
    IN_PROGRESS = "InProgress", "the search has not ended"
    GOAL_REACHED = "GoalReached", "a candidate reached `objective.goal` and was finished"
    PLATEAU = "Plateau", "the averaged reward did not rise for `budget.earlyStopping.plateauSteps`"
    ENTROPY_BELOW_THRESHOLD = "EntropyBelowThreshold", "the policy has decided (`budget.earlyStopping.normalizedEntropyBelow`)"
    COMPLETED = "Completed", "not converged: every stage ran as planned"
    BUDGET = "Budget", "not converged: `budget.maxActiveSeconds` cut the search short"
    NO_RESULT = "NoResult", "the search ended without a result"

    # Suspended and ReconciliationPaused
    NOT_SUSPENDED = "NotSuspended", "the search is not suspended"
    SUSPEND_REQUESTED = "SuspendRequested", "`spec.suspend` is true, and no pod is left"
    RESUMED = "Resumed", "the search continues after a suspension"
    NOT_PAUSED = "NotPaused", "the operator reconciles the search"
    PAUSED_BY_ANNOTATION = (
        "PausedByAnnotation",
        "the annotation `autohas.dev/paused` pauses the operator for this search; what runs continues",
    )

    # Succeeded
    RESULT_STORED = "ResultStored", "the search has succeeded, and `status.result` is there"
    CONFIG_ERROR = (
        "ConfigError",
        (
            "exit code 78 or 64: the trainer cannot run this spec here (no GPU, target out of reach, budget too small for the data, wrong"
            " custom code)"
        ),
    )
    DATA_ERROR = "DataError", "exit code 65: the data are wrong, or not those that the search began with"
    NO_USABLE_CHECKPOINT = (
        "NoUsableCheckpoint",
        "exit code 66: every checkpoint is damaged, belongs to another search, or has the format of another version",
    )
    NUMERICAL_FAILURE = "NumericalFailure", "exit code 70: the default configuration itself diverged"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded", "one attempt failed more often than `failurePolicy.backoffLimit`"
    JOB_FAILED = "JobFailed", "the Job failed for a reason of its own"
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded",
        "the trainer worked 1.2 times `budget.maxActiveSeconds` (of all runs of a comparison), or the Job's own deadline passed",
    )
    START_DEADLINE_EXCEEDED = (
        "StartDeadlineExceeded",
        "no trainer started within `budget.startDeadlineSeconds`, or no Job could be created in this time",
    )
    INTERRUPTION_LIMIT = "InterruptionLimit", "more interruptions than `failurePolicy.maxInterruptions`"
    RESULT_INVALID = "ResultInvalid", "exit code 0, but the result does not belong to this search or cannot be read"
    RECOVERING_RESULT = "RecoveringResult", "the Job of a lost result is repeated once, so that the trainer reports its stored result"

    # Events that no condition names
    SEARCH_ACCEPTED = "SearchAccepted", "Accepted became True"
    SEARCH_REJECTED = "SearchRejected", "Accepted became False"
    TRAINER_JOB_CREATED = "TrainerJobCreated", "an attempt began; names the image"
    SEARCH_STARTED = "SearchStarted", "the trainer reported for the first time"
    SEARCH_INTERRUPTED = "SearchInterrupted", "the trainer was stopped, and the next pod continues"
    SEARCH_STALLED = "SearchStalled", "TrainerReady became Stalled"
    TRAINER_UNSCHEDULABLE = "TrainerUnschedulable", "TrainerReady became Unschedulable"
    JOB_IGNORED = (
        "JobIgnored",
        (
            "a Job claims to be an attempt of this search, but the operator did not create it: it is deleted. Its creator may create Jobs"
            " in this namespace"
        ),
    )
    QUOTA_ADMITTED = "QuotaAdmitted", "a queue admitted the Job"
    SEARCH_SUSPENDED = "SearchSuspended", "Suspended became True: no pod is left"
    SEARCH_RESUMED = "SearchResumed", "`spec.suspend` became false, and the search continues"
    RECONCILIATION_PAUSED = "ReconciliationPaused", "the annotation `autohas.dev/paused` was set"
    RECONCILIATION_RESUMED = "ReconciliationResumed", "the annotation `autohas.dev/paused` was removed"
    CHECKPOINT_NOT_DURABLE = "CheckpointNotDurable", "CheckpointReady became NotDurable"
    CHECKPOINT_STALE = "CheckpointStale", "CheckpointReady became Stale"
    SEARCH_FAILED = "SearchFailed", "the search has failed; the message begins with the reason"
    TRAINER_NOTICE = "TrainerNotice", "a trainer sent a notice with a reason that the operator does not know"


class NoticeReason(_Explained):
    """Every reason that a trainer may give for a notice."""

    CHECKPOINT_RESTORED = "CheckpointRestored", "a new pod continues from the step that the message names"
    RESTORE_FAILED = "RestoreFailed", "a damaged checkpoint or a shortened history was found"
    CHECKPOINT_FAILED = "CheckpointFailed", "a checkpoint could not be written; the search continues and tries again"
    GOAL_REACHED = "GoalReached", "a candidate reached the goal"
    GOAL_MISSED = "GoalMissed", "the finished winner fell short of the goal"
    POLICY_CONVERGED = "PolicyConverged", "the policy has decided: the search ends before its plan"
    REWARD_PLATEAU = "RewardPlateau", "the averaged reward has stopped rising: the search ends before its plan"
    TIME_BUDGET_REACHED = "TimeBudgetReached", "`budget.maxActiveSeconds` is used up: the search ends before its plan"
    POLICY_COLLAPSED = (
        "PolicyCollapsed",
        "the controller decided while its samples were no better than chance: the race decides instead",
    )
    ENVIRONMENT_CHANGED = (
        "EnvironmentChanged",
        (
            "the search continued on another processor, with other versions or with other custom code than it began with: the message names"
            " them"
        ),
    )
    UPDATE_REJECTED = "UpdateRejected", "a sampled update harmed its own batch and was taken back (once per search)"
    CANDIDATE_FAILED = (
        "CandidateFailed",
        (
            "one candidate cannot be trained (memory, an error in custom code, an error of the device) and leaves the search, or a sample"
            " of the supernet is rejected: the message has the sentence and the candidate's values; the search continues with the others"
        ),
    )
    PRECISION_UNUSED = "PrecisionUnused", "`task.recipe.precision` is TF32 and the search runs on a CPU, which computes in float32"
    COMPILE_FAILED = (
        "CompileFailed",
        (
            "torch.compile failed on a network, which is trained without it: the message has the first line of the error. A missing C++"
            " compiler is the usual cause: build the image with WITH_COMPILER=1"
        ),
    )
    SUPERNET_SHORT = (
        "SupernetShort",
        (
            "the supernet gets fewer than 10 rewarded steps per architecture decision: its proposals will be little better than chance;"
            " raise `budget.trainings` or `training.steps`, or search fewer decisions"
        ),
    )
    SHARED_LEARNING_RATE = (
        "SharedLearningRate",
        (
            "one range of `learning_rate` (or the recipe's rate) serves sgd and adam or rmsprop, whose usual rates are about a hundredth of"
            " sgd's: give `rateFactors`; the condition Accepted has the same sentence"
        ),
    )
    FEW_EPOCHS = (
        "FewEpochs",
        (
            "one training sees each training example less than three times, so that longer trainings gain more than a search: write"
            ' `training.epochs: "3"` or more in place of `training.steps`'
        ),
    )
    SMALL_SELECTION = (
        "SmallSelection",
        (
            "the selection split is too small to tell most candidates apart; the message has the smallest difference that it shows: raise"
            " `task.splits.selection`, or give more data"
        ),
    )
    PUBLISHED_FORM = (
        "PublishedForm",
        "the search has the published form of AutoHAS (`preset: Published`); the message says what was measured of it",
    )
    WEAK_REWARD = (
        "WeakReward",
        (
            "`weight_decay` is searched by rewards one step ahead, which hardly depend on it: AutoHAS (strategy OneFactor or Lanes) or"
            " a multi-trial algorithm compares it by trainings"
        ),
    )
    SEARCH_WORTH = (
        "SearchWorth",
        (
            "with `budget.for: Model` the search has ended: the message says what the curve of the default promises of longer training, and"
            " what one more step of search would have been worth"
        ),
    )
    TRAIN_LONGER = (
        "TrainLonger",
        (
            "the default still learns at the end of its training: the message has what twice the steps would give it, with the standard"
            " deviation; train longer first, unless the search gains more"
        ),
    )
    BUDGET_MOVED = (
        "BudgetMoved",
        (
            "a stage did not spend its share (something diverged, or two proposals were the same): the message says how many trainings go"
            " to which further lanes or candidates"
        ),
    )
    BUDGET_LEFT = "BudgetLeft", "the message says how many trainings of the budget are not spent at the end, and why"
    SUPERNET_RESTARTED = (
        "SupernetRestarted",
        (
            "a loss or gradient of the supernet is not finite: the supernet continues from its last finite state at a third of the rate"
            " (twice per search at most), or ends with that state; the message says how many steps and trainings are lost"
        ),
    )
    BUDGET_EXCEEDED = "BudgetExceeded", "the search spent more than its budget by more than 5 %: the message says how much"
    CANDIDATE_UNAFFORDABLE = (
        "CandidateUnaffordable",
        "a configuration of `initialPoints` costs more than the budget can finish: it is left out, and the message says its price",
    )
    SUPERNET_DIVERGED = (
        "SupernetDiverged",
        (
            "the supernet diverged after two restarts, or its samples or the device failed again and again: the supernet is abandoned, and"
            " the message says why and how much of its share is not spent"
        ),
    )
    WINNER_DIVERGED = "WinnerDiverged", "a loss of the winner, or its output on the test split, is not finite: the default wins instead"
    REPEAT_DIVERGED = "RepeatDiverged", "a loss, or an output on the test split, is not finite in one repetition: its seed is left out"
    DATA_CONVERTED = "DataConverted", "a part of the data was converted or left out; the message says how much"
    WORK_UNCOUNTED = (
        "WorkUncounted",
        "the work of a custom model's networks cannot be counted: every training counts as one, however large its network",
    )
    LATENCY_MEASURED = "LatencyMeasured", "networks were timed for a price on latency"
