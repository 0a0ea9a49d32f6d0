"""Result files: whole or not at all, and complete enough to read everything back."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autohas_api.wire.messages import Effect
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.config_yaml import config_text
from autohas_trainer.errors import DataError
from autohas_trainer.events import Event, Outcome, SearchFinished, SearchStarted
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.null import NullSink
from autohas_trainer.reporting.sinks.result_files import FilesSink, read_result
from reporting_fixtures import DIGEST, ENVIRONMENT, candidate, outcome, run_info

RACE = (
    candidate("default", 1 / 9, 0.5),
    candidate("argmax", 1 / 9, 0.6),
    candidate("lane 1", 1 / 9, None, kept=False),
    candidate("default", 1.0, 0.82),
    candidate("argmax", 1.0, 0.91),
)


def _written(folder: Path) -> Outcome:
    info = run_info(folder)
    sink = FilesSink(folder, search_digest=DIGEST)
    sink.emit(SearchStarted(info=info))
    found = outcome(info, candidates=RACE)
    sink.emit(SearchFinished(outcome=found))
    return found


def test_a_result_has_the_correlation_of_its_rungs(tmp_path: Path) -> None:
    """Three candidates at 1/3 and at the end, in orders 0 1 2 and 0 2 1: 0.5."""
    info, sink = run_info(tmp_path), FilesSink(tmp_path, search_digest=DIGEST)
    early = [candidate(name, 1 / 3, score) for name, score in (("default", 0.1), ("argmax", 0.2), ("lane 1", 0.3))]
    late = [candidate(name, 1.0, score) for name, score in (("default", 0.4), ("argmax", 0.6), ("lane 1", 0.5))]
    sink.emit(SearchStarted(info=info))
    sink.emit(SearchFinished(outcome=outcome(info, candidates=(*early, *late))))
    (pair,) = json.loads((tmp_path / "result.json").read_text())["rungCorrelations"]
    assert pair == {"from": pytest.approx(1 / 3), "to": 1.0, "candidates": 3, "spearman": pytest.approx(0.5)}


def test_a_result_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Outcome, search, digest and environment survive result.json."""
    written = _written(tmp_path)
    found = read_result(tmp_path)
    assert found is not None
    assert found.outcome == written
    assert found.search == run_info(tmp_path).search
    assert (found.search_digest, found.environment) == (DIGEST, ENVIRONMENT)


def test_result_json_holds_what_the_contract_promises(tmp_path: Path) -> None:
    """Winner, default, runners-up with their race scores, cost by stage, digests."""
    _written(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["winner"]["testScore"] == 0.9
    assert record["default"]["testScore"] == 0.8
    assert [r["name"] for r in record["runnersUp"]] == ["default", "lane 1"]
    assert [s["score"] for s in record["runnersUp"][0]["scores"]] == [0.5, 0.82]
    assert record["cost"]["byStage"]["Lanes"] == 1.5
    assert set(record["digests"]) == {"configuration", "model", "result", "preprocessing"}
    assert record["message"]["kind"] == "Result"


def test_effects_are_kept_whole_and_absent_where_there_are_none(tmp_path: Path) -> None:
    """result.json has every effect by name; an algorithm without effects leaves the field out."""
    info, sink = run_info(tmp_path), FilesSink(tmp_path, search_digest=DIGEST)
    effects = tuple(Effect(decision="depth", value="3", effect=0.1 / n, standard_error=0.01) for n in range(1, 12))
    sink.emit(SearchStarted(info=info))
    sink.emit(SearchFinished(outcome=replace(outcome(info), effects=effects)))

    assert json.loads((tmp_path / "result.json").read_text())["effects"][0] == {
        "decision": "depth",
        "value": "3",
        "effect": 0.1,
        "standardError": 0.01,
    }
    found = read_result(tmp_path)
    assert found is not None
    assert found.outcome.effects == effects

    _written(tmp_path)
    assert "effects" not in json.loads((tmp_path / "result.json").read_text())


def test_config_yaml_is_a_plain_record_with_absolute_values(tmp_path: Path) -> None:
    """Data, template, active architecture, recipe and seed; inactive decisions are left out."""
    info = run_info(tmp_path)
    found = outcome(info)
    record = yaml.safe_load(config_text(info.search, info.space, replace(found, configuration={**found.configuration, "depth": "1"})))
    assert record["task"]["data"]["name"] == "digits"
    assert record["model"]["template"] == "mlp-small"
    assert "width_1" in record["model"]["architecture"]
    assert "width_2" not in record["model"]["architecture"]
    assert "learning_rate" not in record["model"]["architecture"]
    assert record["recipe"] == {**found.recipe, "classWeights": "Uniform"}
    assert record["seed"] == 0


def test_a_folder_without_a_result_has_none(tmp_path: Path) -> None:
    """Absence is not an error."""
    assert read_result(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ('{"format": 1}', "reads format 2: read it with the version that wrote it, or start again in a new folder"),
        ('{"format": 2}', "is no result of this version: KeyError: 'search'"),
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, text: str, said: str) -> None:
    """The sentence says which file and what is wrong."""
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(DataError, match=r"result\.json") as caught:
        read_result(tmp_path)
    assert said in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle costs nothing that was there."""
    path = tmp_path / "result.json"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert path.read_bytes() == b"old"


def test_the_history_is_durable_before_the_result_appears(tmp_path: Path) -> None:
    """Once result.json exists, the history is whole."""
    seen = []

    class Looker(NullSink):
        def emit(self, event: Event) -> None:
            if isinstance(event, SearchFinished):
                seen.append((tmp_path / "history.jsonl").stat().st_size)

    info = run_info(tmp_path)
    history = HistorySink(tmp_path)
    sinks = FanOutSink(history, Looker())
    sinks.emit(SearchStarted(info=info))
    sinks.emit(RACE[0])
    sinks.emit(SearchFinished(outcome=outcome(info)))
    history.close()
    assert seen == [(tmp_path / "history.jsonl").stat().st_size]
    assert seen[0] > 0
