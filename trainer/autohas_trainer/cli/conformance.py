"""`autohas conformance`: custom data and models against the entrypoint contract, promise by promise. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import torch
from rich.console import Console
from torch import Tensor

from autohas_api.accept.acceptance import accept
from autohas_api.base.objective_metrics import TaskKind
from autohas_api.space.decisions import Role, Space
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Spec
from autohas_trainer.cli.exits import UsageError
from autohas_trainer.cli.settings import apply_settings
from autohas_trainer.conformance import Check, check_data, check_model, check_template, check_train_transform
from autohas_trainer.data.custom import FIELD as DATA_FIELD
from autohas_trainer.data.custom import make_data
from autohas_trainer.engine.training.judged_task import build_task
from autohas_trainer.engine.training.own_training_checks import check_own_training
from autohas_trainer.engine.training.search_task import SearchTask, load_splits
from autohas_trainer.entrypoints import load_object
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.pretrained import read_pretrained
from autohas_trainer.seeding import make_deterministic
from autohas_trainer.templates import build_template, check_agreement
from autohas_trainer.templates.custom import FIELD as MODEL_FIELD
from autohas_trainer.templates.custom import build_custom

__all__ = ["Target", "conformance"]


_NUM_EXAMPLES: Final = 8
_Sections = Iterator[tuple[str, Callable[[], list[Check]]]]
"""Pairs of a title and the function that runs its checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to check: data and model of a search, or one entrypoint, which is a model where `input_shape` is given, else data."""

    name: str
    input_shape: tuple[int, ...] | None
    num_outputs: int | None
    arguments: Mapping[str, str]
    regression: bool
    settings: Sequence[str] = ()
    """Changes of the search file, as `apply_settings` takes them."""
    search: Mapping[str, Any] | None = None
    """The content of the file `name`; None: `name` is an entrypoint."""


def conformance(target: Target, console: Console) -> None:
    """Check every promise and print it with its outcome.

    Raises:
        ConfigurationError: A promise is broken.
        UsageError: The options do not fit together.
    """
    make_deterministic(1)
    sections = _of_entrypoint(target) if target.search is None else _of_search(target.search, target.settings)
    broken = 0
    for title, check_all in sections:
        console.print(title, markup=False, highlight=False, soft_wrap=True)  # first: the checks may take long
        for check in check_all():
            broken += check.problem is not None
            mark, why = ("kept  ", "") if check.problem is None else ("BROKEN", f": {check.problem}")
            console.print(f"  {mark}  {check.promise}{why}", markup=False, highlight=False, soft_wrap=True)
    if broken:
        promises = "promise is" if broken == 1 else "promises are"
        message = f"{broken} {promises} broken; see above"
        raise ConfigurationError(message)


def _of_entrypoint(target: Target) -> _Sections:
    if target.settings:
        raise UsageError(f"--set changes a search file, and {target.name} is none: give a .yaml file, or remove --set {target.settings[0]}")
    if target.input_shape is None:
        yield f"data {target.name}", partial(_data_checks, target.name, None, target.arguments, regression=target.regression)
        return
    if target.num_outputs is None:
        raise UsageError("--input-shape is for a model, which needs --outputs too: the number of classes, or 1 in a regression")
    factory = load_object(target.name, MODEL_FIELD)
    yield (
        f"model {target.name}",
        partial(check_model, factory, input_shape=target.input_shape, num_outputs=target.num_outputs, arguments=target.arguments),
    )


def _of_search(document: Mapping[str, Any], settings: Sequence[str]) -> _Sections:
    search, space = accept(apply_settings(document, settings))
    spec = search.spec
    regression = spec.objective.kind is TaskKind.REGRESSION
    if spec.task.data.entrypoint is not None:
        data = spec.task.data
        assert data.entrypoint is not None  # noqa: S101 - for the type checker
        checks = cache(partial(_data_checks, data.entrypoint, data.path, data.arguments, regression=regression))
        yield f"data {data.entrypoint}", checks
        if any(check.problem is not None for check in checks()):
            return
    if spec.task.data.train_transform is not None:
        yield f"train transform {spec.task.data.train_transform}", partial(_transform_checks, spec, space)
    if spec.task.training is not None:
        yield f"training {spec.task.training.entrypoint}", partial(_training_checks, spec, space)
        return
    yield f"model {spec.task.model.label}", partial(_model_checks, spec)


def _transform_checks(spec: Spec, space: Space) -> list[Check]:
    """Check the own transform of training examples on the first batch, with each value of each custom hyperparameter."""
    splits = load_splits(spec, torch.device("cpu"))
    own = [d for d in space.decisions if d.role is not Role.ARCHITECTURE and d.name not in KNOWN]
    default = space.as_mapping(space.default)
    defaults = {decision.name: default[decision.name] for decision in own}
    changed = [{**defaults, d.name: choice} for d in own for choice in d.choices if choice != defaults[d.name]]

    def read(values: Mapping[str, str]) -> Tensor:
        splits.close()  # forgets what was read
        return splits.train_batch(0, min(_NUM_EXAMPLES, splits.num_train), 0, values=tuple(values.items())).inputs

    with closing(splits):
        return check_train_transform(read, [defaults, *changed])


def _training_checks(spec: Spec, space: Space) -> list[Check]:
    """Check own training on the search's own data, with searched values too."""
    search_task = SearchTask.load(spec, space, torch.device("cpu"), is_search=False)
    return [Check(promise=promise, problem=problem) for promise, problem in check_own_training(search_task)]


def _data_checks(entrypoint: str, path: str | None, arguments: Mapping[str, str], *, regression: bool) -> list[Check]:
    return check_data(
        make_data(entrypoint, path, arguments), f"{DATA_FIELD} {entrypoint}", TaskKind.REGRESSION if regression else TaskKind.CLASSIFICATION
    )


def _model_checks(spec: Spec) -> list[Check]:
    """Check the model of a search on its own training inputs, and its decisions against the spec's."""
    model, device = spec.task.model, torch.device("cpu")
    splits = load_splits(spec, device)
    task = build_task(spec, splits, device)
    inputs = splits.train_batch(0, min(8, splits.num_train), 0).inputs
    if model.template is not None:
        template = build_template(
            model.template, splits.input_shape, task.num_outputs, is_tokens=not splits.has_real_inputs, words=splits.word_blocks
        )
        return check_template(template, inputs, task.output_shape)
    assert model.entrypoint is not None  # noqa: S101 - the contract's rule: exactly one of both
    template = build_custom(model.entrypoint, model.arguments, splits.input_shape, task.num_outputs, read_pretrained(model.pretrained))
    try:
        check_agreement(spec, template)
    except ConfigurationError as error:
        return [Check(promise="agrees with the spec", problem=str(error))]
    return [Check(promise="agrees with the spec", problem=None), *check_template(template, inputs, task.output_shape)]
