"""The measurement of steps measures what it says."""

from __future__ import annotations

import pytest
import torch
from benchmarks.step.__main__ import against_itself, measure, measure_stage
from benchmarks.step.kernels import Kernels, Waits
from benchmarks.step.lanes import compare_loops, measure_lane
from benchmarks.step.pairs import Pair, row
from benchmarks.step.searches import STRATEGIES, document_of, load_task


def test_a_row_gives_medians_quartiles_and_the_ratio_of_sums() -> None:
    """Ratios of 1, 2 and 3 have the median 2; 6 of 3 milliseconds are 2 too."""
    pairs = [Pair(step=0.001 * ratio, floor=0.001) for ratio in (1, 2, 3)]

    assert row("name", pairs) == "| name | 3 | 2.00 | 1.00 | 2.000 (1.000 to 3.000) | 2.000 |"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_measured_over_its_whole_stage(strategy: str) -> None:
    """About as many pairs as were asked for, each with a time of its own."""
    pairs = measure(document_of(STRATEGIES[strategy], template="mlp-small"), 12)

    assert 11 <= len(pairs) <= 24
    assert all(pair.step > 0 and pair.floor > 0 for pair in pairs)


def test_stages_and_floors_are_paired() -> None:
    """The whole stage gives as many pairs as it took steps; two floors of one step are compared as well."""
    document = document_of(STRATEGIES["AutoHAS Lanes"], template="mlp-small")

    assert len(measure_stage(document, 9)) == 8  # without the first step
    assert len(against_itself(document, 9)) >= 9


def test_a_lane_waits_for_nothing_and_reads_its_losses_once_in_sixteen_steps() -> None:
    """Of a template of arrays and of one made of modules; its floor is a loop over the same examples."""
    for template in ("mlp-small", "mlp"):
        search_task = load_task(document_of(STRATEGIES["AutoHAS Lanes"], steps=5000, template=template))
        cost = measure_lane(search_task, 2)

        assert (len(cost.pairs), cost.waits_per_step, cost.readings_per_step) == (2, 0, 1 / 16)
    assert len(compare_loops(search_task, 2)) == 2


def test_kernels_and_waits_are_counted() -> None:
    """Three products are three kernels, a multi-tensor one of three dense tensors one, of which one is narrow three; a view none."""
    dense, narrow = [torch.ones(4, 4) for _ in range(3)], [torch.ones(4, 4), torch.ones(4, 4), torch.ones(4, 8)[:, :4]]
    with Kernels() as three:
        for tensor in dense:
            tensor.mul_(2)
    with Kernels() as one:
        torch._foreach_mul_(dense, 2)
    with Kernels() as slow:
        torch._foreach_mul_(narrow, 2)
    with Kernels() as none:
        dense[0].view(-1)
    with Waits() as wait:
        dense[0].sum().item()

    assert (three.count, one.count, slow.count, none.count, wait.count) == (3, 1, 3, 0, 1)
