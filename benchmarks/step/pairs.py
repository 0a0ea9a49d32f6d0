"""Two times of one piece of work, and the row that says how they compare."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["HEAD", "Pair", "row", "timed"]

HEAD = "| what | pairs | ours, ms | floor, ms | ratio, median (quartiles) | ratio of sums |\n|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One measured step: CPU seconds of ours and of its floor."""

    step: float
    floor: float


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returned."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def row(name: str, pairs: Sequence[Pair]) -> str:
    """Median ratio with its quartiles, ratio of the sums, medians in milliseconds."""
    low, middle, high = statistics.quantiles([pair.step / pair.floor for pair in pairs], n=4)
    whole = sum(pair.step for pair in pairs) / sum(pair.floor for pair in pairs)
    step, floor = (1000 * statistics.median(values) for values in ([p.step for p in pairs], [p.floor for p in pairs]))
    return f"| {name} | {len(pairs)} | {step:.2f} | {floor:.2f} | {middle:.3f} ({low:.3f} to {high:.3f}) | {whole:.3f} |"
