"""The controller in closed form."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2

from autohas_api.accept.acceptance import accept
from autohas_api.base.condition import When
from autohas_api.space.decisions import Configuration, Decision, Role, Space
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.seeding import stream
from autohas_trainer.space.policy import Draw, Policy


def _decision(name: str, choices: tuple[str, ...], when: When | None = None) -> Decision:
    return Decision(name=name, role=Role.ARCHITECTURE, choices=choices, default=choices[0], when=when)


DEPTH = _decision("depth", ("1", "2"))
WIDTH = _decision("width", ("a", "b", "c", "d"), When(decision="depth", values=("2",)))
FLAT = Space(decisions=(_decision("x", ("a", "b", "c", "d")), _decision("y", ("p", "q"))))
NESTED = Space(decisions=(DEPTH, WIDTH))


def _draw(space: Space, *values: str) -> Draw:
    """A sample of these choices."""
    indices = {d.name: (d.choices.index(value),) for d, value in zip(space.decisions, values, strict=True)}
    return Draw(configuration=Configuration(values=values), drawn=indices)


def test_fresh_policy_is_uniform() -> None:
    """Before any update every choice has probability 1/n and the normalised entropy is 1."""
    policy = Policy(FLAT, learning_rate=0.1)

    assert policy.probabilities() == {"x": (0.25,) * 4, "y": (0.5, 0.5)}
    assert policy.normalized_entropy() == pytest.approx(1)
    assert policy.entropy() == pytest.approx({"x": 1, "y": 1})


def test_first_update_moves_every_logit_by_the_rate() -> None:
    """Adam with beta1 = 0 divides the first gradient by its own size: each logit moves by the learning rate, towards the sample."""
    policy = Policy(FLAT, learning_rate=0.1)
    policy.update(_draw(FLAT, "b", "p"), 2.0, FLAT.decisions)

    p = np.exp([-0.1, 0.1, -0.1, -0.1])
    assert policy.probabilities()["x"] == pytest.approx(p / p.sum(), abs=1e-6)
    assert policy.probabilities()["y"][0] == pytest.approx(1 / (1 + math.exp(-0.2)), abs=1e-6)


def test_inactive_rows_stay_untouched() -> None:
    """A sample with depth 1 says nothing about the width: logits and moments stay, also after later updates."""
    policy = Policy(NESTED, learning_rate=0.1)
    before = policy.state_dict()["rows"]["width"]
    policy.update(_draw(NESTED, "1", "a"), 1.0, NESTED.decisions)

    assert policy.state_dict()["rows"]["width"] == before
    assert policy.state_dict()["rows"]["depth"]["updates"] == 1


def test_entropy_counts_a_decision_as_often_as_it_is_active() -> None:
    """With uniform depth the width counts half: (log 2 + log 4 / 2) over itself is 1; decided depth 1 leaves 0."""
    policy = Policy(NESTED, learning_rate=50.0)
    assert policy.normalized_entropy() == pytest.approx(1)

    policy.update(_draw(NESTED, "1", "a"), 1.0, NESTED.decisions)
    assert policy.normalized_entropy() == pytest.approx(0, abs=1e-6)


def test_the_entropy_follows_a_policy_that_is_restored() -> None:
    """What was read before a restore is not given after it."""
    fresh, policy = Policy(FLAT, learning_rate=1.0), Policy(FLAT, learning_rate=1.0)
    policy.update(_draw(FLAT, "b", "p"), 2.0, FLAT.decisions)
    taught = policy.entropy()
    policy.load_state_dict(fresh.state_dict())

    assert taught != fresh.entropy()
    assert policy.entropy() == fresh.entropy()


CHAIN = Space(
    decisions=(
        _decision("depth", ("1", "2", "3")),
        _decision("width", ("a", "b"), When(decision="depth", values=("2", "3"))),
        _decision("norm", ("p", "q", "r"), When(decision="width", values=("b",))),
        _decision("act", ("x", "y")),
    )
)
"""A chain of conditions next to a free decision: (1 + 2·(1 + 3))·2 = 18 distinct configurations."""


def _taught() -> Policy:
    """A policy over CHAIN that is not uniform in any row."""
    policy = Policy(CHAIN, learning_rate=0.4)
    for step in range(30):
        sample = policy.sample(stream("taught", step))
        policy.update(sample, float(stream("advantage", step).standard_normal()), CHAIN.decisions)
    return policy


def _distinct(space: Space) -> set[Configuration]:
    """Every configuration of a space, by enumeration of all choices."""
    names = [decision.name for decision in space.decisions]
    return {space.configuration(dict(zip(names, values, strict=True))) for values in product(*(d.choices for d in space.decisions))}


def test_probabilities_of_all_configurations_add_up_to_one() -> None:
    """Inactive decisions count for nothing: the enumerated probabilities sum to 1, and samples come as often as they say."""
    policy, space = _taught(), CHAIN
    expected = {configuration: math.exp(policy.log_probability(configuration)) for configuration in _distinct(space)}
    counts = Counter(policy.sample(stream("frequency", i)).configuration for i in range(4000))
    likely = {configuration: p for configuration, p in expected.items() if 4000 * p > 5}
    statistic = sum((counts[c] - 4000 * p) ** 2 / (4000 * p) for c, p in likely.items())

    assert len(expected) == 18
    assert math.fsum(expected.values()) == pytest.approx(1, abs=1e-12)
    assert counts.keys() <= expected.keys()
    assert statistic < chi2.ppf(0.9999, len(likely))


def test_given_decisions_count_for_nothing_in_a_probability() -> None:
    """With depth held at 2 the configurations that have it are all there is."""
    policy, space = _taught(), CHAIN
    held = [c for c in _distinct(space) if space.as_mapping(c)["depth"] == "2"]

    assert math.fsum(math.exp(policy.log_probability(c, ("depth",))) for c in held) == pytest.approx(1, abs=1e-12)


def test_normalized_entropy_is_that_of_the_enumerated_configurations() -> None:
    """The entropy of the joint distribution over what it would be if every row were uniform where it is reached: by enumeration."""
    policy, space = _taught(), CHAIN
    joint = 0.0
    uniform = 0.0
    for configuration in _distinct(space):
        probability, values = math.exp(policy.log_probability(configuration)), space.as_mapping(configuration)
        joint -= probability * policy.log_probability(configuration)
        uniform += probability * sum(math.log(len(d.choices)) for d in space.decisions if space.is_active(d, values))

    assert policy.normalized_entropy() == pytest.approx(joint / uniform, abs=1e-12)


def test_a_forgotten_baseline_begins_with_the_next_reward() -> None:
    """As the first reward of all it teaches nothing; the one after it is judged by it alone, not by a hundred of another kind."""
    policy = Policy(FLAT, learning_rate=0.1)
    for step in range(100):
        policy.advantage(0.1 * (step % 2))
    policy.forget_baseline()

    assert (policy.baseline, policy.num_rewards) == (0, 0)
    assert policy.advantage(0.8) == 0
    assert policy.baseline == pytest.approx(0.8)
    assert policy.advantage(0.7) == pytest.approx(-0.1)


def test_baseline_is_zero_debiased() -> None:
    """After one reward the baseline is that reward; after two it is their weighted mean 0.95*0.05 : 0.05."""
    policy = Policy(FLAT, learning_rate=0.1)
    assert policy.advantage(0.8) == 0
    assert policy.baseline == pytest.approx(0.8)

    policy.advantage(0.4)
    assert policy.baseline == pytest.approx((0.95 * 0.8 + 0.4) / 1.95)


def test_advantage_is_clipped_at_three_deviations() -> None:
    """An outlier counts no more than 3."""
    policy = Policy(FLAT, learning_rate=0.1)
    for reward in (0.5, 0.51, 0.5, 0.51, 0.5):
        policy.advantage(reward)

    assert policy.advantage(100.0) == 3
    assert policy.advantage(-1e6) == -3


@pytest.mark.parametrize("outlier", [-1e4, 1e4])
def test_an_outlier_moves_the_sums_by_three_deviations_at_most(outlier: float) -> None:
    """After 100 rewards of 0.5 it counts as 0.5 -+ 3·0.2, in closed form; a hundred rewards later 0.55 is good and 0.45 bad again."""
    policy = Policy(FLAT, learning_rate=0.1)
    for _ in range(100):
        policy.advantage(0.5)

    assert policy.advantage(outlier) == math.copysign(3, outlier)
    state = policy.state_dict()
    assert state["baselineSum"] == pytest.approx(0.95 * 0.5 * (1 - 0.95**100) + 0.05 * (0.5 + math.copysign(0.6, outlier)))
    assert state["squareSum"] == pytest.approx(0.05 * 0.6**2)
    for _ in range(100):
        policy.advantage(0.5)
    assert policy.advantage(0.55) == 3
    assert policy.advantage(0.45) < -1


def test_what_an_outlier_is_follows_from_the_rewards_own_deviation() -> None:
    """Rewards of 0 and 4 in turns have deviations of about 2: -1e4 counts as three of them below the baseline."""
    policy = Policy(FLAT, learning_rate=0.1)
    for step in range(200):
        policy.advantage(4.0 * (step % 2))
    before = policy.state_dict()
    deviation = math.sqrt(before["squareSum"] / before["weight"])
    lowest = policy.baseline - 3 * deviation
    policy.advantage(-1e4)
    after = policy.state_dict()

    assert 1.9 < deviation < 2.2
    assert after["baselineSum"] == pytest.approx(0.95 * before["baselineSum"] + 0.05 * lowest)
    assert after["squareSum"] == pytest.approx(0.95 * before["squareSum"] + 0.05 * 9 * deviation**2)


def test_a_wild_first_reward_does_not_silence_the_controller() -> None:
    """It counts as -1; a hundred rewards of 0.5 later 0.55 is better than the baseline and 0.45 worse."""
    policy = Policy(FLAT, learning_rate=0.1)
    policy.advantage(-1e4)
    assert policy.baseline == -1
    for _ in range(100):
        policy.advantage(0.5)

    assert policy.advantage(0.55) > 0.4
    assert policy.advantage(0.45) < -0.4


def test_a_better_choice_wins() -> None:
    """With reward 1 for one choice and 0 otherwise the policy concentrates on it."""
    policy = Policy(FLAT, learning_rate=0.1)
    for step in range(300):
        sample = policy.sample(stream(0, step))
        policy.update(sample, policy.advantage(float(sample.configuration.values[0] == "c")), FLAT.decisions)

    assert policy.probabilities()["x"][2] > 0.9
    assert policy.most_likely().values[0] == "c"


def test_samples_follow_the_probabilities() -> None:
    """Ten thousand keyed draws match the probabilities within four standard errors."""
    policy = Policy(FLAT, learning_rate=1.0)
    policy.update(_draw(FLAT, "b", "p"), 1.0, FLAT.decisions)
    share = np.mean([policy.sample(stream(1, i)).configuration.values[0] == "b" for i in range(10_000)])
    p = policy.probabilities()["x"][1]

    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 10_000)


def test_among_equals_the_default_is_most_likely() -> None:
    """An untaught policy derives the default configuration, also one between two bases."""
    document = a_search()
    document["spec"]["searchSpace"]["hyperparameters"][0]["default"] = "0.2"
    _, space = accept(document)

    assert Policy(space, learning_rate=0.1).most_likely() == space.default


@pytest.mark.parametrize("derive", ["Argmax", "Expectation"])
def test_a_first_reward_does_not_move_a_default_between_two_bases(derive: str) -> None:
    """Its advantage is 0 and teaches nothing: all logits are equal still, and the default is derived; a second reward decides."""
    document = with_change(a_search(), "spec.algorithm", {"autoHAS": {"strategy": "OneStep"}})
    document["spec"]["searchSpace"]["hyperparameters"] = document["spec"]["searchSpace"]["hyperparameters"][:1]
    document["spec"]["searchSpace"]["hyperparameters"][0] |= {"default": "0.2"}
    document["spec"]["searchSpace"]["hyperparameters"][0]["continuous"] |= {"mixing": "OneHot", "derive": derive}
    _, space = accept(document)
    policy = Policy(space, learning_rate=0.1)
    sample = policy.sample(stream(4))
    policy.update(sample, policy.advantage(0.7), space.decisions)

    assert policy.state_dict()["rows"]["learning_rate"]["updates"] == 1
    assert (policy.most_likely(), policy.derive()) == (space.default, space.default)
    policy.update(sample, policy.advantage(0.9), space.decisions)
    assert space.as_mapping(policy.most_likely())["learning_rate"] == space.as_mapping(sample.configuration)["learning_rate"]
    assert space.as_mapping(policy.derive())["learning_rate"] != "0.2"


def test_state_survives_json_exactly() -> None:
    """A policy restored through JSON samples and learns as the original."""
    one, other = Policy(FLAT, learning_rate=0.1), Policy(FLAT, learning_rate=0.1)
    for step in range(20):
        sample = one.sample(stream(2, step))
        one.update(sample, one.advantage(0.1 * step), FLAT.decisions)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))

    assert other.state_dict() == one.state_dict()
    assert other.sample(stream(3)) == one.sample(stream(3))
