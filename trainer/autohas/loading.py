"""`autohas.load`: the model of a finished search, from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autohas.extras import needs_trainer

if TYPE_CHECKING:
    from autohas_trainer.inference import TrainedModel

__all__ = ["load"]


def load(folder: str | Path) -> TrainedModel:
    """Load the model of a finished search: a `torch.nn.Module` in evaluation mode on the CPU, with `predict`.

    Args:
        folder: The folder of `autohas run`, `autohas.run` or `autohas fetch`: config.yaml, preprocessing.json and model.safetensors. Or the
            file of one seed in the folder of `autohas retrain`, such as model-0.safetensors.

    Raises:
        MissingExtraError: The packages of the extra `trainer` are not installed.
        autohas_trainer.errors.TrainerError: A file is missing, damaged or of another search, or an own model cannot be imported.
        autohas_api.base.spec_errors.SpecError: config.yaml is wrong.
    """
    with needs_trainer("autohas.load"):
        from autohas_trainer import inference  # noqa: PLC0415 - `import autohas` must not load torch
    return inference.load(Path(folder))
