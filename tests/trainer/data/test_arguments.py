"""Arguments of data sources: the trainer knows those that acceptance knows, and refuses another in the same words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from autohas_api.accept.data_arguments import DATA_ARGUMENTS
from autohas_trainer.data import load
from autohas_trainer.errors import ConfigurationError


@pytest.mark.parametrize("source", list(DATA_ARGUMENTS))
def test_an_unknown_argument_is_refused_with_the_known_ones(source: str, tmp_path: Path) -> None:
    """Every source, before it looks for its files."""
    arguments = {"target": "y", "length": "8", "vocabulary": "9"}
    given = {name: value for name, value in arguments.items() if name in DATA_ARGUMENTS[source]} | {"colour": "red"}
    words = f"task.data.arguments.colour is unknown to {source}; it takes {', '.join(DATA_ARGUMENTS[source])}"

    with pytest.raises(ConfigurationError, match=f"^{re.escape(words)}$"):
        load(
            source,
            None if source == "digits" else str(tmp_path),
            given,
            reward=0.1,
            selection=0.1,
            stratify=True,
            seed=0,
            device=torch.device("cpu"),
        )
