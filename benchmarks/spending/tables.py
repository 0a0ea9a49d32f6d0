"""The two tables of the spending benchmark."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TABLES", "Table"]

_ROOT = Path(__file__).parents[2]
_PROTEIN = Path(os.environ.get("AUTOHAS_UCI_PROTEIN") or _ROOT.parent / "shared" / "data" / "uci-protein")
"""The folder of train.csv and test.csv; CONTRIBUTING.md says how to give another."""
_DIABETES = _ROOT / "examples" / "03-tabular-csv" / "diabetes.csv"
_ROWS = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table to search on; `missing` says why it cannot be searched here, `num_rows` cuts it to rows drawn at random."""

    name: str
    source: Path
    steps: int
    batch_size: int
    arguments: dict[str, str]
    hyperparameters: tuple[dict[str, Any], ...]
    splits: dict[str, str]
    num_rows: int | None = None
    missing: str | None = None

    def prepare(self, folder: Path) -> Path:
        """The path to search on: the source, or a copy of its folder with fewer training rows, always the same ones."""
        if self.num_rows is None:
            return self.source
        heading, *rows = (self.source / "train.csv").read_text(encoding="utf-8").splitlines()
        kept = np.random.default_rng(0).permutation(len(rows))[: self.num_rows]
        copy = folder / "table"
        copy.mkdir()
        (copy / "train.csv").write_text("\n".join([heading, *(rows[int(index)] for index in kept)]) + "\n", encoding="utf-8")
        shutil.copy(self.source / "test.csv", copy / "test.csv")
        return copy


_RATE = {"name": "learning_rate", "continuous": {"min": "0.003", "max": "0.3", "scale": "Log", "numBases": 5}}
_DECAY = {"name": "weight_decay", "continuous": {"min": "1e-4", "max": "1e-1", "scale": "Log", "numBases": 4}}
_DROPOUT = {"name": "dropout", "continuous": {"min": "0", "max": "0.5", "numBases": 3}}

TABLES = (
    Table(
        name="UCI protein, 8,000 rows",
        source=_PROTEIN,
        steps=400,
        batch_size=64,
        arguments={"target": "y"},
        hyperparameters=(_RATE,),
        splits={},
        num_rows=_ROWS,
        missing=None if (_PROTEIN / "train.csv").is_file() else f"{_PROTEIN} is absent; name another folder by AUTOHAS_UCI_PROTEIN",
    ),
    Table(
        name="diabetes (examples/03)",
        source=_DIABETES,
        steps=300,
        batch_size=32,
        arguments={"target": "progression", "categorical": "sex", "testFraction": "0.2"},
        hyperparameters=(_RATE, _DECAY, _DROPOUT),
        splits={"reward": "0.2", "selection": "0.2"},
    ),
)
