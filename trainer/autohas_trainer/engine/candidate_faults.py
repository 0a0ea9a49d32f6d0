"""Attributes a failure inside one candidate's training to that candidate: it leaves the search, which continues with the others.

    memory is full; custom model, loss, augmentation or the optimizer raises     out at once, as one that diverged
    any other error of the device                                             noted, the process ends, out at the next start
    data, disk, a request to stop, our own code                               the search's, as before

Ours: after an error of the device (an illegal address, a failed assertion in a kernel) every later call fails in the same process, so
only a new one can continue. It begins from the last checkpoint, and the note keeps it from trying the same candidate again.
"""

from __future__ import annotations

import gc
import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from autohas_api.base.digest import canonical
from autohas_api.space.decisions import Configuration
from autohas_api.spec.search import Spec
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.errors import CandidateError, ConfigurationError, DeviceError, Interrupted, NumericalError, TrainerError

__all__ = [
    "FAULTS_FILE",
    "candidate_part",
    "device_faults",
    "explain_default_divergence",
    "explain_default_failure",
    "fault_key",
    "leaving_out_at_next_start",
]

FAULTS_FILE: Final = "device-errors.json"
_MEMORY_WORDS: Final = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""In a RuntimeError: the CPU's allocator, cuDNN and cuBLAS have no type of their own for it."""
_DEVICE_WORDS: Final = ("CUDA error", "CUDNN_STATUS", "CUBLAS_STATUS", "HIP error", "device-side assert")
_MAX_TEXT: Final = 300
_OURS: Final = (Path(torch.__file__).parent, Path(__file__).parents[1])


def fault_key(configuration: Configuration, repeat: int = 0) -> str:
    """The name of a training among the faults: what it is, not under which name it ran."""
    return canonical({"values": list(configuration.values), "repeat": repeat})


@contextmanager
def candidate_part(doing: str, *, culprit: str, is_custom: bool) -> Iterator[None]:
    """Turn what is raised inside the block, and is the candidate's doing, into a `CandidateError`.

    Args:
        doing: What the block does, for the sentence.
        culprit: Name among the faults of what is left out when the device fails.
        is_custom: Whether custom code runs inside, so that any of its exceptions is the candidate's.

    Raises:
        CandidateError: memory was full, or custom code raised; nothing keeps tensors of the block alive.
        DeviceError: the device failed in another way.
    """
    fault: CandidateError | None = None
    try:
        yield
    except ConfigurationError as error:  # custom code's exceptions in our words, see `entrypoints.attribute_errors_to`
        if not is_custom:
            raise
        fault = CandidateError(f"{doing}: {error}")
        _let_go(error)
    except TrainerError:
        raise
    except (Exception, SystemExit) as error:  # custom code may call sys.exit, whose code would be taken for the search's
        fault = _fault_of(error, doing, culprit, is_custom=is_custom)
        if fault is None:
            raise
        _let_go(error)
    if fault is not None:
        if not isinstance(fault, DeviceError):
            _free_memory()
        raise fault


def _fault_of(error: Exception | SystemExit, doing: str, culprit: str, *, is_custom: bool) -> CandidateError | None:
    text = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and _has(text, _MEMORY_WORDS)):
        return CandidateError(f"{doing} does not fit into the device's memory ({_short(text)})", is_memory=True)
    if isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and _has(text, _DEVICE_WORDS)):
        return DeviceError(f"{doing} ended with an error of the device: {_short(text)}", culprit=culprit)
    if is_custom and not isinstance(error, OSError):
        return CandidateError(f"{doing} raised {type(error).__name__}: {_short(text)}{_place(error)}")
    return None


def _has(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _short(text: str) -> str:
    """The first line, which holds the cause; torch adds advice for its developers."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…"


def _place(error: BaseException) -> str:
    """Where custom code raised: the innermost line that is neither ours nor torch's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not any(Path(f.filename).is_relative_to(p) for p in _OURS)]
    frames = [f for f in frames if Path(f.filename).is_file() and "/lib/python" not in f.filename]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _let_go(error: BaseException | None) -> None:
    """Clear the frames of an error and of its causes: they hold the tensors of the failed step, and the new error refers to them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _free_memory() -> None:
    """Give back what the failed step held, so that the next candidate finds the memory that it would have had."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # does nothing before the first use of the device


def explain_default_failure(error: CandidateError) -> ConfigurationError:
    """The end of a search whose default cannot be trained: without it there is no answer."""
    hint = (
        "lower task.recipe.batchSize, choose a smaller default, or give the search more memory"
        if error.is_memory
        else "correct what raised, or choose another default in task.model and task.recipe"
    )
    return ConfigurationError(f"the default configuration cannot be trained: {error}; {hint}")


def explain_default_divergence(spec: Spec, *, step: int, steps: int, rate: float, peak: float) -> NumericalError:
    """The end of a search whose default diverged in `step` of `steps`, at the learning rate `rate` below the `peak`."""
    defaults = [h.name == "learning_rate" and h.default is not None for h in spec.search_space.hyperparameters]
    half = (
        " or set task.recipe.precision to Float32, since bfloat16 keeps 8 bits of a number,"
        if spec.task.recipe.precision == "BFloat16"
        else ""
    )
    field = f"searchSpace.hyperparameters[{defaults.index(True)}].default" if any(defaults) else "task.recipe.learningRate"
    return NumericalError(
        f"the default configuration diverged at step {step:,} of {steps:,}, where the learning rate was {rate:.3g} (its peak is"
        f" {peak:.3g}): lower {field}, for example to {peak / 3:.2g},{half} or raise task.recipe.warmupFraction"
        f" ({spec.task.recipe.warmup_fraction})"
    )


def device_faults(workdir: Path, search_digest: str, default: str) -> dict[str, str]:
    """Message by the candidate or step under which the device failed in earlier processes; `default`, the default's key, is tried again."""
    return {culprit: sentence for culprit, (sentence, _) in _read(workdir, search_digest).items() if culprit != default}


@contextmanager
def leaving_out_at_next_start(workdir: Path, search_digest: str, default: str) -> Iterator[None]:
    """End the process in order when the device fails inside the block; the next one leaves the candidate out.

    Raises:
        Interrupted: the device failed; what it worked on is noted.
        ConfigurationError: it failed under `default`, the default's key, for the second time.
        OSError: the note cannot be written.
    """
    try:
        yield
    except DeviceError as error:
        count = _note(workdir, search_digest, error)
        if error.culprit != default:
            after = "the next start continues from the last checkpoint without this candidate"
        elif count == 1:
            after = "the next start tries the default configuration once more"
        else:
            raise explain_default_failure(error) from error
        raise Interrupted(f"{error}; nothing more can be computed in this process: {after}") from error


def _read(workdir: Path, search_digest: str) -> dict[str, tuple[str, int]]:
    """Culprits of earlier processes of this search, each with its sentence and how often it failed."""
    try:
        record = json.loads((workdir / FAULTS_FILE).read_text(encoding="utf-8"))
        if record["searchDigest"] != search_digest:
            return {}
        return {culprit: (str(sentence), int(count)) for culprit, (sentence, count) in record["errors"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}  # a torn note costs one more try of the candidate


def _note(workdir: Path, search_digest: str, error: DeviceError) -> int:
    """Write a culprit down for the next start; returns how often it has failed now.

    Raises:
        OSError: the disk does not take it.
    """
    earlier: Mapping[str, tuple[str, int]] = _read(workdir, search_digest)
    count = earlier.get(error.culprit, ("", 0))[1] + 1
    errors = {**earlier, error.culprit: (str(error), count)}
    write_atomically(workdir / FAULTS_FILE, canonical({"searchDigest": search_digest, "errors": errors}).encode())
    return count
