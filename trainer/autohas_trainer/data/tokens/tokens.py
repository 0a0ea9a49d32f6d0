"""Data `tokens`: an array of token numbers in a .npy file, or in a file of numbers only; it is memory-mapped, never read whole.

`text_data` makes the same of any array of tokens; data `text` uses it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.arguments import refuse_unknown_arguments
from autohas_trainer.data.files.paths import refuse_training_as_test, relative_to
from autohas_trainer.data.raw import RawData
from autohas_trainer.data.targets import NextTokens
from autohas_trainer.data.tokens.windows import Tokens, cut_windows
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["TokenFile", "check_arguments", "find_files", "read_length", "text_data", "tokens"]

_ARGUMENTS: Final = ("length", "vocabulary", "type", "bytesPerToken", "testFraction")
_CHUNK: Final = 1 << 24
TEST_FRACTION: Final = "0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """Tokens and where they were read."""

    path: Path
    tokens: Tokens


def tokens(path: Path, arguments: Mapping[str, str]) -> RawData:
    """Return windows of the tokens in `path`.

    Args:
        path: A file .npy (one dimension, integers), or of little-endian numbers without a header; or a folder with train.npy or train.bin,
            and perhaps test.npy or test.bin.
        arguments: `length`: T, tokens of an example. `vocabulary`: number of different tokens. `type` of a file without a header: uint8,
            uint16 (default) or uint32. `bytesPerToken`: of text, on average, for metric bpb. `testFraction`: the share at the end of the
            file that is the test where there is no test file, default 0.1.

    Raises:
        ConfigurationError: An argument is unknown.
        DataError: A file is missing or of another form, too short, or has a token beyond the vocabulary; names file and position.
    """
    check_arguments(arguments, _ARGUMENTS, "tokens")
    train_file, test_file = find_files(path, ("npy", "bin"))
    vocabulary = int(arguments["vocabulary"])
    files = [TokenFile(path=file, tokens=_map(file, arguments.get("type"))) for file in (train_file, test_file) if file is not None]
    for file in files:
        _check_vocabulary(file, vocabulary)
    bytes_per_token = float(arguments["bytesPerToken"]) if "bytesPerToken" in arguments else None
    record = {"kind": "tokens", "vocabulary": vocabulary}
    return text_data("tokens", files, arguments, vocabulary=vocabulary, bytes_per_token=bytes_per_token, record=record)


def text_data(  # noqa: PLR0913 - what an array of tokens is
    source: str,
    files: list[TokenFile],
    arguments: Mapping[str, str],
    *,
    vocabulary: int,
    bytes_per_token: float | None,
    record: Mapping[str, Any],
    classes: tuple[str, ...] = (),
) -> RawData:
    """Return windows of the training file, and as test those of the second file or of the training file's end.

    Raises:
        DataError: There are fewer tokens than one window needs.
    """
    length = read_length(arguments)
    train, test = _divide(files, length, float(arguments.get("testFraction", TEST_FRACTION)))
    windows, blocks_N = cut_windows(train, length)
    test_windows, _ = cut_windows(test, length)
    return RawData(
        name=f"{source} ({files[0].path})",
        inputs=windows,
        targets_N=np.zeros(len(windows), dtype=np.int64),
        sources_N=blocks_N,
        test_inputs=test_windows,
        test_targets_N=np.zeros(len(test_windows), dtype=np.int64),
        num_classes=vocabulary,
        scaled_C=(),
        classes=classes,
        summary=(
            f"{len(train):,} training tokens: {len(windows):,} examples of {length}; splits are made of {int(blocks_N[-1]) + 1} blocks",
            f"{len(test):,} test tokens; {vocabulary:,} different tokens",
        ),
        preprocessing={**record, "length": length},
        next_tokens=NextTokens(length=length, count=lambda rows: windows.count_targets(rows, vocabulary), bytes_per_token=bytes_per_token),
    )


def _divide(files: list[TokenFile], length: int, test_fraction: float) -> tuple[Tokens, Tokens]:
    """Return the training and the test tokens: of two files, or of one that is cut near its end.

    Raises:
        DataError: There are fewer than one example of `length` and its last target need.
    """
    train, test = files[0].tokens, files[-1].tokens
    if len(files) == 1:
        cut = len(train) - max(round(len(train) * test_fraction), length + 1)
        train, test = train[: max(cut, 0)], train[max(cut, 0) :]
    for file, part, what in ((files[0], train, "train"), (files[-1], test, "test")):
        if len(part) < length + 1:
            message = (
                f"{file.path}: {len(part):,} tokens are for {what}, fewer than the {length + 1:,} of one example and its last target;"
                " lower task.data.arguments.length"
            )
            raise DataError(message)
    return train, test


def check_arguments(arguments: Mapping[str, str], known: tuple[str, ...], source: str) -> None:
    """Refuse arguments that acceptance would have refused.

    Raises:
        ConfigurationError: One is unknown, or a required one is missing.
    """
    refuse_unknown_arguments(arguments, known, source)
    missing = [name for name in ("length", "vocabulary") if name in known and name not in arguments]
    if missing:
        message = f"task.data.arguments.{missing[0]} is missing; {source} needs it"
        raise ConfigurationError(message)


def read_length(arguments: Mapping[str, str]) -> int:
    """T, the tokens of an example."""
    return int(arguments["length"])


def find_files(path: Path, suffixes: tuple[str, ...]) -> tuple[Path, Path | None]:
    """Return the training file and the test file, if there is one.

    Raises:
        DataError: There is no training file, or it is the test file too.
    """
    if path.is_file():
        return path, None
    found = {name: next((file for suffix in suffixes if (file := path / f"{name}.{suffix}").is_file()), None) for name in ("train", "test")}
    if found["train"] is None:
        listed = " or ".join(f"train.{suffix}" for suffix in suffixes)
        what = f"{path} has no {listed}" if path.is_dir() else f"{path} is missing{relative_to(path)}"
        message = f"{what}; put the file there or correct task.data.path"
        raise DataError(message)
    if found["test"] is not None:
        refuse_training_as_test([found["test"]], [found["train"]])
    return found["train"], found["test"]


def _map(file: Path, type_name: str | None) -> npt.NDArray[Any]:
    """Return the memory-mapped tokens of a file."""
    try:
        if file.suffix == ".npy":
            array: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            kind = np.dtype(type_name or "uint16").newbyteorder("<")
            size = file.stat().st_size
            if size == 0 or size % kind.itemsize:
                message = f"{file} has {size} bytes, which are no {kind.name} numbers; set task.data.arguments.type, or copy it again"
                raise DataError(message)
            array = np.memmap(file, dtype=kind, mode="r")
    except (OSError, ValueError) as error:
        message = f"{file} cannot be read as an array of tokens ({error}); write it with numpy.save, one dimension of integers"
        raise DataError(message) from error
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        message = f"{file} holds {array.dtype} of shape {array.shape}; tokens must be integers of one dimension"
        raise DataError(message)
    return array


def _check_vocabulary(file: TokenFile, vocabulary: int) -> None:
    """Refuse the first token that no output stands for.

    Raises:
        DataError: Names file and position.
    """
    for begin in range(0, len(file.tokens), _CHUNK):
        part = np.asarray(file.tokens[begin : begin + _CHUNK])
        is_wrong = (part >= vocabulary) | (part < 0)
        if is_wrong.any():
            first = int(np.argmax(is_wrong))
            message = (
                f"{file.path}: token {int(part[first])} at position {begin + first} is beyond the vocabulary, 0 to {vocabulary - 1};"
                " correct task.data.arguments.vocabulary, or encode the text again"
            )
            raise DataError(message)
