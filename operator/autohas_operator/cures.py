"""What to do about what other parts of Kubernetes say: their sentences name what is wrong, seldom what to change. Pure."""

from __future__ import annotations

from typing import Final

from autohas_operator.wording import clean

MAX_QUOTED: Final = 768
"""Of a foreign sentence; the cure after it is never cut off."""
CURES: Final = {
    "PodsNotCreated": "raise the quota, create what is missing, or choose in spec.trainer what the policy allows",
    "Unschedulable": "check spec.trainer (resources, nodeSelector, affinity, tolerations) and the claims that it and spec.checkpoint name",
    "ImagePullFailed": "check spec.trainer.image and spec.trainer.imagePullSecrets, or the chart's trainer.image and imagePullSecrets",
    "ContainerNotCreated": "check the Secrets and ConfigMaps that spec.trainer names (env, envFrom, volumes) and its runtimeClassName",
    "FailedMount": "check that the claims and volumes of spec.checkpoint and spec.trainer exist, are bound, and are held by no other node",
    "TemplateRejected": "correct the field of spec.trainer that it comes from, or the admission policy; tried again within 10 minutes",
    "JobForbidden": "raise the quota on Jobs, or choose in spec.trainer what the admission policy allows; tried again within 10 minutes",
    "JobNotCreated": "repair the webhook or the namespace that it names; tried again within 10 minutes",
    "WaitingForName": "if it stays, look at its finalizers",
    "SidecarRunning": 'make it a native sidecar, or set the label sidecar.istio.io/inject: "false" (Linkerd: the annotation'
    " linkerd.io/inject: disabled) in spec.trainer",
}
"""By reason: what the author of a search, or whoever runs the namespace, checks first."""
CURES_OF_ENDS: Final = {
    "OOMKilled": "raise spec.trainer.resources.limits.memory",
    "UnexpectedAdmissionError": "the node's device plugin is in trouble: look at the node's devices, or cordon it",
    "Evicted": "raise spec.trainer.resources.requests (memory, ephemeral-storage) to what the trainer uses",
    "DeadlineExceeded": "something set activeDeadlineSeconds on the pod, which the operator does not: remove it there",
    "OutOf": "the node has less room than the scheduler believed: wait for other pods to end, or lower spec.trainer.resources",
    "NodeAffinity": "the node's labels no longer fit spec.trainer.nodeSelector or affinity: correct either",
    "TopologyAffinityError": "the node cannot align what spec.trainer.resources asks for: ask for less, or choose another node",
}
"""By the reason of a pod or container that has ended (`OutOf`: OutOfcpu, OutOfmemory, OutOfpods, ...)."""


def with_cure(reason: str, sentence: str) -> str:
    """A foreign sentence, made harmless and short, and what to do about it."""
    return f"{clean(sentence, MAX_QUOTED).rstrip('.')}; {CURES[reason]}"


def cure_of_end(reason: str, sentence: str) -> str:
    """Why a pod ended, made harmless and short, and what to do about it where that is known."""
    cure = CURES_OF_ENDS.get("OutOf" if reason.startswith("OutOf") else reason)
    return clean(sentence) if cure is None else f"{clean(sentence, MAX_QUOTED).rstrip('.')}; {cure}"
