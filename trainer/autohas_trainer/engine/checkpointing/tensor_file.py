"""Tensors as a safetensors file; what goes wrong with the disk is an OSError that names the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["write_tensors"]

_OS_ERROR: Final = re.compile(r"^(?:I/O error: )?(.*) \(os error (\d+)\)")
"""How safetensors words the operating system's errors."""


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write `path`, not yet durably.

    Raises:
        OSError: the disk is full, read-only or gone; names the file.
    """
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        os_error = _OS_ERROR.search(str(error).removeprefix("Error while serializing: "))
        if os_error is None:
            raise
        raise OSError(int(os_error[2]), os_error[1], str(path)) from error
