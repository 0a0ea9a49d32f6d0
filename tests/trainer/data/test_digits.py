"""The two variants of `digits`."""

import hashlib

import numpy as np
import pytest
import torch

from autohas_trainer.data import RawData, Splits, load
from autohas_trainer.data.images.digits import digits
from autohas_trainer.errors import ConfigurationError
from data_fixtures import test_numbers, train_numbers

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shifted() -> RawData:
    """The harder variant, made once."""
    return digits({"variant": "shifted"})


def made(variant: str, seed: int) -> Splits:
    """The splits of a variant."""
    arguments = {"variant": variant}
    return load("digits", None, arguments, reward=0.1, selection=0.1, stratify=True, seed=seed, device=CPU)


def test_original_keeps_a_quarter_for_test() -> None:
    """1,797 images fall into 1,347 and 450, each class a quarter, no image in both."""
    task = digits({})
    assert task.inputs.shape == (1347, 1, 8, 8)
    assert task.test_inputs.shape == (450, 1, 8, 8)
    shares = np.bincount(task.test_targets_N) / np.bincount(np.concatenate([task.targets_N, task.test_targets_N]))
    assert shares == pytest.approx(np.full(10, 0.25), abs=0.003)
    images = {image.tobytes() for image in train_numbers(task)}
    assert not images & {image.tobytes() for image in test_numbers(task)}


def test_shifted_has_the_promised_shape(shifted: RawData) -> None:
    """5,000 and 4,000 images of 20x20 px with every class near a tenth."""
    assert shifted.inputs.shape == (5000, 1, 20, 20)
    assert shifted.test_inputs.shape == (4000, 1, 20, 20)
    assert shifted.inputs.dtype == np.float32
    for labels in (shifted.targets_N, shifted.test_targets_N):
        assert (np.abs(np.bincount(labels) / len(labels) - 0.1) < 0.015).all()


def test_shifted_is_the_same_every_time(shifted: RawData) -> None:
    """Made again it is equal bit for bit, test images included."""
    again = digits({"variant": "shifted"})
    assert np.array_equal(train_numbers(again), train_numbers(shifted))
    assert np.array_equal(test_numbers(again), test_numbers(shifted))


def test_shifted_images_of_one_original_differ(shifted: RawData) -> None:
    """Each original makes several scenes, all different."""
    assert np.bincount(shifted.sources_N).max() in {4, 5}
    assert len({hashlib.sha256(image.tobytes()).digest() for image in train_numbers(shifted)}) == 5000


def test_shifted_leaves_four_thousand_to_train() -> None:
    """With a tenth each for reward and selection about 4,000 remain, and no original is in two splits."""
    splits = made("shifted", 0)
    assert splits.num_train + splits.num_reward + splits.num_selection == 5000
    assert splits.num_train == pytest.approx(4000, abs=40)


def test_the_seed_leaves_the_test_split_alone() -> None:
    """Seeds 0 and 1 test on the same labels in the same order."""
    one, other = (torch.cat([batch.targets_B for batch in made("original", seed).test()]) for seed in (0, 1))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "path", "arguments", "sentence"),
    [
        ("digits", None, {"variant": "rotated"}, "must be one of original, shifted, not 'rotated'"),
        ("digits", None, {"limit": "5"}, r"task\.data\.arguments\.limit is unknown"),
        ("digits", "/data", {}, r"task\.data\.path '/data' means nothing to digits"),
        ("idx", None, {}, r"task\.data\.path is missing"),
        (
            "cifar",
            None,
            {},
            r"task\.data\.name must be digits, idx, csv, parquet, text, tokens, image-folder or image-parquet, not 'cifar'",
        ),
    ],
)
def test_impossible_requests_name_the_field(name: str, path: str | None, arguments: dict[str, str], sentence: str) -> None:
    """Each request that cannot be met is refused with its field and value."""
    with pytest.raises(ConfigurationError, match=sentence):
        load(name, path, arguments, reward=0.1, selection=0.1, stratify=True, seed=0, device=CPU)
