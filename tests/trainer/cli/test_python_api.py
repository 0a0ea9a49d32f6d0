"""`import autohas`: a search from Python, the same as the command's, that leaves the process as it was."""

from __future__ import annotations

import builtins
import decimal
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch

import autohas
from autohas.extras import MissingExtraError
from autohas_api.base import yaml_file
from autohas_api.base.install_hint import install_hint
from autohas_api.base.spec_errors import SpecError
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.errors import FolderInUseError, NumericalError
from autohas_trainer.folder_lock import hold_folder


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
    text = yaml_file.dump(a_search("small"))
    (tmp_path / "search.yaml").write_text(text)

    assert autohas.run(tmp_path / "search.yaml", out=first.folder, resume=True, quiet=True) == first
    assert autohas.run(str(tmp_path / "search.yaml"), out=str(first.folder), resume=True, quiet=True) == first
    assert autohas.run(text, out=tmp_path / "out", quiet=True).digest == first.digest


def test_settings_are_those_of_the_command(tmp_path: Path) -> None:
    """`algorithm.seed=1` changes the seed; a wrong path is refused by name."""
    result = autohas.run(a_search("small"), settings=["algorithm.seed=1", "training.steps=18"], out=tmp_path / "out", quiet=True)
    record = json.loads((result.folder / "result.json").read_text())

    assert (record["search"]["spec"]["algorithm"]["seed"], record["search"]["spec"]["training"]["steps"]) == (1, 18)
    with pytest.raises(SpecError, match=r"spec\.budget\.training: Invalid value|unknown field"):
        autohas.run(a_search("small"), settings=["budget.training=3"], out=tmp_path / "other", quiet=True)


def test_a_used_folder_is_refused(first: autohas.Result) -> None:
    """Nothing is overwritten by accident."""
    with pytest.raises(FileExistsError, match="is not empty: continue the search in it by resume=True"):
        autohas.run(a_search("small"), out=first.folder, quiet=True)


def test_a_folder_in_which_another_call_works_is_refused(first: autohas.Result) -> None:
    """A second cell of a notebook, or a second process; the folder stays as it is."""
    with hold_folder(first.folder), pytest.raises(FolderInUseError, match="is in use: process"):
        autohas.run(a_search("small"), out=first.folder, resume=True, quiet=True)
    assert autohas.run(a_search("small"), out=first.folder, resume=True, quiet=True) == first


def _environment() -> dict[str, str]:
    return dict(os.environ)


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


HOSTILE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]] = {
    "default type": (torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "default device": (
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
        torch.device("meta"),
    ),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled, False),
    "anomaly": (torch.is_anomaly_enabled, torch.set_anomaly_enabled, True),
    "precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "threads": (torch.get_num_threads, torch.set_num_threads, 2),
    "determinism": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    "cudnn": (lambda: torch.backends.cudnn.benchmark, lambda on: setattr(torch.backends.cudnn, "benchmark", on), True),
    "torch's draws": (
        lambda: torch.get_rng_state().tolist(),
        lambda state: torch.set_rng_state(torch.tensor(state, device="cpu", dtype=torch.uint8)),
        None,
    ),
    "numpy's draws": (lambda: repr(np.random.get_state()), lambda _: None, None),  # noqa: NPY002 - the global one
    "Python's draws": (random.getstate, random.setstate, None),
    "numpy's errors": (np.geterr, lambda errors: np.seterr(**errors), dict.fromkeys(("divide", "over", "under", "invalid"), "raise")),
    "decimals": (lambda: decimal.getcontext().prec, lambda digits: setattr(decimal.getcontext(), "prec", digits), 2),
    "warnings": (lambda: list(warnings.filters), lambda filters: warnings.filters.__setitem__(slice(None), filters), None),  # type: ignore[index]
    "environment": (_environment, _set_environment, {**_environment(), "MINE": "1"}),
    "folder": (os.getcwd, os.chdir, None),
    "SIGINT": (lambda: signal.getsignal(signal.SIGINT), lambda handler: signal.signal(signal.SIGINT, handler), signal.SIG_IGN),
    "SIGTERM": (lambda: signal.getsignal(signal.SIGTERM), lambda handler: signal.signal(signal.SIGTERM, handler), signal.SIG_IGN),
    "backend": (lambda: mpl.get_backend(auto_select=False), lambda _: None, None),
    "logging": (lambda: (logging.root.level, list(logging.root.handlers)), lambda _: None, None),
}
"""What a caller may have set: how to see it, how to set it, and a value that a search cannot use (None: as it is)."""


@pytest.mark.parametrize("fails", [False, True], ids=["a result", "an error"])
def test_the_callers_global_state_neither_matters_nor_changes(fails: bool, first: autohas.Result, tmp_path: Path) -> None:  # noqa: FBT001 - a column
    """Under every hostile setting at once, inside inference mode and autocast, the digest is the same and all is as it was."""
    before = {name: get() for name, (get, _, _) in HOSTILE.items()}
    rate = "1e12" if fails else "0.1"
    document = with_change(a_search("small"), "spec.task.recipe.learningRate", rate) if fails else a_search("small")
    try:
        for _, put, value in HOSTILE.values():
            if value is not None:
                put(value)
        hostile = {name: get() for name, (get, _, _) in HOSTILE.items()}
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            if fails:
                with pytest.raises(NumericalError):
                    autohas.run(document, out=tmp_path / "out", quiet=True)
            else:
                assert autohas.run(document, out=tmp_path / "out", quiet=True).digest == first.digest
            assert (torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")) == (True, True)
        assert {name: get() for name, (get, _, _) in HOSTILE.items()} == hostile
    finally:
        for name, (_, put, _) in HOSTILE.items():
            put(before[name])


def test_custom_code_that_changes_the_folder_and_the_default_type_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files go where they were asked for, though the folder was relative; built-in networks stay float32."""
    (tmp_path / "rude.py").write_text(
        "import os, torch\nfrom custom_code_fixtures import Data as Base\n"
        "class Data(Base):\n    def splits(self):\n        os.chdir('/')\n        torch.set_default_dtype(torch.float64)\n"
        "        return super().splits()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    document = with_change(a_search("small"), "spec.task.data", {"entrypoint": "rude:Data"})
    result = autohas.run(document, out="out", quiet=True)

    assert (tmp_path / "out" / "result.json").is_file()
    assert result.model.is_file()
    assert (Path.cwd(), torch.get_default_dtype()) == (tmp_path, torch.float32)


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
