"""What each method of a comparison changes of the user's search, and which methods a search does not allow."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.accept.comparison import (
    AS_LONG,
    METHODS,
    OWN,
    choose_methods,
    count_runs,
    describe_comparison,
    label_search,
    search_of,
    without_comparison,
)
from autohas_api.spec.search import Search
from autohas_api.testing.rejections import a_search, with_change

BY_NAME = {method.name: method for method in METHODS}


def _search(**fields: Any) -> Search:
    document = a_search()
    for field, value in fields.items():
        document = with_change(document, "spec." + field.replace("__", "."), value)
    return accept(document)[0]


def test_the_user_s_search_runs_as_it_stands_with_another_seed() -> None:
    """The run is the file with the seed set and without `compare`, so that its first run is what `autohas run` gives."""
    search = _search(algorithm={"name": "AutoHAS", "seed": 7})
    comparing = _search(algorithm={"name": "AutoHAS", "seed": 7, "compare": {"seeds": 2}})

    assert search_of(BY_NAME[OWN], search, 7) == search == search_of(BY_NAME[OWN], comparing, 7) == without_comparison(comparing)
    assert search_of(BY_NAME[OWN], search, 8) == _search(algorithm={"name": "AutoHAS", "seed": 8})


def test_no_run_compares_again() -> None:
    """`compare` is of the whole comparison: every method runs without it."""
    search = _search(algorithm={"name": "AutoHAS", "compare": {"seeds": 2}}, budget={"trainings": "6"})

    assert [search_of(method, search, 0).spec.algorithm.compare for method in METHODS] == [None] * 4


def test_what_a_comparison_costs_is_said() -> None:
    """Five seeds of four methods at six trainings are 120 trainings; each run may take maxActiveSeconds."""
    plain, compare = {"name": "AutoHAS"}, {"name": "AutoHAS", "compare": {"seeds": 5}}
    search = _search(algorithm=compare, budget={"trainings": "6"})
    limited = _search(algorithm=compare, budget={"trainings": "6", "maxActiveSeconds": 60})

    assert count_runs(search) == 20
    assert describe_comparison(search) == "4 methods with 5 seeds are 20 runs of 6 trainings each, 120 in all"
    assert (describe_comparison(limited) or "").endswith("budget.maxActiveSeconds is the limit of one run: all may take 1,200 s")
    assert (count_runs(_search(algorithm=plain)), describe_comparison(_search(algorithm=plain))) == (1, None)


def test_a_method_that_cannot_run_is_named_with_what_a_comparison_costs() -> None:
    """Four trainings pay for no TPE: three methods remain."""
    search = _search(algorithm={"name": "AutoHAS", "compare": {"seeds": 1}}, budget={"trainings": "4"})
    text = describe_comparison(search) or ""

    assert text.startswith("3 methods with 1 seed are 3 runs of 4 trainings each, 12 in all; TPE with halving is left out: spec.budget")
    assert count_runs(search) == 3


def test_repeats_of_the_winner_and_their_price_are_left_out() -> None:
    """Three trainings of the winner of 8 trainings leave 6 to search with; the winner is then trained once."""
    search = _search(training={"steps": 27, "seeds": 3}, budget={"trainings": "8"})
    run = search_of(BY_NAME[OWN], search, 0).spec

    assert (run.training.seeds, run.budget.trainings) == (1, "6")


@pytest.mark.parametrize(
    ("training", "expected"),
    [({"steps": 27}, {"steps": 148, "seeds": 1}), ({"epochs": "0.3"}, {"epochs": "1.65", "seeds": 1})],
    ids=["steps", "epochs"],
)
def test_the_default_as_long_takes_the_whole_budget_in_one_training(training: dict[str, Any], expected: dict[str, Any]) -> None:
    """5.5 times 27 steps are 148.5, rounded to the even 148; 5.5 times 0.3 epochs are exactly 1.65."""
    search = _search(training=training, budget={"trainings": "5.5"}, objective={"goal": "0.9"})
    run = search_of(BY_NAME[AS_LONG], search, 0).spec

    assert run.algorithm.name == "DefaultOnly"
    assert run.training.to_json() == expected
    assert run.budget.trainings == "1"
    assert run.objective.goal is None


def test_settings_of_a_controller_do_not_stop_the_other_methods() -> None:
    """Mixing and early stopping belong to the user's algorithm: the others run without them, and accept the rest of the file."""
    rate = {"name": "learning_rate", "continuous": {"min": "0.03", "max": "3", "scale": "Log", "numBases": 3, "mixing": "TopK"}}
    search = _search(
        algorithm={"name": "AutoHAS", "autoHAS": {"strategy": "OneStep"}},
        searchSpace__hyperparameters=[rate],
        budget={"trainings": "6", "earlyStopping": {"normalizedEntropyBelow": "0.1"}},
        searchSpace__initialPoints=[{"values": {"learning_rate": "0.3"}}],
    )
    chosen, left_out = choose_methods(search)

    assert [method.name for method in chosen] == [method.name for method in METHODS]
    assert left_out == []
    for method in chosen:
        accept(search_of(method, search, 3).to_json())


def test_a_method_that_is_the_search_itself_is_left_out() -> None:
    """A random search with halving is not compared with itself."""
    chosen, left_out = choose_methods(_search(algorithm={"name": "SuccessiveHalving"}, budget={"trainings": "5.5"}))

    assert [method.name for method in chosen] == [OWN, "tpe-halving", AS_LONG]
    assert [(left.title, left.reason) for left in left_out] == [("random search with halving", "it is your search itself")]


def test_a_budget_below_a_method_s_minimum_leaves_it_out_with_the_reason() -> None:
    """With three initial points random trials need more than RandomSharing, which scores them, so that 2.1 trainings are too few."""
    rate = a_search()["spec"]["searchSpace"]["hyperparameters"][0]
    search = _search(
        algorithm={"name": "RandomSharing", "randomSharing": {"numSamples": 6}},
        searchSpace__hyperparameters=[rate],
        searchSpace__initialPoints=[{"values": {"learning_rate": value}} for value in ("0.03", "0.3", "3")],
        budget={"trainings": "2.1"},
    )
    chosen, left_out = choose_methods(search)

    assert [method.name for method in chosen] == [OWN, AS_LONG]
    assert [left.title for left in left_out] == ["random search with halving", "TPE with halving"]
    assert left_out[0].reason.startswith("spec.budget.trainings: must be at least 2.22 for this space and algorithm: 2.1 does not")


def test_a_training_that_would_be_too_long_is_left_out() -> None:
    """5.5 times 50 million steps are more than a training may have: the default as long is not trained shorter than the others work."""
    left_out = choose_methods(_search(training={"steps": 50_000_000}, budget={"trainings": "5.5"}))[1]

    reasons = {left.title: left.reason for left in left_out}
    assert "spec.training.steps" in reasons["the default trained as long"]


@pytest.mark.parametrize(("schedule", "decay"), [("WSD", "0.5"), ("Constant", None)])
def test_the_default_of_a_search_for_a_model_is_that_of_all_methods(schedule: str, decay: str | None) -> None:
    """Without `for` the rate of WSD would fall over a fifth of the steps, and the default would be another one."""
    search = _search(training={"steps": 300}, budget={"trainings": "6", "for": "Model"}, task__recipe={"schedule": schedule})

    for method in METHODS[1:]:
        run = search_of(method, search, 0).spec
        assert (run.budget.purpose, run.task.recipe.decay_fraction) == (None, decay)
        accept(search_of(method, search, 0).to_json())


@pytest.mark.parametrize(("purpose", "label"), [({}, "AutoHAS OneFactor"), ({"for": "Model"}, "AutoHAS OneFactor, for a model")])
def test_the_label_says_what_the_budget_is_for(purpose: dict[str, str], label: str) -> None:
    """A table that names the user's search by its algorithm tells a search for a model from one for a configuration."""
    search = _search(
        task__recipe={"schedule": "WSD"},
        training={"steps": 300},
        algorithm={"name": "AutoHAS", "autoHAS": {"strategy": "OneFactor"}},
        budget={"trainings": "6", **purpose},
    )

    assert label_search(search) == label
