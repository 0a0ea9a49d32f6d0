"""Arguments of each data source (`task.data.arguments`) and their allowed values. Pure."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from autohas_api.base.spec_errors import FieldError
from autohas_api.spec.data import Data

__all__ = ["DATA_ARGUMENTS", "find_wrong_data_arguments", "find_wrong_keywords"]

Check = Callable[[str], str | None]
"""Maps a value to the sentence that says what is allowed, or to None if the value is."""


def _one_of(*allowed: str) -> Check:
    listed = ", ".join(allowed)
    return lambda value: None if value in allowed else f"must be one of {listed}"


def _positive_integer(value: str) -> str | None:
    is_positive = value.isascii() and value.isdigit() and len(value) <= 12 and int(value) > 0  # noqa: PLR2004
    return None if is_positive else 'must be a positive integer in quotes, for example "10000"'


def _name(value: str) -> str | None:
    return None if value.strip() else "must be the name of a column"


def _names(value: str) -> str | None:
    return None if all(name.strip() for name in value.split(",")) else 'must be names separated by commas, for example "city,colour"'


def _delimiter(value: str) -> str | None:
    return None if value == "tab" or (len(value) == 1 and value not in '"\r\n') else 'must be one character, or tab, for example ";"'


def _file_next_to(value: str) -> str | None:
    path = PurePosixPath(value)
    is_next_to = bool(value.strip()) and not path.is_absolute() and ".." not in path.parts
    return None if is_next_to else "must be the name of a file next to the training file"


def _folder_next_to(value: str) -> str | None:
    is_next_to = bool(value.strip()) and "/" not in value and value not in (".", "..", "train")
    return None if is_next_to else 'must be the name of a folder next to train, for example "val"'


def _colour(value: str) -> str | None:
    is_colour = value in ("white", "black") or re.fullmatch(r"#[0-9a-fA-F]{6}", value) is not None
    return None if is_colour else 'must be white, black or a colour in hexadecimal digits, for example "#808080"'


def _image_size(value: str) -> str | None:
    sides = value.split("x")
    is_size = len(sides) <= 2 and all(s.isascii() and s.isdigit() and len(s) <= 4 and 0 < int(s) <= 1024 for s in sides)  # noqa: PLR2004
    return None if is_size else 'must be a side in px, 1 to 1024, or height x width, for example "32" or "24x32"'


def _share(value: str) -> str | None:
    try:
        is_share = 0 < float(value) <= 0.5  # noqa: PLR2004 - the bound itself
    except ValueError:
        is_share = False
    return None if is_share else 'must be a quoted decimal greater than 0 and at most 0.5, for example "0.2"'


def _positive(value: str) -> str | None:
    try:
        is_positive = 0 < float(value) < math.inf
    except ValueError:
        is_positive = False
    return None if is_positive else 'must be a quoted decimal greater than 0, for example "4.2"'


def _tokenizer(value: str) -> str | None:
    is_known = value in ("Bytes", "Characters") or re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value, re.ASCII) is not None
    return None if is_known else "must be Characters, Bytes or an entrypoint package.module:object"


DATA_ARGUMENTS: Final[dict[str, dict[str, Check]]] = {
    "digits": {"variant": _one_of("original", "shifted")},
    "idx": {"trainLimit": _positive_integer, "testLimit": _positive_integer},
    "csv": {
        "target": _name,
        "categorical": _names,
        "numeric": _names,
        "ignore": _names,
        "missing": _one_of("error", "impute"),
        "delimiter": _delimiter,
        "header": _one_of("true", "false"),
        "group": _name,
        "order": _name,
        "testFile": _file_next_to,
        "testFraction": _share,
    },
    "parquet": {
        "target": _name,
        "categorical": _names,
        "numeric": _names,
        "ignore": _names,
        "missing": _one_of("error", "impute"),
        "group": _name,
        "order": _name,
        "testFile": _file_next_to,
        "testFraction": _share,
    },
    "text": {"length": _positive_integer, "tokenizer": _tokenizer, "testFraction": _share},
    "tokens": {
        "length": _positive_integer,
        "vocabulary": _positive_integer,
        "type": _one_of("uint8", "uint16", "uint32"),
        "bytesPerToken": _positive,
        "testFraction": _share,
    },
    "image-parquet": {
        "image": _name,
        "target": _name,
        "size": _image_size,
        "grayscale": _one_of("true", "false"),
        "background": _colour,
        "fit": _one_of("stretch", "crop"),
        "group": _name,
        "order": _name,
        "testFile": _file_next_to,
        "testFraction": _share,
    },
    "image-folder": {
        "size": _image_size,
        "grayscale": _one_of("true", "false"),
        "background": _colour,
        "fit": _one_of("stretch", "crop"),
        "testFolder": _folder_next_to,
        "testFraction": _share,
    },
}
"""By data source: name of an argument and its check."""


def find_wrong_keywords(arguments: Mapping[str, str], path: str, *, reserved: Sequence[str]) -> Iterator[FieldError]:
    """Arguments of an entrypoint that cannot be passed as keywords; the trainer passes `reserved` itself."""
    for name in arguments:
        if not name.isidentifier() or keyword.iskeyword(name) or name in reserved:
            yield FieldError(path=f"{path}.{name}", message=f'"{name}" cannot be a keyword of the entrypoint: choose another name')


def _find_missing_size(data: Data) -> Iterator[FieldError]:
    """Fields of folders and columns of images that need to know the size of the inputs."""
    if data.name not in {"image-folder", "image-parquet"} or "size" in data.arguments:
        return
    if data.arguments.get("fit") == "crop":
        yield FieldError(path="spec.task.data.arguments.fit", message="crop has no effect without size: give size, or remove fit")
    if data.augmentation is not None and data.augmentation.random_resized_crop is not None:
        path = "spec.task.data.augmentation.randomResizedCrop"
        yield FieldError(path=path, message='needs arguments.size, the size of the crops, for example "32"')


def _find_wrong_roles(data: Data) -> Iterator[FieldError]:
    """Columns that would be two things, and groups of rows that have an order."""
    if "group" in data.arguments and "order" in data.arguments:
        yield FieldError(path="spec.task.data.arguments.group", message="must not be given together with order, which divides rows by time")
    for role in ("group", "order", "image"):
        if role in data.arguments and data.arguments[role] == data.arguments.get("target"):
            yield FieldError(
                path=f"spec.task.data.arguments.{role}", message=f'"{data.arguments[role]}" is the target: name another column'
            )


def find_wrong_data_arguments(data: Data) -> Iterator[FieldError]:
    """Arguments that the data source does not have, and values that it does not allow."""
    if data.name is None:
        yield from find_wrong_keywords(data.arguments, "spec.task.data.arguments", reserved=("path",))
        return
    checks = DATA_ARGUMENTS[data.name]
    for name, value in data.arguments.items():
        path = f"spec.task.data.arguments.{name}"
        if name not in checks:
            yield FieldError(path=path, message=f"unknown argument of data {data.name}: must be one of {', '.join(checks)}")
        elif (wrong := checks[name](value)) is not None:
            yield FieldError(path=path, message=f'Invalid value: "{value}": {wrong}')
    yield from _find_missing_size(data)
    yield from _find_wrong_roles(data)
    for own, what in (("testFile", "which is the test data"), ("testFolder", "which holds the test data")):
        if own in data.arguments and "testFraction" in data.arguments:
            yield FieldError(path="spec.task.data.arguments.testFraction", message=f"must not be given together with {own}, {what}")
    for argument in ("categorical", "numeric", "ignore"):
        if data.arguments.get("target", "") in {name.strip() for name in data.arguments.get(argument, "").split(",")} - {""}:
            message = f'"{data.arguments["target"]}" is the target, which is no input: leave it out'
            yield FieldError(path=f"spec.task.data.arguments.{argument}", message=message)
    numeric = {name.strip() for name in data.arguments.get("numeric", "").split(",")}
    both = [name for name in data.arguments.get("categorical", "").split(",") if name.strip() and name.strip() in numeric]
    if both:
        yield FieldError(path="spec.task.data.arguments.numeric", message=f'"{both[0].strip()}" is named in categorical too: choose one')
