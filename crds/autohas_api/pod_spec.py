"""`spec.trainer`: the pod that trains. The few Kubernetes types that it needs, typed and bounded."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.environment_spec import EnvFrom, EnvVar
from autohas_api.kube_types import DnsName, FileMode, Key, Labels, MountPath, Quantity, Resources
from autohas_api.model import Model, Rule
from autohas_api.placement_spec import Affinity, ResourceClaim, Toleration, TopologySpreadConstraint


class ResourceRequirements(Model):
    """Resources of the trainer container."""

    limits: Resources | None = Field(default=None)
    requests: Resources | None = Field(default=None)


class KeyToPath(Model):
    """One key of a ConfigMap or Secret as a file."""

    key: Key = Field()
    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field()
    mode: FileMode | None = Field(default=None)


class ConfigMapSource(Model):
    """A ConfigMap of the search's namespace."""

    name: DnsName = Field()
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(default=None)
    default_mode: FileMode | None = Field(default=None)
    optional: bool | None = Field(default=None)


class SecretSource(Model):
    """A Secret of the search's namespace."""

    secret_name: DnsName = Field()
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(default=None)
    default_mode: FileMode | None = Field(default=None)
    optional: bool | None = Field(default=None)


class ClaimSource(Model):
    """A PersistentVolumeClaim of the search's namespace."""

    claim_name: DnsName = Field()
    read_only: bool | None = Field(default=None)


class EmptyDirSource(Model):
    """Scratch space that lives with the pod."""

    medium: Literal["", "Memory"] | None = Field(default=None)
    size_limit: Quantity | None = Field(default=None)


_SOURCES = ("persistentVolumeClaim", "configMap", "secret", "emptyDir")


def _num_sources(volume: Any) -> int:  # noqa: ANN401 - a Volume, defined below
    sources = (volume.persistent_volume_claim, volume.config_map, volume.secret, volume.empty_dir)
    return sum(source is not None for source in sources)


class Volume(Model):
    """A volume of the trainer pod: a claim, ConfigMap, Secret or emptyDir, never the host's files."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)] = Field()
    persistent_volume_claim: ClaimSource | None = Field(default=None)
    config_map: ConfigMapSource | None = Field(default=None)
    secret: SecretSource | None = Field(default=None)
    empty_dir: EmptyDirSource | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="[" + ", ".join(f"has(self.{source})" for source in _SOURCES) + "].filter(x, x).size() == 1",
            message="exactly one of persistentVolumeClaim, configMap, secret and emptyDir must be given",
            holds=lambda v: _num_sources(v) == 1,
        ),
        Rule(
            expression="!self.name.startsWith('autohas-')",
            message="names that start with autohas- are the operator's",
            field_path=".name",
            holds=lambda v: not v.name.startswith("autohas-"),
        ),
    )


class VolumeMount(Model):
    """Where a volume appears in the trainer container."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field()
    mount_path: MountPath = Field()
    sub_path: Annotated[str, StringConstraints(max_length=1024)] | None = Field(default=None)
    read_only: bool | None = Field(default=None)


class PullSecret(Model):
    """A Secret with credentials of a registry, in the search's namespace."""

    name: DnsName = Field()


_GPU_KINDS: Final = ("gpu", "mig-")
"""How the devices' names begin after the vendor's domain: whole or shared GPUs, and NVIDIA's slices of one."""
_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Trainer(Model):
    """The pod that trains."""

    image: Annotated[str, StringConstraints(max_length=512)] = Field(
        default="", description="Container image; empty: the chart's trainer image. Pinned in status at the first attempt."
    )
    resources: ResourceRequirements | None = Field(
        default=None, description="Resources of the container; a GPU is asked for here, for example nvidia.com/gpu: 1 under limits."
    )
    device: Literal["Auto", "CPU", "CUDA"] = Field(
        default="Auto", description="Auto: a GPU when one is there. CUDA without a GPU ends with exit code 78, never a silent CPU run."
    )
    volumes: Annotated[list[Volume], Field(max_length=32)] | None = Field(
        default=None,
        description="Volumes of the pod.",
        json_schema_extra=_BY_NAME,
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] | None = Field(
        default=None,
        description="Where the volumes appear.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mountPath"]},
    )
    shm_size: Quantity | None = Field(
        default=None, description="Size of /dev/shm, counted as memory; absent: no limit of its own with a device, else 64 MiB."
    )
    env: Annotated[list[EnvVar], Field(max_length=128)] | None = Field(
        default=None, description="Environment variables of the container.", json_schema_extra=_BY_NAME
    )
    env_from: Annotated[list[EnvFrom], Field(max_length=32)] | None = Field(
        default=None, description="ConfigMaps and Secrets whose keys become environment variables."
    )
    node_selector: Labels | None = Field(default=None, description="Labels that the node must have.")
    affinity: Affinity | None = Field(default=None, description="Nodes and neighbours that the pod wants or avoids.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints that the pod tolerates."
    )
    topology_spread_constraints: Annotated[list[TopologySpreadConstraint], Field(max_length=8)] | None = Field(
        default=None, description="Spread of pods over zones or nodes."
    )
    resource_claims: Annotated[list[ResourceClaim], Field(max_length=8)] | None = Field(
        default=None,
        description="Devices by dynamic resource allocation; the trainer container gets all of them.",
        json_schema_extra=_BY_NAME,
    )
    priority_class_name: DnsName | None = Field(default=None, description="PriorityClass of the pod.")
    scheduler_name: DnsName | None = Field(default=None, description="Scheduler of the pod; absent: the cluster's usual one.")
    runtime_class_name: DnsName | None = Field(default=None, description="RuntimeClass of the pod, for example nvidia.")
    image_pull_secrets: Annotated[list[PullSecret], Field(max_length=16)] | None = Field(
        default=None, description="Secrets for the image's registry, beside those of the chart.", json_schema_extra=_BY_NAME
    )
    service_account_name: DnsName | None = Field(
        default=None,
        description="Service account of the pod, one of the chart's trainer.serviceAccounts; its token is never mounted."
        " Absent: the namespace's default account.",
    )
    labels: Labels | None = Field(default=None, description="Labels of the pod; keys under autohas.dev/ are the operator's.")
    annotations: Annotated[dict[str, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=32)] | None = Field(
        default=None, description="Annotations of the pod."
    )
    termination_grace_period_seconds: int = Field(
        default=120, ge=30, le=3600, description="Seconds to finish a step and write a checkpoint when the pod is to stop."
    )

    @property
    def limits(self) -> Resources:
        """Limits of the container; empty without any."""
        return (self.resources.limits if self.resources is not None else None) or {}

    @property
    def gpu(self) -> str:
        """Name of the GPU resource that the limits ask for: nvidia.com/gpu, nvidia.com/mig-1g.5gb, amd.com/gpu ...; empty without one."""
        asked = (name for name, amount in self.limits.items() if str(amount) != "0")
        return next((name for name in asked if name.partition("/")[2].startswith(_GPU_KINDS)), "")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
            message="every volumeMount must name one of volumes",
            field_path=".volumeMounts",
            holds=lambda t: {m.name for m in t.volume_mounts or []} <= {v.name for v in t.volumes or []},
        ),
        Rule(
            expression="!has(self.volumeMounts) || self.volumeMounts.all(m, !m.mountPath.startsWith('/etc/autohas')"
            " && !m.mountPath.startsWith('/var/lib/autohas') && !m.mountPath.startsWith('/scratch') && m.mountPath != '/')",
            message="mountPath must not be /, /etc/autohas, /var/lib/autohas or /scratch: these are the operator's",
            field_path=".volumeMounts",
            holds=lambda t: (
                not any(
                    m.mount_path == "/" or m.mount_path.startswith(("/etc/autohas", "/var/lib/autohas", "/scratch"))
                    for m in t.volume_mounts or []
                )
            ),
        ),
        Rule(
            expression="!has(self.labels) || self.labels.all(k, !k.startsWith('autohas.dev/') && k != 'app.kubernetes.io/managed-by')",
            message="labels under autohas.dev/ and app.kubernetes.io/managed-by are the operator's",
            field_path=".labels",
            holds=lambda t: not any(k.startswith("autohas.dev/") or k == "app.kubernetes.io/managed-by" for k in t.labels or {}),
        ),
    )
