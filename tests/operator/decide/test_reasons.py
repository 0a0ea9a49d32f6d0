"""Every word that the operator can say is expected by a test of this folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from autohas_api.testing.rejections import changed
from autohas_api.wire.status import ConditionType, Phase
from autohas_operator.decide.phases import DeleteJob
from autohas_operator.testing import sentences
from autohas_operator.testing.builders import condition, ended_pod, observed, stored_job, stored_pod
from autohas_operator.testing.decisions import CREATED, JOB, RUNNING, SEARCH, decide, verdict
from autohas_operator.testing.reasons import said

HERE = Path(__file__)
SOME = {"Reporting", "SearchStalled", "EntropyBelowThreshold", "NumericalFailure"}
"""Words that come from four different places; not an assertion, which would count for them."""


def _texts(node: ast.AST, *, with_calls: bool) -> Iterator[str]:
    """Strings of an expression, without keys such as `status["phase"]`; without calls those of made-up inputs are left out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Subscript):
        yield from _texts(node.value, with_calls=with_calls)
    elif with_calls or not isinstance(node, ast.Call):
        for part in ast.iter_child_nodes(node):
            yield from _texts(part, with_calls=with_calls)


def _expected(source: str) -> set[str]:
    """Strings in assertions, in lambdas (what `until` waits for) and among the cases of parametrized tests."""
    tree = ast.parse(source)
    tables = {n.targets[0].id: n.value for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)}
    tables |= {n.target.id: n.value for n in tree.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.value}
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert | ast.Lambda):
            words.update(_texts(node, with_calls=True))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "parametrize":
            cases = node.args[1]
            words.update(_texts(tables.get(cases.id, cases) if isinstance(cases, ast.Name) else cases, with_calls=False))
    return words


def test_every_reason_is_expected_by_a_test() -> None:
    """Each stands in an assertion, in a lambda or in a parametrized case outside of calls: as an input alone it does not count."""
    words = said()
    expected = {word for path in HERE.parents[1].rglob("test_*.py") for word in _expected(path.read_text())}

    assert words >= SOME
    assert sorted(words - expected) == []


COMPARED = (
    "assert told == ('False', 'Word')",
    "bench.until(lambda: told() == ('False', 'Word'), 'a wait')",
    "CASES = [(made('In'), ('False', 'Word'))]\n@pytest.mark.parametrize(('a', 'b'), CASES)\ndef test(a, b): ...",
)
MENTIONED = (
    "seen = made(reason='Word')",
    "assert told['Word'] == 1",
    "CASES = [(made('Word'), 1)]\n@pytest.mark.parametrize(('a', 'b'), CASES)\ndef test(a, b): ...",
    "def test():\n    'Word'",
)


@pytest.mark.parametrize(("source", "counts"), [*((s, True) for s in COMPARED), *((s, False) for s in MENTIONED)])
def test_a_word_counts_where_something_is_compared_with_it(source: str, counts: bool) -> None:  # noqa: FBT001 - a case
    """In an input, as a key or in a docstring it does not."""
    assert ("Word" in _expected(source)) is counts


def test_every_phase_and_condition_is_named_by_a_test() -> None:
    """By its member of the enumeration, somewhere in this folder."""
    texts = "".join(path.read_text() for path in HERE.parents[1].rglob("test_*.py"))

    assert [phase.name for phase in Phase if f"Phase.{phase.name}" not in texts] == []
    assert [kind.name for kind in ConditionType if f"ConditionType.{kind.name}" not in texts] == []


def test_a_job_that_failed_for_reasons_of_its_own_is_quoted() -> None:
    """A reason of the Job controller that this operator does not know is JobFailed, in the controller's words."""
    job = stored_job(SEARCH, conditions=[condition("Failed", "MaxFailedIndexesExceeded", "more than one index")])

    assert verdict(decide(observed(SEARCH, job), RUNNING).status, ConditionType.SUCCEEDED) == ("False", "JobFailed")


def test_a_job_that_is_renewed_or_replaced_says_why() -> None:
    """JobRenewed after three interruptions with progress, SpecChanged after an edit in the first gap."""
    often = RUNNING.model_copy(update={"starts": 3})
    renewed = decide(observed(SEARCH, JOB, ended_pod(JOB, code=75)), often)
    replaced = decide(observed(changed(SEARCH, "spec.algorithm", {"seed": 7}), JOB))

    assert isinstance(renewed.action, DeleteJob)
    assert verdict(renewed.status, ConditionType.TRAINER_READY) == ("False", "JobRenewed")
    assert isinstance(replaced.action, DeleteJob)
    assert verdict(replaced.status, ConditionType.TRAINER_READY) == ("False", "SpecChanged")


NO_PROGRESS = RUNNING.model_copy(update={"starts": 3, "checkpoint": None})
FEW = RUNNING.model_copy(update={"starts": 2})


@pytest.mark.parametrize("before", [NO_PROGRESS, FEW], ids=["no progress", "two only"])
def test_a_job_is_not_renewed_without_progress_or_too_early(before: object) -> None:
    """A trainer that gets nowhere is held back by the Job's own back-off."""
    assert decide(observed(SEARCH, JOB, ended_pod(JOB, code=75)), before).action is None  # type: ignore[arg-type]  # a Status


def test_before_the_first_checkpoint_nothing_is_promised() -> None:
    """CheckpointReady is unknown."""
    assert verdict(CREATED, ConditionType.CHECKPOINT_READY) == ("Unknown", "NoneYet")


def test_a_pod_that_finds_no_node_is_announced_under_a_name_that_tells() -> None:
    """The event stands beside those of pods: TrainerUnschedulable."""
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": sentences.NO_GPU}
    pod = stored_pod(JOB, scheduled=False, conditions=[unschedulable])

    assert [(a.type, a.reason) for a in decide(observed(SEARCH, JOB, pod), CREATED).announcements] == [("Warning", "TrainerUnschedulable")]
