"""Stateless randomness: every draw has a key, and no generator has state.

A key such as `(seed, stage, lane, step, "reward")` names a stream; the same key gives the same numbers in any process, in any
order, on any rank. So checkpoints hold no generator state, and resume, common random numbers and "N ranks = N samples" follow.
The trainer never uses torch's global generator. The engine calls `make_deterministic` before any tensor work, so that custom code runs
under its rules too; once the data are read it may choose fewer threads.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from numpy.random.bit_generator import ISeedSequence

__all__ = ["Key", "make_deterministic", "seed_globals", "seeded_block", "stream"]

Key = tuple[int | str, ...]
"""Names one stream. Integers and strings only: `1` and `"1"` are different keys."""


def _canonical(key: Key) -> bytes:
    """Injective encoding of a key: type, length and text of each part."""
    parts = []
    for part in key:
        if type(part) is not int and type(part) is not str:
            message = f"a random key holds only int and str, not {part!r} ({type(part).__name__}) in {key!r}"
            raise TypeError(message)
        text = str(part).encode()
        parts.append(b"%c%d:%b" % (b"i" if type(part) is int else b"s", len(text), text))
    return b"".join(parts)


class _Digest(ISeedSequence):
    """The 128 bits of a key as `np.random.Philox(key=...)` would take them, which first asks the system for entropy that it drops."""

    def __init__(self, key: Key) -> None:
        self._digest = hashlib.blake2b(_canonical(key), digest_size=16).digest()

    def generate_state(self, n_words: int, dtype: object = np.uint64) -> npt.NDArray[np.uint64]:  # noqa: ARG002 - Philox asks for two words of 64 bits
        """Return the two words of Philox's key."""
        return np.frombuffer(self._digest, dtype="<u8")


def stream(*key: int | str) -> np.random.Generator:
    """Return a fresh generator for `key`.

    Philox is counter based: 128 bits of key select one of 2^128 independent sequences, so a hash of the key is all the state.

    Raises:
        TypeError: A part of the key is neither int nor str (booleans and numpy integers included).
    """
    return np.random.Generator(np.random.Philox(_Digest(key)))  # type: ignore[arg-type]  # it takes every ISeedSequence; the stubs, only numpy's own


def make_deterministic(threads: int) -> None:
    """Make every later torch operation of this process repeatable bit for bit.

    Args:
        threads: Initial number of intra-operation threads, at least 1. Another number sums in another order and gives other bits.
    """
    if threads < 1:
        message = f"the thread count must be at least 1, not {threads}"
        raise ValueError(message)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when its first handle is made
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms(True) without its import of the compiler, seconds long
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - untyped; filling memory we never read costs time
    torch.backends.cudnn.benchmark = False  # it would choose kernels by the clock
    torch.backends.cudnn.deterministic = True


def seed_globals(*key: int | str) -> None:
    """Seed torch's, numpy's and Python's global generators by `key`, for custom code, which may draw from them."""
    torch_seed, seed = _global_seeds(key)
    torch.manual_seed(torch_seed)
    np.random.seed(seed)  # noqa: NPY002 - it is the global one that custom code may use
    random.seed(seed)


@contextmanager
def seeded_block(*key: int | str) -> Iterator[None]:
    """Seed the global generators of the CPU by `key` inside the block, as `seed_globals` does, and put them back after it.

    For code that may run in the middle of a step, whose later draws must not depend on whether it ran.
    """
    generator = torch.default_generator  # torch.manual_seed formats a stack trace for each kind of device: milliseconds
    states = generator.get_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - it is the global one
    torch_seed, seed = _global_seeds(key)
    generator.manual_seed(torch_seed)
    np.random.seed(seed)  # noqa: NPY002 - it is the global one
    random.seed(seed)
    try:
        yield
    finally:
        generator.set_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - it is the global one
        random.setstate(states[2])


def _global_seeds(key: Key) -> tuple[int, int]:
    """Return the seeds of torch's generator, and of numpy's and Python's."""
    return int(stream(*key).integers(2**63)), int(stream(*key, "global").integers(2**32))
