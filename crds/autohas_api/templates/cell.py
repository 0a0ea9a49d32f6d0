"""Template `cell`: the decisions of NAS-Bench-201 (Dong & Yang 2020), a cell of four nodes that the whole network repeats."""

from __future__ import annotations

from typing import Final

from autohas_api.templates.template_spec import InputKind, TemplateDecision, TemplateSpec

__all__ = ["CELL"]

_OPERATIONS: Final = ("none", "skip", "conv1", "conv3", "pool3")
_EDGES: Final = ("0_1", "0_2", "1_2", "0_3", "1_3", "2_3")
"""From which node to which, in the order of the paper's architecture strings."""


CELL: Final = TemplateSpec(
    name="cell",
    description="cell search space of NAS-Bench-201, with 1 of 5 operations on each of 6 edges.",
    decisions=(
        *(TemplateDecision(name=f"edge_{edge}", choices=_OPERATIONS, default="conv3") for edge in _EDGES),
        TemplateDecision(name="width", choices=("8", "16", "32"), default="16"),
        TemplateDecision(name="cells", choices=("1", "3", "5"), default="1"),
    ),
    inputs=frozenset({InputKind.IMAGES}),
)
"""5^6 = 15,625 cells, each of 3 widths (channels of the first stage) and 3 depths (cells in each stage): 140,625 architectures."""
