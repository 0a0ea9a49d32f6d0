"""Pauses and interruptions on a real node: whatever stops a search, it ends with the digest of one that nothing stopped."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from line import NAMESPACE, Line, Reference, durable
from recording import Life, Recording, overlapping, recorded

pytestmark = pytest.mark.node
FIRST_BACKOFF_S = 10.0
"""What the Job controller waits after a first ended pod; it doubles with each further one."""
NUM_INTERRUPTIONS = 6
LATEST_S = 10.0
"""How much later than its back-off says a pod may appear: two cores that are busy, timestamps cut to seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A search after six interruptions and its end, with all its pods."""

    status: dict[str, Any]
    lives: list[Life]


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


@pytest.mark.usefixtures("interrupted")
def test_a_suspended_search_rests_on_its_checkpoint_and_goes_on(line: Line, reference: Reference, tmp_path: Path) -> None:
    """Suspending, then Suspended: no pod, no Job, the checkpoint that status names is on the claim; then attempt 2 to the same end."""
    name = "suspended"
    with recorded(line, name, tmp_path) as recording:
        line.apply(durable(name, steps=Reference.STEPS))
        line.works(name)
        line.suspend(name)
        line.wait_for_phase(name, "Suspended")
        resting, left = line.search(name), (line.objects("pods", name), line.objects("jobs", name))
        checkpoints = sorted(path.name for path in (line.folder(resting) / "checkpoints").iterdir())
        line.suspend(name, wanted=False)
        status = line.wait(name, "Finished")["status"]
        lives = recording.ended(2)

    suspended = next(c for c in resting["status"]["conditions"] if c["type"] == "Suspended")
    step = resting["status"]["checkpoint"]["step"]
    assert left == ([], [])
    assert (suspended["status"], suspended["reason"]) == ("True", "SuspendRequested")
    assert suspended["message"] == f"no pod is left and the checkpoint of step {step} is kept; set spec.suspend to false to go on"
    assert int(checkpoints[-1]) == step > 0
    assert [life.exit_code for life in lives] == [75, 0]
    assert (status["phase"], status["attempt"], status.get("interruptions", 0)) == ("Succeeded", 2, 0)
    assert status["result"]["digest"] == reference.digest()


@pytest.mark.usefixtures("interrupted")
def test_created_suspended_it_starts_nothing_and_flips_never_make_two_pods(line: Line, reference: Reference, tmp_path: Path) -> None:
    """Nothing before suspend is false; then suspended and let go twice faster than a pod ends: pods follow each other, same end."""
    name = "flipped"
    with recorded(line, name, tmp_path) as recording:
        line.apply(durable(name, steps=Reference.STEPS, **{"spec.suspend": True}))
        line.wait_for_phase(name, "Suspended")
        resting, jobs = line.search(name), line.objects("jobs", name)
        nobody = recording.lives()
        line.suspend(name, wanted=False)
        line.works(name)
        for wanted in (True, False, True, False):
            line.suspend(name, wanted=wanted)
        status = line.wait(name, "Finished")["status"]
        lives = recording.ended(2)

    assert (jobs, nobody, resting["status"].get("attempt")) == ([], [], None)
    assert overlapping(lives) == []
    assert lives[-1].exit_code == 0
    assert status["phase"] == "Succeeded"
    assert status["result"]["digest"] == reference.digest()


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
