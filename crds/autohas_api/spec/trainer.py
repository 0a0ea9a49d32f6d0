"""`spec.trainer`: the pod that trains. The few Kubernetes types that it needs, typed and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import field, variable
from autohas_api.base.kube_rules import image_reference, keys_are_annotations, keys_are_labels, keys_are_resources, not_reserved
from autohas_api.base.kube_types import DnsName, Labels, Quantity, Resources
from autohas_api.base.model import Model, Rule
from autohas_api.base.names import LABEL_PRIORITY, LABEL_QUEUE, SHM_DIRECTORY
from autohas_api.base.rules import no_prefix, rule
from autohas_api.spec.environment import EnvFrom, EnvVar
from autohas_api.spec.init_containers import InitContainer, init_container_rules
from autohas_api.spec.mounts import Volume, VolumeMount, mount_rules, normal
from autohas_api.spec.placement import Affinity, ResourceClaim, Toleration, TopologySpreadConstraint

WHOLE_GPUS: Final = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe")
"""Resources of which one is a whole GPU; shared ones and slices (nvidia.com/gpu.shared, nvidia.com/mig-1g.5gb) have other names."""
STORAGE: Final = "ephemeral-storage"
SCRATCH_SIZE: Final = "20Gi"
"""Size limit of /scratch where a search sets none: a bound for the node's disk that data sets in files rarely reach."""
_WHOLE: Final = "^[0-9]+([kMGTPE]|[KMGTPE]i)?$"


def _whole_devices(side: str) -> Rule:
    amounts, name = field(side), variable("k")
    return rule(
        ~amounts.is_given | amounts.every("k", ~name.contains("/") | amounts.at(name).text.matches(_WHOLE)),
        "devices are counted: a resource with a domain must be a whole number",
        at=f".{side}",
    )


def _one_gpu(side: str) -> Rule:
    amounts, name = field(side), variable("k")
    return rule(
        ~amounts.is_given | amounts.every("k", ~name.is_in(WHOLE_GPUS) | amounts.at(name).text.is_in(("0", "1"))),
        f"{', '.join(WHOLE_GPUS)} must be 1: one search uses one GPU, further ones would idle",
        at=f".{side}",
    )


def _same_devices() -> Rule:
    limits, requests, name = field("limits"), field("requests"), variable("k")
    is_equal = limits.is_given & name.is_in(limits) & limits.at(name).text.equals(requests.at(name).text)
    return rule(
        ~requests.is_given | requests.every("k", ~name.contains("/") | is_equal),
        "a device must be in limits too, in the same number: Kubernetes does not share one",
        at=".requests",
    )


class ResourceRequirements(Model):
    """Compute resources of the trainer container."""

    limits: Resources | None = Field(default=None, description="Maximum amount of each compute resource.")
    requests: Resources | None = Field(
        default=None, description="Minimum amount of each compute resource. If not set for a resource, its limit."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *(rule for side in ("limits", "requests") for rule in (keys_are_resources(side), _whole_devices(side), _one_gpu(side))),
        _same_devices(),
    )


_OWN_BY_DOMAIN: Final = r"([^/]*\.)?(kubernetes\.io|k8s\.io|autohas\.dev)/"
_OWN_LABELS: Final = rf"{_OWN_BY_DOMAIN}|(controller-uid|job-name|{re.escape(LABEL_QUEUE)}|{re.escape(LABEL_PRIORITY)})$"
_OWN_ANNOTATIONS: Final = (
    r"([^/]*\.)?autohas\.dev/|batch\.kubernetes\.io/|kubernetes\.io/(config\.|limit-ranger$|psp$)"
    r"|(container\.apparmor\.security\.beta|container\.seccomp\.security\.alpha|seccomp\.security\.alpha)\.kubernetes\.io/"
)


CompileMode = Literal["None", "Default", "ReduceOverhead"]


class Compute(Model):
    """How trainings of one network use the device; a supernet is not affected."""

    channels_last: bool = Field(
        default=False, description="Whether images and kernels lie in memory with the channels last, which tensor cores read faster."
    )
    compile: CompileMode = Field(
        default="None",
        description="Compilation by torch.compile. Default: its default mode. ReduceOverhead: with CUDA graphs. It needs a C++ compiler in "
        "the image and determinism Relaxed. A network that cannot be compiled is trained without, and a notice says so.",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="CPU threads of an operation. If not set, one where a step of the default is short, else the CPU limit.",
    )


class PullSecret(Model):
    """A Secret with credentials of an image registry, in the namespace of the search."""

    name: DnsName = Field(description="Name of the Secret.")


_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Trainer(Model):
    """Pod that runs the search."""

    image: Annotated[str, StringConstraints(max_length=512)] = Field(
        default="",
        description="Container image of the trainer; empty selects the image of the chart. The operator pins the image in"
        " status once a trainer has started with it.",
    )
    resources: ResourceRequirements | None = Field(
        default=None,
        description="Compute resources of the container. A GPU is requested here, for example nvidia.com/gpu: 1 under "
        "limits. A search uses one GPU.",
    )
    device: Literal["Auto", "CPU", "CUDA"] = Field(
        default="Auto",
        description="Device of the training. Auto: a GPU if there is one, else the CPU. CPU: the CPU. CUDA: a GPU. If the"
        " pod requests a device, or device is CUDA, and torch finds no GPU, the trainer exits with code 78 "
        "instead of training on the CPU; set CPU if the device is not a GPU.",
    )
    compute: Compute | None = Field(default=None, description="How trainings of one network use the device.")
    determinism: Literal["Strict", "Relaxed"] | None = Field(
        default=None,
        description="Strict: an interrupted search ends with the same bits as an undisturbed one. Relaxed: faster kernels may be chosen, "
        "so that bits differ from run to run. If not set, Strict.",
    )
    volumes: Annotated[list[Volume], Field(max_length=32)] | None = Field(
        default=None,
        description="Volumes of the pod.",
        json_schema_extra=_BY_NAME,
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] | None = Field(
        default=None,
        description="Volumes that are mounted into the container.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mountPath"]},
    )
    init_containers: Annotated[list[InitContainer], Field(max_length=4)] | None = Field(
        default=None,
        description="Containers that run before the trainer, one after another.",
        json_schema_extra=_BY_NAME,
    )
    shm_size: Quantity | None = Field(
        default=None,
        description="Size limit of /dev/shm, which counts as memory. If not set, there is no limit for a pod with a "
        "device, and 64 MiB else. Must not be set if a volume is mounted at /dev/shm.",
    )
    scratch_size: Quantity | None = Field(
        default=None,
        description="Size limit of /scratch, which holds downloaded data and caches; the kubelet evicts a pod that exceeds it. The pod"
        " requests as much ephemeral-storage, unless resources has it. If not set, the limit of ephemeral-storage, else"
        f" {SCRATCH_SIZE}, and nothing is requested.",
    )
    env: Annotated[list[EnvVar], Field(max_length=128)] | None = Field(
        default=None, description="Environment variables of the container.", json_schema_extra=_BY_NAME
    )
    env_from: Annotated[list[EnvFrom], Field(max_length=32)] | None = Field(
        default=None,
        description="ConfigMaps and Secrets whose keys become environment variables. They do not override HOME, TMPDIR "
        "and the cache folders that the operator sets; env does.",
    )
    node_selector: Labels | None = Field(default=None, description="Labels that a node must have to run the pod.")
    affinity: Affinity | None = Field(default=None, description="Scheduling constraints of the pod.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints that the pod tolerates."
    )
    topology_spread_constraints: Annotated[list[TopologySpreadConstraint], Field(max_length=8)] | None = Field(
        default=None, description="Spread of pods over topology domains."
    )
    resource_claims: Annotated[list[ResourceClaim], Field(max_length=8)] | None = Field(
        default=None,
        description="Claims for dynamic resource allocation. The container uses all of them.",
        json_schema_extra=_BY_NAME,
    )
    priority_class_name: DnsName | None = Field(
        default=None, description="Name of the PriorityClass of the pod. Names that begin with system- are refused."
    )
    scheduler_name: DnsName | None = Field(
        default=None, description="Name of the scheduler of the pod. If not set, the default scheduler of the cluster."
    )
    runtime_class_name: DnsName | None = Field(default=None, description="Name of the RuntimeClass of the pod, for example nvidia.")
    image_pull_secrets: Annotated[list[PullSecret], Field(max_length=16)] | None = Field(
        default=None, description="Secrets that the image is pulled with, in addition to those of the chart.", json_schema_extra=_BY_NAME
    )
    service_account_name: DnsName | None = Field(
        default=None,
        description="Name of the ServiceAccount of the pod, which the chart must list in trainer.serviceAccounts. Its "
        "token is never mounted. If not set, the default ServiceAccount of the namespace.",
    )
    labels: Labels | None = Field(
        default=None, description="Labels that are added to the pod. Labels of the operator and of Kubernetes are refused."
    )
    annotations: Annotated[dict[str, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=32)] | None = Field(
        default=None, description="Annotations that are added to the pod. Annotations of the operator and of Kubernetes are refused."
    )
    termination_grace_period_seconds: int = Field(
        default=120,
        ge=30,
        le=3600,
        description="Seconds between SIGTERM and SIGKILL, in which the trainer finishes its step and writes a checkpoint.",
    )

    @property
    def other_images(self) -> Iterator[tuple[str, str]]:
        """Field and reference of every image of the pod but the trainer's own."""
        for index, volume in enumerate(self.volumes or []):
            if volume.image is not None:
                yield f"volumes[{index}].image.reference", volume.image.reference
        for index, container in enumerate(self.init_containers or []):
            if container.image:
                yield f"initContainers[{index}].image", container.image

    @property
    def is_relaxed(self) -> bool:
        """Whether kernels may give other bits in each run."""
        return self.determinism == "Relaxed"

    @property
    def compile_mode(self) -> CompileMode:
        """How networks are compiled."""
        return self.compute.compile if self.compute is not None else "None"

    @property
    def has_channels_last(self) -> bool:
        """Whether images lie in memory with the channels last."""
        return self.compute is not None and self.compute.channels_last

    @property
    def limits(self) -> Resources:
        """Limits of the container; empty without any."""
        return (self.resources.limits if self.resources is not None else None) or {}

    @property
    def scratch_limit(self) -> int | str:
        """Size limit of /scratch."""
        return self.scratch_size if self.scratch_size is not None else self.limits.get(STORAGE, SCRATCH_SIZE)

    @property
    def requested_device(self) -> str:
        """The device that the pod requests in addition to CPU and memory: nvidia.com/gpu, gpu.intel.com/i915, a claim ...; empty if none.

        Only its driver knows what a device is: each counts as an accelerator unless the search sets `device: CPU`.
        """
        devices = [name for name, amount in self.limits.items() if "/" in name and str(amount) != "0"]
        claims = [f"the resource claim {claim.name}" for claim in self.resource_claims or []]
        gpus = [name for name in devices if name in WHOLE_GPUS or name.partition("/")[2].startswith(("gpu", "mig-"))]
        return next(iter((*gpus, *claims, *devices)), "")

    @property
    def has_shared_memory(self) -> bool:
        """Whether the search mounts a volume at /dev/shm."""
        return any(normal(mount.mount_path) == SHM_DIRECTORY for mount in self.volume_mounts or [])

    rules: ClassVar[tuple[Rule, ...]] = (
        *mount_rules(),
        *init_container_rules(),
        rule(
            ~field("compute").is_given
            | field("compute.compile").equals("None")
            | (field("determinism").is_given & field("determinism").equals("Relaxed")),
            "compile needs determinism Relaxed: compiled kernels may differ from one process to the next, and with them the bits after a"
            " resume",
            at=".compute.compile",
        ),
        image_reference("image"),
        keys_are_labels("nodeSelector"),
        keys_are_labels("labels"),
        keys_are_annotations("annotations"),
        not_reserved(
            "labels",
            _OWN_LABELS,
            but="app.kubernetes.io/",
            message="labels under kubernetes.io, k8s.io (app.kubernetes.io is free) and autohas.dev, controller-uid, job-name and Kueue's"
            " queue are the operator's and Kubernetes' own; the queue is a label of the search itself",
        ),
        not_reserved("labels", "app\\.kubernetes\\.io/managed-by$", message="the label app.kubernetes.io/managed-by is the operator's"),
        not_reserved(
            "annotations",
            _OWN_ANNOTATIONS,
            message="annotations under autohas.dev and batch.kubernetes.io, the kubelet's and those of security profiles are the operator's"
            " and Kubernetes' own",
        ),
        no_prefix(
            "priorityClassName",
            "system-",
            "priority classes that begin with system- are the cluster's own: choose another",
            is_optional=True,
        ),
    )
