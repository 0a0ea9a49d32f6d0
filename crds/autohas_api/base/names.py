"""Names that cross a process: group and kind, labels, variables, paths, ports, exit codes.

A name that the operator writes and the trainer reads, or the other way round, is defined here only.
This module imports nothing else of the project.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "autohas.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "AutoHASSearch"
PLURAL: Final = "autohassearches"
SINGULAR: Final = "autohassearch"
SHORT_NAME: Final = "ahs"
CATEGORY: Final = "autohas"

CONTRACT_VERSION: Final = 1
"""Version of `/progress` and of the termination message; operator and trainer must agree on it."""

MAX_NAME_LENGTH: Final = 46
"""Longest name of a search: `<name>-<uid8>-<attempt>` plus a pod suffix stays a DNS label."""

LABEL_SEARCH: Final = f"{GROUP}/search"
LABEL_UID: Final = f"{GROUP}/uid"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
ANNOTATION_SPEC_HASH: Final = f"{GROUP}/spec-hash"
ANNOTATION_STARTS_BEFORE: Final = f"{GROUP}/starts-before"
"""On a Job: trainer processes before it, so that its own interruptions can be counted by any operator."""
ANNOTATION_STEP_BEFORE: Final = f"{GROUP}/step-before"
"""On a Job: step of the newest checkpoint before it, from which its own progress counts."""
ANNOTATION_TOUCHED_AT: Final = f"{GROUP}/touched-at"
"""On a Job: time of the operator's last update, which makes the Job controller reconcile the Job again."""

LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
LABEL_PRIORITY: Final = "kueue.x-k8s.io/priority-class"
QUEUE_PREFIXES: Final = ("kueue.x-k8s.io/", "provreq.kueue.x-k8s.io/")
"""Labels and annotations that the operator copies from a search to its Jobs: Kueue reads queue, priority, maximum duration and
provisioning from them."""
TOPOLOGY_PREFIX: Final = "kueue.x-k8s.io/podset-"
"""Annotations that the operator copies from a search to its pods: Kueue reads topology requests from the pod template."""
ANNOTATION_QUEUE_HASH: Final = f"{GROUP}/queue-hash"
"""On a Job: hash of its labels and annotations for Kueue, which detects a change before the Job is admitted."""

ANNOTATION_PAUSED: Final = f"{GROUP}/paused"
"""On a search, any value but "false": the operator observes it and changes nothing. Only people set it."""
ANNOTATION_INTERRUPTIONS_BEFORE: Final = f"{GROUP}/interruptions-before"
"""On a Job: interruptions of the search before it."""

ANNOTATION_FAILURES_BEFORE: Final = f"{GROUP}/failures-before"
"""On a Job: failures of earlier Jobs that count towards its backoffLimit, because those Jobs could not count them."""

TRAINER_CONTAINER: Final = "trainer"
SEARCH_FILE: Final = "search.json"

ENV_SEARCH_FILE: Final = "AUTOHAS_SEARCH_FILE"
ENV_SEARCH_UID: Final = "AUTOHAS_SEARCH_UID"
ENV_POD_UID: Final = "AUTOHAS_POD_UID"
ENV_ATTEMPT: Final = "AUTOHAS_ATTEMPT"
ENV_WORKDIR: Final = "AUTOHAS_WORKDIR"
ENV_TERMINATION_LOG: Final = "AUTOHAS_TERMINATION_LOG"
ENV_CPU_LIMIT: Final = "AUTOHAS_CPU_LIMIT"
ENV_GPU: Final = "AUTOHAS_GPU"
"""Name of the device that the pod requests; empty if it requests none."""
ENV_PORT: Final = "AUTOHAS_PORT"

CONFIG_DIRECTORY: Final = "/etc/autohas"
CHECKPOINT_DIRECTORY: Final = "/var/lib/autohas"
SCRATCH_DIRECTORY: Final = "/scratch"
SHM_DIRECTORY: Final = "/dev/shm"  # noqa: S108 - inside the pod
TERMINATION_LOG: Final = "/dev/termination-log"

TRAINER_PORT: Final = 9464
"""Default TCP port of /progress, /metrics and /healthz of a trainer; `spec.monitoring.metricsPort` overrides it."""
TRAINER_PORT_NAME: Final = "metrics"

MAX_PROGRESS_BYTES: Final = 16 * 1024
MAX_TERMINATION_MESSAGE_BYTES: Final = 4096
"""The kubelet truncates a container's termination message to this size."""
