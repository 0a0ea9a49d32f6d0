"""Data `text`: a text file as tokens, which are its characters, its bytes, or what a tokenizer of the user makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.raw import RawData
from autohas_trainer.data.tokens.tokens import TokenFile, check_arguments, find_files, text_data
from autohas_trainer.entrypoints import attribute_errors_to, load_object
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["text"]

_ARGUMENTS: Final = ("length", "tokenizer", "testFraction")
_FIELD: Final = "task.data.arguments.tokenizer"
_SIZES: Final = ("vocabulary_size", "vocab_size", "n_vocab")
"""Names under which tokenizers have the number of their tokens: ours, that of Hugging Face, that of tiktoken."""
_BYTES: Final = 256


def text(path: Path, arguments: Mapping[str, str]) -> RawData:
    """Return windows of the text in `path`.

    Args:
        path: A text file, or a folder with train.txt and perhaps test.txt.
        arguments: `length`: T, tokens of an example. `tokenizer`: `Characters` (default), `Bytes`, or `package.module:object`, which is
            called without arguments and gives an object with `encode(text) -> integers` and `vocabulary_size` (or `vocab_size`, `n_vocab`).
            `testFraction`: the share at the end that is the test where there is no test file, default 0.1.

    Raises:
        ConfigurationError: An argument is unknown, or the tokenizer raises or is none.
        DataError: A file is missing, too short or not UTF-8, or a test character never occurs in training; names file and line.
    """
    check_arguments(arguments, _ARGUMENTS, "text")
    paths = [file for file in find_files(path, ("txt",)) if file is not None]
    name = arguments.get("tokenizer", "Characters")
    if name == "Bytes":
        files = [TokenFile(path=file, tokens=_map_bytes(file)) for file in paths]
        return text_data("text", files, arguments, vocabulary=_BYTES, bytes_per_token=1.0, record={"kind": "text", "tokenizer": name})
    texts = [_read(file) for file in paths]
    size = len(texts[0].encode())
    if name == "Characters":
        characters, arrays = _number_characters(paths, texts)
        record = {"kind": "text", "tokenizer": name, "characters": "".join(characters)}
        vocabulary = len(characters)
    else:
        characters, record = (), {"kind": "text", "tokenizer": name}
        vocabulary, arrays = _encode(name, paths, texts)
    files = [TokenFile(path=file, tokens=array) for file, array in zip(paths, arrays, strict=True)]
    ratio = size / max(1, len(arrays[0]))
    return text_data("text", files, arguments, vocabulary=vocabulary, bytes_per_token=ratio, record=record, classes=characters)


def _map_bytes(file: Path) -> npt.NDArray[Any]:
    try:
        return np.memmap(file, dtype=np.uint8, mode="r") if file.stat().st_size else np.empty(0, dtype=np.uint8)
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror or error}); check task.data.path, the volume and its permissions"
        raise DataError(message) from error


def _read(file: Path) -> str:
    content = bytes(_map_bytes(file))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{file}, line {line} is not UTF-8 text; convert it (iconv), or set {_FIELD} to Bytes"
        raise DataError(message) from error


def _number_characters(paths: list[Path], texts: list[str]) -> tuple[tuple[str, ...], list[npt.NDArray[Any]]]:
    """Return the characters of the training file in order, and both files as their numbers."""
    codes = [np.frombuffer(content.encode("utf-32-le"), dtype="<u4") for content in texts]
    known = np.unique(codes[0])
    for path, content, points in zip(paths, texts, codes, strict=True):
        strange = np.flatnonzero(~np.isin(points, known))
        if len(strange):
            position = int(strange[0])
            line = content.count("\n", 0, position) + 1
            message = (
                f"{path}, line {line}: the character {content[position]!r} (position {position}) never occurs in training; remove it, or"
                f" set {_FIELD} to Bytes"
            )
            raise DataError(message)
    smallest = np.uint16 if len(known) <= np.iinfo(np.uint16).max else np.uint32
    return tuple(map(chr, known.tolist())), [np.searchsorted(known, points).astype(smallest) for points in codes]


def _encode(entrypoint: str, paths: list[Path], texts: list[str]) -> tuple[int, list[npt.NDArray[Any]]]:
    """Return the number of tokens of the user's tokenizer, and the texts in its tokens."""
    who = f"{_FIELD} {entrypoint}"
    factory = load_object(entrypoint, _FIELD)
    with attribute_errors_to(who, "calling it with nothing"):
        tokenizer = factory()
    vocabulary = next((int(getattr(tokenizer, name)) for name in _SIZES if hasattr(tokenizer, name)), None)
    if vocabulary is None or not callable(getattr(tokenizer, "encode", None)):
        message = f"{who} gave a {type(tokenizer).__name__}, which must have encode(text) and vocabulary_size"
        raise ConfigurationError(message)
    arrays = []
    for path, content in zip(paths, texts, strict=True):
        with attribute_errors_to(who, f"encode() of {path}"):
            array = np.asarray(tokenizer.encode(content))
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            message = f"{who}: encode() of {path} gave {array.dtype} of shape {array.shape}; it must give integers"
            raise ConfigurationError(message)
        is_wrong = (array < 0) | (array >= vocabulary)
        if is_wrong.any():
            position = int(np.argmax(is_wrong))
            message = f"{who}: token {int(array[position])} at position {position} of {path} is beyond its vocabulary of {vocabulary}"
            raise ConfigurationError(message)
        arrays.append(array.astype(np.uint32))
    return vocabulary, arrays
