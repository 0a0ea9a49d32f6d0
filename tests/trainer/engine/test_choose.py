"""A search up to its winner: what benchmarks run."""

from __future__ import annotations

from pathlib import Path

import pytest

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.search import Job, choose
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import Identity
from engine_fixtures import MemorySink, Stop, case, search


@pytest.mark.parametrize("algorithm", ["Lanes", "RandomSharing"])
def test_a_search_up_to_its_winner_finds_that_of_the_whole_search(algorithm: str, tmp_path: Path) -> None:
    """Candidates, costs of the stages and winner are the same; nothing is tested and no model is written."""
    outcome = search(case(algorithm), tmp_path / "whole", MemorySink())
    parsed, space = accept(case(algorithm))
    identity = Identity(search_uid="", pod_uid="", attempt=1)
    job = Job(search=parsed, space=space, workdir=tmp_path / "part", identity=identity, threads=1, device="cpu")
    state = choose(job, MemorySink(), Stop(), Training)

    assert state.winner == outcome.winner
    assert tuple(state.records) == outcome.candidates
    assert state.ledger.cost_by_stage() == {stage: cost for stage, cost in outcome.cost_by_stage.items() if stage != "Evaluate"}
    assert state.search_task.splits.test() is not None  # opens once only
    assert not (tmp_path / "part" / "model.safetensors").exists()
