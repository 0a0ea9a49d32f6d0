"""Gradient boosting on a task's table: a plain line next to the networks, which no search of ours can be blamed or praised for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

__all__ = ["boosting_rmse"]


def boosting_rmse(data: dict[str, Any], seed: int) -> float:
    """Root of the mean squared test error of scikit-learn's HistGradientBoosting with its own settings, on all training rows.

    Args:
        data: A document's data: train.csv, next to it test.csv, and the name of the target's column.
        seed: Its random state.
    """
    train, target = Path(data["path"]), data["arguments"]["target"]
    inputs, targets = _read(train, target)
    test_inputs, test_targets = _read(train.with_name("test.csv"), target)
    with threadpool_limits(1):  # its threads wait actively: on a busy machine two took minutes for what one does in a second
        model = HistGradientBoostingRegressor(random_state=seed).fit(inputs, targets)
    return float(np.sqrt(np.mean((model.predict(test_inputs) - test_targets) ** 2)))


def _read(path: Path, target: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Inputs (N, C) and targets (N,) of a table of numbers."""
    with path.open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")
        table = np.loadtxt(file, delimiter=",", ndmin=2)
    column = names.index(target)
    return np.delete(table, column, axis=1), table[:, column]
