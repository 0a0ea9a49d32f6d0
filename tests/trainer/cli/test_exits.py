"""Exit codes and sentences in their one place, and the environment of the container."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.base.exit_codes import ExitCode
from autohas_api.base.spec_errors import FieldError, SpecError
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer import errors
from autohas_trainer.cli.devices import choose_device
from autohas_trainer.cli.environment import ContainerEnvironment, available_threads
from autohas_trainer.cli.exits import UsageError, exit_of
from autohas_trainer.cli.signals import StopOnSignal


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "code", "said", "is_bug"),
    [
        (SpecError([FieldError(path="spec.x", message="is wrong")]), ExitCode.CONFIGURATION, "spec.x: is wrong", False),
        (errors.ConfigurationError("no"), ExitCode.CONFIGURATION, "no", False),
        (errors.DataError("no"), ExitCode.DATA, "no", False),
        (errors.CheckpointError("no"), ExitCode.NO_CHECKPOINT, "no", False),
        (errors.NumericalError("no"), ExitCode.NUMERICAL, "no", False),
        (errors.Interrupted("stopped"), ExitCode.INTERRUPTED, "stopped", False),
        (errors.UnreachableError("no answer"), ExitCode.BUG, "no answer", False),
        (errors.FolderInUseError("in use"), ExitCode.BUG, "in use", False),
        (errors.TrainerError("broken promise"), ExitCode.BUG, "broken promise", True),
        (UsageError("AUTOHAS_PORT"), ExitCode.USAGE, "AUTOHAS_PORT", False),
        (OSError(errno.EFBIG, "large", "/w/m.bin"), ExitCode.BUG, "/w/m.bin: the file is larger than a limit of this process", False),
        (OSError(errno.ENOSPC, "full", "/w/result.json"), ExitCode.BUG, "/w/result.json: the disk is full; free space", False),
        (OSError(errno.EROFS, "ro", "/w"), ExitCode.BUG, "/w: the file system is read-only", False),
        (PermissionError(errno.EACCES, "no", "/w"), ExitCode.BUG, "/w: permission denied; give this user", False),
        (OutOfMemoryError("CUDA out of memory"), ExitCode.CONFIGURATION, "does not fit into the device's memory", False),
        (MemoryError(), ExitCode.CONFIGURATION, "does not fit into the device's memory", False),
        (KeyError("x"), ExitCode.BUG, "KeyError: 'x'", True),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), ExitCode.BUG, "FileNotFoundError: [Errno 2] No such file: '/x'", True),
        (KeyboardInterrupt(), ExitCode.BUG, "the last checkpoint is kept", False),
    ],
)
def test_every_error_has_its_exit(error: BaseException, code: ExitCode, said: str, is_bug: bool) -> None:  # noqa: FBT001 - a column
    """Code, sentence, and whether a traceback is wanted."""
    end = exit_of(error)
    assert end.code is code
    assert said in end.sentence
    assert end.is_bug is is_bug


def test_the_environment_has_defaults_and_units() -> None:
    """Nothing set: the contract's places. Cores may be given in thousandths."""
    empty = ContainerEnvironment.read({})
    assert empty.search_file == Path("/etc/autohas/search.json")
    assert empty.workdir == Path("/var/lib/autohas")
    assert (empty.attempt, empty.port, empty.cpu_limit, empty.device) == (1, 9464, None, "")
    environment = {"AUTOHAS_ATTEMPT": "3", "AUTOHAS_PORT": "0", "AUTOHAS_CPU_LIMIT": "1500m", "AUTOHAS_GPU": "nvidia.com/gpu"}
    full = ContainerEnvironment.read(environment)
    assert (full.attempt, full.port, full.cpu_limit, full.device) == (3, 0, 1.5, "nvidia.com/gpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTOHAS_PORT", "70000"),
        ("AUTOHAS_PORT", "http"),
        ("AUTOHAS_ATTEMPT", "-1"),
        ("AUTOHAS_CPU_LIMIT", "many"),
        ("AUTOHAS_CPU_LIMIT", "nan"),
    ],
)
def test_a_variable_that_means_nothing_is_named(name: str, value: str) -> None:
    """The sentence has name and value."""
    with pytest.raises(UsageError, match=f"{name} must be .*not '{value}'"):
        ContainerEnvironment.read({name: value})


def test_threads_follow_the_limit_and_the_cores() -> None:
    """Rounded up, at least one, never more than the cores that there are."""
    cores = len(os.sched_getaffinity(0))
    assert available_threads(None) == cores
    assert available_threads(0.1) == 1
    assert available_threads(1000) == cores
    assert available_threads(cores - 0.5) == cores


def test_threads_are_all_cores_where_the_system_names_none_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, which has no sched_getaffinity; a machine that does not tell its cores gives one thread."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert (available_threads(None), available_threads(2.5), available_threads(1000)) == (5, 3, 5)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_threads(None) == 1


def test_a_gpu_that_is_asked_for_and_absent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA never becomes a silent CPU run; Auto does, unless the pod's limits ask for a GPU, which on a laptop they cannot."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    auto, _ = accept(a_search())
    asking, _ = accept(with_change(a_search(), "spec.trainer", {"device": "CUDA"}))
    limited, _ = accept(with_change(a_search(), "spec.trainer", {"resources": {"limits": {"nvidia.com/gpu": 1}}}))
    assert choose_device(auto.spec) == choose_device(limited.spec) == "cpu"
    with pytest.raises(errors.ConfigurationError, match="device is CUDA but no GPU is visible"):
        choose_device(asking.spec)
    with pytest.raises(
        errors.ConfigurationError, match=r"this pod requests nvidia\.com/gpu but torch sees no GPU.*set spec\.trainer\.device to CPU"
    ):
        choose_device(auto.spec, pod_device="nvidia.com/gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(asking.spec) == choose_device(auto.spec, pod_device="nvidia.com/gpu") == "cuda"
    assert choose_device(changed_to_cpu(), pod_device="nvidia.com/gpu") == "cpu"


def changed_to_cpu():  # type: ignore[no-untyped-def]  # noqa: ANN201 - one line of a test
    return accept(with_change(a_search(), "spec.trainer", {"device": "CPU"}))[0].spec


@pytest.mark.parametrize("insist", [True, False])
def test_a_signal_is_a_wish_and_a_second_ctrl_c_may_insist(insist: bool) -> None:  # noqa: FBT001 - the parameter itself
    """The first sets a flag; in a terminal the second ends at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = StopOnSignal(insist=insist)
    try:
        stop.install()
        assert not stop.is_requested
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_requested
        signal.raise_signal(signal.SIGTERM)
        if insist:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
