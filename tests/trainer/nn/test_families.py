"""Families as people write them: residual convolutions, a language model with tied embeddings; mixtures; what is refused, and how."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import nn as torch_nn
from torch.nn import functional

from autohas import nn
from autohas_api.base.condition import When
from autohas_trainer.conformance import check_template
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.nn import Searchable
from autohas_trainer.nn import skeleton as skeleton_module
from autohas_trainer.nn.pretrained import Pretrained
from autohas_trainer.seeding import stream
from autohas_trainer.templates import default_path, measure_path, use_batch_statistics
from autohas_trainer.templates.custom import wrap_custom

Factory = Callable[..., torch_nn.Module]


class ResidualBlock(torch_nn.Module):
    """As timm writes one: two convolutions, each normalised, and the input added."""

    def __init__(self, channels: int, hidden: nn.Size) -> None:
        super().__init__()
        self.conv1 = nn.ElasticConv2d(channels, hidden, nn.Choice("kernel", (3, 5)), bias=False)
        self.bn1 = nn.ElasticBatchNorm2d(hidden)
        self.act1 = nn.OneOf("act", {"relu": torch_nn.ReLU(), "prelu": torch_nn.PReLU()})
        self.conv2 = nn.ElasticConv2d(hidden, channels, 3, bias=False)
        self.bn2 = torch_nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.bn2(self.conv2(self.act1(self.bn1(self.conv1(features))))))


def resnet(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
    """A stem and two blocks whose kernels and activations are decided together, their widths apart."""
    blocks = torch_nn.Sequential(*(ResidualBlock(8, nn.Choice(f"width_{i}", (4, 8))) for i in range(2)))
    head = torch_nn.Linear(8 * input_shape[1] * input_shape[2], num_outputs)
    return torch_nn.Sequential(torch_nn.Conv2d(input_shape[0], 8, 3, padding=1), nn.Skippable("blocks", blocks), torch_nn.Flatten(), head)


class Gpt(torch_nn.Module):
    """Tokens in, the last position's logits out; the head is the embedding."""

    def __init__(self, length: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = torch_nn.Embedding(vocabulary, 16)
        self.blocks = nn.Repeat("layers", self.make_block, choices=(1, 2), default=2)
        self.head = torch_nn.Linear(16, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        self.length = length

    def make_block(self, index: int) -> torch_nn.Module:
        heads = nn.Choice(f"heads_{index}", (1, 2), default=2)
        attention = nn.ElasticAttention(16, heads, 4, is_causal=True, rotary_length=8)
        return torch_nn.Sequential(
            torch_nn.LayerNorm(16), attention, nn.ElasticMLP(16, nn.Choice(f"mlp_{index}", (8, 32)), dropout=torch_nn.Dropout(0.2))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.embedding(tokens)))[:, -1]
        return logits


def gpt(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
    return Gpt(input_shape[0], num_outputs)


def nested(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
    """A decision inside a branch inside a branch, and one that stands in two branches of one decision."""
    inner = nn.OneOf("inner", {"a": nn.Skippable("deep", torch_nn.Linear(4, 4)), "b": torch_nn.Tanh()})
    both = {key: torch_nn.Sequential(nn.Skippable("both", torch_nn.Linear(4, 4))) for key in ("x", "y")}
    outer = nn.OneOf("outer", {**both, "z": inner})
    return torch_nn.Sequential(outer, torch_nn.Linear(4, num_outputs))


def tokens(shape: tuple[int, ...]) -> Tensor:
    return torch.tensor(stream("tokens").integers(7, size=shape))


@pytest.mark.parametrize(
    ("factory", "inputs", "num_outputs"),
    [(resnet, torch.tensor(stream("x").standard_normal((8, 3, 5, 5)), dtype=torch.float32), 4), (gpt, tokens((8, 6)), 7)],
    ids=["resnet", "gpt"],
)
def test_families_conform(factory: Factory, inputs: Tensor, num_outputs: int) -> None:
    """Tied kernels, parametric activations, tied weights, a rotary table, dropout: every promise, in training mode too."""
    family = wrap_custom(factory, "the model", None, tuple(inputs.shape[1:]), num_outputs)

    assert [check for check in check_template(family, inputs, (num_outputs,)) if check.problem] == []


def test_every_path_of_the_supernet_is_its_stand_alone_network() -> None:
    """All 32 paths: equal leaves give equal outputs and equal gradients, and slices have the shapes of build."""
    family = Searchable(resnet, (3, 5, 5), 4)
    inputs = torch.tensor(stream("x").standard_normal((4, 3, 5, 5)), dtype=torch.float32)
    shared = {
        name: torch.tensor(stream("w", name).standard_normal(w.shape), dtype=torch.float32) for name, w in family.shared((0,)).items()
    }
    paths = [
        dict(zip([d.name for d in family.decisions], c, strict=True)) for c in itertools.product(*(d.choices for d in family.decisions))
    ]
    for path in paths:
        leaves = {name: shared[name][index].clone().requires_grad_() for name, index in family.slices(path).items()}
        network = family.build(path, (1,))
        parameters = dict(network.named_parameters())
        assert {name: leaf.shape for name, leaf in leaves.items()} == {name: p.shape for name, p in parameters.items()}
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(leaves[name])
        expected, actual = use_batch_statistics(network)(inputs), family.forward(inputs, path, leaves)
        assert torch.equal(expected, actual)
        expected.square().sum().backward()
        actual.square().sum().backward()
        assert all(torch.equal(leaves[name].grad, p.grad) for name, p in parameters.items())  # type: ignore[arg-type]

    assert len(paths) == 32


def test_conditions_follow_from_nesting() -> None:
    """The innermost wrapper around all places of a decision."""
    when = {d.name: d.when for d in Searchable(nested, (4,), 2).decisions}

    assert when == {
        "outer": None,
        "both": When(decision="outer", values=("x", "y")),
        "inner": When(decision="outer", values=("z",)),
        "deep": When(decision="inner", values=("a",)),
    }


def _one(module: Callable[[], torch_nn.Module]) -> Factory:
    def factory(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
        return torch_nn.Sequential(module(), torch_nn.Linear(4, num_outputs))

    return factory


class _WithBuffer(torch_nn.Module):
    """Adds noise that is drawn when it is made."""

    noise: torch.Tensor

    def __init__(self, *, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("noise", torch.randn(4), persistent=persistent)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs + self.noise


def _twice() -> torch_nn.Module:
    layer = torch_nn.Linear(4, 4)
    return nn.OneOf("layer", {"a": layer, "b": layer})


def _wrapper_twice() -> torch_nn.Module:
    skip = nn.Skippable("layer", torch_nn.Linear(4, 4))
    return torch_nn.Sequential(skip, skip)


KEPT = torch_nn.Linear(4, 2)
REFUSALS: dict[str, tuple[Factory, str]] = {
    "two meanings of one name": (
        _one(
            lambda: torch_nn.Sequential(
                nn.Skippable("layer", torch_nn.Tanh()), nn.OneOf("layer", {"a": torch_nn.ReLU(), "b": torch_nn.Tanh()})
            )
        ),
        r"decision layer has choices keep, skip \(default keep\) at 0\.0 and a, b \(default a\) at 0\.1: one name is one decision",
    ),
    "a choice that is no text": (
        _one(lambda: nn.OneOf("layer", {1: torch_nn.ReLU(), 2: torch_nn.Tanh()})),  # type: ignore[dict-item]
        "OneOf layer: choice 1 is a int; choices are text: write '1'",
    ),
    "one branch": (_one(lambda: nn.OneOf("layer", {"a": torch_nn.ReLU()})), r"OneOf layer has 1 branches \(a\); give at least two"),
    "a branch twice": (_one(_twice), "OneOf layer: a and b are the same module; make one for each"),
    "a wrapper twice": (_one(_wrapper_twice), r"0\.0 and 0\.1 are the same Skippable layer; make one for each place"),
    "a name that is none": (_one(lambda: nn.Skippable("Second Block", torch_nn.Tanh())), "decision 'Second Block' is not allowed"),
    "kernels without a common centre": (
        _one(lambda: nn.ElasticConv2d(4, 4, nn.Choice("kernel", (2, 3)))),
        r"kernels of \[2, 3\]: make all odd or all even",
    ),
    "the same module": (lambda input_shape, num_outputs: KEPT, "gave the same module at its second call; make every module inside"),
    "the same weights": (
        lambda input_shape, num_outputs: torch_nn.Sequential(KEPT),
        r"gave a module with the same parameter 0\.weight at its second call",
    ),
    "a drawn buffer next to a decision": (
        _one(lambda: nn.Skippable("layer", _WithBuffer(persistent=True))),
        r"gave another buffer 0\.keep\.noise at its second call, under another seed; buffers are constants",
    ),
    "a drawn buffer that is not saved": (_one(lambda: _WithBuffer(persistent=False)), r"gave another buffer 0\.noise at its second call"),
    "shapes of the first input": (_one(lambda: torch_nn.LazyLinear(4)), r"parameter 0\.weight gets its shape from the first input"),
    "no module": (lambda input_shape, num_outputs: 3, "gave a int; it must give a torch.nn.Module"),  # type: ignore[dict-item, return-value]
    "a chain that is too short": (
        _one(lambda: nn.Repeat("depth", [torch_nn.Tanh()], choices=(1, 2))),
        "depths 1, 2 of a chain of 1 modules",
    ),
}


def test_a_model_without_decisions_may_draw_buffers_that_are_saved() -> None:
    """Spectral normalisation does: they are the network's own, and in its file."""
    family = Searchable(_one(lambda: _WithBuffer(persistent=True)), (4,), 2)

    one, other = (family.build({}, (seed,)).state_dict()["0.noise"] for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_searched_is_refused_in_one_sentence(case: str) -> None:
    """The sentence names the wrapper or the module, and says what to do."""
    factory, words = REFUSALS[case]
    with pytest.raises(ConfigurationError, match=rf"^the model.*{words}"):
        Searchable(factory, (4,), 2)


def test_a_parameter_that_the_whole_network_lacks_is_refused() -> None:
    """Plain Python may read a choice, but the whole network must hold every weight."""

    def factory(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
        kind = nn.Choice("kind", ("a", "b"))
        return torch_nn.Sequential(torch_nn.Linear(4, num_outputs), *([torch_nn.PReLU()] if kind.value == "b" else []))

    with pytest.raises(ConfigurationError, match=r"path \{'kind': 'b'\} has parameter 1\.weight of shape \(1,\), but the whole network"):
        Searchable(factory, (4,), 2).slices({"kind": "b"})


def test_only_the_last_paths_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a search does not grow with the paths that it samples: all networks together have a number of modules."""
    family = Searchable(resnet, (3, 5, 5), 4)
    default = default_path(family.decisions)
    monkeypatch.setattr(skeleton_module, "_MAX_MODULES", 3 * len(list(family.build_undrawn(default).modules())))
    for width_0, width_1, kernel in itertools.product(("4", "8"), ("4", "8"), ("3", "5")):
        family.slices({**default, "width_0": width_0, "width_1": width_1, "kernel": kernel})

    assert len(family._skeletons) == 3


def test_a_path_that_is_met_in_a_step_leaves_the_global_generators_alone() -> None:
    """Whether a network was built before or is built now, what the step draws afterwards is the same."""
    family = Searchable(gpt, (6,), 7)
    path = default_path(family.decisions)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    family.slices(path)

    assert torch.equal(torch.rand(2), expected)


def test_the_initial_weights_are_those_of_torch_for_the_path_and_its_key() -> None:
    """Half the width, half the fan-in: a bound of 1 / sqrt(fan-in), and another key other weights."""

    def factory(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
        width = nn.Choice("width", (64, 256))
        return torch_nn.Sequential(nn.ElasticLinear(4, width), nn.ElasticLinear(width, num_outputs))

    family = Searchable(factory, (4,), 50)
    bounds = {width: float(family.build({"width": width}, (1,)).get_parameter("1.weight").detach().abs().max()) for width in ("64", "256")}
    one, again, other = (family.build({"width": "64"}, key).get_parameter("1.weight") for key in ((1,), (1,), (2,)))

    assert bounds == {"64": pytest.approx(1 / 8, rel=0.02), "256": pytest.approx(1 / 16, rel=0.02)}
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_multiply_accumulates_are_counted_without_numbers() -> None:
    """A convolution of 8 by 3 by 9 over 25 positions and a head of 200 by 4, the blocks left out; nothing is computed."""
    family = Searchable(resnet, (3, 5, 5), 4)
    path = {**default_path(family.decisions), "blocks": "skip"}

    assert measure_path(family, path, torch.zeros(1, 3, 5, 5)).macs == 8 * 27 * 25 + 200 * 4


def pretrained_net(input_shape: tuple[int, ...], num_outputs: int) -> torch_nn.Module:
    hidden = torch_nn.Sequential(torch_nn.Linear(4, 4), nn.OneOf("act", {"relu": torch_nn.ReLU(), "prelu": torch_nn.PReLU()}))
    return torch_nn.Sequential(
        torch_nn.Linear(4, 4).requires_grad_(requires_grad=False), nn.Skippable("second", hidden), torch_nn.Linear(4, num_outputs)
    )


WEIGHTS = {
    "0.weight": torch.eye(4), "0.bias": torch.ones(4), "1.0.weight": 2 * torch.eye(4), "1.0.bias": torch.zeros(4),
    "2.weight": torch.ones(3, 4), "2.bias": torch.zeros(3),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_pretrained_weights_are_where_the_model_had_them_before_its_wrappers(suffix: str, tmp_path: Path) -> None:
    """Shared and stand-alone weights begin with them, frozen ones keep them; a head that is left out is drawn."""
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": WEIGHTS, "epoch": 3}, file)
    else:
        save_file(WEIGHTS, file)
    family = Searchable(pretrained_net, (4,), 2, pretrained=Pretrained.read(str(file), ["2"]))
    path = default_path(family.decisions)
    shared, network = family.shared((0,)), family.build(path, (1,))

    assert torch.equal(shared["1.keep.0.weight"], 2 * torch.eye(4))
    assert torch.equal(network.get_parameter("1.keep.0.weight"), 2 * torch.eye(4))
    assert torch.equal(network.get_parameter("0.weight"), torch.eye(4))
    assert "0.weight" not in shared
    assert family.num_parameters(path) == 20 + 10
    leaves = {name: shared[name][index] for name, index in family.slices(path).items()}
    hidden = torch.relu(2 * (torch.ones(1, 4) + 1))
    assert torch.allclose(family.forward(torch.ones(1, 4), path, leaves), hidden @ shared["2.weight"].T + shared["2.bias"])


@pytest.mark.parametrize(
    ("change", "exclude", "words"),
    [
        ({}, [], r"2\.weight has shape \(3, 4\), the model wants \(2, 4\); leave it out by exclude: \[2\]"),
        ({"0.bias": None}, ["2"], r"the file lacks 0\.bias, which the model has; leave it out by exclude: \[0\]"),
        ({"fc.weight": torch.ones(1)}, ["2"], r"the file has fc\.weight, which the model does not have; leave it out by exclude: \[fc\]"),
        ({}, ["2", "head"], "exclude has 'head', with which no name of the file or the model begins; remove it"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: dict[str, Tensor | None], exclude: list[str], words: str) -> None:
    """A missing, an unknown, a misshaped tensor, and an exclusion without effect."""
    tensors = {name: tensor for name, tensor in {**WEIGHTS, **change}.items() if tensor is not None}
    with pytest.raises(ConfigurationError, match=words):
        Searchable(pretrained_net, (4,), 2, pretrained=Pretrained(tensors, exclude))


def test_files_that_hold_no_weights_are_named(tmp_path: Path) -> None:
    """Absent, damaged, or something else than tensors by name."""
    (tmp_path / "damaged.safetensors").write_bytes(b"?")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, words in (
        ("absent.pt", "cannot be read as a torch state dict"),
        ("damaged.safetensors", "as safetensors"),
        ("list.pt", "no weights"),
    ):
        with pytest.raises(DataError, match=rf"task\.model\.pretrained\.path .*{name}: .*{words}"):
            Pretrained.read(str(tmp_path / name))
