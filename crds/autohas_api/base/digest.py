"""Canonical JSON, and the digests that identify equal runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON with sorted keys, no spaces and no NaN: equal values have equal text.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """`sha256:` and the hex digest of the canonical JSON of `value`."""
    return "sha256:" + hashlib.sha256(canonical(value).encode()).hexdigest()


def configuration_digest(values: Mapping[str, str]) -> str:
    """Digest of a configuration: decision name to choice."""
    return sha256(dict(values))


def result_digest(*, configuration: str, test_score: float, model: str) -> str:
    """Digest of a result: configuration digest, test score and model digest; no times, so that equal runs have equal digests."""
    return sha256({"configuration": configuration, "model": model, "testScore": test_score})
