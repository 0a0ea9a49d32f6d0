"""Scenarios on a fake cluster, with the operator killed at every single write.

`autohas_operator.testing.fake_cluster` says what the fake API server does and what it leaves out.
"""

from __future__ import annotations

import pytest

from autohas_operator.client import CONFIG_MAPS, JOBS, PODS
from autohas_operator.testing.fake_cluster import FakeCluster, is_owned_by
from autohas_operator.testing.scenarios import SCENARIOS, outcome, play, play_undisturbed


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_comes_to_its_end(name: str) -> None:
    """Phase and number of attempts are those of the table, and every Job belongs to the search."""
    scenario = SCENARIOS[name]
    cluster = play(name, FakeCluster())

    assert (cluster.status["phase"], cluster.status["attempt"]) == (scenario.phase, scenario.attempts)
    assert all(is_owned_by(job, cluster.search["metadata"]["uid"]) for job in cluster.api.all(JOBS))


@pytest.mark.parametrize("is_before", [True, False], ids=["before the write", "after the write"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_write_changes_no_outcome(name: str, is_before: bool) -> None:  # noqa: FBT001 - a table
    """An operator is killed at its n-th write, for every n: the next one comes to the same outcome and creates no second Job."""
    expected = play_undisturbed(name)
    for number in range(1, expected.num_writes + 1):
        cluster = FakeCluster()
        cluster.api.kill_at, cluster.api.kill_before = number, is_before
        play(name, cluster)

        assert cluster.num_restarts == 1, f"write {number}"
        assert outcome(cluster) == expected.outcome, f"write {number}"
        assert len(set(cluster.api.jobs_made)) == len(cluster.api.jobs_made), f"write {number}"


@pytest.mark.parametrize(
    ("name", "reason"), [("start deadline exceeded", "StartDeadlineExceeded"), ("maxInterruptions exceeded", "InterruptionLimit")]
)
def test_a_limit_leaves_no_job_that_runs(name: str, reason: str) -> None:
    """The search is Failed, and its Jobs and ConfigMaps are deleted."""
    cluster = play(name, FakeCluster())
    succeeded = next(c for c in cluster.status["conditions"] if c["type"] == "Succeeded")

    assert (succeeded["status"], succeeded["reason"]) == ("False", reason)
    assert cluster.api.all(JOBS) == cluster.api.all(CONFIG_MAPS) == ()


def test_the_children_of_all_attempts_are_deleted() -> None:
    """An hour after the end the Jobs, pods and ConfigMaps of both attempts are gone; the result is still in the status."""
    cluster = play("children deleted", FakeCluster())

    assert cluster.api.all(JOBS) == cluster.api.all(PODS) == cluster.api.all(CONFIG_MAPS) == ()
    assert cluster.status["result"]["scores"]["test"] == "0.93"
