"""`autohas fetch` against a kubectl that is a script: what its reader pod is, what arrives, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_trainer.folder_lock import LOCK_FILE, hold_folder
from kubectl_fixtures import PLACE, UID, Cluster, flat, invoke, stored


def _succeeded(model: bytes = b"weights", path: str | None = PLACE) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(model).hexdigest()}"
    result = {"modelDigest": digest, **({"modelPath": path} if path else {})}
    return stored("Succeeded", trainer={"image": "registry/trainer:1"}, result=result)


def _fill(cluster: Cluster, model: bytes = b"weights") -> None:
    folder = cluster.home / "claim" / PLACE
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(model)
    for name in ("result.json", "config.yaml", "history.jsonl"):
        (folder / name).write_text(name)
    (folder / "checkpoints").mkdir()


def test_fetch_copies_the_files_and_removes_its_pod(cluster: Cluster, tmp_path: Path) -> None:
    """Four files that are there, bit for bit, through a read-only restricted pod with the search's own image."""
    cluster.answers(_succeeded())
    _fill(cluster)
    ended = invoke("fetch", "fashion", "-n", "ml", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    pod = json.loads((cluster.home / "applied.json").read_text())
    assert f"starting the pod {pod['metadata']['name']}, which reads the claim copying the files" in flat(ended.stderr)
    (container,) = pod["spec"]["containers"]

    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.name != LOCK_FILE} == {
        "model.safetensors": b"weights",
        "result.json": b"result.json",
        "config.yaml": b"config.yaml",
        "history.jsonl": b"history.jsonl",
    }
    assert container["image"] == "registry/trainer:1"
    assert container["volumeMounts"][0]["readOnly"]
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "ck", "readOnly": True}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "autohas.dev/search" not in pod["metadata"]["labels"]
    verbs = [call[1] for call in cluster.calls]
    assert verbs == ["get", "apply", "wait", "exec", "delete"]
    assert cluster.calls[-1][2:4] == ["pod", pod["metadata"]["name"]]


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"runAsUser": 1000, "fsGroup": 2000}, {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000}),
        ({}, {}),
    ],
    ids=["as the trainer", "as the cluster assigns"],
)
def test_the_reader_is_who_wrote_the_files(cluster: Cluster, tmp_path: Path, trainer: dict[str, int], expected: dict[str, int]) -> None:
    """A claim may be open to the trainer's user and group alone, which status names."""
    cluster.answers(with_change(_succeeded(), "status.trainer", {"image": "registry/trainer:1", **trainer}))
    _fill(cluster)
    ended = invoke("fetch", "fashion", "-n", "ml", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    context = json.loads((cluster.home / "applied.json").read_text())["spec"]["securityContext"]

    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **expected}


@pytest.mark.parametrize(
    ("status", "expected"),
    [({"imagePullSecrets": ["platform", "mine"]}, [{"name": "platform"}, {"name": "mine"}]), ({}, [{"name": "mine"}])],
    ids=["of the trainer's pods", "of an older operator"],
)
def test_the_reader_pulls_its_image_as_the_trainer_did(
    cluster: Cluster, tmp_path: Path, status: dict[str, Any], expected: list[dict[str, str]]
) -> None:
    """The chart's pull secrets stand in status; before they did, those of the spec are all that is known."""
    search = with_change(_succeeded(), "status.trainer", {"image": "registry/trainer:1", **status})
    cluster.answers(with_change(search, "spec.trainer", {"imagePullSecrets": [{"name": "mine"}]}))
    _fill(cluster)
    ended = invoke("fetch", "fashion", "-n", "ml", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output

    assert json.loads((cluster.home / "applied.json").read_text())["spec"]["imagePullSecrets"] == expected


@pytest.mark.parametrize(
    ("search", "words"),
    [
        (stored("Running"), "fashion is Running, not Succeeded: there is no result yet; autohas wait fashion"),
        (stored(), "fashion is Pending, not Succeeded"),
        (_succeeded(path=None), "kept its files on its pod's own disk (checkpoint.storage.emptyDir), which is gone"),
    ],
)
def test_fetch_of_nothing_makes_no_pod(cluster: Cluster, tmp_path: Path, search: dict[str, Any], words: str) -> None:
    """Refused before anything is created, with what to do."""
    cluster.answers(search)
    ended = invoke("fetch", "fashion", "--out", tmp_path / "out")

    assert ended.exit_code == 1
    assert words in flat(ended.stderr)
    assert [call[0] for call in cluster.calls] == ["get"]
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_the_result_s_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """The digest of status.result decides, not the presence of a file."""
    cluster.answers(_succeeded())
    _fill(cluster, b"other weights")
    ended = invoke("fetch", "fashion", "--out", tmp_path / "out")

    assert ended.exit_code == 1
    assert "was changed on the claim, or did not arrive whole" in flat(ended.stderr)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK_FILE]


@pytest.mark.parametrize(("content", "code"), [(b"{}", 0), (b"{ }", 1), (None, 1)], ids=["sound", "changed", "missing"])
def test_preprocessing_that_is_not_the_result_s_is_refused(cluster: Cluster, tmp_path: Path, content: bytes | None, code: int) -> None:
    """result.json has its digest: with another file predictions would be wrong."""
    cluster.answers(_succeeded())
    _fill(cluster)
    place = cluster.home / "claim" / PLACE
    (place / "result.json").write_text(json.dumps({"digests": {"preprocessing": f"sha256:{hashlib.sha256(b'{}').hexdigest()}"}}))
    if content is not None:
        (place / "preprocessing.json").write_bytes(content)
    ended = invoke("fetch", "fashion", "--out", tmp_path / "out")

    assert ended.exit_code == code, ended.output
    assert (tmp_path / "out" / "preprocessing.json").exists() is (code == 0)
    assert ("predictions with it would be wrong" in flat(ended.stderr)) is (code == 1)


def test_a_fetch_that_broke_off_can_be_repeated(cluster: Cluster, tmp_path: Path) -> None:
    """What a killed fetch left is in a folder of its own and is thrown away by the next, which another's pod does not disturb."""
    cluster.answers(_succeeded())
    _fill(cluster)
    half = tmp_path / "out" / ".fetching"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"wei")
    (cluster.home / "exec-fails").write_text("error: connection lost")
    broken = invoke("fetch", "fashion", "--out", tmp_path / "out")
    first = json.loads((cluster.home / "applied.json").read_text())["metadata"]
    (cluster.home / "exec-fails").unlink()
    ended = invoke("fetch", "fashion", "--out", tmp_path / "out")
    second = json.loads((cluster.home / "applied.json").read_text())["metadata"]

    assert broken.exit_code == 1
    assert ended.exit_code == 0, ended.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        LOCK_FILE,
        "config.yaml",
        "history.jsonl",
        "model.safetensors",
        "result.json",
    ]
    assert first["name"] != second["name"]
    assert [(owner["kind"], owner["uid"]) for owner in second["ownerReferences"]] == [("AutoHASSearch", UID)]


def test_a_folder_into_which_another_process_fetches_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    """What has arrived there stays, no pod is started, and the sentence names the process."""
    cluster.answers(_succeeded())
    _fill(cluster)
    arriving = tmp_path / "out" / ".fetching"
    arriving.mkdir(parents=True)
    (arriving / "model.safetensors").write_bytes(b"wei")
    with hold_folder(tmp_path / "out"):
        refused = invoke("fetch", "fashion", "--out", tmp_path / "out")

    assert refused.exit_code == 1
    assert f"{tmp_path / 'out'} is in use: process {os.getpid()} on host" in flat(refused.stderr)
    assert "or choose another folder with --out DIR" in flat(refused.stderr)
    assert (arriving / "model.safetensors").read_bytes() == b"wei"
    assert not (cluster.home / "applied.json").exists()


def test_a_reader_that_fails_is_said_and_removed(cluster: Cluster, tmp_path: Path) -> None:
    """Whatever exec says is passed on; the pod is deleted all the same."""
    cluster.answers(_succeeded())
    (cluster.home / "exec-fails").write_text('pods "x" is forbidden: cannot create resource "pods/exec"')
    ended = invoke("fetch", "fashion", "--out", tmp_path / "out")

    assert ended.exit_code == 1
    assert 'cannot create resource "pods/exec"' in flat(ended.stderr)
    assert cluster.calls[-1][0] == "delete"


def test_a_used_folder_is_not_overwritten(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing is created in the cluster for it."""
    cluster.answers(_succeeded())
    (tmp_path / "kept").write_text("mine")
    ended = invoke("fetch", "fashion", "--out", tmp_path)

    assert ended.exit_code == 1
    assert "is not empty; choose another with --out DIR" in flat(ended.stderr)
    assert [call[0] for call in cluster.calls] == ["get"]
