"""The verbs for a cluster, as a person runs them: `autohas watch`, `wait` and `fetch` of a live search and its real claim."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autohas_trainer.folder_lock import LOCK_FILE
from line import NAMESPACE, Line, Reference

pytestmark = pytest.mark.node
FILES = ("result.json", "config.yaml", "model.safetensors", "preprocessing.json", "history.jsonl", "report.html")


def autohas(line: Line, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command as a process of its own, with this cluster's kubectl on PATH."""
    tool = line.cluster.kubectl
    where = ["--namespace", NAMESPACE, "--kubeconfig", tool.kubeconfig]
    environment = {**os.environ, "PATH": f"{tool.executable.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    command = [sys.executable, "-m", "autohas", *map(str, [*arguments, *where])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def said(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output, standard error."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out.splitlines(), err


def test_watch_and_wait_follow_a_search_to_its_end(line: Line, reference: Reference) -> None:
    """Both end by themselves with 0: `watch` wrote a line per change through Running, `wait` the last one only."""
    watching, waiting = autohas(line, "watch", reference.NAME), autohas(line, "wait", reference.NAME)
    score = reference.finished()["status"]["result"]["scores"]["test"]
    (watched, changes, watch_error), (waited, last, wait_error) = said(watching), said(waiting)

    assert (watched, watch_error) == (0, "")
    assert (waited, wait_error) == (0, "")
    assert last == [f"{reference.NAME}: Succeeded  100 %  best {score}"]
    assert changes[-1] == last[0]
    assert len(changes) == len(set(changes)) > 1
    assert any(change.startswith(f"{reference.NAME}: Running  ") for change in changes)


@pytest.fixture(name="finished")
def _finished(reference: Reference) -> dict[str, Any]:
    return reference.finished()


def test_fetch_brings_what_lies_on_the_claim(line: Line, finished: dict[str, Any], tmp_path: Path) -> None:
    """Every file, byte for byte, out of a namespace that admits only restricted pods; the reader pod is gone, the claim untouched."""
    kept = line.folder(finished)
    before = sorted(path.relative_to(kept) for path in kept.rglob("*"))
    code, lines, error = said(autohas(line, "fetch", Reference.NAME, "--out", tmp_path / "fetched"))

    assert re.sub(r"-fetch-[0-9a-f]{8}", "-fetch-N", error).splitlines() == [
        f"starting the pod {Reference.NAME}-fetch-N, which reads the claim",
        "copying the files",
    ]
    assert code == 0
    assert lines == [str(tmp_path / "fetched" / name) for name in FILES]
    assert {p.name: p.read_bytes() for p in (tmp_path / "fetched").iterdir() if p.name != LOCK_FILE} == {
        name: (kept / name).read_bytes() for name in FILES
    }
    assert sorted(path.relative_to(kept) for path in kept.rglob("*")) == before
    line.cluster.kubectl(
        "wait", "-n", NAMESPACE, "pod", "-l", "app.kubernetes.io/managed-by=autohas-fetch", "--for=delete", "--timeout=30s"
    )
