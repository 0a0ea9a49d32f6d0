"""What each stage of a search may do: the plan that an algorithm makes of a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FINALISTS", "RESCORED_SAMPLES", "StagePlan", "num_challengers", "num_rescored"]

FINALISTS: Final = 2
"""The fewest new candidates that continue from 1/9 to 1/3 of a training; the default continues in addition."""

RESCORED_SAMPLES: Final = 10
"""The best samples, which are scored a second time on the whole reward split (Source: Li & Talwalkar's public code)."""


def num_rescored(num_samples: int) -> int:
    """Samples that are scored twice."""
    return min(num_samples, RESCORED_SAMPLES)


def num_challengers(finalists: int, finalists_per_challenger: int) -> int:
    """Candidates at 1/3 of a training that are trained to the end next to the default; one at least."""
    return max(1, finalists // finalists_per_challenger)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What each stage may do. A stage with nothing to do has 0 here and is skipped.

    `rungs` are the steps of a training at which candidates are compared; `schedule_steps` are those that the supernet's learning rate
    and hyperparameter window are laid out for, of which the first `supernet_steps` are taken; `warmup_steps` of them sample uniformly
    and do not teach the controller; `num_candidates` enter the race new; `num_finalists` lanes continue to 1/3 next to the default, and
    `num_challengers` of them to the end, where the race is one of leaders; `num_samples` are scored on the shared weights,
    `num_trials` are trials, which take `trial_steps` together, `num_repeats` are trainings of the winner with further seeds;
    `trains_derived` says that no race but the last stage trains what was found. `default_steps` are those of the default before its curve
    is judged, where lanes are prefixes of one training as long as the budget: then nothing else is planned, and `full_steps` are those of a
    full training, which the last rung is otherwise.
    `scoring_trainings` is what scoring costs, `lane_trainings` and `supernet_trainings` what those stages cost, `predicted_trainings` the
    most that the plan can cost, `search_trainings` what everything but the repeats may cost: the race spends what is left of it.
    """

    rungs: tuple[int, ...]
    num_lanes: int = 0
    default_steps: int = 0
    full_steps: int = 0
    num_survivors: int = 0
    warmup_steps: int = 0
    supernet_steps: int = 0
    schedule_steps: int = 0
    num_candidates: int = 0
    num_finalists: int = 0
    num_challengers: int = 0
    num_samples: int = 0
    num_trials: int = 0
    trial_steps: int = 0
    num_repeats: int = 0
    trains_derived: bool = False
    scoring_trainings: float = 0.0
    lane_trainings: float = 0.0
    supernet_trainings: float = 0.0
    search_trainings: float = 0.0
    predicted_trainings: float

    @property
    def training_steps(self) -> int:
        """Steps of a full training of the default."""
        return self.full_steps or self.rungs[-1]

    @property
    def race_trainings(self) -> float:
        """What is planned for the race, and for the final training where no race does it, comparisons included."""
        return self.predicted_trainings - self.num_repeats - self.lane_trainings - self.supernet_trainings

    @property
    def lane_steps(self) -> int:
        """Training steps of all lanes together."""
        if not self.num_lanes:
            return 0
        if self.default_steps:
            return self.default_steps
        first, second, _ = self.rungs
        return self.num_lanes * first + self.num_survivors * (second - first)

    @property
    def race_steps(self) -> int:
        """The most training steps that the race can take (0 for a race that only scores samples, and where there is none)."""
        if self.num_samples or self.trains_derived:
            return 0
        if self.num_trials:
            return self.trial_steps
        first, second, last = self.rungs
        if self.num_finalists:
            return (1 + self.num_finalists) * (second - first) + (1 + self.num_challengers) * (last - second)
        new_default = 0 if self.num_lanes else 1
        finalists = min(FINALISTS, self.num_candidates) + 1
        return (self.num_candidates + new_default) * first + finalists * (second - first) + 2 * (last - second)

    @property
    def evaluate_steps(self) -> int:
        """Training steps of the last stage: the repeats, and the final training where no race has done it."""
        return (self.num_repeats + (1 if self.num_samples or self.trains_derived else 0)) * self.rungs[-1] - self.default_steps

    @property
    def scoring_steps(self) -> int:
        """Scores of a race of samples: each sample once, and the best ones again."""
        return self.num_samples + num_rescored(self.num_samples)

    def trainings_after_supernet(self, steps: int) -> float:
        """The most that race and final training cost, in trainings of `steps` steps; comparisons left out."""
        return self.scoring_trainings + (self.race_steps + self.evaluate_steps) / steps
