"""A loaded model as a file of another format: ONNX, a torch.export program, a folder for the Hugging Face hub.

Each file computes what `model(inputs)` computes: standardisation, network, the target's scale. The number of examples is free.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from autohas_api.base.install_hint import install_hint
from autohas_trainer.atomic_file import replace_file
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.inference.trained_model import TrainedModel

__all__ = ["ONNX_FILE", "TORCH_EXPORT_FILE", "export_onnx", "export_torch"]

ONNX_FILE: Final = "model.onnx"
TORCH_EXPORT_FILE: Final = "model.pt2"
INPUTS, OUTPUTS = "inputs", "outputs"
_NUM_EXAMPLES: Final = 2
"""torch.export takes a size of 1 for a constant."""
_TORCH_LOGGERS: Final = ("torch.onnx", "torch.export")


def export_torch(model: TrainedModel, path: Path) -> None:
    """Write the model as a program of torch.export, which `torch.export.load(path).module()` runs without AutoHAS.

    Raises:
        ConfigurationError: torch.export cannot trace the network.
        OSError: The disk is full, read-only or gone; names `path`.
    """
    with _explain_failure("torch.export"):
        program = torch.export.export(model, (_examples(model),), dynamic_shapes=_free_batch())
    with replace_file(path) as temporary:
        _save(program, temporary)


def _save(program: Any, path: Path) -> None:  # noqa: ANN401 - torch's program
    with path.open("wb") as file:  # torch refuses a path that does not end in .pt2
        torch.export.save(program, file)


def export_onnx(model: TrainedModel, path: Path) -> None:
    """Write the model as ONNX, by torch's exporter: input `inputs` (batch, ...), output `outputs`.

    Raises:
        ConfigurationError: The packages of the extra `export` are not installed, or the exporter cannot translate the network.
        OSError: The disk is full, read-only or gone; names `path`.
    """
    _require_packages()
    with _explain_failure("torch.onnx"):
        program = torch.onnx.export(
            model,
            (_examples(model),),
            input_names=[INPUTS],
            output_names=[OUTPUTS],
            dynamic_shapes=_free_batch(),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - dynamo=True returns it
    with replace_file(path) as temporary:
        program.save(temporary, external_data=False)


def _require_packages() -> None:
    """Import what torch's ONNX exporter needs.

    Raises:
        ConfigurationError: A package is not installed; names the extra.
    """
    try:
        import onnx  # noqa: F401, PLC0415 - packages of an extra
        import onnxscript  # noqa: F401, PLC0415 - as above
    except ModuleNotFoundError as error:
        message = f"an export to ONNX needs the package {error.name}, which is not installed: {install_hint('export')}"
        raise ConfigurationError(message) from error


def _examples(model: TrainedModel) -> Tensor:
    """Return encoded inputs of the type that `model.encode` gives."""
    return torch.zeros((_NUM_EXAMPLES, *model.input_shape), dtype=model.input_type)


def _free_batch() -> Any:  # noqa: ANN401 - torch's form of dynamic shapes
    return ({0: torch.export.Dim("batch", min=1)},)


@contextmanager
def _explain_failure(exporter: str) -> Iterator[None]:
    """Silence the exporter, and turn what it raises into a sentence.

    Raises:
        ConfigurationError: The exporter raised.
    """
    levels = {name: logging.getLogger(name).level for name in _TORCH_LOGGERS}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # about torch's own internals
            yield
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        message = f"{exporter} cannot export this network: {type(error).__name__}: {first}"
        raise ConfigurationError(message) from error
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
