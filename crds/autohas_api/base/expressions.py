"""Expressions in two languages at once: the CEL that an API server evaluates, and the Python function that the models evaluate offline.

`field("topK") <= field("numBases")` has the text `self.topK <= self.numBases` and the same comparison in Python, so that a rule is
written once. Operators follow Python: `|`, `&`, `~` for or, and, not; `<`, `<=`, `>`, `>=`, `+`, `-`, `*`, and `//` for whole numbers.
As in CEL, an expression that reads an optional field first checks `is_given`. Pure.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autohas_api.base.model import field_value

__all__ = ["Expression", "choose", "field", "literal", "variable"]

Scope = Mapping[str, Any]
"""Values by the names that CEL gives them: `self`, and the variables of `every` and `some`."""

_CHOICE, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _ATOM = range(8)
"""Operator precedence, from loose to tight: a looser expression inside a tighter one gets parentheses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """`cel` is the text, `compute` gives the value of the same in Python; `is_double`: numbers next to it are written as doubles."""

    cel: str
    compute: Callable[[Scope], Any]
    strength: int = _ATOM
    is_double: bool = False

    def holds(self, model: Any) -> bool:  # noqa: ANN401 - a model, or any JSON value
        """Whether the condition holds for `model` as `self`."""
        return bool(self.compute({"self": model}))

    def __bool__(self) -> bool:
        raise TypeError("an expression has a value only in a scope: combine with &, | and ~, compare two sides at a time")

    def __or__(self, other: Expression) -> Expression:
        return Expression(
            cel=" || ".join(f"({side.cel})" if side.strength in (_CHOICE, _AND) else side.cel for side in (self, other)),
            compute=lambda scope: self.compute(scope) or other.compute(scope),
            strength=_OR,
        )

    def __and__(self, other: Expression) -> Expression:
        return Expression(
            cel=f"{self.within(_AND)} && {other.within(_AND)}",
            compute=lambda scope: self.compute(scope) and other.compute(scope),
            strength=_AND,
        )

    def __invert__(self) -> Expression:
        return Expression(cel=f"!{self.within(_UNARY)}", compute=lambda scope: not self.compute(scope), strength=_UNARY)

    def __lt__(self, other: Any) -> Expression:  # noqa: ANN401 - an expression or a literal, here and below
        return self._binary("<", operator.lt, other, _RELATION)

    def __le__(self, other: Any) -> Expression:  # noqa: ANN401
        return self._binary("<=", operator.le, other, _RELATION)

    def __gt__(self, other: Any) -> Expression:  # noqa: ANN401
        return self._binary(">", operator.gt, other, _RELATION)

    def __ge__(self, other: Any) -> Expression:  # noqa: ANN401
        return self._binary(">=", operator.ge, other, _RELATION)

    def __add__(self, other: Any) -> Expression:  # noqa: ANN401
        return self._binary("+", operator.add, other, _SUM)

    def __sub__(self, other: Any) -> Expression:  # noqa: ANN401
        return self._binary("-", operator.sub, other, _SUM)

    def __mul__(self, other: Any) -> Expression:  # noqa: ANN401
        return self._binary("*", operator.mul, other, _PRODUCT)

    def __floordiv__(self, other: Any) -> Expression:  # noqa: ANN401
        """CEL's `/` of whole numbers, which rounds towards zero: for a dividend and divisor that are not negative."""
        return self._binary("/", operator.floordiv, other, _PRODUCT)

    def equals(self, other: Any) -> Expression:  # noqa: ANN401
        """`==`."""
        return self._binary("==", operator.eq, other, _RELATION)

    def differs(self, other: Any) -> Expression:  # noqa: ANN401
        """`!=`."""
        return self._binary("!=", operator.ne, other, _RELATION)

    def is_in(self, collection: Sequence[str] | Expression) -> Expression:
        """Whether a list has the value, or a map the key."""
        return self._binary("in", lambda value, values: value in values, collection, _RELATION)

    def matches(self, pattern: str) -> Expression:
        """Whether the pattern, without `^` and `$` anywhere in the text, is found."""
        # Python's $ also stands before a newline at the end, RE2's does not.
        compiled = re.compile(pattern.replace("$", r"\Z"))
        return self._call("matches", lambda text: compiled.search(text) is not None, _quote(pattern))

    def starts_with(self, prefix: str) -> Expression:
        """Whether a text starts with the prefix."""
        return self._call("startsWith", lambda text: text.startswith(prefix), _quote(prefix))

    def contains(self, part: str) -> Expression:
        """Whether a text contains the part."""
        return self._call("contains", lambda text: part in text, _quote(part))

    def without_end(self, end: str) -> Expression:
        """A text without the suffix `end`; a text that equals `end` stays."""
        path = self.cel
        return Expression(
            cel=f"({path}.endsWith({_quote(end)}) && {path} != {_quote(end)} ? {path}.substring(0, size({path}) - {len(end)}) : {path})",
            compute=lambda scope: text if (text := self.compute(scope)) == end else text.removesuffix(end),
        )

    @property
    def is_given(self) -> Expression:
        """Whether an optional field is set; its parent must be."""
        return Expression(cel=f"has({self.cel})", compute=lambda scope: self.compute(scope) is not None)

    @property
    def or_empty(self) -> Expression:
        """The list of a field; empty if the field is not set."""
        return Expression(cel=f"(has({self.cel}) ? {self.cel} : [])", compute=lambda scope: self.compute(scope) or [])

    @property
    def size(self) -> Expression:
        """Number of characters, items or entries."""
        return self._call("size", len)

    @property
    def number(self) -> Expression:
        """The text as a double."""
        return Expression(cel=f"double({self.cel})", compute=lambda scope: float(self.compute(scope)), is_double=True)

    @property
    def integer(self) -> Expression:
        """The text as an integer."""
        return Expression(cel=f"int({self.cel})", compute=lambda scope: int(self.compute(scope)))

    @property
    def text(self) -> Expression:
        """A quantity, which may be a number, as text."""
        return Expression(cel=f"string({self.cel})", compute=lambda scope: str(self.compute(scope)))

    def at(self, key: Expression) -> Expression:
        """The value of a key of a map; the key must exist."""
        return Expression(cel=f"{self.cel}[{key.cel}]", compute=lambda scope: self.compute(scope)[key.compute(scope)])

    def every(self, name: str, condition: Expression) -> Expression:
        """Whether the condition on the variable `name` holds for all items of a list, or all keys of a map."""
        return self._macro("all", name, condition, all)

    def some(self, name: str, condition: Expression) -> Expression:
        """Whether it holds for at least one."""
        return self._macro("exists", name, condition, any)

    def one(self, name: str, condition: Expression) -> Expression:
        """Whether it holds for exactly one."""
        return self._macro("exists_one", name, condition, lambda verdicts: sum(map(bool, verdicts)) == 1)

    def within(self, strength: int) -> str:
        """The text as operand of an operator of this precedence."""
        return self.cel if self.strength >= strength else f"({self.cel})"

    def _binary(self, sign: str, function: Callable[[Any, Any], Any], other: Any, strength: int) -> Expression:  # noqa: ANN401
        right = other if isinstance(other, Expression) else literal(float(other) if self.is_double else other)
        # The right side binds more strongly, so that a - (b - c) keeps its parentheses.
        return Expression(
            cel=f"{self.within(strength)} {sign} {right.within(strength + 1)}",
            compute=lambda scope: function(self.compute(scope), right.compute(scope)),
            strength=strength,
            is_double=self.is_double and strength > _RELATION,
        )

    def _call(self, name: str, function: Callable[[Any], Any], *arguments: str) -> Expression:
        return Expression(cel=f"{self.within(_ATOM)}.{name}({', '.join(arguments)})", compute=lambda scope: function(self.compute(scope)))

    def _macro(self, macro: str, name: str, condition: Expression, summary: Callable[[Any], bool]) -> Expression:
        return Expression(
            cel=f"{self.cel}.{macro}({name}, {condition.cel})",
            compute=lambda scope: summary(condition.compute({**scope, name: item}) for item in self.compute(scope)),
        )


def field(path: str, of: str = "self") -> Expression:
    """The field at `continuous.max` below `self`, or below a variable."""
    parts = path.split(".")

    def compute(scope: Scope) -> Any:  # noqa: ANN401 - the value of any field
        value = scope[of]
        for part in parts:
            value = field_value(value, part)
        return value

    return Expression(cel=f"{of}.{path}", compute=compute)


def variable(name: str) -> Expression:
    """The variable of the `every`, `some` or `one` around it."""
    return Expression(cel=name, compute=lambda scope: scope[name])


def choose(condition: Expression, then: Expression, otherwise: Expression) -> Expression:
    """The conditional operator."""
    return Expression(
        cel=f"{condition.within(_OR)} ? {then.within(_OR)} : {otherwise.within(_CHOICE)}",
        compute=lambda scope: (then if condition.compute(scope) else otherwise).compute(scope),
        strength=_CHOICE,
    )


def _quote(text: str) -> str:
    """A text as CEL writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def literal(value: str | float | Sequence[str]) -> Expression:
    """A constant: text, number or list of texts."""
    if isinstance(value, str):
        cel = _quote(value)
    else:
        cel = repr(value) if isinstance(value, int | float) else f"[{', '.join(map(_quote, value))}]"
    return Expression(cel=cel, compute=lambda _: value)
