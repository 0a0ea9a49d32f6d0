"""The controller: one independent distribution per decision (see `rows`), REINFORCE in closed form. numpy only.

Source: TuNAS controller.py: logits start at 0, Adam with beta1 = 0, baseline = exponential average 0.95 of the reward, zero-debiased.
Ours: the advantage is divided by its own running deviation and clipped at 3, and no reward moves baseline
or deviation by more than it would as such an outlier, or one wild reward would silence the controller for hundreds of steps; rows of
decisions that a sample leaves inactive move neither logits nor moments.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from autohas_api.space.decisions import Configuration, Decision, Space
from autohas_trainer.space.rows import Drawn, build_row

__all__ = ["MAX_ADVANTAGE", "Draw", "Policy"]

Floats = npt.NDArray[np.float64]

_BASELINE_MOMENTUM: Final = 0.95
MAX_ADVANTAGE: Final = 3.0
_LEAST_DEVIATION: Final = 0.2
"""Ours: what outliers are measured by while the rewards' deviation is smaller, a fifth of the way from a constant answer's quality to 1."""
_FIRST_REACH: Final = 1.0
"""Ours: how far from 0 the first reward, which no other judges, may put the baseline: qualities of use lie between 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A sample with what was drawn for it."""

    configuration: Configuration
    drawn: Mapping[str, Drawn]

    def to_json(self) -> dict[str, Any]:
        """As JSON; floats survive exactly."""
        return {"values": list(self.configuration.values), "drawn": dict(self.drawn)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The draw of `to_json`."""
        drawn = {name: of if isinstance(of, float) else tuple(of) for name, of in state["drawn"].items()}
        return cls(configuration=Configuration(values=tuple(state["values"])), drawn=drawn)


class Policy:
    """The policy over the searched decisions of a space. Lifecycle: `sample`, train, `update`; `state_dict` at any time."""

    def __init__(self, space: Space, learning_rate: float) -> None:
        """Start undecided: choices are equally likely, ranges with a Gaussian are spread around their default.

        Args:
            space: Decisions with one choice always take it.
            learning_rate: Step size of the rows, above 0.
        """
        self._space = space
        self._learning_rate = learning_rate
        self._rows = {decision.name: build_row(decision) for decision in space.searched_decisions()}
        self._entropy: dict[str, float] | None = None
        """Of each row, until a row moves: what reads a policy asks for it several times."""
        self._baseline_sum = 0.0
        self._square_sum = 0.0
        self._weight = 0.0
        self._num_rewards = 0

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions of a sample, in order."""
        return self._space.decisions

    def sample(self, rng: np.random.Generator, fixed: Mapping[str, str] | None = None) -> Draw:
        """Draw one configuration; decisions in `fixed` take the given value. Fixed ones are drawn all the same."""
        values: dict[str, str] = {}
        drawn: dict[str, Drawn] = {}
        for decision in self._space.decisions:
            row = self._rows.get(decision.name)
            if row is None:
                values[decision.name] = decision.fixed
                continue
            drawn[decision.name] = row.draw(rng)
            values[decision.name] = row.value(drawn[decision.name])
        held = fixed or {}
        return Draw(
            configuration=self._space.configuration({**values, **held}),
            drawn={name: of for name, of in drawn.items() if name not in held},
        )

    def advantage(self, reward: float) -> float:
        """Take a reward into the baseline and return its normalised, clipped advantage over the baseline before it.

        A reward that is not finite leaves the baseline alone and gets the lowest advantage; an outlier counts there as one of
        MAX_ADVANTAGE deviations.
        """
        if not math.isfinite(reward):
            return -MAX_ADVANTAGE
        if self._weight == 0:
            self._take(_clip(reward, _FIRST_REACH), 0.0)
            return 0.0
        baseline, deviation = self.baseline, math.sqrt(self._square_sum / self._weight)
        centred = reward - baseline
        taken = _clip(centred, MAX_ADVANTAGE * max(deviation, _LEAST_DEVIATION))
        self._take(baseline + taken, taken)
        return _clip(centred if deviation == 0 else centred / deviation, MAX_ADVANTAGE)

    def forget_baseline(self) -> None:
        """Begin baseline and deviation again with the next reward: what follows is rewarded for something else."""
        self._baseline_sum = self._square_sum = self._weight = 0.0
        self._num_rewards = 0

    def _take(self, reward: float, centred: float) -> None:
        keep = _BASELINE_MOMENTUM
        self._baseline_sum = keep * self._baseline_sum + (1 - keep) * reward
        self._square_sum = keep * self._square_sum + (1 - keep) * centred**2
        self._weight = keep * self._weight + (1 - keep)
        self._num_rewards += 1

    def update(self, draw: Draw, advantage: float, decisions: Sequence[Decision]) -> None:
        """Move the rows of `decisions` that are active in the sample; the others stay as they are."""
        self.update_together([draw], [advantage], decisions)

    def update_together(self, draws: Sequence[Draw], advantages: Sequence[float], decisions: Sequence[Decision]) -> None:
        """One step along the mean gradient of several samples; each row looks only at samples in which it is active."""
        mappings = [self._space.as_mapping(draw.configuration) for draw in draws]
        for decision in decisions:
            row = self._rows.get(decision.name)
            if row is None:
                continue
            active = [
                (draw.drawn[decision.name], advantage)
                for values, draw, advantage in zip(mappings, draws, advantages, strict=True)
                if self._space.is_active(decision, values)
            ]
            if active:
                self._entropy = None
                row.ascend([drawn for drawn, _ in active], [advantage for _, advantage in active], self._learning_rate)

    def reject(self, values: Mapping[str, str], decisions: Sequence[Decision]) -> None:
        """Give a sample that cannot be trained the lowest advantage in the rows of `decisions`; the baseline stays as it is.

        Args:
            values: The sample, every decision of the space by name.
            decisions: Those that are to blame; one whose value mixes bases is not.
        """
        rows = {d.name: self._rows[d.name] for d in decisions if d.name in self._rows}
        drawn = {name: draw for name, row in rows.items() if (draw := row.find(values[name])) is not None}
        configuration = self._space.configuration({d.name: values[d.name] for d in self._space.decisions})
        blamed = [decision for decision in decisions if decision.name in drawn]
        self.update(Draw(configuration=configuration, drawn=drawn), -MAX_ADVANTAGE, blamed)

    def most_likely(self, fixed: Mapping[str, str] | None = None) -> Configuration:
        """The configuration of the most likely choices; among equals the default, else the first. `fixed` choices are held."""
        likeliest = {name: row.likeliest() for name, row in self._rows.items()}
        return self._space.configuration({**self._fixed_values(), **likeliest, **(fixed or {})})

    def derive(self) -> Configuration:
        """As `most_likely`, but ranges that ask for their expectation, and those whose samples mix bases, stand at it."""
        return self._space.configuration(self.derive_values())

    def derive_values(self) -> dict[str, str]:
        """What `derived` would give each decision if it were active: its value under other choices of its parents too."""
        return self._fixed_values() | {name: row.derive() for name, row in self._rows.items()}

    def _fixed_values(self) -> dict[str, str]:
        """Values of the decisions that are not searched."""
        return {d.name: d.fixed for d in self._space.decisions if d.name not in self._rows}

    def probabilities(self) -> dict[str, tuple[float, ...]]:
        """Probability of every choice of every searched decision, in the order of the choices.

        Under a Gaussian a basis has the mass that lies nearest to it.
        """
        return {name: tuple(row.probabilities().tolist()) for name, row in self._rows.items()}

    def log_probability(self, configuration: Configuration, fixed: Collection[str] = ()) -> float:
        """Log-probability of the active decisions of a configuration; those in `fixed` are given and count for nothing.

        Of a value of a range it is that of its basis, under a Gaussian of the nearest one; a mean of bases counts for nothing.
        """
        values = self._space.as_mapping(configuration)
        total = 0.0
        for decision in self._space.searched_decisions():
            row = self._rows[decision.name]
            is_drawn = decision.name not in fixed and self._space.is_active(decision, values)
            if is_drawn and (index := row.index(values[decision.name])) is not None:
                total += math.log(max(float(row.probabilities()[index]), 1e-300))
        return total

    def entropy(self) -> Mapping[str, float]:
        """Entropy of each searched decision divided by log n: 1 is uniform, 0 decided."""
        if self._entropy is None:
            self._entropy = {name: _entropy(p) / math.log(len(p)) for name, row in self._rows.items() for p in (row.probabilities(),)}
        return self._entropy

    def normalized_entropy(self) -> float:
        """Return sum P(active)*H / sum P(active)*log n over the searched decisions; 0 when nothing is searched."""
        activity = self._activity()
        weights = {d.name: activity[d.name] * math.log(len(d.choices)) for d in self._space.searched_decisions()}
        entropy = self.entropy()
        total = sum(weights.values())
        return sum(entropy[name] * weight for name, weight in weights.items()) / total if total > 0 else 0.0

    @property
    def baseline(self) -> float:
        """Zero-debiased average of the rewards so far; 0 before the first."""
        return self._baseline_sum / self._weight if self._weight > 0 else 0.0

    @property
    def num_rewards(self) -> int:
        """Rewards in the baseline: those since it was forgotten last."""
        return self._num_rewards

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as JSON; floats survive exactly."""
        rows = {name: row.state_dict() for name, row in self._rows.items()}
        average = {"baselineSum": self._baseline_sum, "squareSum": self._square_sum, "weight": self._weight, "rewards": self._num_rewards}
        return {"rows": rows, **average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._entropy = None
        for name, row in self._rows.items():
            row.load_state_dict(state["rows"][name])
        self._baseline_sum, self._square_sum, self._weight = state["baselineSum"], state["squareSum"], state["weight"]
        self._num_rewards = int(state["rewards"])

    def _activity(self) -> dict[str, float]:
        """Probability that each decision is active: parents are independent, so a chain multiplies."""
        activity: dict[str, float] = {}
        for decision in self._space.decisions:
            if decision.when is None:
                activity[decision.name] = 1.0
                continue
            parent = next(d for d in self._space.decisions if d.name == decision.when.decision)
            activity[decision.name] = activity[parent.name] * self._mass(parent, decision.when.values)
        return activity

    def _mass(self, parent: Decision, values: Sequence[str]) -> float:
        row = self._rows.get(parent.name)
        if row is None:
            return float(parent.fixed in values)
        pairs = zip(parent.choices, row.probabilities(), strict=True)
        return float(sum(p for choice, p in pairs if choice in values))


def _clip(value: float, reach: float) -> float:
    return max(-reach, min(reach, value))


def _entropy(probabilities: Floats) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
