"""Copies of tensors in the memory of the host, laid out as a safetensors file.

A copy is taken between two steps, so that the training may change its tensors while the copy is written. Torch's own
`torch.distributed.checkpoint.async_save` stages alike: pinned memory, copies that do not block, and one wait for the device. The layout is
made here, not by safetensors: its `save_file` gives no digest before it has written, and takes no copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
import torch
from torch import Tensor

from autohas_trainer.errors import ConfigurationError

__all__ = ["Part", "StagedPart", "stage"]

_TYPES: Final = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of safetensors, in the order in which a file has them: the widest first, so that every tensor is aligned."""
_RANKS: Final = {dtype: rank for rank, dtype in enumerate(_TYPES)}
_HEADER_UNIT: Final = 8
"""The length of a header, without the eight bytes that state it, is a multiple of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Tensors that one file holds: those of one training, or of the supernet."""

    tensors: Mapping[str, Tensor]
    revision: int | None = None
    """Two parts of one process with this number have equal tensors; None promises nothing."""

    @property
    def num_bytes(self) -> int:
        """Size of the tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPart:
    """The content of a file: what follows does not change any more."""

    header: bytes
    data: Tensor
    """(N,) bytes on the host."""

    def chunks(self, size: int) -> Iterator[memoryview]:
        """The content in pieces of at most `size` bytes."""
        yield memoryview(self.header)
        view = self.data.numpy().data
        yield from (view[start : start + size] for start in range(0, len(view), size))


@torch.no_grad()
def stage(parts: Mapping[str, Part]) -> dict[str, StagedPart]:
    """Copy the tensors of parts to the host, and wait once for their devices.

    Raises:
        ConfigurationError: A tensor has a type that safetensors does not know.
    """
    staged = {name: _begin_copy(part.tensors) for name, part in parts.items()}
    for device in {tensor.device for part in parts.values() for tensor in part.tensors.values() if tensor.is_cuda}:
        torch.cuda.current_stream(device).synchronize()
    return staged


def _begin_copy(tensors: Mapping[str, Tensor]) -> StagedPart:
    for name, tensor in tensors.items():
        if tensor.dtype not in _RANKS:
            raise ConfigurationError(
                f"{name} is a tensor of {tensor.dtype}, which a checkpoint cannot keep: give torch.float32 or another type"
            )
    ordered = sorted(tensors.items(), key=lambda item: (_RANKS[item[1].dtype], item[0]))
    ends = [*accumulate((tensor.nbytes for _, tensor in ordered), initial=0)]
    data = _allocate(ends[-1], is_pinned=any(tensor.is_cuda for tensor in tensors.values()))
    fields = {}
    for (name, tensor), (start, end) in zip(ordered, pairwise(ends), strict=True):
        fields[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        if start < end:
            data[start:end].view(tensor.dtype).view(tensor.shape).copy_(tensor, non_blocking=True)
    return StagedPart(header=_encode(fields), data=data)


def _allocate(size: int, *, is_pinned: bool) -> Tensor:
    """Memory that nothing has filled; torch's own is filled under its deterministic algorithms."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True) if is_pinned else torch.from_numpy(np.empty(size, np.uint8))


def _encode(fields: Mapping[str, Mapping[str, object]]) -> bytes:
    """The header of a safetensors file: its length in eight bytes, and JSON with spaces at its end."""
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _HEADER_UNIT)
    return len(text).to_bytes(8, "little") + text
