"""The rows of the policy: the distribution of one decision, what it samples, and one step uphill. numpy only.

    categorical  p = softmax(logits),   d log p(i) / d logits = onehot(i) - p,   Adam with beta1 = 0
    Gaussian     over the position in a range, natural gradient (see `gaussian`)

A row learns from what was drawn, not from the value that is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from autohas_api.space.decisions import Decision, Range
from autohas_trainer.space.gaussian import CutGaussian
from autohas_trainer.space.mixing import accumulate, combine, draw_bases, draws_gradient, softmax

__all__ = ["Drawn", "Row", "build_row"]

Floats = npt.NDArray[np.float64]

Drawn = tuple[int, ...] | float
"""What was drawn for a decision: the indices of its choices, or a position in its range."""

_BETA2: Final = 0.999
_EPSILON: Final = 1e-8
_FIRST_DEVIATION: Final = 0.3
"""Of a Gaussian row, in ranges. Ours: near that of a uniform distribution, 0.29, so that the whole range is sampled at first."""
_DEVIATIONS: Final = (0.01, 0.5)
"""Least and largest deviation of a Gaussian row, in ranges. Ours: a lower one would stop learning; half a range is ASNG's upper bound."""


class Row(Protocol):
    """The distribution of one decision."""

    @property
    def is_undecided(self) -> bool:
        """Whether nothing has taught the row: no update yet, or none that moved it (an advantage of 0, as of the first reward)."""

    def probabilities(self) -> Floats:
        """Probability of each choice; of a range's bases, what lies nearest to each."""

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Draw; the same amount of randomness every time."""

    def value(self, drawn: Drawn) -> str:
        """The value that a draw stands for."""

    def find(self, value: str) -> Drawn | None:
        """The draw that `value` alone stands for; None if it may have several origins."""

    def index(self, value: str) -> int | None:
        """Number of the choice that stands for a value in `probabilities`; None if there is none."""

    def likeliest(self) -> str:
        """The most likely value."""

    def derive(self) -> str:
        """The value that a derived configuration has."""

    def ascend(self, draws: Sequence[Drawn], advantages: Sequence[float], learning_rate: float) -> None:
        """One step uphill along the mean over the draws of advantage times gradient."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as JSON; floats survive exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""


def build_row(decision: Decision) -> Row:
    """The row of a decision that has learned nothing."""
    return _GaussianRow(decision) if decision.range is not None and decision.range.is_gaussian else _CategoricalRow(decision)


class _CategoricalRow:
    """Logits with their second moment and the number of updates they had."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._num_draws = decision.range.num_mixed if decision.range is not None else 1
        self._set(np.zeros(len(decision.choices)))
        self._moment: Floats = np.zeros(len(decision.choices))
        self._updates = 0

    @property
    def is_undecided(self) -> bool:
        return bool((self._logits == self._logits[0]).all())

    def _set(self, logits: Floats) -> None:
        """Move to `logits`; their softmax is asked for several times before they move again, and its sums while only paths are drawn."""
        self._logits = logits
        self._softmax = softmax(logits)
        self._softmax.setflags(write=False)
        self._sums = accumulate(self._softmax)

    def probabilities(self) -> Floats:
        return self._softmax

    def draw(self, rng: np.random.Generator) -> Drawn:
        return draw_bases(self._sums, self._num_draws, rng)

    def value(self, drawn: Drawn) -> str:
        """The choice itself where one was drawn, once or every time; else the combination in which each draw counts the same."""
        own = cast("tuple[int, ...]", drawn)
        if len(set(own)) == 1 or self._decision.range is None:
            return self._decision.choices[own[0]]
        return self._combine(self._decision.range, [own.count(index) for index in range(len(self._decision.choices))])

    def find(self, value: str) -> Drawn | None:
        index = self.index(value)
        return None if index is None else (index,)

    def index(self, value: str) -> int | None:
        return self._decision.choices.index(value) if value in self._decision.choices else None

    def likeliest(self) -> str:
        """Among equals the default, else the first."""
        decision = self._decision
        if self.is_undecided:
            return decision.default
        winners = [c for c, logit in zip(decision.choices, self._logits, strict=True) if logit == self._logits.max()]
        return decision.default if decision.default in winners else winners[0]

    def derive(self) -> str:
        """The most likely choice, or the combination of all bases by their probabilities where that is asked for."""
        if self._decision.range is None or not self._decision.range.expects or self.is_undecided:
            return self.likeliest()
        return self._combine(self._decision.range, [float(p) for p in self.probabilities()])

    def _combine(self, bounds: Range, weights: Sequence[float]) -> str:
        return bounds.write(combine([float(choice) for choice in self._decision.choices], weights, is_log=bounds.is_log))

    def ascend(self, draws: Sequence[Drawn], advantages: Sequence[float], learning_rate: float) -> None:
        own = cast("Sequence[tuple[int, ...]]", draws)
        gradients = [advantage * draws_gradient(self._softmax, drawn) for drawn, advantage in zip(own, advantages, strict=True)]
        gradient = gradients[0] if len(gradients) == 1 else np.mean(gradients, axis=0)
        self._updates += 1
        self._moment = _BETA2 * self._moment + (1 - _BETA2) * gradient**2
        deviation = np.sqrt(self._moment / (1 - _BETA2**self._updates))
        self._set(self._logits + learning_rate * gradient / (deviation + _EPSILON))

    def state_dict(self) -> dict[str, Any]:
        return {"logits": self._logits.tolist(), "moment": self._moment.tolist(), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._set(np.asarray(state["logits"], dtype=np.float64))
        self._moment = np.asarray(state["moment"], dtype=np.float64)
        self._updates = int(state["updates"])


class _GaussianRow:
    """Mean and logarithm of the deviation, which begin at the default and at a third of the range."""

    def __init__(self, decision: Decision) -> None:
        assert decision.range is not None  # noqa: S101 - only ranges have positions
        self._decision = decision
        self._range = decision.range
        self._start = (self._range.position(float(decision.default)), math.log(_FIRST_DEVIATION))
        self._mean, self._log_deviation = self._start

    @property
    def is_undecided(self) -> bool:
        return (self._mean, self._log_deviation) == self._start

    @property
    def _gaussian(self) -> CutGaussian:
        return CutGaussian(mean=self._mean, deviation=math.exp(self._log_deviation))

    def probabilities(self) -> Floats:
        return self._gaussian.masses(len(self._decision.choices))

    def draw(self, rng: np.random.Generator) -> Drawn:
        return self._gaussian.sample(rng)

    def value(self, drawn: Drawn) -> str:
        return self._range.write(self._range.at(cast("float", drawn)))

    def find(self, value: str) -> Drawn | None:
        return self._range.position(float(value))

    def index(self, value: str) -> int | None:
        last = len(self._decision.choices) - 1
        return min(int(self._range.position(float(value)) * last + 0.5), last)

    def likeliest(self) -> str:
        """The mean, where the density is highest; before anything was learned the default, which may lie outside of the range."""
        return self._decision.default if self.is_undecided else self.value(self._mean)

    def derive(self) -> str:
        return self.likeliest()

    def ascend(self, draws: Sequence[Drawn], advantages: Sequence[float], learning_rate: float) -> None:
        gaussian = self._gaussian
        own = cast("Sequence[float]", draws)
        gradients = [advantage * gaussian.natural_gradient(drawn) for drawn, advantage in zip(own, advantages, strict=True)]
        by_mean, by_deviation = (float(part) for part in np.mean(gradients, axis=0))
        least, largest = (math.log(bound) for bound in _DEVIATIONS)
        self._mean = min(max(self._mean + learning_rate * by_mean, 0.0), 1.0)
        self._log_deviation = min(max(self._log_deviation + learning_rate * by_deviation, least), largest)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean, "logDeviation": self._log_deviation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mean, self._log_deviation = float(state["mean"]), float(state["logDeviation"])
