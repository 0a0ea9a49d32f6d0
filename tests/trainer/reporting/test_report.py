"""The report: self-contained, right about the answer, and in words where a search has nothing to draw."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import Effect, RunnerUp
from autohas_trainer.cli.printing import print_result
from autohas_trainer.errors import DataError
from autohas_trainer.events import CandidateRecord, ModelBudget, StageUse
from autohas_trainer.reporting.report.report import render, write_report
from autohas_trainer.reporting.sinks.history import History
from autohas_trainer.reporting.sinks.result_files import FinishedSearch
from reporting_fixtures import DIGEST, ENVIRONMENT, candidate, outcome, policy, run_info, supernet_step, with_lanes, without_architecture

RACE = tuple(
    candidate(name, fraction, score, cost=0.3 + index)
    for index, (name, fraction, score) in enumerate(
        [("default", 1 / 9, 0.5), ("argmax", 1 / 9, 0.6), ("lane <3>", 1 / 9, None), ("default", 1.0, 0.82), ("argmax", 1.0, 0.91)]
    )
)


def _finished(tmp_path: Path, document: dict[str, Any], *, candidates: tuple[CandidateRecord, ...] = RACE, **scores: Any) -> FinishedSearch:
    info = run_info(tmp_path, document)
    return FinishedSearch(
        search=info.search,
        space=info.space,
        search_digest=DIGEST,
        outcome=outcome(info, candidates=candidates, **scores),
        environment=ENVIRONMENT,
        starts=2,
        steps=27,
    )


def _history(steps: int = 30) -> History:
    rows: dict[str, Sequence[float]] = {"depth": (0.2, 0.5, 0.3), "activation": (0.4, 0.4, 0.2)}
    positions = range(1, steps + 1)
    return History(
        steps=tuple(supernet_step(s, reward=0.3 + 0.01 * s) for s in positions),
        policies=tuple(policy(s, rows) for s in positions),
        candidates=RACE,
    )


NOTHING = History(steps=(), policies=(), candidates=())


def _words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<(svg|style).*?</\1>", " ", page, flags=re.DOTALL))).split())


def test_the_heading_answers_in_one_sentence(tmp_path: Path) -> None:
    """Score, distance to the default, cost."""
    words = _words(render(_finished(tmp_path, a_search()), _history(), None))
    assert "The chosen configuration reaches 90.00 % test accuracy, 10.00 points better than the default's 80.00 %." in words
    assert "3.96 trainings in 39 s" in words


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    """No scripts, no links, no fonts, no pictures by address."""
    page = render(_finished(tmp_path, a_search()), _history(), None)
    assert page.count("<svg") == 4
    addresses = set(re.findall(r'(?:href|src)="([^"#][^"]*)"', page))
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "<script" not in page
    assert "url(http" not in page
    assert "@import" not in page


def test_figures_take_their_colours_from_the_page(tmp_path: Path) -> None:
    """No stand-in colour is left, so both schemes work."""
    page = render(_finished(tmp_path, a_search()), _history(), None)
    assert not re.search(r"#0[1-7]0[1-7]0[1-7]", page)
    assert "var(--accent)" in page
    assert "prefers-color-scheme: dark" in page


def test_the_same_search_gives_the_same_page(tmp_path: Path) -> None:
    """No dates and no random identifiers."""
    found = _finished(tmp_path, a_search())
    assert render(found, _history(), None) == render(found, _history(), None)


def test_names_are_escaped(tmp_path: Path) -> None:
    """A candidate's name is text, not markup."""
    assert "<3>" not in render(_finished(tmp_path, a_search()), _history(), None)


def test_a_kept_default_is_said_plainly(tmp_path: Path) -> None:
    """An honest search may find nothing better."""
    found = _finished(tmp_path, a_search())
    kept = replace(found, outcome=replace(found.outcome, winner="default", configuration=found.outcome.default))
    assert "Nothing beat the default configuration: it reaches 90.00 % test accuracy." in _words(render(kept, _history(), None))


def test_a_default_that_met_no_other_configuration_has_beaten_none(tmp_path: Path) -> None:
    """A search for a model may end before its first lane: the page and the console say that nothing was compared."""
    found = _finished(tmp_path, a_search())
    alone = tuple(record for record in found.outcome.candidates if record.name == "default")
    assert alone
    kept = replace(found, outcome=replace(found.outcome, winner="default", configuration=found.outcome.default, candidates=alone))
    printed = io.StringIO()
    print_result(Console(file=printed, width=200), kept, tmp_path, None)
    words = _words(render(kept, _history(), None))

    start = "No other configuration was compared with the default configuration: "
    assert f"{start}it reaches 90.00 % test accuracy." in words
    assert f"{start}test accuracy 90.00 %" in printed.getvalue()
    assert "Nothing beat" not in words + printed.getvalue()


def test_the_note_says_how_far_another_seed_can_move_the_scores(tmp_path: Path) -> None:
    """Points for shares; where the metric has a unit of its own, only that another seed gives other numbers; and the command to check."""
    accuracy = _words(render(_finished(tmp_path, a_search()), _history(), None))
    assert "(seed 0); another seed can move each by a point or two: check with autohas retrain config.yaml --seeds 5 ." in accuracy
    loss = _words(render(_finished(tmp_path, with_change(a_search(), "spec.objective", {"metric": "log_loss"})), _history(), None))
    assert "another seed gives other numbers: check with autohas retrain config.yaml --seeds 5 ." in loss


def test_the_hardware_that_repeats_the_bits_is_named(tmp_path: Path) -> None:
    """CPU model and instruction set where they were recorded; an earlier version recorded the architecture alone."""
    found = _finished(tmp_path, a_search())
    recorded = replace(found, environment=replace(ENVIRONMENT, cpu="AMD EPYC 9B14", instructions="AVX512"))
    assert "torch 2.13.0; cpu: AMD EPYC 9B14, AVX512, 1 thread" in _words(render(recorded, _history(), None))
    assert "torch 2.13.0; cpu: x86_64, 1 thread" in _words(render(found, _history(), None))


def test_a_worse_test_score_is_not_hidden(tmp_path: Path) -> None:
    """Selection may mislead; the page says worse."""
    words = _words(render(_finished(tmp_path, a_search(), test=0.79), _history(), None))
    assert "1.00 points worse than the default's 80.00 %" in words


def test_a_controller_without_rewards_shows_its_entropy(tmp_path: Path) -> None:
    """Paired over hyperparameters only learns from differences: there is entropy to draw, and a sentence says why no reward is."""
    document = with_change(a_search(), "spec.algorithm", {"name": "AutoHAS", "autoHAS": {"strategy": "Paired"}})
    document = with_change(document, "spec.searchSpace.hyperparameters", document["spec"]["searchSpace"]["hyperparameters"][:1])
    silent = replace(_history(), steps=tuple(replace(step, reward=None) for step in _history().steps))
    page = render(_finished(tmp_path, document), silent, None)
    words = _words(page)
    assert 'aria-label="Entropy of the controller' in page
    assert "so no reward is drawn. Entropy falls as the controller decides" in words
    assert "the line is the mean reward" not in words
    assert "samples uniformly" not in words


def test_a_search_that_left_its_warm_up_early_does_not_claim_to_sample_uniformly(tmp_path: Path) -> None:
    """Out of time before the first sample was rewarded: AutoHAS has a controller, which has learned nothing."""
    words = _words(render(_finished(tmp_path, with_lanes()), replace(NOTHING, candidates=RACE), None))
    assert "The search continued with its race before the controller had learned from a sample." in words
    assert "samples uniformly" not in words


@pytest.mark.parametrize("strategy", ["OneStep", "Paired"])
def test_a_strategy_without_lanes_is_named(strategy: str, tmp_path: Path) -> None:
    """The report says where hyperparameters were searched instead."""
    document = with_change(a_search(), "spec.algorithm", {"name": "AutoHAS", "autoHAS": {"strategy": strategy}})
    document = with_change(document, "spec.searchSpace.hyperparameters", document["spec"]["searchSpace"]["hyperparameters"][:1])
    found = _finished(tmp_path, document)
    outcome = replace(found.outcome, cost_by_stage={"Supernet": 1.0, "Race": 1.0, "Evaluate": 1.0})
    words = _words(render(replace(found, outcome=outcome), _history(), None))

    assert f"No lanes: strategy {strategy} searches hyperparameters inside the supernet." in words


def test_random_sharing_says_what_it_does_not_do(tmp_path: Path) -> None:
    """No race, no controller, no default: sentences instead of empty plots."""
    document = with_change(a_search(), "spec.algorithm", {"name": "RandomSharing", "randomSharing": {"numSamples": 5}})
    document = with_change(document, "spec.searchSpace.hyperparameters", document["spec"]["searchSpace"]["hyperparameters"][:1])
    found = _finished(tmp_path, document, candidates=(), default_test=None)
    page = render(replace(found, outcome=replace(found.outcome, cost_by_stage={"Supernet": 1.0, "Evaluate": 1.0})), NOTHING, None)
    words = _words(page)
    assert "<svg" not in page
    assert "not trained by this algorithm" in words
    assert "RandomSharing has no race" in words
    assert "RandomSharing samples uniformly: there is no controller that learns." in words
    assert "No lanes: this algorithm has none." in words


def test_hyperparameters_only_has_a_race_and_no_controller(tmp_path: Path) -> None:
    """The controller's place is taken by a sentence."""
    found = _finished(tmp_path, without_architecture())
    cost = {"Lanes": 1.5, "Race": 1.4}
    page = render(replace(found, outcome=replace(found.outcome, cost_by_stage=cost)), NOTHING, None)
    assert page.count("<svg") == 2
    assert "No architecture was searched, so there are no shared weights and no controller" in _words(page)


def test_every_rung_has_a_column_and_its_correlation_with_later_ones(tmp_path: Path) -> None:
    """Four rungs; three candidates reached 1/27 and 1/9 (orders 0 1 2 and 0 2 1: 0.5), two the others, which are too few."""
    document = with_change(a_search(), "spec.algorithm", {"name": "Hyperband"})
    document = with_change(document, "spec.budget.rungs", {"eta": 3, "count": 4})
    scores = {1 / 27: (0.1, 0.2, 0.3), 1 / 9: (0.4, 0.6, 0.5), 1 / 3: (0.7, 0.8), 1.0: (0.8, 0.9)}
    names = ("default", "argmax", "trial 1")
    candidates = tuple(
        candidate(name, fraction, score) for fraction, row in scores.items() for name, score in zip(names, row, strict=False)
    )
    words = _words(render(_finished(tmp_path, document, candidates=candidates), NOTHING, None))
    assert "Candidate at 1/27 at 1/9 at 1/3 at the end" in words
    assert "10.00 40.00 70.00 80.00" in words
    assert "Rung predicts correlation candidates 1/27 1/9 0.50 3 " in words
    assert "Only survivors reach later rungs" in words


def test_a_race_of_two_candidates_says_nothing_about_its_rungs(tmp_path: Path) -> None:
    """Two have a correlation of 1 or -1, whatever the rungs are worth."""
    assert "How well a rung predicts" not in _words(render(_finished(tmp_path, with_lanes()), NOTHING, None))


def test_many_decisions_are_shown_in_part_and_counted(tmp_path: Path) -> None:
    """A page has room for 24 panels; the rest is named as missing."""
    found = _finished(tmp_path, a_search())
    extra = tuple(replace(found.space.decisions[-1], name=f"d{i}") for i in range(30))
    values = dict.fromkeys((d.name for d in extra), extra[0].choices[0])
    wide = replace(
        found,
        space=replace(found.space, decisions=(*found.space.decisions, *extra)),
        outcome=replace(
            found.outcome,
            configuration={**found.outcome.configuration, **values},
            default={**found.outcome.default, **values},
        ),
    )
    policies = tuple(policy(s, {d.name: (0.5, 0.25, 0.25) for d in extra}) for s in (1, 2))
    assert "6 further decisions are in history.jsonl" in _words(render(wide, replace(_history(), policies=policies), None))


EFFECTS = (
    Effect(decision="learning_rate", value="3", effect=-0.9, standard_error=0.02),
    Effect(decision="depth", value="3", effect=0.0155, standard_error=0.005),
    Effect(decision="depth", value="1", effect=-0.004, standard_error=0.0061),
)


def _with_effects(tmp_path: Path, effects: tuple[Effect, ...]) -> FinishedSearch:
    found = _finished(tmp_path, a_search())
    return replace(found, outcome=replace(found.outcome, effects=effects))


def test_effects_are_drawn_and_listed_with_their_errors(tmp_path: Path) -> None:
    """A figure with the values as text, and a table: decision, new value, default, effect and error in percent."""
    page = render(_with_effects(tmp_path, EFFECTS), _history(), None)
    section = page.partition("<h2>What the changes did</h2>")[2].partition("<h2>")[0]

    figure = html.unescape(re.sub(r"<[^>]*>", " ", section.partition("<svg")[2].partition("</svg>")[0]))
    assert "learning_rate: 3" in figure
    assert all(text in figure for text in ("-90.00 ± 2.00 %", "+1.55 ± 0.50 %", "-0.40 ± 0.61 %"))
    words = _words(section)
    assert "depth 3 2 +1.55 0.50 depth 1 2 -0.40 0.61" in words
    assert "The same as a table" in words


def test_the_runners_up_are_listed_with_what_they_change(tmp_path: Path) -> None:
    """Score in the metric's unit, share of a training, size, and the decisions that differ; a result without any has no section."""
    found = _finished(tmp_path, a_search())
    second = RunnerUp(name="depth 3", fraction=1 / 3, score=0.891, parameters=23456, changes={"depth": "3", "learning_rate": "0.3"})
    shown = replace(found, outcome=replace(found.outcome, result=found.outcome.result.replace(runners_up=[second])))

    assert "depth 3 89.10 % 33.3 % 23,456 depth 3, learning_rate 0.3" in _words(render(shown, _history(), None))
    assert "Runners-up" not in _words(render(found, _history(), None))


def test_a_long_list_of_effects_is_whole_in_the_table(tmp_path: Path) -> None:
    """The figure stays readable: the page says how many bars it leaves out."""
    many = tuple(Effect(decision="depth", value="3", effect=0.001 * (40 - n), standard_error=0.001) for n in range(30))
    page = render(_with_effects(tmp_path, many), _history(), None)

    assert "All 30 effects, of which the figure shows the 24 largest" in _words(page)
    assert page.count("± 0.10 %") == 24


def test_an_algorithm_without_effects_has_no_section_about_them(tmp_path: Path) -> None:
    """No empty heading."""
    assert "What the changes did" not in render(_finished(tmp_path, a_search()), _history(), None)


def test_the_console_names_the_two_largest_effects(tmp_path: Path) -> None:
    """Largest by size, whatever the sign; nothing is printed where there are no effects."""
    text = io.StringIO()
    console = Console(file=text, width=200)
    print_result(console, _with_effects(tmp_path, EFFECTS), tmp_path, None)

    sentence = "Largest effects of single changes, after 1/9 of a training, in % of the loss of a constant answer: "
    assert f"{sentence}learning_rate 3: -90.00 ± 2.00 %; depth 3: +1.55 ± 0.50 %\n" in text.getvalue()
    print_result(console, _finished(tmp_path, a_search()), tmp_path, None)
    assert text.getvalue().count(sentence) == 1


def test_a_damaged_history_is_a_data_error(tmp_path: Path) -> None:
    """The report says which line, and is not written."""
    (tmp_path / "history.jsonl").write_text("{\n")
    with pytest.raises(DataError, match=r"history\.jsonl:1: damaged line"):
        write_report(tmp_path, _finished(tmp_path, a_search()))
    assert not (tmp_path / "report.html").exists()


def test_the_stages_show_speed_waiting_and_memory_where_they_are_known(tmp_path: Path) -> None:
    """3,000 examples in 15 s, of which 1.5 s waited; the peak of the device before that of the process; MFU only on a listed GPU."""
    use = StageUse(num_examples=3000, flops=15 * 3.03e12, waited_s=1.5, peak_memory={"process": 5 << 30, "device": 3 << 29})
    finished = _finished(tmp_path, with_lanes())
    finished = replace(finished, outcome=replace(finished.outcome, use_by_stage={"Lanes": use}))
    on_gpu = replace(finished, environment=replace(ENVIRONMENT, gpu="NVIDIA L4"))
    plain, with_mfu = (re.findall(r"<tr><td>Lanes</td>.*?</tr>", render(each, NOTHING, None))[0] for each in (finished, on_gpu))

    assert re.findall(r'class="number">(.*?)<', plain)[2:] == ["200", "10.0 %", "1.5 GiB"]
    assert re.findall(r'class="number">(.*?)<', with_mfu)[2:] == ["200", "10.0 %", "10.0 %", "1.5 GiB"]
    assert "MFU" not in render(finished, NOTHING, None)


def test_the_parent_of_a_bred_trial_is_named(tmp_path: Path) -> None:
    """Next to the winner's mark, and alone; a trial that was drawn has none."""
    document = with_change(a_search(), "spec.algorithm", {"name": "RegularizedEvolution", "regularizedEvolution": {"population": 2}})
    trials = (
        candidate("default", 1.0, 0.82),
        candidate("trial 1", 1.0, 0.83),
        candidate("trial 2", 1.0, 0.91, parent="trial 1"),
        candidate("trial 3", 1.0, 0.7, parent="default"),
    )
    finished = _finished(tmp_path, document, candidates=trials)
    winner = replace(finished, outcome=replace(finished.outcome, winner="trial 2"))
    words = _words(render(winner, NOTHING, None))

    assert "trial 2 91.00 the result, child of trial 1 trial 1 83.00 default 82.00 control trial 3 70.00 child of default" in words
    assert "a copy of its parent with one decision changed" in words


def test_a_search_for_a_model_says_how_it_split_its_budget(tmp_path: Path) -> None:
    """Steps, the fall of the rate, the curve and why the search ended, on page and console; result.json has the same."""
    split = ModelBudget(trained=4.5, searched=1.5, steps=1350, decay_from=1080, gain_of_twice=0.125, value=0.01, price=0.02)
    document = with_change(
        with_change(a_search(), "spec.budget", {"trainings": "40", "for": "Model"}), "spec.task.recipe", {"schedule": "WSD"}
    )
    finished = _finished(tmp_path, document, default_test=None)
    finished = replace(finished, outcome=replace(finished.outcome, model_budget=split))
    sentence = (
        "The model took 4.50 trainings (1,350 steps, with a rate that falls from step 1,080 on); the search and the comparisons took 1.50."
        " By its own curve the default would lose 12.5 % of its error in twice as many trainings. The search ended: one more lane promises"
        " 1.00 % of the error, and the same work of training 2.00 %."
    )
    output = io.StringIO()
    print_result(Console(file=output, width=400), finished, tmp_path, None)

    words = _words(render(finished, NOTHING, None))
    assert sentence in words
    assert "not trained as long" in words
    assert sentence in " ".join(output.getvalue().split())
