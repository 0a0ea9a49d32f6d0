"""Saves and restores the global state of a process in which `autohas.run` is called.

`autohas run` and the container own their process and do not use it.
"""

from __future__ import annotations

import decimal
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import numpy as np
import torch

__all__ = ["preserve_process_state"]

_DEVICES: Final = ("cpu", "cuda")
_NUMPY_ERRORS: Final = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""numpy's defaults: under a caller's `raise`, an overflow in one candidate would be an exception."""


@contextmanager
def preserve_process_state() -> Iterator[None]:
    """Give the block the global state of a fresh process, and restore the caller's afterwards, also after an error.

    Of torch: default type and device, gradients, inference mode, autocast, anomaly detection, precision of products, threads, kernels of
    attention, determinism, limits of the compiler. In addition: the states of the global generators, numpy's and decimal's error handling,
    warning filters, environment variables, the working folder, Optuna's log level.
    """
    with ExitStack() as stack:
        stack.callback(_remember_state())
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(np.errstate(**_NUMPY_ERRORS))  # type: ignore[arg-type]  # numpy's stubs want literals
        stack.enter_context(decimal.localcontext(decimal.Context()))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":  # only then: the mode costs some microseconds in every call of torch
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        torch.set_anomaly_enabled(False)
        if _precision() not in (None, "highest"):
            torch.set_float32_matmul_precision("highest")
        yield


def _remember_state() -> Callable[[], None]:
    """Save the state that has no context manager; the returned function restores it."""
    undo: list[Callable[[], Any]] = []

    def keep(get: Callable[[], Any], put: Callable[[Any], Any]) -> None:
        value = get()
        undo.append(lambda: put(value))

    keep(torch.get_num_threads, torch.set_num_threads)
    keep(torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp)
    keep(torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp)
    keep(torch.backends.cuda.cudnn_sdp_enabled, torch.backends.cuda.enable_cudnn_sdp)
    keep(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode)
    keep(torch.get_default_dtype, torch.set_default_dtype)
    keep(torch.is_anomaly_enabled, lambda enabled: torch.set_anomaly_enabled(enabled, check))
    check = torch.is_anomaly_check_nan_enabled()
    if _precision() is not None:
        keep(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    for owner, name in _ATTRIBUTES:
        keep(lambda owner=owner, name=name: getattr(owner, name), lambda value, owner=owner, name=name: setattr(owner, name, value))  # type: ignore[misc]  # defaults bind the loop's values
    keep(torch.get_rng_state, torch.set_rng_state)
    if torch.cuda.is_available():
        keep(torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)
    keep(np.random.get_state, np.random.set_state)
    keep(random.getstate, random.setstate)
    keep(os.environ.copy, _set_environment)
    keep(os.getcwd, os.chdir)
    for name, default in _COMPILER.items():
        keep(partial(_read_compiler, name, default), partial(_set_compiler, name))
    if "optuna" in sys.modules:
        keep(sys.modules["optuna"].logging.get_verbosity, sys.modules["optuna"].logging.set_verbosity)

    def put_back() -> None:
        for put in reversed(undo):
            put()

    return put_back


_ATTRIBUTES: Final[tuple[tuple[Any, str], ...]] = (
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
)

_COMPILER: Final[dict[str, Any]] = {"recompile_limit": 8, "fail_on_recompile_limit_hit": False}
"""torch's defaults of what `CompiledNetwork` sets."""


def _precision() -> str | None:
    """Return the precision of float32 matrix products; None where the caller set it by torch's newer interface, whose value stays."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _read_compiler(name: str, default: Any) -> Any:  # noqa: ANN401 - a value of torch's configuration
    """Return a setting of torch's compiler, which is loaded when something is compiled."""
    return getattr(torch._dynamo.config, name) if "torch._dynamo" in sys.modules else default  # noqa: SLF001 - it has no public name


def _set_compiler(name: str, value: Any) -> None:  # noqa: ANN401 - as above
    if "torch._dynamo" in sys.modules:
        setattr(torch._dynamo.config, name, value)  # noqa: SLF001 - as above


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
