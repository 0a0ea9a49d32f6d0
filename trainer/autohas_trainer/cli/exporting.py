"""`autohas export`: the model of a finished search in other formats. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autohas_trainer.inference import load
from autohas_trainer.inference.export import ONNX_FILE, TORCH_EXPORT_FILE, export_onnx, export_torch
from autohas_trainer.inference.hub_folder import write_hub_folder

__all__ = ["Formats", "export"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """What to write: ONNX and torch.export next to the model, the folder for the hub elsewhere."""

    onnx: bool
    torch_export: bool
    hub: Path | None


def export(folder: Path, formats: Formats, say: Callable[[str], None]) -> list[Path]:
    """Write the formats and return their paths; `say` gets a line before each.

    Raises:
        DataError, ConfigurationError, SpecError, OSError: see `autohas_trainer.inference`.
    """
    model, paths = load(folder), []
    for wanted, path, write in (
        (formats.onnx, folder / ONNX_FILE, export_onnx),
        (formats.torch_export, folder / TORCH_EXPORT_FILE, export_torch),
    ):
        if wanted:
            say(f"exporting {path.name}")
            write(model, path)
            paths.append(path)
    return paths + (write_hub_folder(model, folder, formats.hub) if formats.hub is not None else [])
