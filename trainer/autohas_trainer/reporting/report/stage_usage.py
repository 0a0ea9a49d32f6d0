"""What a stage used, as cells of the report's table; a figure that is not known is empty."""

from __future__ import annotations

from typing import Final

from autohas_trainer.reporting.sinks.device_peak import mfu, peak_flops
from autohas_trainer.reporting.sinks.result_files import FinishedSearch

__all__ = ["usage_texts"]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


def usage_texts(finished: FinishedSearch, stage: str) -> dict[str, str]:
    """Return examples per second, MFU, share of waiting and peak memory of a stage, over all its time, comparisons included."""
    use, seconds = finished.outcome.use_by_stage.get(stage), finished.outcome.seconds_by_stage.get(stage, 0.0)
    texts = {"examples_per_second": "", "mfu": "", "waited": "", "peak_memory": ""}
    if use is None:
        return texts
    if seconds > 0 and use.num_examples:
        utilisation = mfu(use.flops / seconds, peak_flops(finished.search, finished.environment))
        texts |= {
            "examples_per_second": f"{use.num_examples / seconds:,.0f}",
            "mfu": "" if utilisation is None else f"{100 * utilisation:.1f} %",
            "waited": f"{100 * min(1.0, use.waited_s / seconds):.1f} %",
        }
    peak = use.peak_memory.get("device", use.peak_memory.get("process"))
    return texts if peak is None else {**texts, "peak_memory": _size(peak)}


def _size(num_bytes: int) -> str:
    return f"{num_bytes / _GIB:.1f} GiB" if num_bytes >= _GIB else f"{num_bytes / _MIB:.0f} MiB"
