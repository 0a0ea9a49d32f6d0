"""Image folders: what is read, in which order and size, and one sentence with the file for every defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engine_fixtures import MemorySink, search, small_search
from PIL import Image

from autohas_api.testing import changed
from autohas_trainer.data.image_folder import image_folder
from autohas_trainer.errors import ConfigurationError, DataError


def drawn(path: Path, colour: tuple[int, ...] | int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Path:
    """An image of one colour; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with two training images and one test image each, 6 px wide and 4 px high."""
    for index, label in enumerate(("cat", "dog")):
        for number in range(2):
            drawn(tmp_path / "train" / label / f"{number}.png", (255 * index, 51 * number, 0))
        drawn(tmp_path / "test" / label / "a.PNG", (255 * index, 0, 255))
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_sound_folder_is_read_in_order(folder: Path) -> None:
    """Classes and files are in alphabetical order; pixels become (N, 3, H, W) in 0..1; hidden folders and other files do not count."""
    task = image_folder(folder, {})

    assert (task.inputs.shape, task.test_inputs.shape, task.num_classes) == ((4, 3, 4, 6), (2, 3, 4, 6), 2)
    assert task.inputs[:, :, 0, 0].tolist() == [[0, 0, 0], [0, np.float32(0.2), 0], [1, 0, 0], [1, np.float32(0.2), 0]]
    assert (task.targets_N.tolist(), task.test_targets_N.tolist()) == ([0, 0, 1, 1], [0, 1])


def test_images_are_resized_and_turned_grey(folder: Path) -> None:
    """`size` is height x width; a red image is as bright as the standard says (0.299)."""
    task = image_folder(folder, {"size": "5x7", "grayscale": "true"})

    assert task.inputs.shape == (4, 1, 5, 7)
    assert np.unique(task.inputs[2, 0]).tolist() == [np.float32(76 / 255)]
    assert image_folder(folder, {"size": "8"}).inputs.shape == (4, 3, 8, 8)


def test_without_a_test_folder_a_share_is_the_test(tmp_path: Path) -> None:
    """A quarter of each of two classes of eight."""
    for label in ("a", "b"):
        for number in range(8):
            drawn(tmp_path / "train" / label / f"{number}.png", (number, 0, 0))
    task = image_folder(tmp_path, {"testFraction": "0.25"})

    assert (np.bincount(task.targets_N).tolist(), np.bincount(task.test_targets_N).tolist()) == ([6, 6], [2, 2])


def _cut(folder: Path) -> None:
    file = folder / "train" / "dog" / "1.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(256, size=(64, 64, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:5000])


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no image at all": (lambda f: (f / "train/dog/1.png").write_bytes(b"hello"), r"train/dog/1\.png is no sound PNG or JPEG image \("),
    "cut short": (_cut, r"train/dog/1\.png is no sound PNG or JPEG image"),
    "empty file": (lambda f: (f / "test/cat/a.PNG").write_bytes(b""), r"test/cat/a\.PNG is no sound PNG or JPEG image"),
    "another size": (
        lambda f: drawn(f / "train/dog/1.png", 0, (9, 9), "L"),
        r"train/dog/1\.png is 9x9 px, the first image 4x6 px; set .*size",
    ),
    "sixteen bits": (lambda f: drawn(f / "train/dog/1.png", 7, mode="I;16"), r"train/dog/1\.png has more than 8 bits"),
    "unknown class": (lambda f: drawn(f / "test/cow/1.png", (0, 0, 0)), r"test/cow: there is no such class in training \(cat, dog\)"),
    "class without images": (lambda f: (f / "train/eel").mkdir(), r"train/eel holds no image"),
    "one class": (lambda f: (f / "train/dog").rename(f / "dog"), r"train holds only the folder cat; .*at least two"),
    "no train": (lambda f: (f / "train").rename(f / "training"), r"train is missing; put one folder of images per class there"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_names_its_file(defect: str, folder: Path) -> None:
    """What is wrong, with which file or folder, and what to do."""
    damage, words = DEFECTS[defect]
    damage(folder)
    with pytest.raises(DataError, match=words):
        image_folder(folder, {})


def test_unknown_arguments_are_refused(folder: Path) -> None:
    """The sentence lists what there is."""
    with pytest.raises(ConfigurationError, match=r"arguments\.crop is unknown to image-folder; it takes size, grayscale"):
        image_folder(folder, {"crop": "3"})


def test_more_than_fits_into_memory_is_refused_before_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says how much it would be and how to make it less."""
    monkeypatch.setattr("autohas_trainer.data.image_folder._MAX_GIB", 0)
    with pytest.raises(DataError, match=r"6 images of 4x6 px are 0\.0 GiB in memory.*smaller task\.data\.arguments\.size"):
        image_folder(folder, {})


def test_a_search_on_images_learns(tmp_path: Path) -> None:
    """Bright and dark noise are told apart."""
    rng = np.random.default_rng(1)
    for label, low in (("bright", 120), ("dark", 0)):
        for number in range(420):
            path = tmp_path / "data" / "train" / label / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(low, low + 136, size=(5, 5), dtype=np.uint8)).save(path)
    data = {"name": "image-folder", "path": str(tmp_path / "data"), "arguments": {"grayscale": "true", "size": "4"}}
    document = changed(small_search(), "spec.task.data", data)

    assert search(document, tmp_path / "out", MemorySink()).result.test_score > 0.9
