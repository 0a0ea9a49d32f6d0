"""Data: sources, the division into splits, and the four types of batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.arrow.parquet import parquet
from autohas_trainer.data.batches import RewardBatch, SelectionBatch, TestBatch, TrainBatch
from autohas_trainer.data.custom import custom_data
from autohas_trainer.data.files.paths import expand_path, is_remote
from autohas_trainer.data.images.digits import digits
from autohas_trainer.data.images.idx import idx
from autohas_trainer.data.images.reading import AS_FITS, ImageReading
from autohas_trainer.data.raw import RawData
from autohas_trainer.data.split_indices import split
from autohas_trainer.data.splits import LARGEST_CHUNK, Splits, TestSplit, count_chunks
from autohas_trainer.data.tables.table import table
from autohas_trainer.data.tokens.text import text
from autohas_trainer.data.tokens.tokens import tokens
from autohas_trainer.errors import ConfigurationError

__all__ = [
    "LARGEST_CHUNK",
    "ImageReading",
    "RawData",
    "RewardBatch",
    "SelectionBatch",
    "Splits",
    "TestBatch",
    "TestSplit",
    "TrainBatch",
    "count_chunks",
    "load",
]


def load(  # noqa: PLR0913 - one keyword per field of task.data and task.splits
    name: str,
    path: str | None,
    arguments: Mapping[str, str],
    *,
    kind: TaskKind = TaskKind.CLASSIFICATION,
    reward: float,
    selection: float,
    stratify: bool,
    seed: int,
    device: torch.device,
    check: Callable[[int, int, int], None] = lambda *_: None,
    reading: ImageReading = AS_FITS,
) -> Splits:
    """Read a task's data and split it.

    Args:
        name: `digits`, `idx`, `csv`, `parquet`, `text`, `tokens`, `image-folder`, `image-parquet`, or an entrypoint
            `package.module:object`.
        path: The folder or file; a leading ~ is this machine's home folder; s3://, gs:// and hf:// are read through a cache folder. None
            for `digits`.
        arguments: The source's own; see `digits`, `idx`, `table`, `image_folder`, `image_parquet` and `custom_data`.
        kind: What the targets are; only `csv`, `parquet` and an entrypoint can give numbers.
        reward: Share of the training data that rewards the policy, in (0, 1).
        selection: Share that chooses between candidates, in (0, 1).
        stratify: Whether each class is divided by itself.
        seed: Keys the split; the test split does not depend on it.
        device: Where everything then lives.
        check: Is given the sizes of the train, the selection and the reward split, and may refuse them, before anything is converted.
        reading: Where images lie between steps, how many processes read them, and how they are augmented and transformed.

    Raises:
        ConfigurationError: The search asks for data or splits that cannot be.
        DataError: A file is missing or damaged.
    """
    _check_transform(reading)
    raw = _read(name, None if path is None else expand_path(path), arguments, kind, reading)
    indices = split(raw, reward=reward, selection=selection, stratify=stratify, seed=seed)
    check(len(indices.train), len(indices.selection), len(indices.reward))
    return Splits(raw, indices, device)


def _check_transform(reading: ImageReading) -> None:
    """Import the search's own transform, whose errors are said before anything is read."""
    if reading.transform is not None:
        # Pillow is imported here, since only images need it
        from autohas_trainer.data.images.own_transform import OwnTransform  # noqa: PLC0415

        OwnTransform(reading.transform)


def _read(name: str, path: str | None, arguments: Mapping[str, str], kind: TaskKind, reading: ImageReading) -> RawData:
    if path is None or not is_remote(path):
        return _read_raw(name, path, arguments, kind, reading)
    # fcntl is imported here, which not every system has
    from autohas_trainer.data.remote_data import read_remote  # noqa: PLC0415

    return read_remote(name, path, arguments, lambda local: _read_raw(name, local, arguments, kind, reading))


_TEXTS: Final[dict[str, Callable[[Path, Mapping[str, str]], RawData]]] = {"text": text, "tokens": tokens}


def _read_raw(  # noqa: PLR0911 - one per source
    name: str, path: str | None, arguments: Mapping[str, str], kind: TaskKind, reading: ImageReading
) -> RawData:
    if ":" in name:
        return custom_data(name, path, arguments, kind)
    match name:
        case "digits":
            if path is not None:
                message = f"task.data.path {path!r} means nothing to digits, which is built in; remove it"
                raise ConfigurationError(message)
            return digits(arguments)
        case "idx":
            return idx(_require_path(path, "idx reads a folder"), arguments, reading)
        case "csv":
            return table(_require_path(path, "csv reads a file or a folder"), arguments, kind)
        case "parquet":
            return parquet(_require_path(path, "parquet reads a file or a folder"), arguments, kind)
        case "text" | "tokens":
            return _TEXTS[name](_require_path(path, f"{name} reads a file or a folder"), arguments)
        case "image-folder":
            # Pillow is imported here, since only this source needs it
            from autohas_trainer.data.images.image_folder import image_folder  # noqa: PLC0415

            return image_folder(_require_path(path, "image-folder reads a folder"), arguments, reading)
        case "image-parquet":
            from autohas_trainer.data.arrow.image_parquet import image_parquet  # noqa: PLC0415 - as above

            return image_parquet(_require_path(path, "image-parquet reads a file or a folder"), arguments, reading)
        case _:
            message = f"task.data.name must be digits, idx, csv, parquet, text, tokens, image-folder or image-parquet, not {name!r}"
            raise ConfigurationError(message)


def _require_path(path: str | None, why: str) -> Path:
    if path is None:
        message = f"task.data.path is missing: {why}"
        raise ConfigurationError(message)
    return Path(path)
