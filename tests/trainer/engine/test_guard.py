"""The watchmen of the supernet, in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from autohas_trainer.engine.training.guard import CollapseWatch, UpdateGuard


def _guard() -> UpdateGuard:
    return UpdateGuard(torch.device("cpu"))


def _accepts(guard: UpdateGuard, before: float, after: float) -> bool:
    return bool(guard.judge(torch.tensor(before, dtype=torch.float64), torch.tensor(after, dtype=torch.float64)))


def _trained(improvements: list[float]) -> UpdateGuard:
    guard = _guard()
    assert all(_accepts(guard, improvement, 0.0) for improvement in improvements)
    return guard


def test_an_update_four_robust_deviations_below_the_median_is_taken_back() -> None:
    """Improvements 1..16 have median 8.5 and median absolute deviation 4: the bound is 8.5 - 4·1.4826·4 = -15.2216."""
    guard = _trained([float(i) for i in range(1, 17)])

    assert not _accepts(guard, 0.0, 15.23)
    assert _accepts(guard, 0.0, 15.22)


def test_before_sixteen_updates_only_a_loss_that_is_not_finite_is_taken_back() -> None:
    """Fifteen improvements are too few to know what is usual."""
    guard = _trained([1.0] * 15)

    assert _accepts(guard, 0.0, 1e9)
    assert not _accepts(guard, 1.0, math.nan)
    assert not _accepts(guard, 1.0, math.inf)


def test_a_rejected_update_does_not_move_the_bound() -> None:
    """What was taken back teaches nothing about what is usual: the same update is refused again."""
    guard = _trained([1.0] * 16)

    assert [_accepts(guard, 0.0, 5.0) for _ in range(20)] == [False] * 20


def test_the_guard_goes_on_from_its_state() -> None:
    """A restored guard judges as the first one."""
    guard, restored = _trained([float(i) for i in range(1, 17)]), _guard()
    restored.load_state_dict(guard.state_dict())

    assert not _accepts(restored, 0.0, 15.23)
    assert _accepts(restored, 0.0, 15.22)


@pytest.mark.parametrize(
    ("quality", "entropy", "is_collapsed"),
    [(0.1, 0.49, True), (0.1, 0.51, False), (0.144, 0.4, True), (0.146, 0.4, False), (math.nan, 0.4, True)],
)
def test_low_entropy_at_chance_is_a_collapse(quality: float, entropy: float, is_collapsed: bool) -> None:  # noqa: FBT001 - a column
    """At chance 0.1 the bound is 0.1 + 0.05·0.9 = 0.145, judged from the fortieth reward on."""
    watch = CollapseWatch(chance=0.1)

    verdicts = [watch.is_collapsed(quality, entropy) for _ in range(40)]

    assert verdicts == [False] * 39 + [is_collapsed]


def test_one_wild_batch_is_no_collapse() -> None:
    """Thirty-nine qualities of 0.5 and one of -1e6, which counts as -1: the average stays at 0.5 - 0.05·1.5/(1 - 0.95^40)."""
    watch = CollapseWatch(chance=0.0)
    for _ in range(39):
        watch.is_collapsed(0.5, 0.4)

    assert not watch.is_collapsed(-1e6, 0.4)
    state = watch.state_dict()
    assert state["sum"] / state["weight"] == pytest.approx(0.5 - 0.05 * 1.5 / (1 - 0.95**40))


def test_the_watch_goes_on_from_its_state() -> None:
    """A restored watch has counted the rewards of the first one."""
    watch, restored = CollapseWatch(chance=0.1), CollapseWatch(chance=0.1)
    for _ in range(39):
        watch.is_collapsed(0.1, 0.4)
    restored.load_state_dict(watch.state_dict())

    assert restored.is_collapsed(0.1, 0.4)
