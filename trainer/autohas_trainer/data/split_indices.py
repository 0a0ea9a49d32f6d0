"""Splits the training data into train, reward and selection, by source and keyed by the seed. Pure: indices in, indices out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autohas_trainer.data.held_out import first_of_latest
from autohas_trainer.data.raw import Ints, RawData
from autohas_trainer.data.spellings import number
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import stream

__all__ = ["SplitIndices", "split"]


_MANY_CLASSES = 10
_TRAIN, _REWARD, _SELECTION = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitIndices:
    """Row numbers of each split, disjoint, in a fixed shuffled order (a chunk of neighbours has all classes)."""

    train: Ints
    reward: Ints
    selection: Ints


def _count(total: int, fraction: float) -> int:
    """Return the nearest whole share, halves upwards."""
    return int(total * fraction + 0.5)


def _strata(raw: RawData, *, stratify: bool) -> list[Ints]:
    """Return the sources to divide, one group per class (or one in all: not stratified, or a regression)."""
    sources, first = np.unique(raw.sources_N, return_index=True)
    if not stratify or raw.labels is None:
        return [sources]
    classes = raw.labels[first]
    return [sources[classes == label] for label in np.unique(classes)]


def _too_few(raw: RawData, sources: Ints, counts: tuple[int, int, int], *, by_class: bool) -> str:
    """Return the error about sources that cannot be divided, with what to do."""
    what = "examples" if len(np.unique(raw.sources_N)) == len(raw.sources_N) else "sources"
    have = f"has {len(sources)} {what if len(sources) != 1 else what[:-1]}"
    splits = "too few for splits of {} train, {} reward and {} selection".format(*counts)
    if not by_class or raw.labels is None:
        return f"{raw.name}: the training data {have}, {splits}; enlarge task.splits or the data"
    label = int(raw.labels[raw.sources_N == sources[0]][0])
    is_numeric = len(raw.classes) >= _MANY_CLASSES and all(number(name) is not None for name in raw.classes)
    regression = "; if the target is a number and no class, set objective.metric to rmse" if is_numeric else ""
    return (
        f"{raw.name}: class {raw.class_name(label)} {have} outside of the test data, {splits}; merge it with another class or remove it,"
        f" or set task.splits.stratify to false{regression}"
    )


def _check_fractions(reward: float, selection: float) -> None:
    for name, fraction in (("reward", reward), ("selection", selection)):
        if not 0 < fraction < 1:
            message = f"task.splits.{name} must lie between 0 and 1, not {fraction}"
            raise ConfigurationError(message)
    if reward + selection >= 1:
        message = f"task.splits.reward {reward} and task.splits.selection {selection} leave nothing to train on"
        raise ConfigurationError(message)


def split(raw: RawData, *, reward: float, selection: float, stratify: bool, seed: int) -> SplitIndices:
    """Divide the training data.

    Args:
        raw: What is divided.
        reward: Share of the sources (of each class, when stratified) that rewards the policy, in (0, 1).
        selection: Share that chooses between candidates, in (0, 1); what remains trains.
        stratify: Whether each class is divided by itself; without effect on rows that have an order.
        seed: Keys the draw.

    Raises:
        ConfigurationError: A share is out of range, or so small that a split gets nothing (of some class, when stratified).
    """
    _check_fractions(reward, selection)
    owner_N = _split_by_order(raw, reward, selection) if raw.order_N is not None else _split_sources(raw, reward, selection, stratify, seed)
    rows = stream(seed, "carve", "order").permutation(len(raw.targets_N))
    owners = owner_N[rows]
    return SplitIndices(train=rows[owners == _TRAIN], reward=rows[owners == _REWARD], selection=rows[owners == _SELECTION])


def _split_sources(raw: RawData, reward: float, selection: float, stratify: bool, seed: int) -> Ints:  # noqa: FBT001 - as `split` says
    """Return the split (N,) of each row, drawn by source."""
    owner = np.full(int(raw.sources_N.max()) + 1, _TRAIN)
    for index, sources in enumerate(_strata(raw, stratify=stratify)):
        num_reward, num_selection = _count(len(sources), reward), _count(len(sources), selection)
        num_train = len(sources) - num_reward - num_selection
        if min(num_train, num_reward, num_selection) < 1:
            raise ConfigurationError(_too_few(raw, sources, (num_train, num_reward, num_selection), by_class=stratify))
        shuffled = stream(seed, "carve", index).permutation(sources)
        owner[shuffled] = _TRAIN
        owner[shuffled[:num_reward]] = _REWARD
        owner[shuffled[num_reward : num_reward + num_selection]] = _SELECTION
    owner_N: Ints = owner[raw.sources_N]
    return owner_N


def _split_by_order(raw: RawData, reward: float, selection: float) -> Ints:
    """Return the split (N,) of each row: the earliest train, the latest choose, those between reward; no draw, the same for every seed."""
    order_N = raw.order_N
    assert order_N is not None  # noqa: S101 - the caller has looked
    owner_N = np.full(len(order_N), _TRAIN)
    owner_N[order_N >= first_of_latest(order_N, reward + selection)] = _REWARD
    owner_N[order_N >= first_of_latest(order_N, selection)] = _SELECTION
    counts = np.bincount(owner_N, minlength=3)
    if counts.min() == 0:
        message = (
            f"{raw.name}: ordered by time, the {len(order_N)} training rows give {counts[_TRAIN]} train, {counts[_REWARD]} reward and"
            f" {counts[_SELECTION]} selection; rows of one time stay together: enlarge task.splits or the data, or order by a finer column"
        )
        raise ConfigurationError(message)
    return owner_N
