"""Images that are read per batch: the same bits by any number of processes, after a resume, in lockstep, and as from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autohas_api.spec.augmentation import Augmentation, RandAugment, RandomResizedCrop
from autohas_trainer.data import ImageReading, Splits, TrainBatch, load
from autohas_trainer.errors import DataError

CPU = torch.device("cpu")
CROPPED = Augmentation(random_resized_crop=RandomResizedCrop(), horizontal_flip="0.5", rand_augment=RandAugment())
PER_CLASS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 40 JPEGs of noise, 12 to 31 px wide and 10 to 25 px high."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir()
        for number in range(PER_CLASS):
            pixels = rng.integers(0, 256, (int(rng.integers(10, 26)), int(rng.integers(12, 32)), 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number:02}.jpg")
    return root


def opened(
    folder: Path, workers: int = 0, augmentation: Augmentation | None = None, loading: str | None = "Files", **arguments: str
) -> Splits:
    """The splits of the folder at 8x8 px, read per batch."""
    return load(
        "image-folder",
        str(folder),
        {"size": "8", **arguments},
        reward=0.1,
        selection=0.1,
        stratify=True,
        seed=1,
        device=CPU,
        reading=ImageReading(loading=loading, workers=workers, augmentation=augmentation),
    )


def digest(batches: Iterator[TrainBatch]) -> str:
    """Digest of inputs and targets."""
    content = hashlib.sha256()
    for batch in batches:
        content.update(batch.inputs.numpy().tobytes() + batch.targets_B.numpy().tobytes())
    return content.hexdigest()


def train(splits: Splits, steps: range) -> Iterator[TrainBatch]:
    """A lane's batches of 20: three steps and a bit are an epoch; reward and selection are read in between."""
    for step in steps:
        yield splits.train_batch(step, 20, seed=1)
        splits.reward_batch(step, 4, seed=1)
        if step == 2:
            assert sum(len(batch.targets_B) for batch in splits.selection()) == 6


def test_workers_and_a_resume_change_no_bit(folder: Path) -> None:
    """Read in this process, by one and by two others, and from step 4 on in a new search: the same digests of augmented batches."""
    digests = {}
    for workers in (0, 1, 2):
        with closing(opened(folder, workers, CROPPED)) as splits:
            digests[workers] = digest(train(splits, range(7))), digest(train(splits, range(4, 7)))
    assert digests[0] == digests[1] == digests[2]
    assert digest(train(opened(folder, 0, CROPPED), range(4, 7))) == digests[0][1]


def test_augmentation_is_keyed_by_replica_step_and_position(folder: Path) -> None:
    """The same example looks different at another step and in another replica; the global generator stays where it was."""
    splits = opened(folder, 0, CROPPED)
    state = torch.get_rng_state()
    every = [splits.train_batch(step, splits.num_train, seed=1, replica=replica).inputs for step, replica in ((0, 0), (1, 0), (0, 1))]
    assert torch.equal(torch.get_rng_state(), state)
    assert len({image.numpy().tobytes() for inputs in every for image in inputs}) == 3 * splits.num_train
    again = splits.train_batch(0, splits.num_train, seed=1).inputs
    assert torch.equal(every[0], again)
    plain = torch.cat([batch.inputs for batch in splits.selection()])
    assert torch.equal(plain, torch.cat([batch.inputs for batch in splits.selection()]))  # what is evaluated is not augmented


def test_lanes_in_lockstep_decode_a_batch_once(folder: Path, tmp_path: Path) -> None:
    """The second lane at a step gets the first one's batch, even where the files are gone; a batch of other rows does not."""
    for file in folder.rglob("*.jpg"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    splits = opened(tmp_path, 0, CROPPED)
    first = splits.train_batch(0, 20, seed=1)
    for file in tmp_path.rglob("*.jpg"):
        file.unlink()
    second = splits.train_batch(0, 20, seed=1)
    assert torch.equal(first.inputs, second.inputs)
    with pytest.raises(DataError, match=r"jpg has vanished since the folder was listed; put it back, or start a new search without it"):
        splits.train_batch(1, 20, seed=1)


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_files_and_memory_give_the_same_bits(folder: Path, fit: str) -> None:
    """Up to 4,096 training images the moments are those of all, so the place of the images changes nothing."""
    files, memory = opened(folder, fit=fit), opened(folder, loading="Resident", fit=fit)
    assert digest(train(files, range(4))) == digest(train(memory, range(4)))
    assert [b.inputs.tolist() for b in files.test()] == [b.inputs.tolist() for b in memory.test()]
    assert files.preprocessing == memory.preprocessing
    assert files.preprocessing["data"].get("fit", "stretch") == fit


def test_augmented_images_in_memory_are_those_of_files_of_the_same_size(tmp_path: Path) -> None:
    """8x8 px as PNG: decoded per batch or once, augmentation sees the same pixels."""
    rng = np.random.default_rng(1)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(20):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / label / f"{number}.png")
    files, memory = (opened(tmp_path, 0, CROPPED, loading) for loading in ("Files", "Resident"))
    batches = [splits.train_batch(1, 16, seed=1).inputs for splits in (files, memory)]
    assert torch.equal(*batches)


def test_centre_crop_keeps_the_aspect(tmp_path: Path) -> None:
    """A black image twice as wide as high with a white middle: cropped it is white, stretched it has black sides."""
    for label, level in (("a", 255), ("b", 128)):
        (tmp_path / label).mkdir()
        for number in range(12):
            pixels = np.zeros((8, 16), dtype=np.uint8)
            pixels[:, 4:12] = level
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    cropped, stretched = (opened(tmp_path, fit=fit, grayscale="true").train_batch(0, 8, seed=0).inputs for fit in ("crop", "stretch"))
    assert all(len(image.unique()) == 1 for image in cropped)
    assert all(image[0, 4, 0] < image[0, 4, 4] for image in stretched)


def test_small_and_cut_images_are_noted(folder: Path) -> None:
    """The training images that are measured (64 less the splits) say what was converted; at 24 px most are smaller."""
    (cut, small) = [note for note in opened(folder, size="24", fit="crop").notes if "measured" in note]
    assert "training images that were measured have another aspect than 24x24 px: cut to it around their centre" in cut
    assert small.endswith("training images that were measured are smaller than 24x24 px: enlarged")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_undecodable_image_in_the_middle_of_an_epoch_is_named(folder: Path, tmp_path: Path, workers: int) -> None:
    """A file that is cut off after the search began is named when its batch comes, not before."""
    for file in folder.rglob("*.jpg"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    with closing(opened(tmp_path, workers, CROPPED)) as splits:
        splits.train_batch(0, 8, seed=1)
        for file in tmp_path.rglob("*.jpg"):
            file.write_bytes(file.read_bytes()[:300])
        with pytest.raises(DataError, match=rf"{tmp_path}/.*\.jpg is no sound image \(.*\); replace or remove it"):
            digest(splits.train_batch(step, 8, seed=1) for step in range(1, 9))


def test_idx_images_are_augmented_in_memory(tmp_path: Path) -> None:
    """Bytes of an IDX file: half of the flipped images differ from those that are evaluated, and a flip of them is equal."""
    rng = np.random.default_rng(2)
    for prefix, number in (("train", 200), ("t10k", 20)):
        images = rng.integers(0, 256, (number, 5, 6), dtype=np.uint8)
        header = b"\0\0\x08\x03" + b"".join(side.to_bytes(4, "big") for side in images.shape)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(number) % 2).astype(np.uint8)
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + number.to_bytes(4, "big") + labels.tobytes())

    def batch(augmentation: Augmentation | None) -> torch.Tensor:
        reading = ImageReading(augmentation=augmentation)
        made = load("idx", str(tmp_path), {}, reward=0.1, selection=0.1, stratify=True, seed=1, device=CPU, reading=reading)
        return made.train_batch(0, 128, seed=1).inputs

    plain, flipped = batch(None), batch(Augmentation(horizontal_flip="0.5"))
    is_equal = (plain == flipped).flatten(1).all(dim=1)
    is_mirrored = (plain.flip(-1) == flipped).flatten(1).all(dim=1)
    assert bool((is_equal ^ is_mirrored).all())
    assert 40 < int(is_mirrored.sum()) < 88
    assert torch.equal(batch(Augmentation(horizontal_flip="1")), plain.flip(-1))


def test_workers_that_have_nothing_to_do_are_noted(folder: Path) -> None:
    """Images in memory that are not augmented need no process."""
    assert "task.data.workers: 2 is not used: the images are in memory and are not augmented" in opened(folder, 2, None, None).notes
