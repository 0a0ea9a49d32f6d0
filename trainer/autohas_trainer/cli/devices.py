"""Which device the search runs on: what the spec asks for, or a clear refusal. Imports torch."""

from __future__ import annotations

import torch

from autohas_api.search import Spec
from autohas_trainer.errors import ConfigurationError

__all__ = ["choose_device", "gpu_memory"]


def choose_device(spec: Spec, *, in_pod: bool) -> str:
    """`cuda` or `cpu`. In a pod, a GPU among the resource limits is a request for one.

    Raises:
        ConfigurationError: a GPU is asked for and none is there: never a silent run on the CPU.
    """
    wanted = spec.trainer.device
    if wanted == "CPU":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "CUDA":
        raise ConfigurationError("spec.trainer.device is CUDA but no GPU is visible here; give the pod one, or set device to CPU or Auto")
    limits = spec.trainer.resources.limits if spec.trainer.resources is not None else None
    gpus = [name for name, amount in (limits or {}).items() if name.endswith("/gpu") and str(amount) != "0"]
    if in_pod and gpus:
        message = f"spec.trainer.resources.limits asks for {gpus[0]} but torch sees no GPU: driver, runtimeClass and image must fit"
        raise ConfigurationError(message)
    return "cpu"


def gpu_memory() -> dict[str, int]:
    """Bytes of GPU memory by kind, as torch's allocator counts them; asking does not wait for the device."""
    return {
        "allocated": torch.cuda.memory_allocated(),
        "reserved": torch.cuda.memory_reserved(),
        "peak": torch.cuda.max_memory_allocated(),
    }
