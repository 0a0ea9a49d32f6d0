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
from collections.abc import Callable, Mapping
from operator import gt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.entrypoints import attribute_errors_to
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.choices import Construction, constructing
from autohas_trainer.nn.derivation import derive_decisions
from autohas_trainer.nn.pretrained import Pretrained, match_pretrained
from autohas_trainer.nn.skeleton import PathNetwork, Skeletons, build_seeded
from autohas_trainer.nn.switching import SwitchedNetwork
from autohas_trainer.seeding import Key

__all__ = ["Index", "Initialise", "Path", "Searchable", "Shape"]

Path = Mapping[str, str]
"""Decision name → choice, every decision present. Inactive decisions stand at any choice and change nothing."""

Shape = tuple[int, ...]

Index = tuple[slice, ...]
"""Cuts a leaf out of the shared tensor of the same name, one slice per dimension."""

Initialise = Callable[[Mapping[str, Shape], Key], Mapping[str, Tensor]]
"""Leaf name → shape, and a key, to the initial leaves: what a template uses instead of the initialisation of its layers."""


class Searchable:
    """The template that a factory stands for; see `Template` for the contract."""

    def __init__(  # noqa: PLR0913 - a factory, what it is called with, and where weights come from
        self,
        factory: Callable[..., Any],
        input_shape: Shape,
        num_outputs: int,
        *,
        who: str = "the model",
        initialise: Initialise | None = None,
        pretrained: Pretrained | None = None,
        is_switched: bool = False,
    ) -> None:
        """Make the whole network once and read its decisions.

        Args:
            factory: Called as `factory(input_shape=..., num_outputs=...)`; gives a new module at each call.
            input_shape: Shape of one input, without the batch.
            num_outputs: Number of outputs of one example.
            who: Subject of error sentences.
            initialise: Makes initial weights instead of the layers and the factory; gets all leaves of a network at once.
            pretrained: Weights of a file, which stand for initial ones in the shared weights and, cut, in every network.
            is_switched: Whether the supernet calls one network for all paths (see `switching`), whose modules say how they differ.

        Raises:
            ConfigurationError: the factory raises or gives no new module, its decisions contradict each other, or the weights of the
                file do not fit.
        """
        self._factory = factory
        self._input_shape = input_shape
        self._num_outputs = num_outputs
        self._who = who
        self._initialise = initialise
        whole, self._decisions = self._read_whole()
        self._names = frozenset(decision.name for decision in self._decisions)
        self._centres = _find_centres(whole)
        self._pretrained = match_pretrained(pretrained, whole) if pretrained is not None else {}
        _copy(self._pretrained, whole)
        self._frozen = {name: p.detach().clone() for name, p in whole.named_parameters(remove_duplicate=False) if not p.requires_grad}
        self._shapes = {name: tuple(p.shape) for name, p in whole.named_parameters() if p.requires_grad}
        self._skeletons = Skeletons(self._frozen | {name: buffer.clone() for name, buffer in whole.named_buffers(remove_duplicate=False)})
        self._switched = SwitchedNetwork(self._skeletons.strip(whole)) if is_switched else None

    @property
    def decisions(self) -> tuple[TemplateDecision, ...]:
        """The decisions of a path, parents first."""
        return self._decisions

    def shared(self, rng_key: Key) -> dict[str, Tensor]:
        """Return the initial weights of the whole network, float32 on the CPU."""
        if self._initialise is not None:
            leaves = dict(self._initialise(self._shapes, rng_key))
        else:
            whole = self._make(Construction(), rng_key, {}, draws=True)
            leaves = {name: parameter.detach().float().cpu() for name, parameter in whole.named_parameters() if parameter.requires_grad}
        return {name: self._pretrained.get(name, leaf).clone(memory_format=torch.contiguous_format) for name, leaf in leaves.items()}

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
        shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters() if parameter.requires_grad}
        if self._initialise is not None:
            _copy(self._initialise(shapes, rng_key), network)
        _copy(self._cut_constants(self._frozen, network, path), network)
        _copy(self._cut_constants(self._pretrained, network, path), network)
        return network

    def build_undrawn(self, path: Path) -> nn.Module:
        """Return the network of `path` on the CPU with undefined weights: cheap, for its shapes and costs."""
        return self._make(Construction(self._canonical(path)), ("whole",), self._keywords(path), draws=False).cpu()

    def num_parameters(self, path: Path) -> int:
        """Return the number of trainable parameters of the network `path`."""
        return sum(map(math.prod, self._skeleton(path).shapes.values()))

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

    def _read_whole(self) -> tuple[nn.Module, tuple[TemplateDecision, ...]]:
        """Make the whole network and read its decisions; refuse one that cannot be made again."""
        construction = Construction()
        whole = self._make(construction, ("whole",), {}, draws=True)
        again = self._check_fresh(whole)
        with attribute_errors_to(self._who, "reading its decisions"):
            decisions = derive_decisions(whole, construction.read)
        self._check_buffers(whole, again, has_decisions=bool(decisions))
        return whole, decisions

    def _check_fresh(self, whole: nn.Module) -> nn.Module:
        """Refuse what cannot be rebuilt: a module that is given twice, weights that appear with the first input; return a second one."""
        lazy = [name for name, p in whole.named_parameters() if isinstance(p, UninitializedParameter)]
        if lazy:
            message = f"{self._who}: parameter {lazy[0]} gets its shape from the first input; give the layer its sizes"
            raise ConfigurationError(message)
        again = self._make(Construction(), ("again",), {}, draws=False)
        mine = {id(parameter): name for name, parameter in whole.named_parameters()}
        kept = [mine[id(parameter)] for parameter in again.parameters() if id(parameter) in mine]
        if again is whole or kept:
            what = "the same module" if again is whole else f"a module with the same parameter {kept[0]}"
            message = f"{self._who} gave {what} at its second call; make every module inside the function, new at each call"
            raise ConfigurationError(message)
        return again

    def _check_buffers(self, whole: nn.Module, again: nn.Module, *, has_decisions: bool) -> None:
        """Refuse buffers that are drawn: shared weights have one of each, and one that is not saved cannot be made again.

        A model without decisions may draw buffers that are saved, as spectral normalisation does.
        """
        others, saved = dict(again.named_buffers()), whole.state_dict().keys()
        constants = {name: buffer for name, buffer in whole.named_buffers() if has_decisions or name not in saved}
        drawn = [name for name, buffer in constants.items() if not _are_equal(buffer, others.get(name))]
        if drawn:
            message = (
                f"{self._who} gave another buffer {drawn[0]} at its second call, under another seed; buffers are constants: compute it"
                " without random numbers, or from a generator with a seed of its own"
            )
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

    def _skeleton(self, path: Path) -> PathNetwork:
        """Return the network of a path without weights, made once for each of the last paths."""
        canonical, keywords = self._canonical(path), self._keywords(path)

        def make() -> PathNetwork:
            if self._switched is not None:
                return self._switched.at(canonical)
            network = self._make(Construction(canonical), ("whole",), keywords, draws=False)
            _copy(self._cut_constants(self._frozen, network, path), network)
            _copy(self._cut_constants(self._pretrained, network, path), network)
            return self._skeletons.strip(network)

        return self._skeletons.get((*canonical.values(), *keywords.items()), make)

    def _cut_constants(self, constants: Mapping[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
        """Return the parts of whole tensors that belong to the parameters and buffers of a path's network."""
        if not constants:
            return {}
        own = _tensors_of(network)
        shapes = {name: tuple(own[name].shape) for name in constants.keys() & own.keys()}
        whole = {name: tuple(tensor.shape) for name, tensor in constants.items()}
        return {name: constants[name][index] for name, index in self._cut(shapes, whole, path).items()}

    def _cut(self, shapes: Mapping[str, Shape], whole: Mapping[str, Shape], path: Path) -> dict[str, Index]:
        """Return where each shape lies in the whole tensor of its name.

        Raises:
            ConfigurationError: the whole network has no such parameter, or a smaller one.
        """
        indices: dict[str, Index] = {}
        for name, shape in shapes.items():
            full = whole.get(name)
            if full is None or len(full) != len(shape) or any(map(gt, shape, full)):
                have = "does not have it" if full is None else f"has it with {full}"
                message = (
                    f"{self._who}: the network of path {dict(path)} has parameter {name} of shape {shape}, but the whole network, with"
                    f" every branch and the largest sizes, {have}; give alternatives with OneOf and sizes with Choice"
                )
                raise ConfigurationError(message)
            if (centred := self._centres.get(name)) is None:
                indices[name] = tuple([slice(0, size) for size in shape])
                continue
            begins = [(most - size) // 2 if axis in centred else 0 for axis, (size, most) in enumerate(zip(shape, full, strict=True))]
            indices[name] = tuple(slice(begin, begin + size) for begin, size in zip(begins, shape, strict=True))
        return indices


def _are_equal(buffer: Tensor, other: Tensor | None) -> bool:
    """Whether two buffers hold the same, NaN as NaN; those that get their shape from the first input hold nothing yet."""
    if other is None or isinstance(buffer, UninitializedBuffer) or isinstance(other, UninitializedBuffer):
        return other is not None
    return buffer.shape == other.shape and torch.equal(buffer.nan_to_num(), other.nan_to_num())


def _find_centres(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the dimensions of each parameter that are cut around the centre."""
    centres: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        for parameter, dimensions in getattr(module, "centred", {}).items():
            centres[f"{name}.{parameter}" if name else parameter] = dimensions
    return centres


def _tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by every name that they have."""
    return {**dict(network.named_parameters(remove_duplicate=False)), **dict(network.named_buffers(remove_duplicate=False))}


@torch.no_grad()
def _copy(tensors: Mapping[str, Tensor], network: nn.Module) -> None:
    """Copy tensors into the parameters and buffers of their names; the network has others too, and lacks some."""
    own = _tensors_of(network) if tensors else {}
    for name in tensors.keys() & own.keys():
        own[name].copy_(tensors[name])
