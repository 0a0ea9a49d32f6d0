"""The splits of a task, resident on the device: a batch is one `index_select`.

Every batch is a pure function of its arguments: there is no iterator to checkpoint, and all lanes see the same data order by
construction. Only `TestSplit` has state: it opens once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.data.batches import RewardBatch, SelectionBatch, TestBatch, TrainBatch
from autohas_trainer.data.preprocessing import preprocessing_record
from autohas_trainer.data.raw import Floats, Ints, Place, RawData
from autohas_trainer.data.split_indices import SplitIndices
from autohas_trainer.errors import ConfigurationError, DataError, TrainerError
from autohas_trainer.provenance import DataIdentity, digest_array
from autohas_trainer.seeding import stream

__all__ = ["Splits", "TestSplit"]

_CHUNK = 512
"""Largest chunk of selection and test: enough to fill two cores, little memory."""
_MAX_SHOWN = 5
_MAX_ORDERS = 8
"""Epoch orders kept: one per lane in flight and its successor; 480 kB each at 60,000 examples."""


def _chunks(total: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of the fewest chunks whose lengths differ by at most one."""
    number = math.ceil(total / _CHUNK)
    for chunk in range(number):
        start = total * chunk // number
        yield start, total * (chunk + 1) // number - start


class TestSplit:
    """The test data behind a door that opens once per process."""

    __test__ = False  # pytest: a name, not a test class

    def __init__(self, inputs: Tensor, targets_N: Tensor) -> None:
        """Hold the data; they are sealed until `open`."""
        self._inputs = inputs
        self._targets_N = targets_N
        self._opened = False

    def __len__(self) -> int:
        """Return the number of examples, which is no secret."""
        return len(self._targets_N)

    def open(self) -> Iterator[TestBatch]:
        """Return the batches, in file order.

        Raises:
            TrainerError: It was opened before: some choice could have depended on the test data.
        """
        if self._opened:
            message = "the test split was opened a second time; it is read once, by the final evaluation"
            raise TrainerError(message)
        self._opened = True
        return (
            TestBatch(inputs=self._inputs.narrow(0, start, length), targets_B=self._targets_N.narrow(0, start, length))
            for start, length in _chunks(len(self))
        )


class Splits:
    """Train, reward, selection and test of one task, normalised by the mean and deviation of train."""

    def __init__(self, raw_data: RawData, indices: SplitIndices, device: torch.device) -> None:
        """Normalise and move everything to `device`.

        Raises:
            DataError: The training inputs or targets are constant or not finite, the test split is empty, or a number lies so far from the
                others that it is infinite in float32.
        """
        if len(raw_data.test_targets_N) == 0:
            message = f"{raw_data.name}: the test split is empty"
            raise DataError(message)
        self.train_targets_N = raw_data.targets_N[indices.train]
        mean, deviation = _target_moments(raw_data, self.train_targets_N)
        moments = None if raw_data.scaled_C == () else _moments(raw_data, indices.train)
        self._inputs = _resident(raw_data.inputs, moments, device)
        self._targets_N = _resident_targets(raw_data.targets_N, mean, deviation, device)
        test_inputs = _resident(raw_data.test_inputs, moments, device)
        test_targets_N = _resident_targets(raw_data.test_targets_N, mean, deviation, device)
        columns = [f"column {name}" for name in raw_data.columns]
        _check_range(self._inputs, raw_data.inputs, columns, raw_data.place)
        _check_range(test_inputs, raw_data.test_inputs, columns, raw_data.test_place)
        _check_range(self._targets_N[:, None], raw_data.targets_N[:, None], ("the target",), raw_data.place)
        _check_range(test_targets_N[:, None], raw_data.test_targets_N[:, None], ("the target",), raw_data.test_place)
        self._test = TestSplit(test_inputs, test_targets_N)
        self._device = device
        self._indices = indices
        self._selection = torch.tensor(indices.selection, device=device)
        self._reward_strata, self._selection_strata = (
            _group_by_class(raw_data, indices.reward),
            _group_by_class(raw_data, indices.selection),
        )
        self._orders: dict[tuple[int, int, int], Tensor] = {}
        self.identity = _identity(raw_data, indices)
        self.name, self.num_classes, self.augment = raw_data.name, raw_data.num_classes, raw_data.augment
        self.summary, self.notes = raw_data.summary, (*raw_data.notes, *_describe_unlearned_classes(raw_data, self.train_targets_N))
        self.preprocessing = preprocessing_record(raw_data, moments, mean, deviation)
        self.has_real_inputs = self._inputs.is_floating_point()
        self.input_shape = tuple(raw_data.inputs.shape[1:])
        self.num_train, self.num_reward = len(indices.train), len(indices.reward)
        self.num_selection, self.num_test = len(indices.selection), len(raw_data.test_targets_N)

    def train_batch(self, step: int, size: int, seed: int, replica: int = 0) -> TrainBatch:
        """Return batch number `step` of exactly `size` examples.

        The order is a chain of epochs, each a permutation keyed by (seed, replica, epoch); a batch may straddle two.

        Raises:
            ConfigurationError: `size` is below 1 or above the number of training examples.
        """
        if not 1 <= size <= self.num_train:
            message = f"a batch of {size} examples cannot be taken from {self.num_train} training examples"
            raise ConfigurationError(message)
        epoch, start = divmod(step * size, self.num_train)
        rows_B = self._order(seed, replica, epoch)[start : start + size]
        if len(rows_B) < size:
            rows_B = torch.cat((rows_B, self._order(seed, replica, epoch + 1)[: size - len(rows_B)]))
        return TrainBatch(inputs=self._inputs.index_select(0, rows_B), targets_B=self._targets_N.index_select(0, rows_B))

    def reward_batch(self, step: int, size: int, seed: int) -> RewardBatch:
        """Return `size` reward examples keyed by (seed, step): classes in proportion, none twice.

        Raises:
            ConfigurationError: `size` is below 1 or above the number of reward examples.
        """
        if not 1 <= size <= self.num_reward:
            message = f"a reward batch of {size} examples cannot be taken from {self.num_reward}; enlarge task.splits.reward"
            raise ConfigurationError(message)
        rng = stream(seed, "reward-batch", step)
        quotas = _quotas([len(rows) for rows in self._reward_strata], size)
        rows = [
            rows[rng.choice(len(rows), quota, replace=False, shuffle=False)]
            for rows, quota in zip(self._reward_strata, quotas, strict=True)
        ]
        rows_B = torch.from_numpy(np.concatenate(rows)).to(self._device)
        return RewardBatch(inputs=self._inputs.index_select(0, rows_B), targets_B=self._targets_N.index_select(0, rows_B))

    def reward(self, size: int, seed: int) -> Iterator[RewardBatch]:
        """Yield every reward example once, in an order keyed by `seed`, in as many batches as reach `size` examples each."""
        rows_N = torch.from_numpy(stream(seed, "reward-split").permutation(self._indices.reward)).to(self._device)
        for rows_B in torch.tensor_split(rows_N, max(1, self.num_reward // size)):
            yield RewardBatch(inputs=self._inputs.index_select(0, rows_B), targets_B=self._targets_N.index_select(0, rows_B))

    def selection(self, most: int | None = None) -> Iterator[SelectionBatch]:
        """Yield the selection split in a fixed order, in chunks of nearly equal size.

        Args:
            most: Yield at most this number of examples: always the same ones, classes in proportion. None: the whole split.
        """
        rows_N = self._selection if most is None or most >= self.num_selection else self._selection_of(most)
        for start, length in _chunks(len(rows_N)):
            rows_B = rows_N[start : start + length]
            yield SelectionBatch(inputs=self._inputs.index_select(0, rows_B), targets_B=self._targets_N.index_select(0, rows_B))

    def _selection_of(self, size: int) -> Tensor:
        """Return the rows of a fixed part of the selection split, in its order."""
        quotas = _quotas([len(rows) for rows in self._selection_strata], size)
        drawn = [
            stream("selection", label).permutation(rows)[:quota]
            for label, (rows, quota) in enumerate(zip(self._selection_strata, quotas, strict=True))
        ]
        is_drawn_N = np.isin(self._indices.selection, np.concatenate(drawn))
        return self._selection[torch.from_numpy(is_drawn_N).to(self._device)]

    def test(self) -> Iterator[TestBatch]:
        """Open the test split; a second call raises `TrainerError`."""
        return self._test.open()

    def _order(self, seed: int, replica: int, epoch: int) -> Tensor:
        """Return the rows of one epoch in order, int64 on the device; computed once while it is in use."""
        key = (seed, replica, epoch)
        order_N = self._orders.get(key)
        if order_N is None:
            if len(self._orders) >= _MAX_ORDERS:
                del self._orders[next(iter(self._orders))]
            permutation = stream(seed, "data-order", replica, epoch).permutation(self._indices.train)
            order_N = self._orders[key] = torch.tensor(permutation, device=self._device)
        return order_N


def _identity(raw_data: RawData, indices: SplitIndices) -> DataIdentity:
    """Identify the examples by what was read, before it is normalised, and the rows of each split."""
    parts = {
        "train inputs": raw_data.inputs,
        "train targets": raw_data.targets_N,
        "train groups": raw_data.sources_N,
        "test inputs": raw_data.test_inputs,
        "test targets": raw_data.test_targets_N,
        "the division into splits": np.concatenate((indices.train, [-1], indices.reward, [-1], indices.selection)),
    }
    facts = {
        "rows": str(len(raw_data.targets_N)),
        "test rows": str(len(raw_data.test_targets_N)),
        "shape": " x ".join(map(str, raw_data.inputs.shape[1:])),
        "type": str(raw_data.inputs.dtype),
        "classes": "none" if raw_data.num_classes is None else str(raw_data.num_classes),
        **({"columns": ", ".join(raw_data.columns)} if raw_data.columns else {}),
    }
    return DataIdentity(facts=facts, digests={name: digest_array(array) for name, array in parts.items()})


def _describe_unlearned_classes(raw_data: RawData, train_targets_N: Ints | Floats) -> Iterator[str]:
    """Yield a sentence if some class of the data has no training example: splits that are not stratified may leave one out."""
    if raw_data.num_classes is None:
        return
    absent = np.setdiff1d(np.concatenate((raw_data.targets_N, raw_data.test_targets_N)), train_targets_N)
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
    if raw_data.num_classes is None:
        return [rows]
    classes = raw_data.targets_N[rows]
    return [rows[classes == label] for label in np.unique(classes)]


def _moments(raw_data: RawData, train: Ints) -> tuple[Floats, Floats]:
    """Return mean and deviation per channel over the train split only."""
    inputs = raw_data.inputs[train]  # a copy, reused in place: a whole MNIST is 190 MB
    is_present = None if raw_data.scaled_C is None else ~np.isnan(inputs)
    mean_C = _mean_per_channel(inputs, is_present).astype(inputs.dtype)
    inputs -= _per_channel(mean_C, inputs.ndim)
    np.square(inputs, out=inputs)
    deviation_C = np.sqrt(_mean_per_channel(inputs, is_present)).astype(inputs.dtype)
    if not np.isfinite(deviation_C).all() or not deviation_C.any():
        message = f"{raw_data.name}: the training inputs are constant or not finite (deviation per channel {deviation_C.tolist()[:16]})"
        raise DataError(message)
    deviation_C[deviation_C == 0] = 1  # a channel that is constant over the train split says nothing, and divides by nothing
    if raw_data.scaled_C is not None:
        unscaled_C = ~np.array(raw_data.scaled_C)
        mean_C[unscaled_C], deviation_C[unscaled_C] = 0, 1
    return mean_C, deviation_C


def _mean_per_channel(inputs: Floats, is_present: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64]:
    """Return the mean (C,) of inputs (N, C, ...) where they are known (None: all are); 0 where none is."""
    axes = (0, *range(2, inputs.ndim))
    if is_present is None:
        return np.asarray(inputs.mean(axis=axes, dtype=np.float64))
    return np.asarray(inputs.sum(axis=axes, where=is_present, dtype=np.float64) / np.maximum(is_present.sum(axis=axes), 1))


def _target_moments(raw_data: RawData, train_targets_N: Ints | Floats) -> tuple[float, float]:
    """Return mean and deviation of a regression's training targets, (0, 1) for classes.

    Raises:
        DataError: There is nothing to tell apart: one class only, or one number only.
    """
    if raw_data.num_classes is not None:
        if len(np.unique(train_targets_N)) == 1:
            only = raw_data.class_name(int(train_targets_N[0]))
            message = f"{raw_data.name}: all {len(train_targets_N)} training examples are of class {only}; two are needed"
            raise DataError(message)
        return 0.0, 1.0
    mean, deviation = float(train_targets_N.mean(dtype=np.float64)), float(train_targets_N.std(dtype=np.float64))
    if not (np.isfinite(deviation) and deviation > 0):
        message = f"{raw_data.name}: the training targets are constant or not finite (deviation {deviation}); there is nothing to learn"
        raise DataError(message)
    return mean, deviation


def _per_channel(values_C: Floats, num_dimensions: int) -> Floats:
    """Return values that broadcast over inputs (N, C, ...)."""
    return values_C.reshape(-1, *[1] * (num_dimensions - 2))


def _resident(inputs: Floats, moments: tuple[Floats, Floats] | None, device: torch.device) -> Tensor:
    """Return inputs in torch's own memory, standardised by (mean_C, deviation_C) where given."""
    resident = torch.tensor(inputs)
    if moments is None:
        return resident.to(device)
    mean_C, deviation_C = moments
    resident.sub_(torch.tensor(_per_channel(mean_C, inputs.ndim))).div_(torch.tensor(_per_channel(deviation_C, inputs.ndim)))
    return resident.masked_fill_(resident.isnan(), 0.0).to(device, torch.float32)  # a missing value becomes the mean


def _resident_targets(targets_N: Ints | Floats, mean: float, deviation: float, device: torch.device) -> Tensor:
    """Return classes as int64, numbers standardised as float32."""
    if np.issubdtype(targets_N.dtype, np.integer):
        return torch.tensor(targets_N, dtype=torch.int64, device=device)
    standardised_N = (targets_N.astype(np.float64) - mean) / deviation
    return torch.tensor(standardised_N, dtype=torch.float32, device=device)


def _check_range(resident: Tensor, raw: Floats | Ints, columns: Sequence[str], place: Place) -> None:
    """Refuse what no network can be given, before anything is trained on it: a loss would not be finite, or a score.

    Raises:
        DataError: A number is not finite once standardised and in float32; names column and row.
    """
    if not resident.is_floating_point() or bool(resident.isfinite().all()):
        return
    first = int((~resident.isfinite()).reshape(-1).to(torch.uint8).argmax())
    row, channel, *_ = (int(index) for index in np.unravel_index(first, tuple(resident.shape)))
    column = columns[channel] if columns else f"channel {channel}"
    message = (
        f"{place(row)}: {raw.reshape(-1)[first]!s} in {column} is too large: standardised by the training rows it is no finite"
        " float32; fix or drop it"
    )
    raise DataError(message)
