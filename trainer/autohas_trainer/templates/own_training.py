"""The user's own training by entrypoint: an object that builds the module, gives the loss of a batch and measures.

It is called as `object(input_shape=..., num_outputs=..., **arguments)`, always by name, once per training, and has these methods:

    build(values) -> torch.nn.Module
    training_loss(module, batch, values) -> Tensor             scalar; batch has inputs (B, ...) and targets (B, ...)
    evaluate(module, batches, values) -> {name: Tensor | float}  the objective's metric: what each example adds (N,), or one number
    optimizer(module, values)                                  optional; else the recipe's
    state_dict() / load_state_dict(state)                      optional, both or none: what else changes during a training

`values` maps every hyperparameter, searched or not, and `steps`, the length of the training, to a string. `optimizer` returns a torch
optimizer, or any object with zero_grad(set_to_none=True), step(), state_dict() and load_state_dict(state), such as one that holds two
optimizers, or an optimizer and its schedule: the engine then sets no learning rate. Both kinds of state consist of tensors, numbers,
strings, None, lists, tuples and dictionaries. Global generators are seeded before every call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, NoReturn, Protocol, cast

from torch import Tensor, nn

from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.entrypoints import attribute_errors_to, format_arguments, load_object, require_names
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.searchable import Index, Path, Shape
from autohas_trainer.seeding import Key, seed_globals

__all__ = ["TRAINING_FIELD", "Batch", "OwnNetworks", "OwnOptimizer", "OwnTrainingCode"]

TRAINING_FIELD: Final = "task.training.entrypoint"
_METHODS: Final = {"build": ("values",), "training_loss": ("module", "batch", "values"), "evaluate": ("module", "batches", "values")}
_OPTIONAL: Final = {"optimizer": ("module", "values")}
_STATE: Final = ("state_dict", "load_state_dict")


class Batch(NamedTuple):
    """Examples on the training's device: inputs (B, ...), targets (B, ...); numbers to learn are standardised."""

    inputs: Tensor
    targets: Tensor


class OwnOptimizer(Protocol):
    """What updates the weights of an own training: every torch optimizer is one."""

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - torch's
        """Forget the gradients."""

    def step(self) -> Any:  # noqa: ANN401 - torch's
        """Update the weights."""

    def state_dict(self) -> dict[str, Any]:
        """All that changes."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""


class OwnTrainingCode(Protocol):
    """The methods that every own training has."""

    def build(self, *, values: Mapping[str, str]) -> nn.Module:
        """The module at step 0."""

    def training_loss(self, *, module: nn.Module, batch: Batch, values: Mapping[str, str]) -> Tensor:
        """The loss of a batch, a scalar."""

    def evaluate(self, *, module: nn.Module, batches: Iterable[Batch], values: Mapping[str, str]) -> Mapping[str, Tensor | float]:
        """Metrics by name over all batches."""


class OwnNetworks:
    """Own training as a family of networks: without decisions, so nothing is shared."""

    def __init__(self, entrypoint: str, arguments: Mapping[str, str] | None, input_shape: Shape, num_outputs: int) -> None:
        """Import the object and make it once.

        Raises:
            ConfigurationError: it is not there, raises, or lacks a method; names the JSON path.
        """
        self.who = f"{TRAINING_FIELD} {entrypoint}"
        self._arguments = {"input_shape": input_shape, "num_outputs": num_outputs, **(arguments or {})}
        self._factory = load_object(entrypoint, TRAINING_FIELD)
        wrapper = "def make(input_shape, num_outputs):\n    return ..."
        require_names(self._factory, ("input_shape", "num_outputs"), self.who, wrapper, explicit=True)
        code = self.create(("own training",))
        absent = [name for name in _METHODS if not callable(getattr(code, name, None))]
        if absent:
            raise ConfigurationError(f"{self.who} gave a {type(code).__name__} without {', '.join(absent)}; it needs {', '.join(_METHODS)}")
        for name, names in (_METHODS | _OPTIONAL).items():
            if (method := getattr(code, name, None)) is not None:
                wrapper = f"def {name}(self, {', '.join(names)}):\n    return ..."
                require_names(method, names, f"{self.who}: {name}", wrapper, explicit=True)
        given = [name for name in _STATE if callable(getattr(code, name, None))]
        if len(given) == 1:
            lacking = next(name for name in _STATE if name not in given)
            raise ConfigurationError(f"{self.who} has {given[0]} and no {lacking}: a resume needs both, or none")

    def create(self, key: Key) -> OwnTrainingCode:
        """Make the object of one training, seeded by `key`.

        Raises:
            ConfigurationError: it raises.
        """
        seed_globals(*key)
        keywords = {name: str(value) for name, value in self._arguments.items()}
        with attribute_errors_to(self.who, f"calling it with {format_arguments(keywords)}"):
            return cast("OwnTrainingCode", self._factory(**self._arguments))

    @property
    def decisions(self) -> tuple[TemplateDecision, ...]:
        """None: what is searched are hyperparameters."""
        return ()

    def shared(self, rng_key: Key) -> dict[str, Tensor]:  # noqa: ARG002 - a template's form
        """Nothing is shared."""
        return {}

    def slices(self, path: Path) -> dict[str, Index]:  # noqa: ARG002 - a template's form
        """Nothing is shared."""
        return {}

    def forward(self, inputs: Tensor, path: Path, leaves: Mapping[str, Tensor]) -> NoReturn:  # noqa: ARG002 - a template's form
        """Raise RuntimeError: a spec with own training and a supernet is refused."""
        raise RuntimeError("own training has no supernet")

    def build(self, path: Path, rng_key: Key) -> nn.Module:
        """Return the module of `path`, the values, on the CPU, seeded by `rng_key`."""
        return self.build_with(self.create(rng_key), path, rng_key)

    def build_with(self, code: OwnTrainingCode, values: Mapping[str, str], rng_key: Key) -> nn.Module:
        """Return the module that `code` builds.

        Raises:
            ConfigurationError: it raises, or gives no module with weights to train.
        """
        seed_globals(*rng_key)
        with attribute_errors_to(self.who, "build(values)"):
            module: object = code.build(values=values)
        if not isinstance(module, nn.Module):
            raise ConfigurationError(f"{self.who}: build(values) gave a {type(module).__name__}, it must give a torch.nn.Module")
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise ConfigurationError(f"{self.who}: build(values) gave a module without a parameter that requires a gradient")
        return module.cpu()

    def num_parameters(self, path: Path) -> int:
        """Return the number of trainable parameters of the module of `path`."""
        return sum(parameter.numel() for parameter in self.build(path, ("count",)).parameters() if parameter.requires_grad)
