"""`task.data.trainTransform`: custom code changes each training image, keyed by example, in the processes that read."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from autohas_api.spec.augmentation import Augmentation
from autohas_api.testing.rejections import with_change
from autohas_trainer.cli.app import app
from autohas_trainer.data import ImageReading, Splits, load
from autohas_trainer.errors import ConfigurationError
from engine_fixtures import MemorySink, search, small_search

STRENGTH = {"name": "strength", "categorical": {"choices": ["0", "9"]}, "default": "0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 40 grey images of 4x4 px, one bright and one dark."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label, low in (("bright", 120), ("dark", 0)):
        (root / label).mkdir()
        for number in range(210):
            pixels = rng.integers(low, low + 100, (4, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number:03}.png")
    return root


def opened(
    folder: Path, transform: str | None, workers: int = 0, loading: str = "Files", augmentation: Augmentation | None = None
) -> Splits:
    reading = ImageReading(
        loading=loading, workers=workers, augmentation=augmentation, transform=transform and f"transform_fixtures:{transform}"
    )
    return load(
        "image-folder",
        str(folder),
        {"size": "4", "grayscale": "true"},
        reward=0.1,
        selection=0.1,
        stratify=True,
        seed=1,
        device=torch.device("cpu"),
        reading=reading,
    )


def searched(folder: Path, transform: str, *hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """A small search whose images are changed by a transform."""
    data = {
        "name": "image-folder",
        "path": str(folder),
        "arguments": {"size": "4", "grayscale": "true"},
        "trainTransform": f"transform_fixtures:{transform}",
    }
    document = with_change(with_change(small_search(steps=18), "spec.task.data", data), "spec.task.recipe.batchSize", 16)
    document = with_change(document, "spec.task.splits", {"reward": "0.2", "selection": "0.1"})
    return with_change(document, "spec.searchSpace", {"hyperparameters": list(hyperparameters)})


@pytest.mark.parametrize(("loading", "flip", "most"), [("Files", "0.5", 2), ("Resident", None, 1)])
def test_workers_and_the_order_of_reading_change_no_bit(folder: Path, loading: str, flip: str | None, most: int) -> None:
    """By 0, 1 and 2 processes, after flips, forwards and from the middle on."""
    digests, augmentation = set(), None if flip is None else Augmentation(horizontal_flip=flip)
    for workers, steps in ((0, range(4)), *((workers, range(4)) for workers in range(1, most + 1)), (0, (3, 0, 2, 1))):
        with closing(opened(folder, "shifted", workers, loading, augmentation)) as splits:
            batches = {step: splits.train_batch(step, 20, 1, values=(("strength", "9"),)).inputs for step in steps}
            digests.add(hashlib.sha256(b"".join(batches[step].numpy().tobytes() for step in range(4))).hexdigest())
    assert len(digests) == 1


def test_values_change_what_trains_and_nothing_else(folder: Path) -> None:
    """Strength 0 adds nothing; another strength another image; selection and test are as without a transform."""
    splits, plain = opened(folder, "shifted"), opened(folder, None)
    expected = plain.train_batch(0, 20, 1).inputs

    assert torch.equal(splits.train_batch(0, 20, 1, values=(("strength", "0"),)).inputs, expected)
    assert torch.equal(splits.train_batch(0, 20, 1).inputs, expected)
    moved = splits.train_batch(0, 20, 1, values=(("strength", "9"),)).inputs - expected
    assert (moved.amax(dim=(1, 2, 3)) - moved.amin(dim=(1, 2, 3))).max() < 1e-4  # one number per image, the same for its pixels
    assert len(moved[:, 0, 0, 0].unique()) > 5
    for one, other in zip(splits.selection(), plain.selection(), strict=True):
        assert torch.equal(one.inputs, other.inputs)
    for tested, expected_test in zip(splits.test(), plain.test(), strict=True):
        assert torch.equal(tested.inputs, expected_test.inputs)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (
            "failing",
            (
                r"task\.data\.trainTransform transform_fixtures:failing: changing the example /.*\.png"
                r" with strength=2 raised ValueError: too strong$"
            ),
        ),
        (
            "halved",
            (
                r"changing the example /.*\.png with strength=2 gave an image of mode L and 2x2 px;"
                r" it must give a Pillow image of mode L and 4x4 px, or its pixels as an array of uint8$"
            ),
        ),
        ("positional", r"takes \(image, rng\); it is called with example, rng, values by name and cannot take example, values"),
        ("absent", r"module transform_fixtures has no absent; it has "),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_what_breaks_the_contract_is_named(folder: Path, transform: str, words: str, workers: int) -> None:
    """With the example and the values, from another process too."""
    with pytest.raises(ConfigurationError, match=words), closing(opened(folder, transform, workers)) as splits:
        splits.train_batch(0, 20, 1, values=(("strength", "2"),))


def test_an_example_in_memory_is_named_by_its_row(folder: Path) -> None:
    """Images that were decoded once have no file any more."""
    with pytest.raises(
        ConfigurationError, match=r"changing the example in row \d+ of the training images with strength=2 raised ValueError"
    ):
        opened(folder, "failing", loading="Resident").train_batch(0, 20, 1, values=(("strength", "2"),))


def test_the_strength_is_searched_and_an_exception_is_the_candidates(folder: Path, tmp_path: Path) -> None:
    """The transform takes strength 0 and fails with 9: those candidates leave, and the search ends with the default's strength."""
    sink = MemorySink()
    outcome = search(searched(folder, "failing", STRENGTH), tmp_path, sink)

    assert outcome.configuration["strength"] == "0"
    failures = [notice.message for notice in sink.other_notices if "too strong" in notice.message]
    assert failures
    assert "with strength=9 raised ValueError: too strong" in failures[0]
    config = yaml.safe_load((tmp_path / "config.yaml").read_text()) if (tmp_path / "config.yaml").is_file() else None
    assert config is None or config["hyperparameters"][0]["default"] == "0"


def test_a_transform_that_fails_with_the_default_ends_the_search(folder: Path, tmp_path: Path) -> None:
    """Before the first step, as an error of the configuration."""
    with pytest.raises(ConfigurationError, match=r"with strength=9 raised ValueError: too strong"):
        search(searched(folder, "failing", {**STRENGTH, "default": "9"}), tmp_path, MemorySink())


@pytest.mark.parametrize(
    ("transform", "code", "words"),
    [
        ("shifted", 0, "kept    each image keeps its size, and is drawn from its generator"),
        (
            "unseeded",
            78,
            "it gave another image with an equal rng and values strength=0; draw from rng only, or by torch's global generator",
        ),
        ("failing", 78, "with strength=9 raised ValueError: too strong"),
    ],
)
def test_conformance_tries_it_with_searched_values(folder: Path, tmp_path: Path, transform: str, code: int, words: str) -> None:
    """Unseeded draws, and values for which it fails, are found before a search."""
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(searched(folder, transform, STRENGTH)))

    printed = CliRunner().invoke(app, ["conformance", str(tmp_path / "search.yaml")])

    assert printed.exit_code == code, printed.output
    assert words in " ".join(printed.output.split("\n"))
