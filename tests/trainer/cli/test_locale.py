"""Text that is not ASCII, in choices, columns, classes and file names, where the locale is ASCII and Python's UTF-8 mode is off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search, with_change

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
_MODEL = """
import math
from torch import nn

def net(input_shape, num_outputs, breite="groß"):
    width = {"klein": 8, "groß": 32}[breite]
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), width), nn.ReLU(), nn.Linear(width, num_outputs))
"""


def _write(folder: Path) -> dict[str, Any]:
    """A table, a module and a search whose names and values are not ASCII."""
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((900, 3)).round(3)
    rows = "\n".join(f"{a},{b},{c},{'größer' if a > 0 else 'kleiner'}" for a, b, c in numbers)
    (folder / "maße.csv").write_text(f"höhe,b,c,gruppe\n{rows}\n", encoding="utf-8")
    (folder / "netze.py").write_text(_MODEL, encoding="utf-8")
    document = with_change(a_search("small"), "spec.training.steps", 18)
    data = {"name": "csv", "path": str(folder / "maße.csv"), "arguments": {"target": "gruppe"}}
    document = with_change(document, "spec.task.data", data)
    document = with_change(document, "spec.task.model", {"entrypoint": "netze:net"})
    widths = {"name": "breite", "categorical": {"choices": ["klein", "groß"]}, "default": "groß"}
    document = with_change(document, "spec.searchSpace", {"hyperparameters": [widths]})
    (folder / "suche.yaml").write_text(yaml_file.dump(document), encoding="utf-8")
    return document


def _run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}, **ASCII, **variables}
    environment["PYTHONPATH"] = str(folder)
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, check=False, cwd=folder)


def test_a_search_of_another_alphabet_ends_in_an_ascii_locale(tmp_path: Path) -> None:
    """Into a folder of such a name, from files of such names: exit 0, everything printed and written is UTF-8."""
    folder = tmp_path / "größe"
    folder.mkdir()
    _write(folder)
    ran = _run(folder, "-m", "autohas", "run", "suche.yaml", "--out", str(folder / "ausgänge"))
    assert ran.returncode == 0, ran.stderr.decode("utf-8", "replace")
    again = _run(folder, "-m", "autohas", "retrain", str(folder / "ausgänge" / "config.yaml"), "--seeds", "1")

    assert again.returncode == 0, again.stderr.decode("utf-8", "replace")
    printed = ran.stdout.decode("utf-8")
    assert "breite" in printed
    assert "ausgänge/report.html" in printed
    for name in ("result.json", "config.yaml", "history.jsonl", "report.html"):
        assert "groß" in (folder / "ausgänge" / name).read_bytes().decode("utf-8")


def test_a_trainer_of_another_alphabet_ends_in_an_ascii_locale(tmp_path: Path) -> None:
    """The container writes its checkpoints, its log and its termination message; a wrong path of such letters is a sentence."""
    document = _write(tmp_path)
    (tmp_path / "search.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    variables = {
        "AUTOHAS_SEARCH_FILE": str(tmp_path / "search.json"),
        "AUTOHAS_WORKDIR": str(tmp_path / "work"),
        "AUTOHAS_TERMINATION_LOG": str(tmp_path / "termination-message"),
        "AUTOHAS_PORT": "0",
    }
    ran = _run(tmp_path, "-m", "autohas_trainer", **variables)
    lines = [json.loads(line) for line in ran.stderr.decode("utf-8").splitlines()]
    assert ran.returncode == 0, lines
    assert "groß" in json.dumps(lines, ensure_ascii=False)

    absent = with_change(document, "spec.task.data.path", str(tmp_path / "fehlt-ü.csv"))
    (tmp_path / "search.json").write_text(json.dumps(absent, ensure_ascii=False), encoding="utf-8")
    ran = _run(tmp_path, "-m", "autohas_trainer", **{**variables, "AUTOHAS_WORKDIR": str(tmp_path / "other")})
    said = json.loads((tmp_path / "termination-message").read_bytes().decode("utf-8"))
    assert ran.returncode == 65, said
    assert "fehlt-ü.csv" in said["message"]


def test_wrong_fields_of_another_alphabet_are_printed(tmp_path: Path) -> None:
    """`autohas validate` names the value as it was written."""
    text = yaml_file.dump(with_change(a_search(), "spec.objective", {"metric": "größe"}))
    (tmp_path / "suche.yaml").write_text(text, encoding="utf-8")
    ran = _run(tmp_path, "-m", "autohas", "validate", "suche.yaml")

    assert ran.returncode == 78
    assert "größe" in ran.stderr.decode("utf-8")


def test_kubectls_words_are_utf8(tmp_path: Path) -> None:
    """A notice of another alphabet in a cluster reaches `autohas watch`; bytes that are no text are marked, not fatal."""
    tool = tmp_path / "kubectl"
    tool.write_text('#!/bin/sh\nprintf \'{"items": [{"metadata": {"name": "gr\\303\\266\\303\\237e \\377"}}]}\'\n', encoding="utf-8")
    tool.chmod(0o755)
    code = "from autohas.kubectl import Kubectl; print(ascii(Kubectl().searches()[0]['metadata']['name']))"
    ran = _run(tmp_path, "-c", code, PATH=f"{tmp_path}:{os.environ['PATH']}")

    assert ran.stdout.decode() == ascii("größe \ufffd") + "\n"
