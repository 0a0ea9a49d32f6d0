"""A family of networks from one factory: everything that a search asks of a template follows from the modules that the factory makes.

    family = Searchable(net, (1, 8, 8), 10)
    family.decisions, family.build(path, key), ...

The factory runs once per network, see `choices.Construction`. Its whole network names and sizes the shared weights; the network of a path
is the stand-alone network, and the same modules, without weights of their own, compute the supernet's forward. A leaf is the part of the
shared tensor of its name that the path's shape cuts: leading indices, or those around the centre where a module says so.

Initialisation: before a factory runs, the global generators are seeded by the key, so weights are a pure function of path and key. A
stand-alone network has the initialisation that its layers and its factory give it, for its own sizes. Buffers are constants: every call
must give the same. Frozen parameters (`requires_grad=False`) are constants too: those of the whole network, cut for each path.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.entrypoints import attribute_errors_to
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.branches import mixing
from autohas_trainer.nn.choices import Construction, constructing
from autohas_trainer.nn.derivation import derive_decisions
from autohas_trainer.nn.skeleton import Skeleton, build_seeded
from autohas_trainer.seeding import Key

__all__ = ["Index", "Initialise", "Path", "Searchable", "Shape"]

Path = Mapping[str, str]
"""Decision name → choice, every decision present. Inactive decisions stand at any choice and change nothing."""

Shape = tuple[int, ...]

Index = tuple[slice, ...]
"""Cuts a leaf out of the shared tensor of the same name, one slice per dimension."""

Initialise = Callable[[Mapping[str, Shape], Key], Mapping[str, Tensor]]
"""Leaf name → shape, and a key, to the initial leaves: what a template uses instead of the initialisation of its layers."""

_MAX_SKELETONS: Final = 256
"""Paths whose networks are kept, the least recently used goes first: 20 kB each for a small network, 1 MB for one of 300 modules."""


class Searchable:
    """The template that a factory stands for; see `Template` for the contract."""

    def __init__(
        self,
        factory: Callable[..., Any],
        input_shape: Shape,
        num_outputs: int,
        *,
        who: str = "the model",
        initialise: Initialise | None = None,
    ) -> None:
        """Make the whole network once and read its decisions.

        Args:
            factory: Called as `factory(input_shape=..., num_outputs=...)`; gives a new module at each call.
            input_shape: Shape of one input, without the batch.
            num_outputs: Number of outputs of one example.
            who: Subject of error sentences.
            initialise: Makes initial weights instead of the layers and the factory; gets all leaves of a network at once.

        Raises:
            ConfigurationError: the factory raises or gives no new module, or its decisions contradict each other.
        """
        self._factory = factory
        self._input_shape = input_shape
        self._num_outputs = num_outputs
        self._who = who
        self._initialise = initialise
        construction = Construction()
        whole = self._make(construction, ("whole",), {}, draws=True)
        self._check_fresh(whole)
        with attribute_errors_to(who, "reading its decisions"):
            self._decisions = derive_decisions(whole, construction.read)
        self._names = frozenset(decision.name for decision in self._decisions)
        self._centres = _find_centres(whole)
        self._frozen = {name: p.detach().clone() for name, p in whole.named_parameters(remove_duplicate=False) if not p.requires_grad}
        buffers = {name: buffer.clone() for name, buffer in whole.named_buffers(remove_duplicate=False)}
        self._constants: dict[str, Tensor] = {**self._frozen, **buffers}
        self._shapes = {name: tuple(p.shape) for name, p in whole.named_parameters() if p.requires_grad}
        self._skeletons: OrderedDict[tuple[Any, ...], Skeleton] = OrderedDict()

    @property
    def decisions(self) -> tuple[TemplateDecision, ...]:
        """The decisions of a path, parents first."""
        return self._decisions

    def shared(self, rng_key: Key) -> dict[str, Tensor]:
        """Return the initial weights of the whole network, float32 on the CPU."""
        if self._initialise is not None:
            return dict(self._initialise(self._shapes, rng_key))
        whole = self._make(Construction(), rng_key, {}, draws=True)
        return {name: parameter.detach().clone() for name, parameter in whole.named_parameters() if parameter.requires_grad}

    def slices(self, path: Path) -> dict[str, Index]:
        """Return the leaves of `path` as indices into `shared`."""
        return self._cut(self._skeleton(path).shapes, self._shapes, path)

    def forward(self, inputs: Tensor, path: Path, leaves: Mapping[str, Tensor]) -> Tensor:
        """Return outputs (B, K) of the network `path` with weights `leaves`.

        Where gradients are taken, in training mode; else whole. Batches are normalised by their own statistics in both.
        """
        return self._skeleton(path).forward(inputs, leaves, is_training=torch.is_grad_enabled())

    def build(self, path: Path, rng_key: Key) -> nn.Module:
        """Return the stand-alone network on the CPU; its parameters are named as the leaves and depend on both arguments only."""
        draws = self._initialise is None
        network = self._make(Construction(self._canonical(path)), rng_key, self._keywords(path), draws=draws).cpu()
        parameters = dict(network.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            if self._initialise is not None:
                names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
                for name, leaf in self._initialise({name: tuple(parameters[name].shape) for name in names}, rng_key).items():
                    parameters[name].copy_(leaf)
            for name, tensor in self._cut_frozen(self._skeleton(path), path).items():
                parameters[name].copy_(tensor)
        return network

    def num_parameters(self, path: Path) -> int:
        """Return the number of trainable parameters of the network `path`."""
        return sum(map(math.prod, self._skeleton(path).shapes.values()))

    def mixed_slices(self, path: Path, kept: Mapping[str, tuple[str, ...]]) -> dict[str, Index]:
        """Return the leaves of a mixture: `path`, where the `OneOf` decisions in `kept` have several branches."""
        return self._cut(self._skeleton(path, kept).shapes, self._shapes, path)

    def forward_mixed(
        self, inputs: Tensor, path: Path, gates: Mapping[str, Tensor], kept: Mapping[str, tuple[str, ...]], leaves: Mapping[str, Tensor]
    ) -> Tensor:
        """Return outputs (B, K) of a mixture: each `OneOf` in `gates` gives the sum of its kept branches by their weights.

        Args:
            inputs: A batch (B, ...).
            path: The choices of all other decisions.
            gates: Decision → one weight per choice (K,); gradients flow into them.
            kept: Decision → the choices that are computed.
            leaves: The weights, cut by `mixed_slices`.
        """
        with mixing(gates):
            return self._skeleton(path, kept).forward(inputs, leaves, is_training=torch.is_grad_enabled())

    def _keywords(self, path: Path) -> dict[str, str]:  # noqa: ARG002 - subclasses have some
        """Return further keywords of the factory that `path` holds."""
        return {}

    def _make(self, construction: Construction, rng_key: Key, keywords: Mapping[str, str], *, draws: bool) -> nn.Module:
        """Run the factory once."""

        def run() -> Any:  # noqa: ANN401 - custom code
            with constructing(construction), attribute_errors_to(self._who, f"calling it with {self._input_shape}, {self._num_outputs}"):
                return self._factory(input_shape=self._input_shape, num_outputs=self._num_outputs, **keywords)

        network = build_seeded(rng_key, run, draws=draws)
        if not isinstance(network, nn.Module):
            message = f"{self._who} gave a {type(network).__name__}; it must give a torch.nn.Module"
            raise ConfigurationError(message)
        return network

    def _check_fresh(self, whole: nn.Module) -> None:
        """Refuse what cannot be rebuilt: a module that is given twice, weights that appear with the first input."""
        lazy = [name for name, p in whole.named_parameters() if isinstance(p, UninitializedParameter)]
        if lazy:
            message = f"{self._who}: parameter {lazy[0]} gets its shape from the first input; give the layer its sizes"
            raise ConfigurationError(message)
        again = self._make(Construction(), ("whole",), {}, draws=False)
        mine = {id(parameter): name for name, parameter in whole.named_parameters()}
        kept = [mine[id(parameter)] for parameter in again.parameters() if id(parameter) in mine]
        if again is whole or kept:
            what = "the same module" if again is whole else f"a module with the same parameter {kept[0]}"
            message = f"{self._who} gave {what} at its second call; make every module inside the function, new at each call"
            raise ConfigurationError(message)

    def _canonical(self, path: Path) -> dict[str, str]:
        """Return the choices of `path`, with inactive decisions at their defaults: equal networks have equal paths."""
        canonical: dict[str, str] = {}
        active: dict[str, bool] = {}
        for decision in self._decisions:
            when = decision.when
            active[decision.name] = when is None or (active[when.decision] and canonical[when.decision] in when.values)
            canonical[decision.name] = path[decision.name] if active[decision.name] else decision.default
        return canonical

    def _skeleton(self, path: Path, kept: Mapping[str, tuple[str, ...]] | None = None) -> Skeleton:
        """Return the network of a path without weights, made once for each of the last paths."""
        canonical, keywords = self._canonical(path), self._keywords(path)
        key = (*canonical.values(), *keywords.items(), *(kept or {}).items())
        skeleton = self._skeletons.get(key)
        if skeleton is not None:
            self._skeletons.move_to_end(key)
            return skeleton
        network = self._make(Construction(canonical, kept or {}), ("whole",), keywords, draws=False).cpu()
        skeleton = Skeleton(network, self._constants)
        skeleton.adopt_frozen(self._cut_frozen(skeleton, path))
        if len(self._skeletons) >= _MAX_SKELETONS:
            self._skeletons.popitem(last=False)
        self._skeletons[key] = skeleton
        return skeleton

    def _cut_frozen(self, skeleton: Skeleton, path: Path) -> dict[str, Tensor]:
        """Return the frozen weights of a path: parts of those of the whole network."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self._frozen.items()}
        return {name: self._frozen[name][index] for name, index in self._cut(skeleton.frozen_shapes, shapes, path).items()}

    def _cut(self, shapes: Mapping[str, Shape], whole: Mapping[str, Shape], path: Path) -> dict[str, Index]:
        """Return where each shape lies in the whole tensor of its name.

        Raises:
            ConfigurationError: the whole network has no such parameter, or a smaller one.
        """
        indices: dict[str, Index] = {}
        for name, shape in shapes.items():
            full = whole.get(name)
            if full is None or len(full) != len(shape) or any(size > most for size, most in zip(shape, full, strict=True)):
                have = "does not have it" if full is None else f"has it with {full}"
                message = (
                    f"{self._who}: the network of path {dict(path)} has parameter {name} of shape {shape}, but the whole network, with"
                    f" every branch and the largest sizes, {have}; give alternatives with OneOf and sizes with Choice"
                )
                raise ConfigurationError(message)
            centred = self._centres.get(name, ())
            begins = [(most - size) // 2 if axis in centred else 0 for axis, (size, most) in enumerate(zip(shape, full, strict=True))]
            indices[name] = tuple(slice(begin, begin + size) for begin, size in zip(begins, shape, strict=True))
        return indices


def _find_centres(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the dimensions of each parameter that are cut around the centre."""
    centres: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        for parameter, dimensions in getattr(module, "centred", {}).items():
            centres[f"{name}.{parameter}" if name else parameter] = dimensions
    return centres
