"""What a search says it used: counted examples and operations, waiting, memory; in no digest and in no decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autohas_api.spec.search import parse
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.accounting.usage import Usage
from autohas_trainer.errors import Interrupted
from autohas_trainer.events import Outcome, StepRecord, StepUse
from autohas_trainer.provenance import Environment
from autohas_trainer.reporting.sinks.device_peak import mfu, peak_flops
from engine_fixtures import MemorySink, Stop, search, small_search


@pytest.fixture(scope="module", name="undisturbed")
def _undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, MemorySink]:
    sink = MemorySink()
    return search(small_search(), tmp_path_factory.mktemp("usage"), sink), sink


def test_every_stage_has_examples_operations_and_a_peak(undisturbed: tuple[Outcome, MemorySink]) -> None:
    """The sums of the steps; a batch of the recipe per step of a lane; the process is larger than torch alone."""
    outcome, sink = undisturbed
    uses = outcome.use_by_stage

    assert {stage for stage, use in uses.items() if use.num_examples} == {record.stage for record in sink.steps}
    for stage, use in uses.items():
        steps = [record.use for record in sink.steps if record.stage == stage and record.use is not None]
        assert use.num_examples == sum(step.num_examples for step in steps)
        assert use.flops == pytest.approx(sum(step.flops for step in steps))
        assert use.waited_s == pytest.approx(sum(step.waited_s for step in steps))
        assert (use.waited_s > 0) == bool(steps)
        assert use.peak_memory["process"] > 50 << 20
    batch = parse(small_search()).spec.task.recipe.batch_size
    assert {record.use.num_examples for record in sink.steps if record.stage is Stage.LANES and record.use is not None} == {batch}


def test_a_resumed_search_counts_each_step_once(undisturbed: tuple[Outcome, MemorySink], tmp_path: Path) -> None:
    """Examples and operations are those of the undisturbed search, and so is the digest of the result."""
    outcome, _ = undisturbed
    stop = Stop()

    def interrupt(record: StepRecord) -> None:
        stop.is_requested = record.step >= 30

    with pytest.raises(Interrupted):
        search(small_search(), tmp_path, MemorySink(on_step=interrupt), stop)
    resumed = search(small_search(), tmp_path, MemorySink())

    assert resumed.result.digest == outcome.result.digest
    for stage, use in outcome.use_by_stage.items():
        assert resumed.use_by_stage[stage].num_examples == use.num_examples
        assert resumed.use_by_stage[stage].flops == pytest.approx(use.flops)


def test_a_checkpoint_without_usage_is_read() -> None:
    """One of an earlier version: what came before it is not counted."""
    ledger = Ledger(10, lambda: 0.0)
    state = {name: value for name, value in ledger.state_dict().items() if name != "usage"}
    ledger.usage.add(Stage.RACE, StepUse(num_examples=3, flops=1.0, waited_s=0.5))
    ledger.load_state_dict(state)

    assert ledger.usage.by_stage() == {}


def test_usage_survives_json() -> None:
    """As the checkpoint keeps it; a lower peak of a later process does not replace a higher one."""
    usage, restored = Usage(), Usage()
    usage.add(Stage.LANES, StepUse(num_examples=64, flops=2e9, waited_s=0.25))
    state: dict[str, Any] = json.loads(json.dumps(usage.state_dict()))
    state["Lanes"]["peak_memory"] = {"process": 1 << 50}
    restored.load_state_dict(state)
    restored.add(Stage.LANES, StepUse(num_examples=1, flops=1e9, waited_s=0.25))
    restored.observe_memory(Stage.LANES)
    use = restored.by_stage()[Stage.LANES]

    assert (use.num_examples, use.flops, use.waited_s) == (65, 3e9, 0.5)
    assert use.peak_memory["process"] == 1 << 50


def on(gpu: str) -> Environment:
    return Environment(autohas="", python="", torch="", machine="", device="cuda", threads=1, gpu=gpu)


@pytest.mark.parametrize(
    ("gpu", "precision", "peak"),
    [
        ("NVIDIA H200", "BFloat16", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", "TF32", 156e12),
        ("NVIDIA A100-SXM4-80GB", None, 19.5e12),
        ("NVIDIA L40S", "BFloat16", 362e12),
        ("NVIDIA L4", "BFloat16", 121e12),
        ("NVIDIA H100 NVL", "BFloat16", None),
        ("NVIDIA A1000", None, None),
        ("Tesla V100-SXM2-16GB", "BFloat16", None),
        ("", None, None),
    ],
)
def test_a_peak_is_a_makers_figure_or_none(gpu: str, precision: str | None, peak: float | None) -> None:
    """By the device's whole name and the precision; a device or precision that is not listed has none, and so no MFU."""
    document = small_search()
    if precision is not None:
        document = with_change(document, "spec.task.recipe.precision", precision)

    assert peak_flops(parse(document), on(gpu)) == peak
    assert mfu(1e12, peak) == (None if peak is None else pytest.approx(1e12 / peak))
