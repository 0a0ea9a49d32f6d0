"""`autohas fetch`: copies the files of a finished search from its claim, through a reader pod that mounts the claim read-only."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from autohas.kubectl import Kubectl, KubectlError
from autohas_api.base.names import CHECKPOINT_DIRECTORY, LABEL_SEARCH
from autohas_api.wire.status import Phase
from autohas_trainer.atomic_file import move_durably
from autohas_trainer.errors import FolderInUseError
from autohas_trainer.folder_lock import LOCK_FILE, hold_folder

__all__ = ["FETCHED", "FetchError", "fetch", "reader_pod"]

FETCHED: Final = (
    *("result.json", "config.yaml", "model.safetensors", "preprocessing.json", "history.jsonl", "report.html", "profile.json"),
    *("compare.json", "compare.html"),
)
"""Of these, a search has those that it wrote; the last two only with algorithm.compare."""
_ARRIVING: Final = ".fetching"
"""Subfolder that receives the files; they move to the target folder when all have arrived and their digests are right."""
_CONTAINER: Final = "reader"
_READY_TIMEOUT: Final = "180s"
_LIFETIME_S: Final = 900
_SEND: Final = (
    "import os, sys, tarfile\n"
    "os.chdir(sys.argv[1])\n"
    "with tarfile.open(fileobj=sys.stdout.buffer, mode='w|') as archive:\n"
    "    for name in sys.argv[2:]:\n"
    "        if os.path.isfile(name):\n"
    "            archive.add(name)\n"
)
"""Program of the reader pod: the trainer's image has Python and may lack tar."""


class FetchError(Exception):
    """There is nothing to fetch, or the copy failed; the text is a sentence for the user."""


def fetch(kubectl: Kubectl, name: str, folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Copy the files of a succeeded search into `folder`; returns their paths. `say` gets a line before each long step.

    Raises:
        FetchError: the search has not succeeded, has no claim, a file arrived damaged, or another process works in `folder`.
        KubectlError: kubectl failed.
        OSError: `folder` cannot be written.
    """
    search = kubectl.search(name)
    place = _place(search)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with hold_folder(folder) as unlocked:
            if unlocked is not None:
                say(unlocked)
            return _fetch_into(folder, kubectl, search, place, say)
    except FolderInUseError as error:
        raise FetchError(f"{error}, or choose another folder with --out DIR") from error


def _fetch_into(folder: Path, kubectl: Kubectl, search: Mapping[str, Any], place: str, say: Callable[[str], None]) -> list[Path]:
    """Copy the files into a folder that this process holds."""
    if any(path.name not in (_ARRIVING, LOCK_FILE) for path in folder.iterdir()):
        raise FetchError(f"{folder} is not empty; choose another with --out DIR")
    arriving = folder / _ARRIVING
    shutil.rmtree(arriving, ignore_errors=True)  # of a fetch that was killed
    arriving.mkdir()
    try:
        _copy(kubectl, search, place, arriving, say)
        _check(search, arriving)
        return [_move(path, folder) for name in FETCHED if (path := arriving / name).is_file()]
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _move(file: Path, folder: Path) -> Path:
    target = folder / file.name
    move_durably(file, target)
    return target


def _copy(kubectl: Kubectl, search: Mapping[str, Any], place: str, folder: Path, say: Callable[[str], None]) -> None:
    """Start a reader pod, receive the files, and delete the pod in any case."""
    pod = reader_pod(search)
    pod_name = str(pod["metadata"]["name"])
    say(f"starting the pod {pod_name}, which reads the claim")
    kubectl.run("apply", "--filename=-", input_text=json.dumps(pod))
    try:
        kubectl.run("wait", "--for=condition=Ready", f"pod/{pod_name}", f"--timeout={_READY_TIMEOUT}")
        say("copying the files")
        _receive(kubectl, pod_name, place, folder)
    except KubectlError as error:
        raise FetchError(
            f"the reader pod {pod_name} did not answer: {error}; see {kubectl.command_text(['describe', 'pod', pod_name])}"
        ) from error
    finally:
        with suppress(KubectlError):
            kubectl.run("delete", "pod", pod_name, "--wait=false", "--ignore-not-found")


def reader_pod(search: Mapping[str, Any]) -> dict[str, Any]:
    """Build the reader pod: the trainer's image under the restricted profile, claim read-only, ended after 15 minutes.

    The search owns the pod. Each fetch takes a new name, so that two fetches, or one after a killed one, do not collide.
    """
    metadata, spec = search["metadata"], search["spec"]
    claim = spec["checkpoint"]["storage"]["persistentVolumeClaim"]["claimName"]
    trainer = spec.get("trainer") or {}
    scheduling = {key: trainer[key] for key in ("nodeSelector", "tolerations", "imagePullSecrets", "runtimeClassName") if key in trainer}
    if pull_secrets := search["status"]["trainer"].get("imagePullSecrets"):
        scheduling["imagePullSecrets"] = [{"name": name} for name in pull_secrets]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name'][:46]}-fetch-{secrets.token_hex(4)}",
            "namespace": metadata["namespace"],
            "ownerReferences": [
                {"apiVersion": search["apiVersion"], "kind": search["kind"], "name": metadata["name"], "uid": metadata["uid"]}
            ],
            "labels": {"app.kubernetes.io/managed-by": "autohas-fetch", f"{LABEL_SEARCH}-fetched": metadata["name"]},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _LIFETIME_S,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                **_identity(search["status"]["trainer"]),
            },
            "containers": [_reader(search["status"]["trainer"]["image"])],
            "volumes": [{"name": "checkpoints", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}],
            **scheduling,
        },
    }


def _reader(image: str) -> dict[str, Any]:
    return {
        "name": _CONTAINER,
        "image": image,
        "command": ["python", "-c", f"import time; time.sleep({_LIFETIME_S})"],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "checkpoints", "mountPath": CHECKPOINT_DIRECTORY, "readOnly": True}],
    }


def _identity(trainer: Mapping[str, Any]) -> dict[str, int]:
    """Return user and groups of the trainer's pods: only they may be able to read the claim, and a read-only mount changes no owner."""
    user, group = trainer.get("runAsUser"), trainer.get("fsGroup")
    return {**({"runAsUser": user, "runAsGroup": user} if user is not None else {}), **({"fsGroup": group} if group is not None else {})}


def _place(search: Mapping[str, Any]) -> str:
    """Return the folder of the result in the reader pod.

    Raises:
        FetchError: the search has no result on a claim.
    """
    status, name = search.get("status") or {}, search["metadata"]["name"]
    if status.get("phase") != Phase.SUCCEEDED:
        raise FetchError(f"{name} is {status.get('phase') or Phase.PENDING}, not Succeeded: there is no result yet; autohas wait {name}")
    path = (status.get("result") or {}).get("modelPath")
    if not path:
        message = (
            f"{name} kept its files on its pod's own disk (checkpoint.storage.emptyDir), which is gone; configuration and scores are in"
            f" status.result; give the next search a claim (checkpoint.storage.persistentVolumeClaim)"
        )
        raise FetchError(message)
    return f"{CHECKPOINT_DIRECTORY}/{path}"


def _receive(kubectl: Kubectl, pod: str, place: str, folder: Path) -> None:
    """Unpack the archive that the reader sends; only known file names are extracted, so that none is outside `folder`."""
    command = kubectl.command("exec", pod, f"--container={_CONTAINER}", "--", "python", "-c", _SEND, place, *FETCHED)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 - no shell, our arguments
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101 - as above
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    if member.name in FETCHED and member.isfile():
                        archive.extract(member, folder, filter="data")
        except tarfile.TarError as error:
            stderr = " ".join(process.stderr.read().decode(errors="replace").split())
            raise KubectlError(stderr or f"the reader pod sent no archive: {error}") from error
        stderr = " ".join(process.stderr.read().decode(errors="replace").split())
        if process.wait() != 0:
            raise KubectlError(stderr or f"kubectl exec ended with exit code {process.returncode}")


def _check(search: Mapping[str, Any], folder: Path) -> None:
    """Check the files against the digests in status.result.

    Raises:
        FetchError: the model is missing or has another digest.
    """
    model = folder / "model.safetensors"
    expected = search["status"]["result"]["modelDigest"]
    if not model.is_file():
        raise FetchError(f"the claim has no model.safetensors under {search['status']['result']['modelPath']}: was it cleaned up?")
    with model.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if digest != expected:
        raise FetchError(
            f"{model.name} has digest {digest}, status.result has {expected}: it was changed on the claim, or did not arrive whole"
        )
    _check_preprocessing(folder)


def _check_preprocessing(folder: Path) -> None:
    """Check preprocessing.json against the digest in result.json; results of earlier versions have none.

    Raises:
        FetchError: the file is missing or has another digest: predictions with it would be wrong.
    """
    try:
        expected = json.loads((folder / "result.json").read_text(encoding="utf-8"))["digests"]["preprocessing"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    file = folder / "preprocessing.json"
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" if file.is_file() else "no digest, since it is missing"
    if digest != expected:
        raise FetchError(
            f"{file.name} has {digest}, result.json has {expected}: it was changed on the claim, or did not arrive whole; predictions"
            " with it would be wrong"
        )
