"""The memory of a plan before step 0: closed forms, the limits of the system, and the refusal of what cannot fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.engine import memory_limit, memory_plan
from autohas_trainer.engine.live_bytes import count_evaluation
from autohas_trainer.engine.memory_limit import MemoryLeft, measure_memory_left
from autohas_trainer.engine.memory_plan import NetworkMemory, count_from_shapes, list_moments, measure_network, plan_memory
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import ConfigurationError
from engine_fixtures import ALGORITHM_ROWS, MemorySink, case, search

CPU = torch.device("cpu")
MIB = 2**20


def _search_task(document: dict[str, Any]) -> SearchTask:
    parsed, space = accept(document)
    return SearchTask.load(parsed.spec, space, CPU)


def test_a_network_waits_with_three_times_its_weights_under_sgd() -> None:
    """Weights and buffers, their average, momentum; in training gradients too, and what is largest of activations, copy and update."""
    search_task = _search_task(case("OneFactor"))
    parameters, buffers = search_task.num_parameters(search_task.space.default), 2 * (2 * 64 * 4 + 8)  # two normalisations of 64
    network = measure_network(search_task, search_task.space.default)

    assert network.weights == 4 * parameters + buffers
    assert network.waiting == 3 * 4 * parameters + buffers
    assert network.working == network.waiting + 4 * parameters + network.weights
    adam = with_change(case("OneFactor"), "spec.task.recipe.optimizer", "adam")
    assert measure_network(_search_task(adam), search_task.space.default).waiting == 4 * 4 * parameters + buffers


@pytest.mark.parametrize("name", ALGORITHM_ROWS)
def test_the_peak_is_that_of_the_fullest_moment(name: str) -> None:
    """Of networks that weigh 1 each, with average and momentum: 3 while they wait, 1 when finished, 5 in training."""
    search_task = _search_task(case(name))
    unit = NetworkMemory(weights=1, trained=1, moments=1, temporary=1, activations=0)
    plan = plan_memory(search_task, unit)
    without = [3 * m.waiting + m.finished + 5 * m.working for m in list_moments(search_task) if not m.has_supernet]

    assert plan.peak >= max(without)
    assert (plan.peak == max(without)) == (not plan.moment.has_supernet)
    assert plan.moment.has_supernet == bool(search_task.plan.supernet_steps)  # shared weights of thousands of bytes


def _allow(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    room = MemoryLeft(left=left, limit=512 * MIB, source="the memory limit of this container")
    monkeypatch.setattr(memory_plan, "measure_memory_left", lambda _: room)


def test_a_plan_that_cannot_fit_is_refused_before_step_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has need, moment, limit and what to do; nothing was trained and no checkpoint is there."""
    _allow(monkeypatch, 1000)
    sink = MemorySink()
    with pytest.raises(
        ConfigurationError,
        match=r"the plan needs [\d,]+ MiB of memory at its peak, stage Lanes \(networks: 4 waiting, 1 in training, .* without any"
        r".* 0 MiB are left of the memory limit of this container \(512 MiB\): .*budget\.trainings",
    ):
        search(case("OneFactor"), tmp_path, sink)
    assert sink.steps == []
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_activations_count_where_the_weights_alone_would_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte less than weights and activations need: refused; exactly as many: it runs."""
    search_task = _search_task(with_change(case("OneFactor"), "spec.task.recipe.batchSize", 512))
    default = search_task.space.default
    network = count_from_shapes(search_task, default, measure_network(search_task, default))
    assert network.activations is not None
    assert network.activations > 512 * 64 * 4  # the outputs of a layer of 64 units, at least
    need = plan_memory(search_task, network).peak
    _allow(monkeypatch, need - 1)
    with pytest.raises(ConfigurationError, match="with the activations of a batch"):
        memory_plan.refuse_without_room(search_task)
    _allow(monkeypatch, need)
    memory_plan.refuse_without_room(search_task)


def test_an_evaluation_counts_with_the_examples_that_it_takes_at_once() -> None:
    """A small template evaluates 512 at once whatever the batch, others no more than a batch; the plan counts what evaluation takes."""
    document = with_change(with_change(case("OneFactor"), "spec.task.recipe.batchSize", 8), "spec.searchSpace.architecture")
    networks = {}
    for name in ("mlp-small", "cell"):
        search_task = _search_task(with_change(document, "spec.task.model.template", name))
        default = search_task.space.default
        networks[name] = search_task.evaluation_chunk, count_from_shapes(search_task, default, measure_network(search_task, default))
        inputs = next(search_task.splits.selection(None, search_task.evaluation_chunk)).inputs
        assert len(inputs) <= search_task.evaluation_chunk
        evaluation = networks[name][1].evaluation
        assert evaluation is not None
        assert evaluation > 2 * inputs.nbytes

    assert networks["mlp-small"][0] == 512
    assert networks["cell"][0] == 8
    network = networks["mlp-small"][1]
    assert network.evaluation is not None
    assert network.activations is not None
    assert network.evaluation > network.activations  # of 8 examples
    assert network.working == network.waiting + network.trained + network.weights + network.evaluation


def test_live_bytes_are_those_that_are_alive_at_once() -> None:
    """Of a chain, the inputs, and at its widest place the features before and after a layer: 4·(3 + 8 + 16) bytes an example."""
    chain = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Linear(8, 16), torch.nn.Linear(16, 2))

    assert count_evaluation(chain, torch.ones(10, 3)) == 10 * 4 * (3 + 8 + 16)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "1048576\n"}, MIB),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "2097152\n"}, 2 * MIB),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"memory.max": "max\n", "pods/one/memory.max": "4194304\n", "pods/memory.max": "3145728\n"}, 3 * MIB),
    ],
    ids=["version 2", "no limit", "version 1", "no limit in version 1", "the lowest of nested groups"],
)
def test_the_limit_of_the_control_group_is_read(
    files: dict[str, str], limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one the machine's memory is the limit."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "membership").write_text("0::/pods/one\n", encoding="utf-8")
    monkeypatch.setattr(memory_limit, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory_limit, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(memory_limit, "_machine_bytes", lambda: 2**40)
    monkeypatch.setattr(memory_limit, "_resident_bytes", lambda: 1000)
    room = measure_memory_left(CPU)

    assert room is not None
    assert (room.limit, room.left) == (limit or 2**40, (limit or 2**40) - 1000)
    assert room.source == ("this machine's memory" if limit is None else "the memory limit of this container")


def test_nothing_is_refused_where_the_system_tells_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that cannot be known is not guessed."""
    monkeypatch.setattr(memory_limit, "_resident_bytes", lambda: None)
    assert measure_memory_left(CPU) is None
    memory_plan.refuse_without_room(_search_task(case("OneFactor")))
