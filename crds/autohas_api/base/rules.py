"""Rules across fields: one argument makes the CEL and the Python of each, so that neither drifts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from autohas_api.base.expressions import Expression, field
from autohas_api.base.model import Rule

__all__ = [
    "between",
    "exactly_one",
    "in_range",
    "inside",
    "join_names",
    "more_than",
    "never_together",
    "no_prefix",
    "not_negative",
    "one_of",
    "only_with",
    "rule",
]


def rule(condition: Expression, message: str, at: str = "", *, message_of_values: Expression | None = None) -> Rule:
    """A rule that `condition` states in both languages.

    Args:
        condition: What must hold of the model.
        message: What the field must be, for a person.
        at: Path of the field that is wrong, as `.continuous.max`; empty: the model itself.
        message_of_values: A message that repeats a value; `message` then stands where only a constant can.
    """
    values = message_of_values
    return Rule(
        expression=condition.cel,
        message=message,
        message_expression="" if values is None else values.cel,
        field_path=at,
        holds=condition.holds,
        message_of=None if values is None else lambda model: str(values.compute({"self": model})),
    )


def exactly_one(*fields: str) -> Rule:
    """One of the fields is given, no other."""
    presence = [field(name).is_given for name in fields]
    count = f"[{', '.join(one.cel for one in presence)}].filter(x, x).size()"
    number = Expression(cel=count, compute=lambda scope: sum(one.compute(scope) for one in presence))
    is_one = presence[0].differs(presence[1]) if len(presence) == 2 else number.equals(1)  # noqa: PLR2004 - of two, either
    return rule(is_one, f"exactly one of {join_names(fields, 'and')} must be given")


def only_with(name: str, other: str, *values: str, has_default: bool = True) -> Rule:
    """A field that has a meaning only where another field is given, or has one of `values`.

    Args:
        name: The field.
        other: The field that gives it a meaning.
        values: What that field must be; any value if empty.
        has_default: Whether it is always there.
    """
    needed = field(other)
    if not values:
        return rule(~field(name).is_given | needed.is_given, f"{name} must not be given unless {other} is", at=f".{name}")
    fits = one_of(needed, values)
    return rule(
        ~field(name).is_given | (fits if has_default else needed.is_given & fits),
        f"{name} must not be given unless {other} is {join_names(values, 'or')}",
        at=f".{name}",
    )


def never_together(name: str, other: str) -> Rule:
    """At most one of the two fields is given; the first one is blamed."""
    return rule(~field(name).is_given | ~field(other).is_given, f"{name} must not be given together with {other}", at=f".{name}")


def one_of(value: Expression, choices: tuple[str, ...]) -> Expression:
    """Whether a text is among the choices."""
    return value.equals(choices[0]) if len(choices) == 1 else value.is_in(choices)


def between(name: str, low: float, high: float, *, is_optional: bool = False) -> Rule:
    """Bounds of a decimal, both included."""
    fits = _where_given(name, in_range(name, low, high), is_optional=is_optional)
    return rule(fits, f"{name} must be between {low:g} and {high:g}", at=f".{name}")


def in_range(name: str, low: float, high: float) -> Expression:
    """Whether a decimal is within its bounds, both included."""
    return (field(name).number >= low) & (field(name).number <= high)


def inside(name: str, low: float, high: float, *, is_optional: bool = False) -> Rule:
    """Bounds of a decimal, both excluded."""
    fits = (field(name).number > low) & (field(name).number < high)
    message = f"{name} must be greater than {low:g} and less than {high:g}"
    return rule(_where_given(name, fits, is_optional=is_optional), message, at=f".{name}")


def more_than(name: str, bound: float, *, is_optional: bool = False) -> Rule:
    """A lower bound of a decimal, excluded."""
    return rule(
        _where_given(name, field(name).number > bound, is_optional=is_optional), f"{name} must be greater than {bound:g}", at=f".{name}"
    )


def not_negative(name: str, *, is_optional: bool = False) -> Rule:
    """A decimal of 0 or more."""
    return rule(_where_given(name, field(name).number >= 0, is_optional=is_optional), f"{name} must not be negative", at=f".{name}")


def _where_given(name: str, condition: Expression, *, is_optional: bool) -> Expression:
    return ~field(name).is_given | condition if is_optional else condition


def no_prefix(name: str, prefix: str, message: str, *, is_optional: bool = False) -> Rule:
    """A text that does not begin so."""
    return rule(_where_given(name, ~field(name).starts_with(prefix), is_optional=is_optional), message, at=f".{name}")


def join_names(names: Sequence[str], last: str) -> str:
    """`a, b and c`, with the word before the last name."""
    *others, end = names
    return f"{', '.join(others)} {last} {end}" if others else end
