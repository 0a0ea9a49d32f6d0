"""`autohas watch`, `wait` and `fetch` against a kubectl that is a script: what is asked, what is said, how they exit."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from autohas.command import app
from autohas.kubectl import Kubectl, KubectlError
from autohas.progress_view import line_of
from autohas.watching import Pace
from autohas.watching import wait as wait_for
from autohas_api.testing import a_search, changed

UID = "5ea4c400-0000-4000-8000-000000000001"
PLACE = f"ml/fashion/{UID}/"
FAKE = f"""#!{sys.executable}
import json, os, pathlib, subprocess, sys
home = pathlib.Path(os.environ["FAKE_KUBECTL"])
arguments = [a for a in sys.argv[1:] if not a.startswith(("--namespace=", "--context=", "--kubeconfig="))]
with (home / "log").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if arguments[0] == "apply":
    (home / "applied.json").write_text(sys.stdin.read())
elif arguments[0] == "exec":
    if (home / "exec-fails").exists():
        sys.exit((home / "exec-fails").read_text())
    code, place, *names = arguments[arguments.index("-c") + 1 :]
    sys.exit(subprocess.run([sys.executable, "-c", code, place.replace("/var/lib/autohas", str(home / "claim")), *names]).returncode)
elif arguments[0] == "get":
    answers = sorted(home.glob("answer-*"))
    text = answers[0].read_text()
    if len(answers) > 1:
        answers[0].unlink()
    if text.startswith("error:"):
        sys.exit(text.removeprefix("error:"))
    found = json.loads(text)
    is_one = not arguments[2].startswith("--")
    print(json.dumps(found[0] if is_one else {{"items": found}}))
"""


class Cluster:
    """The script's home: answers in order, the last one for ever."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._count = 0

    def answers(self, *answers: Any) -> None:
        """Each a search, a list of searches, or a text that kubectl fails with."""
        for answer in answers:
            self._count += 1
            text = f"error:{answer}" if isinstance(answer, str) else json.dumps(answer if isinstance(answer, list) else [answer])
            (self.home / f"answer-{self._count:03d}").write_text(text)

    @property
    def calls(self) -> list[list[str]]:
        """What kubectl was asked."""
        return [json.loads(line) for line in (self.home / "log").read_text().splitlines()]


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    home = tmp_path / "cluster"
    home.mkdir()
    script = home / "kubectl"
    script.write_text(FAKE)
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(home), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_KUBECTL", str(home))
    return Cluster(home)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def pace(self) -> Pace:
        return Pace(clock=lambda: self.now, sleep=self.sleep)


def _search(phase: str = "", **status: Any) -> dict[str, Any]:
    document = changed(a_search("fashion"), "spec.checkpoint", {"storage": {"persistentVolumeClaim": {"claimName": "ck"}}})
    document["metadata"] |= {"namespace": "ml", "uid": UID}
    return document | ({"status": {"phase": phase, **status}} if phase else {})


def _autohas(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _flat(text: str) -> str:
    return " ".join(text.split())


def _quiet() -> Console:
    return Console(quiet=True)


@pytest.mark.parametrize(
    ("phase", "status", "code", "words"),
    [
        ("Succeeded", {"best": "0.93"}, 0, "fashion: Succeeded 100 % best 0.93"),
        (
            "Failed",
            {"conditions": [{"type": "Succeeded", "status": "False", "reason": "NumericalFailure", "message": "it diverged"}]},
            1,
            "fashion: Failed NumericalFailure: it diverged",
        ),
        (
            "Rejected",
            {"conditions": [{"type": "Accepted", "status": "False", "reason": "Invalid", "message": "spec.x is wrong"}]},
            1,
            "fashion: Rejected Invalid: spec.x is wrong",
        ),
    ],
)
def test_wait_exits_as_the_search_ended(cluster: Cluster, phase: str, status: dict[str, Any], code: int, words: str) -> None:
    """0 only for a result; the condition's sentence is printed."""
    cluster.answers(_search(phase, **status))
    ended = _autohas("wait", "fashion", "-n", "ml")

    assert ended.exit_code == code
    assert words in _flat(ended.output)
    assert cluster.calls[0][:3] == ["--namespace=ml", "get", "autohassearches.autohas.dev"]


def test_wait_waits_through_every_phase_and_a_silent_cluster(cluster: Cluster) -> None:
    """Pending, running, an API server that is away for three looks, then the result: 12 seconds, exit 0."""
    time = Time()
    away = "Unable to connect to the server: connection refused"
    running = _search("Running", progress="42%")
    cluster.answers(_search(), running, away, away, away, running, _search("Succeeded"))

    assert wait_for(Kubectl(), "fashion", None, _quiet(), time.pace) == 0
    assert time.now == 12.0


def test_wait_gives_up_at_its_timeout(cluster: Cluster) -> None:
    """124, as timeout(1), no later than one look after the time; what was last known is said."""
    time, console = Time(), Console(record=True, width=200, quiet=False, file=Path(os.devnull).open("w"))  # noqa: SIM115 - closed by exit
    cluster.answers(_search("Running", stage="Lanes", progress="42%", eta="1h30m"))

    assert wait_for(Kubectl(), "fashion", 9.0, console, time.pace) == 124
    assert time.now == 10.0
    assert "fashion: Running Lanes 42 % 1h30m left: not over after 9 s" in _flat(console.export_text())
    console.file.close()


def test_a_cluster_that_stays_silent_ends_the_wait_with_its_words(cluster: Cluster) -> None:
    """After a minute without an answer it is no gap any more."""
    time = Time()
    cluster.answers(_search("Running"), "Unable to connect to the server: connection refused")

    with pytest.raises(KubectlError, match="Unable to connect"):
        wait_for(Kubectl(), "fashion", None, _quiet(), time.pace)
    assert 60 <= time.now <= 64


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            'Error from server (NotFound): autohassearches.autohas.dev "fashion" not found',
            'autohassearches.autohas.dev "fashion" not found',
        ),
        ('error: the server doesn\'t have a resource type "autohassearches"', "has no AutoHASSearch resources: install the chart first"),
        ("Unable to connect to the server: dial tcp: no such host", "Unable to connect to the server"),
    ],
)
def test_what_cannot_be_waited_for_is_a_sentence(cluster: Cluster, answer: str, words: str) -> None:
    """Exit 1 at once, without a traceback."""
    cluster.answers(answer)
    ended = _autohas("wait", "fashion")

    assert ended.exit_code == 1
    assert words in _flat(ended.stderr)
    assert "Traceback" not in ended.output


def test_kubectl_s_own_log_lines_are_left_out(cluster: Cluster) -> None:
    """Seven lines about caches stand before the one sentence that helps."""
    log = 'E1123 12:10:30.547333   31987 memcache.go:265] "Unhandled Error" err="couldn\'t get current server API group list"\n'
    cluster.answers(log * 7 + "The connection to the server localhost:8080 was refused")
    ended = _autohas("wait", "fashion")

    assert _flat(ended.stderr).strip() == "autohas: The connection to the server localhost:8080 was refused"


def test_without_kubectl_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verbs for a cluster need it; the others do not."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for verb in (["wait", "x"], ["watch"], ["fetch", "x"]):
        ended = _autohas(*verb)
        assert ended.exit_code == 1
        assert "kubectl is not on PATH: install it" in _flat(ended.stderr)


def test_watch_into_a_pipe_writes_a_line_per_change(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal looks are one line; it ends when the named searches are over, 1 because one failed."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    other = changed(_search("Failed"), "metadata.name", "other")
    running = _search("Running", stage="Lanes", progress="12%", best="0.7", eta="5m")
    cluster.answers([running, other], [running, other], [_search("Succeeded", best="0.9"), other])
    ended = _autohas("watch", "fashion", "other")

    assert ended.exit_code == 1
    assert [_flat(line) for line in ended.output.splitlines()] == [
        "fashion: Running Lanes 12 % best 0.7 5m left",
        "other: Failed",
        "fashion: Succeeded 100 % best 0.9",
    ]


def test_watch_once_shows_every_search_and_why_one_waits(cluster: Cluster) -> None:
    """Without names all searches, with -A of every namespace; exit 0 whatever they are at."""
    why = {"type": "TrainerReady", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes have a GPU"}
    cluster.answers([_search("Starting", conditions=[why]), changed(_search(), "metadata.name", "new")])
    ended = _autohas("watch", "-A", "--once")

    assert ended.exit_code == 0
    assert "fashion: Starting Unschedulable: 0/3 nodes have a GPU" in _flat(ended.output)
    assert "new: Pending waiting for the operator" in _flat(ended.output)
    assert "--all-namespaces" in cluster.calls[0]


def test_watch_draws_a_table_on_a_terminal(cluster: Cluster) -> None:
    """Bars for people: name, stage and share stand in it."""
    from autohas.watching import watch  # noqa: PLC0415 - used once

    with Path(os.devnull).open("w") as sink:
        console = Console(record=True, width=160, force_terminal=True, file=sink)
        cluster.answers([_search("Running", stage="Race", progress="61%", best="0.912", eta="3m")])
        assert watch(Kubectl(), [], console, once=True) == 0
        shown = console.export_text()
    for word in ("Search", "fashion", "Running", "Race", "61 %", "0.912", "3m", "━"):
        assert word in shown


def test_a_search_that_is_not_there_is_named(cluster: Cluster) -> None:
    """A typing error is no endless watch."""
    cluster.answers([_search("Running")])
    ended = _autohas("watch", "fashoin", "-n", "ml")

    assert ended.exit_code == 1
    assert "there is no search fashoin in namespace ml" in _flat(ended.stderr)


def _succeeded(model: bytes = b"weights", path: str | None = PLACE) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(model).hexdigest()}"
    result = {"modelDigest": digest, **({"modelPath": path} if path else {})}
    return _search("Succeeded", trainer={"image": "registry/trainer:1"}, result=result)


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
    ended = _autohas("fetch", "fashion", "-n", "ml", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    pod = json.loads((cluster.home / "applied.json").read_text())
    (container,) = pod["spec"]["containers"]

    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
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
    cluster.answers(changed(_succeeded(), "status.trainer", {"image": "registry/trainer:1", **trainer}))
    _fill(cluster)
    ended = _autohas("fetch", "fashion", "-n", "ml", "--out", tmp_path / "out")
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
    search = changed(_succeeded(), "status.trainer", {"image": "registry/trainer:1", **status})
    cluster.answers(changed(search, "spec.trainer", {"imagePullSecrets": [{"name": "mine"}]}))
    _fill(cluster)
    ended = _autohas("fetch", "fashion", "-n", "ml", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output

    assert json.loads((cluster.home / "applied.json").read_text())["spec"]["imagePullSecrets"] == expected


@pytest.mark.parametrize(
    ("search", "words"),
    [
        (_search("Running"), "fashion is Running, not Succeeded: there is no result yet; autohas wait fashion"),
        (_search(), "fashion is Pending, not Succeeded"),
        (_succeeded(path=None), "kept its files on its pod's own disk (checkpoint.storage.emptyDir), which is gone"),
    ],
)
def test_fetch_of_nothing_makes_no_pod(cluster: Cluster, tmp_path: Path, search: dict[str, Any], words: str) -> None:
    """Refused before anything is created, with what to do."""
    cluster.answers(search)
    ended = _autohas("fetch", "fashion", "--out", tmp_path / "out")

    assert ended.exit_code == 1
    assert words in _flat(ended.stderr)
    assert [call[0] for call in cluster.calls] == ["get"]
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_the_result_s_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """The digest of status.result decides, not the presence of a file."""
    cluster.answers(_succeeded())
    _fill(cluster, b"other weights")
    ended = _autohas("fetch", "fashion", "--out", tmp_path / "out")

    assert ended.exit_code == 1
    assert "was changed on the claim, or did not arrive whole" in _flat(ended.stderr)


def test_a_reader_that_fails_is_said_and_removed(cluster: Cluster, tmp_path: Path) -> None:
    """Whatever exec says is passed on; the pod is deleted all the same."""
    cluster.answers(_succeeded())
    (cluster.home / "exec-fails").write_text('pods "x" is forbidden: cannot create resource "pods/exec"')
    ended = _autohas("fetch", "fashion", "--out", tmp_path / "out")

    assert ended.exit_code == 1
    assert 'cannot create resource "pods/exec"' in _flat(ended.stderr)
    assert cluster.calls[-1][0] == "delete"


def test_a_used_folder_is_not_overwritten(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing is created in the cluster for it."""
    cluster.answers(_succeeded())
    (tmp_path / "kept").write_text("mine")
    ended = _autohas("fetch", "fashion", "--out", tmp_path)

    assert ended.exit_code == 1
    assert "is not empty; choose another with --out DIR" in _flat(ended.stderr)
    assert [call[0] for call in cluster.calls] == ["get"]


@pytest.mark.parametrize("text", ["soon", "5x", "-1", ""])
def test_a_timeout_that_means_nothing_is_a_usage_error(cluster: Cluster, text: str) -> None:
    """The forms that are allowed are named."""
    ended = _autohas("wait", "fashion", f"--timeout={text}")
    assert ended.exit_code == 2
    assert "for example 90s or 2h" in _flat(ended.output)


def test_foreign_status_is_read_without_trust() -> None:
    """A status of another version, or none, gives a line and no error."""
    assert line_of(_search("Running", progress="a lot", conditions=None)).percent is None
    assert line_of(_search()).phase == "Pending"
