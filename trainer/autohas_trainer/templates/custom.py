"""Custom models by entrypoint, as templates: an ordinary `torch.nn.Module`, or an object that cuts shared weights itself.

The object is called as `object(input_shape=..., num_outputs=..., **arguments)`, always by name, and both names must be parameters of its
own: `**kwargs` alone is refused. It gives either a module, whose decisions are its `autohas.nn` wrappers, or an object with these methods:

    decisions() -> list of {name, choices, default, when}    as in searchSpace.architecture.decisions, which must agree
    shared() -> {leaf: Tensor}                               full-size float32 weights, freshly initialised
    slices(path) -> {leaf: tuple of slices}                  the part of each shared tensor that a path uses, for the leaves it uses
    forward(inputs, path, leaves) -> Tensor (B, K)           the network of a path, normalised by the batch's own statistics
    build(configuration) -> torch.nn.Module                  the stand-alone network; its parameters are named as the leaves
    loss(outputs, targets, hyperparameters) -> Tensor (B,)   optional, of a plain module too: what trainings minimise

`path` and `configuration` map every decision to its choice; `configuration` also holds the search's own hyperparameters by name, which a
module's factory gets as keywords where it has parameters of these names. All values are strings. Custom code may draw from torch's,
numpy's and Python's global generators: they are seeded before every call. Conformance is checked by `autohas conformance` and, for the
default path, when a search starts.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from autohas_api.base.spec_errors import field_errors_of
from autohas_api.spec.search_space import ArchitectureDecision
from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.entrypoints import attribute_errors_to, format_arguments, load_object, require_names
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.pretrained import Pretrained
from autohas_trainer.nn.searchable import Searchable
from autohas_trainer.seeding import Key, seed_globals
from autohas_trainer.tasks import CustomLossFunction
from autohas_trainer.templates._base import Index, Path, Shape, Template

__all__ = ["CustomModel", "CustomModule", "build_custom"]

FIELD: Final = "task.model.entrypoint"
_METHODS: Final = ("decisions", "shared", "slices", "forward", "build")


def build_custom(
    entrypoint: str,
    arguments: Mapping[str, str] | None,
    input_shape: Shape,
    num_outputs: int,
    pretrained: Pretrained | None = None,
) -> Template:
    """Import a custom model and wrap it.

    Raises:
        ConfigurationError: It is not there, raises, or gives something else than a model, or `pretrained` does not fit; names the JSON
            path.
    """
    return wrap_custom(load_object(entrypoint, FIELD), f"{FIELD} {entrypoint}", arguments, input_shape, num_outputs, pretrained=pretrained)


def wrap_custom(  # noqa: PLR0913 - a factory, what it is called with, and its weights
    factory: Callable[..., Any],
    who: str,
    arguments: Mapping[str, str] | None,
    input_shape: Shape,
    num_outputs: int,
    *,
    pretrained: Pretrained | None = None,
) -> Template:
    """Call a factory and wrap what it gives; `who` speaks in errors."""
    require_names(factory, ("input_shape", "num_outputs"), who, _wrapper(factory), explicit=True)

    def make(input_shape: Shape = input_shape, num_outputs: int = num_outputs, **own: str) -> Any:  # noqa: ANN401 - whatever it gives
        keyword_arguments = {**(arguments or {}), **own}
        with attribute_errors_to(
            who, f"calling it with {', '.join(filter(None, (str(input_shape), str(num_outputs), format_arguments(keyword_arguments))))}"
        ):
            return factory(input_shape=input_shape, num_outputs=num_outputs, **keyword_arguments)

    seed_globals("custom model")
    network = make()
    if isinstance(network, nn.Module) and not all(callable(getattr(network, method, None)) for method in ("decisions", "slices", "build")):
        return CustomModule(make, input_shape, num_outputs, factory=factory, network=network, who=who, pretrained=pretrained)
    absent = [method for method in _METHODS if not callable(getattr(network, method, None))]
    if absent:
        message = (
            f"{who} gave a {type(network).__name__} without {', '.join(absent)}; it must give a torch.nn.Module,"
            f" or an object with {', '.join(_METHODS)}"
        )
        raise ConfigurationError(message)
    return CustomModel(network, who, pretrained)


def _wrapper(factory: Callable[..., Any]) -> str:
    """The function to write around a factory of another library."""
    name, module = getattr(factory, "__qualname__", "factory"), getattr(factory, "__module__", "package.module")
    inside = "num_classes=num_outputs" if any(p.name in ("num_classes", "kwargs") for p in _parameters_of(factory)) else "..."
    return f"from {module} import {name}\ndef make(input_shape, num_outputs):\n    return {name}({inside})"


class CustomModel:
    """A model with decisions; see the module's contract."""

    def __init__(self, model: Any, who: str, pretrained: Pretrained | None = None) -> None:  # noqa: ANN401 - custom code
        """Read its decisions and the shapes of its shared tensors.

        Raises:
            ConfigurationError: A method raises or gives something else than the contract says, or `pretrained` does not fit.
        """
        self._model = model
        self._who = who
        self._pretrained: Mapping[str, Tensor] = {}
        self._decisions = self._read_decisions()
        shared = self.shared(("shapes",))
        self._shapes = {name: tuple(tensor.shape) for name, tensor in shared.items()}
        if pretrained is not None:
            self._pretrained = pretrained.match({name: [name] for name in shared}, self._shapes, optional=())

    @property
    def decisions(self) -> tuple[TemplateDecision, ...]:
        """The decisions of a path."""
        return self._decisions

    @property
    def custom_loss(self) -> CustomLossFunction | None:
        """The model's training loss, if it has one."""
        loss = getattr(self._model, "loss", None)
        return loss if callable(loss) else None

    def shared(self, rng_key: Key) -> dict[str, Tensor]:
        """Return freshly initialised full-size tensors, float32 on the CPU, seeded by `rng_key`."""
        seed_globals(*rng_key)
        with attribute_errors_to(self._who, "shared()"):
            tensors = self._model.shared()
        if not isinstance(tensors, Mapping) or not tensors:
            raise self._wrong("shared()", f"gave {_kind(tensors)}, it must give a dictionary from leaf to tensor")
        for name, tensor in tensors.items():
            if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32:
                raise self._wrong("shared()", f"gave {_kind(tensor)} for leaf {name}, it must be a float32 tensor")
        leaves = {str(name): tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
        return leaves | {name: tensor.clone() for name, tensor in self._pretrained.items()}

    def slices(self, path: Path) -> dict[str, Index]:
        """Return the leaves that `path` uses, each with one slice of explicit bounds per dimension."""
        with attribute_errors_to(self._who, f"slices({dict(path)})"):
            indices = self._model.slices(dict(path))
        if not isinstance(indices, Mapping):
            raise self._wrong("slices(path)", f"gave {_kind(indices)}, it must give a dictionary from leaf to slices")
        return {str(name): self._index(str(name), index) for name, index in indices.items()}

    def forward(self, inputs: Tensor, path: Path, leaves: Mapping[str, Tensor]) -> Tensor:
        """Return outputs (B, K)."""
        outputs_BK: Tensor = self._model.forward(inputs, dict(path), leaves)
        return outputs_BK

    def build(self, path: Path, rng_key: Key) -> nn.Module:
        """Return the stand-alone network on the CPU, seeded by `rng_key`."""
        seed_globals(*rng_key)
        with attribute_errors_to(self._who, f"build({dict(path)})"):
            module = self._model.build(dict(path))
        if not isinstance(module, nn.Module):
            raise self._wrong("build(configuration)", f"gave {_kind(module)}, it must give a torch.nn.Module")
        if self._pretrained:
            indices, parameters = self.slices(path), dict(module.named_parameters())
            with torch.no_grad():
                for name in indices.keys() & self._pretrained.keys() & parameters.keys():
                    parameters[name].copy_(self._pretrained[name][indices[name]])
        return module.cpu()

    def num_parameters(self, path: Path) -> int:
        """Return the sum of the leaves' sizes."""
        return sum(math.prod(part.stop - part.start for part in index) for index in self.slices(path).values())

    def _read_decisions(self) -> tuple[TemplateDecision, ...]:
        with attribute_errors_to(self._who, "decisions()"):
            declared = list(self._model.decisions())
        decisions = []
        for position, decision in enumerate(declared):
            try:
                read = ArchitectureDecision.model_validate(decision)
            except ValidationError as error:
                raise self._wrong(f"decisions()[{position}]", f"is wrong: {field_errors_of(error, ArchitectureDecision)[0]}") from error
            if not read.choices or read.default not in read.choices:
                raise self._wrong(f"decisions()[{position}]", f"{read.name} needs choices and one of them as default")
            decisions.append(TemplateDecision(name=read.name, choices=tuple(read.choices), default=read.default, when=read.when))
        names = [decision.name for decision in decisions]
        if len(set(names)) < len(names):
            raise self._wrong("decisions()", f"names one decision twice: {', '.join(names)}")
        return tuple(decisions)

    def _index(self, name: str, index: Any) -> Index:  # noqa: ANN401 - custom code
        """Return slices of explicit bounds; those that are left out take everything."""
        shape = self._shapes.get(name)
        parts = index if isinstance(index, tuple) else (index,)
        if shape is None or len(parts) > len(shape) or not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
            description = (
                f"of shape {shape}" if shape is not None else f"unknown to shared(), which has {', '.join(list(self._shapes)[:20])}"
            )
            raise self._wrong(
                "slices(path)", f"gave {index!r} for leaf {name}, {description}; give at most one slice of step 1 per dimension"
            )
        whole = (*parts, *(slice(None) for _ in shape[len(parts) :]))
        for part, size in zip(whole, shape, strict=True):
            if not (0 <= (part.start or 0) < (size if part.stop is None else part.stop) <= size):
                raise self._wrong("slices(path)", f"cuts {part} out of leaf {name} of shape {shape}; it must lie inside and not be empty")
        return tuple(slice(*part.indices(size)[:2]) for part, size in zip(whole, shape, strict=True))

    def _wrong(self, where: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._who}: {where} {what}")


class CustomModule(Searchable):
    """An ordinary module: its decisions are those of the `autohas.nn` wrappers in it, a plain one has none.

    Custom hyperparameters of the search reach the factory as keywords.
    """

    def __init__(  # noqa: PLR0913 - a factory, what it gave, and what it is called with
        self,
        make: Callable[..., Any],
        input_shape: Shape,
        num_outputs: int,
        *,
        factory: Callable[..., Any],
        network: nn.Module,
        who: str,
        pretrained: Pretrained | None,
    ) -> None:
        """Read decisions and shapes; `make` calls `factory` with the search's arguments, and gave `network`."""
        self._parameters = _parameters_of(factory)
        loss = getattr(network, "loss", None)
        self._loss = loss if callable(loss) else None
        super().__init__(make, input_shape, num_outputs, who=who, pretrained=pretrained)

    @property
    def custom_loss(self) -> CustomLossFunction | None:
        """The module's training loss, if it has one."""
        return self._loss

    def takes(self, name: str) -> bool:
        """Whether the factory has a parameter of this name, or takes any."""
        return any(p.name == name or p.kind is inspect.Parameter.VAR_KEYWORD for p in self._parameters)

    def _keywords(self, path: Path) -> dict[str, str]:
        """Return the custom hyperparameters in `path` that the factory takes."""
        return {name: value for name, value in path.items() if name not in self._names and self.takes(name)}


def _parameters_of(factory: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Return the parameters of a factory; none where Python cannot say."""
    try:
        return tuple(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return ()


def _kind(value: Any) -> str:  # noqa: ANN401 - custom code
    """Return what a value is, for an error."""
    if isinstance(value, Tensor):
        return f"a tensor of type {value.dtype}"
    return "nothing" if value is None else f"a {type(value).__name__}"
