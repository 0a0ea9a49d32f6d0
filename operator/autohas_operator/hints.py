"""Hints: what to change when Kubernetes reports a problem. Its messages name the problem, rarely the remedy. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from autohas_api.wire.reasons import Reason
from autohas_operator.wording import clean

MAX_QUOTED: Final = 768
"""Characters kept of a message of Kubernetes, so that the hint after it is never cut."""
HINTS: Final = {
    Reason.PODS_NOT_CREATED: "create what is missing, or choose in spec.trainer what is allowed",
    Reason.UNSCHEDULABLE: "check spec.trainer (resources, nodeSelector, affinity, tolerations) and the claims that it"
    " and spec.checkpoint name",
    Reason.IMAGE_PULL_FAILED: "check spec.trainer.image and spec.trainer.imagePullSecrets, or the chart's trainer.image and"
    " imagePullSecrets",
    Reason.CONTAINER_NOT_CREATED: "check the Secrets and ConfigMaps that spec.trainer names (env, envFrom, volumes) and its"
    " runtimeClassName",
    Reason.INIT_CONTAINER_RUNNING: "the trainer starts when it has ended; kubectl logs POD -c CONTAINER shows what it does",
    Reason.FAILED_MOUNT: "check that the claims and volumes of spec.checkpoint and spec.trainer exist, are bound, and"
    " are held by no other node",
    Reason.TEMPLATE_REJECTED: "correct the field of spec.trainer that it comes from, or the admission policy; the operator retries"
    " within 10 minutes",
    Reason.JOB_FORBIDDEN: "choose in spec.trainer what is allowed, or change what forbids it; the operator retries within 10 minutes",
    Reason.JOB_NOT_CREATED: "repair the webhook that it names, or the API server; the operator retries within 10 minutes",
    Reason.POD_IGNORED: "if a webhook changes it, exempt the namespace, or name in the search what it writes"
    " (docs/install.md, Forged pods)",
    Reason.NAME_STILL_TERMINATING: "if it stays, look at its finalizers",
    Reason.SIDECAR_RUNNING: 'make it a native sidecar, or set the label sidecar.istio.io/inject: "false" (Linkerd: the annotation'
    " linkerd.io/inject: disabled) in spec.trainer",
}
"""By reason: what the author of the search or the administrator of the namespace checks first."""
INIT_HINTS: Final = {
    Reason.IMAGE_PULL_FAILED: "check the image of this container in spec.trainer.initContainers and spec.trainer.imagePullSecrets",
    Reason.CONTAINER_NOT_CREATED: "check the Secrets and ConfigMaps that this container names in spec.trainer.initContainers (env,"
    " envFrom), and the volumes that it mounts",
}
"""By reason, where an init container has it."""
END_HINTS: Final[dict[str, str]] = {
    "OOMKilled": "raise spec.trainer.resources.limits.memory",
    "UnexpectedAdmissionError": "the node's device plugin failed: check the node's devices, or cordon the node",
    "Evicted": "raise spec.trainer.resources.requests (memory, ephemeral-storage) to what the trainer uses",
    "DeadlineExceeded": "a webhook or policy set activeDeadlineSeconds on the pod (the operator does not): remove it there",
    "OutOf": "the node has less capacity than the scheduler assumed: wait for other pods to end, or lower spec.trainer.resources",
    "NodeAffinity": "the node's labels no longer fit spec.trainer.nodeSelector or affinity: correct either",
    "TopologyAffinityError": "the node cannot align what spec.trainer.resources asks for: ask for less, or choose another node",
}
"""By the reason of a pod or container that has ended (`OutOf`: OutOfcpu, OutOfmemory, OutOfpods, ...)."""
EVICTION_HINTS: Final[dict[str, str]] = {
    'Usage of EmptyDir volume "autohas-scratch" exceeds': "raise spec.trainer.scratchSize to what init containers, downloads and caches"
    " write below /scratch",
    'Usage of EmptyDir volume "autohas-shm" exceeds': "raise spec.trainer.shmSize",
    "Usage of EmptyDir volume": "raise emptyDir.sizeLimit of the volume in spec.trainer.volumes",
    "ephemeral local storage usage exceeds": "raise spec.trainer.resources.limits.ephemeral-storage, which counts logs and every emptyDir"
    " on disk",
    "exceeded its local ephemeral storage limit": "raise spec.trainer.resources.limits.ephemeral-storage, which counts the container's"
    " logs",
    "low on resource: ephemeral-storage": "raise spec.trainer.resources.requests.ephemeral-storage (or scratchSize, which sets it) to what"
    " the pod writes, so that the scheduler chooses a node with room",
}
"""By the words of the kubelet's message about an eviction. Source: pkg/kubelet/eviction/helpers.go of Kubernetes 1.35."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    """A cause of a refusal: a pattern of its message, and the hint; `reason` replaces the general reason (None keeps it)."""

    words: str
    reason: Reason | None = None
    hint: str


TERMINATING: Final = "the namespace is being deleted; nothing can start in it"
_CAUSES: Final = (
    _Cause(words=r"because it is being terminated", reason=Reason.NAMESPACE_TERMINATING, hint=TERMINATING),
    _Cause(words=r"exceeded quota", reason=Reason.QUOTA_EXCEEDED, hint="raise the quota, or wait until others have ended"),
    _Cause(words=r"failed quota:.* must specify", hint="set in spec.trainer.resources what the quota counts"),
    _Cause(
        words=r"violates PodSecurity", hint="leave out in spec.trainer what it names, or allow it in the namespace's Pod Security level"
    ),
    _Cause(
        words=r"(maximum|minimum) \S+ (usage|storage).* per |max limit to request ratio per ",
        hint="keep spec.trainer.resources within the namespace's LimitRange",
    ),
    _Cause(
        words=r"serviceaccount \"[^\"]*\" not found|looking up service account",
        hint="create the service account, or choose another in spec.trainer.serviceAccountName",
    ),
    _Cause(
        words=r"no PriorityClass with name|PriorityClass.* not found",
        hint="create the priority class, or choose another in spec.trainer.priorityClassName",
    ),
    _Cause(
        words=r"admission webhook .* denied|ValidatingAdmissionPolicy .* denied request",
        hint="choose in spec.trainer what the admission policy allows, or change the policy",
    ),
)
"""Causes for which the API server refuses an object. Source: the messages of the admission plugins of Kubernetes 1.35."""
RETRIED: Final = "the operator retries within 10 minutes"


def explain_refusal(reason: Reason, sentence: str) -> tuple[Reason, str]:
    """Reason and message of a refusal. The message of the API server tells the cause: status 403 and 422 have many."""
    cause = next((cause for cause in _CAUSES if re.search(cause.words, sentence)), None)
    if cause is None:
        return reason, add_hint(reason, sentence)
    if cause.hint == TERMINATING:
        return cause.reason or reason, TERMINATING
    return cause.reason or reason, f"{clean(sentence, MAX_QUOTED).rstrip('.')}; {cause.hint}; {RETRIED}"


def add_hint(reason: Reason, sentence: str, hints: Mapping[Reason, str] = HINTS) -> str:
    """The cleaned message of Kubernetes, followed by the hint for this reason."""
    return f"{clean(sentence, MAX_QUOTED).rstrip('.')}; {hints[reason]}"


def add_end_hint(reasons: Iterable[str], sentence: str) -> str:
    """The cleaned message about a pod's end, followed by the hint for the first of its reasons that has one."""
    hints = (_find_end_hint(reason, sentence) for reason in reasons)
    hint = next((hint for hint in hints if hint is not None), None)
    return clean(sentence) if hint is None else f"{clean(sentence, MAX_QUOTED).rstrip('.')}; {hint}"


def _find_end_hint(reason: str, sentence: str) -> str | None:
    """The hint for the reason of a pod or container that has ended; an eviction has several causes, which only its message tells."""
    if reason == "Evicted":
        return next((hint for words, hint in EVICTION_HINTS.items() if words in sentence), END_HINTS[reason])
    return END_HINTS.get("OutOf" if reason.startswith("OutOf") else reason)
