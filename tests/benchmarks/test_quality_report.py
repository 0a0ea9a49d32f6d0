"""What the quality benchmark prints: tables of numbers made by hand, and the whole command on a small table."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.quality import __main__ as command
from benchmarks.quality import tasks
from benchmarks.quality.models import MODELS
from benchmarks.quality.qualification import Qualification, qualify
from benchmarks.quality.report import Row, qualification_table, speed_table, table
from benchmarks.quality.runs import Run, Runner
from benchmarks.quality.store import Store
from benchmarks.quality.tasks import Task

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import make_deterministic
from quality_fixtures import TINY, write_small_table

ACCURACY = Task(name="images", data="digits", template="conv-small", metric="accuracy", steps=300, seconds=1)


@pytest.fixture(autouse=True)
def _small_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_deterministic(1)
    monkeypatch.setattr(tasks, "UCI_PROTEIN", write_small_table(tmp_path / "protein"))


def test_the_first_row_is_what_the_others_are_compared_with() -> None:
    """Leads .02 and .04: mean .03, t = .03 / (.01414 / sqrt 2) = 3, three seed deviations; an error is lower where it is better."""
    rows = [
        Row(method="ours", values=(0.92, 0.94), works=(5.0, 6.0)),
        Row(method="theirs", values=(0.90, 0.90), works=(5.5, 5.5), num_defaults=1),
        Row(method="absent", missing="not installed"),
    ]
    lines = table(ACCURACY, rows, 0.01).splitlines()
    errors = table(TINY, [Row(method="ours", values=(-0.5,), works=(1.0,))], 0.0).splitlines()

    assert lines[2] == "| ours | 0.9300 | 0.0141 | | | |  | 5.50 | 0 of 2 |"
    assert lines[3] == "| theirs | 0.9000 | 0.0000 | +0.0300 [+0.0200, +0.0400] | +3.00 | +3.0 | 2/0/0 | 5.50 | 1 of 2 |"
    assert lines[4] == "| absent | not installed | | | | | | | |"
    assert errors[2].startswith("| ours | 0.5000 |")


def test_a_speed_up_is_the_peers_work_over_ours_and_bounded_where_the_level_is_not_reached() -> None:
    """Our median .93 after 5: one peer's median reaches it after 10, the other's never within 20."""
    ours = Row(method="ours", values=(0.93, 0.93, 0.93), works=(5.0, 5.0, 5.0))
    slow = Row(method="slow", curves=[[(1.0, 0.9), (10.0, 0.93)]] * 3)
    never = Row(method="never", curves=[[(1.0, 0.9)]] * 3)
    lines = speed_table(ours, [slow, never], 20.0).splitlines()

    assert lines[-2] == "| slow | 10.00 | 2.00 [2.00, 2.00] |"
    assert lines[-1] == "| never | > 20.00 | > 4.00 [> 4.00, > 4.00] |"


def test_a_task_qualifies_by_what_there_is_to_find_and_where_the_default_is() -> None:
    """Three seed deviations between 5 and 50 random configurations, more than a tenth of them better; a plateau gains less than two."""
    good = Qualification(deviation=0.01, few=0.90, many=0.93, better=0.2, gain=0.019)
    near = Qualification(deviation=0.01, few=0.90, many=0.92, better=0.2, gain=0.021)
    top = Qualification(deviation=0.01, few=0.90, many=0.93, better=0.1, gain=0.02)

    assert (good.has_something_to_find, good.default_is_ordinary, good.is_plateau) == (True, True, True)
    assert (near.has_something_to_find, near.is_plateau) == (False, False)
    assert (top.default_is_ordinary, top.is_plateau) == (False, False)
    assert qualification_table([(ACCURACY, good)]).splitlines()[-1] == ("| images | 0.0100 | 0.9000 | 0.9300 | 20% | +0.0190 | yes | yes |")


def test_the_figures_of_a_task_come_from_its_own_trainings(tmp_path: Path) -> None:
    """More random draws are better by the selection split and hence, here, on the test; the default's spread is that of its seeds."""
    runner = Runner(Store(tmp_path / "store.sqlite"))
    figures = qualify(runner, TINY, range(2), range(1))
    tests = []
    for seed in range(2):
        trainings = runner.trainings(TINY, seed)
        tests.append(trainings.measure(trainings.space.default, LAST_RUNG).test or 0)

    assert figures.many > figures.few
    assert figures.deviation == pytest.approx(abs(tests[0] - tests[1]) / 2**0.5)
    assert 0 <= figures.better <= 1


def test_a_method_that_returns_a_model_is_scored_by_it_and_takes_the_whole_budget(tmp_path: Path) -> None:
    """Both take 3 trainings to within a step and the comparisons; a kept run has the same score; a price is refused."""
    runner, longer = Runner(Store(tmp_path / "store.sqlite")), replace(TINY, steps=300)
    for method in MODELS:
        run = runner.run(longer, method, 0, 3.0)
        assert run.work == pytest.approx(3.0, abs=0.02)
        assert run.test is not None
        assert runner.test(longer, run) == -runner.value(longer, run) == run.test
        assert Run.read(run.write()) == run
    with pytest.raises(ConfigurationError, match="tasks with a price"):
        runner.run(
            replace(longer, name="tiny-price", cost={"metric": "parameters", "target": "3000", "weight": "-0.1"}),
            "AutoHAS for Model",
            0,
            3.0,
        )


def test_the_command_plans_runs_continues_and_exchanges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan before is of four runs, that after of none; the file has the tables; a filled store has every training of the first."""
    monkeypatch.setattr(command, "TASKS", {"tiny": TINY})
    monkeypatch.setattr(command, "DEFAULT_STRATEGY", "RandomSearch")
    options = [
        "--store",
        str(tmp_path / "a.sqlite"),
        "--seeds",
        "1",
        "--only",
        "random + halving",
        "--only",
        "trained as long",
        "--budget",
        "3",
    ]

    def run(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["quality", *options, *more])
        command.main()
        return capsys.readouterr().out

    before, _, after = run("--plan"), run("--out", str(tmp_path / "out.md"), "--reach", "4"), run("--plan")
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    exported = run("--export", str(tmp_path / "t.csv"))
    options[1] = str(tmp_path / "b.sqlite")

    assert before.splitlines()[-1].split()[:3] == ["all", "3", "runs"]
    assert after.splitlines()[-1].split()[:4] == ["all", "0", "runs", "0"]
    for part in (
        "### tiny, 3 trainings",
        "| RandomSearch |",
        "| random + halving |",
        "| default, trained as long |",
        "HistGradientBoosting",
    ):
        assert part in text
    assert "work to the median at 3" in text
    assert run("--fill", str(tmp_path / "t.csv")).split()[0] == exported.split()[0]
