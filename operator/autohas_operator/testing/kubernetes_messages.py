"""Messages of Kubernetes 1.35 about pods that do not start: tests use these instead of invented ones."""

from __future__ import annotations

from typing import Final

_NO_PREEMPTION: Final = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
NO_GPU: Final = f"0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, {_NO_PREEMPTION}"
"""Of the scheduler, in the condition PodScheduled."""
NO_CLAIM: Final = '0/1 nodes are available: persistentvolumeclaim "ck" not found. not found'
NO_IMAGE: Final = (
    'Back-off pulling image "ghcr.io/none/trainer:1": ErrImagePull: failed to pull and unpack image "ghcr.io/none/trainer:1":'
    ' failed to resolve reference "ghcr.io/none/trainer:1": ghcr.io/none/trainer:1: not found'
)
"""Of the kubelet, with the reason ImagePullBackOff."""
NO_ENVIRONMENT: Final = 'secret "token" not found'
"""Of the kubelet, with the reason CreateContainerConfigError."""
ELSEWHERE: Final = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other'
"""Of the attach controller, as the event FailedAttachVolume."""
NO_MOUNT: Final = 'MountVolume.SetUp failed for volume "data" : secret "token" not found'
"""Of the kubelet, as the event FailedMount."""
QUOTA: Final = (
    'Error creating: pods "fashion-5ea4c400-1-abcde" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1,'
    " used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"
)
"""Of the Job controller, as the event FailedCreate."""
JOB_QUOTA: Final = (
    'jobs.batch "fashion-5ea4c400-1" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=4,'
    " limited: count/jobs.batch=4"
)
"""Of the API server, with status 403."""
