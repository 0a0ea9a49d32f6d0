"""Wrong comparisons: rows of the tables in `autohas_api.testing.rejections`."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.testing.builders import Rejection, a_search, with_change

__all__ = ["COMPARISON_REJECTED_BY_RULE", "COMPARISON_REJECTED_BY_SCHEMA"]


def _comparing_with_repeats() -> dict[str, Any]:
    """The spec of a comparison whose winner is trained twice."""
    document = with_change(a_search(), "spec.algorithm.compare", {"seeds": 3})
    return dict(with_change(document, "spec.training.seeds", 2)["spec"])


COMPARISON_REJECTED_BY_SCHEMA: Final = (
    Rejection(path="spec.algorithm.compare", value={}, field="spec.algorithm.compare.seeds", words="Required value"),
    Rejection(path="spec.algorithm.compare.seeds", value=0, field="spec.algorithm.compare.seeds", words="greater than or equal to 1"),
)

COMPARISON_REJECTED_BY_RULE: Final = (
    Rejection(
        path="spec.algorithm",
        value={"name": "DefaultOnly", "compare": {"seeds": 3}},
        field="spec.algorithm.compare",
        words="compare must not be given unless name is that of a search: AutoHAS, RandomSharing",
    ),
    Rejection(
        path="spec.algorithm",
        value={"name": "AutoHAS", "seed": 9007199254740990, "compare": {"seeds": 3}},
        field="spec.algorithm.compare.seeds",
        words="from algorithm.seed on, the last seed is larger than 9007199254740991",
    ),
    Rejection(
        path="spec",
        value=_comparing_with_repeats(),
        field="spec.training.seeds",
        words="seeds must be 1 with algorithm.compare, which trains with seeds of its own",
    ),
)
