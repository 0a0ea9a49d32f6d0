"""Costs of networks: multiply-accumulates by hand, latency as one line measured once, targets out of reach refused."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import cycle
from pathlib import Path
from warnings import catch_warnings, simplefilter

import pytest
from torch import Tensor, backends, device, einsum, from_numpy, int64, jit, nn, zeros
from torch.nn.utils import parametrizations

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_trainer.engine import search as engine
from autohas_trainer.engine.accounting.costs import Costs, stopwatch
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.templates import build_template, count_macs, default_path
from autohas_trainer.templates.mlp_small import MlpSmall
from engine_fixtures import Killed, MemorySink, search, small_search

CPU = device("cpu")


def _priced(metric: str, target: str) -> dict:  # type: ignore[type-arg]
    return with_change(small_search(), "spec.objective", {"cost": {"metric": metric, "target": target}})


def _search_task(metric: str, target: str = "1") -> SearchTask:
    parsed, space = accept(_priced(metric, target))
    return SearchTask.load(parsed.spec, space, CPU)


def _macs_time(network: nn.Module) -> float:
    """A machine whose time is exactly 0.1 ms and 1 ms per 10,000 multiply-accumulates."""
    return 0.1 + count_macs(network, zeros(1, 64)) / 10_000


def test_macs_of_the_mlp_are_its_matrix_products() -> None:
    """Default on 64 inputs, two layers of 64, ten classes: 64*64 + 64*64 + 64*10."""
    mlp = MlpSmall((64,), 10)
    assert mlp.num_macs(default_path(mlp.decisions)) == 64 * 64 + 64 * 64 + 64 * 10


def test_macs_of_conv_small_are_weights_times_positions() -> None:
    """One block per stage on 20x20: stem at 10x10, stage 1 at 10x10, stage 2 at 5x5; numbers by hand."""
    conv = build_template("conv-small", (1, 20, 20), 10)
    path = default_path(conv.decisions) | {
        "stage1_width": "8",
        "stage1_depth": "1",
        "stage1_block1_expansion": "2",
        "stage1_block1_kernel": "3",
        "stage2_width": "16",
        "stage2_depth": "1",
        "stage2_block1_expansion": "1",
        "stage2_block1_kernel": "5",
    }
    stem = 1 * 8 * 9 * 100
    stage1 = (8 * 16 * 9 + 16 * 8) * 100
    stage2 = (8 * 8 * 25 + 8 * 16) * 25
    assert conv.num_macs(path) == stem + stage1 + stage2 + 16 * 10  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "shape"), [("mlp-small", (3, 9, 7)), ("conv-small", (3, 21, 17)), ("conv-small", (1, 8, 11))])
def test_closed_forms_equal_what_is_counted(name: str, shape: tuple[int, ...]) -> None:
    """On odd image sizes too, for the default and for every single change of it."""
    template = build_template(name, shape, 5)
    default = default_path(template.decisions)
    paths = [default, *({**default, d.name: choice} for d in template.decisions for choice in d.choices)]
    for path in paths:
        assert template.num_macs(path) == count_macs(template.build(path, (0, "x")), zeros(1, *shape))  # type: ignore[attr-defined]


class SelfAttention(nn.MultiheadAttention):
    """Attention of a sequence to itself."""

    def forward(self, inputs: Tensor) -> Tensor:  # type: ignore[override]
        outputs, _ = super().forward(inputs, inputs, inputs, need_weights=False)
        return outputs


class Bare(nn.Module):
    """A weight outside of any layer, and how it meets the inputs."""

    def __init__(self, use: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(zeros(3, 4))
        self._use = use

    def forward(self, inputs: Tensor) -> Tensor:
        return self._use(inputs, self.weight)


ATTENTION = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
"""A sequence of 5 vectors of 8: four projections, products of queries and keys, mean of values."""


@pytest.mark.parametrize(
    ("network", "shape", "macs"),
    [
        (nn.Conv2d(4, 8, 3), (4, 6, 6), 8 * 16 * 4 * 9),
        (nn.Conv2d(4, 8, 3, groups=2, stride=2, padding=1), (4, 6, 6), 8 * 9 * 2 * 9),
        (nn.ConvTranspose2d(8, 2, 2, stride=2), (8, 4, 4), 8 * 16 * 2 * 4),
        (nn.Linear(5, 3), (7, 5), 7 * 5 * 3),
        (nn.Sequential(nn.BatchNorm2d(8), nn.PReLU(), nn.GroupNorm(2, 8), nn.ReLU()), (8, 4, 4), 0),
        (nn.LayerNorm([4, 8]), (4, 8), 0),
        (SelfAttention(8, 2, batch_first=True), (5, 8), ATTENTION),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8), ATTENTION + 2 * 5 * 8 * 16),
        (nn.LSTM(3, 4, batch_first=True), (6, 3), 6 * 4 * 4 * (3 + 4)),
        (nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True), (6, 3), 6 * 2 * 3 * 4 * (3 + 4 + 8 + 4)),
        (Bare(lambda x, w: einsum("bi,ij->bj", x, w)), (3,), 12),
        (Bare(lambda x, w: (w.t() @ x[0])[None]), (3,), 12),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
@pytest.mark.parametrize("at", ["cpu", "meta"])
def test_products_of_any_module_are_counted(network: nn.Module, shape: tuple[int, ...], macs: int, at: str) -> None:
    """Numbers by hand, on a device without numbers too; normalisation, activation and biases count nothing."""
    assert count_macs(deepcopy(network).to(at), zeros(1, *shape, device=at)) == macs


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (nn.Sequential(nn.Linear(3, 3), Bare(lambda x, w: (x[:, :, None] * w).sum(1))), "1"),
        (nn.Sequential(nn.Linear(3, 3), Bare(lambda x, w: from_numpy(x.numpy() @ w.numpy()))), "1"),
    ],
    ids=["elementwise", "numpy"],
)
def test_products_that_are_not_seen_are_an_error(network: nn.Module, layer: str) -> None:
    """A weight matrix that meets the inputs outside of PyTorch's products is named, not counted as nothing."""
    words = rf"layer {layer} \(Bare\) has weights, but PyTorch counts no multiply-accumulates in it; use metric parameters or latency"
    with pytest.raises(ConfigurationError, match=words):
        count_macs(network, zeros(1, 3))


def _scripted(layer: nn.Module) -> nn.Module:
    with catch_warnings():
        simplefilter("ignore")  # TorchScript is deprecated, and still brought
        return jit.script(layer)


@pytest.mark.parametrize("hide", [_scripted, parametrizations.weight_norm], ids=["scripted", "parametrized"])
def test_layers_that_hide_their_product_are_counted(hide: Callable[[nn.Module], nn.Module]) -> None:
    """TorchScript takes no hooks, and a parametrization has the weights of a product that runs in another layer."""
    assert count_macs(nn.Sequential(nn.Linear(3, 3), hide(nn.Linear(3, 2))), zeros(1, 3)) == 9 + 6


def test_a_layer_that_does_not_run_counts_nothing() -> None:
    """A head for training alone is no error, and counting leaves mode and switches of PyTorch as they were."""
    network = nn.Sequential(nn.Linear(3, 2))
    network.add_module("auxiliary", nn.Linear(3, 9))
    network.forward = network[0].forward  # type: ignore[method-assign]

    assert count_macs(network.train(), zeros(1, 3)) == 6
    assert network.training
    assert backends.mha.get_fastpath_enabled()


def test_a_machine_that_is_linear_in_macs_is_fitted_exactly() -> None:
    """Where time is a line, the table gives it back for every network; a second process reads it from the checkpoint, bit for bit."""
    search_task = _search_task("latencyMilliseconds")
    said = search_task.costs.measure(0, _macs_time)
    space = search_task.space
    for width in ("16", "64", "128"):
        configuration = space.configuration({**space.as_mapping(space.default), "width_1": width, "depth": "3"})
        expected = 0.1 + search_task.costs.num_macs(configuration) / 10_000
        assert search_task.costs.of(configuration) == pytest.approx(expected, rel=1e-2)
    assert "80 networks timed on cpu" in said
    again = _search_task("latencyMilliseconds").costs
    again.load_state_dict(search_task.costs.state_dict())
    assert again.of(space.default) == search_task.costs.of(space.default)


def test_latency_is_the_median_of_repeats_after_a_warm_up() -> None:
    """A clock that makes every third forward ten times slower moves the median nowhere."""
    durations = cycle([0.0, 0.002, 0.0, 0.002, 0.0, 0.020])
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += next(durations)
        return now

    assert stopwatch(zeros(1, 64), clock)(nn.Linear(64, 2)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("metric", "target", "words"),
    [
        (
            "parameters",
            "10",
            r"target is 10, below the least parameters of any network in this space: choose a target from 1,... to [\d,]+",
        ),
        ("macs", "1e9", "target is 1e9, above the greatest macs"),
    ],
)
def test_a_target_out_of_reach_is_refused_with_the_attainable_range(metric: str, target: str, words: str, tmp_path: Path) -> None:
    """Before the first step, exit 78; no checkpoint is written."""
    with pytest.raises(ConfigurationError, match=words):
        search(_priced(metric, target), tmp_path, MemorySink())
    assert not (tmp_path / "checkpoints").exists()


def test_the_attainable_range_is_that_of_the_smallest_and_the_largest_network() -> None:
    """For the mlp on 64 inputs: one layer of the least width, three of the greatest, by hand."""
    search_task = _search_task("macs")
    widths = [int(w) for w in next(d for d in search_task.space.decisions if d.name == "width_1").choices]
    low, high = min(widths), max(widths)

    assert search_task.costs.find_range() == (64 * low + low * 10, 64 * high + 2 * high * high + high * 10)


def test_a_latency_search_resumes_with_the_table_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed and resumed on a machine that is now ten times slower, the search ends with the undisturbed digest and cost."""
    document = _priced("latencyMilliseconds", "0.9")
    monkeypatch.setattr(engine, "stopwatch", lambda *_: _macs_time)
    sink = MemorySink()
    expected = search(document, tmp_path / "whole", sink)
    assert [n.reason for n in sink.other_notices] == ["LatencyMeasured"]
    assert expected.result.cost is not None

    def kill(record: object) -> None:
        if len(killed.steps) == 40:
            raise Killed

    killed = MemorySink(on_step=kill)
    with pytest.raises(Killed):
        search(document, tmp_path / "parts", killed)
    monkeypatch.setattr(engine, "stopwatch", lambda *_: lambda network: 10 * _macs_time(network))
    outcome = search(document, tmp_path / "parts", MemorySink())

    assert (outcome.result.digest, outcome.result.cost) == (expected.result.digest, expected.result.cost)


def test_every_score_carries_the_price_in_macs(tmp_path: Path) -> None:
    """Score = accuracy - 0.1 * |macs / target - 1|, and the result states the winner's macs."""
    sink = MemorySink()
    outcome = search(_priced("macs", "9000"), tmp_path, sink)
    costs = _search_task("macs", "9000").costs
    _, space = accept(_priced("macs", "9000"))

    for record in sink.candidates:
        macs = costs.of(space.configuration(record.values))
        assert record.metric is not None
        assert record.score == pytest.approx(record.metric - 0.1 * abs(macs / 9000 - 1))
    assert outcome.result.cost == costs.of(space.configuration(outcome.configuration))


def test_latency_is_never_asked_for_before_it_is_measured() -> None:
    """A bug is loud."""
    search_task = _search_task("latencyMilliseconds")
    assert isinstance(search_task.costs, Costs)
    with pytest.raises(RuntimeError, match="before it was measured"):
        search_task.costs.of(search_task.space.default)


def test_networks_that_take_tokens_are_counted_and_timed() -> None:
    """The example is one of the data, so an embedding gets whole numbers."""
    network = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    tokens = zeros(1, 3, dtype=int64)

    assert count_macs(network, tokens) == 12 * 2
    assert stopwatch(tokens, iter(range(1000)).__next__)(network) == 1000.0


def test_a_custom_model_is_counted_and_timed() -> None:
    """A matrix of 3 outputs and 8 or 4 inputs, a bare parameter, is as many products; latency is fitted with them."""
    document = with_change(small_search(), "spec.task.model", {"entrypoint": "custom_code_fixtures:Linear"})
    document = with_change(document, "spec.task.data", {"entrypoint": "custom_code_fixtures:Data"})
    decisions = [
        {"name": "inputs", "choices": ["4", "8"], "default": "8"},
        {"name": "shift", "choices": ["no", "yes"], "default": "no", "when": {"decision": "inputs", "values": ["8"]}},
    ]
    document = with_change(document, "spec.searchSpace.architecture", {"decisions": decisions})
    parsed, space = accept(with_change(document, "spec.objective", {"cost": {"metric": "macs", "target": "9"}}))
    search_task = SearchTask.load(parsed.spec, space, CPU)
    small = space.configuration({**space.as_mapping(space.default), "inputs": "4"})
    assert (search_task.costs.of(space.default), search_task.costs.of(small)) == (16, 8)

    parsed, space = accept(with_change(document, "spec.objective", {"cost": {"metric": "latencyMilliseconds", "target": "9"}}))
    search_task = SearchTask.load(parsed.spec, space, CPU)
    assert "networks timed on cpu" in search_task.costs.measure(0, lambda network: sum(p.numel() for p in network.parameters()) / 10)
