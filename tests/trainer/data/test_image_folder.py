"""Image folders: what is read, in which order and size, and one sentence with the file for every defect."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from autohas_api.testing.rejections import with_change
from autohas_trainer.data.images.image_folder import image_folder
from autohas_trainer.data.images.reading import ImageReading
from autohas_trainer.errors import ConfigurationError, DataError
from data_fixtures import train_numbers
from engine_fixtures import MemorySink, search, small_search


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
    assert train_numbers(task)[:, :, 0, 0].tolist() == [[0, 0, 0], [0, np.float32(0.2), 0], [1, 0, 0], [1, np.float32(0.2), 0]]
    assert (task.targets_N.tolist(), task.test_targets_N.tolist()) == ([0, 0, 1, 1], [0, 1])


def test_images_are_resized_and_turned_grey(folder: Path) -> None:
    """`size` is height x width; a red image is as bright as the standard says (0.299)."""
    task = image_folder(folder, {"size": "5x7", "grayscale": "true"})

    assert task.inputs.shape == (4, 1, 5, 7)
    assert np.unique(train_numbers(task)[2, 0]).tolist() == [np.float32(76 / 255)]
    assert image_folder(folder, {"size": "8"}).inputs.shape == (4, 3, 8, 8)


def test_without_a_test_folder_a_share_is_the_test(tmp_path: Path) -> None:
    """A quarter of each of two classes of eight."""
    for label in ("a", "b"):
        for number in range(8):
            drawn(tmp_path / "train" / label / f"{number}.png", (number, 0, 0))
    task = image_folder(tmp_path, {"testFraction": "0.25"})

    assert (np.bincount(task.targets_N).tolist(), np.bincount(task.test_targets_N).tolist()) == ([6, 6], [2, 2])


def _halves(mode: str, left: int = 51, right: int = 204) -> Image.Image:
    """Six by four px, two levels of grey."""
    image = Image.new("RGB", (6, 4), (left,) * 3)
    image.paste((right,) * 3, (3, 0, 6, 4))
    return image.convert(mode)


def _turned(path: Path) -> None:
    """Stored upside down, with the note of the camera that says so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    _halves("RGB", 204, 51).save(path, exif=exif)


TRANSPARENT = "1 of 7 images have transparent parts: laid on white (task.data.arguments.background)"
CONVERTED: dict[str, tuple[str, Callable[[Path], object], list[int], str]] = {
    "transparent colour": (".png", lambda f: shape(f, (0, 0, 0)), [255, 0], TRANSPARENT),
    "transparent grey": (".png", lambda f: Image.open(shape(f, (0, 0, 0))).convert("LA").save(f), [255, 0], TRANSPARENT),
    "transparent palette": (".png", lambda f: Image.open(shape(f, (0, 0, 0))).quantize().save(f), [255, 0], TRANSPARENT),
    "one transparent level": (".png", lambda f: _halves("L", 0).save(f, transparency=0), [255, 204], TRANSPARENT),
    "turned": (".png", _turned, [51, 204], "1 of 7 images were turned as their camera says (EXIF orientation)"),
    "one bit": (".png", lambda f: _halves("1", 0, 255).save(f), [0, 255], "1 of 7 images are grey: their three channels are equal"),
    "WebP": (".WEBP", lambda f: _halves("RGB").save(f, lossless=True), [51, 204], ""),
    "BMP": (".bmp", lambda f: _halves("RGB").save(f), [51, 204], ""),
    "GIF": (".gif", lambda f: _halves("P").save(f), [51, 204], ""),
    "TIFF": (".tif", lambda f: _halves("RGB").save(f), [51, 204], ""),
    "CMYK": (
        ".tiff",
        lambda f: _halves("CMYK").save(f),
        [51, 204],
        "1 of 7 images are CMYK: converted to RGB without their colour profile",
    ),
}
"""Suffix, how it is made, the levels of grey of both halves, and the note."""


@pytest.mark.parametrize("kind", CONVERTED)
def test_what_is_converted_keeps_its_shape_and_is_counted(kind: str, folder: Path) -> None:
    """The levels of both halves, and one sentence with the number of images; what would lose its shape is refused."""
    suffix, make, levels, note = CONVERTED[kind]
    make(folder / f"train/dog/2{suffix}")
    task = image_folder(folder, {})

    assert (train_numbers(task)[4, :, 1, (0, 5)] * 255).round().astype(int).tolist() == [[level] * 3 for level in levels]
    assert note in "; ".join(task.notes)


def test_the_background_is_the_search_s_to_choose(folder: Path) -> None:
    """A white shape is seen on black and on grey; an alpha channel without transparency changes nothing and is not counted."""
    shape(folder / "train/dog/2.png", (255, 255, 255))
    Image.open(folder / "train/cat/0.png").convert("RGBA").save(folder / "train/cat/0.png")
    on_black, on_grey = (image_folder(folder, {"background": colour}) for colour in ("black", "#808080"))

    assert train_numbers(on_black)[4, 0, 1, (0, 5)].tolist() == [0, 1]
    assert train_numbers(on_grey)[4, 0, 1, (0, 5)].tolist() == [np.float32(128 / 255), 1]
    assert train_numbers(on_black)[0, :, 0, 0].tolist() == [0, 0, 0]
    assert "1 of 7 images have transparent parts: laid on black" in "; ".join(on_black.notes)


def test_images_of_other_shapes_are_stretched_with_a_word(folder: Path) -> None:
    """One of seven is square, as the size is not."""
    drawn(folder / "train/dog/2.png", (9, 9, 9), (8, 8))
    notes = "; ".join(image_folder(folder, {"size": "2x3"}).notes)

    assert "1 of 7 images have another aspect than 2x3 px: stretched to it" in notes


def test_classes_may_lie_directly_in_the_folder(folder: Path) -> None:
    """As in a folder that was never divided; a share of them is the test."""
    task = image_folder(folder / "train", {"testFraction": "0.5"})

    assert (task.classes, len(task.targets_N), len(task.test_targets_N)) == (("cat", "dog"), 2, 2)


def test_another_folder_may_hold_the_test(folder: Path) -> None:
    """`testFolder` names it; one that is not there is refused."""
    (folder / "test").rename(folder / "val")
    task = image_folder(folder, {"testFolder": "val"})

    assert len(task.test_targets_N) == 2
    with pytest.raises(DataError, match=r"absent is missing \(task\.data\.arguments\.testFolder\)"):
        image_folder(folder, {"testFolder": "absent"})


@pytest.mark.parametrize("name", ["train", "again", None])
def test_the_training_folder_is_no_test(name: str | None, folder: Path) -> None:
    """Under its own name, under that of a link, and where the link is called test."""
    shutil.rmtree(folder / "test")
    if name != "train":
        (folder / (name or "test")).symlink_to(folder / "train")
    source = r" \(task\.data\.arguments\.testFolder\)" if name else ""
    with pytest.raises(DataError, match=rf"{name or 'test'}{source} is training data too"):
        image_folder(folder, {} if name is None else {"testFolder": name})


def test_what_is_not_read_is_counted(folder: Path) -> None:
    """Other files, hidden ones, a folder next to train; links and deeper folders are read."""
    drawn(folder / "val/dog/1.png", (0, 0, 0))
    drawn(folder / "elsewhere.png", (7, 7, 7))
    drawn(folder / "train/dog/deep/er/1.JPG", (9, 9, 9))
    (folder / "train/dog/link.png").symlink_to(folder / "elsewhere.png")
    (folder / "train/dog/deep/loop").symlink_to(folder / "train/dog")
    (folder / "train/dog/._1.png").write_bytes(b"")
    (folder / "test/dog/a.PNG").unlink()
    task = image_folder(folder, {})

    assert np.bincount(task.targets_N).tolist() == [2, 4]
    assert [note.replace(str(folder), "") for note in task.notes] == [
        "/test holds no image of class dog",
        "/val (1 images) is not read: the splits for rewards and selection are taken from train",
        "1 images lie deeper than in a class folder: their class is the first folder below train",
        ": not read, being no images: 1 .txt, 2 hidden",
    ]


def _cut(folder: Path) -> None:
    file = folder / "train" / "dog" / "1.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(256, size=(64, 64, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:5000])


def shape(path: Path, colour: tuple[int, int, int]) -> Path:
    """An image of one colour whose left half is transparent."""
    image = Image.new("RGBA", (6, 4), (*colour, 255))
    image.paste((*colour, 0), (0, 0, 3, 4))
    image.save(path)
    return path


def _sixteen_bits(folder: Path) -> None:
    """A colour PNG of 16 bits, which Pillow cannot write and opens as 8 bits."""
    rows = b"".join(b"\0" + bytes(6 * 6) for _ in range(4))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    (folder / "train/dog/1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _moving(folder: Path) -> None:
    """Two frames."""
    frames = [Image.new("L", (6, 4), level) for level in (0, 255)]
    frames[0].save(folder / "train/dog/1.gif", save_all=True, append_images=frames[1:])


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no image at all": (lambda f: (f / "train/dog/1.png").write_bytes(b"hello"), r"train/dog/1\.png is no sound image \("),
    "cut short": (_cut, r"train/dog/1\.png is no sound image"),
    "empty file": (lambda f: (f / "test/cat/a.PNG").write_bytes(b""), r"test/cat/a\.PNG is no sound image"),
    "another size": (
        lambda f: drawn(f / "train/dog/1.png", 0, (9, 9), "L"),
        r"train/dog/1\.png is 9x9 px, the first image 4x6 px; set .*size",
    ),
    "sixteen bits": (
        lambda f: drawn(f / "train/dog/1.png", 7, mode="I;16"),
        r"train/dog/1\.png has 16 bits per channel, which would be cut",
    ),
    "sixteen bits of colour": (_sixteen_bits, r"train/dog/1\.png has 16 bits per channel, which would be cut; convert it to 8 bits"),
    "moving": (_moving, r"train/dog/1\.gif has 2 frames; only still images are read: keep one frame, or remove it"),
    "floats": (
        lambda f: drawn(f / "train/dog/1.tif", 0, mode="F"),
        r"train/dog/1\.tif has 32 bits per channel, which would be cut",
    ),
    "colour space": (lambda f: drawn(f / "train/dog/1.tif", (1, 2, 3), mode="LAB"), r"train/dog/1\.tif has the colour mode LAB"),
    "shape in transparency alone": (
        lambda f: shape(f / "train/dog/1.png", (255, 255, 255)),
        r"train/dog/1\.png: its shape is in its transparency alone and vanishes on white; set task\.data\.arguments\.background to black",
    ),
    "kind that is not read": (
        lambda f: (f / "train/dog/1.heic").write_bytes(b""),
        r"train/dog/1\.heic: files of this kind are not read \(1 \.heic in .*train/dog\); convert them to PNG or JPEG",
    ),
    "images in no class": (lambda f: drawn(f / "train/1.png", 0, mode="L"), r"train/1\.png lies in no class folder \(1 such images\)"),
    "class in two spellings": (lambda f: drawn(f / "train/Dog/1.png", 0, mode="L"), r"train/dog: the class is called like Dog"),
    "no test but val": (
        lambda f: (f / "test").rename(f / "val"),
        r"has no test, but val holds 2 images: set task\.data\.arguments\.testFolder to val .* or testFraction",
    ),
    "no train but its like": (lambda f: (f / "train").rename(f / "Train"), r"train is missing; .*holds the folders Train, test"),
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


def test_more_than_fits_into_memory_is_read_per_batch_or_refused_before_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit images stay files; a search that wants them in memory hears how much it would be and what to do."""
    assert isinstance(image_folder(folder, {}).inputs, np.ndarray)
    monkeypatch.setattr("autohas_trainer.data.images.reading._MAX_GIB", 0)
    assert not isinstance(image_folder(folder, {}).inputs, np.ndarray)
    with pytest.raises(
        DataError,
        match=r"6 images of 4x6 px are 0\.0 GiB as float32, more than the 0 that are held in memory;"
        r" set task\.data\.loading to Files, or a smaller task\.data\.arguments\.size$",
    ):
        image_folder(folder, {}, ImageReading(loading="Resident"))


def test_a_search_on_images_learns(tmp_path: Path) -> None:
    """A search learns to separate bright from dark noise."""
    rng = np.random.default_rng(1)
    for label, low in (("bright", 120), ("dark", 0)):
        for number in range(420):
            path = tmp_path / "data" / "train" / label / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(low, low + 136, size=(5, 5), dtype=np.uint8)).save(path)
    data = {"name": "image-folder", "path": str(tmp_path / "data"), "arguments": {"grayscale": "true", "size": "4"}}
    document = with_change(small_search(), "spec.task.data", data)

    assert search(document, tmp_path / "out", MemorySink()).result.test_score > 0.9
