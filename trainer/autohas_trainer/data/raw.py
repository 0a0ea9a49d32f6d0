"""A task's raw examples, before anything is split or normalised. Sources (`digits`, `idx`) make it, `Splits` consumes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from autohas_trainer.data.examples.protocol import Source
from autohas_trainer.data.targets import NextTokens, TargetFacts, TargetKind, count_labels

__all__ = ["Array", "Augment", "Floats", "Ints", "RawData"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


class Augment(Protocol):
    """(inputs (B, ...), a generator keyed by the step, custom hyperparameters) to inputs of the same shape and type; called by name."""

    def __call__(self, *, inputs: Tensor, rng: np.random.Generator, hyperparameters: Mapping[str, str]) -> Tensor:
        """The changed batch."""


Place = Callable[[int], str]
"""A row, counted from 0, to where a person finds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawData:
    """Training data, from which train, reward and selection are split off, and test data.

    Attributes:
        name: How errors call it.
        inputs: Training inputs (N, C, ...), not normalised: an array in memory, or a `Source` of examples that are read per batch.
        targets_N: Class of each, int64 in [0, num_classes), or, in a regression, its number; or several targets of each (N, ...), see
            `TargetKind`. Zeros where `next_tokens` gives them.
        sources_N: Which original each was made from; examples of one source never land in two splits.
        test_inputs: Test inputs, made of other sources.
        test_targets_N: Target of each.
        num_classes: At least 2; None in a regression.
        next_tokens: Says that the inputs, a `Source`, give the targets themselves.
        order_N: Position of each training row in time: later ones reward, choose and test; None: rows have no order.
        scaled_C: Which channels are standardised by the train split, and NaN replaced by its mean; None: all; empty: the inputs are used as
            they are (custom data; integers stay integers).
        divide_by: Inputs that are bytes of images are divided by this, in float32, before anything else; None: inputs are used as they are.
        augment: Custom data's change of a batch that makes gradients.
        columns: Names of the C input columns of a table; empty: errors count them.
        place: Where a training row lies, for errors.
        test_place: Where a test row lies.
        classes: Names of the classes in order; empty: they are called by their numbers.
        summary: What became of each part of the data, a line each, for `--dry-run`.
        notes: What was converted or left out, a sentence each, which a person should see once.
        notes_of_reading: Notes about the examples that were read to measure the moments of a `Source`.
        preprocessing: How one raw example becomes one row of inputs, as preprocessing.json says it; moments are the splits' to add.
    """

    name: str
    inputs: Array | Source
    targets_N: Ints | Floats
    sources_N: Ints
    test_inputs: Array | Source
    test_targets_N: Ints | Floats
    num_classes: int | None
    order_N: Ints | None = None
    scaled_C: tuple[bool, ...] | None = None
    divide_by: float | None = None
    augment: Augment | None = None
    columns: tuple[str, ...] = ()
    place: Place = "training row {}".format
    test_place: Place = "test row {}".format
    classes: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    notes_of_reading: Callable[[], Iterable[str]] = tuple
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    next_tokens: NextTokens | None = None

    @property
    def target_kind(self) -> TargetKind:
        """What the targets are."""
        if self.next_tokens is not None:
            return TargetKind.TOKENS
        return TargetKind.of(self.targets_N, has_classes=self.num_classes is not None)

    @property
    def labels(self) -> Ints | None:
        """The class of each training example, by which splits are stratified; None where it has no single one."""
        return self.targets_N if self.target_kind is TargetKind.CLASS else None  # type: ignore[return-value]  # then they are integers

    def facts(self, train: Ints) -> TargetFacts:
        """Return what a task must know of the targets; `train` are the training rows."""
        kind, targets = self.target_kind, self.targets_N[train]
        counts = None
        if self.next_tokens is not None:
            return TargetFacts(
                kind=kind,
                shape=(self.next_tokens.length,),
                class_counts=self.next_tokens.count(train),
                train_targets=targets,
                bytes_per_token=self.next_tokens.bytes_per_token,
            )
        if self.num_classes is not None and kind in {TargetKind.CLASS, TargetKind.TOKENS}:
            counts = count_labels(targets, self.num_classes)
        return TargetFacts(kind=kind, shape=targets.shape[1:], class_counts=counts, train_targets=targets)

    def class_name(self, label: int) -> str:
        """Return how a person calls class number `label`."""
        return repr(self.classes[label]) if self.classes else str(label)

    def as_numbers(self, inputs: Array) -> Array:
        """Return inputs in the numbers that they stand for, whatever type holds them: float32, float64 or int64."""
        if self.divide_by is not None:
            return inputs.astype(np.float32) / np.float32(self.divide_by)
        if np.issubdtype(inputs.dtype, np.integer):
            return inputs.astype(np.int64, copy=False)
        return inputs.astype(np.float32) if inputs.dtype == np.float16 else inputs

    @property
    def number_type(self) -> np.dtype[Any]:
        """The type of `as_numbers`."""
        return self.as_numbers(self.inputs[:0]).dtype if isinstance(self.inputs, np.ndarray) else self.inputs.dtype

    def with_test(self, test_inputs: Array | Source, test_targets_N: Ints | Floats, place: Place) -> RawData:
        """Return the data with other test data, whose rows are at `place`."""
        return replace(self, test_inputs=test_inputs, test_targets_N=test_targets_N, test_place=place)

    def split(self, is_test_N: npt.NDArray[np.bool_]) -> RawData:
        """Return the data with some of its training rows as its test data."""
        return replace(
            self,
            inputs=self.inputs[~is_test_N],
            targets_N=self.targets_N[~is_test_N],
            sources_N=self.sources_N[~is_test_N],
            order_N=None if self.order_N is None else self.order_N[~is_test_N],
            test_inputs=self.inputs[is_test_N],
            test_targets_N=self.targets_N[is_test_N],
            place=_of(self.place, ~is_test_N),
            test_place=_of(self.place, is_test_N),
        )


def _of(place: Place, chosen_N: npt.NDArray[np.bool_]) -> Place:
    """The places of the chosen rows."""
    rows = np.flatnonzero(chosen_N)
    return lambda row: place(int(rows[row]))
