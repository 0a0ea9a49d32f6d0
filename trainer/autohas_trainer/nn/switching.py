"""One network for all paths: the whole network without weights, of which every call uses the part that its path has.

Making a network takes about 35 microseconds for each module, more than the whole step of a small table model, and a supernet meets new
paths all the time. Here a path is a list of what to put into the modules of the whole network: its leaves, and the attributes that follow
from decisions. Every module must say what those are (`choices.FollowsPath`). A user's own modules do not, so only built-in templates are
switched. A network that is trained alone is built in any case, and the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from autohas_trainer.nn.choices import Construction, FollowsPath, constructing
from autohas_trainer.nn.skeleton import Skeleton, Slot

__all__ = ["SwitchedNetwork", "SwitchedPath"]

_SLOTS_PER_MODULE: Final = 10
"""Slots that take as much memory as a module of a network that is built."""

_Setting = tuple[dict[str, Any], str, object]
"""Attributes of a module, name, value."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A module of the whole network.

    Attributes:
        attributes: Its attributes by name.
        follows: It, if it differs between paths.
        slots: Those of its own parameters.
        children: Name → child.
    """

    attributes: dict[str, Any]
    follows: FollowsPath | None
    slots: tuple[Slot, ...]
    children: Mapping[str, _Node]


class SwitchedNetwork:
    """The whole network of a family, and the path that it stands at."""

    def __init__(self, skeleton: Skeleton) -> None:
        """Take over the whole network without weights.

        Raises:
            ValueError: it has tied weights or frozen parameters, whose slots would differ from path to path.
        """
        leaves = [slot.leaf for slot in skeleton.slots]
        if skeleton.has_frozen or len(set(leaves)) < len(leaves):
            message = "a network with tied weights or frozen parameters cannot be switched; build a network for each path"
            raise ValueError(message)
        self.skeleton = skeleton
        self._root = _read(skeleton.network, {(id(slot.table), slot.name): slot for slot in skeleton.slots})
        self._stands_at: SwitchedPath | None = None

    def at(self, path: Mapping[str, str]) -> SwitchedPath:
        """Return what a call of the network `path` puts into the modules."""
        with constructing(Construction(path)):
            return SwitchedPath(self, self._root)

    def stand_at(self, path: SwitchedPath) -> None:
        """Set the attributes of `path`, unless they stand."""
        if self._stands_at is not path:
            self._stands_at = path
            for attributes, name, value in path.settings:
                attributes[name] = value


class SwitchedPath:
    """The network of one path, as a part of the whole one; see `Skeleton`."""

    def __init__(self, network: SwitchedNetwork, root: _Node) -> None:
        """Ask the modules under `root` what they are, inside the construction of the path."""
        self._network = network
        self._slots: list[Slot] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Leaf name → shape, in the order of `named_modules`."""
        self.settings: list[_Setting] = []
        """The attributes that follow from decisions."""
        self._add(root)

    def _add(self, node: _Node) -> None:
        """Add a module of the path and what is in it."""
        self._slots += node.slots
        if node.follows is None:
            self.shapes.update((slot.leaf, slot.shape) for slot in node.slots)
            names = None
        else:
            shapes, names = node.follows.path_shapes(), node.follows.path_children()
            self.shapes.update((slot.leaf, shapes.get(slot.name, slot.shape)) for slot in node.slots)
            self.settings += [(node.attributes, name, value) for name, value in node.follows.path_attributes().items()]
        for child in node.children.values() if names is None else [node.children[name] for name in names]:
            self._add(child)

    @property
    def num_modules(self) -> int:
        """What it costs to keep it, in modules of a network that is built."""
        return 1 + len(self._slots) // _SLOTS_PER_MODULE

    def forward(self, inputs: Tensor, leaves: Mapping[str, Tensor], *, is_training: bool) -> Tensor:
        """Return the outputs of the path's network with weights `leaves`; see `Skeleton.forward`."""
        self._network.stand_at(self)
        return self._network.skeleton.call(inputs, leaves, self._slots, is_training=is_training)


def _read(module: nn.Module, slots: Mapping[tuple[int, str], Slot]) -> _Node:
    """Return the tree of modules under `module`; `slots` are keyed by table and name."""
    table = module._parameters  # noqa: SLF001 - as in `skeleton`
    return _Node(
        attributes=vars(module),
        follows=module if isinstance(module, FollowsPath) else None,
        slots=tuple(slots[id(table), name] for name in table if (id(table), name) in slots),
        children={name: _read(child, slots) for name, child in module.named_children()},
    )
