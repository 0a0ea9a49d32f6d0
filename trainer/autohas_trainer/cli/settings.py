"""`--set budget.trainings=3`: changes one field of a search, typed by its schema. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from autohas_api.base.spec_errors import FieldError, SpecError
from autohas_api.base.structural_schema import structural_schema
from autohas_api.base.yaml_file import parse_scalar
from autohas_api.spec.search import Spec

__all__ = ["SEARCH_FILES", "apply_settings", "list_unused"]

SEARCH_FILES: Final = (".yaml", ".yml")
"""How the name of a search file ends, where a command takes an entrypoint too: only such a file has settings."""
_PART: Final = re.compile(r"([A-Za-z0-9_./-]+?)((?:\[[0-9]+\])*)")
_ROOTS: Final = ("spec", "metadata")


def apply_settings(document: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return the document with every `path=value` applied, in order; paths are relative to `spec`.

    A field that holds text (a decimal, a name) takes the value as typed; others are read as YAML. Validation is the caller's.

    Raises:
        SpecError: a setting is no `path=value`, or its path does not exist.
    """
    changed = copy.deepcopy(dict(document))
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator or not path:
            raise SpecError([FieldError(path=f"--set {setting}", message="must be path=value, for example budget.trainings=3")])
        keys = _keys(path)
        _assign(changed, keys, _typed(keys, text), path)
    return changed


def _keys(path: str) -> list[str | int]:
    keys: list[str | int] = []
    for part in path.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise SpecError([FieldError(path=path, message="is no path: write names with dots and list positions as [0]")])
        keys.append(match[1])
        keys.extend(int(index) for index in re.findall(r"\d+", match[2]))
    return keys if keys[0] in _ROOTS else ["spec", *keys]


def _typed(keys: Sequence[str | int], text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the text where the schema has a string, else the value that YAML reads; validation names unknown fields."""
    schema: Mapping[str, Any] | None = structural_schema(Spec) if keys[0] == "spec" else None
    for key in keys[1:]:
        if schema is None:
            break
        properties = schema.get("properties", {})
        schema = schema.get("items") if isinstance(key, int) else properties.get(key, schema.get("additionalProperties"))
    wants_text = keys[0] == "metadata" or (isinstance(schema, Mapping) and schema.get("type") == "string")
    return text if wants_text else parse_scalar(text)


def _assign(document: dict[str, Any], keys: Sequence[str | int], value: Any, path: str) -> None:  # noqa: ANN401 - any JSON value
    place: Any = document
    for key, following in pairwise(keys):
        if isinstance(place, dict) and key not in place:
            place[key] = [] if isinstance(following, int) else {}
        place = _inside(place, key, path)
    last = keys[-1]
    if isinstance(place, list) and isinstance(last, int) and last == len(place):
        place.append(value)
    elif isinstance(place, dict) and isinstance(last, str):
        place[last] = value
    else:
        _inside(place, last, path)
        place[last] = value


def _inside(place: Any, key: str | int, path: str) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(place, list) and isinstance(key, int) and key < len(place):
        return place[key]
    if isinstance(place, dict) and isinstance(key, str):
        if place[key] is None:
            place[key] = {}
        return place[key]
    kind = "a list" if isinstance(place, list) else "an object" if isinstance(place, dict) else "a single value"
    key_text = f"[{key}]" if isinstance(key, int) else key
    extent = f" of {len(place)} items" if isinstance(place, list) else ""
    raise SpecError([FieldError(path=path, message=f"leads nowhere: there is no {key_text} in {kind}{extent}")])


def list_unused(document: dict[str, Any]) -> list[str]:
    """List the sections of the file that have no effect without a cluster; `trainer.device` and the profile have."""
    written = document.get("spec", {})
    unused = ["spec.suspend"] if written.get("suspend") else []
    unused += [f"spec.trainer.{name}" for name in written.get("trainer", {}) if name not in ("device", "compute", "determinism")]
    if "storage" in written.get("checkpoint", {}):
        unused.append("spec.checkpoint.storage")
    if "startDeadlineSeconds" in written.get("budget", {}):
        unused.append("spec.budget.startDeadlineSeconds")
    unused += [f"spec.{section}" for section in ("failurePolicy", "cleanup") if section in written]
    unused += [f"spec.monitoring.{name}" for name in written.get("monitoring", {}) if name != "profileSteps"]
    return unused
