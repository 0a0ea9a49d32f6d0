"""Static `local` volumes: folders of the host that pods claim.

Unlike those of the host-path provisioner they obey fsGroup, so a pod that is not root can write.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

READ_WRITE = ("ReadWriteOnce", "ReadWriteMany")
READ_ONLY = ("ReadOnlyMany",)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVolume:
    """The folder `host_path` of `node`, and the claim of the same name in `namespace` that it is reserved for.

    `size` is a quantity such as 1Gi, which nothing enforces. Read-only is a mount whose pod says so: a volume of
    mode ReadOnlyMany does not force it.
    """

    name: str
    host_path: Path
    node: str
    namespace: str = "default"
    access_modes: tuple[str, ...] = READ_WRITE
    size: str = "1Gi"

    def objects(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The PersistentVolume and the PersistentVolumeClaim."""
        spec = {
            "accessModes": list(self.access_modes),
            "storageClassName": "",  # none: bound by name, not made by a provisioner
            "volumeMode": "Filesystem",
        }
        host = {"key": "kubernetes.io/hostname", "operator": "In", "values": [self.node]}
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": self.name},
            "spec": {
                **spec,
                "capacity": {"storage": self.size},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": self.namespace, "name": self.name},
                "local": {"path": str(self.host_path)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
            },
        }
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {**spec, "volumeName": self.name, "resources": {"requests": {"storage": self.size}}},
        }
        return volume, claim
