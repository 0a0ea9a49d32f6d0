"""The largest search that the schema takes is judged in a bounded number of calls: the operator judges in its one event loop."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

import pytest

from autohas_api.accept.acceptance import MAX_FIELD_ERRORS, accept
from autohas_api.algorithms import auto_has
from autohas_api.algorithms.auto_has import AutoHAS
from autohas_api.algorithms.plan_request import MIN_SUPERNET_TRAININGS, Comparisons
from autohas_api.base.spec_errors import SpecError
from autohas_api.budget.steps_per_stage import make_request, plan_stages
from autohas_api.space.decisions import Space
from autohas_api.spec.algorithm import Algorithm
from autohas_api.spec.budget import Budget, Training
from autohas_api.spec.search import Spec
from autohas_api.testing.rejections import a_search, with_change

MOST_CALLS = 40_000
"""Of one function (a generator's resumption is one): 192 decisions, each compared with each, are 36,864."""
CHOICES = [str(n) for n in range(32)]
TRAININGS, STEPS = "10000", 100_000_000


class TooMuchError(Exception):
    """A function was called too often."""


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Fail as soon as one Python function is called more than `most` times, long before that takes minutes."""
    calls: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[frame.f_code] += 1
            if calls[frame.f_code] > most:
                raise TooMuchError(f"{frame.f_code.co_qualname} was called more than {most} times")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


def chain(prefix: str, number: int) -> list[dict[str, Any]]:
    """Decisions of which each depends on the one before it, under all of its choices."""
    names = [f"{prefix}{n}" for n in range(number)]
    first: dict[str, Any] = {"name": names[0]}
    return [first, *({"name": b, "when": {"decision": a, "values": CHOICES}} for a, b in pairwise(names))]


def largest(algorithm: dict[str, Any]) -> dict[str, Any]:
    """128 decisions and 64 hyperparameters of 32 choices, each list a chain; the largest budget."""
    own = [{**h, "categorical": {"choices": CHOICES}, "default": "0"} for h in chain("h_", 64)]
    listed = [{**d, "choices": CHOICES, "default": "0"} for d in chain("d_", 128)]
    document = with_change(a_search(), "spec.task.model", {"entrypoint": "mine:Net"})
    initial = [{"values": {"h_63": str(n + 1)}} for n in range(16)]
    space = {"hyperparameters": own, "architecture": {"decisions": listed}, "initialPoints": initial}
    for path, value in (("searchSpace", space), ("budget", {"trainings": TRAININGS}), ("training", {"steps": STEPS, "seeds": 20})):
        document = with_change(document, f"spec.{path}", value)
    return with_change(document, "spec.algorithm", algorithm)


def test_a_chain_of_conditions_is_counted_in_closed_form() -> None:
    """Under all 32 choices of each parent the next one is searched: 32^64 hyperparameters times 32^128 architectures."""
    with bounded(MOST_CALLS):
        search, space = accept(largest({}))
        plan = plan_stages(search.spec, space)

    assert space.size() == 32**192
    assert float(TRAININGS) - 1 <= plan.predicted_trainings <= float(TRAININGS)


@pytest.mark.parametrize(
    "algorithm",
    [{"name": "RandomSearch"}, {"name": "RegularizedEvolution"}, {"autoHAS": {"strategy": "Lanes", "warmupFraction": "0.25001"}}],
    ids=str,
)
def test_the_largest_search_is_accepted_in_bounded_work(algorithm: dict[str, Any]) -> None:
    """No function is called more often than each decision is compared with each other one."""
    with bounded(MOST_CALLS):
        search, space = accept(largest(algorithm))
        plan_stages(search.spec, space)


def test_a_result_of_the_largest_search_is_named_in_bounded_work() -> None:
    """Whether each of 192 decisions is active is asked once, and a chain of conditions is walked once for each."""
    _, space = accept(largest({}))
    values = space.as_mapping(space.default)

    with bounded(MOST_CALLS):
        active = [decision for decision in space.decisions if space.is_active(decision, values)]
        space.configuration(values)

    assert len(active) == 192


def test_a_search_that_is_wrong_everywhere_is_refused_in_few_words() -> None:
    """Sixteen initial points of 192 unknown names each would be listed with all names that are known: 40 MB of text."""
    wrong = with_change(largest({}), "spec.searchSpace.initialPoints", [{"values": {f"x{n}": "1" for n in range(192)}}] * 16)

    with bounded(MOST_CALLS), pytest.raises(SpecError) as caught:
        accept(wrong)

    assert len(caught.value.field_errors) == MAX_FIELD_ERRORS + 1
    assert caught.value.field_errors[-1].message == f"and more: only the first {MAX_FIELD_ERRORS} problems are listed; correct them first"
    assert len(str(caught.value)) < 1_000_000


def _supernet_step_by_step(spec: Spec, space: Space, trainings: float) -> int:
    """As defined: the most steps that the trainings pay for, found one by one from the estimate downwards."""
    paid = max(trainings, MIN_SUPERNET_TRAININGS) * spec.training.steps
    steps = max(1, int(paid * 1000 / auto_has._cost_of_schedule(make_request(spec, space), 1000)) + 1)
    while steps > 1 and auto_has._cost_of_schedule(make_request(spec, space), steps) > paid:
        steps -= 1
    return steps


KNOBS = [
    {"strategy": "OneStep"},
    {"strategy": "OneStep", "temporary_batch": "Own"},
    {"strategy": "Paired"},
    {"strategy": "Paired", "paired_samples": 32, "temporary_batch": "Own"},
    {"strategy": "Paired", "paired_samples": 2},
]


def _one_step(fraction: str, knobs: dict[str, Any], steps: int, *, architecture: bool = True) -> tuple[Spec, Space]:
    rate = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1", "scale": "Log"}}
    document = with_change(a_search(), "spec.searchSpace.hyperparameters", [rate])
    document = document if architecture else with_change(document, "spec.searchSpace.architecture")
    document = with_change(document, "spec.algorithm", {"autoHAS": {"strategy": "OneStep"}})
    search, space = accept(document)
    chosen = Algorithm.model_validate({"autoHAS": AutoHAS(warmup_fraction=fraction, **knobs).to_json()})
    return search.spec.replace(algorithm=chosen, training=Training(given_steps=steps), budget=Budget(trainings=TRAININGS)), space


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("architecture", [True, False], ids=["both", "hyperparameters"])
@pytest.mark.parametrize("fraction", ["0", "0.049", "0.0501", "0.125001", "0.1999", "0.25001", "0.9"])
def test_steps_of_one_step_are_those_found_one_by_one(fraction: str, knobs: dict[str, Any], *, architecture: bool) -> None:
    """The same number as counting down from the estimate, for every rounding of warm-up and window."""
    budgets = [0.25, 0.3, 1.0, 2.07, math.pi, 5.5, 17.0, 100.0]
    for steps in (9, 10, 100, 777, 900):
        spec, space = _one_step(fraction, knobs, steps, architecture=architecture)
        steps_found = [auto_has._one_step_schedule(make_request(spec, space), trainings)[0] for trainings in budgets]

        assert steps_found == [_supernet_step_by_step(spec, space, trainings) for trainings in budgets]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("batch", [2, 64])
@pytest.mark.parametrize("architecture", [True, False], ids=["both", "hyperparameters"])
@pytest.mark.parametrize("fraction", ["0.0501", "0.25001", "0.9"])
def test_steps_of_one_step_are_found_at_once(fraction: str, batch: int, knobs: dict[str, Any], *, architecture: bool) -> None:
    """At the schema's largest budget too, and they are the most that it pays for."""
    spec, space = _one_step(fraction, knobs, STEPS, architecture=architecture)
    spec = spec.replace(task=_with_batch(spec, batch))

    with bounded(1000):
        steps, cost = auto_has._one_step_schedule(make_request(spec, space), float(TRAININGS))

    assert cost <= float(TRAININGS) < auto_has._cost_of_schedule(make_request(spec, space), steps + 300) / STEPS


def _with_batch(spec: Spec, batch: int) -> Any:
    return spec.task.replace(recipe=spec.task.recipe.replace(batch_size=batch))


@pytest.mark.parametrize("price", [0.0, 0.01])
def test_lanes_are_as_many_as_counting_finds(price: float) -> None:
    """The same number as adding one lane after the other while the trainings pay for it."""
    comparison = Comparisons(early=price, last=10 * price)
    search, space = accept(a_search())
    request = replace(make_request(search.spec, space), comparison=comparison)

    def counted(trainings: float) -> int:
        number = auto_has.MIN_LANES
        while auto_has._lanes_cost(number + 1, comparison) <= trainings:
            number += 1
        return number

    costs = [auto_has._lanes_cost(n, comparison) for n in range(1, 40)]
    for trainings in (-1.0, 0.0, *costs, *(cost - 1e-9 for cost in costs), 500.0):
        assert auto_has._most_lanes(request, trainings) == counted(trainings)
