"""What `autohas conformance` asks of own training: with the default, with every searched value, and with two trainings at a time.

Each promise is checked on trainings of a few steps, taken by the engine as a search takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from autohas_api.space.decisions import Configuration
from autohas_api.spec.hyperparameters import KNOWN
from autohas_trainer.engine.training.comparison import Comparison, paired_standard_error
from autohas_trainer.engine.training.own_training import OwnTraining, WatchedTraining
from autohas_trainer.engine.training.own_values import is_left_to_code
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import TrainerError
from autohas_trainer.seeding import stream

__all__ = ["check_own_training"]

_STEPS: Final = 3
_MOST_CHOICES: Final = 8
"""Values that are tried of each decision: the first ones of a list, the bases of a range."""
_NUM_RANDOM: Final = 4

Tensors = Mapping[str, Tensor]


def check_own_training(search_task: SearchTask) -> list[tuple[str, str | None]]:
    """Return each promise with the sentence that says how it is broken, None where it is kept."""
    return [(promise, _answer(question, search_task)) for promise, question in _PROMISES.items()]


def _answer(question: Callable[[SearchTask], str | None], search_task: SearchTask) -> str | None:
    try:
        return question(search_task)
    except TrainerError as error:
        return str(error)


def _configurations(search_task: SearchTask) -> Iterator[Configuration]:
    """Yield the default, every value of each decision once, and random configurations."""
    space = search_task.space
    default = space.as_mapping(space.default)
    yield space.default
    for decision in space.decisions:
        for choice in decision.choices[:_MOST_CHOICES]:
            if choice != default[decision.name]:
                yield _configuration(search_task, {**default, decision.name: choice})
    for draw in range(_NUM_RANDOM):
        rng = stream("conformance", "values", draw)
        yield _configuration(search_task, {d.name: d.choices[int(rng.integers(len(d.choices)))] for d in space.decisions})


def _configuration(search_task: SearchTask, values: Mapping[str, str]) -> Configuration:
    return Configuration(values=tuple(values[decision.name] for decision in search_task.space.decisions))


def _other(search_task: SearchTask) -> Configuration:
    """A configuration that is not the default, where the space has one."""
    return next((c for c in _configurations(search_task) if c != search_task.space.default), search_task.space.default)


def _take(training: OwnTraining, steps: int = _STEPS) -> dict[str, Tensor]:
    for _ in range(steps):
        training.step()
    return {name: tensor.clone() for name, tensor in training.tensors().items()}


def _difference(one: Tensors, other: Tensors) -> str | None:
    """The first tensor in which two trainings differ; NaN equals itself."""
    names = sorted(one.keys() | other.keys())
    return next((n for n in names if n not in one or n not in other or not torch.equal(one[n].nan_to_num(), other[n].nan_to_num())), None)


def _runs(search_task: SearchTask) -> str | None:
    first: Comparison | None = None
    for configuration in _configurations(search_task):
        try:
            training = OwnTraining(search_task, configuration)
            training.require_own_parameters()
            _take(training, 1)
            comparison = training.compare(keeps_contributions=True)
            first = first or comparison
            paired_standard_error(first, comparison)  # raises where the metric has another form
        except TrainerError as error:
            return f"{error} (values {dict(search_task.space.as_mapping(configuration))})"
    return None


def _is_seeded(search_task: SearchTask) -> str | None:
    one, other = (_take(OwnTraining(search_task, search_task.space.default)) for _ in range(2))
    if (name := _difference(one, other)) is None:
        return None
    return f"{name} differs after {_STEPS} steps from equal seeds; draw from torch's, numpy's or Python's global generator only"


def _is_alone(search_task: SearchTask) -> str | None:
    default, other = search_task.space.default, _other(search_task)
    expected = _take(OwnTraining(search_task, default))
    first, second = OwnTraining(search_task, default), OwnTraining(search_task, other)
    for _ in range(_STEPS):
        first.step()
        second.step()
    name = _difference(expected, first.tensors())
    return None if name is None else f"{name} differs when another training takes steps in between; keep nothing outside of the object"


def _resumes(search_task: SearchTask) -> str | None:
    default = search_task.space.default
    expected = _take(OwnTraining(search_task, default), 2 * _STEPS)
    first = OwnTraining(search_task, default)
    tensors = _take(first)
    second = OwnTraining(search_task, default)
    second.load(first.state_dict(), tensors)
    name = _difference(expected, _take(second))
    return None if name is None else f"{name} differs after a resume; return from state_dict what training_loss keeps between calls"


def _only_measures(search_task: SearchTask) -> str | None:
    training = OwnTraining(search_task, search_task.space.default)
    before = _take(training, 1)
    one, other = training.compare(), training.compare()
    if (name := _difference(before, training.tensors())) is not None:
        return f"evaluate changed {name}"
    return None if one.metric == other.metric else f"evaluate gave {one.metric}, then {other.metric} for the same module"


def _reads(search_task: SearchTask) -> str | None:
    read: set[str] = set()
    has_own_optimizer = False
    for configuration in _configurations(search_task):
        training = WatchedTraining(search_task, configuration)
        training.step()
        training.compare()
        read |= training.recorder.read
        has_own_optimizer = training.has_own_optimizer
    names = [decision.name for decision in search_task.space.decisions]
    idle = [n for n in names if n not in read and (n not in KNOWN or is_left_to_code(n, has_own_optimizer=has_own_optimizer))]
    return f"nothing reads values[{idle[0]!r}], which is searched" if idle else None


_PROMISES: Final[dict[str, Callable[[SearchTask], str | None]]] = {
    "builds, steps and evaluates with every searched value": _runs,
    "equal seeds give equal bits": _is_seeded,
    "trainings do not change each other": _is_alone,
    "a resume gives equal bits": _resumes,
    "evaluate changes nothing": _only_measures,
    "every searched value is read": _reads,
}
"""Promises in the order in which they are printed."""
