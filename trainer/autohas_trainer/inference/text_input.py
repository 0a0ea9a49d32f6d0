"""Texts to tokens, by the tokenizer that made the training tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autohas_trainer.entrypoints import load_object
from autohas_trainer.errors import DataError

__all__ = ["TextEncoder"]


class TextEncoder:
    """Strings of at least T tokens; the last T are what the network reads."""

    def __init__(self, length: int, data: Mapping[str, Any]) -> None:
        """`length` is T, `data` that section of preprocessing.json."""
        self._length = length
        self._tokenizer, self._characters = str(data["tokenizer"]), {c: i for i, c in enumerate(data.get("characters", ""))}

    def __call__(self, examples: Any) -> Tensor:  # noqa: ANN401 - whatever the user has
        """Return int64 (N, T).

        Raises:
            DataError: A text is none, is too short, or has a character that training never saw; names it.
            ConfigurationError: The tokenizer cannot be imported.
        """
        texts = [examples] if isinstance(examples, str) else list(examples)
        encode = self._make_encode()
        rows = np.empty((len(texts), self._length), dtype=np.int64)
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                message = f"text {number} is a {type(text).__name__}, it must be a string"
                raise DataError(message)
            self._check_characters(text, number)
            tokens = encode(text)
            if len(tokens) < self._length:
                message = f"text {number} has {len(tokens)} tokens, the network reads {self._length}; give a longer text"
                raise DataError(message)
            rows[number] = tokens[-self._length :]
        return torch.from_numpy(rows)

    def _make_encode(self) -> Callable[[str], Sequence[int]]:
        if self._tokenizer == "Bytes":
            return lambda text: list(text.encode())
        if self._tokenizer == "Characters":
            return lambda text: [self._characters[character] for character in text]
        encode: Callable[[str], Sequence[int]] = load_object(self._tokenizer, "task.data.arguments.tokenizer")().encode
        return encode

    def _check_characters(self, text: str, number: int) -> None:
        if self._tokenizer == "Characters":
            for position, character in enumerate(text):
                if character not in self._characters:
                    message = f"text {number}: the character {character!r} at position {position} never occurs in training"
                    raise DataError(message)
