"""Search files as kubectl reads them: its rules for plain scalars, no duplicate keys, one AutoHASSearch per file.

PyYAML and kubectl (sigs.k8s.io/yaml) disagree about unquoted text: `1e-4` is a string to the one and a number to the other. What is
accepted here must be accepted by `kubectl apply`, so kubectl's rules hold. Called by the command line and by tests; the cluster's
trainer reads JSON.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from autohas_api.base.names import KIND
from autohas_api.base.spec_errors import FieldError, SpecError

MAX_FILE_BYTES: Final = 1 << 20
"""A file that etcd could not hold is no search."""
_MAX_VALUES: Final = 20_000
"""Values after aliases are expanded: stops an alias bomb long before it costs memory."""
_MAX_DEPTH: Final = 64
_MOST_KINDS: Final = 8
"""A longer list is no help in a sentence."""

_BOOLEANS: Final = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_INTEGER: Final = re.compile(r"[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGERS_OF_JSON: Final = 1e21
"""From here on Go writes a whole number with an exponent, and a server takes it for a fraction."""
_PLAIN, _STRING = "!plain", "tag:yaml.org,2002:str"
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class WrittenFloat(float):
    """A float that is shown as it was written, so that an error can say `"1e-4"` and not `0.0001`."""

    written: str

    def __new__(cls, text: str) -> Self:
        """The number that `text` spells."""
        value = super().__new__(cls, text)
        value.written = text
        return value

    def __str__(self) -> str:
        return self.written


class WrittenInteger(int):
    """A whole number that is shown as it was written: `010` is 8."""

    written: str

    def __new__(cls, value: int, text: str) -> Self:
        """`value`, which `text` spells."""
        number = super().__new__(cls, value)
        number.written = text
        return number

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]  # int's own names the value alone
        """Constructor arguments of a copy."""
        return int(self), self.written

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One search as written.

    By JSON path (`spec.searchSpace.hyperparameters[0].name`), `lines` has the line of every value, and `unquoted` the words without
    quotes that YAML does not take for text.
    """

    source: str
    value: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
    unquoted: Mapping[str, str] = field(default_factory=dict)

    def place(self, path: str) -> str:
        """`file:line` of the value at `path`, or of the nearest value around it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.source}:{self.lines.get(path, 1)}"


def explain_unquoted(problem: FieldError, document: Document) -> FieldError:
    """The problem with what YAML made of an unquoted word, where that is the cause: `target: y`, `name: 010`, `target: ~`."""
    text = document.unquoted.get(problem.path)
    if text is not None and problem.wants_text and (meaning := _meaning(text)):
        return replace(
            problem, message=f'{problem.message.partition(": a number must")[0]}: {text} without quotes is {meaning}: write "{text}"'
        )
    below = f"{problem.path}."
    nulls = [path for path, word in document.unquoted.items() if word in _NULLS and (path == problem.path or path.startswith(below))]
    if not problem.path or not nulls or problem.wants_text:
        return problem
    word = document.unquoted[nulls[0]]
    reason = (
        f'{word} without quotes is a YAML null, as if it were left out: for the text write "{word}"' if word else "nothing stands there"
    )
    return replace(problem, message=f"{problem.message} ({nulls[0]}: {reason})")


def _meaning(text: str) -> str:
    """What YAML takes an unquoted word for, when it is no number as people write one."""
    value = plain(text, ValueError)
    if value is None:
        return "a YAML null"
    if isinstance(value, bool):
        return "a YAML boolean"
    if isinstance(value, WrittenInteger) or "_" in text or "e" in text.lower():
        return f"the number {int(value) if value == int(value) else float(value)!r}"
    return ""


def read_search(path: Path) -> Document:
    """The one AutoHASSearch of a file, or of standard input for `-`; documents of other kinds are ignored.

    Raises:
        SpecError: the file cannot be read, is no YAML, repeats a key, or holds no search or several; the problem's path is `file:line`.
    """
    return parse_search(_text_of(path), "standard input" if str(path) == "-" else str(path))


def _text_of(path: Path) -> str:
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SpecError([FieldError(path=str(path), message=f"cannot be read: {error.strerror or error}")]) from error
    if len(raw) > MAX_FILE_BYTES:
        raise SpecError([FieldError(path=str(path), message=f"must be at most {MAX_FILE_BYTES} bytes long")])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise SpecError([FieldError(path=str(path), message=f"must be UTF-8: {error.reason} at byte {error.start}")]) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """The one mapping of a YAML file, read by the same rules as a search.

    Raises:
        SpecError: the file cannot be read, is no YAML, repeats a key, or holds something else.
    """
    documents = list(_documents(_text_of(path), str(path)))
    if len(documents) != 1:
        raise SpecError([FieldError(path=str(path), message=f"must hold one document, not {len(documents)}")])
    return documents[0].value


def parse_search(text: str, source: str) -> Document:
    """As `read_search`, for a text; errors call it `source`."""
    documents = list(_documents(text, source))
    if len(documents) == 1:
        return documents[0]
    searches = [d for d in documents if d.value.get("kind") == KIND]
    if len(searches) == 1:
        return searches[0]
    kinds = ", ".join(
        f"{d.value.get('kind', 'no kind')} at line {d.lines.get('kind', d.lines.get('', 1))}" for d in documents[:_MOST_KINDS]
    )
    summary = f"found {len(searches)} in {len(documents)} documents ({kinds})" if documents else "it is empty"
    raise SpecError([FieldError(path=source, message=f"must hold exactly one {KIND}: {summary}")])


def parse_scalar(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """A value as in a file, for `--set`: `3` is a number, `"3"` and `three` are strings, `[a, b]` is a list.

    Raises:
        SpecError: not YAML.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SpecError([_yaml_problem(error, "value")]) from error
    return _Reader("value").read(node, "") if node is not None else None


def dump(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """YAML that kubectl reads back as the same values: text that kubectl would read as a number or a boolean is quoted; keys keep order.

    PyYAML writes the text `1e-4` without quotes, because its own reader does not read it as a number.
    """
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes by kubectl's rules."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
        """Write equal parts out, without aliases, for people."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    try:
        is_text = isinstance(plain(text, ValueError), str)
    except ValueError:
        is_text = False
    return dumper.represent_scalar(_STRING, text, style=None if is_text else "'")


_Dumper.add_representer(str, _represent_text)


class _Loader(yaml.SafeLoader):
    """Marks plain scalars instead of guessing their types: `plain` decides."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:  # noqa: ANN401 - PyYAML's signature
        """The tag of a node without one."""
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _STRING
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # PyYAML's stubs have no types here
        return tag


def _documents(text: str, source: str) -> Iterator[Document]:
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented by tabs, YAML may not; in a string of JSON a tab is \\t
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=_Loader) if not _is_empty(node)]
    except yaml.YAMLError as error:
        raise SpecError([_yaml_problem(error, source)]) from error
    except RecursionError as error:
        raise SpecError([FieldError(path=source, message="is not YAML that can be read: nested too deep")]) from error
    for node in nodes:
        reader = _Reader(source)
        value = reader.read(node, "")
        if not isinstance(value, dict):
            raise SpecError([FieldError(path=_place(source, node), message="must be an object with apiVersion, kind, metadata and spec")])
        yield Document(source=source, value=value, lines=reader.lines, unquoted=reader.unquoted)


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _PLAIN and node.value in _NULLS


def _yaml_problem(error: yaml.YAMLError, source: str) -> FieldError:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    place = f"{source}:{mark.line + 1}" if mark is not None else source
    return FieldError(path=place, message=f"is not YAML: {reason}" + (f" ({context})" if context else ""))


def _place(source: str, node: Node) -> str:
    return f"{source}:{node.start_mark.line + 1}"


class _Reader:
    """Turns nodes into JSON values and remembers their lines."""

    def __init__(self, source: str) -> None:
        self.lines: dict[str, int] = {}
        self.unquoted: dict[str, str] = {}
        self._source = source
        self._num_values = 0

    def read(self, node: Node, path: str, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
        """The value of a node that stands at `path`."""
        self._num_values += 1
        if self._num_values > _MAX_VALUES or depth > _MAX_DEPTH:
            raise self._error(node, f"must have at most {_MAX_VALUES} values, {_MAX_DEPTH} deep, aliases expanded")
        self.lines.setdefault(path, node.start_mark.line + 1)
        match node:
            case MappingNode():
                return self._mapping(node, path, depth)
            case SequenceNode():
                return [self.read(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, path)
        raise self._error(node, f"unexpected {node.tag}")

    def _mapping(self, node: MappingNode, path: str, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is None:
                raise self._error(key_node, "a key must be a word, not a list or an object")
            if key == "<<" and key_node.tag == _PLAIN:
                raise self._error(key_node, "merge keys (<<) are not supported; write the fields out")
            self._check_key(key_node, key)
            inner = f"{path}.{key}" if path else key
            if key in mapping:
                raise self._error(key_node, f'duplicate key "{key}" (first at line {self.lines[inner]})')
            self.lines[inner] = key_node.start_mark.line + 1
            mapping[key] = self.read(value_node, inner, depth + 1)
        return mapping

    def _check_key(self, node: Node, key: str) -> None:
        """A key that kubectl would send as another text is refused: `on: x` is sent as `true: x`."""
        if node.tag != _PLAIN:
            return
        value = plain(key, lambda message: self._error(node, message))
        if value is None:
            raise self._error(node, f"the key {key or 'before the colon'} is a YAML null: write it in quotes")
        sent = key if isinstance(value, str) else json.dumps(value)
        if sent != key:
            raise self._error(node, f'the key {key} without quotes is {_meaning(key)}, which kubectl sends as "{sent}": write "{key}"')

    def _scalar(self, node: ScalarNode, path: str) -> Any:  # noqa: ANN401 - any JSON scalar
        text: str = node.value
        if node.tag == _STRING:
            return self._unicode(node, text)
        if node.tag == _PLAIN:
            value = plain(text, lambda message: self._error(node, message))
            if not isinstance(value, str):
                self.unquoted[path] = text
            return value
        raise self._error(node, f"the tag {node.tag} is not supported")

    def _unicode(self, node: Node, text: str) -> str:
        """The text with its surrogate pairs joined: JSON escapes a character beyond 16 bits as two halves."""
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self._error(node, "half of a character (\\ud800 to \\udfff) is no Unicode text") from None

    def _error(self, node: Node, message: str) -> SpecError:
        return SpecError([FieldError(path=_place(self._source, node), message=message)])


def plain(text: str, failing: Callable[[str], Exception]) -> Any:  # noqa: ANN401 - any JSON scalar
    """The value that kubectl reads from an unquoted scalar."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        number = _integer(digits)
        return number if str(number) == text else WrittenInteger(number, text)
    if _FLOAT.fullmatch(digits):
        value = WrittenFloat(digits)
        if value.is_integer() and abs(value) < _INTEGERS_OF_JSON:
            return WrittenInteger(int(value), text)  # kubectl sends 90.0 and 9e1 as 90
        if math.isfinite(value):
            return value
        raise failing(f"{text} is too large for a number")
    if _NOT_FINITE.fullmatch(text):
        raise failing(f"{text} is not allowed: numbers must be finite")
    return text


def _integer(digits: str) -> int:
    sign, bare = (-1, digits[1:]) if digits[0] == "-" else (1, digits.lstrip("+"))
    is_old_octal = len(bare) > 1 and bare[0] == "0" and bare[1].isdigit()
    return sign * (int(bare, 8) if is_old_octal else int(bare, 0))
