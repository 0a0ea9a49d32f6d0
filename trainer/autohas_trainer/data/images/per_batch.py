"""Images that are decoded or augmented per batch, by processes of their own if the search gives some.

Two kinds of pictures: encoded ones (files, cells of a column), for data larger than memory and images of different sizes, and pixels in
memory that are augmented. A batch is a function of its rows and its draw. The processes read the next batches meanwhile; their number,
what they have read ahead and a resume change no bit.

On CUDA a batch goes through pinned memory, so that the copy does not wait. (This machine has no GPU: that line is untried.)
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.data.examples.protocol import Draw, Moments, Rows, Taken
from autohas_trainer.data.examples.reading_processes import ReadingProcesses
from autohas_trainer.data.examples.resident import per_channel
from autohas_trainer.data.examples.transfer import put_on
from autohas_trainer.data.images.image_file import Bytes
from autohas_trainer.data.images.image_reader import BatchReader, Pictures, Request
from autohas_trainer.data.images.reading import WHITE_LEVEL
from autohas_trainer.data.images.stored import StoredImages
from autohas_trainer.data.moments import byte_moments, count_levels
from autohas_trainer.provenance import digest_array

__all__ = ["ImageSource"]

_MEASURED: Final = 4096
"""Ours: training images by which mean and deviation are measured: the standard error of a mean is a 64th of the deviation of images."""
_AHEAD: Final = 2
"""Batches of a stream that are read ahead."""
_KEPT: Final = 8
"""Batches held as bytes: what the three streams of a supernet read ahead, and the newest ones, which a lane at the same step takes too."""
_PART: Final = 16
"""Images per request: several processes read one batch."""

_Pictures = StoredImages | Bytes
"""Encoded images, or pixels (N, C, H, W)."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The images of a data set; `counts` become notes once some have been read."""

    name: str
    pictures: _Pictures
    reader: BatchReader
    processes: ReadingProcesses
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def array(self) -> Bytes:
        """The pixels (N, C, H, W) of images in memory."""
        assert isinstance(self.pictures, np.ndarray)  # noqa: S101 - the caller has put them there
        return self.pictures

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.pictures), self.reader.options.channels, *self.reader.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Networks get numbers."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pictures)

    def __getitem__(self, rows: npt.NDArray[Any]) -> ImageSource:
        """Return some of the images: row numbers, or a mask."""
        pictures = self.pictures
        if isinstance(pictures, np.ndarray):
            return replace(self, pictures=pictures[rows])
        return replace(self, pictures=pictures.choose(np.flatnonzero(rows) if rows.dtype == np.bool_ else rows))

    def digest(self) -> str:
        """Return the SHA-256 of the pixels, or of what identifies the encoded images.

        Raises:
            DataError: A file has vanished.
        """
        return digest_array(self.pictures) if isinstance(self.pictures, np.ndarray) else self.pictures.digest()

    def moments(self, train_rows: npt.NDArray[np.int64]) -> Moments:
        """Return mean and deviation by the first training rows, which lie in a shuffled order, as they are evaluated.

        Raises:
            DataError: An image cannot be read, or all are of one colour.
        """
        rows = train_rows[:_MEASURED]
        images = _ImageBatches(self, torch.zeros(len(self)), None, torch.device("cpu"))
        levels = np.zeros((self.shape[1], WHITE_LEVEL + 1), dtype=np.int64)
        for batch in images.read_all(torch.from_numpy(rows)):
            levels += count_levels(batch.images, np.arange(len(batch.images)))
            self.counts.update(batch.counts)
        return byte_moments(levels, WHITE_LEVEL, self.name)

    def open(self, targets: Tensor, moments: Moments | None, device: torch.device) -> _ImageBatches:
        """Return the examples for batches on `device`."""
        return _ImageBatches(self, targets, moments, device)


class _ImageBatches:
    """Images with their targets; see `examples.Examples`."""

    dtype = torch.float32
    rows_device = torch.device("cpu")

    def __init__(self, source: ImageSource, targets: Tensor, moments: Moments | None, device: torch.device) -> None:
        """Open nothing yet; `moments` None: only `read_all` is called."""
        self.shape = source.shape[1:]
        self._source = source
        self._targets = targets
        self._device = device
        self._moments = None if moments is None else tuple(torch.tensor(per_channel(part, 4), device=device) for part in moments)
        self._processes = source.processes
        self._batches: OrderedDict[tuple[bytes, Draw | None], list[Future[Pictures]]] = OrderedDict()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._source)

    def take(self, rows_B: Rows, draw: Draw | None = None, ahead: Iterable[tuple[Rows, Draw | None]] = ()) -> Taken:
        """Return a batch, see `Examples.take`.

        Raises:
            DataError: An image cannot be read; names it.
            ConfigurationError: The search's own transform fails on an image; names it.
            ChildProcessError: A process that reads was killed.
        """
        assert self._moments is not None  # noqa: S101 - opened for batches
        parts = self._read(rows_B, draw)
        if self._processes.number:
            for _, (rows, next_draw) in zip(range(_AHEAD), ahead, strict=False):
                self._read(rows, next_draw)
        images = torch.from_numpy(np.concatenate([part.result().images for part in parts]))
        mean, deviation = self._moments
        inputs = put_on(images, self._device).to(torch.float32).div_(WHITE_LEVEL).sub_(mean).div_(deviation)
        return Taken(inputs, self._targets.index_select(0, put_on(rows_B, self._device)))

    def read_all(self, rows_N: Rows) -> Iterator[Pictures]:
        """Yield the images of some rows as they are evaluated, in parts."""
        chunks = torch.split(rows_N, _PART * max(1, self._processes.number))
        for number, rows_B in enumerate(chunks):
            parts = self._read(rows_B, None)
            if self._processes.number:
                for later in chunks[number + 1 : number + 1 + _AHEAD]:
                    self._read(later, None)
            yield from (part.result() for part in parts)

    def close(self) -> None:
        """End the processes; a later batch starts them again."""
        self._batches.clear()
        self._processes.close()

    def _read(self, rows_B: Rows, draw: Draw | None) -> list[Future[Pictures]]:
        """Return the parts of a batch, which may still be being read; a batch that is held is not read twice."""
        key = (rows_B.numpy().tobytes(), draw)
        parts = self._batches.pop(key, None)
        if parts is None:
            parts = [self._processes.submit(request) for request in self._requests(rows_B, draw)]
        self._batches[key] = parts
        while len(self._batches) > _KEPT:
            _, old = self._batches.popitem(last=False)
            for part in old:
                part.cancel()
        return parts

    def _requests(self, rows_B: Rows, draw: Draw | None) -> Iterator[Request]:
        pictures, rows = self._source.pictures, rows_B.tolist()
        for start in range(0, len(rows), _PART):
            part = rows[start : start + _PART]
            positions = range(start, start + len(part))
            keys = () if draw is None else tuple((draw.seed, draw.replica, draw.step, position) for position in positions)
            chosen = pictures[part] if isinstance(pictures, np.ndarray) else [pictures[row] for row in part]
            yield Request(chosen, keys, None if draw is None else draw.values, tuple(part))
