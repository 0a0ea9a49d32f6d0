"""Custom data by entrypoint: `object(**arguments)`, with `path` as a keyword when the search gives one, has `splits()`.

    splits() -> {"train": (inputs, targets), "test": (inputs, targets)}

Inputs are numpy arrays or tensors (N, ...), numbers or, for tokens, integers; they are used as they are, so normalise them. Targets are
(N,): classes counted from 0, or numbers when the metric is rmse, mae or r2; or several of each example, see `custom_targets`. Reward and
selection are split off train. A third array next to train's targets names the group of each example (a patient, a document): a group
never lies in two splits.

    augment(inputs, rng, hyperparameters) -> inputs     optional: changes each batch that makes gradients

`rng` is a numpy generator keyed by the step; `hyperparameters` are the search's own, by name, as strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from torch import Tensor

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.custom_targets import check_alike, count_classes, read_custom_targets
from autohas_trainer.data.raw import Array, Floats, Ints, RawData
from autohas_trainer.data.spellings import equal_numbers
from autohas_trainer.entrypoints import attribute_errors_to, format_arguments, load_object, require_names
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.seeding import seed_globals

__all__ = ["custom_data", "make_data", "read_splits"]

FIELD: Final = "task.data.entrypoint"
_WIDER: Final = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
_MAX_ROUNDING: Final = 0.01
"""Of an input's standard deviation."""


def custom_data(entrypoint: str, path: str | None, arguments: Mapping[str, str], kind: TaskKind) -> RawData:
    """Import custom data and read its splits.

    Raises:
        ConfigurationError: It is not there, raises, or gives something else than splits; names the JSON path.
        DataError: A file that it reads is missing, or its examples cannot be; names split and row.
    """
    who = f"{FIELD} {entrypoint}"
    data = make_data(entrypoint, path, arguments)
    if not callable(getattr(data, "splits", None)):
        message = f"{who} gave a {type(data).__name__} without splits(); see the entrypoint contract"
        raise ConfigurationError(message)
    with attribute_errors_to(who, "splits()"):
        splits = data.splits()
    augment = getattr(data, "augment", None)
    return replace(read_splits(splits, who, kind), augment=augment if callable(augment) else None)


def make_data(entrypoint: str, path: str | None, arguments: Mapping[str, str]) -> Any:  # noqa: ANN401 - custom code
    """Import custom data and call it by name.

    Raises:
        ConfigurationError: It is not there, does not take the arguments, or raises.
        DataError: A file that it reads is missing.
    """
    who = f"{FIELD} {entrypoint}"
    factory = load_object(entrypoint, FIELD)
    keyword_arguments = dict(arguments) if path is None else {"path": path, **arguments}
    name, module = getattr(factory, "__qualname__", "factory"), getattr(factory, "__module__", "package.module")
    wrapper = f"from {module} import {name}\ndef make({', '.join(keyword_arguments)}):\n    return {name}(...)"
    require_names(factory, tuple(keyword_arguments), who, wrapper, explicit=False)
    seed_globals("custom data")
    with attribute_errors_to(who, f"calling it with {format_arguments(keyword_arguments) or 'nothing'}"):
        return factory(**keyword_arguments)


def read_splits(splits: Any, who: str, kind: TaskKind) -> RawData:  # noqa: ANN401 - custom code
    """Check what `splits()` gave; `who` speaks in errors.

    Raises:
        ConfigurationError: It is no dictionary of train and test, or the arrays do not fit together.
        DataError: A number is not finite, a class is out of range, or a split is empty.
    """
    if not isinstance(splits, Mapping) or set(splits) != {"train", "test"}:
        description = f"keys {', '.join(map(str, splits))}" if isinstance(splits, Mapping) else f"a {type(splits).__name__}"
        message = f"{who}: splits() gave {description}; it must give a dictionary with train and test"
        raise ConfigurationError(message)
    inputs, targets_N, groups = _parts(splits["train"], "train", who, kind)
    test_inputs, test_targets_N, _ = _parts(splits["test"], "test", who, kind)
    if inputs.shape[1:] != test_inputs.shape[1:] or inputs.dtype != test_inputs.dtype:
        message = (
            f"{who}: train inputs are {inputs.shape[1:]} of {inputs.dtype}, test inputs {test_inputs.shape[1:]} of {test_inputs.dtype};"
            " they must be alike"
        )
        raise ConfigurationError(message)
    has_classes = kind is TaskKind.CLASSIFICATION
    check_alike(targets_N, test_targets_N, who, has_classes=has_classes)
    num_classes = count_classes(targets_N, test_targets_N, who) if has_classes else None
    return RawData(
        name=who,
        inputs=inputs,
        targets_N=targets_N,
        sources_N=np.arange(len(targets_N)) if groups is None else _sources(groups, who),
        test_inputs=test_inputs,
        test_targets_N=test_targets_N,
        num_classes=num_classes,
        scaled_C=(),
        preprocessing={"kind": "custom", "entrypoint": who.removeprefix(f"{FIELD} ")},
        place=lambda row: f"{who}: train row {row}",
        test_place=lambda row: f"{who}: test row {row}",
    )


def _parts(split: Any, name: str, who: str, kind: TaskKind) -> tuple[Array, Ints | Floats, Array | None]:  # noqa: ANN401 - custom code
    """Return inputs, targets and perhaps groups of one split."""
    allowed = (2, 3) if name == "train" else (2,)
    if not isinstance(split, tuple | list) or len(split) not in allowed:
        message = f"{who}: splits()[{name!r}] must be (inputs, targets){' or (inputs, targets, groups)' if name == 'train' else ''}"
        raise ConfigurationError(message)
    arrays = [_array(part, f"{name} {what}", who) for part, what in zip(split, ("inputs", "targets", "groups"), strict=False)]
    inputs, *rows = arrays
    targets_N, *groups = rows
    if len({len(array) if array.ndim else -1 for array in arrays}) > 1 or inputs.ndim < 2 or any(array.ndim != 1 for array in groups):  # noqa: PLR2004 - (N, ...)
        shapes = ", ".join(str(array.shape) for array in arrays)
        message = f"{who}: {name} arrays have shapes {shapes}; inputs must be (N, ...), targets (N,) or more, groups (N,), of one length"
        raise ConfigurationError(message)
    if len(targets_N) == 0:
        message = f"{who}: {name} has no examples"
        raise DataError(message)
    inputs = _inputs(inputs, name, who)
    return inputs, read_custom_targets(targets_N, name, who, kind), groups[0] if groups else None


def _array(part: Any, what: str, who: str) -> Array:  # noqa: ANN401 - custom code
    with attribute_errors_to(who, f"reading the {what} as an array"):
        return part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)


def _sources(groups: Array, who: str) -> Ints:
    """Return the number of each row's group."""
    with attribute_errors_to(who, "comparing the train groups"):
        for row, group in enumerate(groups.tolist()):
            if group is None or group != group:  # noqa: PLR0124 - only NaN differs from itself
                message = f"{who}: the train group of row {row} is {group}; every row needs one; give it a group of its own"
                raise DataError(message)
        pair = equal_numbers(map(str, dict.fromkeys(groups.tolist()))) if groups.dtype.kind in "OSU" else None
        if pair is not None:
            rows = [next(row for row, group in enumerate(groups.tolist()) if str(group) == spelling) for spelling in pair]
            message = (
                f"{who}: the train group of row {rows[1]} is {pair[1]!r}, the number that row {rows[0]} writes as {pair[0]!r}: one group in"
                " two spellings could lie in two splits; write them alike"
            )
            raise DataError(message)
        return np.unique(groups, return_inverse=True)[1]


def _inputs(inputs: Array, name: str, who: str) -> Array:
    """Return float32, float16 as it is, or integers, in a type that torch indexes; finite."""
    if np.issubdtype(inputs.dtype, np.integer):
        return inputs.astype(_WIDER.get(inputs.dtype.name, inputs.dtype))
    if not (np.issubdtype(inputs.dtype, np.floating) or inputs.dtype == np.bool_):
        message = f"{who}: {name} inputs are of type {inputs.dtype}; they must be numbers"
        raise ConfigurationError(message)
    with np.errstate(over="ignore"):
        single = inputs.astype(np.float32)
    finite = np.isfinite(single).reshape(len(single), -1).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        in_what = " in float32" if np.isfinite(inputs[row]).all() else ""
        message = f"{who}: {name} inputs have a value that is not finite{in_what} in row {row}; fix or drop it"
        raise DataError(message)
    if inputs.dtype == np.float64:
        _refuse_lost_differences(inputs, single, name, who)
    return inputs.copy() if inputs.dtype == np.float16 else single


def _refuse_lost_differences(inputs: Array, single: Floats, name: str, who: str) -> None:
    """Refuse float64 inputs whose differences float32 does not hold: moments in seconds, say, of one day.

    Raises:
        DataError: Rounding moves the values of some input by more than a hundredth of their deviation.
    """
    deviation = inputs.std(axis=0)
    lost = np.abs(inputs - single).max(axis=0) > _MAX_ROUNDING * deviation
    if (lost & (deviation > 0)).any():
        place = np.unravel_index(int(np.argmax(lost & (deviation > 0))), lost.shape)
        message = (
            f"{who}: {name} inputs [:, {', '.join(map(str, place))}] lie around {float(inputs[(0, *place)]):g} and differ by about"
            f" {float(deviation[place]):g}, which float32 rounds away; subtract their mean first"
        )
        raise DataError(message)
