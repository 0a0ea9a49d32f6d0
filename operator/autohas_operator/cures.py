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
}
"""By reason: what the author of a search, or whoever runs the namespace, checks first."""


def with_cure(reason: str, sentence: str) -> str:
    """A foreign sentence, made harmless and short, and what to do about it."""
    return f"{clean(sentence, MAX_QUOTED).rstrip('.')}; {CURES[reason]}"
