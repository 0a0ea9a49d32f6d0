"""The schedule in closed form."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from autohas_trainer.optim import Schedule, schedule
from autohas_trainer.optim.schedule import ScheduleName

KINDS = get_args(ScheduleName)


def test_warmup_is_linear_and_reaches_the_peak() -> None:
    """Ten steps of warm-up rise by tenths to 1."""
    assert [schedule(step, 100, 0.1) for step in range(10)] == [pytest.approx((step + 1) / 10) for step in range(10)]


def test_cosine_passes_one_half_halfway_and_ends_near_zero() -> None:
    """Without warm-up s(0) = 1, s(T/2) = 1/2, s(T-1) = sin²(π/2T)."""
    assert schedule(0, 100, 0) == 1
    assert schedule(50, 100, 0) == pytest.approx(0.5)
    assert schedule(99, 100, 0) == pytest.approx(math.sin(math.pi / 200) ** 2)


def test_cosine_starts_at_the_peak_after_warmup() -> None:
    """The step after the warm-up stands at the peak, and the middle of the rest at one half."""
    assert schedule(20, 100, 0.2) == 1
    assert schedule(60, 100, 0.2) == pytest.approx(0.5)


def test_constant_stays_at_the_peak() -> None:
    """A constant schedule is 1 from the end of the warm-up on."""
    assert {schedule(step, 50, 0.1, "Constant") for step in range(5, 50)} == {1.0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7, 300])
def test_every_multiplier_lies_in_its_range(total: int, warmup: float, kind: ScheduleName) -> None:
    """No length or warm-up gives a multiplier outside (0, 1]."""
    assert all(0 < schedule(step, total, warmup, kind) <= 1 for step in range(total))


@pytest.mark.parametrize(("step", "total", "warmup"), [(-1, 10, 0), (10, 10, 0), (0, 0, 0), (0, 10, -0.1), (0, 10, 1.1)])
def test_positions_outside_the_training_are_refused(step: int, total: int, warmup: float) -> None:
    """A step beyond the end or a share outside [0, 1] is a defect of the caller."""
    with pytest.raises(ValueError, match="must lie in"):
        schedule(step, total, warmup)


TOTAL = 40
TORCH: dict[str, tuple[Schedule, Callable[[torch.optim.Optimizer], LRScheduler]]] = {
    "cosine with a floor": (
        Schedule(kind="Cosine", floor=0.1),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL, eta_min=0.1),
    ),
    "linear": (
        Schedule(kind="Linear", floor=0.25),
        lambda optimizer: lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.25, total_iters=TOTAL),
    ),
    "linear after a warm-up": (
        Schedule(kind="Linear", warmup_fraction=0.2),
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 8),
                lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=TOTAL - 8),
            ],
            milestones=[8],
        ),
    ),
    "step": (
        Schedule(kind="Step", step_fraction=0.3, step_factor=0.5),
        lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=12, gamma=0.5),
    ),
    "one cycle": (
        Schedule(kind="OneCycle", warmup_fraction=0.3),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=TOTAL, pct_start=0.3, cycle_momentum=False),
    ),
    "one cycle whose rise ends between two steps": (
        Schedule(kind="OneCycle", warmup_fraction=0.11),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=TOTAL, pct_start=0.11, cycle_momentum=False),
    ),
    "one cycle without a rise": (
        Schedule(kind="OneCycle"),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=TOTAL, pct_start=0.0, cycle_momentum=False),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_schedules_are_torchs(name: str) -> None:
    """At every step of forty the multiplier is the rate of torch's scheduler at a base rate of 1."""
    ours, build = TORCH[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build(optimizer)
    theirs = []
    for _ in range(TOTAL):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()

    assert [ours.at(step, TOTAL) for step in range(TOTAL)] == [pytest.approx(rate, rel=0, abs=1e-12) for rate in theirs]


def test_warm_up_stable_and_decay_as_written() -> None:
    """Ten steps: two of warm-up, four at the peak, four that fall by fifths of 4/5 towards a fifth, which step 10 would reach."""
    wsd = Schedule(kind="WSD", warmup_fraction=0.2, decay_fraction=0.4, floor=0.2)

    assert [wsd.at(step, 10) for step in range(10)] == [pytest.approx(s) for s in (0.5, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4)]


def test_drops_count_from_the_first_step_also_during_a_warm_up() -> None:
    """A drop at every third of nine steps; the warm-up of two of them hides none."""
    steps = Schedule(kind="Step", warmup_fraction=2 / 9, step_fraction=1 / 3, step_factor=0.1)

    assert [steps.at(step, 9) for step in range(9)] == [pytest.approx(s) for s in (0.5, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01)]
