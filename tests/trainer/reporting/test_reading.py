"""The report can be read by a person who has read nothing else: order, names, labels, and lines that break where they may."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autohas_trainer
from autohas_api.algorithms.random_sharing import RANDOM_SHARING
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.reporting.report import charts
from autohas_trainer.reporting.report.candidate_names import CANDIDATES, explain_candidates
from autohas_trainer.reporting.report.report import render
from autohas_trainer.reporting.sinks.history import History
from autohas_trainer.reporting.sinks.result_files import FinishedSearch
from reporting_fixtures import DIGEST, ENVIRONMENT, candidate, outcome, run_info

NOTHING = History(steps=(), policies=(), candidates=())
RACE = tuple(candidate(name, 1 / 9, 0.5, cost=0.3) for name in ("default", "lane 5", "default architecture", "argmax", "sample 1"))


def page(tmp_path: Path, document: dict[str, Any] | None = None, **changes: Any) -> str:
    info = run_info(tmp_path, document or a_search())
    found = replace(outcome(info, candidates=RACE), **changes)
    finished = FinishedSearch(
        search=info.search, space=info.space, search_digest=DIGEST, outcome=found, environment=ENVIRONMENT, starts=1, steps=27
    )
    return render(finished, NOTHING, None)


def choices(text: str, decision: str) -> list[str]:
    """The choices of a decision in the order of the table."""
    (row,) = re.findall(rf'<td class="name">{decision}</td>.*?</tr>', text, flags=re.DOTALL)
    return re.findall(r'<span class="choice[^"]*">([^<]*)</span>', row)


@pytest.mark.parametrize("rate", ["0.07", "0.001", "5"])
def test_a_default_between_bases_is_sorted_in(tmp_path: Path, rate: str) -> None:
    """Below, between and above the three bases of the range: one row of numbers that rises."""
    shown = choices(page(tmp_path, with_change(a_search(), "spec.task.recipe", {"learningRate": rate})), "learning_rate")

    assert rate in shown
    assert len(shown) == 4
    assert shown == sorted(shown, key=float)


def test_every_kind_of_candidate_is_explained(tmp_path: Path) -> None:
    """Those of this race and no others, above its figure and table."""
    text = page(tmp_path)
    (listed,) = re.findall(r'<dl class="facts names">(.*?)</dl>', text, flags=re.DOTALL)

    assert re.findall(r"<dt>([^<]*)</dt>", listed) == ["default", "lane …", "default architecture", "argmax", "sample …"]
    assert "likeliest choice for every decision" in listed
    assert text.index("names") < text.index("<th>Candidate</th>")


def test_every_name_that_an_algorithm_gives_has_its_explanation() -> None:
    """Read off the trainer's own code: a new kind of candidate needs a sentence."""
    sources = Path(autohas_trainer.__file__).parent
    texts = [path.read_text() for folder in ("algorithms", "engine") for path in (sources / folder).rglob("*.py")]
    given = {name.strip() for text in texts for name in re.findall(r'(?:Candidate\(\s*name=|enter\()f?"([a-z ]+)', text)}

    assert given >= {"argmax", "lane", "sample", "trial"}
    assert given - CANDIDATES.keys() == set()


def test_samples_without_a_controller_are_no_proposals_of_one() -> None:
    """RandomSharing draws uniformly."""
    assert explain_candidates(["sample 3"], overrides=RANDOM_SHARING.candidate_texts, decisions=()) == {
        "sample …": "a network drawn at random and scored on the shared weights; its number says which one it was"
    }


def test_a_candidate_named_after_its_change_is_explained_with_the_numbered_ones() -> None:
    """Strategy OneFactor: a word, a number and a decision that is called seed; what is no decision stays without a sentence."""
    names = ["default", "activation silu", "seed: 3", "combination 2", "refinement 1", "initial 1", "unknown 3"]
    explained = explain_candidates(names, overrides={}, decisions=["activation", "seed"])

    assert list(explained) == ["default", "initial …", "combination …", "refinement …", "a decision and its value"]
    assert "a decision and its value" not in explain_candidates(["default", "unknown 3"], overrides={}, decisions=["activation"])


SPANS = {
    Stage.LANES: (0.0, 2.0),
    Stage.WARMUP: (2.0, 2.02),
    Stage.SUPERNET: (2.02, 2.1),
    Stage.RACE: (2.1, 2.2),
    Stage.EVALUATE: (3.99, 4.0),
}
TEXT = re.compile(r'<text [^>]*?x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]+)</text>')


def test_every_stage_has_its_name_and_no_two_touch() -> None:
    """Also bands that are narrower than their names: these stand higher."""
    svg = charts.story_chart((), RACE, "argmax", SPANS)
    placed = {name: (float(x), float(y)) for x, y, name in TEXT.findall(svg) if name in {stage.value for stage in SPANS}}
    boxes = [(x - 2.2 * len(name), x + 2.2 * len(name), y) for name, (x, y) in placed.items()]  # 8 pt letters are about 4.4 pt wide

    assert list(placed) == [stage.value for stage in SPANS]
    touching = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a[2] == b[2] and a[0] < b[1] and b[0] < a[1]]
    assert touching == []
    assert min(left for left, _, _ in boxes) >= 0


def test_no_line_can_end_with_a_dot_that_separates(tmp_path: Path) -> None:
    """Parts are separated by words or stand on lines of their own, and a unit stays with its number."""
    text = re.sub(r"<(svg|style).*?</\1>", "", page(tmp_path), flags=re.DOTALL)

    assert "·" not in text
    assert "90.00\u00a0%" in html.unescape(text)
    assert "90.00 %" not in html.unescape(text)


def test_the_page_fits_a_narrow_screen(tmp_path: Path) -> None:
    """What is wider than the screen scrolls by itself, so that the page does not: every table and every figure."""
    text = page(tmp_path)

    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert text.count("<table") == len(re.findall(r'<div class="scroll">\s*<table', text)) >= 3
    assert "scroll sideways" in text
    assert re.search(r"figure \{[^}]*overflow-x: auto", text)
