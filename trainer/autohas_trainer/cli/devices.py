"""Chooses the device of a search as its spec says, or refuses. Imports torch."""

from __future__ import annotations

import torch

from autohas_api.spec.search import Spec
from autohas_trainer.errors import ConfigurationError

__all__ = ["choose_device", "gpu_memory"]


def choose_device(spec: Spec, *, pod_device: str = "") -> str:
    """Return `cuda` or `cpu`.

    Args:
        spec: The search.
        pod_device: Resource or claim that this pod requests in addition to CPU and memory; empty for none, or outside a pod.

    Raises:
        ConfigurationError: a GPU is requested and torch sees none; a search never falls back to the CPU silently.
    """
    device = spec.trainer.device
    if device == "CPU":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if device == "CUDA":
        raise ConfigurationError("spec.trainer.device is CUDA but no GPU is visible here; give the pod one, or set device to CPU or Auto")
    if pod_device:
        message = (
            f"this pod requests {pod_device} but torch sees no GPU: driver, runtimeClass and image must fit;"
            " if that is no device to train on, set spec.trainer.device to CPU"
        )
        raise ConfigurationError(message)
    return "cpu"


def gpu_memory() -> dict[str, int]:
    """Return bytes of GPU memory by kind, as torch's allocator counts them, without waiting for the device."""
    return {
        "allocated": torch.cuda.memory_allocated(),
        "reserved": torch.cuda.memory_reserved(),
        "peak": torch.cuda.max_memory_allocated(),
    }
