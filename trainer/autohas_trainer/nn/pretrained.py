"""Pretrained weights: a safetensors or torch state-dict file, matched with a model by name. Whatever does not fit is refused by name."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autohas_api.spec.task import Pretrained as PretrainedSpec
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.nn.branches import Branches, OneOf

__all__ = ["FIELD", "Pretrained", "match_pretrained", "read_pretrained"]

FIELD: Final = "task.model.pretrained"
_INNER: Final = ("state_dict", "model_state_dict", "model")
"""Under which training scripts keep the weights of a network in a larger checkpoint."""
_MAX_LISTED: Final = 3


class Pretrained:
    """The weights of one file."""

    def __init__(self, tensors: Mapping[str, Tensor], exclude: Sequence[str] = (), who: str = FIELD) -> None:
        """Take tensors by name; those whose name is in `exclude`, or begins with one of its prefixes and a dot, are left out."""
        self._who = who
        self._exclude = tuple(exclude)
        self._names = tuple(tensors)
        self._tensors = {name: tensor for name, tensor in tensors.items() if not self._is_excluded(name)}

    @classmethod
    def read(cls, path: str, exclude: Sequence[str] = ()) -> Pretrained:
        """Read a file: safetensors if its name ends so, else a torch state dict, read without running code of the file.

        Raises:
            DataError: the file is missing or damaged, or holds something else than tensors by name.
        """
        who = f"{FIELD}.path {path}"
        file = Path(path).expanduser()
        try:
            tensors = load_file(file) if file.suffix == ".safetensors" else _unwrap(torch.load(file, map_location="cpu", weights_only=True))
        except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            message = f"{who}: cannot be read as {'safetensors' if file.suffix == '.safetensors' else 'a torch state dict'}: {reason}"
            raise DataError(message) from error
        if not tensors:
            message = f"{who}: holds no weights by name; save model.state_dict(), or a safetensors file"
            raise DataError(message)
        return cls(tensors, exclude, who)

    def match(
        self, names: Mapping[str, Sequence[str]], shapes: Mapping[str, tuple[int, ...]], *, optional: Collection[str]
    ) -> dict[str, Tensor]:
        """Return the file's tensors under the model's names.

        Args:
            names: The model's name → the names that the file may have for it.
            shapes: The model's name → its shape.
            optional: The model's names that the file need not have: branches that are no defaults, buffers.

        Raises:
            ConfigurationError: a tensor is missing, has another shape, or belongs to nothing.
        """
        known = {*self._names, *(candidate for candidates in names.values() for candidate in candidates)}
        for prefix in self._exclude:
            if not any(_begins(name, prefix) for name in known):
                message = f"{self._who}: exclude has {prefix!r}, with which no name of the file or the model begins; remove it"
                raise ConfigurationError(message)
        matched: dict[str, Tensor] = {}
        missing: list[str] = []
        taken: set[str] = set()
        for name, candidates in names.items():
            taken.update(candidates)
            source = next((candidate for candidate in candidates if candidate in self._tensors), None)
            if source is not None:
                matched[name] = self._fitting(source, shapes[name])
            elif name not in optional and not any(map(self._is_excluded, candidates)):
                missing.append(candidates[-1])
        unexpected = [name for name in self._tensors if name not in taken]
        for what, wrong in (("lacks", missing), ("has", unexpected)):
            if wrong:
                listed = ", ".join(wrong[:_MAX_LISTED]) + (f" and {len(wrong) - _MAX_LISTED} more" if len(wrong) > _MAX_LISTED else "")
                owner = "which the model has" if what == "lacks" else "which the model does not have"
                message = (
                    f"{self._who}: the file {what} {listed}, {owner}; leave it out by exclude: [{_parent(wrong[0])}], or change the model"
                )
                raise ConfigurationError(message)
        return matched

    def _fitting(self, source: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._tensors[source]
        if tuple(tensor.shape) != shape:
            message = (
                f"{self._who}: {source} has shape {tuple(tensor.shape)}, the model wants {shape}; leave it out by"
                f" exclude: [{_parent(source)}], or change the model"
            )
            raise ConfigurationError(message)
        return tensor

    def _is_excluded(self, name: str) -> bool:
        return any(_begins(name, prefix) for prefix in self._exclude)


def read_pretrained(field: PretrainedSpec | None) -> Pretrained | None:
    """Read the file that `task.model.pretrained` names, if it names one.

    Raises:
        DataError: see `Pretrained.read`.
    """
    return None if field is None else Pretrained.read(field.path, field.exclude)


def _parent(name: str) -> str:
    """Return the module of a tensor, or its own name at the top."""
    return name.rpartition(".")[0] or name


def _begins(name: str, prefix: str) -> bool:
    """Whether a tensor is called `prefix`, or lies in the module of that name."""
    return name == prefix or name.startswith(f"{prefix.removesuffix('.')}.")


def _unwrap(content: object) -> dict[str, Tensor]:
    """Return the tensors of a state dict, which may lie in a larger checkpoint."""
    for key in _INNER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}


def match_pretrained(pretrained: Pretrained, whole: nn.Module) -> dict[str, Tensor]:
    """Match a file with a whole network.

    The file may be that of the model before wrappers were put into it: a branch that is the default also goes by the name without its
    wrapper's level. Other branches may be absent.

    Raises:
        ConfigurationError: see `Pretrained.match`.
    """
    plain, optional = _plain_names(whole)
    tensors = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
    optional |= {name for name, _ in whole.named_buffers()}
    aliases: dict[int, list[str]] = {}
    for name, parameter in whole.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
    names = {
        name: [candidate for alias in aliases.get(id(tensor), [name]) for candidate in (alias, plain[alias])]
        for name, tensor in tensors.items()
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    matched = pretrained.match(names, shapes, optional=optional)
    return {name: tensor.to(tensors[name].dtype) for name, tensor in matched.items()}


def _plain_names(whole: nn.Module) -> tuple[dict[str, str], set[str]]:
    """Return the name of every tensor without the levels of its wrappers, and the names in branches that are no defaults."""
    plain: dict[str, str] = {}
    optional: set[str] = set()

    def walk(module: nn.Module, name: str, short: str, *, is_default: bool) -> None:
        own = [*module._parameters, *module._buffers]  # noqa: SLF001 - of this module only, tied ones too
        for key in own:
            plain[f"{name}{key}"] = f"{short}{key}"
            if not is_default:
                optional.add(f"{name}{key}")
        for child_name, child in module._modules.items():  # noqa: SLF001 - tied ones too
            if child is None:
                continue
            is_chosen = not isinstance(module, Branches) or module.decision.default in module.choices_with(child_name)
            inner = short if isinstance(module, OneOf) and is_chosen else f"{short}{child_name}."
            walk(child, f"{name}{child_name}.", inner, is_default=is_default and is_chosen)

    walk(whole, "", "", is_default=True)
    return plain, optional
