"""The image that holds a pod's namespaces: one static program in one layer, written by hand."""

import hashlib
import io
import json
import platform
import tarfile

from testcluster import binaries, loading
from testcluster.containerd import PAUSE_IMAGE, Containerd

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def load(containerd: Containerd) -> None:
    """Give the runtime the image if it does not have it."""
    if PAUSE_IMAGE in loading.images(containerd):
        return
    loading.import_archive(containerd, archive(binaries.pause().read_bytes()))


def archive(program: bytes) -> dict[str, bytes]:
    """An OCI layout by file name, of an image whose one file is `/pause`."""
    blobs: dict[str, bytes] = {}
    layer = _layer(program)
    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _put(blobs, _text(config), "application/vnd.oci.image.config.v1+json"),
        "layers": [_put(blobs, layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    entry = _put(blobs, _text(manifest), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": PAUSE_IMAGE}
    index = {"schemaVersion": 2, "manifests": [entry]}
    return {"oci-layout": _text({"imageLayoutVersion": "1.0.0"}), "index.json": _text(index), **blobs}


def _layer(program: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(program), 0o755
        layer.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()


def _put(blobs: dict[str, bytes], data: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = data
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _text(value: object) -> bytes:
    return json.dumps(value).encode()
