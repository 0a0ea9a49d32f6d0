"""A mypy plugin: the arguments of `Model.replace` have the names and types of the model's fields.

Python cannot say so in types: `dataclasses.replace` is checked by a plugin of mypy's own, pydantic's plugin checks constructors alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy.nodes import ARG_NAMED_OPT, TypeInfo, Var
from mypy.plugin import MethodSigContext, Plugin
from mypy.types import FunctionLike, Instance, Type, get_proper_type

__all__ = ["plugin"]

_BASE: Final = "autohas_api.base.model.Model"


class ReplacePlugin(Plugin):
    """Gives each call of `replace` the signature of its model."""

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        """The hook of every method `replace`: mypy asks for it by the name of the model, not by that of the base class."""
        return _signature if fullname.endswith(".replace") else None


def _signature(context: MethodSigContext) -> FunctionLike:
    model = get_proper_type(context.type)
    if not isinstance(model, Instance) or not model.type.has_base(_BASE):
        return context.default_signature
    fields = _fields(model.type)
    return context.default_signature.copy_modified(
        arg_types=[kind for _, kind in fields], arg_names=[name for name, _ in fields], arg_kinds=[ARG_NAMED_OPT] * len(fields)
    )


def _fields(model: TypeInfo) -> list[tuple[str, Type]]:
    """Names and types of a model's fields, as pydantic's plugin notes them."""
    names = model.metadata.get("pydantic-mypy-metadata", {}).get("fields", {})
    return [(name, kind) for name in names if (kind := _type_of(model, name)) is not None]


def _type_of(model: TypeInfo, name: str) -> Type | None:
    symbol = model.get(name)
    return symbol.node.type if symbol is not None and isinstance(symbol.node, Var) else None


def plugin(_version: str) -> type[Plugin]:
    """The entry point that mypy calls."""
    return ReplacePlugin
