"""Columns of encoded images in Parquet and Arrow files: the bits of the same images as files, a sentence with the row for every defect."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from autohas_api.spec.augmentation import Augmentation, RandomResizedCrop
from autohas_api.testing.rejections import with_change
from autohas_trainer.data import ImageReading, Splits, TrainBatch, load
from autohas_trainer.data.arrow import image_column
from autohas_trainer.data.arrow.image_parquet import image_parquet
from autohas_trainer.errors import ConfigurationError, DataError
from engine_fixtures import MemorySink, search, small_search

CROPPED = Augmentation(random_resized_crop=RandomResizedCrop(), horizontal_flip="0.5")
PER_CLASS = 40
NAMES = ("cat", "dog")


def encoded(pixels: np.ndarray[Any, Any], kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format=kind)
    return content.getvalue()


def noise(number: int, seed: int, side: int = 0) -> list[bytes]:
    """JPEGs and PNGs of noise, 12 to 31 px wide and 10 to 25 px high, or squares."""
    rng = np.random.default_rng(seed)
    sizes = [(side, side) if side else (int(rng.integers(10, 26)), int(rng.integers(12, 32))) for _ in range(number)]
    kinds = ["PNG" if row % 5 == 0 else "JPEG" for row in range(number)]
    return [encoded(rng.integers(0, 256, (*size, 3), dtype=np.uint8), kind) for size, kind in zip(sizes, kinds, strict=True)]


def table(images: list[bytes], form: str = "struct") -> pa.Table:
    """The first half are cats, the second half dogs, as numbers that the metadata of datasets name."""
    column = (
        pa.array([{"bytes": image, "path": f"{row}.jpg"} for row, image in enumerate(images)]) if form == "struct" else pa.array(images)
    )
    features = {"image": {"_type": "Image"}, "label": {"names": list(NAMES), "_type": "ClassLabel"}}
    made = pa.table({"image": column, "label": [row * 2 // len(images) for row in range(len(images))], "id": range(len(images))})
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_stream(part: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, part.schema) as writer:
        writer.write_table(part, max_chunksize=7)


def write_parquet(part: pa.Table, path: Path) -> None:
    pq.write_table(part, path, row_group_size=7)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same images as files, in Parquet files of two forms, and in Arrow files; train in two shards of row groups of 7, and a test."""
    root = tmp_path_factory.mktemp("images")
    train, test = noise(2 * PER_CLASS, 0), noise(10, 1)
    for part, images in (("train", train), ("test", test)):
        for row, image in enumerate(images):
            path = root / "files" / part / NAMES[row * 2 // len(images)] / f"{row:02}.{'png' if row % 5 == 0 else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
    for name, form, write, suffix in (
        ("struct", "struct", write_parquet, "parquet"),
        ("bytes", "bytes", write_parquet, "parquet"),
        ("arrow", "struct", write_stream, "arrow"),
    ):
        (root / name).mkdir()
        whole = table(train, form)
        write(whole.slice(0, 33), root / name / f"train-00000-of-00002.{suffix}")
        write(whole.slice(33), root / name / f"train-00001-of-00002.{suffix}")
        write(table(test, form), root / name / f"test.{suffix}")
    return {path.name: path for path in root.iterdir()}


def opened(folder: Path, workers: int = 0, augmentation: Augmentation | None = None, loading: str | None = "Files", **more: str) -> Splits:
    """The splits at 8x8 px."""
    arguments = {"size": "8", **({} if folder.name == "files" else {"target": "label"}), **more}
    return load(
        "image-folder" if folder.name == "files" else "image-parquet",
        str(folder),
        {name: value for name, value in arguments.items() if value},
        reward=0.1,
        selection=0.1,
        stratify=True,
        seed=1,
        device=torch.device("cpu"),
        reading=ImageReading(loading=loading, workers=workers, augmentation=augmentation),
    )


def digest(batches: Iterator[TrainBatch]) -> str:
    content = hashlib.sha256()
    for batch in batches:
        content.update(batch.inputs.numpy().tobytes() + batch.targets_B.numpy().tobytes())
    return content.hexdigest()


def read_all(splits: Splits) -> None:
    """Every image once."""
    for step in range(-(-splits.num_train // 8)):
        splits.train_batch(step, 8, seed=1)
    for batches in (splits.reward(4, 1), splits.selection(), splits.test()):
        for _ in batches:
            pass


def train(splits: Splits, steps: range) -> Iterator[TrainBatch]:
    """Batches of 20, of which three and a bit are an epoch; the rewards are read in between."""
    for step in steps:
        yield splits.train_batch(step, 20, seed=1)
        splits.reward_batch(step, 4, seed=1)


@pytest.mark.parametrize("loading", ["Files", "Resident"])
@pytest.mark.parametrize("form", ["struct", "bytes", "arrow"])
def test_a_column_gives_the_bits_of_the_same_files(form: str, loading: str, folders: dict[str, Path]) -> None:
    """Train, test and the names of the classes; the record also has the column."""
    files, column = opened(folders["files"], loading=loading), opened(folders[form], loading=loading)
    assert digest(train(files, range(4))) == digest(train(column, range(4)))
    assert [b.inputs.tolist() for b in files.test()] == [b.inputs.tolist() for b in column.test()]
    record = column.preprocessing["data"].pop("column")
    assert (record, column.preprocessing) == ("image", files.preprocessing)
    assert column.summary[2:] == ("image: image", "label: class of the images", "not read: id")


def test_workers_and_a_resume_change_no_bit(folders: dict[str, Path]) -> None:
    """Augmented batches of Parquet and of Arrow files, by this process, by one and by two others, and from step 2 on in a new search."""
    digests = {}
    for form, workers in (("struct", 0), ("struct", 1), ("struct", 2), ("arrow", 1)):
        with closing(opened(folders[form], workers, CROPPED)) as splits:
            digests[form, workers] = digest(train(splits, range(5))), digest(train(splits, range(2, 5)))
    assert len(set(digests.values())) == 1
    assert digest(train(opened(folders["struct"], 0, CROPPED), range(2, 5))) == digests["struct", 0][1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch of 1 MiB of images: what is held after it is the limit of 128 KiB, where one row group of 5 images takes 80 KiB."""
    images = noise(80, 3, side=120)
    assert sum(map(len, images)) > 1 << 20
    pq.write_table(table(images), tmp_path / "train.parquet", row_group_size=5)
    monkeypatch.setattr(image_column, "_KEPT", 128 << 10)
    before = pa.total_allocated_bytes()
    with closing(opened(tmp_path)) as splits:
        digest(splits.train_batch(step, 8, seed=1) for step in range(6))
    assert pa.total_allocated_bytes() - before < 256 << 10


@pytest.mark.parametrize("workers", [0, 1])
def test_an_undecodable_image_in_the_middle_of_an_epoch_is_named(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG that ends early, behind the images that are measured: file, row and row group."""
    images = noise(60, 2)
    images[36] = images[36][:300]
    write_parquet(table(images), tmp_path / "train.parquet")
    monkeypatch.setattr("autohas_trainer.data.images.per_batch._MEASURED", 2)
    with closing(opened(tmp_path, workers)) as splits:
        splits.train_batch(0, 4, seed=1)
        with pytest.raises(DataError, match=r"train\.parquet, row 37 \(row group 5\) is no sound image \(.*\); replace or remove it"):
            read_all(splits)


def _with_cell(row: int, cell: Any) -> Callable[[list[bytes]], pa.Table]:
    def change(images: list[bytes]) -> pa.Table:
        cells = [{"bytes": image, "path": None} for image in images]
        return table(images).set_column(0, "image", pa.array([*cells[:row], cell, *cells[row + 1 :]]))

    return change


def _with_labels(labels: list[Any]) -> Callable[[list[bytes]], pa.Table]:
    return lambda images: table(images).set_column(1, "label", pa.array([*labels, *[row % 2 for row in range(len(labels), len(images))]]))


DEFECTS: dict[str, tuple[Callable[[list[bytes]], pa.Table], dict[str, str], str]] = {
    "no image": (_with_cell(8, None), {}, r"t\.parquet, row 9 \(row group 1\): column image has no image; remove the row"),
    "a struct without bytes and path": (
        _with_cell(8, {"bytes": None, "path": None}),
        {},
        r"row 9 \(row group 1\): column image has no image",
    ),
    "a path that leads nowhere": (
        _with_cell(8, {"bytes": None, "path": "gone.jpg"}),
        {},
        r"row 9 \(row group 1\): column image has no bytes but the path 'gone\.jpg', and .*gone\.jpg is no file; put it there, or save",
    ),
    "bytes that are no image": (
        _with_cell(8, {"bytes": b"hello", "path": None}),
        {},
        r"row 9 \(row group 1\) is no sound image \(its bytes are none of PNG, JPEG, WEBP, BMP, GIF, TIFF\)",
    ),
    "sizes that differ": (
        table,
        {"size": ""},
        r"row \d+ \(row group \d\) is \d+x\d+ px, the first image \d+x\d+ px; set task\.data\.arguments\.size",
    ),
    "an absent column": (
        table,
        {"image": "photo"},
        r"has no column 'photo' \(task\.data\.arguments\.image\); its columns are image, label",
    ),
    "a column of numbers": (
        table,
        {"image": "id"},
        r"column id \(task\.data\.arguments\.image\) is of type int64; encoded images are bytes",
    ),
    "two columns of bytes": (
        lambda images: table(images).append_column("mask", pa.array(images)),
        {},
        r"has 2 columns of bytes \(image, mask\); its columns are .*: name that of the images in task\.data\.arguments\.image",
    ),
    "no column of bytes": (
        lambda images: table(images).drop_columns(["image"]),
        {},
        r"has no column of encoded images; its columns are label, id: set task\.data\.name to parquet for a table",
    ),
    "an absent target": (table, {"target": "class"}, r"has no column 'class' \(task\.data\.arguments\.target\); its columns are image"),
    "no class": (_with_labels([0, None]), {}, r"t\.parquet, row 2: column label has no value"),
    "a row without a class": (
        _with_labels([0, -1]),
        {},
        r"row 2: class -1 of column label, which says that the row has no class; .* 0 to 1",
    ),
    "a class without a name": (_with_labels([0, 2]), {}, r"row 2: class 2 of column label; the file names the classes 0 to 1"),
}


@pytest.mark.parametrize("loading", ["Files", "Resident"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_names_its_row_or_column(defect: str, loading: str, tmp_path: Path) -> None:
    """Columns and classes before the first image, images when they are read, wherever they lie between steps."""
    change, arguments, words = DEFECTS[defect]
    write_parquet(change(noise(20, 4)), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=words):
        read_all(opened(tmp_path / "t.parquet", 0, None, loading, **arguments))


def test_a_path_in_place_of_bytes_is_read_from_the_folder_of_the_table(tmp_path: Path) -> None:
    """As datasets writes images that are not embedded; the pixels are those of the bytes."""
    images = noise(20, 5)
    write_parquet(table(images), tmp_path / "a.parquet")
    for row, image in enumerate(images):
        (tmp_path / f"{row}.img").write_bytes(image)
    paths = pa.array(
        [{"bytes": None, "path": f"{row}.img"} for row in range(20)], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    write_parquet(table(images).set_column(0, "image", paths), tmp_path / "b.parquet")
    first, second = (image_parquet(tmp_path / f"{name}.parquet", {"target": "label", "size": "8"}) for name in "ab")
    assert np.array_equal(np.asarray(first.inputs), np.asarray(second.inputs))


def test_row_groups_that_a_batch_would_read_whole_are_refused(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where images are read per batch: in memory, each group is read once. Arrow files have none."""
    monkeypatch.setattr(image_column, "_LARGEST_GROUP", 1 << 10)
    opened(folders["struct"], loading="Resident")
    opened(folders["arrow"])
    with pytest.raises(DataError, match=r"train-00000-of-00002\.parquet: row group 0 holds \d+ MiB .* \(row_group_size=10\), or as Arrow"):
        opened(folders["struct"])


def test_images_smaller_than_the_crop_are_enlarged_with_a_note(folders: dict[str, Path]) -> None:
    """At 24 px most are smaller; the crop is resized to 24 px too."""
    splits = opened(folders["struct"], 0, CROPPED, None, size="24")
    assert splits.train_batch(0, 8, seed=1).inputs.shape == (8, 3, 24, 24)
    assert any("training images that were measured are smaller than 24x24 px: enlarged" in note for note in splits.notes)


def test_words_are_classes_and_groups_stay_together(tmp_path: Path) -> None:
    """Without metadata of datasets the classes are the words; ten patients of four images, whole patients are the test."""
    images = pa.table({"scan": noise(40, 6), "kind": [f"k{row % 2}" for row in range(40)], "patient": [row // 4 for row in range(40)]})
    write_parquet(images, tmp_path / "t.parquet")
    raw = image_parquet(tmp_path / "t.parquet", {"target": "kind", "size": "8", "group": "patient"})
    assert raw.classes == ("k0", "k1")
    assert (len(np.unique(raw.sources_N)), len(raw.test_targets_N)) == (8, 8)
    assert {raw.place(row) for row in range(32)} <= {f"{tmp_path / 't.parquet'}, row {n + 1} (row group {n // 7})" for n in range(40)}


def test_a_test_of_other_classes_is_refused(tmp_path: Path) -> None:
    """By the names of the metadata."""
    write_parquet(table(noise(20, 7)), tmp_path / "train.parquet")
    other = table(noise(4, 8))
    metadata = {"huggingface": other.schema.metadata[b"huggingface"].replace(b"dog", b"cow")}
    write_parquet(other.replace_schema_metadata(metadata), tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"test\.parquet: column label names other classes than the training files, or in another order"):
        image_parquet(tmp_path, {"target": "label", "size": "8"})


@pytest.mark.parametrize("names", [["dog", "cat"], None], ids=["another-order", "none"])
def test_shards_that_name_the_classes_differently_are_refused(names: list[str] | None, tmp_path: Path) -> None:
    """A number would be a cat in one shard and a dog in the other."""
    shard, features = table(noise(20, 7)), {"label": {"names": names, "_type": "ClassLabel"}}
    other = shard.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    write_parquet(shard, tmp_path / "train-0.parquet")
    write_parquet(other, tmp_path / "train-1.parquet")
    words = f"names the classes {'dog, cat' if names else 'not at all'}, and train-0.parquet names them cat, dog"
    with pytest.raises(DataError, match=rf"train-1\.parquet: column label {re.escape(words)}"):
        image_parquet(tmp_path, {"target": "label", "size": "8"})


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    """Predictions are names, so that the two could not be told apart."""
    features = {"label": {"names": ["cat", "dog", "cat"], "_type": "ClassLabel"}}
    write_parquet(
        table(noise(20, 7)).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), tmp_path / "t.parquet"
    )
    with pytest.raises(DataError, match=r"t\.parquet: column label names both class 0 and class 2 'cat', and predictions are names"):
        image_parquet(tmp_path / "t.parquet", {"target": "label", "size": "8"})


def test_a_training_file_is_no_test(tmp_path: Path) -> None:
    """Every source of files: the file itself, one of the shards, and a link that is called test."""
    write_parquet(table(noise(20, 7)), tmp_path / "train-0.parquet")
    write_parquet(table(noise(20, 8)), tmp_path / "train-1.parquet")
    words = r" \(task\.data\.arguments\.testFile\) is training data too"
    for path, name in ((tmp_path / "train-0.parquet", "train-0"), (tmp_path, "train-1")):
        with pytest.raises(DataError, match=rf"{name}\.parquet{words}"):
            image_parquet(path, {"target": "label", "size": "8", "testFile": f"{name}.parquet"})
    (tmp_path / "test.parquet").symlink_to(tmp_path / "train-1.parquet")
    with pytest.raises(DataError, match=r"test\.parquet is training data too"):
        image_parquet(tmp_path, {"target": "label", "size": "8"})


def test_unknown_and_missing_arguments_are_refused(tmp_path: Path) -> None:
    """Those of tables are not taken."""
    with pytest.raises(ConfigurationError, match=r"arguments\.numeric is unknown to image-parquet; it takes image, target"):
        image_parquet(tmp_path, {"target": "label", "numeric": "id"})
    with pytest.raises(ConfigurationError, match=r"arguments\.target is missing: it names the column of the classes"):
        image_parquet(tmp_path, {})


def test_a_search_on_a_column_of_images_learns(tmp_path: Path) -> None:
    """It separates bright from dark noise."""
    rng = np.random.default_rng(1)
    images = [encoded(rng.integers(low, low + 136, size=(5, 5), dtype=np.uint8), "PNG") for low in (120, 0) for _ in range(420)]
    pq.write_table(table(images), tmp_path / "train.parquet", row_group_size=100)
    data = {"name": "image-parquet", "path": str(tmp_path), "arguments": {"target": "label", "grayscale": "true", "size": "4"}}
    document = with_change(small_search(), "spec.task.data", data)

    assert search(document, tmp_path / "out", MemorySink()).result.test_score > 0.9
