"""Search files are read as kubectl reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.base.yaml_file import dump, explain_unquoted, parse_scalar, parse_search, read_search
from autohas_api.testing.rejections import a_search, with_change

SEARCH = """\
apiVersion: autohas.dev/v1alpha1
kind: AutoHASSearch
metadata: {name: small}
spec:
  task: {data: {name: digits}, model: {template: mlp-small}}
  searchSpace: {architecture: {}}
  budget:
    trainings: "5.5"
  training: {steps: 90}
"""


def problem_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_search(text, "search.yaml")
    (problem,) = caught.value.field_errors
    return str(problem)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("3.", 3),
        ("90.0", 90),
        ("1e2", 100),
        ("0o10", 8),
        ("+7", 7),
        ("010", 8),
        ("0x1F", 31),
        ("1_000", 1000),
        ("-0b11", -3),
        ("yes", True),
        ("off", False),
        ("y", True),
        ("~", None),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1e", "1e"),
        ("0.1.0", "0.1.0"),
        ("'1e-4'", "1e-4"),
        ("!!str 1e-4", "1e-4"),
        ("[a, 1]", ["a", 1]),
        ("", None),
    ],
)
def test_plain_scalars_have_the_types_that_kubectl_gives_them(written: str, meant: object) -> None:
    """Floats without a point, octals and booleans follow kubectl; times and base-60 numbers stay text."""
    value = parse_scalar(written)
    assert value == meant
    assert isinstance(value, type(meant))
    assert isinstance(value, bool) == isinstance(meant, bool)


def test_an_unquoted_number_in_a_decimal_field_is_refused_as_it_was_written() -> None:
    """The error repeats the number in quotes, exactly as a person typed it."""
    document = parse_search(SEARCH.replace('"5.5"', "1e-4"), "search.yaml")
    with pytest.raises(SpecError) as caught:
        accept(document.value)
    (problem,) = caught.value.field_errors
    assert problem.path == "spec.budget.trainings"
    assert problem.message.endswith('a number must be a quoted decimal, for example "1e-4"')
    assert document.place(problem.path) == "search.yaml:8"


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    """The second of two equal keys is the error; nothing is overwritten silently."""
    assert problem_of(SEARCH + "  training: {steps: 9}\n") == 'search.yaml:10: duplicate key "training" (first at line 9)'


def test_text_that_is_no_yaml_names_file_and_line() -> None:
    """A stray bracket is reported where it stands."""
    assert problem_of("kind: [\nmetadata: }\n").startswith("search.yaml:2: is not YAML: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "search.yaml: must hold exactly one AutoHASSearch: it is empty"),
        ("- a\n", "search.yaml:1: must be an object with apiVersion, kind, metadata and spec"),
        (
            SEARCH + "---\n" + SEARCH,
            "search.yaml: must hold exactly one AutoHASSearch: found 2 in 2 documents (AutoHASSearch at line 2, AutoHASSearch at line 12)",
        ),
        (
            "a: 1\n---\nkind: autohassearch\n",
            "search.yaml: must hold exactly one AutoHASSearch: found 0 in 2 documents (no kind at line 1, autohassearch at line 3)",
        ),
        ("a: {on: 1}\n", 'search.yaml:1: the key on without quotes is a YAML boolean, which kubectl sends as "true": write "on"'),
        ("a: {010: 1}\n", 'search.yaml:1: the key 010 without quotes is the number 8, which kubectl sends as "8": write "010"'),
        ("a: {1_000: 1}\n", 'search.yaml:1: the key 1_000 without quotes is the number 1000, which kubectl sends as "1000": write "1_000"'),
        ("a: {~: 1}\n", "search.yaml:1: the key ~ is a YAML null: write it in quotes"),
        ('{"a": "\\ud83d"}\n', "search.yaml:1: half of a character (\\ud800 to \\udfff) is no Unicode text"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "search.yaml:2: merge keys (<<) are not supported; write the fields out"),
        ("a: .inf\n", "search.yaml:1: .inf is not allowed: numbers must be finite"),
        ("a: 1e999\n", "search.yaml:1: 1e999 is too large for a number"),
        ("a: !!python/object:os.system x\n", "search.yaml:1: the tag tag:yaml.org,2002:python/object:os.system is not supported"),
        ("[" * 5000, "search.yaml: is not YAML that can be read: nested too deep"),
        ("[a]: 1\n", "search.yaml:1: a key must be a word, not a list or an object"),
    ],
)
def test_what_no_search_can_be_is_refused_with_its_place(text: str, said: str) -> None:
    """Every refusal names the file and, where there is one, the line."""
    assert problem_of(text) == said


def test_an_alias_bomb_is_refused_before_it_is_built() -> None:
    """Aliases are counted as what they expand to."""
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))
    assert "must have at most 20000 values" in problem_of(f"a0: &a0 x\n{levels}\n")


def test_an_alias_to_itself_is_refused() -> None:
    """A cycle ends at the depth limit and not in the interpreter's stack."""
    assert "64 deep" in problem_of("a: &a [*a]\n")


def test_the_search_is_found_beside_other_documents() -> None:
    """A claim in the same file is passed over; line numbers are those of the file."""
    document = parse_search("kind: PersistentVolumeClaim\n---\n" + SEARCH, "search.yaml")
    assert document.value["kind"] == "AutoHASSearch"
    assert document.place("spec.training.steps") == "search.yaml:11"
    assert document.place("spec.training.unknown[3].deep") == "search.yaml:11"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff", "must be UTF-8"), (b"#" * (1 << 20) + b"#", "must be at most 1048576 bytes long"), (None, "cannot be read: No such file")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Encoding, size and absence have different sentences."""
    path = tmp_path / "search.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=said) as caught:
        read_search(path)
    assert str(path) in str(caught.value)


def test_text_that_kubectl_would_take_for_a_number_is_written_in_quotes() -> None:
    """What is dumped is read back equal by kubectl's rules, decimals and words like `no` included."""
    values = ["1e-4", "0.1", "10", "1e999", "no", "y", "null", "", ".inf", "silu", "0x1F", "a: b", "\u00e9t\u00e9", "1:30"]
    value = {"choices": values, "steps": 90, "share": 0.1, "on": True, "nothing": None}
    assert parse_scalar(dump(value)) == value
    assert dump({"min": "1e-4"}) == "min: '1e-4'\n"
    assert list(parse_scalar(dump({"b": 1, "a": 2}))) == ["b", "a"]


@pytest.mark.parametrize(
    ("written", "meaning"),
    [
        *((word, "a YAML boolean") for word in ("y", "Y", "n", "yes", "No", "on", "OFF", "true", "False")),
        ("010", "the number 8"),
        ("0o10", "the number 8"),
        ("0x1F", "the number 31"),
        ("1_000", "the number 1000"),
        ("1e3", "the number 1000"),
        ("1e-4", "the number 0.0001"),
        ("+7", "the number 7"),
    ],
)
@pytest.mark.parametrize("path", ["spec.task.data.arguments.target", "spec.task.data.path", "metadata.name"])
def test_a_word_that_yaml_takes_for_something_else_is_explained(path: str, written: str, meaning: str) -> None:
    """Where text is wanted: what the word means without quotes, and how to write it."""
    table = with_change(a_search(), "spec.task.data", {"name": "csv", "path": "/data", "arguments": {"target": "label"}})
    document = parse_search(dump(with_change(table, path, "WORD")).replace("WORD", written), "search.yaml")
    with pytest.raises(SpecError) as caught:
        accept(document.value)

    messages = {problem.path: explain_unquoted(problem, document).message for problem in caught.value.field_errors}
    assert messages[path].endswith(f'must be of type string: {written} without quotes is {meaning}: write "{written}"')


@pytest.mark.parametrize("written", ["1:30", "2026-01-01", "0.1.0", "1e", "."])
def test_a_word_that_looks_like_a_time_stays_text(written: str) -> None:
    """Kubectl sends these as text too."""
    table = with_change(a_search(), "spec.task.data", {"name": "csv", "path": "/data", "arguments": {"target": "WORD"}})
    document = parse_search(dump(table).replace("WORD", written), "search.yaml")

    assert accept(document.value)[0].spec.task.data.arguments["target"] == written


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("~", 'arguments.target: ~ without quotes is a YAML null, as if it were left out: for the text write "~")'),
        ("null", 'null without quotes is a YAML null, as if it were left out: for the text write "null")'),
        ("", "arguments.target: nothing stands there)"),
    ],
)
def test_a_null_is_named_where_something_is_missing(written: str, said: str) -> None:
    """The server drops a null, so what is missing is the field around it."""
    table = with_change(a_search(), "spec.task.data", {"name": "csv", "path": "/data", "arguments": {"target": "WORD"}})
    document = parse_search(dump(table).replace("WORD", written), "search.yaml")
    with pytest.raises(SpecError) as caught:
        accept(document.value)

    (problem,) = (explain_unquoted(problem, document) for problem in caught.value.field_errors)
    assert problem.path == "spec.task.data.arguments"
    assert problem.message.startswith("arguments.target must name the column to learn")
    assert problem.message.endswith(said)


def test_a_json_file_is_read_like_any_other() -> None:
    """Indented by tabs, a character beyond 16 bits written as two halves; lines are those of the file."""
    text = json.dumps(
        with_change(a_search(), "spec.task.data", {"name": "csv", "path": "/\U0001f600", "arguments": {"target": "y"}}), indent="\t"
    )
    document = parse_search(text, "search.json")

    assert accept(document.value)[0].spec.task.data.path == "/\U0001f600"
    assert document.place("metadata.name") == "search.json:5"
