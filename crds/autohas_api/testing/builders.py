"""Builders of the tables of wrong searches: a valid search, a changed copy, and the expected error."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

from autohas_api.base.names import API_VERSION, KIND

__all__ = ["Rejection", "a_search", "own_training_search", "with_change"]

_MISSING: Final = object()


def a_search(name: str = "example") -> dict[str, Any]:
    """A valid, small search as a person would write it, defaults left out."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {
            "task": {"data": {"name": "digits"}, "model": {"template": "mlp-small"}},
            "searchSpace": {
                "hyperparameters": [
                    {"name": "learning_rate", "continuous": {"min": "0.03", "max": "3", "scale": "Log", "numBases": 3}},
                    {"name": "weight_decay", "continuous": {"min": "1e-5", "max": "1e-2", "scale": "Log", "numBases": 4}},
                ],
                "architecture": {},
            },
            "training": {"steps": 27},
            "budget": {"trainings": "4"},
        },
    }


def own_training_search() -> dict[str, Any]:
    """A search of a hyperparameter by own training, whose metric has a name."""
    spec = {
        **a_search()["spec"],
        "task": {"data": {"name": "digits"}, "training": {"entrypoint": "a.b:C", "arguments": {"width": "3"}}},
        "objective": {"customMetric": {"name": "bleu", "direction": "Maximize"}},
        "searchSpace": {"hyperparameters": [{"name": "rank", "categorical": {"choices": ["4", "8"]}, "default": "4"}]},
    }
    return {**a_search(), "spec": spec}


def with_change(document: dict[str, Any], path: str, value: Any = _MISSING) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """A copy with the value at `spec.a.b[0].c` replaced, or removed when no value is given. Missing objects on the path are created."""
    result = copy.deepcopy(document)
    parts: list[str | int] = []
    for segment in path.replace("]", "").split("."):
        head, *indices = segment.split("[")
        parts += [head, *(int(index) for index in indices)]
    target: Any = result
    for part in parts[:-1]:
        target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
    if value is _MISSING:
        del target[parts[-1]]
    else:
        target[parts[-1]] = value
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One wrong value: setting `path` to `value` is refused, the message blames `field` and contains `words`."""

    path: str
    value: Any
    field: str
    words: str = ""

    def document(self) -> dict[str, Any]:
        """The wrong search."""
        return with_change(a_search(), self.path, self.value)

    def __str__(self) -> str:
        text = f"{self.path}={self.value!r}"
        return text if len(text) < 80 else text[:77] + "..."  # noqa: PLR2004 - a test's name
