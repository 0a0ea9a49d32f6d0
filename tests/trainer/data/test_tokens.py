"""Text and tokens: windows of one array, which never cross a split, and what is refused with file and position."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data import Splits, load
from autohas_trainer.data.examples import Draw
from autohas_trainer.data.tokens.windows import cut_windows
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.tasks import build_task_for

CPU = torch.device("cpu")
T = 8


class Halves:
    """A tokenizer of two tokens: small letters and others."""

    vocab_size = 2

    def encode(self, content: str) -> list[int]:
        return [int(character.islower()) for character in content]


class TooFew(Halves):
    """One that gives a token that it does not have."""

    vocab_size = 1


def read(path: Path, name: str = "tokens", **arguments: str) -> Splits:
    """The splits of a file, a quarter each for reward and selection."""
    given: Mapping[str, str] = {"length": str(T)} | ({"vocabulary": "4000"} if name == "tokens" else {}) | arguments
    return load(name, str(path), given, kind=TaskKind.CLASSIFICATION, reward=0.25, selection=0.25, stratify=True, seed=3, device=CPU)


def saved(path: Path, count: int = 4000) -> Path:
    """A file in which every token is its own position."""
    np.save(path, np.arange(count, dtype=np.uint16))
    return path


def test_targets_are_the_next_tokens(tmp_path: Path) -> None:
    """A training batch, a reward batch, the selection and the test: inputs are windows without a gap, targets one further."""
    splits = read(saved(tmp_path / "t.npy"))

    for batch in (splits.train_batch(0, 5, 0), splits.reward_batch(0, 5, 0), next(splits.selection()), next(splits.test())):
        assert batch.inputs.dtype == batch.targets_B.dtype == torch.int64
        assert torch.equal(batch.inputs, batch.inputs[:, :1] + torch.arange(T))
        assert torch.equal(batch.targets_B, batch.inputs + 1)
    assert (splits.input_shape, splits.num_classes) == ((T,), 4000)


def test_no_token_is_in_two_splits(tmp_path: Path) -> None:
    """Inputs and targets of every split over 30 epochs of moved windows are disjoint, and the test is the end of the file."""
    splits = read(saved(tmp_path / "t.npy"))
    batches = [splits.train_batch(step, splits.num_train, 0) for step in range(30)]
    train = {int(token) for batch in batches for token in torch.cat((batch.inputs, batch.targets_B), dim=1).unique()}
    reward, selection, test = (
        {int(token) for batch in part for token in torch.cat((batch.inputs, batch.targets_B), dim=1).unique()}
        for part in (splits.reward(64, 0), splits.selection(), splits.test())
    )

    assert not (train & reward)
    assert not (train & selection)
    assert not (train & test)
    assert not (reward & selection)
    assert not (reward & test)
    assert not (selection & test)
    assert min(test) == 3600
    assert len(train) > 0.97 * (3600 - len(reward) - len(selection) - 2 * T * 25)


def test_a_batch_is_a_function_of_seed_replica_and_step() -> None:
    """The windows of a draw are the same at each call, and others for another step or replica; they stay in their block."""
    windows, blocks_N = cut_windows(np.arange(5000), T)
    rows = np.arange(len(windows))

    moved = windows.starts(rows, Draw(1, 0, 7))

    assert np.array_equal(moved, windows.starts(rows, Draw(1, 0, 7)))
    assert not np.array_equal(moved, windows.starts(rows, Draw(1, 0, 8)))
    assert not np.array_equal(moved, windows.starts(rows, Draw(1, 1, 7)))
    aligned = windows.starts(rows, None)
    assert ((moved >= aligned) & (moved < aligned + T)).all()
    number = int(blocks_N[-1]) + 1
    ends = np.array([5000 * (block + 1) // number for block in range(number)])
    assert (moved + T < ends[blocks_N]).all()
    assert (np.diff(aligned)[np.diff(blocks_N) == 0] == T).all()


@pytest.mark.parametrize(("count", "blocks"), [(30 * 9, 20), (9 * 8 * 100, 100), (9 * 8 * 1000, 200), (9 * 4, 4)])
def test_blocks_are_many_and_long(count: int, blocks: int) -> None:
    """Two hundred, fewer where they would have less than eight windows, at least twenty."""
    _, blocks_N = cut_windows(np.zeros(count, dtype=np.uint8), T)

    assert int(blocks_N[-1]) + 1 == blocks


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32"])
def test_a_file_of_numbers_is_read_by_its_type(kind: str, tmp_path: Path) -> None:
    """The same digest as the same tokens in a .npy file."""
    array = (np.arange(2000) % 200).astype(kind)
    array.tofile(tmp_path / "t.bin")
    np.save(tmp_path / "t.npy", array)

    raw, saved_array = read(tmp_path / "t.bin", vocabulary="200", type=kind), read(tmp_path / "t.npy", vocabulary="200")

    assert raw.identity.digests == saved_array.identity.digests
    assert raw.targets.class_counts is not None
    assert raw.targets.class_counts.sum() == raw.num_train * T


def test_text_becomes_its_characters(tmp_path: Path) -> None:
    """In order of their code points; bits per byte know that an ä has two bytes."""
    (tmp_path / "train.txt").write_text("abä" * 400)
    (tmp_path / "test.txt").write_text("äba" * 40)

    splits = read(tmp_path, "text")

    batch = next(splits.test())
    assert batch.inputs[0].tolist() == [2, 1, 0, 2, 1, 0, 2, 1]
    assert splits.num_classes == 3
    assert splits.preprocessing["data"] == {"kind": "text", "tokenizer": "Characters", "characters": "abä", "length": T}
    task = build_task_for("bpb", splits.targets, balanced=False, name="D", device=CPU)
    assert task.measure(torch.zeros(len(batch.inputs), T, 3), batch.targets_B).value == pytest.approx(np.log2(3) * 3 / 4)


def test_text_becomes_its_bytes_or_the_tokens_of_a_tokenizer(tmp_path: Path) -> None:
    """Bytes have 256 numbers; a tokenizer says how many it has."""
    (tmp_path / "t.txt").write_text("aB" * 500)

    for tokenizer, first, number in (("Bytes", [97, 66], 256), (f"{__name__}:Halves", [1, 0], 2)):
        splits = read(tmp_path / "t.txt", "text", tokenizer=tokenizer)
        tokens = next(splits.test()).inputs[0].tolist()
        assert (tokens[:2], splits.num_classes) == (first, number)


def test_tokens_stay_in_the_file(tmp_path: Path) -> None:
    """The array is memory-mapped: nothing of it is copied but batches."""
    from autohas_trainer.data.tokens.tokens import tokens  # noqa: PLC0415

    raw = tokens(saved(tmp_path / "t.npy"), {"length": str(T), "vocabulary": "4000"})

    array = raw.inputs._tokens  # type: ignore[union-attr]  # windows
    assert isinstance(array, np.memmap)
    assert str(array.filename) == str(tmp_path / "t.npy")


REFUSALS: dict[str, tuple[str, bytes, dict[str, str], type[Exception], str]] = {
    "beyond": ("t.bin", np.arange(4001, dtype="<u2").tobytes(), {}, DataError, r"t\.bin: token 4000 at position 4000 is beyond the voc"),
    "half": ("t.bin", b"123", {}, DataError, r"t\.bin has 3 bytes, which are no uint16 numbers; set task.data.arguments.type"),
    "no array": ("t.npy", b"123", {}, DataError, r"t\.npy cannot be read as an array of tokens"),
    "short": (
        "t.bin",
        b"\0" * 16,
        {},
        DataError,
        r"0 tokens are for train, fewer than the 9 of one example .* lower task",
    ),
    "argument": ("t.bin", b"", {"stride": "1"}, ConfigurationError, r"arguments\.stride is unknown to tokens; it takes length, vocabulary"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_files_of_tokens_are_named(case: str, tmp_path: Path) -> None:
    """With the position of the token."""
    name, content, arguments, kind, words = REFUSALS[case]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(kind, match=words):
        read(tmp_path / name, **arguments)


def test_a_link_to_the_training_tokens_is_no_test(tmp_path: Path) -> None:
    """The test would measure what was learned by heart."""
    (tmp_path / "test.npy").symlink_to(saved(tmp_path / "train.npy"))

    with pytest.raises(DataError, match=r"test\.npy is training data too"):
        read(tmp_path)


def test_wrong_texts_are_named(tmp_path: Path) -> None:
    """A strange character of the test and a byte that is no text, with the line; a tokenizer that gives what it does not have."""
    (tmp_path / "train.txt").write_text("ab\n" * 400)
    (tmp_path / "test.txt").write_text("ab\n" * 20 + "abc")

    with pytest.raises(DataError, match=r"test\.txt, line 21: the character 'c' \(position 62\) never occurs in training"):
        read(tmp_path, "text")
    with pytest.raises(ConfigurationError, match=r"TooFew: token 1 at position 0 of .*train\.txt is beyond its vocabulary of 1"):
        read(tmp_path, "text", tokenizer=f"{__name__}:TooFew")
    (tmp_path / "test.txt").write_bytes(b"a\n\xff")
    with pytest.raises(DataError, match=r"test\.txt, line 2 is not UTF-8 text; convert it .* or set .*tokenizer to Bytes"):
        read(tmp_path, "text")
    with pytest.raises(DataError, match=r"absent is missing; put the file there"):
        read(tmp_path / "absent", "text")
