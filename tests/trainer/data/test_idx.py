"""IDX folders: sound ones are read, every defect is one sentence that names the file."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from autohas_trainer.data import load
from autohas_trainer.data.images.idx import idx
from autohas_trainer.errors import ConfigurationError, DataError
from data_fixtures import test_numbers, train_numbers

FASHION = Path(os.environ.get("AUTOHAS_FASHION_MNIST") or Path(__file__).parents[4] / "shared" / "data" / "fashion-mnist")


def encoded(array: npt.NDArray[np.uint8], type_code: int = 8) -> bytes:
    """An IDX file's bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, type_code, array.ndim, *array.shape) + array.tobytes()


def images(number: int, side: int = 4) -> npt.NDArray[np.uint8]:
    """`number` images of side x side px."""
    return (np.arange(number * side * side) % 251).astype(np.uint8).reshape(number, side, side)


def labels(number: int) -> npt.NDArray[np.uint8]:
    """`number` labels in three classes."""
    return (np.arange(number) % 3).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder: 60 training and 12 test images of 4x4 px in three classes, training gzipped, test plain."""
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(encoded(images(60))))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encoded(labels(60))))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(encoded(images(12)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(encoded(labels(12)))
    return tmp_path


def test_a_sound_folder_is_read_whole(folder: Path) -> None:
    """Images become (N, 1, H, W) in 0..1 with their labels, plain and gzipped alike."""
    task = idx(folder, {})
    assert np.array_equal(train_numbers(task), images(60)[:, None].astype(np.float32) / 255)
    assert np.array_equal(test_numbers(task), images(12)[:, None].astype(np.float32) / 255)
    assert np.array_equal(task.targets_N, labels(60))
    assert task.num_classes == 3


def test_limits_keep_the_first_rows(folder: Path) -> None:
    """`trainLimit` and `testLimit` cut from the end."""
    task = idx(folder, {"trainLimit": "30", "testLimit": "5"})
    assert np.array_equal(task.targets_N, labels(60)[:30])
    assert np.array_equal(task.test_targets_N, labels(12)[:5])


def test_a_folder_goes_through_load(folder: Path) -> None:
    """The folder's training data are split by row and normalised."""
    splits = load("idx", str(folder), {}, reward=0.1, selection=0.1, stratify=True, seed=0, device=torch.device("cpu"))
    assert (splits.num_train, splits.num_reward, splits.num_selection, splits.num_test) == (48, 6, 6, 12)


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "many", "", "²"])
def test_limits_must_be_positive_integers(folder: Path, text: str) -> None:
    """Anything else is refused with the field and the value."""
    with pytest.raises(ConfigurationError, match=r"task\.data\.arguments\.trainLimit must be a positive integer"):
        idx(folder, {"trainLimit": text})


def test_unknown_arguments_are_named(folder: Path) -> None:
    """A misspelt argument is not ignored."""
    with pytest.raises(ConfigurationError, match=r"arguments\.limit is unknown to idx; it takes trainLimit, testLimit"):
        idx(folder, {"limit": "3"})


def rewrite(name: str, content: bytes) -> Callable[[Path], None]:
    """Return a defect: the file `name` now holds `content`."""
    return lambda folder: [(folder / name).write_bytes(content)].clear()


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
HUGE = struct.pack(">BBBB3I", 0, 0, 8, 3, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
LARGE = struct.pack(">BBBB3I", 0, 0, 8, 3, 3_000_000, 28, 28)

DEFECTS = {
    "missing": (lambda folder: (folder / TEST_LABELS).unlink(), TEST_LABELS, "is missing"),
    "a folder": (lambda folder: [(folder / TEST_LABELS).unlink(), (folder / TEST_LABELS).mkdir()], TEST_LABELS, "is missing"),
    "empty": (rewrite(TEST_IMAGES, b""), TEST_IMAGES, "first bytes absent"),
    "text": (rewrite(TEST_IMAGES, b"<html>not found</html>"), TEST_IMAGES, "does not begin as an IDX file"),
    "floats": (rewrite(TEST_IMAGES, encoded(images(12), 0x0D)), TEST_IMAGES, "type code 0x0d (32-bit floats), only unsigned bytes"),
    "swapped": (rewrite(TEST_IMAGES, encoded(labels(12))), TEST_IMAGES, "1 dimensions instead of 3"),
    "half a header": (rewrite(TEST_IMAGES, encoded(images(12))[:9]), TEST_IMAGES, "ends inside its header"),
    "no rows": (rewrite(TEST_IMAGES, encoded(images(0))), TEST_IMAGES, "holds nothing"),
    "cut short": (rewrite(TEST_IMAGES, encoded(images(12))[:-1]), TEST_IMAGES, "is cut short"),
    "too long": (rewrite(TEST_IMAGES, encoded(images(12)) + b"x"), TEST_IMAGES, "continues after its last row"),
    "huge header": (rewrite(TEST_IMAGES, HUGE), TEST_IMAGES, "more than the 4 GiB"),
    "large header": (rewrite(TEST_IMAGES, LARGE), TEST_IMAGES, "is cut short: its header states 2352000000 bytes"),
    "large header, gzipped": (rewrite(TRAIN_IMAGES, gzip.compress(LARGE)), TRAIN_IMAGES, "is cut short"),
    "gzip cut in its data": (rewrite(TRAIN_IMAGES, gzip.compress(encoded(images(60)))[:-12]), TRAIN_IMAGES, "cut short"),
    "short inside a sound gzip": (rewrite(TRAIN_IMAGES, gzip.compress(encoded(images(60))[:-1])), TRAIN_IMAGES, "is cut short"),
    "not gzip": (rewrite(TRAIN_LABELS, encoded(labels(60))), TRAIN_LABELS, "not a sound gzip file"),
    "damaged gzip": (
        rewrite(TRAIN_LABELS, gzip.compress(encoded(labels(60)))[:10] + b"\x07" * 40),
        TRAIN_LABELS,
        "not a sound gzip file",
    ),
    "wrong checksum": (
        rewrite(TRAIN_LABELS, gzip.compress(encoded(labels(60)))[:-8] + b"\0" * 8),
        TRAIN_LABELS,
        "not a sound gzip file",
    ),
    "fewer labels": (rewrite(TEST_LABELS, encoded(labels(11))), TEST_LABELS, "has 11 labels"),
    "other size": (rewrite(TEST_IMAGES, encoded(images(12, side=5))), "", "4x4 px but test images are 5x5 px"),
    "stray label": (
        rewrite(TRAIN_LABELS, gzip.compress(encoded(np.append(labels(59), 200).astype(np.uint8)))),
        TRAIN_LABELS,
        "row 59 has label 200, but only 4 labels occur; classes count from 0",
    ),
    "strange label": (rewrite(TEST_LABELS, encoded(labels(12) + 1)), TEST_LABELS, "row 2 has label 3, training has 0 to 2"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_one_sentence_that_names_the_file(folder: Path, defect: str) -> None:
    """Each damaged folder ends in a DataError with the file's path and what is wrong with it."""
    damage, name, sentence = DEFECTS[defect]
    damage(folder)
    with pytest.raises(DataError) as caught:
        idx(folder, {})
    message = str(caught.value)
    assert str(folder / name) in message
    assert sentence in message
    assert "\n" not in message


def test_a_limit_beyond_the_file_gives_both_numbers(folder: Path) -> None:
    """Asking for more rows than there are names the file, the argument and both numbers."""
    with pytest.raises(DataError, match=r"train-images.* has 60 images, fewer than task\.data\.arguments\.trainLimit 61"):
        idx(folder, {"trainLimit": "61"})


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A volume that was not mounted is said to be no folder."""
    with pytest.raises(DataError, match="absent is not a folder"):
        idx(tmp_path / "absent", {})


@pytest.mark.skipif(not FASHION.is_dir(), reason="Fashion-MNIST is absent: name its folder by AUTOHAS_FASHION_MNIST")
def test_fashion_mnist_is_read() -> None:
    """The real files give 28x28 px in ten classes; the limits hold."""
    task = idx(FASHION, {"trainLimit": "2000", "testLimit": "500"})
    assert task.inputs.shape == (2000, 1, 28, 28)
    assert (task.num_classes, len(task.test_targets_N)) == (10, 500)
    assert train_numbers(task).max() == 1
