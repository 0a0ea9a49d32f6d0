"""The `autohas` program as a whole: every verb teaches by examples, completion works, parts that are not installed are named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autohas.command import app
from autohas_api.base.install_hint import install_hint

VERBS = ("run", "validate", "report", "retrain", "watch", "wait", "fetch", "dashboard")
WITHOUT = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from autohas.command import main
sys.argv = ["autohas", *{arguments}]
main()
"""
TRAINER_ONLY = ("torch", "numpy", "safetensors", "sklearn", "matplotlib", "jinja2", "prometheus_client", "structlog", "optuna")
OPERATOR_ONLY = ("kopf", "kubernetes", "aiohttp")


def _without(names: tuple[str, ...], *arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(names=names, arguments=[str(argument) for argument in arguments])
    environment = os.environ | ({"PATH": path} if path is not None else {})
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


def _flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_teaches_by_examples(verb: str) -> None:
    """--help has a sentence, an example that begins with the verb itself, and a text for every option."""
    shown = CliRunner().invoke(app, [verb, "--help"])
    assert shown.exit_code == 0
    assert re.search(rf"^ +autohas {verb} ", shown.output, flags=re.MULTILINE)
    options = re.findall(r"^  (-[-\w, ]+)(?: [A-Z=]+)?(.*)$", shown.output, flags=re.MULTILINE)
    assert options


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [("run", "FILE"), ("validate", "FILE..."), ("wait", "NAME"), ("watch", "[NAME]..."), ("dashboard", "DIR|NAME...")],
)
def test_usage_names_arguments_as_they_are_typed(verb: str, arguments: str) -> None:
    """No braces and no doubled brackets."""
    usage = CliRunner().invoke(app, [verb, "--help"]).output.splitlines()[0]
    assert usage.endswith(f"{verb} [OPTIONS] {arguments}")


def test_the_program_s_help_names_every_verb() -> None:
    """Those for this machine and those for a cluster."""
    shown = CliRunner().invoke(app, ["--help"]).output
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", shown, flags=re.MULTILINE), verb
    assert "autohas --install-completion" in shown


def test_completion_knows_verbs_and_searches(tmp_path: Path) -> None:
    """As bash asks: `autohas wa` gives watch and wait; `autohas wait fa` asks the cluster for names."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        "#!/bin/sh\necho '"
        '{"items": [{"metadata": {"name": "fashion"}}, {"metadata": {"name": "faces"}}, {"metadata": {"name": "other"}}]}'
        "'\n"
    )
    kubectl.chmod(0o755)

    def complete(words: str, position: int) -> list[str]:
        environment = os.environ | {
            "_AUTOHAS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        }
        asked = subprocess.run([sys.executable, "-m", "autohas"], capture_output=True, text=True, check=True, env=environment)
        return sorted(asked.stdout.split())

    assert complete("autohas wa", 1) == ["wait", "watch"]
    assert complete("autohas wait fa", 2) == ["faces", "fashion"]


def test_without_the_trainer_s_packages_checks_work_and_searches_say_what_to_install(tmp_path: Path) -> None:
    """As with the operator extra alone: validate and the cluster's verbs work; run names package and extra, exit 64."""
    example = Path(__file__).parents[2] / "examples" / "01-quickstart.yaml"
    checked = _without(TRAINER_ONLY, "validate", example)
    assert (checked.returncode, "is valid" in checked.stdout) == (0, True), checked.stderr
    asked = _without(TRAINER_ONLY, "wait", "x", path=str(tmp_path))
    assert (asked.returncode, "kubectl is not on PATH" in asked.stderr) == (1, True)
    refused = _without(TRAINER_ONLY, "run", example, "--out", tmp_path / "out")
    assert refused.returncode == 64
    assert re.search(r"the package \w+ is not installed; searches on this machine need the trainer", _flat(refused.stderr))
    assert _flat(install_hint("trainer")).replace(" ", "") in refused.stderr.replace(" ", "").replace("\n", "")
    assert "Traceback" not in refused.stderr


def test_without_the_operator_s_packages_every_verb_is_there() -> None:
    """As with the trainer extra alone."""
    shown = _without(OPERATOR_ONLY, "--help")
    assert shown.returncode == 0
    assert all(f"  {verb} " in shown.stdout for verb in VERBS)


def test_a_wrong_option_is_a_usage_error_of_the_contract() -> None:
    """Exit 64, as everything that was called wrongly."""
    asked = subprocess.run([sys.executable, "-m", "autohas", "wait", "--soon"], capture_output=True, text=True, check=False)
    assert asked.returncode == 64
    assert "No such option" in asked.stderr
