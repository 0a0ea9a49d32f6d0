"""Pauses and interruptions on a real node: whatever stops a search, it ends with the digest of one that nothing stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autohas_operator.manifests.pod import LIVENESS_FAILURES, LIVENESS_PERIOD_S, PROBE_TIMEOUT_S
from line import HALF_A_CORE, NAMESPACE, Line, Reference, durable
from recording import History, Life, Recording, WrittenStatus, followed, overlapping, recorded
from testcluster.waiting import until

pytestmark = pytest.mark.node
FIRST_BACKOFF_S = 10.0
"""What the Job controller waits after a first ended pod; it doubles with each further one."""
NUM_INTERRUPTIONS = 6
LATEST_S = 10.0
"""How much later than its back-off says a pod may appear: two cores that are busy, timestamps cut to seconds."""
GRACE_S = 30
"""The least that a search may give its trainer to stop; a frozen one needs all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A search after six interruptions and its end, with all its pods."""

    status: dict[str, Any]
    lives: list[Life]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """A search whose trainer was frozen once, after its end: with all its pods, every status that was written, and its events by reason."""

    frozen_s: float
    status: dict[str, Any]
    lives: list[Life]
    statuses: list[WrittenStatus]
    events: dict[str, str]


@pytest.fixture(scope="module", name="stalled")
def _stalled(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Stalled]]:
    """As the next: nothing but the kubelet's patience, two minutes of it."""
    name, folder = "stalled", tmp_path_factory.mktemp("stalled")
    with (
        recorded(line, name, folder) as recording,
        followed(line, name, folder) as history,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        yield pool.submit(stall, line, name, recording, history)


def stall(line: Line, name: str, recording: Recording, history: History) -> Stalled:
    """Freeze the trainer of a search (SIGSTOP) while it works, and leave the rest to kubelet, Job controller and operator."""
    limits = {"spec.failurePolicy.stallTimeoutSeconds": 60, "spec.trainer.terminationGracePeriodSeconds": GRACE_S}
    line.apply(durable(name, {**limits, **HALF_A_CORE}, steps=Reference.STEPS))
    line.works(name)
    line.until_watched(name)
    line.freeze_trainer(name)
    frozen_s = time.time()
    status = line.wait(name, "Finished", 600)["status"]
    statuses = history.until_phase("Succeeded")
    return Stalled(frozen_s=frozen_s, status=status, lives=recording.ended(2), statuses=statuses, events=line.events(name))


@pytest.fixture(scope="module", name="interrupted")
def _interrupted(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Interrupted]]:
    """It mostly waits, so the other tests run meanwhile."""
    with recorded(line, "interrupted", tmp_path_factory.mktemp("interrupted")) as recording, ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(interrupt, line, "interrupted", recording)
    line.clear()


def interrupt(line: Line, name: str, recording: Recording) -> Interrupted:
    """Delete every pod of a search as soon as its trainer has got on, six times: faster than the operator asks."""
    line.apply(durable(name, steps=Reference.STEPS))
    for number in range(1, NUM_INTERRUPTIONS + 1):
        line.works(name)
        (pod,) = [pod for pod in line.objects("pods", name) if pod["status"]["phase"] == "Running"]
        line.cluster.kubectl("delete", "-n", NAMESPACE, "pod", pod["metadata"]["name"], "--wait=false")
        recording.ended(number)
    return Interrupted(status=line.wait(name, "Finished")["status"], lives=recording.ended(NUM_INTERRUPTIONS + 1))


@pytest.mark.usefixtures("interrupted", "stalled")
def test_a_suspended_search_rests_on_its_checkpoint_and_goes_on(line: Line, reference: Reference, tmp_path: Path) -> None:
    """Suspending, then Suspended: no pod, no Job, the checkpoint that status names is on the claim; then attempt 2 to the same end."""
    name = "suspended"
    with recorded(line, name, tmp_path) as recording:
        line.apply(durable(name, steps=Reference.STEPS))
        line.works(name)
        line.suspend(name)
        line.wait_for_phase(name, "Suspended")
        resting, left = line.search(name), (line.objects("pods", name), line.objects("jobs", name))
        checkpoints = sorted(path.name for path in (line.folder(resting) / "checkpoints").iterdir() if path.name.isdigit())
        line.suspend(name, wanted=False)
        status = line.wait(name, "Finished")["status"]
        lives = recording.ended(2)

    suspended = next(c for c in resting["status"]["conditions"] if c["type"] == "Suspended")
    step = resting["status"]["checkpoint"]["step"]
    assert left == ([], [])
    assert (suspended["status"], suspended["reason"]) == ("True", "SuspendRequested")
    assert suspended["message"] == f"no pod is left, and the checkpoint of step {step} is kept; set spec.suspend to false to continue"
    assert int(checkpoints[-1]) == step > 0
    assert [life.exit_code for life in lives] == [75, 0]
    assert (status["phase"], status["attempt"], status.get("interruptions", 0)) == ("Succeeded", 2, 0)
    assert status["result"]["digest"] == reference.digest()


@pytest.mark.usefixtures("interrupted", "stalled")
def test_created_suspended_it_starts_nothing_and_flips_never_make_two_pods(line: Line, reference: Reference, tmp_path: Path) -> None:
    """Nothing before suspend is false; then suspended and let go twice faster than a pod ends: pods follow each other, same end."""
    name = "flipped"
    with recorded(line, name, tmp_path) as recording:
        line.apply(durable(name, {"spec.suspend": True}, steps=Reference.STEPS))
        line.wait_for_phase(name, "Suspended")
        resting, jobs = line.search(name), line.objects("jobs", name)
        pods = recording.lives()
        line.suspend(name, wanted=False)
        line.works(name)
        line.suspend(name)
        until(lambda: all("deletionTimestamp" in job["metadata"] for job in line.objects("jobs", name)), what="its Job goes", deadline_s=60)
        for wanted in (False, True, False):
            line.suspend(name, wanted=wanted)
        status = line.wait(name, "Finished")["status"]
        lives = recording.ended(2)

    assert (jobs, pods, resting["status"].get("attempt")) == ([], [], None)
    assert overlapping(lives) == []
    assert lives[-1].exit_code == 0
    assert status["phase"] == "Succeeded"
    assert status["result"]["digest"] == reference.digest()


def test_a_frozen_trainer_is_stopped_by_the_kubelet_and_shown_as_stalled(reference: Reference, stalled: Future[Stalled]) -> None:
    """Three looks at /healthz without an answer, the time to stop, SIGKILL: Stalled in condition and event, the next pod, the same end."""
    frozen = stalled.result()
    lives, said = frozen.lives, {one.message for one in frozen.statuses if (one.status, one.reason) == ("False", "Stalled")}
    took_s = (lives[0].finished_s or 0.0) - frozen.frozen_s
    least_s, most_s = ((LIVENESS_FAILURES - n) * LIVENESS_PERIOD_S + PROBE_TIMEOUT_S + GRACE_S for n in (1, 0))
    why = f"{LIVENESS_FAILURES} probes of /healthz, {LIVENESS_PERIOD_S} s apart, had no answer within {PROBE_TIMEOUT_S} s; the next"

    assert [life.exit_code for life in lives] == [137, 0]
    assert least_s - 2 <= took_s <= most_s + LATEST_S
    assert len(said) == 1
    assert why in min(said)
    assert "(Liveness probe failed: " in min(said)
    assert frozen.events["SearchStalled"] in said
    assert (len({life.job for life in lives}), frozen.status["attempt"]) == (1, 1)
    assert (frozen.status["phase"], frozen.status.get("interruptions", 0)) == ("Succeeded", 0)
    assert frozen.status["result"]["digest"] == reference.digest()
    assert [one for one in started_again(frozen.statuses) if one.reason == "ProgressUnreachable"] == []


def started_again(statuses: list[WrittenStatus]) -> list[WrittenStatus]:
    """The statuses from the end of the frozen trainer on: the next one's start is an ordinary one."""
    return statuses[[one.reason for one in statuses].index("Stalled") :]


def test_six_interruptions_in_a_row_do_not_wait_out_the_back_off(reference: Reference, interrupted: Future[Interrupted]) -> None:
    """Six pods deleted one after the other: no wait reaches the Job's third, and the search ends as if nothing had been."""
    status, lives = interrupted.result().status, interrupted.result().lives
    waits_s = [later.created_s - (earlier.finished_s or 0.0) for earlier, later in pairwise(lives)]
    backoff_s = [FIRST_BACKOFF_S * 2**number for number in range(NUM_INTERRUPTIONS)]

    assert [life.exit_code for life in lives] == [75] * NUM_INTERRUPTIONS + [0]
    assert overlapping(lives) == []
    assert max(waits_s) <= backoff_s[1] + LATEST_S < backoff_s[2]
    assert sum(waits_s) < sum(backoff_s) / 4
    assert len({life.job for life in lives}) == status["attempt"] > 1
    assert (status["phase"], status["interruptions"]) == ("Succeeded", NUM_INTERRUPTIONS)
    assert status["result"]["digest"] == reference.digest()
