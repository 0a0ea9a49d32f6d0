"""The conformance test of custom models and data: checks every promise that AutoHAS relies on.

In a test of yours:

    from autohas_trainer.conformance import assert_data_conforms, assert_model_conforms

    def test_model_conforms():
        assert_model_conforms(WaveNets, input_shape=(1, 64), num_outputs=3)

    def test_data_conforms():
        assert_data_conforms(Waveforms())

The same runs as `autohas conformance`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as File
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from autohas_api.base.objective_metrics import TaskKind
from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.data import RawData
from autohas_trainer.data.custom import read_splits
from autohas_trainer.errors import TrainerError
from autohas_trainer.nn.searchable import Searchable
from autohas_trainer.nn.sizes import check_sizes
from autohas_trainer.seeding import seed_globals, stream
from autohas_trainer.templates import Path, Shape, Template, default_path, load_leaves, trained_parameters, use_batch_statistics
from autohas_trainer.templates.agreement import build_problem, forward_problem
from autohas_trainer.templates.custom import wrap_custom

__all__ = ["Check", "assert_data_conforms", "assert_model_conforms", "check_data", "check_model", "check_template", "check_train_transform"]

_NUM_INPUTS: Final = 8
_NUM_RANDOM_PATHS: Final = 8
_MAX_PATHS: Final = 64
_TOLERANCE: Final = 1e-3
"""Relative and absolute: two ways to compute the same network in float32 differ by rounding only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One promise; `problem` is the sentence that says how it is broken, None where it is kept."""

    promise: str
    problem: str | None


def assert_model_conforms(
    factory: Callable[..., Any], *, input_shape: Shape, num_outputs: int, arguments: Mapping[str, str] | None = None
) -> None:
    """Raise an AssertionError with every broken promise of a custom model.

    Args:
        factory: What the entrypoint names.
        input_shape: Shape of one input, without the batch.
        num_outputs: Number of classes, 1 in a regression.
        arguments: Keywords for the factory, as in task.model.arguments.
    """
    _raise_broken(check_model(factory, input_shape=input_shape, num_outputs=num_outputs, arguments=arguments))


def assert_data_conforms(data: Any, *, regression: bool = False) -> None:  # noqa: ANN401 - custom code
    """Raise an AssertionError with every broken promise of custom data, an object with `splits()`."""
    _raise_broken(check_data(data, "the data", TaskKind.REGRESSION if regression else TaskKind.CLASSIFICATION))


def _raise_broken(checks: list[Check]) -> None:
    broken = [f"{check.promise}: {check.problem}" for check in checks if check.problem is not None]
    if broken:
        raise AssertionError("\n".join(broken))


def check_model(
    factory: Callable[..., Any],
    *,
    input_shape: Shape,
    num_outputs: int,
    arguments: Mapping[str, str] | None = None,
) -> list[Check]:
    """Check a custom model on noise of `input_shape`."""
    try:
        template = wrap_custom(factory, "the model", arguments, input_shape, num_outputs)
    except TrainerError as error:
        return [Check(promise="can be made", problem=str(error))]
    noise = stream("conformance", "inputs").standard_normal((_NUM_INPUTS, *input_shape))
    return [Check(promise="can be made", problem=None), *check_template(template, torch.tensor(noise, dtype=torch.float32), (num_outputs,))]


def check_template(template: Template, inputs: Tensor, output_shape: Shape) -> list[Check]:
    """Check any family of networks, whose outputs for one example are (K,), or (T, K) for tokens: default, every choice, random paths."""
    decisions = _decisions_problem(template.decisions)
    if decisions is None and isinstance(template, Searchable):
        try:
            check_sizes(template, "the model", inputs)
        except TrainerError as error:
            decisions = str(error)
    checks = [Check(promise="decisions are sound", problem=decisions)]
    if decisions is not None:
        return checks
    paths, subject = list(_paths(template.decisions)), _Subject(template=template, inputs=inputs.cpu(), output_shape=output_shape)
    for promise, problem_of in _PROMISES.items():
        checks.append(Check(promise=promise, problem=_first_problem(problem_of, subject, paths)))
    return checks


def check_data(data: Any, who: str, kind: TaskKind) -> list[Check]:  # noqa: ANN401 - custom code
    """Check custom data: splits() can be read and returns the same at every call."""
    try:
        seed_globals("custom data")
        one = read_splits(data.splits(), who, kind)
        seed_globals("custom data again")
        other = read_splits(data.splits(), who, kind)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any exception of custom code is the problem
        return [Check(promise="splits can be read", problem=_describe_error(error))]
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in ("inputs", "targets_N", "test_inputs", "test_targets_N")}
    differing = [name for name, (first, second) in pairs.items() if not np.array_equal(first, second)]
    problem = f"splits() gave other {differing[0]} at the second call; a resume needs the same every time" if differing else None
    overlap = _overlap(one.inputs, one.test_inputs)
    shared = f"{overlap} of {len(one.test_inputs)} test inputs are training inputs too" if overlap else None
    return [
        Check(promise="splits can be read", problem=None),
        Check(promise="splits are the same at every call", problem=problem),
        Check(promise="no test input is a training input", problem=shared),
        *([] if not callable(getattr(data, "augment", None)) else [_check_augment(data, one)]),
    ]


def _check_augment(data: Any, raw: RawData) -> Check:  # noqa: ANN401 - custom code
    """Check that an augmentation keeps shape and type and draws from its generator only."""
    assert isinstance(raw.inputs, np.ndarray)  # noqa: S101 - splits() gives arrays
    inputs, problem = torch.tensor(raw.as_numbers(raw.inputs[:_NUM_INPUTS])), None
    try:
        one, other = (data.augment(inputs.clone(), stream("conformance", "augment"), {}) for _ in range(2))
        if not isinstance(one, Tensor) or (one.shape, one.dtype) != (inputs.shape, inputs.dtype):
            problem = f"augment(inputs, rng, hyperparameters) must give {tuple(inputs.shape)} of {inputs.dtype} as it got"
        elif not torch.equal(one, other):
            problem = "augment() gave other inputs with an equal rng; draw from it only"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any exception of custom code is the problem
        problem = _describe_error(error)
    return Check(promise="augment keeps the shape and draws from its generator", problem=problem)


def check_train_transform(read: Callable[[Mapping[str, str]], Tensor], candidates: Sequence[Mapping[str, str]]) -> list[Check]:
    """Check the search's own transform of training examples with the values of some candidates.

    Args:
        read: Reads one training batch again, with the same keys at every call.
        candidates: Custom hyperparameters by name; the default first.
    """
    problem: str | None = None
    for values in candidates:
        shown = ", ".join(f"{name}={value}" for name, value in values.items())
        try:
            one, other = read(values), read(values)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any exception of custom code is the problem
            problem = _describe_error(error)
        else:
            if not torch.equal(one, other):
                with_values = f" and values {shown}" if shown else ""
                problem = f"it gave another image with an equal rng{with_values}; draw from rng only, or by torch's global generator"
        if problem is not None:
            break
    return [Check(promise="each image keeps its size, and is drawn from its generator", problem=problem)]


def _overlap(inputs: Any, test_inputs: Any) -> int:  # noqa: ANN401 - arrays of any number type
    training_rows = {row.tobytes() for row in inputs}
    return sum(row.tobytes() in training_rows for row in test_inputs)


def _describe_error(error: BaseException) -> str:
    return str(error) if isinstance(error, TrainerError) else f"raised {type(error).__name__}: {error}"


def _decisions_problem(decisions: tuple[TemplateDecision, ...]) -> str | None:
    """Return the first problem of the decisions; a condition may name earlier decisions only."""
    decision_by_name: dict[str, TemplateDecision] = {}
    for decision in decisions:
        if decision.default not in decision.choices:
            return f"{decision.name} has default {decision.default}, which is none of its choices"
        if (when := decision.when) is not None:
            if when.decision not in decision_by_name:
                return f"{decision.name} depends on {when.decision}, which must stand before it"
            foreign = [value for value in when.values if value not in decision_by_name[when.decision].choices]
            if foreign:
                return f"{decision.name} depends on {when.decision} being {foreign[0]}, which is none of its choices"
        decision_by_name[decision.name] = decision
    return None


def _paths(decisions: tuple[TemplateDecision, ...]) -> Iterator[dict[str, str]]:
    """Yield the default, every choice once (where it is active), and random paths."""
    default = default_path(decisions)
    yield default
    parents = {decision.name: decision.when for decision in decisions}
    singles = []
    for decision in decisions:
        for choice in decision.choices:
            path, when = {**default, decision.name: choice}, decision.when
            while when is not None:
                path[when.decision] = path[when.decision] if path[when.decision] in when.values else when.values[0]
                when = parents[when.decision]
            if path != default:
                singles.append(path)
    yield from singles[: _MAX_PATHS - _NUM_RANDOM_PATHS - 1]
    for draw in range(_NUM_RANDOM_PATHS if decisions else 0):
        rng = stream("conformance", "path", draw)
        yield {decision.name: decision.choices[int(rng.integers(len(decision.choices)))] for decision in decisions}


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What every question is about; the shapes of the shared tensors are found once, for a family's may be large."""

    template: Template
    inputs: Tensor
    output_shape: Shape

    @cached_property
    def _shared(self) -> dict[str, Tensor]:
        """The shared tensors without their memory."""
        return {name: tensor.to("meta") for name, tensor in self.template.shared(("conformance",)).items()}

    def leaves(self, path: Path) -> dict[str, Tensor]:
        """Return leaves without the symmetries of an initialisation: no ones, no zeros."""
        shapes = {name: tuple(self._shared[name][index].shape) for name, index in self.template.slices(path).items()}
        return {
            name: torch.tensor(0.3 * stream("conformance", "leaf", name).standard_normal(shape), dtype=torch.float32)
            for name, shape in shapes.items()
        }


_Question = Callable[[_Subject, Path], str | None]


def _first_problem(problem_of: _Question, subject: _Subject, paths: list[dict[str, str]]) -> str | None:
    """Ask a question about every path; return the first answer with its path."""
    for path in paths:
        try:
            problem = problem_of(subject, path)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any exception of custom code is the problem
            problem = _describe_error(error)
        if problem is not None:
            return f"{problem} (path {path})" if path else problem
    return None


def _forward(subject: _Subject, path: Path) -> str | None:
    return forward_problem(subject.template, path, subject.leaves(path), subject.inputs, subject.output_shape)


def _build(subject: _Subject, path: Path) -> str | None:
    return build_problem(subject.template, path, subject.leaves(path), subject.inputs, subject.output_shape)


@torch.no_grad()
def _forms_agree(subject: _Subject, path: Path) -> str | None:
    leaves, network = subject.leaves(path), subject.template.build(path, ("conformance",))
    load_leaves(network, leaves)
    expected, actual = use_batch_statistics(network)(subject.inputs), subject.template.forward(subject.inputs, path, leaves)
    if torch.allclose(expected, actual, rtol=_TOLERANCE, atol=_TOLERANCE):
        return None
    return f"forward() and build() differ by {float((expected - actual).abs().max()):.3g} with the same weights and the batch's statistics"


def _forms_agree_in_training(subject: _Subject, path: Path) -> str | None:
    """Ask the same of both forms in training mode, whose dropout draws from the global generators.

    A model with a forward of its own may leave out the dropout of its networks; that is no disagreement.
    """
    leaves, network = subject.leaves(path), subject.template.build(path, ("conformance",))
    load_leaves(network, leaves)
    outputs: list[Tensor] = []
    for seed in (1, 1, 2):
        seed_globals("conformance", seed)
        given = network.train()(subject.inputs) if outputs else subject.template.forward(subject.inputs, path, leaves)
        outputs.append(given.detach())
    actual, expected, other = outputs
    if torch.allclose(expected, actual, rtol=_TOLERANCE, atol=_TOLERANCE):
        return None
    if not isinstance(subject.template, Searchable) and not torch.allclose(expected, other, rtol=_TOLERANCE, atol=_TOLERANCE):
        return None
    return f"forward() and build() differ by {float((expected - actual).abs().max()):.3g} in training mode with the same weights and seeds"


@torch.no_grad()
def _is_deterministic(subject: _Subject, path: Path) -> str | None:
    one, other = subject.template.shared(("conformance", 1)), subject.template.shared(("conformance", 1))
    if differing := _find_difference(one, other):
        return f"shared() gave another {differing} with the same seeds; draw from torch's, numpy's or Python's global generator only"
    first, second = (subject.template.build(path, ("conformance", 2)).state_dict() for _ in range(2))
    if differing := _find_difference(first, second):
        return f"build() gave another {differing} with the same seeds; draw from torch's, numpy's or Python's global generator only"
    leaves, outputs = subject.leaves(path), []
    for _ in range(2):
        seed_globals("conformance", 3)
        outputs.append(subject.template.forward(subject.inputs, path, leaves))
    return None if torch.equal(*outputs) else "forward() gave other outputs with the same seeds"


def _find_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    return next(
        (name for name in one.keys() | other.keys() if name not in one or name not in other or not one[name].equal(other[name])), None
    )


def _inactive_is_idle(subject: _Subject, path: Path) -> str | None:
    decision_by_name = {decision.name: decision for decision in subject.template.decisions}

    def is_active(decision: TemplateDecision) -> bool:
        when = decision.when
        return when is None or (path[when.decision] in when.values and is_active(decision_by_name[when.decision]))

    slices = subject.template.slices(path)
    for decision in subject.template.decisions:
        if is_active(decision):
            continue
        for choice in decision.choices:
            if subject.template.slices({**path, decision.name: choice}) != slices:
                return f"slices(path) changes with {decision.name}, which is inactive"
    return None


def _is_counted(subject: _Subject, path: Path) -> str | None:
    counted = subject.template.num_parameters(path)
    built = sum(parameter.numel() for parameter in trained_parameters(subject.template.build(path, ("conformance",))).values())
    return None if counted == built else f"slices(path) hold {counted} parameters, build() has {built}"


@torch.no_grad()
def _survives_a_file(subject: _Subject, path: Path) -> str | None:
    network, twin = subject.template.build(path, ("conformance", 1)).eval(), subject.template.build(path, ("conformance", 2)).eval()
    with tempfile.TemporaryDirectory() as folder:
        file = File(folder) / "model.safetensors"
        save_file({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in network.state_dict().items()}, file)
        twin.load_state_dict(load_file(file))
    if torch.equal(network(subject.inputs), twin(subject.inputs)):
        return None
    return "a network loaded from a file gives other outputs than the one saved"


_PROMISES: Final[dict[str, _Question]] = {
    "forward gives (B, K) and uses its leaves": _forward,
    "build has the same parameters": _build,
    "both forms compute the same": _forms_agree,
    "both forms compute the same in training mode": _forms_agree_in_training,
    "equal seeds give equal numbers": _is_deterministic,
    "inactive decisions change nothing": _inactive_is_idle,
    "parameters are counted": _is_counted,
    "weights survive a file": _survives_a_file,
}
