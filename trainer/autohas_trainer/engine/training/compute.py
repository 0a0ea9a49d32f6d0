"""How a search uses its device: threads, determinism, precision and compilation, as the spec asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any, Final

import torch
from torch import Tensor, nn

from autohas_api.spec.search import Spec
from autohas_api.templates.table import TEMPLATES
from autohas_trainer.data import LARGEST_CHUNK
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.templates import Dropout, dropout_layers, trace_seeds

__all__ = [
    "CompiledNetwork",
    "apply_compute",
    "autocast_region",
    "check_compute",
    "describe_compute",
    "evaluation_chunk",
    "explain_precision",
    "lay_out",
    "useful_threads",
]

_MODES: Final = {"Default": "default", "ReduceOverhead": "reduce-overhead"}
_IMAGE_DIMENSIONS: Final = 3
_MAX_TEXT: Final = 300
_MAX_RECOMPILATIONS: Final = 64
"""Versions of one function that torch may compile: modules that it cannot compile as a whole share their functions among networks."""
_MIN_PARALLEL_ELEMENTS: Final = 2**20
_MIN_PARALLEL_FLOPS: Final = 4e9
_FLOPS_PER_MAC: Final = 6
"""A product and a sum, in the forward pass and, twice, in the gradients of weights and of inputs."""


def check_compute(spec: Spec, input_shape: tuple[int, ...]) -> None:
    """Refuse a layout that inputs cannot have.

    Raises:
        ConfigurationError: channels would lie last in inputs that have none.
    """
    if spec.trainer.has_channels_last and len(input_shape) != _IMAGE_DIMENSIONS:
        message = f"spec.trainer.compute.channelsLast needs images (C, H, W), not inputs of shape {input_shape}: remove it"
        raise ConfigurationError(message)


def evaluation_chunk(spec: Spec) -> int:
    """Examples of one forward pass that takes no gradients: no more than a step takes.

    Small templates keep 512 whatever the batch: their activations are small, and the statistics of batch normalisation at a rung, and with
    them every recorded search, depend on the number (docs/decisions/trainer.md).
    """
    model = spec.task.model
    is_small = model.template is not None and TEMPLATES[model.template].is_small
    return LARGEST_CHUNK if is_small else min(spec.task.recipe.batch_size, LARGEST_CHUNK)


def useful_threads(spec: Spec, input_shape: tuple[int, ...], default_macs: Callable[[], float], available: int) -> int:
    """CPU threads that help: those that the spec asks for; else all where a step of the default is long, and one where it is short.

    Ours, measured: on 2 shared cores the default conv-small at batch 64 of 20x20 (0.3 GFLOP) takes 6 ms of CPU with one thread and 21
    to 90 ms with two, because its operations are shorter than the wait for the second thread. Small templates are judged by their
    inputs alone, others by the FLOPs of a step too (docs/decisions/trainer.md). `default_macs` are those of one example.
    """
    compute, model = spec.trainer.compute, spec.task.model
    if compute is not None and compute.threads is not None:
        return compute.threads
    batch_size = spec.task.recipe.batch_size
    is_small = model.template is not None and TEMPLATES[model.template].is_small
    is_long = not is_small and _FLOPS_PER_MAC * batch_size * default_macs() >= _MIN_PARALLEL_FLOPS
    return available if is_long or batch_size * math.prod(input_shape) >= _MIN_PARALLEL_ELEMENTS else 1


def apply_compute(spec: Spec, device: torch.device) -> None:
    """Set the process to the determinism and the precision of a search; `seeding.make_deterministic` was called before.

    On a GPU, Strict computes attention by its plain formula, since the gradients of the fused kernels add up in any order.
    """
    if spec.trainer.is_relaxed:
        torch.set_deterministic_debug_mode("default")
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True
    if device.type != "cuda":
        return
    for enable in (
        torch.backends.cuda.enable_flash_sdp,
        torch.backends.cuda.enable_mem_efficient_sdp,
        torch.backends.cuda.enable_cudnn_sdp,
    ):
        enable(spec.trainer.is_relaxed)
    precision = spec.task.recipe.precision
    if precision is not None:
        torch.set_float32_matmul_precision("high" if precision == "TF32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "TF32"


def describe_compute(spec: Spec) -> str:
    """What the bits of a result depend on, apart from recipe and versions; empty for the defaults."""
    parts = ["determinism Relaxed"] if spec.trainer.is_relaxed else []
    parts += ["channels last"] if spec.trainer.has_channels_last else []
    parts += [f"compile {spec.trainer.compile_mode}"] if spec.trainer.compile_mode != "None" else []
    return ", ".join(parts)


def explain_precision(spec: Spec, device: torch.device) -> str | None:
    """A notice about a precision that has no effect here; None where it has one."""
    if spec.task.recipe.precision == "TF32" and device.type != "cuda":
        return f"task.recipe.precision is TF32, which only a GPU has: on {device.type} the search computes in float32"
    return None


def autocast_region(device: torch.device, *, is_half: bool) -> AbstractContextManager[Any]:
    """Return a region that computes in bfloat16, or in float32 whatever region the caller is in; none where that changes nothing."""
    if not is_half and not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_half)


def lay_out(inputs: Tensor, spec: Spec) -> Tensor:
    """Return the inputs as they lie in memory under spec.trainer.compute."""
    return inputs.contiguous(memory_format=torch.channels_last) if spec.trainer.has_channels_last else inputs


class CompiledNetwork:
    """Runs a network compiled, or as it is once compilation has failed."""

    def __init__(self, module: nn.Module, mode: str) -> None:
        """Compile nothing yet: torch does it at the first call."""
        self._module = module
        self._dropouts: list[Dropout] = []
        self._compiled: Callable[..., Any] | None = None
        if mode != "None":
            self._dropouts = dropout_layers(module)
            # Beyond its limit torch would run the network as it is, silently; now it raises.
            torch._dynamo.config.recompile_limit, torch._dynamo.config.fail_on_recompile_limit_hit = _MAX_RECOMPILATIONS, True  # noqa: SLF001
            self._compiled = torch.compile(_function_of(module), mode=_MODES[mode], dynamic=False)
        self.fault: str | None = None
        """Why the network is not compiled although it should be."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs of the network."""
        if self._compiled is not None:
            trace_seeds(self._dropouts)
            try:
                outputs: Tensor = self._compiled(inputs)
            except (
                torch._dynamo.exc.TorchDynamoException,  # noqa: SLF001 - the compiler's errors have no public names
                torch._dynamo.exc.FailOnRecompileLimitHit,  # noqa: SLF001
                torch._inductor.exc.InvalidCxxCompiler,  # noqa: SLF001
            ) as error:
                self._compiled = None
                self.fault = _first_line(error)
            else:
                return outputs
        result: Tensor = self._module(inputs)
        return result


def _function_of(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that calls `module`, with a code object of its own.

    torch keeps what it compiled per code object, and at most a few versions of each: networks of one class would share theirs.
    """

    def run(inputs: Tensor) -> Tensor:
        outputs: Tensor = module(inputs)
        return outputs

    return FunctionType(run.__code__.replace(), run.__globals__, closure=run.__closure__)


def _first_line(error: Exception) -> str:
    if isinstance(error, torch._dynamo.exc.FailOnRecompileLimitHit):  # noqa: SLF001 - as above
        return f"one of its functions would be compiled more than {_MAX_RECOMPILATIONS} times, for a number in it changes at each call"
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.strip()[:_MAX_TEXT]
