"""How a search uses its device: threads, layout, compilation, determinism and precision."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.cli.process_state import preserve_process_state
from autohas_trainer.engine.candidate_faults import explain_default_divergence
from autohas_trainer.engine.training.compute import CompiledNetwork, apply_compute, describe_compute, explain_precision
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import make_deterministic
from autohas_trainer.templates import Dropout, arm_dropout
from engine_fixtures import MemorySink, search, small_search

CPU = torch.device("cpu")


def _document(trainer: dict[str, Any], template: str = "conv-small", recipe: dict[str, Any] | None = None) -> dict[str, Any]:
    document = with_change(small_search(), "spec.task.model", {"template": template})
    document = with_change(document, "spec.searchSpace", {"architecture": {}})
    return with_change(with_change(document, "spec.trainer", trainer), "spec.task.recipe", recipe or {})


def _load(document: dict[str, Any]) -> SearchTask:
    parsed, space = accept(document)
    return SearchTask.load(parsed.spec, space, CPU, is_search=False)


@pytest.fixture
def process() -> Iterator[None]:
    """The global state of the process is put back afterwards."""
    with preserve_process_state():
        yield


def test_threads_follow_the_work_of_a_step() -> None:
    """conv-small at 8x8 has one thread; a batch with 2^20 numbers has all, as before; a long step of another template has all too."""
    task = _load(_document({}))
    assert task.useful_threads(8) == 1
    large = task.spec.task.replace(recipe=task.spec.task.recipe.replace(batch_size=2**14))
    assert replace(task, spec=task.spec.replace(task=large)).useful_threads(8) == 8
    resnet = _load(_document({}, "resnet"))
    flops = 6 * resnet.works.default_macs
    for batch_size, threads in ((int(4e9 / flops) - 1, 1), (int(4e9 / flops) + 1, 8)):
        assert batch_size * 64 < 2**20
        changed = resnet.spec.task.replace(recipe=resnet.spec.task.recipe.replace(batch_size=batch_size))
        assert replace(resnet, spec=resnet.spec.replace(task=changed)).useful_threads(8) == threads


def test_threads_of_the_spec_are_taken() -> None:
    """Whatever the work and the limit."""
    assert _load(_document({"compute": {"threads": 3}})).useful_threads(8) == 3


def test_channels_last_needs_images_and_trains_the_same_function() -> None:
    """A loss after two steps is that of the other layout up to rounding; a flat table is refused with its shape."""
    losses = []
    for trainer in ({}, {"compute": {"channelsLast": True}}):
        task = _load(_document(trainer))
        training = Training(task, task.space.default)
        training.step()
        training.step()
        losses.append(training.read_loss())
        kernel = next(p for p in training._module.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1)
        assert kernel.is_contiguous(memory_format=torch.channels_last) == bool(trainer)

    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    parsed, _ = accept(_document({"compute": {"channelsLast": True}}))
    from autohas_trainer.engine.training.compute import check_compute  # noqa: PLC0415

    with pytest.raises(ConfigurationError, match=r"channelsLast needs images \(C, H, W\), not inputs of shape \(5,\): remove it"):
        check_compute(parsed.spec, (5,))


def _fail(*_: object, **__: object) -> Any:
    """`torch.compile` on a machine without a C++ compiler."""

    def call(_: torch.Tensor) -> torch.Tensor:
        raise torch._dynamo.exc.TorchDynamoException("No working C++ compiler found\nlong trace")

    return call


def test_a_network_that_cannot_be_compiled_is_trained_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a C++ compiler the outputs are those of the network, and the fault has the compiler's first line."""
    monkeypatch.setattr(torch, "compile", _fail)
    layer = torch.nn.Linear(3, 2)
    network, inputs = CompiledNetwork(layer, "Default"), torch.ones(4, 3)

    assert torch.equal(network(inputs), layer(inputs))
    assert network.fault == "No working C++ compiler found"
    assert torch.equal(network(inputs), layer(inputs))
    assert CompiledNetwork(layer, "None").fault is None


class _Dropping(nn.Module):
    """A network with the keyed dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.ReLU(), Dropout(), nn.Linear(width, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs)


class _Counting(nn.Module):
    """A network with a number that changes at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(3, 2), 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layer(inputs) * self.calls


@pytest.fixture(name="graphs")
def _graphs(monkeypatch: pytest.MonkeyPatch) -> CompileCounter:
    """Counts what is compiled, by a backend that runs graphs as they are."""
    counter = CompileCounter()
    compile_function = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: compile_function(function, backend=counter, dynamic=False))
    return counter


@pytest.mark.usefixtures("process")
def test_every_network_of_a_search_is_compiled_once(graphs: CompileCounter) -> None:
    """Also the twentieth of one class, where torch by itself compiles eight; each gives the outputs of its module."""
    inputs = torch.ones(4, 3)
    for width in range(1, 21):
        module = _Dropping(width)
        network = CompiledNetwork(module, "Default")
        for _ in range(2):
            assert torch.equal(network(inputs), module(inputs))
        assert network.fault is None

    assert graphs.frame_count == 20


@pytest.mark.usefixtures("process")
def test_a_compiled_network_with_dropout_is_compiled_once_for_all_seeds(graphs: CompileCounter) -> None:
    """Each step has the mask of its seed, bit for bit that of the module itself."""
    module, inputs = _Dropping(16), torch.ones(4, 3)
    network = CompiledNetwork(module, "Default")
    for seed in range(20):
        arm_dropout(module, 0.5, 2**52 + seed)
        assert torch.equal(network(inputs), module(inputs))

    assert (graphs.frame_count, network.fault) == (1, None)


@pytest.mark.usefixtures("process", "graphs")
def test_a_network_that_is_compiled_again_and_again_is_trained_without() -> None:
    """At the limit of versions torch would run it as it is, silently; here the fault says so."""
    network = CompiledNetwork(_Counting(), "Default")
    outputs = [network(torch.ones(1, 3)) for _ in range(66)]

    assert torch.allclose(outputs[65], 66 * outputs[0])
    assert network.fault is not None
    assert "would be compiled more than 64 times" in network.fault


@pytest.mark.usefixtures("process")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and this machine has no g++")
def test_a_training_runs_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real compiler: three steps with dropout give the losses of a plain training up to rounding."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    losses = []
    for trainer in ({"compute": {"compile": "Default"}, "determinism": "Relaxed"}, {}):
        task = _load(_document(trainer, "mlp-small", {"dropout": "0.1"}))
        training = Training(task, task.space.default)
        for _ in range(3):
            training.step()
        assert training.compile_fault is None
        losses.append(training.read_loss())

    assert any(tmp_path.rglob("*.so"))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.usefixtures("process")
def test_relaxed_allows_what_strict_forbids() -> None:
    """Strict raises for an operation without a deterministic form and chooses no kernels by the clock; Relaxed does both."""
    make_deterministic(1)
    strict, relaxed = (accept(_document(trainer))[0].spec for trainer in ({}, {"determinism": "Relaxed"}))
    apply_compute(strict, CPU)
    assert (torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark) == (2, False)
    apply_compute(relaxed, CPU)
    assert (torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark) == (0, True)
    assert (describe_compute(strict), describe_compute(relaxed)) == ("", "determinism Relaxed")


@pytest.mark.usefixtures("process")
@pytest.mark.parametrize(
    ("precision", "matmul", "cudnn"), [("TF32", "high", True), ("Float32", "highest", False), ("BFloat16", "highest", False)]
)
def test_precision_on_a_gpu(precision: str, matmul: str, cudnn: bool) -> None:  # noqa: FBT001 - a row of the table
    """Factors are rounded with TF32 only, in products and in convolutions alike; Strict leaves attention its plain formula."""
    spec = accept(_document({}, recipe={"precision": precision}))[0].spec
    apply_compute(spec, torch.device("cuda"))

    assert torch.get_float32_matmul_precision() == matmul
    assert torch.backends.cudnn.allow_tf32 is cudnn
    assert not torch.backends.cuda.flash_sdp_enabled()
    assert not torch.backends.cuda.mem_efficient_sdp_enabled()


def test_a_precision_without_effect_is_said() -> None:
    """TF32 on a CPU has a sentence, on a GPU none, and Float32 none anywhere."""
    tf32, plain = (accept(_document({}, recipe=recipe))[0].spec for recipe in ({"precision": "TF32"}, {}))
    assert explain_precision(tf32, CPU) == "task.recipe.precision is TF32, which only a GPU has: on cpu the search computes in float32"
    assert explain_precision(tf32, torch.device("cuda")) is None
    assert explain_precision(plain, CPU) is None


def test_a_divergence_in_bfloat16_names_the_precision() -> None:
    """The sentence for the default offers Float32 only where the recipe has bfloat16."""
    for recipe, is_named in (({"precision": "BFloat16"}, True), ({}, False)):
        spec = accept(_document({}, recipe=recipe))[0].spec
        sentence = str(explain_default_divergence(spec, step=4, steps=27, rate=0.1, peak=0.1))
        assert ("or set task.recipe.precision to Float32, since bfloat16 keeps 8 bits of a number," in sentence) == is_named


def test_what_has_no_effect_is_one_notice_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that fails and a precision that the device lacks: one notice each, however many candidates are trained."""
    monkeypatch.setattr(torch, "compile", _fail)
    trainer = {"compute": {"compile": "Default"}, "determinism": "Relaxed"}
    document = with_change(small_search({"autoHAS": {"strategy": "OneFactor"}}), "spec.trainer", trainer)
    sink = MemorySink()

    search(with_change(document, "spec.task.recipe.precision", "TF32"), tmp_path, sink)

    messages = {reason: [one.message for one in sink.notices if one.reason == reason] for reason in ("CompileFailed", "PrecisionUnused")}
    assert messages == {
        "CompileFailed": ["default is trained without compilation: No working C++ compiler found"],
        "PrecisionUnused": ["task.recipe.precision is TF32, which only a GPU has: on cpu the search computes in float32"],
    }
