"""What a plan leaves for each stage is said before the data is read, with a warning where it is too little."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.accept.plan_check import REWARDS_PER_DECISION, largest_selection, plan_lines, short_supernet, stage_trainings
from autohas_api.algorithms.plan_request import FORWARD_SHARE
from autohas_api.base.spec_errors import SpecError
from autohas_api.budget.steps_per_stage import EARLY_EXAMPLES, minimum_trainings, plan_stages, price_comparisons
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Spec
from autohas_api.templates.table import TEMPLATES
from autohas_api.testing.rejections import a_search, with_change

LANES: dict[str, Any] = {"autoHAS": {"strategy": "Lanes"}}
ALGORITHM_ROWS: list[dict[str, Any]] = [
    LANES,
    {"autoHAS": {"strategy": "OneStep"}},
    {"name": "RandomSharing", "randomSharing": {"numSamples": 5}},
    {"name": "RandomSearch"},
    {},
]


def _images(trainings: str, algorithm: dict[str, Any] = LANES) -> tuple[Spec, Space]:
    """60,000 grey images, of which a tenth is the selection split, 300 steps; 13 decisions of conv-small."""
    document = with_change(a_search(), "spec.task", {"data": {"name": "idx", "path": "/data"}, "model": {"template": "conv-small"}})
    document = with_change(with_change(document, "spec.training.steps", 300), "spec.budget.trainings", trainings)
    hyperparameters = document["spec"]["searchSpace"]["hyperparameters"][:1]
    document = with_change(document, "spec.searchSpace.hyperparameters", hyperparameters)
    search, space = accept(with_change(document, "spec.algorithm", algorithm))
    return search.spec, space


def test_early_comparisons_read_a_part_of_a_large_selection_split() -> None:
    """1,024 examples before the end, all 6,000 at it; of a small split all each time: forward passes in trainings of 300 batches of 64."""
    spec, _ = _images("4")
    large, small = price_comparisons(spec, 6000), price_comparisons(spec, 500)

    assert large.early == pytest.approx(FORWARD_SHARE * EARLY_EXAMPLES / 64 / 300)
    assert large.last == pytest.approx(FORWARD_SHARE * 6000 / 64 / 300)
    assert small.early == small.last == pytest.approx(FORWARD_SHARE * 500 / 64 / 300)


def test_sixty_thousand_images_are_searched_with_a_budget_of_four() -> None:
    """11 early comparisons and 2 whole ones at least: the least budget is 3.25 and what they cost, and below 4."""
    spec, space = _images("4")
    comparisons = price_comparisons(spec, 6000)

    expected = minimum_trainings(spec, space) + 11 * comparisons.early + 2 * comparisons.last
    assert minimum_trainings(spec, space, 6000) == pytest.approx(expected)
    assert expected < 4
    assert plan_stages(spec, space, 6000).supernet_steps > 100


@pytest.mark.parametrize("algorithm", ALGORITHM_ROWS, ids=str)
@pytest.mark.parametrize("num_selection", [0, 500, 6000])
def test_the_shares_of_the_stages_are_the_whole_plan(algorithm: dict[str, Any], num_selection: int) -> None:
    """Whatever the algorithm, what the stages may spend adds up to what is predicted."""
    spec, space = _images("8", algorithm)
    plan = plan_stages(spec, space, num_selection)

    assert sum(stage_trainings(plan).values()) == pytest.approx(plan.predicted_trainings)
    assert all(trainings > 0 for trainings in stage_trainings(plan).values())


def test_a_supernet_with_too_few_rewards_for_its_decisions_is_warned_of() -> None:
    """13 decisions want 130 rewarded steps; a share that pays for fewer is named, one that pays for more is not."""
    spec, space = _images("4")
    short, enough = plan_stages(spec, space, 6000), plan_stages(*_images("8"), 6000)
    rewarded = short.supernet_steps - short.warmup_steps

    assert rewarded < 13 * REWARDS_PER_DECISION <= enough.supernet_steps - enough.warmup_steps
    assert short_supernet(spec, space, short) == (
        f"the supernet gets {rewarded} rewarded steps for 13 architecture decisions, and below 130 (10 each) its proposals are little"
        " better than chance: raise budget.trainings or training.steps, or search fewer decisions"
    )
    assert short_supernet(*_images("8"), enough) is None


@pytest.mark.parametrize("algorithm", ALGORITHM_ROWS[2:], ids=str)
def test_without_a_controller_there_is_no_such_warning(algorithm: dict[str, Any]) -> None:
    """RandomSharing, RandomSearch and the default strategy learn no policy."""
    spec, space = _images("4", algorithm)

    assert short_supernet(spec, space, plan_stages(spec, space)) is None


@pytest.mark.parametrize("trainings", ["3.6", "4", "4.7"])
def test_the_largest_selection_split_is_the_last_that_the_budget_pays_for(trainings: str) -> None:
    """One example more costs more than the budget."""
    spec, space = _images(trainings)
    most = largest_selection(spec, space)

    assert most is not None
    assert minimum_trainings(spec, space, most) <= float(trainings) < minimum_trainings(spec, space, most + 1)


def test_a_budget_that_pays_for_any_split_has_no_largest() -> None:
    """With 100 million steps a training, a thousand million examples are little."""
    document = with_change(with_change(a_search(), "spec.training.steps", 100_000_000), "spec.budget.trainings", "9")
    search, space = accept(document)

    assert largest_selection(search.spec, space) is None


def test_validate_says_how_large_the_data_may_be() -> None:
    """The share of each stage; then, for data that is not known yet, the limit in examples."""
    spec, space = _images("4")
    shares, limit = plan_lines(spec, space)
    most = largest_selection(spec, space)

    assert most is not None
    assert shares == (
        "trainings per stage: Lanes 0.56, Warmup 0.20, Supernet 0.80, Race 2.44; comparisons, whose price the data decide, take their part"
        " of it"
    )
    assert limit == (
        f"the budget pays for the comparisons of a selection split of {most:,} examples at most ({10 * most:,} training examples):"
        " with more the search is refused when the data is read"
    )


def test_the_default_strategy_has_lanes_and_a_race() -> None:
    """Of 300 steps: 15 lanes of 34; three leaders and the default for 66 more, one leader and the default for the last 200."""
    assert plan_lines(*_images("4", {}))[0].startswith("trainings per stage: Lanes 1.70, Race 2.21; ")


def test_a_budget_without_a_comparison_is_warned_of() -> None:
    """At the smallest budget for its stages nothing is left for comparisons, however small the data."""
    document = with_change(with_change(a_search(), "spec.training.steps", 60), "spec.budget.trainings", "3.25")
    search, space = accept(with_change(document, "spec.algorithm", LANES))

    assert largest_selection(search.spec, space) == 0
    assert plan_lines(search.spec, space)[1] == (
        "warning: the budget pays for no comparison of candidates: the search is refused when the data is read; raise budget.trainings or"
        " training.steps"
    )


def test_data_of_known_size_needs_no_limit() -> None:
    """At most 2,000 training images are 200 for selection, which the budget pays for."""
    spec, space = _images("4")
    data = spec.task.data.replace(arguments={"trainLimit": "2000"})
    bounded = spec.replace(task=spec.task.replace(data=data))

    assert len(plan_lines(bounded, space)) == 1


def test_a_space_of_one_configuration_is_refused_in_one_sentence() -> None:
    """There is nothing to compare: the sentence says what to do instead."""
    single = [
        {"name": name, "choices": [choice], "default": choice}
        for name, choice in (("depth", "1"), ("width_1", "32"), ("activation", "relu"))
    ]
    document = with_change(a_search(), "spec.searchSpace", {"architecture": {"decisions": single}})
    with pytest.raises(SpecError) as caught:
        accept(document)

    sentence = (
        "spec.searchSpace: nothing to search: every decision that can be active has one choice; give a decision another choice, or train"
        " the one configuration by autohas retrain"
    )
    assert [str(problem) for problem in caught.value.field_errors] == [sentence]


def test_volumes_that_no_container_mounts_are_warned_of() -> None:
    """Both are named in one line, and none where each is mounted."""
    volumes: list[dict[str, Any]] = [{"name": name, "emptyDir": {}} for name in ("one", "two")]
    idle, _ = accept(with_change(a_search(), "spec.trainer", {"volumes": volumes}))
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("one", "two")]
    used, space = accept(with_change(a_search(), "spec.trainer", {"volumes": volumes, "volumeMounts": mounts}))

    sentence = "no container mounts the volumes one, two of spec.trainer.volumes: add them to spec.trainer.volumeMounts, or remove them"
    assert f"warning: {sentence}" in plan_lines(idle.spec, space)
    assert not any("volume" in line for line in plan_lines(used.spec, space))


@pytest.mark.parametrize(
    ("trainings", "seeds", "spent"),
    [("4", 1, "1"), ("1.2", 1, "1"), ("4", 3, "3"), ("1", 1, None), ("1.1", 1, None), ("4", 4, None)],
)
def test_a_budget_that_no_search_spends_is_warned_of(trainings: str, seeds: int, spent: str | None) -> None:
    """DefaultOnly spends one training and its repeats; a remainder below the first ninth is no reason for a sentence."""
    document = with_change(with_change(a_search(), "spec.algorithm", {"name": "DefaultOnly"}), "spec.budget.trainings", trainings)
    search, space = accept(with_change(document, "spec.training.seeds", seeds))

    warnings = [line for line in plan_lines(search.spec, space) if "budget.trainings" in line]
    sentence = (
        f"warning: DefaultOnly trains the default once and spends {spent} of the {trainings} trainings of budget.trainings: raise"
        " training.steps or training.epochs for a longer training"
    )
    assert warnings == ([] if spent is None else [sentence])


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("RandomSearch", ["trials: 4 with the default, if each costs as much as it"]),
        (
            "SuccessiveHalving",
            ["trials: 9 with the default, if each costs as much as it", "a bracket trains 9 to 1/9, 3 to 1/3, 1 to the end"],
        ),
        (
            "Hyperband",
            [
                "trials: 9 with the default, if each costs as much as it",
                "a bracket trains 9 to 1/9, 3 to 1/3, 1 to the end; then 5 to 1/3, 1 to the end; then 3 to the end",
            ],
        ),
    ],
)
def test_the_trials_of_a_multi_trial_search_are_shown(name: str, lines: list[str]) -> None:
    """Of 4 trainings: 1 for the default, 20/9 for the rest of the first bracket, and less than 1 is left."""
    search, space = accept(with_change(a_search(), "spec.algorithm", {"name": name}))
    assert plan_lines(search.spec, space)[1 : 1 + len(lines)] == lines


def test_more_trials_than_configurations_are_warned_of() -> None:
    """Three depths, the rest pinned: the default and two more of nine."""
    pinned = [{"name": d.name, "choices": [d.default]} for d in TEMPLATES["mlp-small"].decisions if d.name != "depth"]
    document = with_change(a_search(), "spec.algorithm", {"name": "SuccessiveHalving"})
    search, space = accept(with_change(document, "spec.searchSpace", {"architecture": {"decisions": pinned}}))
    assert plan_lines(search.spec, space)[3] == (
        "warning: the space has 3 configurations, and the budget pays for 9 trials: the search ends when each was tried; lower"
        " budget.trainings, or train longer"
    )
