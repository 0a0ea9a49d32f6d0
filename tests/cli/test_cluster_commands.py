"""`autohas watch` and `wait` against a kubectl that is a script: what is asked, what is said, how they exit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autohas.kubectl import Kubectl, KubectlError
from autohas.progress_view import line_of
from autohas.watching import Pace
from autohas.watching import wait as wait_for
from autohas_api.testing.rejections import with_change
from kubectl_fixtures import Cluster, flat, invoke, stored


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def pace(self) -> Pace:
        return Pace(clock=lambda: self.now, sleep=self.sleep)


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
    cluster.answers(stored(phase, **status))
    ended = invoke("wait", "fashion", "-n", "ml")

    assert ended.exit_code == code
    assert words in flat(ended.output)
    assert cluster.calls[0][:3] == ["--namespace=ml", "get", "autohassearches.autohas.dev"]


def test_the_run_of_a_comparison_stands_next_to_its_stage() -> None:
    """Race (3/20); the stage alone of a search of its own, nothing after the end."""
    cases: tuple[tuple[str, dict[str, str]], ...] = (("Running", {"run": "3/20"}), ("Running", {}), ("Succeeded", {"run": "20/20"}))
    stages = [line_of(stored(phase, stage="Race", **run)).stage for phase, run in cases]

    assert stages == ["Race (3/20)", "Race", ""]


def test_wait_waits_through_every_phase_and_a_silent_cluster(cluster: Cluster) -> None:
    """Pending, running, an API server that is away for three looks, then the result: 12 seconds, exit 0."""
    time = Time()
    away = "Unable to connect to the server: connection refused"
    running = stored("Running", progress="42%")
    cluster.answers(stored(), running, away, away, away, running, stored("Succeeded"))

    assert wait_for(Kubectl(), "fashion", None, _quiet(), time.pace) == 0
    assert time.now == 12.0


def test_wait_gives_up_at_its_timeout(cluster: Cluster) -> None:
    """124, as timeout(1), no later than one look after the time; what was last known is said."""
    time, console = Time(), Console(record=True, width=200, quiet=False, file=Path(os.devnull).open("w"))  # noqa: SIM115 - closed by exit
    cluster.answers(stored("Running", stage="Lanes", progress="42%", eta="1h30m"))

    assert wait_for(Kubectl(), "fashion", 9.0, console, time.pace) == 124
    assert time.now == 10.0
    assert "fashion: Running Lanes 42 % 1h30m left: not over after 9 s" in flat(console.export_text())
    console.file.close()


def test_a_cluster_that_stays_silent_ends_the_wait_with_its_words(cluster: Cluster) -> None:
    """After a minute without an answer it is no gap any more."""
    time = Time()
    cluster.answers(stored("Running"), "Unable to connect to the server: connection refused")

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
    ended = invoke("wait", "fashion")

    assert ended.exit_code == 1
    assert words in flat(ended.stderr)
    assert "Traceback" not in ended.output


def test_kubectl_s_own_log_lines_are_left_out(cluster: Cluster) -> None:
    """Seven lines about caches stand before the one sentence that helps."""
    log = 'E1123 12:10:30.547333   31987 memcache.go:265] "Unhandled Error" err="couldn\'t get current server API group list"\n'
    cluster.answers(log * 7 + "The connection to the server localhost:8080 was refused")
    ended = invoke("wait", "fashion")

    assert flat(ended.stderr).strip() == "autohas: The connection to the server localhost:8080 was refused"


def test_without_kubectl_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verbs for a cluster need it; the others do not."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for verb in (["wait", "x"], ["watch"], ["fetch", "x"]):
        ended = invoke(*verb)
        assert ended.exit_code == 1
        assert "kubectl is not on PATH: install it" in flat(ended.stderr)


def test_watch_into_a_pipe_writes_a_line_per_change(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal looks are one line; it ends when the named searches are over, 1 because one failed."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    other = with_change(stored("Failed"), "metadata.name", "other")
    running = stored("Running", stage="Lanes", progress="12%", best="0.7", eta="5m")
    cluster.answers([running, other], [running, other], [stored("Succeeded", best="0.9"), other])
    ended = invoke("watch", "fashion", "other")

    assert ended.exit_code == 1
    assert [flat(line) for line in ended.output.splitlines()] == [
        "fashion: Running Lanes 12 % best 0.7 5m left",
        "other: Failed",
        "fashion: Succeeded 100 % best 0.9",
    ]


def test_watch_once_shows_every_search_and_why_one_waits(cluster: Cluster) -> None:
    """Without names all searches, with -A of every namespace; exit 0 whatever they are at."""
    why = {"type": "TrainerReady", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes have a GPU"}
    cluster.answers([stored("Starting", conditions=[why]), with_change(stored(), "metadata.name", "new")])
    ended = invoke("watch", "-A", "--once")

    assert ended.exit_code == 0
    assert "fashion: Starting Unschedulable: 0/3 nodes have a GPU" in flat(ended.output)
    assert "new: Pending waiting for the operator" in flat(ended.output)
    assert "--all-namespaces" in cluster.calls[0]


def test_watch_draws_a_table_on_a_terminal(cluster: Cluster) -> None:
    """Bars for people: name, stage and share stand in it."""
    from autohas.watching import watch  # noqa: PLC0415 - used once

    with Path(os.devnull).open("w") as sink:
        console = Console(record=True, width=160, force_terminal=True, file=sink)
        cluster.answers([stored("Running", stage="Race", progress="61%", best="0.912", eta="3m")])
        assert watch(Kubectl(), [], console, once=True) == 0
        shown = console.export_text()
    for word in ("Search", "fashion", "Running", "Race", "61 %", "0.912", "3m", "━"):
        assert word in shown


def test_a_search_that_is_not_there_is_named(cluster: Cluster) -> None:
    """A typing error is no endless watch."""
    cluster.answers([stored("Running")])
    ended = invoke("watch", "fashoin", "-n", "ml")

    assert ended.exit_code == 1
    assert "there is no search fashoin in namespace ml" in flat(ended.stderr)


@pytest.mark.parametrize("text", ["soon", "5x", "-1", ""])
def test_a_timeout_that_means_nothing_is_a_usage_error(cluster: Cluster, text: str) -> None:
    """The forms that are allowed are named."""
    ended = invoke("wait", "fashion", f"--timeout={text}")
    assert ended.exit_code == 2
    assert "for example 90s or 2h" in flat(ended.output)


@pytest.mark.parametrize(
    ("phase", "conditions", "why"),
    [
        ("Queued", {"Admitted": ("False", "WaitingForQuota"), "TrainerReady": ("False", "JobSuspended")}, "WaitingForQuota: of Admitted"),
        ("Queued", {"Admitted": ("True", "NotQueued"), "TrainerReady": ("False", "PodStarting")}, "PodStarting: of TrainerReady"),
        ("Running", {"ReconciliationPaused": ("True", "PausedByAnnotation")}, "PausedByAnnotation: of ReconciliationPaused"),
        (
            "Starting",
            {"ReconciliationPaused": ("False", "NotPaused"), "TrainerReady": ("False", "PodStarting")},
            "PodStarting: of TrainerReady",
        ),
        ("Running", {"Admitted": ("False", "Evicted")}, ""),
    ],
)
def test_the_condition_that_holds_a_search_back_is_shown(phase: str, conditions: dict[str, tuple[str, str]], why: str) -> None:
    """A pause before all others, a queue before the trainer that waits for it; a search that runs needs no reason."""
    listed = [{"type": kind, "status": status, "reason": reason, "message": f"of {kind}"} for kind, (status, reason) in conditions.items()]

    assert line_of(stored(phase, conditions=listed)).why == why


def test_foreign_status_is_read_without_trust() -> None:
    """A status of another version, or none, gives a line and no error."""
    assert line_of(stored("Running", progress="a lot", conditions=None)).percent is None
    assert line_of(stored()).phase == "Pending"


def test_watch_prints_one_json_object_at_the_end(cluster: Cluster) -> None:
    """The last state of the searches by field; the lines are on standard error; the exit code is the text's."""
    cluster.answers(stored("Failed", best="0.93"))
    ended = invoke("watch", "fashion", "-n", "ml", "-o", "json")
    answer = json.loads(ended.stdout)

    assert ended.exit_code == answer["exitCode"] == 1
    assert [(line["name"], line["phase"], line["best"]) for line in answer["searches"]] == [("fashion", "Failed", "0.93")]
    assert "fashion: Failed" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 64, "-o json writes one object at the end: name the searches, or give --once"),
        (("absent",), 1, "there is no search absent"),
    ],
)
def test_watch_says_as_json_why_it_failed(cluster: Cluster, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    """No name and no end, a search that does not exist."""
    cluster.answers(stored("Running"))
    ended = invoke("watch", *arguments, "-o", "json")
    answer = json.loads(ended.stdout)

    assert ended.exit_code == answer["exitCode"] == code
    assert sentence in answer["error"]
