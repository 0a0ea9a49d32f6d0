"""What the documents for users say is true where a program can tell: searches, chart values, commands, links, Python."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import click
import pytest
import typer.main
import yaml

from autohas.command import app
from autohas_api.accept.acceptance import accept
from autohas_api.accept.data_arguments import DATA_ARGUMENTS
from autohas_api.algorithms.auto_has import AutoHAS
from autohas_api.base import yaml_file
from autohas_api.base.model import Model
from autohas_api.base.names import API_VERSION, KIND
from autohas_api.spec.algorithm import Algorithm
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.objective import Cost, Objective
from autohas_api.spec.search import MUTABLE_WHILE_SUSPENDED, Spec
from autohas_api.templates.table import TEMPLATES
from autohas_api.testing.rejections import a_search
from autohas_trainer.engine.checkpointing.checkpoint import FORMAT

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(
        ROOT / name
        for name in (
            "README.md",
            "ARCHITECTURE.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "trainer/README.md",
            "examples/README.md",
            "benchmarks/README.md",
        )
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
VALUES = yaml.safe_load((ROOT / "charts" / "autohas" / "values.yaml").read_text())
SPEC_FIELDS = {field.alias or name for name, field in Spec.model_fields.items()}
FREE_FORM = (
    "labels",
    "annotations",
    "resources",
    "affinity",
    "nodeSelector",
    "tolerations",
    "podLabels",
    "podAnnotations",
    "metricsFrom",
    "operatorLabels",
)
"""Chart values whose inside is Kubernetes' own or anybody's."""
FOREIGN_FLAGS = {
    "--wait",
    "--wait-for-jobs",
    "--cascade",
    "--take-ownership",
    "--set",
    "--reset-then-reuse-values",
    "--force-conflicts",
    "--build-arg",
}
"""Flags of helm, kubectl and docker that documents name by themselves."""
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]\n]*\]\(([^)\s]+)\)")
CLI: click.Group = typer.main.get_command(app)  # type: ignore[assignment] # an app of several verbs is a group


def blocks(document: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages, without the indentation of a list."""
    return [textwrap.dedent(text) for _, language, text in FENCE.findall(document.read_text()) if language in languages]


def prose(document: Path) -> str:
    return FENCE.sub("", document.read_text())


def without_code(text: str) -> str:
    """Running text without what stands between backquotes: a pattern such as `[a-z]([-a-z]*)` is no link."""
    return re.sub(r"`[^`\n]*\]\([^`\n]*`", "", text)


def all_blocks(*languages: str) -> list[Any]:
    found = [(document, number, text) for document in DOCUMENTS for number, text in enumerate(blocks(document, *languages), start=1)]
    return [pytest.param(text, id=f"{document.relative_to(ROOT)}-{number}") for document, number, text in found]


@pytest.mark.parametrize("text", all_blocks("yaml"))
def test_every_piece_of_yaml_is_accepted(text: str) -> None:
    """A whole search as it stands; fields of a spec laid over a small search; chart values by the names that the chart knows."""
    keys = set(next(yaml.safe_load_all(text)))
    if "kind" in keys:
        documents = [part for part in re.split(r"^---$", text, flags=re.MULTILINE) if f"kind: {KIND}" in part]
        for part in documents:
            accept(yaml_file.parse_search(part, "document").value)
    elif keys <= SPEC_FIELDS and not (keys <= set(VALUES) and not unknown_values(yaml.safe_load(text), VALUES)):
        accept(with_fragment(text))
    else:
        assert unknown_values(yaml.safe_load(text), VALUES) == []


def test_the_claims_of_the_guide_are_those_of_the_gpu_example() -> None:
    """One may be applied after the other: size and access mode of a claim stay as they were made."""

    def claims(text: str) -> list[Any]:
        return [document for document in yaml.safe_load_all(text) if document["kind"] == "PersistentVolumeClaim"]

    guide = [text for text in blocks(ROOT / "docs" / "guide.md", "yaml") if "kind: PersistentVolumeClaim" in text]
    assert [claims(text) for text in guide] == [claims((ROOT / "examples" / "06-gpu-with-claim.yaml").read_text())]


def with_fragment(text: str) -> dict[str, Any]:
    """A small search whose spec has these fields instead of its own."""
    head = f"apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata: {{name: fragment}}\nspec:\n"
    fragment = yaml_file.parse_search(head + textwrap.indent(text, "  "), "document").value
    search = a_search("fragment")
    return {**search, "spec": {**search["spec"], **fragment["spec"]}}


def unknown_values(given: Any, known: Any, path: str = "") -> list[str]:
    """Paths of chart values that values.yaml does not have."""
    if not isinstance(given, Mapping) or path.rpartition(".")[2] in FREE_FORM:
        return []
    found = []
    for key, value in given.items():
        here = f"{path}.{key}".lstrip(".")
        found += [here] if not isinstance(known, Mapping) or key not in known else unknown_values(value, known[key], here)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """Relative links name a file or folder of the repository, and a heading that it has."""
    broken = []
    for target in LINK.findall(without_code(prose(document))):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(document: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(document: Path) -> Iterator[list[str]]:
    """Every call of `autohas`, in blocks and in the running text, as its words."""
    lines = "\n".join(blocks(document, "", "sh", "console", "bash")).replace("\\\n", " ").splitlines()
    for line in [*lines, *re.findall(r"`([^`\n]+)`", prose(document))]:
        for part in re.split(r"&&|\|\||[|;]|\$\(", line):
            words = words_of(part)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if words and words[0].rpartition("/")[2] == "autohas":
                yield words[1:]


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a drawing, a sentence with an apostrophe
        return line.split()


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists_with_its_flags(document: Path) -> None:
    """Each `autohas VERB --flag` is a verb of the program, and the flag one of that verb."""
    wrong = []
    for words in commands(document):
        verb = next((word for word in words if not word.startswith("-")), None)
        if verb is None or verb.isupper() or verb == "...":
            known = options(CLI)
        elif verb in CLI.commands:
            known = options(CLI.commands[verb]) | options(CLI)
        else:
            wrong.append(f"autohas {verb}")
            continue
        flags = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
        wrong += [f"autohas {verb} {flag}" for flag in flags if flag not in known]
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_flag_that_stands_alone_is_one_of_the_program(document: Path) -> None:
    """A flag in the running text belongs to some verb, or is a known one of helm or kubectl."""
    known = options(CLI).union(FOREIGN_FLAGS, *(options(command) for command in CLI.commands.values()))
    named = re.findall(r"`(--[a-z][a-z-]*)[ =`]", prose(document))
    assert [flag for flag in named if flag not in known] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_verb_of_make_exists(document: Path) -> None:
    """Each `make VERB` is in the Makefile."""
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = "\n".join(blocks(document, "", "sh")).splitlines()
    named = [match[1] for line in lines if (match := re.match(r"make ([a-z-]+)", line))] + re.findall(r"`make ([a-z-]+)`", prose(document))
    assert [verb for verb in named if verb not in verbs] == []


@pytest.mark.parametrize("text", all_blocks("python"))
def test_every_piece_of_python_compiles_and_imports_what_there_is(text: str) -> None:
    """What it takes from our packages is there under that name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("autohas", "autohas_api", "autohas_trainer"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_the_index_names_every_document() -> None:
    """docs/README.md links each of them."""
    linked = set(LINK.findall((ROOT / "docs" / "README.md").read_text()))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} - linked == set()


def test_the_map_shows_the_levels_that_the_linter_checks() -> None:
    """Each row of ARCHITECTURE.md has the modules of a package in the order of import-linter's layers."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract["layers"] for contract in contracts if contract["type"] == "layers"}
    levels = {package: [set(re.findall(r"\w+", layer)) - {"__main__"} for layer in rows] for package, rows in layers.items()}
    rows = re.findall(r"^\| `(autohas_[a-z.]+)` \| (.*) \|$", prose(ROOT / "ARCHITECTURE.md").partition("## Levels")[2], re.MULTILINE)
    shown = {package: [set(re.findall(r"`(\w+)`", level)) for level in row.split("→")] for package, row in rows}

    assert shown == {package: [level for level in given if level] for package, given in levels.items()}


def test_the_guide_names_everything_built_in() -> None:
    """Every algorithm, strategy, metric, data source with its arguments, template, hyperparameter, and price."""
    text = (ROOT / "docs" / "guide.md").read_text()
    names = {
        *choices_of(Algorithm, "name"),
        *choices_of(AutoHAS, "strategy"),
        *choices_of(Objective, "metric"),
        *choices_of(Cost, "metric"),
        *choices_of(Cost, "form"),
        *TEMPLATES,
        *KNOWN,
        *DATA_ARGUMENTS,
        *(argument for arguments in DATA_ARGUMENTS.values() for argument in arguments),
    }

    assert {name for name in names if re.search(rf"\b{name}\b", text) is None} == set()


def test_the_installation_page_names_the_format_of_checkpoints() -> None:
    """Upgrades depend on it: the number in the text is the code's."""
    text = (ROOT / "docs" / "install.md").read_text()

    assert re.findall(r"A checkpoint has a format\*\*, (\d+) in this version", text) == [str(FORMAT)]


def test_the_guide_lists_what_may_change_while_suspended() -> None:
    """Every field of `trainer` that the CRD lets change in the phase Suspended."""
    text = " ".join((ROOT / "docs" / "guide.md").read_text().split())
    listed = text.partition("of `trainer` the fields ")[2].partition(". Another kind")[0]

    assert re.findall(r"`(\w+)`", listed) == list(MUTABLE_WHILE_SUSPENDED)


def choices_of(model: type[Model], field: str) -> tuple[str, ...]:
    """The words that a field of the resource allows."""
    given = get_args(model.model_fields[field].annotation)
    return tuple(word for part in given for word in (get_args(part) or (part,)) if word is not NoneType)


def test_the_custom_model_of_the_page_keeps_its_contract(tmp_path: Path) -> None:
    """The modules and the search, from docs/own-models.md, pass the conformance test; so do the plain module and the page's tests."""
    page = ROOT / "docs" / "own-models.md"
    for text in blocks(page, "python"):
        name = text.partition("\n")[0].removeprefix("# ") if text.startswith("# mine/") else "test_mine.py"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (search,) = (text for text in blocks(page, "yaml") if f"kind: {KIND}" in text)
    (tmp_path / "search.yaml").write_text(search)
    calls = (
        ["conformance", "search.yaml"],
        ["conformance", "mine.plain:net", "--input-shape", "8", "--outputs", "3"],
        ["conformance", "mine.digits:net", "--input-shape", "1x8x8", "--outputs", "10"],
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    programs = [["-m", "autohas", *call] for call in calls] + [["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]]
    ended = [
        subprocess.run([sys.executable, *program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        for program in programs
    ]

    assert [done.stdout + done.stderr for done in ended if done.returncode != 0] == []
