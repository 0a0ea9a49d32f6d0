"""Which files of an image folder are examples of which class. Every file that is not read is named or counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from autohas_trainer.data.files.paths import refuse_training_as_test, relative_to
from autohas_trainer.data.images.image_file import SUFFIXES, UNREAD_SUFFIXES
from autohas_trainer.data.spellings import equal_numbers, equal_words
from autohas_trainer.errors import DataError

__all__ = ["Layout", "find_images"]

_READ: Final = ", ".join(SUFFIXES)
_HELD_OUT: Final = frozenset({"val", "valid", "validation", "dev", "eval", "evaluation", "holdout", "testing", "tst"})
_SPLITS: Final = _HELD_OUT | {"train", "training", "trn", "test"}
"""Names of folders that are parts of the data and no classes."""
_SYSTEM: Final = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(slots=True, kw_only=True)
class Layout:
    """Images with the number of their class, by class and name, and the counts of what was not read."""

    classes: list[str]
    files: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    test_files: list[Path] = field(default_factory=list)
    test_labels: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_images(folder: Path, test_folder: str | None, *, may_divide: bool) -> Layout:
    """Return the images of `folder`/train, or of `folder` where the classes lie in it directly, and those of the test folder.

    Args:
        folder: What the search names.
        test_folder: Name of the folder with the test images; None: `test`, if there is one.
        may_divide: Whether the search says what share of the training images is the test.

    Raises:
        DataError: A folder is missing, empty or both, or images would be passed over; names them.
    """
    train = _train_folder(folder, test_folder)
    layout = Layout(classes=_classes(train))
    unread_counts = Counter[str]()
    layout.files, layout.labels = _list_names(train, layout, unread_counts, may_lack=False)
    if train != folder:
        test = folder / (test_folder or "test")
        if test_folder is not None and not test.is_dir():
            message = f"{test} is missing (task.data.arguments.testFolder); correct the name, or put one folder of images per class there"
            raise DataError(message)
        refuse_training_as_test([test], [train], None if test_folder is None else "testFolder")
        if test.is_dir():
            layout.test_files, layout.test_labels = _list_names(test, layout, unread_counts, may_lack=True)
        layout.notes += _unread_folders(folder, {train.name, test.name}, has_test=test.is_dir() or may_divide)
    nested = unread_counts.pop("nested", 0)
    if nested:
        layout.notes.append(f"{nested:,} images lie deeper than in a class folder: their class is the first folder below {train.name}")
    if unread_counts:
        listed = ", ".join(f"{number:,} {kind}" for kind, number in sorted(unread_counts.items()))
        layout.notes.append(f"{folder}: not read, being no images: {listed}")
    return layout


def _train_folder(folder: Path, test_folder: str | None) -> Path:
    """Return the folder that holds the classes."""
    train = folder / "train"
    if train.is_dir():
        return train
    if folder.is_file():
        message = f"{folder} is a file; image-folder reads a folder: unpack it if it is an archive, or correct task.data.path"
        raise DataError(message)
    names = sorted(path.name for path in _subfolders(folder)) if folder.is_dir() else []
    is_divided = any(name.lower() in _SPLITS for name in names)
    if names and not is_divided and test_folder is None and any(_images_in(folder / name) for name in names):
        return folder
    hint = f"; {folder} holds the folders {', '.join(names[:10])}" if names else relative_to(folder)
    message = f"{train} is missing; put one folder of images per class there, or correct task.data.path{hint}"
    raise DataError(message)


def _classes(folder: Path) -> list[str]:
    """Return the names of the class folders, in order."""
    classes = sorted(path.name for path in _subfolders(folder))
    if len(classes) < 2:  # noqa: PLR2004 - one class is nothing to learn
        description = f"only the folder {classes[0]}" if classes else "no folder"
        message = f"{folder} holds {description}; it must hold one folder of images per class, at least two"
        raise DataError(message)
    pair = equal_numbers(classes) or equal_words(classes)
    if pair is not None:
        message = f"{folder / pair[1]}: the class is called like {pair[0]} in another spelling, and they would be two; join the folders"
        raise DataError(message)
    return classes


def _list_names(folder: Path, layout: Layout, unread_counts: Counter[str], *, may_lack: bool) -> tuple[list[Path], list[int]]:
    """Return the images of `folder` and the class of each, by class and name; `unread_counts` counts what is no image."""
    classes = layout.classes
    for path in _subfolders(folder):
        if path.name not in classes:
            message = f"{path}: there is no such class in training ({', '.join(classes[:20])}); move the folder"
            raise DataError(message)
    _refuse_loose(folder, unread_counts)
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = _class_images(folder / name, unread_counts)
        if not images and not may_lack:
            message = f"{folder / name} holds no image ({_READ}); add some, or remove the folder"
            raise DataError(message)
        if not images:
            layout.notes.append(f"{folder} holds no image of class {name}")
        files += images
        labels += [label] * len(images)
    if not files:
        message = f"{folder} holds no image ({_READ}); add some, or remove the folder"
        raise DataError(message)
    return files, labels


def _refuse_loose(folder: Path, unread_counts: Counter[str]) -> None:
    """Refuse images next to the class folders, count other files there."""
    loose = []
    for path in sorted(folder.iterdir()):
        if _is_hidden(path.name):
            unread_counts["hidden"] += 1
        elif not path.is_dir() and path.suffix.lower() in SUFFIXES:
            loose.append(path)
        elif not path.is_dir():
            unread_counts[_kind(path)] += 1
    if loose:
        message = f"{loose[0]} lies in no class folder ({len(loose):,} such images); move them into one, or remove them"
        raise DataError(message)


def _class_images(folder: Path, unread_counts: Counter[str]) -> list[Path]:
    """Return the images of a class in order, those of its subfolders too.

    Raises:
        DataError: It holds images of a kind that is not read.
    """
    images, unread = [], []
    for path in _walk(folder, unread_counts):
        if path.suffix.lower() in SUFFIXES:
            images.append(path)
            unread_counts["nested"] += path.parent != folder
        elif path.suffix.lower() in UNREAD_SUFFIXES:
            unread.append(path)
        else:
            unread_counts[_kind(path)] += 1
    if unread:
        kinds = Counter(path.suffix.lower() for path in unread)
        listed = ", ".join(f"{number:,} {suffix}" for suffix, number in sorted(kinds.items()))
        message = f"{min(unread)}: files of this kind are not read ({listed} in {folder}); convert them to PNG or JPEG, or remove them"
        raise DataError(message)
    return sorted(images)


def _unread_folders(folder: Path, class_names: set[str], *, has_test: bool) -> Iterator[str]:
    """Yield a sentence for each folder of images next to train and test.

    Raises:
        DataError: There is no test and a folder that is called like one: the search must say what it is.
    """
    for path in sorted(_subfolders(folder)):
        number = 0 if path.name in class_names else _images_in(path)
        if number and not has_test and path.name.lower() in _HELD_OUT:
            message = (
                f"{folder} has no test, but {path.name} holds {number:,} images: set task.data.arguments.testFolder to {path.name} to test"
                " on them, or testFraction to take the test from train and leave them unread"
            )
            raise DataError(message)
        if number:
            yield f"{path} ({number:,} images) is not read: the splits for rewards and selection are taken from train"


def _images_in(folder: Path) -> int:
    return sum(path.suffix.lower() in SUFFIXES for path in _walk(folder, Counter()))


def _walk(folder: Path, unread_counts: Counter[str]) -> Iterator[Path]:
    """Yield the files below `folder`, through links too, each folder once; hidden ones are only counted."""
    visited = set[str]()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        hidden = [name for name in (*folders, *files) if _is_hidden(name)]
        if hidden:
            unread_counts["hidden"] += len(hidden)
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (Path(place) / name for name in files if not _is_hidden(name))


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name)]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM


def _kind(path: Path) -> str:
    return path.suffix.lower() or "without a suffix"
