"""Finds budgets of equal CPU seconds by trying: budgets are counted in steps, and networks differ in size.

A method is run again with its budget scaled until its CPU seconds lie within `TOLERANCE` of the reference's; what is shown is the run
that came closest. A method that cannot spend more says so by its seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.quality.methods import Measurement

__all__ = ["TOLERANCE", "at_equal_cost"]

TOLERANCE = 0.10
"""Share of the reference's CPU seconds by which a run may differ."""
_TRIES = 3
_LEAST_TRAININGS = 3.0


def at_equal_cost(run: Callable[[float], Measurement], trainings: float, cpu_s: float) -> tuple[Measurement, float]:
    """Return the run closest to `cpu_s`, and its budget in trainings; the first try is made with `trainings`."""
    tried: list[tuple[Measurement, float]] = []
    for _ in range(_TRIES):
        measurement = run(trainings)
        tried.append((measurement, trainings))
        if abs(measurement.cpu_s / cpu_s - 1) <= TOLERANCE:
            break
        trainings = max(trainings * cpu_s / measurement.cpu_s, _LEAST_TRAININGS)
        if any(abs(trainings / budget - 1) < TOLERANCE / 2 for _, budget in tried):
            break  # the same again
    return min(tried, key=lambda pair: abs(pair[0].cpu_s - cpu_s))
