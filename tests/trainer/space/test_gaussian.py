"""Ranges with a Gaussian: its closed forms against autograd and sampling, and what the policy makes of it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from autohas_api.accept.acceptance import accept
from autohas_api.space.decisions import Space
from autohas_api.testing.rejections import with_change
from autohas_trainer.seeding import stream
from autohas_trainer.space.gaussian import CutGaussian
from autohas_trainer.space.policy import MAX_ADVANTAGE, Policy
from engine_fixtures import small_search

RATE = "spec.searchSpace.hyperparameters[0].continuous"
WIDE = {"min": "0.001", "max": "1", "scale": "Log", "numBases": 8}


def _space(algorithm: dict[str, Any] | None = None, default: str | None = None, **given: Any) -> Space:
    """A space of one rate from 0.001 to 1."""
    document = small_search(algorithm or {"autoHAS": {"strategy": "OneStep"}})
    document = with_change(document, RATE, {**WIDE, **given})
    if default is not None:
        document = with_change(document, "spec.searchSpace.hyperparameters[0].default", default)
    return Space(decisions=accept(document)[1].decisions[:1])


def _taught(position: float = 0.8) -> Policy:
    """A policy that was rewarded for rates near a position."""
    space = _space()
    policy = Policy(space, learning_rate=0.1)
    for step in range(60):
        draw = policy.sample(stream("taught", step))
        drawn = draw.drawn["learning_rate"]
        assert isinstance(drawn, float)
        policy.update(draw, policy.advantage(-abs(drawn - position)), space.decisions)
    return policy


@pytest.mark.parametrize(("mean", "deviation"), [(0.5, 0.3), (0.0, 0.5), (1.0, 0.02), (0.9, 0.1)])
@pytest.mark.parametrize("position", [0.0, 0.37, 0.99])
def test_the_score_is_autograds(mean: float, deviation: float, position: float) -> None:
    """Gradient of the log density of a normal distribution over its mass between 0 and 1, by torch."""
    leaves = torch.tensor([mean, math.log(deviation)], dtype=torch.float64, requires_grad=True)
    normal = torch.distributions.Normal(leaves[0], leaves[1].exp())
    mass = normal.cdf(torch.tensor(1.0, dtype=torch.float64)) - normal.cdf(torch.tensor(0.0, dtype=torch.float64))
    (expected,) = torch.autograd.grad(normal.log_prob(torch.tensor(position, dtype=torch.float64)) - mass.log(), leaves)
    gaussian = CutGaussian(mean=mean, deviation=deviation)

    assert gaussian.score(position) == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)
    assert gaussian.natural_gradient(position) == pytest.approx(
        [deviation**2 * expected[0].item(), expected[1].item() / 2], rel=1e-9, abs=1e-9
    )


def test_samples_lie_nearest_to_each_basis_as_often_as_its_mass_says() -> None:
    """Chi-square of 5,000 samples over the eight bases; its 99.99 % point bounds it. The masses add up to 1."""
    gaussian, number = CutGaussian(mean=0.85, deviation=0.3), 5000
    positions = [gaussian.sample(stream("cut", i)) for i in range(number)]
    masses = gaussian.masses(8)
    counts = np.bincount([math.floor(position * 7 + 0.5) for position in positions], minlength=8)

    assert masses.sum() == pytest.approx(1, abs=1e-12)
    assert min(number * masses) > 5
    assert ((counts - number * masses) ** 2 / (number * masses)).sum() < chi2.ppf(0.9999, 7)
    assert 0 <= min(positions) < max(positions) <= 1


def test_the_best_value_is_found_in_three_hundred_steps() -> None:
    """Reward -|log10 x - log10 x*|, ten targets in three decades: each mean ends within 0.05 decades, bases alone cannot."""
    space = _space()
    errors = []
    for trial, target in enumerate(np.random.default_rng(99).uniform(-3, 0, 10)):
        policy = Policy(space, learning_rate=0.1)
        for step in range(300):
            draw = policy.sample(stream("target", trial, step))
            reward = -abs(math.log10(float(draw.configuration.values[0])) - target)
            policy.update(draw, policy.advantage(reward), space.decisions)
        errors.append(abs(math.log10(float(policy.derive().values[0])) - target))

    assert max(errors) < 0.05


@pytest.mark.parametrize("default", ["0.001", "0.2", "1"])
def test_an_untaught_range_derives_its_default_and_samples_around_it(default: str) -> None:
    """A first reward has advantage 0 and moves nothing; the mean of the samples is that of the Gaussian at the default."""
    space = _space(default=default)
    policy = Policy(space, learning_rate=0.1)
    sample = policy.sample(stream(4))
    policy.update(sample, policy.advantage(0.7), space.decisions)
    mode = int(np.argmax(policy.probabilities()["learning_rate"]))

    assert policy.derive() == policy.most_likely() == space.default
    assert abs(mode - (math.log10(float(default)) + 3) / 3 * 7) <= 1  # an end has half as much room around it
    assert 0.7 < policy.normalized_entropy() < 1


def test_a_default_outside_of_the_range_begins_at_its_end() -> None:
    """The recipe's rate of 0.1 is derived as it is; samples lie in the range from 0.2 to 1."""
    space = _space(min="0.2")
    policy = Policy(space, learning_rate=0.1)
    rates = [float(policy.sample(stream(i)).configuration.values[0]) for i in range(200)]

    assert policy.derive().values == ("0.1",)
    assert 0.2 <= min(rates) < max(rates) <= 1
    assert policy.state_dict()["rows"]["learning_rate"]["mean"] == 0


def test_the_mean_is_derived_and_entropy_falls() -> None:
    """Taught near 0.8 of the range, the derived rate is near 10^(-3 + 2.4); it is the most likely one too, so nothing races it."""
    policy = _taught(0.8)

    assert math.log10(float(policy.derive().values[0])) == pytest.approx(-0.6, abs=0.3)
    assert policy.most_likely() == policy.derive()
    assert policy.normalized_entropy() < 0.9
    assert math.fsum(policy.probabilities()["learning_rate"]) == pytest.approx(1, abs=1e-12)


def test_a_value_counts_as_the_nearest_basis() -> None:
    """The log-probability of any value of the range is that of the basis next to it; those of all bases add up to 1."""
    policy = _taught()
    (decision,) = policy.decisions
    by_basis = [policy.log_probability(Space(decisions=(decision,)).configuration({"learning_rate": c})) for c in decision.choices]
    near = policy.log_probability(Space(decisions=(decision,)).configuration({"learning_rate": "0.95"}))

    assert math.fsum(math.exp(p) for p in by_basis) == pytest.approx(1, abs=1e-12)
    assert near == by_basis[-1]


def test_a_rejected_value_repels_the_mean() -> None:
    """A sample that cannot be trained counts as one with the lowest advantage: by the closed form, and the baseline stays."""
    space = _space(default="0.1")
    policy, twin = Policy(space, learning_rate=0.1), Policy(space, learning_rate=0.1)
    draw = twin.sample(stream(1))
    twin.update(draw, -MAX_ADVANTAGE, space.decisions)
    policy.reject(space.as_mapping(draw.configuration), space.decisions)
    mean, expected = (p.state_dict()["rows"]["learning_rate"]["mean"] for p in (policy, twin))

    assert mean == pytest.approx(expected, abs=1e-6)  # values are written with six digits
    assert policy.num_rewards == 0


def test_a_state_survives_json_exactly() -> None:
    """A policy restored through JSON samples and learns as the original."""
    one, other = _taught(), Policy(_space(), learning_rate=0.1)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for policy in (one, other):
        policy.update(policy.sample(stream(3)), 1.5, policy.decisions)

    assert other.state_dict() == one.state_dict()
    assert other.sample(stream(5)) == one.sample(stream(5))


@pytest.mark.parametrize(
    ("algorithm", "is_gaussian", "num_mixed"),
    [
        (None, True, 1),
        ({"autoHAS": {"strategy": "Paired"}}, True, 1),
        ({"autoHAS": {"strategy": "OneStep", "preset": "Published"}}, False, 2),
        ({"autoHAS": {"strategy": "Lanes"}}, False, 1),
        ({"name": "RandomSharing", "randomSharing": {"numSamples": 5}}, False, 1),
        ({"name": "RandomSearch"}, False, 1),
    ],
    ids=str,
)
def test_who_learns_ranges_decides_what_a_range_is(algorithm: dict[str, Any] | None, num_mixed: int, *, is_gaussian: bool) -> None:
    """A Gaussian where a controller learns hyperparameters, means of bases in the published form, one basis elsewhere."""
    bounds = _space(algorithm).decisions[0].range

    assert bounds is not None
    assert (bounds.is_gaussian, bounds.num_mixed) == (is_gaussian, num_mixed)


def test_a_ranges_own_mixing_stands_in_the_published_form() -> None:
    """The preset fixes what its block names; what a range says of itself holds."""
    bounds = _space({"autoHAS": {"strategy": "OneStep", "preset": "Published"}}, mixing="Gaussian").decisions[0].range

    assert bounds is not None
    assert bounds.is_gaussian
