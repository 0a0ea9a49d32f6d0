"""Windows of one array of tokens, which may be a memory-mapped file: inputs tokens[i:i+T], targets tokens[i+1:i+T+1].

The array is cut into blocks of neighbours. A block is what splits are made of, and no window leaves its block, so no token is in two
splits. Examples are the windows of a block without an overlap, one epoch is one pass. A training batch moves each of its windows by up to
T - 1 tokens inside the block, keyed by the step, so that a token is seen at all positions. Ours; others draw random windows instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.data.examples import Draw, Rows, Taken, put_on
from autohas_trainer.data.examples.protocol import Moments
from autohas_trainer.seeding import stream

__all__ = ["TokenWindows", "Tokens", "cut_windows"]

Tokens = npt.NDArray[Any]
Positions = npt.NDArray[np.int64]
_MAX_BLOCKS: Final = 200
_MIN_BLOCKS: Final = 20
_WINDOWS_PER_BLOCK: Final = 8
_CHUNK: Final = 1 << 24


def cut_windows(tokens: Tokens, length: int) -> tuple[TokenWindows, Positions]:
    """Return the windows of `length` tokens, and the block of each (N,).

    There are 200 blocks, or fewer where 200 would have less than 8 windows, and at least 20 where there are 20 windows.
    """
    most = len(tokens) // (length + 1)
    number = max(min(most, _MIN_BLOCKS), min(_MAX_BLOCKS, most // _WINDOWS_PER_BLOCK))
    starts, lasts, blocks = [], [], []
    for block in range(number):
        begin, end = len(tokens) * block // number, len(tokens) * (block + 1) // number
        count = (end - begin - 1) // length
        starts.append(begin + length * np.arange(count, dtype=np.int64))
        lasts.append(np.full(count, end - length - 1, dtype=np.int64))
        blocks.append(np.full(count, block, dtype=np.int64))
    none = [np.empty(0, dtype=np.int64)]
    return TokenWindows(tokens, length, np.concatenate(starts or none), np.concatenate(lasts or none)), np.concatenate(blocks or none)


class TokenWindows:
    """Some windows of an array: the `Source` of text."""

    def __init__(self, tokens: Tokens, length: int, starts_N: Positions, lasts_N: Positions) -> None:
        """Hold windows that begin at `starts_N`; each may be moved up to `lasts_N`."""
        self._tokens = tokens
        self._length = length
        self._starts_N = starts_N
        self._lasts_N = lasts_N
        self._offsets = np.arange(length + 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T)."""
        return (len(self._starts_N), self._length)

    @property
    def dtype(self) -> np.dtype[Any]:
        """int64."""
        return np.dtype(np.int64)

    def __len__(self) -> int:
        """N, the number of windows."""
        return len(self._starts_N)

    def __getitem__(self, rows: npt.NDArray[Any]) -> TokenWindows:
        """Return some of the windows."""
        return TokenWindows(self._tokens, self._length, self._starts_N[rows], self._lasts_N[rows])

    def digest(self) -> str:
        """Return the SHA-256 of the tokens, as 32-bit numbers, and of where the windows are."""
        content = hashlib.sha256(f"{self._length}\n".encode())
        for part in (self._starts_N, self._lasts_N):
            content.update(np.ascontiguousarray(part, dtype="<i8").data)
        for begin in range(0, len(self._tokens), _CHUNK):
            content.update(np.ascontiguousarray(self._tokens[begin : begin + _CHUNK], dtype="<u4").data)
        return content.hexdigest()

    def moments(self, train_rows: Positions) -> Moments | None:  # noqa: ARG002 - the protocol's
        """Return None: numbers of tokens are names."""
        return None

    def open(self, targets: Tensor, moments: Moments | None, device: torch.device) -> TokenExamples:  # noqa: ARG002 - the protocol's
        """Return the examples; their targets are the next tokens."""
        return TokenExamples(self, device)

    def count_targets(self, rows: Positions, num_classes: int) -> Positions:
        """Return how often each token is a target in some rows: (K,)."""
        counts = np.zeros(num_classes, dtype=np.int64)
        for begin in range(0, len(rows), max(1, _CHUNK // self._length)):
            windows = self.windows(self._starts_N[rows[begin : begin + max(1, _CHUNK // self._length)]])
            counts += np.bincount(windows[:, 1:].reshape(-1), minlength=num_classes)
        return counts

    def starts(self, rows_B: Positions, draw: Draw | None) -> Positions:
        """Return where the windows of a batch begin: (B,)."""
        starts_B = self._starts_N[rows_B]
        if draw is None:
            return starts_B
        shares_B = stream(draw.seed, "augment", draw.replica, draw.step).random(len(rows_B))
        choices_B = np.minimum(self._length, self._lasts_N[rows_B] - starts_B + 1)
        moved_B: Positions = starts_B + (shares_B * choices_B).astype(np.int64)
        return moved_B

    def windows(self, starts_B: Positions) -> Positions:
        """Return T + 1 tokens from each start on: (B, T + 1)."""
        windows: Positions = self._tokens[starts_B[:, None] + self._offsets].astype(np.int64)
        return windows


class TokenExamples:
    """Batches of windows; the array stays where it is, and what a batch reads of it is copied to the device."""

    def __init__(self, windows: TokenWindows, device: torch.device) -> None:
        self._windows = windows
        self._device = device

    @property
    def shape(self) -> tuple[int, ...]:
        """(T,)."""
        return self._windows.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        """int64."""
        return torch.int64

    @property
    def rows_device(self) -> torch.device:
        """The host: the array is there."""
        return torch.device("cpu")

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._windows)

    def take(self, rows_B: Rows, draw: Draw | None = None, ahead: Iterable[tuple[Rows, Draw | None]] = ()) -> Taken:  # noqa: ARG002 - the protocol's
        """Return inputs and targets (B, T); a training batch has its windows moved."""
        windows = put_on(torch.from_numpy(self._windows.windows(self._windows.starts(rows_B.numpy(), draw))), self._device)
        return Taken(inputs=windows[:, :-1].contiguous(), targets=windows[:, 1:].contiguous())

    def close(self) -> None:
        """Nothing runs."""
