"""The floating-point operations per second that a device can do at most, where its maker says so; no guess where it is not known.

Source: NVIDIA's data sheets of A10, A100, H100, H200, L4, L40S and V100, dense (without sparsity), of the form that the name says.
"""

from __future__ import annotations

from typing import Final

from autohas_api.spec.search import Search
from autohas_trainer.provenance import Environment

__all__ = ["mfu", "peak_flops"]

_TERA: Final = 1e12
_HOPPER_SXM: Final = {"Float32": 66.9, "TF32": 494.7, "BFloat16": 989.4}
_PEAKS: Final = {
    "NVIDIA A100": {"Float32": 19.5, "TF32": 156.0, "BFloat16": 312.0},
    "NVIDIA A10": {"Float32": 31.2, "TF32": 62.5, "BFloat16": 125.0},
    "NVIDIA H100 80GB HBM3": _HOPPER_SXM,
    "NVIDIA H100 PCIe": {"Float32": 51.2, "TF32": 378.0, "BFloat16": 756.0},
    "NVIDIA H200": _HOPPER_SXM,
    "NVIDIA L4": {"Float32": 30.3, "TF32": 60.0, "BFloat16": 121.0},
    "NVIDIA L40S": {"Float32": 91.6, "TF32": 183.0, "BFloat16": 362.0},
    "Tesla V100-SXM2": {"Float32": 15.7},
}
"""Operations per second in tera, by the start of the device's name and by precision; the longest name that fits counts."""


def peak_flops(search: Search, environment: Environment | None) -> float | None:
    """Return the peak of the GPU at the precision of the search; None for a CPU and for a device or precision that is not listed."""
    if environment is None or not environment.gpu:
        return None
    names = [name for name in _PEAKS if environment.gpu == name or environment.gpu.startswith((f"{name} ", f"{name}-"))]
    if not names:
        return None
    peak = _PEAKS[max(names, key=len)].get(search.spec.task.recipe.precision or "Float32")
    return None if peak is None else peak * _TERA


def mfu(flops_per_second: float, peak: float | None) -> float | None:
    """Return the share of the peak that the networks' own operations reach (model FLOPs utilisation); None where one is not known."""
    return None if peak is None or flops_per_second <= 0 else flops_per_second / peak
