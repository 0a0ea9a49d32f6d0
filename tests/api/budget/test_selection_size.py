"""The smallest difference that a selection split shows: two standard errors, in units of the metric's quality."""

from __future__ import annotations

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.budget.selection_size import small_selection, smallest_difference, visible_difference
from autohas_api.testing.rejections import a_search


def test_a_quarter_of_the_difference_needs_sixteen_times_the_examples() -> None:
    """2 * sqrt(.16 * .52) / sqrt(n), the geometric mean of the measured deviations."""
    assert smallest_difference(100) == pytest.approx(2 * (0.16 * 0.52) ** 0.5 / 10)
    assert smallest_difference(1600) == pytest.approx(smallest_difference(100) / 4)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ("accuracy", "100 examples show differences from about 5.8 points of accuracy on; 400 would show half of that"),
        ("rmse", "100 examples show differences from about 0.058 of R² on; 400 would show half of that"),
        ("mae", "100 examples show differences from about 0.058 of the best constant answer's error on; 400 would show half of that"),
        ("log_loss", "100 examples show differences from about 0.058 of the best constant answer's loss on; 400 would show half of that"),
    ],
)
def test_the_difference_is_in_the_metrics_own_quality(metric: str, sentence: str) -> None:
    """Points for shares; otherwise the unit is named."""
    assert visible_difference(metric, 100) == sentence


@pytest.mark.parametrize(("num_selection", "warns"), [(133, True), (134, False), (1024, False)])
def test_a_split_is_small_where_the_usual_difference_of_two_candidates_hides_in_it(num_selection: int, *, warns: bool) -> None:
    """(2 * .2884 / .05)² = 133.1 examples."""
    text = small_selection(accept(a_search())[0].spec, num_selection)

    assert (text is not None) == warns
    if text is not None:
        assert text.startswith("the selection split is too small to tell most candidates apart: its 133 examples show differences from")
        assert text.endswith("usually differ by about 5 points of accuracy: raise task.splits.selection (0.1), or give more data")
