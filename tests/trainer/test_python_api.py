"""`import autohas`: a search from Python, the same as the command's, that leaves the process as it was."""

from __future__ import annotations

import builtins
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import autohas
from autohas.extras import MissingExtraError
from autohas_api import yamlfile
from autohas_api.extras import install_hint
from autohas_api.problems import SpecError
from autohas_api.testing import a_search, changed


@pytest.fixture(scope="module", name="first")
def _first(tmp_path_factory: pytest.TempPathFactory) -> autohas.Result:
    return autohas.run(a_search("small"), out=tmp_path_factory.mktemp("python") / "out", quiet=True)


def test_the_result_is_that_of_the_folder(first: autohas.Result) -> None:
    """Scores, configuration and digest equal result.json's; the model is there."""
    record = json.loads((first.folder / "result.json").read_text())

    assert first.test_score == record["winner"]["testScore"]
    assert dict(first.configuration) == record["winner"]["configuration"]
    assert first.default_test_score == record["default"]["testScore"]
    assert (first.digest, first.stop_reason, first.metric) == (record["digests"]["result"], "Completed", "accuracy")
    assert first.test_scores == (first.test_score,)
    assert first.model.is_file()


def test_path_text_and_mapping_are_the_same_search(first: autohas.Result, tmp_path: Path) -> None:
    """The same digest from a file (resumed, so only read) and from text."""
    text = yamlfile.dump(a_search("small"))
    (tmp_path / "search.yaml").write_text(text)

    assert autohas.run(tmp_path / "search.yaml", out=first.folder, resume=True, quiet=True) == first
    assert autohas.run(str(tmp_path / "search.yaml"), out=str(first.folder), resume=True, quiet=True) == first
    assert autohas.run(text, out=tmp_path / "out", quiet=True).digest == first.digest


def test_settings_are_those_of_the_command(tmp_path: Path) -> None:
    """`algorithm.seed=1` changes the seed; a wrong path is refused by name."""
    result = autohas.run(a_search("small"), settings=["algorithm.seed=1", "retrain.steps=18"], out=tmp_path / "out", quiet=True)
    record = json.loads((result.folder / "result.json").read_text())

    assert (record["search"]["spec"]["algorithm"]["seed"], record["search"]["spec"]["retrain"]["steps"]) == (1, 18)
    with pytest.raises(SpecError, match=r"spec\.budget\.training: Invalid value|unknown field"):
        autohas.run(a_search("small"), settings=["budget.training=3"], out=tmp_path / "other", quiet=True)


def test_a_used_folder_is_refused(first: autohas.Result) -> None:
    """Nothing is overwritten by accident."""
    with pytest.raises(FileExistsError, match="is not empty: go on with the search in it by resume=True"):
        autohas.run(a_search("small"), out=first.folder, quiet=True)


def test_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    """Signal handlers and torch's global settings are given back, after a failure too."""
    before = (signal.getsignal(signal.SIGINT), torch.get_num_threads(), torch.get_deterministic_debug_mode())
    torch.set_deterministic_debug_mode("default")
    try:
        wild = changed(a_search("small"), "spec.task.recipe.learningRate", "1e12")
        with pytest.raises(Exception, match="default configuration diverged"):
            autohas.run(wild, out=tmp_path / "out", quiet=True)
        assert torch.get_deterministic_debug_mode() == 0
        assert (signal.getsignal(signal.SIGINT), torch.get_num_threads()) == before[:2]
    finally:
        torch.set_deterministic_debug_mode(before[2])


def test_it_works_in_a_thread(tmp_path: Path) -> None:
    """Signals belong to the main thread; elsewhere none is taken and the search runs."""
    found: list[autohas.Result] = []
    thread = threading.Thread(target=lambda: found.append(autohas.run(a_search("small"), out=tmp_path / "out", quiet=True)))
    thread.start()
    thread.join()

    assert len(found) == 1


def test_without_the_trainer_extra_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing torch is no traceback about torch but the command that brings it."""
    original = builtins.__import__

    def without_torch(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "torch" or name.startswith("autohas_trainer.cli.laptop"):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    said = f"needs the package torch, which is not installed: {install_hint('trainer')}"
    with pytest.raises(MissingExtraError, match=re.escape(said)):
        autohas.run(a_search("small"))


def test_importing_it_loads_nothing_heavy() -> None:
    """`import autohas` is quick: no torch, no numpy, no rich."""
    code = "import sys, autohas; print([m for m in ('torch', 'numpy', 'rich', 'typer', 'kubernetes') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
