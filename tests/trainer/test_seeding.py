"""Keyed streams: same key, same numbers; nothing else is shared."""

import hashlib

import numpy as np
import pytest
import torch

from autohas_trainer.seeding import make_deterministic, stream


def test_a_key_names_one_sequence() -> None:
    """The same key gives the same numbers, however often and in whatever order streams are made."""
    first = stream(0, "lane", 3, "reward").standard_normal(100)
    stream(1, "lane").standard_normal(7)
    assert np.array_equal(first, stream(0, "lane", 3, "reward").standard_normal(100))


def test_a_key_keeps_its_numbers_across_versions() -> None:
    """The numbers of a key are pinned: changing the hash would silently change every published result."""
    assert stream(0, "pin").integers(0, 1000, 4).tolist() == [862, 981, 887, 923]


def test_a_stream_is_philox_keyed_by_the_digest() -> None:
    """Its state is that of numpy's generator with the hash of the key, as 128 bits."""
    digest = hashlib.blake2b(b"i1:0s3:pin", digest_size=16).digest()
    expected = np.random.Philox(key=int.from_bytes(digest, "little"))

    assert str(stream(0, "pin").bit_generator.state) == str(expected.state)


@pytest.mark.parametrize(
    ("one", "other"),
    [((1,), ("1",)), (("ab", "c"), ("a", "bc")), ((1, 2), (12,)), ((1,), (1, 0)), (("i1:1",), (1,)), ((-1,), (1,))],
)
def test_different_keys_give_different_sequences(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> None:
    """Keys that look alike when joined are still different keys."""
    assert not np.array_equal(stream(*one).random(8), stream(*other).random(8))


def test_streams_of_neighbouring_steps_are_uncorrelated() -> None:
    """The first draw of 5,000 consecutive steps is uniform: mean 1/2 and lag-one correlation 0 within four standard errors."""
    draws = np.array([stream(0, "step", step).random() for step in range(5_000)])
    assert abs(draws.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(draws))
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / np.sqrt(len(draws))


@pytest.mark.parametrize("part", [True, 1.0, None, np.int64(1)])
def test_a_key_refuses_other_types(part: object) -> None:
    """A boolean, a float or a numpy integer in a key is a mistake and is named."""
    with pytest.raises(TypeError, match="only int and str"):
        stream("x", part)  # type: ignore[arg-type]


def test_determinism_is_switched_on() -> None:
    """After `make_deterministic` torch refuses nondeterministic algorithms and uses the given number of threads."""
    make_deterministic(1)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    with pytest.raises(ValueError, match="at least 1"):
        make_deterministic(0)
