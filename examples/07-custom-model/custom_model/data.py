"""Custom data: an object with `splits()` and, where it is wanted, `augment()`.

    task.data: {entrypoint: "custom_model.data:Waveforms", arguments: {examples: "3000"}}

Yours would read files: `path` is handed over when the search gives one.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

LENGTH = 64


class Waveforms:
    """Noisy sines, squares and sawtooths of random frequency and phase."""

    def __init__(self, examples: str = "3000", noise: str = "0.5") -> None:
        """Arguments of the search arrive as keywords, always strings."""
        self.examples = int(examples)
        self.noise = float(noise)

    def splits(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return inputs (N, 1, LENGTH), normalised here, and classes from 0. The same at every call: resuming depends on it."""
        return {"train": self._made(self.examples, seed=0), "test": self._made(self.examples // 2, seed=1)}

    def _made(self, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        classes = rng.integers(3, size=number)
        frequency, phase = rng.uniform(1, 5, (number, 1)), rng.uniform(0, 1, (number, 1))
        turns = frequency * np.linspace(0, 1, LENGTH) + phase
        waves = np.stack([np.sin(2 * np.pi * turns), np.sign(np.sin(2 * np.pi * turns)), 2 * (turns % 1) - 1])
        inputs = waves[classes, np.arange(number)] + self.noise * rng.standard_normal((number, LENGTH))
        return inputs[:, None].astype(np.float32), classes

    def augment(self, inputs: Tensor, rng: np.random.Generator, hyperparameters: Mapping[str, str]) -> Tensor:
        """Change a training batch: stretch each wave by up to `stretch`, a hyperparameter that the search chooses.

        Optional. `rng` is keyed by the step, so that an interrupted search continues bit for bit; values are strings.
        """
        most = float(hyperparameters.get("stretch", "0"))
        factor = torch.from_numpy(rng.uniform(1 - most, 1 + most, (len(inputs), 1, 1))).to(inputs)
        return inputs * factor
