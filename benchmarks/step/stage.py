"""The whole stage: one `advance` as the product runs it, with batches, books, history on disk and live state for /progress."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.step.floor import Floor

from autohas_api.accept.acceptance import accept
from autohas_api.budget.progress_steps import stage_steps
from autohas_api.spec.search import Search
from autohas_api.wire.messages import Stage
from autohas_trainer.algorithms import StepContext, SupernetAlgorithm
from autohas_trainer.algorithms._base import Gradient, Update
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages import build_stages
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.events import Identity, RunInfo, SearchStarted
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.space.policy import Draw

__all__ = ["stage_pairs"]

_CPU = torch.device("cpu")
_SUPERNET = (Stage.WARMUP, Stage.SUPERNET)


def stage_pairs(
    document: Mapping[str, Any],
    timed: Callable[[Callable[[], Any]], tuple[float, Any]],
    count: int | None,
    device: torch.device = _CPU,
    *,
    fuses: bool = False,
) -> list[tuple[float, float]]:
    """(seconds of the stage, seconds of its floor) for each supernet step, or the first `count`; the floor makes its own batches too."""
    parsed, space = accept(dict(document))
    search_task = SearchTask.load(parsed.spec, space, device)
    with tempfile.TemporaryDirectory() as folder:
        history = HistorySink(Path(folder))
        sink = FanOutSink(history, LiveState(time.monotonic))
        state = SearchState(search_task, sink, Ledger(0, time.monotonic), time.time)
        algorithm, done = state.algorithm, list[Update]()
        assert isinstance(algorithm, SupernetAlgorithm)  # noqa: S101 - a search with a supernet
        train = algorithm.train

        def record(context: StepContext, draw: Draw, gradient: Gradient) -> Update:
            done.append(train(context, draw, gradient))
            return done[-1]

        algorithm.train = record  # type: ignore[method-assign]
        stages = [stage for stage in build_stages(state) if stage.name in _SUPERNET]
        state.ledger.steps = sum(stage.num_steps for stage in stages)
        sink.emit(SearchStarted(info=_info(parsed, state, Path(folder))))
        pairs: list[tuple[float, float]] = []
        for stage in stages:
            stage.begin()
            has_more = stage.num_steps > 0
            while has_more and (count is None or len(pairs) < count):
                number = len(done)
                seconds, has_more = timed(stage.advance)
                floor = Floor(state, SupernetStepContext(state, number), done[-1], fuses=fuses)
                fresh = SupernetStepContext(state, number)
                pairs.append((seconds, timed(partial(floor.run, fresh))[0]))
        history.close()
    return pairs


def _info(search: Search, state: SearchState, workdir: Path) -> RunInfo:
    return RunInfo(
        search=search,
        space=state.search_task.space,
        plan=state.search_task.plan,
        identity=Identity(search_uid="", pod_uid="", attempt=1),
        workdir=workdir,
        step=0,
        stages=stage_steps(state.search_task.plan),
        starts=1,
        interruptions=0,
        active_seconds=0.0,
        history_bytes=0,
        checkpoint=None,
        threads=1,
    )
