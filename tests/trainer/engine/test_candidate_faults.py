"""What fails inside one candidate's training is that candidate's: it is out, and the search continues with the others.

No GPU is in these tests: the device's errors are raised by a custom model, as torch would raise them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.candidate_faults import FAULTS_FILE, candidate_part
from autohas_trainer.engine.stages.best_of import BestOfStage
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, ConfigurationError, DataError, DeviceError, Interrupted, NumericalError
from autohas_trainer.events import Outcome, StepRecord
from custom_code_fixtures import Faulty, FaultyLinear
from custom_search_fixtures import custom_search
from engine_fixtures import ALGORITHM_ROWS, Killed, MemorySink, Stop, search

BATCHES: dict[str, Any] = {"name": "batch_size", "integer": {"min": 32, "max": 128, "step": 2, "scale": "Log"}, "default": "64"}
WIDTHS: dict[str, Any] = {"name": "width", "categorical": {"choices": ["8", "16", "32"]}, "default": "16"}
Fault = Callable[[nn.Module, torch.Tensor], None]


def _hyperparameters(*hyperparameters: dict[str, Any], algorithm: dict[str, Any] | None = None) -> dict[str, Any]:
    """A search of hyperparameters of the faulty plain module."""
    document = with_change(custom_search("Faulty"), "spec.searchSpace", {"hyperparameters": list(hyperparameters)})
    return document if algorithm is None else with_change(document, "spec.algorithm", algorithm)


def _raising(error: BaseException, when: Callable[[nn.Module, torch.Tensor], bool]) -> Fault:
    def fault(module: nn.Module, inputs: torch.Tensor) -> None:
        if when(module, inputs):
            raise error

    return fault


def _is_wide(module: nn.Module, _inputs: torch.Tensor) -> bool:
    return bool(module[1].out_features == 32)  # type: ignore[index]  # the first linear layer of a sequence


def _is_large(_module: nn.Module, inputs: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and len(inputs) > 100


OUT: dict[str, tuple[BaseException, str]] = {
    "OutOfMemoryError": (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nadvice"),
        "does not fit into the device's memory (CUDA out of memory. Tried to allocate 2 GiB.)",
    ),
    "MemoryError": (MemoryError(), "does not fit into the device's memory ()"),
    "the CPU's allocator": (
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        "does not fit into the device's memory ([enforce fail",
    ),
    "cuDNN": (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "does not fit into the device's memory (cuDNN error"),
    "an exit": (SystemExit(0), "raised SystemExit: 0 (test_candidate_faults.py, line "),
    "a mistake": (KeyError("gamma"), "raised KeyError: 'gamma' (test_candidate_faults.py, line "),
}


@pytest.mark.parametrize("case", OUT)
def test_a_candidate_that_fails_is_out_and_the_search_ends_with_a_result(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches above 100 fail in training: such lanes are out with their values and the sentence; another one wins."""
    error, said = OUT[case]
    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(error, _is_large)))
    sink = MemorySink()
    outcome = search(_hyperparameters(BATCHES), tmp_path, sink)
    failed = [notice.message for notice in sink.notices if notice.reason == "CandidateFailed"]

    assert int(outcome.configuration["batch_size"]) <= 100
    assert failed
    assert all("is out: training step 0 " in text and said in text and text.endswith("batch_size 128") for text in failed)
    assert len(failed) == len({text.partition(" is out")[0] for text in failed})
    lost = {r.name for r in sink.candidates if r.values["batch_size"] == "128"}
    assert {(r.score, r.loss) for r in sink.candidates if r.name in lost} == {(None, None)}


PLACES: dict[str, Callable[[nn.Module, torch.Tensor], bool]] = {
    "the first step": lambda module, inputs: _is_wide(module, inputs) and torch.is_grad_enabled(),
    "a comparison": lambda module, inputs: _is_wide(module, inputs) and not torch.is_grad_enabled(),
}


@pytest.mark.parametrize("algorithm", [None, {"name": "RandomSearch"}], ids=["Lanes", "RandomSearch"])
@pytest.mark.parametrize("place", PLACES)
def test_any_place_of_a_training_may_fail(
    place: str, algorithm: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a step or in a comparison, in lanes, race or trials: width 32 is out once, whatever asks for it again."""
    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(ValueError("no"), PLACES[place])))
    sink = MemorySink()
    outcome = search(_hyperparameters(WIDTHS, algorithm=algorithm), tmp_path, sink)

    assert outcome.configuration["width"] != "32"
    assert [notice.reason for notice in sink.other_notices] == ["CandidateFailed"]
    assert sink.other_notices[0].message.endswith("; width 32")


def test_a_network_that_cannot_be_built_is_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The factory raises for width 32: the sentence is that of the entrypoint."""
    original = Faulty.__init__

    def build(self: Faulty, input_shape: tuple[int, ...], num_outputs: int, width: str = "16") -> None:
        if width == "32":
            raise ValueError("too wide")
        original(self, input_shape, num_outputs, width)

    monkeypatch.setattr(Faulty, "__init__", build)
    sink = MemorySink()
    outcome = search(_hyperparameters(WIDTHS), tmp_path, sink)

    assert outcome.configuration["width"] != "32"
    assert ["is out: building its network: " in notice.message for notice in sink.other_notices] == [True]
    assert "raised ValueError: too wide; width 32" in sink.other_notices[0].message


def test_what_failed_is_not_tried_again_after_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at every tenth step: width 32 is tried once in the whole life, and the end is that of the undisturbed search."""
    tries: list[int] = []

    def fault(module: nn.Module, inputs: torch.Tensor) -> None:
        if _is_wide(module, inputs) and torch.is_grad_enabled():
            tries.append(1)
            raise RuntimeError("no")

    monkeypatch.setattr(Faulty, "fault", staticmethod(fault))
    expected = search(_hyperparameters(WIDTHS), tmp_path / "a", MemorySink())
    assert len(tries) == 1
    outcome: Outcome | None = None
    steps = said = 0
    while outcome is None:
        stop, sink = Stop(), MemorySink()

        def count(record: StepRecord, stop: Stop = stop) -> None:
            nonlocal steps
            steps += 1
            stop.is_requested = steps % 10 == 0

        sink.on_step = count
        with suppress(Interrupted):
            outcome = search(_hyperparameters(WIDTHS), tmp_path / "b", sink, stop)
        said += sum(notice.reason == "CandidateFailed" for notice in sink.notices)

    assert outcome.result.digest == expected.result.digest
    assert (len(tries), said) == (2, 1)


@pytest.mark.parametrize("place", ["a step", "a comparison"])
def test_the_default_that_fails_ends_the_search(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there is no answer: exit 78 about the default, with the sentence and a hint."""
    is_training = place == "a step"

    def fails(module: nn.Module, inputs: torch.Tensor) -> bool:
        return module[1].out_features == 16 and torch.is_grad_enabled() == is_training and len(inputs) > 8  # type: ignore[index]

    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(torch.OutOfMemoryError("full"), fails)))
    with pytest.raises(ConfigurationError, match=r"the default configuration cannot be trained: .* memory .*lower task.recipe.batchSize"):
        search(_hyperparameters(WIDTHS), tmp_path, MemorySink())


@pytest.mark.parametrize("error", [OSError(5, "disk"), DataError("row 3")], ids=["disk", "data"])
def test_disk_and_data_stay_the_searchs(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of a file inside a training ends the search as it did."""
    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(error, PLACES["the first step"])))
    with pytest.raises(type(error)):
        search(_hyperparameters(WIDTHS), tmp_path, MemorySink())


def test_a_mistake_in_our_custom_code_stays_the_searchs() -> None:
    """Without custom code an exception that is no matter of memory or device passes as it is."""
    with pytest.raises(KeyError), candidate_part("a step", culprit="x", is_custom=False):
        raise KeyError("ours")
    with pytest.raises(CandidateError), candidate_part("a step", culprit="x", is_custom=False):
        raise MemoryError
    with pytest.raises(NumericalError), candidate_part("a step", culprit="x", is_custom=True):
        raise NumericalError("ours")


def test_nothing_keeps_the_tensors_of_a_failed_step() -> None:
    """The error that leaves has no traceback of the step: what it held is free before the next candidate is built."""
    held: list[weakref.ref[torch.Tensor]] = []

    def step() -> None:
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("full")

    with pytest.raises(CandidateError) as caught, candidate_part("a step", culprit="x", is_custom=False):
        step()
    assert held[0]() is None
    assert caught.value.is_memory


DEVICE = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")


@pytest.mark.parametrize("error", [DEVICE, RuntimeError("CUDA error: device-side assert triggered")], ids=["new", "old"])
def test_an_error_of_the_device_is_noted_and_left_out_at_the_next_start(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 75 without another step; the next process never tries width 32, says so, and ends with a result."""
    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(error, PLACES["the first step"])))
    with pytest.raises(Interrupted, match=r"ended with an error of the device: CUDA error: .*; nothing more can be computed") as ended:
        search(_hyperparameters(WIDTHS), tmp_path, MemorySink())
    sink = MemorySink()
    outcome = search(_hyperparameters(WIDTHS), tmp_path, sink)

    assert ended.value.exit_code == 75
    assert outcome.configuration["width"] != "32"
    assert [notice.reason for notice in sink.other_notices] == ["CheckpointRestored", "CandidateFailed"]
    assert "an error of the device" in sink.other_notices[1].message
    assert sink.other_notices[1].message.endswith("; width 32")


def test_a_candidate_in_a_checkpoint_is_left_out_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device fails at its third step, behind a checkpoint that holds its training."""
    calls: list[int] = []

    def third(module: nn.Module, inputs: torch.Tensor) -> bool:
        if not PLACES["the first step"](module, inputs):
            return False
        calls.append(1)
        return len(calls) == 3

    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(DEVICE, third)))
    document = with_change(_hyperparameters(WIDTHS), "spec.checkpoint.periodSeconds", 1)
    with pytest.raises(Interrupted):
        search(document, tmp_path, MemorySink())
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)

    assert outcome.configuration["width"] != "32"
    assert len(calls) == 3
    assert [notice.reason for notice in sink.other_notices] == ["CheckpointRestored", "CandidateFailed"]


def test_a_device_that_fails_under_the_default_ends_the_search_at_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time may be the hardware's; the second is the default's: 75, then 78, never a loop."""

    def fails(module: nn.Module, inputs: torch.Tensor) -> bool:
        return bool(module[1].out_features == 16 and torch.is_grad_enabled() and len(inputs) > 8)  # type: ignore[index]

    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(DEVICE, fails)))
    with pytest.raises(Interrupted, match="the next start tries the default configuration once more"):
        search(_hyperparameters(WIDTHS), tmp_path, MemorySink())
    with pytest.raises(ConfigurationError, match=r"the default configuration cannot be trained: .*an error of the device"):
        search(_hyperparameters(WIDTHS), tmp_path, MemorySink())


def test_a_torn_or_foreign_note_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs one more try of the candidate."""
    (tmp_path / FAULTS_FILE).write_text("{", encoding="utf-8")
    monkeypatch.setattr(Faulty, "fault", staticmethod(_raising(DEVICE, PLACES["the first step"])))
    with pytest.raises(Interrupted):
        search(_hyperparameters(WIDTHS), tmp_path, MemorySink())

    assert search(_hyperparameters(WIDTHS), tmp_path, MemorySink()).configuration["width"] != "32"


SUPERNETS = ["Lanes", "OneStep", "Sampled", "Paired", "RandomSharing"]


def _of_architecture(algorithm: str, **arguments: str) -> dict[str, Any]:
    document = custom_search("FaultyLinear", **arguments)
    rates = [h for h in document["spec"]["searchSpace"]["hyperparameters"] if h["name"] == "learning_rate"]
    document = with_change(document, "spec.searchSpace.hyperparameters", rates)
    return document if ALGORITHM_ROWS[algorithm] is None else with_change(document, "spec.algorithm", ALGORITHM_ROWS[algorithm])


def _raising_for(error: Exception, *places: str) -> Callable[[dict[str, str], str], None]:
    def fault(path: dict[str, str], where: str) -> None:
        if path["inputs"] == "4" and where in places:
            raise error

    return fault


@pytest.mark.parametrize("algorithm", SUPERNETS)
def test_a_sample_of_the_supernet_that_fails_is_rejected(algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of 4 inputs raise: their updates count as taken back, the controller learns to avoid them, one notice a stage says it."""
    monkeypatch.setattr(FaultyLinear, "fault", staticmethod(_raising_for(ValueError("no"), "forward")))
    sink = MemorySink()
    outcome = search(_of_architecture(algorithm), tmp_path, sink)
    sampled = [r for r in sink.steps if r.stage in (Stage.WARMUP, Stage.SUPERNET)]
    failed = [r for r in sampled if r.loss is None]

    assert outcome.result.test_score > 0.5
    assert failed
    assert len(failed) < len(sampled)
    assert all(r.is_rejected and r.sample is not None and r.sample["inputs"] == "4" for r in failed)
    assert {n.reason for n in sink.other_notices} == {"CandidateFailed"}
    assert "a sample of " in sink.other_notices[0].message
    assert "raised ValueError: no" in sink.other_notices[0].message
    if sink.policies and algorithm != "RandomSharing":
        first, second = sink.policies[-1].probabilities["inputs"]
        assert second > first


def test_a_supernet_in_which_nothing_can_be_trained_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight failures in a row end it, and the race decides between default and lanes."""
    trained: list[str] = []

    def fault(path: dict[str, str], where: str) -> None:
        if where == "forward" and trained:
            raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(FaultyLinear, "fault", staticmethod(fault))
    sink = MemorySink(on_step=lambda record: trained.append("lanes"))
    outcome = search(_of_architecture("Lanes"), tmp_path, sink)

    assert sum(r.stage in (Stage.WARMUP, Stage.SUPERNET) for r in sink.steps) == 8
    assert [n.reason for n in sink.other_notices].count("SupernetDiverged") == 1
    assert outcome.result.test_score > 0.5


def test_a_device_that_fails_in_the_supernet_costs_a_sample_and_at_last_the_supernet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes end with 75, each at another step; the fourth leaves the supernet and ends with a result."""
    trained: list[str] = []

    def fault(path: dict[str, str], where: str) -> None:
        if where == "forward" and trained and torch.is_grad_enabled():
            raise DEVICE

    monkeypatch.setattr(FaultyLinear, "fault", staticmethod(fault))
    for _ in range(3):
        trained.clear()
        with pytest.raises(Interrupted, match="a sample at step"):
            search(_of_architecture("OneStep"), tmp_path, MemorySink(on_step=lambda record: trained.append("")))
    sink = MemorySink()
    monkeypatch.setattr(FaultyLinear, "fault", staticmethod(lambda path, where: None))
    outcome = search(_of_architecture("OneStep"), tmp_path, sink)

    assert outcome.result.test_score > 0.5
    assert "SupernetDiverged" in [n.reason for n in sink.other_notices]


def test_a_winner_of_random_sharing_that_cannot_be_trained_falls_back_to_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every path but the default's fails in its own training: the default is the answer, and both notices say why."""

    def fault(path: dict[str, str], where: str) -> None:
        if where == "build" and (path["inputs"], path["shift"]) != ("8", "no"):
            raise ValueError("no")

    monkeypatch.setattr(FaultyLinear, "fault", staticmethod(fault))
    document = with_change(_of_architecture("RandomSharing"), "spec.searchSpace.hyperparameters", [])
    document = with_change(document, "spec.searchSpace.initialPoints", [{"values": {"inputs": "8", "shift": "yes"}}])
    sink = MemorySink()
    monkeypatch.setattr(BestOfStage, "_try_to_score", lambda stage, index, batches: (1.0, -float(index)))
    outcome = search(document, tmp_path, sink)

    assert outcome.winner == "default"
    assert [n.reason for n in sink.other_notices] == ["CandidateFailed", "WinnerDiverged"]
    assert "failed in its final training" in sink.other_notices[1].message


def test_a_repeat_that_fails_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three seeds raises at its first step: mean and deviation are of the others."""
    original = Training._loss

    def loss(self: Training, part: Any, draw: Any) -> torch.Tensor:
        if self.repeat == 1:
            raise MemoryError
        return original(self, part, draw)

    monkeypatch.setattr(Training, "_loss", loss)
    document = with_change(with_change(_hyperparameters(WIDTHS), "spec.training.seeds", 3), "spec.budget.trainings", "7")
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)

    assert outcome.result.seeds == 2
    assert [n.reason for n in sink.other_notices] == ["CandidateFailed"]


def test_a_winner_that_fails_on_the_test_split_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default's own test score is the answer; a device's error there is noted like any other."""
    rates = {"name": "learning_rate", "continuous": {"min": "0.0001", "max": "0.3", "scale": "Log", "numBases": 4}, "default": "0.0001"}
    document = _hyperparameters(rates)
    plain = search(document, tmp_path / "plain", MemorySink())
    original, tested, is_device = Training.outputs, [""], False

    def outputs(self: Training, batch: Any) -> torch.Tensor:
        tested[0] = self._search_task.space.as_mapping(self.configuration)["learning_rate"]
        given = original(self, batch)
        tested[0] = ""
        return given

    def fault(module: nn.Module, inputs: torch.Tensor) -> None:
        if tested[0] == plain.configuration["learning_rate"]:
            raise DEVICE if is_device else ValueError("no")

    monkeypatch.setattr(Training, "outputs", outputs)
    monkeypatch.setattr(Faulty, "fault", staticmethod(fault))
    outcomes = [search(document, tmp_path / "raises", MemorySink())]
    is_device, tested[0] = True, ""
    with pytest.raises(Interrupted):
        search(document, tmp_path / "device", MemorySink())
    tested[0] = ""
    outcomes.append(search(document, tmp_path / "device", MemorySink()))

    assert plain.winner != "default"
    assert [(o.winner, o.result.test_score) for o in outcomes] == [("default", plain.result.default_test_score)] * 2


def test_a_killed_process_leaves_what_failed_in_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill right after the failure loses the memory of it; the next process fails once more, is out once more, and no more."""
    tries: list[int] = []

    def fault(module: nn.Module, inputs: torch.Tensor) -> None:
        if PLACES["the first step"](module, inputs):
            tries.append(1)
            raise ValueError("no")

    def kill(record: StepRecord) -> None:
        if len(tries) == 1:
            raise Killed

    monkeypatch.setattr(Faulty, "fault", staticmethod(fault))
    with pytest.raises(Killed):
        search(_hyperparameters(WIDTHS), tmp_path, MemorySink(on_step=kill))
    search(_hyperparameters(WIDTHS), tmp_path, MemorySink())

    assert len(tries) == 2


def test_device_errors_know_their_culprit() -> None:
    """The name under which the next process leaves it out travels with the error."""
    with pytest.raises(DeviceError) as caught, candidate_part("a step", culprit="me", is_custom=False):
        raise DEVICE
    assert (caught.value.culprit, caught.value.exit_code) == ("me", 75)


@pytest.mark.parametrize("metric", ["macs", "latencyMilliseconds"])
def test_a_network_whose_cost_cannot_be_taken_is_no_end(metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of 4 inputs cannot be built: they are neither timed nor counted, and lose as candidates."""
    monkeypatch.setattr(FaultyLinear, "fault", staticmethod(_raising_for(ValueError("no"), "build")))
    monkeypatch.setattr("autohas_trainer.engine.search.stopwatch", lambda *_: lambda network: 1.0)
    monkeypatch.setattr("autohas_trainer.engine.accounting.costs.count_path", lambda template, path, example: 16)
    target = "16" if metric == "macs" else "1"
    document = with_change(_of_architecture("OneStep"), "spec.objective", {"cost": {"metric": metric, "target": target}})
    outcome = search(document, tmp_path, MemorySink())

    assert outcome.configuration["inputs"] == "8"
