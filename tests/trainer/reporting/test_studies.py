"""Histories as studies of Optuna: what a trial is, what a journal holds, which journals are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from autohas_api.base.condition import When
from autohas_api.space.decisions import Decision, Range, Role, Space
from autohas_trainer.errors import DataError
from autohas_trainer.events import CandidateRecord, Event
from autohas_trainer.reporting.sinks.history import read_history
from autohas_trainer.reporting.sinks.result_files import read_result
from autohas_trainer.reporting.studies.distributions import distributions_of, params_of
from autohas_trainer.reporting.studies.journal import open_studies, read_journal, write_journal
from autohas_trainer.reporting.studies.trials import PastSearch, StudyTrials, studies_of
from dashboard_fixtures import race, supernet, write_search
from reporting_fixtures import candidate

RACE = race(
    ("default", 1 / 9, 0.5, "0.1"),
    ("argmax", 1 / 9, 0.6, "0.3"),
    ("lane 3", 1 / 9, None, "1"),
    ("lane 4", 1 / 9, 0.4, "0.01"),
    ("default", 1.0, 0.82, "0.1"),
    ("argmax", 1.0, 0.91, "0.3"),
)
UNCONDITIONAL = Decision(name="depth", role=Role.ARCHITECTURE, choices=("2", "3", "4"), default="2")
SPACE = Space(
    decisions=(
        Decision(
            name="learning_rate",
            role=Role.UPDATE_RULE,
            choices=("0.01", "0.1", "1"),
            default="0.3",
            range=Range(minimum=0.01, maximum=1.0, is_log=True),
        ),
        UNCONDITIONAL,
        Decision(name="activation", role=Role.ARCHITECTURE, choices=("relu", "gelu"), default="relu"),
        Decision(
            name="width_4",
            role=Role.ARCHITECTURE,
            choices=("16", "128"),
            default="16",
            when=When(decision="depth", values=["4"]),
        ),
        Decision(name="fixed", role=Role.ARCHITECTURE, choices=("8",), default="8"),
    )
)


def _studies(folder: Path, *events: Event, is_finished: bool = True, keep_empty: bool = False) -> list[StudyTrials]:
    write_search(folder, "demo", events, is_finished=is_finished)
    past = PastSearch(name="demo", history=read_history(folder), finished=read_result(folder))
    return studies_of(past, keep_empty=keep_empty)


def test_a_bred_candidate_names_its_parent(tmp_path: Path) -> None:
    """Where its other facts are; one that was drawn has none."""
    bred = (candidate("trial 1", 1.0, 0.8), candidate("trial 2", 1.0, 0.9, parent="trial 1"))
    whole, *_ = _studies(tmp_path / "demo", *bred, is_finished=False)

    assert [t.user_attrs.get("parent") for t in whole.trials] == [None, "trial 1"]


def test_a_candidate_is_a_trial_and_its_rungs_are_intermediate_values(tmp_path: Path) -> None:
    """Compared at the end: COMPLETE. Stopped: PRUNED with its last score. Diverged: FAIL. In order of the first comparison."""
    whole, *_ = _studies(tmp_path / "demo", *RACE)
    states = [(t.user_attrs["candidate"], t.state, t.value, t.intermediate_values) for t in whole.trials]

    assert states == [
        ("default", TrialState.COMPLETE, 0.82, {111: 0.5, 1000: 0.82}),
        ("argmax", TrialState.COMPLETE, 0.91, {111: 0.6, 1000: 0.91}),
        ("lane 3", TrialState.FAIL, None, {}),
        ("lane 4", TrialState.PRUNED, 0.4, {111: 0.4}),
    ]
    assert [t.user_attrs.get("winner") for t in whole.trials] == [None, "yes", None, None]
    assert whole.user_attrs["winner"] == "argmax"
    assert [t.params["learning_rate"] for t in whole.trials] == [0.1, 0.3, 1.0, 0.01]


def test_a_candidate_that_still_trains_is_running(tmp_path: Path) -> None:
    """Without a result, what was kept has no value yet; what was not is pruned."""
    kept, stopped = race(("default", 1 / 9, 0.5, "0.1"), ("lane 1", 1 / 9, 0.4, "0.3"))
    whole, *_ = _studies(tmp_path / "demo", kept, _stopped(stopped), is_finished=False)

    assert [(t.state, t.value, t.datetime_complete is None) for t in whole.trials] == [
        (TrialState.RUNNING, None, True),
        (TrialState.PRUNED, 0.4, False),
    ]


def _stopped(record: CandidateRecord) -> CandidateRecord:
    return CandidateRecord(**{**{name: getattr(record, name) for name in record.__slots__}, "kept": False})


def test_the_first_rung_is_a_study_in_which_every_candidate_is_comparable(tmp_path: Path) -> None:
    """Each with its score after 1/9 of a training; the diverged one FAILs."""
    _, first = _studies(tmp_path / "demo", *RACE)

    assert first.name == "demo: first rung"
    assert first.metric_names == ("selection score at 11.1 %",)
    assert [(t.state, t.value) for t in first.trials] == [
        (TrialState.COMPLETE, 0.5),
        (TrialState.COMPLETE, 0.6),
        (TrialState.FAIL, None),
        (TrialState.COMPLETE, 0.4),
    ]


def test_without_rungs_there_is_no_second_study(tmp_path: Path) -> None:
    """Whole trainings are compared in the first."""
    assert [study.name for study in _studies(tmp_path / "demo", *race(("trial 1", 1.0, 0.5, "0.1"), ("trial 2", 1.0, 0.6, "0.3")))] == [
        "demo"
    ]


def test_rewarded_samples_are_a_study_of_their_own(tmp_path: Path) -> None:
    """One trial for each, with the reward as its value and the sample as its parameters."""
    *_, samples = _studies(tmp_path / "demo", *supernet(3), *RACE)

    assert samples.name == "demo: supernet"
    assert [(t.value, t.params["depth"], t.user_attrs["step"]) for t in samples.trials] == [(0.31, 2, 1), (0.32, 2, 2), (0.33, 2, 3)]


def test_a_running_search_keeps_the_places_of_its_studies(tmp_path: Path) -> None:
    """All three from the beginning, empty ones too: the page knows a study by its number."""
    names = [study.name for study in _studies(tmp_path / "demo", is_finished=False, keep_empty=True)]
    assert names == ["demo", "demo: first rung", "demo: supernet"]


def test_times_are_positions(tmp_path: Path) -> None:
    """A history has no clock: step n stands n seconds after the beginning of 2000."""
    whole, *_ = _studies(tmp_path / "demo", *RACE)
    start, end = whole.trials[0].datetime_start, whole.trials[0].datetime_complete

    assert start is not None
    assert end is not None
    assert (start.isoformat(), end.isoformat()) == ("2000-01-01T00:00:10+00:00", "2000-01-01T00:00:14+00:00")


def test_decisions_become_distributions_of_their_kind() -> None:
    """Ranges and numbers are axes, logarithmic where they span much; words are categorical; one value is no parameter."""
    assert distributions_of(SPACE, [{"learning_rate": "2"}]) == {
        "learning_rate": FloatDistribution(0.01, 2.0, log=True),
        "depth": IntDistribution(2, 4),
        "activation": CategoricalDistribution(("relu", "gelu")),
        "width_4": IntDistribution(16, 128, log=True),
    }


def test_an_inactive_decision_is_no_parameter() -> None:
    """As a conditional parameter of Optuna: width_4 exists at depth 4 only."""
    distributions = distributions_of(SPACE, [])
    values = {"learning_rate": "0.3", "depth": "2", "activation": "gelu", "width_4": "16", "fixed": "8"}

    assert params_of(values, distributions, SPACE) == {"learning_rate": 0.3, "depth": 2, "activation": "gelu"}
    assert params_of({**values, "depth": "4"}, distributions, SPACE)["width_4"] == 16


def test_without_a_space_the_values_seen_are_the_choices() -> None:
    """A search without a result: its file is not in the folder."""
    seen = [{"rate": "0.1", "op": "conv", "width": "8"}, {"rate": "0.25", "op": "none", "width": "8"}]
    assert distributions_of(None, seen) == {"rate": FloatDistribution(0.1, 0.25), "op": CategoricalDistribution(("conv", "none"))}


def test_optuna_itself_opens_the_journal(tmp_path: Path) -> None:
    """By its own file backend: the same trials, and the best of them."""
    studies = _studies(tmp_path / "demo", *supernet(2), *RACE)
    write_journal(tmp_path / "demo.journal", studies)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "demo.journal")))
    study = optuna.load_study(study_name="demo", storage=storage)

    assert study.best_trial.user_attrs["candidate"] == "argmax"
    assert study.metric_names == ["selection score"]
    assert [(t.state, t.value, t.params, t.distributions, t.intermediate_values) for t in study.trials] == [
        (t.state, t.value, t.params, t.distributions, t.intermediate_values) for t in studies[0].trials
    ]
    assert [s.study_name for s in storage.get_all_studies()] == ["demo", "demo: first rung", "demo: supernet"]


def test_equal_histories_are_equal_bytes(tmp_path: Path) -> None:
    """Nothing random and no clock is in the file."""
    for name in ("a", "b"):
        write_journal(tmp_path / f"{name}.journal", _studies(tmp_path / name, *supernet(2), *RACE))

    assert (tmp_path / "a.journal").read_bytes() == (tmp_path / "b.journal").read_bytes()


def test_a_journal_is_read_back(tmp_path: Path) -> None:
    """Also one of another program: what is not ours keeps its direction and attributes."""
    write_journal(tmp_path / "demo.journal", _studies(tmp_path / "demo", *RACE))
    ours = read_journal(tmp_path / "demo.journal")
    assert [(s.name, len(s.trials)) for s in ours] == [("demo", 4), ("demo: first rung", 4)]

    theirs = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(tmp_path / "own.journal"))), study_name="own")
    theirs.tell(theirs.ask({"x": FloatDistribution(0, 1)}), 0.25)
    (own,) = read_journal(tmp_path / "own.journal")
    assert (own.name, [t.value for t in own.trials], [d.name for d in own.directions]) == ("own", [0.25], ["MINIMIZE"])
    assert [s.study_name for s in open_studies([own]).get_all_studies()] == ["own"]


def _line(**fields: Any) -> str:
    return json.dumps({"op_code": 0, "worker_id": "w", "study_name": "s", "directions": [1], **fields}) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        _line(op_code=99),
        _line(directions=["up"]),
        _line()
        + json.dumps({"op_code": 4, "worker_id": "w", "study_id": 0, "state": 1, "distributions": {"x": '{"name": "NewDistribution"}'}}),
        "not JSON\n",
        "[1]\n",
        '{"fact": "candidate"}\n',
    ],
    ids=["operation", "direction", "distribution", "text", "list", "history"],
)
def test_a_journal_of_another_version_is_a_sentence(tmp_path: Path, text: str) -> None:
    """The file, the version that is installed, and what to do."""
    (tmp_path / "x.journal").write_text(text)
    with pytest.raises(
        DataError, match=rf"x\.journal is no journal that Optuna {optuna.__version__} reads .* write it again with autohas dashboard"
    ):
        read_journal(tmp_path / "x.journal")


def test_a_journal_without_a_study_is_a_sentence(tmp_path: Path) -> None:
    """An empty file is one."""
    (tmp_path / "x.journal").write_text("")
    with pytest.raises(DataError, match="is a journal without a study"):
        read_journal(tmp_path / "x.journal")
