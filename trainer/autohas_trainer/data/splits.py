"""The splits of a task: which examples are in which batch, whatever they are read from (see `examples`).

Every batch is a pure function of its arguments: there is no iterator to checkpoint, and all lanes see the same data order by
construction. Only `TestSplit` has state: it opens once.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from autohas_trainer.data.batches import RewardBatch, SelectionBatch, TestBatch, TrainBatch
from autohas_trainer.data.examples import Draw, Examples, Resident, Rows, Source, Taken
from autohas_trainer.data.examples.protocol import Moments, Values
from autohas_trainer.data.moments import input_moments, target_moments
from autohas_trainer.data.preprocessing import preprocessing_record, word_blocks
from autohas_trainer.data.raw import Array, Floats, Ints, Place, RawData
from autohas_trainer.data.split_indices import SplitIndices
from autohas_trainer.errors import ConfigurationError, DataError, TrainerError
from autohas_trainer.provenance import DIVISION, DataIdentity, digest_array
from autohas_trainer.seeding import stream

__all__ = ["LARGEST_CHUNK", "Splits", "TestSplit", "count_chunks"]

LARGEST_CHUNK: Final = 512
"""Examples of selection and test that are evaluated at once at most: enough to fill two cores, little memory."""
_MAX_SHOWN = 5
_MAX_ORDERS = 8
"""Epoch orders kept: one per lane in flight and its successor; 480 kB each at 60,000 examples."""


def count_chunks(num_examples: int, largest: int) -> int:
    """Return the fewest chunks of at most `largest` examples; none is a single example, which has no statistics of a batch."""
    return max(1, min(math.ceil(num_examples / largest), num_examples // 2))


def _chunk(rows_N: Rows, largest: int) -> list[Rows]:
    """Return the rows in chunks of at most `largest` whose lengths differ by at most one."""
    number = count_chunks(len(rows_N), largest)
    ends = [len(rows_N) * chunk // number for chunk in range(number + 1)]
    return [rows_N[start:end] for start, end in itertools.pairwise(ends)]


def _pass_over(examples: Examples, chunks: Sequence[Rows]) -> Iterator[Taken]:
    """Yield one chunk after another, as examples that are evaluated."""
    for number, rows_B in enumerate(chunks):
        yield examples.take(rows_B, None, ((later, None) for later in chunks[number + 1 :]))


class TestSplit:
    """The test data behind a door that opens once per process."""

    __test__ = False  # pytest: a name, not a test class

    def __init__(self, examples: Examples) -> None:
        """Hold the data; they are sealed until `unseal`."""
        self._examples = examples
        self._opened = False

    def __len__(self) -> int:
        """Return the number of examples, which is no secret."""
        return len(self._examples)

    def unseal(self, largest: int = LARGEST_CHUNK) -> Iterator[TestBatch]:
        """Return the batches of at most `largest` examples, in file order.

        Raises:
            TrainerError: It was opened before: some choice could have depended on the test data.
        """
        return self.unseal_passes(largest)()

    def unseal_passes(self, largest: int = LARGEST_CHUNK) -> Callable[[], Iterator[TestBatch]]:
        """As `unseal`, for several passes: each call of what is returned gives all batches.

        Raises:
            TrainerError: As `unseal`.
        """
        if self._opened:
            message = "the test split was opened a second time; it is read once, by the final evaluation"
            raise TrainerError(message)
        self._opened = True
        rows_N = torch.arange(len(self), device=self._examples.rows_device)
        chunks = _chunk(rows_N, largest)
        return lambda: (TestBatch(inputs=inputs, targets_B=targets) for inputs, targets in _pass_over(self._examples, chunks))

    def close(self) -> None:
        """End processes that read."""
        self._examples.close()


class Splits:
    """Train, reward, selection and test of one task, normalised by the mean and deviation of train."""

    def __init__(self, raw_data: RawData, indices: SplitIndices, device: torch.device) -> None:
        """Normalise and move everything to `device`.

        Raises:
            DataError: The training inputs or targets are constant or not finite, the test split is empty, or a number lies so far from the
                others that it is infinite in float32.
        """
        self.targets = raw_data.facts(indices.train)
        self.train_targets_N = self.targets.train_targets
        self._examples, test, self.preprocessing = _standardise(raw_data, indices.train, self.train_targets_N, device)
        self._test = TestSplit(test)
        self._waited_s = 0.0
        self._rows_device = self._examples.rows_device
        self._indices = indices
        self._selection = torch.tensor(indices.selection, device=self._rows_device)
        self._reward_strata, self._selection_strata = (
            _group_by_class(raw_data, indices.reward),
            _group_by_class(raw_data, indices.selection),
        )
        self._orders: dict[tuple[int, int, int], Tensor] = {}
        self.identity = _identity(raw_data, indices)
        self.name, self.num_classes, self.augment = raw_data.name, raw_data.num_classes, raw_data.augment
        self.summary, self.notes = (
            raw_data.summary,
            (
                *raw_data.notes,
                *raw_data.notes_of_reading(),
                *_describe_unlearned_classes(raw_data, self.train_targets_N),
            ),
        )
        self.word_blocks = word_blocks(raw_data.preprocessing)
        self.has_real_inputs = self._examples.dtype.is_floating_point
        self.input_shape = self._examples.shape
        self.num_train, self.num_reward = len(indices.train), len(indices.reward)
        self.num_selection, self.num_test = len(indices.selection), len(raw_data.test_targets_N)

    def train_batch(self, step: int, size: int, seed: int, replica: int = 0, *, values: Values | None = None) -> TrainBatch:
        """Return batch number `step` of exactly `size` examples.

        The order is a chain of epochs, each a permutation keyed by (seed, replica, epoch); a batch may straddle two. `values` are
        what the search's own transform gets; None: it does not run, for a batch of which only the shape matters.

        Raises:
            ConfigurationError: `size` is below 1 or above the number of training examples.
        """
        if not 1 <= size <= self.num_train:
            message = f"a batch of {size} examples cannot be taken from {self.num_train} training examples"
            raise ConfigurationError(message)
        rows_B = self._train_rows(step, size, seed, replica)
        ahead = ((self._train_rows(later, size, seed, replica), Draw(seed, replica, later, values)) for later in itertools.count(step + 1))
        inputs, targets_B = self._take(rows_B, Draw(seed, replica, step, values), ahead)
        return TrainBatch(inputs=inputs, targets_B=targets_B)

    def _take(self, rows_B: Rows, draw: Draw | None, ahead: Iterator[tuple[Rows, Draw | None]]) -> Taken:
        """Take examples and count the seconds that this takes."""
        begun = time.perf_counter()
        taken = self._examples.take(rows_B, draw, ahead)
        self._waited_s += time.perf_counter() - begun
        return taken

    def take_waited_s(self) -> float:
        """Return the seconds that steps waited for batches since the last call: for people, never for a decision."""
        waited_s, self._waited_s = self._waited_s, 0.0
        return waited_s

    def _train_rows(self, step: int, size: int, seed: int, replica: int) -> Rows:
        epoch, start = divmod(step * size, self.num_train)
        rows_B = self._order(seed, replica, epoch)[start : start + size]
        if len(rows_B) < size:
            rows_B = torch.cat((rows_B, self._order(seed, replica, epoch + 1)[: size - len(rows_B)]))
        return rows_B

    def reward_batch(self, step: int, size: int, seed: int) -> RewardBatch:
        """Return `size` reward examples keyed by (seed, step): classes in proportion, none twice.

        Raises:
            ConfigurationError: `size` is below 1 or above the number of reward examples.
        """
        if not 1 <= size <= self.num_reward:
            message = f"a reward batch of {size} examples cannot be taken from {self.num_reward}; enlarge task.splits.reward"
            raise ConfigurationError(message)
        ahead = ((self._reward_rows(later, size, seed), None) for later in itertools.count(step + 1))
        inputs, targets_B = self._take(self._reward_rows(step, size, seed), None, ahead)
        return RewardBatch(inputs=inputs, targets_B=targets_B)

    def _reward_rows(self, step: int, size: int, seed: int) -> Rows:
        rng = stream(seed, "reward-batch", step)
        quotas = _quotas([len(rows) for rows in self._reward_strata], size)
        rows = [
            rows[rng.choice(len(rows), quota, replace=False, shuffle=False)]
            for rows, quota in zip(self._reward_strata, quotas, strict=True)
        ]
        return torch.from_numpy(np.concatenate(rows)).to(self._rows_device)

    def reward(self, size: int, seed: int) -> Iterator[RewardBatch]:
        """Yield every reward example once, in an order keyed by `seed`, in as many batches as reach `size` examples each."""
        rows_N = torch.from_numpy(stream(seed, "reward-split").permutation(self._indices.reward)).to(self._rows_device)
        for inputs, targets_B in _pass_over(self._examples, torch.tensor_split(rows_N, max(1, self.num_reward // size))):
            yield RewardBatch(inputs=inputs, targets_B=targets_B)

    def selection(self, most: int | None = None, largest: int = LARGEST_CHUNK) -> Iterator[SelectionBatch]:
        """Yield the selection split in a fixed order, in chunks of nearly equal size.

        Args:
            most: Yield at most this number of examples: always the same ones, classes in proportion. None: the whole split.
            largest: Examples of one chunk at most.
        """
        rows_N = self._selection if most is None or most >= self.num_selection else self._selection_of(most)
        for inputs, targets_B in _pass_over(self._examples, _chunk(rows_N, largest)):
            yield SelectionBatch(inputs=inputs, targets_B=targets_B)

    def _selection_of(self, size: int) -> Tensor:
        """Return the rows of a fixed part of the selection split, in its order."""
        quotas = _quotas([len(rows) for rows in self._selection_strata], size)
        drawn = [
            stream("selection", label).permutation(rows)[:quota]
            for label, (rows, quota) in enumerate(zip(self._selection_strata, quotas, strict=True))
        ]
        is_drawn_N = np.isin(self._indices.selection, np.concatenate(drawn))
        return self._selection[torch.from_numpy(is_drawn_N).to(self._rows_device)]

    def test(self, largest: int = LARGEST_CHUNK) -> Iterator[TestBatch]:
        """Open the test split; a second call raises `TrainerError`."""
        return self._test.unseal(largest)

    def test_passes(self, largest: int = LARGEST_CHUNK) -> Callable[[], Iterator[TestBatch]]:
        """Open the test split for several passes, one per call of what is returned; a second opening raises `TrainerError`."""
        return self._test.unseal_passes(largest)

    def close(self) -> None:
        """End processes that read; a later batch starts them again."""
        self._examples.close()
        self._test.close()

    def _order(self, seed: int, replica: int, epoch: int) -> Tensor:
        """Return the rows of one epoch in order, int64; computed once while it is in use."""
        key = (seed, replica, epoch)
        order_N = self._orders.get(key)
        if order_N is None:
            if len(self._orders) >= _MAX_ORDERS:
                del self._orders[next(iter(self._orders))]
            permutation = stream(seed, "data-order", replica, epoch).permutation(self._indices.train)
            order_N = self._orders[key] = torch.tensor(permutation, device=self._rows_device)
        return order_N


def _identity(raw_data: RawData, indices: SplitIndices) -> DataIdentity:
    """Identify the examples by what was read, before it is normalised, and the rows of each split."""
    parts: dict[str, Array | Source] = {
        "train inputs": raw_data.inputs,
        "train targets": raw_data.targets_N,
        "train groups": raw_data.sources_N,
        "test inputs": raw_data.test_inputs,
        "test targets": raw_data.test_targets_N,
        DIVISION: np.concatenate((indices.train, [-1], indices.reward, [-1], indices.selection)),
    }
    digests = {
        name: digest_array(part, raw_data.as_numbers if name.endswith("inputs") else None)
        if isinstance(part, np.ndarray)
        else part.digest()
        for name, part in parts.items()
    }
    facts = {
        "rows": str(len(raw_data.targets_N)),
        "test rows": str(len(raw_data.test_targets_N)),
        "shape": " x ".join(map(str, raw_data.inputs.shape[1:])),
        "type": str(raw_data.number_type),
        "classes": "none" if raw_data.num_classes is None else str(raw_data.num_classes),
        **({"columns": ", ".join(raw_data.columns)} if raw_data.columns else {}),
    }
    return DataIdentity(facts=facts, digests=digests)


def _describe_unlearned_classes(raw_data: RawData, train_targets_N: Ints | Floats) -> Iterator[str]:
    """Yield a sentence if some class of the data has no training example: splits that are not stratified may leave one out."""
    if raw_data.labels is None:
        return
    absent = np.setdiff1d(np.concatenate((raw_data.labels, raw_data.test_targets_N)), train_targets_N)
    if len(absent):
        listed = ", ".join(raw_data.class_name(int(label)) for label in absent[:_MAX_SHOWN])
        number = f"{len(absent)} classes have" if len(absent) > 1 else "one class has"
        yield f"{raw_data.name}: {number} no example in the train split, so no network learns it ({listed})"


def _quotas(counts: list[int], size: int) -> list[int]:
    """Share `size` among classes in proportion to `counts`; largest remainders round up, so no quota exceeds its count."""
    total = sum(counts)
    quotas = [size * count // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda label: (-(size * counts[label] % total), label))
    for label in by_remainder[: size - sum(quotas)]:
        quotas[label] += 1
    return quotas


def _group_by_class(raw_data: RawData, rows: Ints) -> list[Ints]:
    """Group rows by class; in a regression they are one group."""
    if raw_data.labels is None:
        return [rows]
    classes = raw_data.labels[rows]
    return [rows[classes == label] for label in np.unique(classes)]


def _standardise(
    raw: RawData, train: Ints, train_targets_N: Ints | Floats, device: torch.device
) -> tuple[Examples, Examples, dict[str, Any]]:
    """Return the training and the test file's examples, standardised by the training rows, and the record preprocessing.json.

    Raises:
        DataError: As `Splits`.
    """
    if len(raw.test_targets_N) == 0:
        message = f"{raw.name}: the test split is empty"
        raise DataError(message)
    mean, deviation = target_moments(raw, train_targets_N)
    moments = input_moments(raw, train)
    targets_N, test_targets_N = (_resident_targets(targets_N, mean, deviation, device) for targets_N in (raw.targets_N, raw.test_targets_N))
    examples = _open(raw, raw.inputs, targets_N, moments, device, raw.place)
    test = _open(raw, raw.test_inputs, test_targets_N, moments, device, raw.test_place)
    _check_targets(targets_N, raw.targets_N, raw.place)
    _check_targets(test_targets_N, raw.test_targets_N, raw.test_place)
    return examples, test, preprocessing_record(raw, moments, mean, deviation)


def _open(  # noqa: PLR0913, PLR0917 - what the examples of a split consist of
    raw: RawData, inputs: Array | Source, targets_N: Tensor, moments: Moments | None, device: torch.device, place: Place
) -> Examples:
    """Return examples for batches on `device`.

    Raises:
        DataError: A number lies so far from the others that it is infinite in float32.
    """
    if not isinstance(inputs, np.ndarray):
        return inputs.open(targets_N, moments, device)
    resident = Resident(inputs, targets_N, moments=moments, divide_by=raw.divide_by, device=device)
    index = resident.first_not_finite()
    if index is not None:
        row, channel = index[0], index[1]
        column = f"column {raw.columns[channel]}" if raw.columns else f"channel {channel}"
        _refuse_infinite(inputs[index], column, place(row))
    return resident


def _resident_targets(targets_N: Ints | Floats, mean: float, deviation: float, device: torch.device) -> Tensor:
    """Return classes as int64, numbers standardised as float32, several labels as 0 and 1 in float32."""
    if np.issubdtype(targets_N.dtype, np.integer):
        return torch.tensor(targets_N, dtype=torch.int64, device=device)
    standardised_N = (targets_N.astype(np.float64) - mean) / deviation
    return torch.tensor(standardised_N, dtype=torch.float32, device=device)


def _check_targets(standardised_N: Tensor, targets_N: Array, place: Place) -> None:
    """Refuse a number that no loss can be made of, before anything is trained on it.

    Raises:
        DataError: It is not finite once standardised and in float32; names the row.
    """
    is_infinite_N = standardised_N.reshape(len(standardised_N), -1).isinf().any(dim=1)
    if bool(is_infinite_N.any()):
        row = int(is_infinite_N.to(torch.uint8).argmax())
        _refuse_infinite(targets_N[row], "the target", place(row))


def _refuse_infinite(value: Any, column: str, place: str) -> None:  # noqa: ANN401 - a number of the raw data
    message = f"{place}: {value!s} in {column} is too large: standardised by the training rows it is no finite float32; fix or drop it"
    raise DataError(message)
