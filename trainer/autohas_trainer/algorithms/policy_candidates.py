"""Candidates that a policy proposes: its most likely configuration, then its samples, most likely first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autohas_api.space.decisions import Configuration
from autohas_trainer.algorithms._base import Candidate
from autohas_trainer.space.policy import Policy

__all__ = ["policy_candidates"]

_NUM_DRAWS = 64
"""Ours: enough that a concentrated policy repeats itself and a flat one shows its spread."""


def policy_candidates(policy: Policy, count: int, fixed: Mapping[str, str], rng: np.random.Generator) -> list[Candidate]:
    """Argmax and the likeliest distinct samples, `count` in all, with the choices in `fixed` held."""
    drawn = [policy.sample(rng, fixed).configuration for _ in range(_NUM_DRAWS)]
    best = policy.most_likely(fixed)
    samples: dict[Configuration, float] = {c: policy.log_probability(c, fixed) for c in drawn if c != best}
    ordered = sorted(samples, key=lambda c: (-samples[c], c.values))
    named = [Candidate(name=f"sample {index + 1}", configuration=c) for index, c in enumerate(ordered)]
    return [Candidate(name="argmax", configuration=best), *named][:count]
