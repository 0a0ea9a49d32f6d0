"""Carving train, reward and selection out of the training data, by source and keyed by the seed. Pure: indices in, indices out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autohas_trainer.data.raw import Ints, RawData
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import stream

__all__ = ["Carving", "carve"]


_TRAIN, _REWARD, _SELECTION = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carving:
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
    classes = raw.targets_N[first]
    if not stratify or raw.num_classes is None:
        return [sources]
    return [sources[classes == label] for label in np.unique(classes)]


def _check_fractions(reward: float, selection: float) -> None:
    for name, fraction in (("reward", reward), ("selection", selection)):
        if not 0 < fraction < 1:
            message = f"task.splits.{name} must lie between 0 and 1, not {fraction}"
            raise ConfigurationError(message)
    if reward + selection >= 1:
        message = f"task.splits.reward {reward} and task.splits.selection {selection} leave nothing to train on"
        raise ConfigurationError(message)


def carve(raw: RawData, *, reward: float, selection: float, stratify: bool, seed: int) -> Carving:
    """Divide the training data.

    Args:
        raw: What is divided.
        reward: Share of the sources (of each class, when stratified) that rewards the policy, in (0, 1).
        selection: Share that chooses between candidates, in (0, 1); what remains trains.
        stratify: Whether each class is divided by itself.
        seed: Keys the draw.

    Raises:
        ConfigurationError: A share is out of range, or so small that a split gets nothing (of some class, when stratified).
    """
    _check_fractions(reward, selection)
    owner = np.full(int(raw.sources_N.max()) + 1, _TRAIN)
    for number, sources in enumerate(_strata(raw, stratify=stratify)):
        num_reward, num_selection = _count(len(sources), reward), _count(len(sources), selection)
        num_train = len(sources) - num_reward - num_selection
        if min(num_train, num_reward, num_selection) < 1:
            by_class = stratify and raw.num_classes is not None
            what = f"class {raw.targets_N[raw.sources_N == sources[0]][0]}" if by_class else "the training data"
            message = (
                f"{raw.name}: {what} has {len(sources)} sources, too few for splits of {num_train} train, "
                f"{num_reward} reward and {num_selection} selection; enlarge task.splits or the data"
            )
            raise ConfigurationError(message)
        shuffled = stream(seed, "carve", number).permutation(sources)
        owner[shuffled] = _TRAIN
        owner[shuffled[:num_reward]] = _REWARD
        owner[shuffled[num_reward : num_reward + num_selection]] = _SELECTION
    rows = stream(seed, "carve", "order").permutation(len(raw.targets_N))
    owners = owner[raw.sources_N[rows]]
    return Carving(train=rows[owners == _TRAIN], reward=rows[owners == _REWARD], selection=rows[owners == _SELECTION])
