"""The pure parts of the fault benchmark: what is drawn is always the same, and what is there twice is seen."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.faults.checking import Checker
from benchmarks.faults.drawing import HOW, MAX_DELAY_S, MOST_DONE, Fault, Kind, Pot, draw
from benchmarks.faults.reporting import report
from benchmarks.faults.searching import Life, most_attempts
from benchmarks.faults.striking import Strike
from benchmarks.reliability.__main__ import End

SEARCH = "11111111-0000-0000-0000-000000000000"
END = End(result="r", model="m", history="h")


def an_object(name: str, *, attempt: int = 1, is_leaving: bool = False, **parts: Any) -> dict[str, Any]:
    """A Job or a pod of the search."""
    labels = {"autohas.dev/uid": SEARCH, "autohas.dev/search": "s", "autohas.dev/attempt": str(attempt)}
    leaving = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if is_leaving else {}
    return {"metadata": {"name": name, "uid": f"uid-of-{name}", "labels": labels, **leaving}, **parts}


def a_pod(name: str, state: str = "running", *, is_leaving: bool = False) -> dict[str, Any]:
    return an_object(name, is_leaving=is_leaving, status={"phase": "Running", "containerStatuses": [{"state": {state: {}}}]})


def a_strike(kind: Kind, how: str, phase: str = "Running") -> Strike:
    return Strike(fault=Fault(kind=kind, how=how, done=None, delay_s=0, hold_s=1), hit="it", phase=phase, at_s=0)


def test_the_same_seed_draws_the_same_faults() -> None:
    """Kinds, ways and moments depend on seed and number alone; another seed or number draws others."""
    assert draw(0, 3, 10) == draw(0, 3, 10)
    assert draw(0, 3, 10) != draw(1, 3, 10)
    assert draw(0, 3, 10) != draw(0, 4, 10)


def test_every_kind_and_way_is_drawn_in_its_bounds() -> None:
    """Over many searches every way of every kind occurs, outages half as often as others, shares never fall within a search."""
    drawn = [draw(0, number, 10) for number in range(100)]
    faults = [fault for one in drawn for fault in one]
    shares = [[fault.done for fault in one if fault.done is not None] for one in drawn]

    assert {(fault.kind, fault.how) for fault in faults} == {(kind, how) for kind, ways in HOW.items() for how in ways}
    assert sum(fault.kind is Kind.API_OUTAGE for fault in faults) == pytest.approx(1000 / 11, rel=0.3)
    assert all(one == sorted(one) and one[-1] <= MOST_DONE for one in shares)
    assert sum(map(len, shares)) == pytest.approx(1000 * 2 / 3, rel=0.1)
    assert all(0 <= fault.delay_s <= MAX_DELAY_S for fault in faults)


def test_the_pot_deals_every_fault_and_takes_back_what_hit_nothing() -> None:
    """The first is dealt somewhat more than its part; what comes back is dealt again, beyond the last search in more of them."""
    pot = Pot(3, 30)
    assert [pot.next_search(), pot.next_search()] == [(0, 12), (1, 11)]
    pot.give_back(9)
    assert [pot.next_search(), pot.next_search(), pot.next_search()] == [(2, 15), (3, 1), None]
    pot.give_back(1)
    assert [pot.next_search(), pot.next_search()] == [(4, 1), None]
    pot.give_back(1)
    pot.close()
    assert pot.next_search() is None


def test_two_live_pods_are_a_duplicate() -> None:
    """Two running containers of one search that were not asked to end are found, also when a list brings them."""
    checker = Checker()
    checker.check_pods("ADDED", [a_pod("a")])
    checker.check_pods("ADDED", [a_pod("b", "waiting")])
    assert checker.violations == []
    checker.check_pods("MODIFIED", [a_pod("b")])

    assert checker.violations == [f"search {SEARCH}: 2 live pods at once: a, b"]
    again = Checker()
    again.check_pods("LISTED", [a_pod("a"), a_pod("b")])
    assert again.violations == checker.violations


def test_pods_that_leave_or_are_gone_are_no_duplicates() -> None:
    """A pod next to a terminating, an ended or a deleted one is as it should be."""
    checker = Checker()
    checker.check_pods("ADDED", [a_pod("a")])
    checker.check_pods("MODIFIED", [a_pod("a", is_leaving=True)])
    checker.check_pods("ADDED", [a_pod("b")])
    checker.check_pods("DELETED", [a_pod("b")])
    checker.check_pods("ADDED", [a_pod("c")])
    checker.check_pods("LISTED", [a_pod("c", "terminated"), a_pod("d")])

    assert checker.violations == []


def test_two_jobs_at_once_and_two_jobs_of_one_attempt_are_duplicates() -> None:
    """Attempt 2 next to a living attempt 1 is found, and a second Job of attempt 2 even after the first is gone."""
    checker = Checker()
    checker.check_jobs("ADDED", [an_object("j-1")])
    checker.check_jobs("ADDED", [an_object("j-2", attempt=2)])
    assert checker.violations == [f"search {SEARCH}: 2 Jobs at once: j-1, j-2"]
    checker.check_jobs("DELETED", [an_object("j-1")])
    checker.check_jobs("DELETED", [an_object("j-2", attempt=2)])
    checker.check_jobs("ADDED", [an_object("j-2-again", attempt=2)])

    assert checker.violations[1:] == [f"search {SEARCH}: attempt 2 had 2 Jobs"]
    assert checker.num_jobs(SEARCH) == 3


def test_two_trainer_processes_are_a_duplicate() -> None:
    """One after the other is a restart, both at once is a duplicate."""
    checker = Checker()
    checker.check_processes({SEARCH: {"a"}})
    checker.check_processes({SEARCH: {"b"}})
    assert (checker.violations, checker.starts[SEARCH]) == ([], {"a", "b"})
    checker.check_processes({SEARCH: {"a", "b"}})

    assert checker.violations == [f"search {SEARCH}: trainers of 2 pods run at once: a, b"]


@pytest.mark.parametrize("after", [{"result": {"digest": "y"}, "completionTime": "2"}, {}])
def test_a_result_that_changes_or_goes_is_found(after: dict[str, Any]) -> None:
    """The first result of a search is its last."""
    checker = Checker()
    first = {"result": {"digest": "x"}, "completionTime": "1"}
    for status in ({}, first, first):
        checker.check_searches("MODIFIED", [{"metadata": {"uid": SEARCH, "name": "s"}, "status": status}])
    assert (checker.violations, checker.num_results(SEARCH)) == ([], 1)
    checker.check_searches("MODIFIED", [{"metadata": {"uid": SEARCH, "name": "s"}, "status": after}])

    assert len(checker.violations) == 1


def test_attempts_are_bounded_by_what_took_jobs_away() -> None:
    """Only deletions and suspensions can make a next attempt, a suspension that is flipped twice two."""
    struck = [(Kind.JOB_DELETE, "orphan"), (Kind.SUSPEND_FLIP, "twice"), (Kind.SUSPEND_FLIP, "once"), (Kind.TRAINER_KILL, "SIGKILL")]

    assert most_attempts([]) == 1
    assert most_attempts([a_strike(kind, how) for kind, how in struck]) == 5


def test_a_search_unlike_the_undisturbed_one_is_reported() -> None:
    """Phase, digest, files, results and attempts are compared, and the table counts and tells what differs."""
    expected = Life(name="undisturbed-0", number=0, phase="Succeeded", digest="d", end=END, attempt=1, num_jobs=1, num_results=1)
    equal = Life(name="search-0", number=0, phase="Succeeded", digest="d", end=END, attempt=1, num_jobs=1, num_results=1)
    equal.strikes.append(a_strike(Kind.TRAINER_KILL, "SIGKILL"))
    other = Life(name="search-4", number=4, phase="Failed", digest="", attempt=2, num_jobs=3)
    for life in (equal, other):
        life.compare(expected)

    text = report("Somewhere", [expected] * 4, [equal, other], ["two of one"], 1.5)

    assert equal.problems == []
    assert [problem.split()[0] for problem in other.problems] == ["ended", "digest", "files", "0", "status.attempt"]
    assert text.startswith("# 1 faults over 2 searches\n\nSomewhere\n")
    assert "| trainer kill | 1 | SIGKILL 1 | Running 1 |" in text
    assert "| ended Succeeded | 1 of 2 |" in text
    assert "two Jobs of one attempt; two results) | 1 |" in text
    assert "- two of one\n- search-4: ended Failed, not Succeeded" in text
