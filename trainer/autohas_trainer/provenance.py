"""Data, versions, hardware and custom code that a search was computed with.

A checkpoint, result.json and scores.json hold both records. A resume refuses other data, since candidates would be compared on different
examples. It accepts another environment, which changes rounding; a notice names the differences. Imports no torch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_api.base.digest import sha256

__all__ = ["DIVISION", "DataIdentity", "Environment", "code_digests", "digest_array", "digest_bytes", "digest_file"]

DIVISION: Final = "the division into splits"
"""Name of the part of a `DataIdentity` that the seed decides."""
_CPU_INFO: Final = Path("/proc/cpuinfo")
_DIGESTED_ROWS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DataIdentity:
    """The examples of a search, from any file or code.

    Attributes:
        facts: Values for the user to compare, by name: rows, shape, type, classes, columns.
        digests: SHA-256 of the bytes of each part, by name.
    """

    facts: Mapping[str, str]
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One digest of all parts."""
        return sha256(self.to_json())

    def difference(self, before: DataIdentity) -> str | None:
        """Describe the difference to the data of `before`, for an error: the facts, else the parts; None where the data are equal."""
        names = dict.fromkeys([*self.facts, *before.facts])  # in the order in which they were taken, which JSON does not keep
        changed = [f"{n} {before.facts.get(n)} → {self.facts.get(n)}" for n in names if before.facts.get(n) != self.facts.get(n)]
        if changed:
            return ", ".join(changed)
        parts = dict.fromkeys([*self.digests, *before.digests])
        other = [name for name in parts if before.digests.get(name) != self.digests.get(name)]
        return f"other values in {', '.join(other)}" if other else None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"facts": dict(self.facts), "digests": dict(self.digests)}

    def without_division(self) -> DataIdentity:
        """The examples alone: searches with different seeds divide the same ones into different splits."""
        return DataIdentity(facts=self.facts, digests={name: digest for name, digest in self.digests.items() if name != DIVISION})

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> DataIdentity:
        """Read `to_json`."""
        return cls(facts=dict(record["facts"]), digests=dict(record["digests"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Versions and hardware: an equal search gives equal bits in an equal environment. An empty string was not recorded."""

    autohas: str
    python: str
    torch: str
    machine: str
    device: str
    threads: int
    numpy: str = ""
    cpu: str = ""
    """Model name of the CPU."""
    instructions: str = ""
    """The instruction set that torch's kernels use, such as AVX2."""
    gpu: str = ""
    compute: str = ""
    """Determinism, layout and compilation, where they are not the defaults."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Digest of the source of each package that an entrypoint names."""

    @classmethod
    def here(cls, *, device: str, threads: int, entrypoints: Iterable[str] = (), compute: str = "") -> Environment:
        """Describe this process; the modules of `entrypoints` must be imported."""
        import torch  # noqa: PLC0415 - the records are read without it

        return cls(
            autohas=importlib.metadata.version("autohas"),
            python=platform.python_version(),
            torch=importlib.metadata.version("torch"),
            machine=platform.machine(),
            device=device,
            threads=threads,
            numpy=importlib.metadata.version("numpy"),
            cpu=_cpu_model(),
            instructions=torch.backends.cpu.get_cpu_capability(),
            gpu=torch.cuda.get_device_name() if device == "cuda" else "",
            compute=compute,
            code=code_digests(entrypoints),
        )

    def differences(self, begun: Environment) -> list[str]:
        """Describe the differences to the environment in which a search began; a resume keeps its threads, so they are not compared."""
        names = {"autohas": "autohas", "torch": "torch", "numpy": "numpy", "python": "Python", "device": "device"}
        names |= {"cpu": "processor", "instructions": "instruction set", "gpu": "GPU", "compute": "compute"}
        now, before = asdict(self), asdict(begun)
        other = [name for name in names if now[name] != before[name]]
        sentences = []
        if other:
            here = ", ".join(f"{names[name]} {now[name] or 'none'}" for name in other)
            there = ", ".join(before[name] or "none" for name in other)
            sentences.append(f"continued under {here}; it began under {there}: the results may differ in the last digits")
        packages = [name for name in dict.fromkeys([*begun.code, *self.code]) if begun.code.get(name) != self.code.get(name)]
        if packages:
            sentences.append(
                f"the code of {', '.join(packages)} is not that which the search began with: candidates from before and after the change"
                " are compared all the same; restore the code, or start in a new folder"
            )
        return sentences


def digest_bytes(content: bytes) -> str:
    """Return `sha256:` and the digest of the content of a file."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_file(path: Path) -> str:
    """Return the same of a file that may be large."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_array(array: npt.NDArray[Any], convert: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] | None = None) -> str:
    """Return the SHA-256 of type, shape and values of an array of numbers, as `convert` makes them from some rows at a time."""
    convert = convert or (lambda rows: rows)
    digest = hashlib.sha256(f"{convert(array[:0]).dtype.str}{array.shape}".encode())
    for start in range(0, len(array), _DIGESTED_ROWS):
        digest.update(np.ascontiguousarray(convert(array[start : start + _DIGESTED_ROWS])).reshape(-1).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"


def code_digests(entrypoints: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the imported source files of each entrypoint's package; a package without files is left out."""
    digests = {}
    for package in sorted({entrypoint.partition(":")[0].partition(".")[0] for entrypoint in entrypoints}):
        names = sorted(name for name in list(sys.modules) if name == package or name.startswith(f"{package}."))
        digest, is_known = hashlib.sha256(), False
        for name in names:
            content = _source(name)
            if content is not None:
                is_known = True
                digest.update(f"{name} {len(content)} ".encode() + content)
        if is_known:
            digests[package] = f"sha256:{digest.hexdigest()}"
    return digests


def _source(module: str) -> bytes | None:
    """Read the source of a module; None where it has no file, as in a notebook."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return None if file is None else Path(file).read_bytes()
    except OSError:
        return None


def _cpu_model() -> str:
    """Return the model name of the CPU from /proc/cpuinfo, else from Python's platform module."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
