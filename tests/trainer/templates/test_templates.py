"""The templates written by hand: closed-form sizes, and the supernet's forward against the stand-alone network."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import stream
from autohas_trainer.templates import Path, Template, build_template, default_path, export_leaves, load_leaves

NAMES = ["conv-small", "mlp-small"]
SHAPE = (1, 20, 20)


def template(name: str, shape: tuple[int, int, int] = SHAPE) -> Template:
    """A template for ten classes."""
    return build_template(name, shape, 10)


def paths(made: Template, number: int = 12) -> Iterator[dict[str, str]]:
    """The default, then keyed random paths."""
    yield default_path(made.decisions)
    for draw in range(number):
        rng = stream("paths", draw)
        yield {decision.name: decision.choices[rng.integers(len(decision.choices))] for decision in made.decisions}


def inputs(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Sixteen images of noise."""
    return torch.tensor(stream("inputs").standard_normal((16, *shape), dtype=np.float32))


def leaves(made: Template, path: Path) -> dict[str, Tensor]:
    """The initial leaves of a path."""
    shared = made.shared((0, "shared"))
    return {name: shared[name][index] for name, index in made.slices(path).items()}


def randomised(made: Template, path: Path) -> dict[str, Tensor]:
    """Leaves without the symmetries of an initialisation: no ones, no zeros."""
    return {
        name: torch.tensor(0.3 * stream("leaf", name).standard_normal(tuple(leaf.shape), dtype=np.float32))
        for name, leaf in leaves(made, path).items()
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (1, 20, 20), (1, 28, 28)])
def test_standalone_network_computes_what_the_supernet_does(name: str, shape: tuple[int, int, int]) -> None:
    """With the same weights and in batch-statistics mode, logits of both forms agree for any path."""
    made, images = template(name, shape), inputs(shape)
    for path in paths(made):
        weights = randomised(made, path)
        network = made.build(path, (0,))
        load_leaves(network, weights)
        torch.testing.assert_close(network.train()(images), made.forward(images, path, weights), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_too(name: str) -> None:
    """The gradient of a leaf is the gradient of the stand-alone parameter of the same name."""
    made, images = template(name), inputs()
    for path in paths(made, 3):
        weights = {leaf: weight.requires_grad_() for leaf, weight in randomised(made, path).items()}
        network = made.build(path, (0,))
        load_leaves(network, {leaf: weight.detach() for leaf, weight in weights.items()})
        network.train()(images).square().sum().backward()
        grads = torch.autograd.grad(made.forward(images, path, weights).square().sum(), list(weights.values()))
        for leaf, grad in zip(weights, grads, strict=True):
            torch.testing.assert_close(network.get_parameter(leaf).grad, grad, rtol=1e-3, atol=1e-4 * grad.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_counted_in_closed_form(name: str) -> None:
    """The count equals the sizes of the leaves and the trainable parameters of the stand-alone network."""
    made = template(name)
    for path in paths(made):
        count = made.num_parameters(path)
        assert count == sum(leaf.numel() for leaf in leaves(made, path).values())
        assert count == sum(parameter.numel() for parameter in made.build(path, (0,)).parameters() if parameter.requires_grad)


def test_default_sizes_by_hand() -> None:
    """By hand, mlp on 400 inputs: 400·64+128 + 64·64+128 + 64·10+10. conv-small: stem 16·9+32, four blocks, head 32·10+10."""
    mlp, conv = template("mlp-small"), template("conv-small")
    assert mlp.num_parameters(default_path(mlp.decisions)) == 400 * 64 + 2 * 64 + 64 * 64 + 2 * 64 + 64 * 10 + 10

    def block(width_in: int, width_out: int) -> int:
        return width_in * width_in * 9 + 2 * width_in + width_in * width_out + 2 * width_out

    blocks = 2 * block(16, 16) + block(16, 32) + block(32, 32)
    assert conv.num_parameters(default_path(conv.decisions)) == 16 * 9 + 2 * 16 + blocks + 32 * 10 + 10


@pytest.mark.parametrize("name", NAMES)
def test_inactive_decisions_change_nothing(name: str) -> None:
    """A decision whose condition fails leaves slices, size, logits and initialisation as they are."""
    made, images = template(name), inputs()
    shallow = default_path(made.decisions) | {
        decision.name: min(decision.choices) for decision in made.decisions if decision.name.endswith("depth")
    }
    for decision in made.decisions:
        if decision.when is None or shallow[decision.when.decision] in decision.when.values:
            continue
        for choice in decision.choices:
            other = shallow | {decision.name: choice}
            assert made.slices(other) == made.slices(shallow)
            assert torch.equal(made.build(other, (0,))(images), made.build(shallow, (0,))(images))


@pytest.mark.parametrize("name", NAMES)
def test_every_active_decision_changes_the_network(name: str) -> None:
    """On the deepest path each choice of each decision gives other logits or another size."""
    made, images = template(name), inputs()
    deep = {decision.name: max(decision.choices) if decision.name.endswith("depth") else decision.default for decision in made.decisions}
    for decision in made.decisions:
        networks = [made.build(deep | {decision.name: choice}, (0,)) for choice in decision.choices]
        fingerprints = {network(images).sum().item() for network in networks}
        assert len(fingerprints) == len(decision.choices), decision.name


@pytest.mark.parametrize("name", NAMES)
def test_slices_fit_into_the_shared_tensors(name: str) -> None:
    """Every slice lies inside its tensor, and together all paths use every shared weight."""
    made = template(name)
    used = {leaf: torch.zeros(weight.shape, dtype=torch.bool) for leaf, weight in made.shared((0,)).items()}
    for path in paths(made, 200):
        for leaf, index in made.slices(path).items():
            sizes = zip(index, used[leaf].shape, strict=True)
            assert all(0 <= part.start < part.stop <= size for part, size in sizes)
            used[leaf][index] = True
    assert all(mask.all() for mask in used.values())


@pytest.mark.parametrize("name", NAMES)
def test_initialisation_depends_on_its_key_alone(name: str) -> None:
    """Equal keys give equal tensors, other keys others, and torch's global generator is neither read nor moved."""
    made = template(name)
    path = default_path(made.decisions)
    before = torch.random.get_rng_state()
    one, same, other = (made.shared(key) for key in ((0, "a"), (0, "a"), (0, "b")))
    networks = [made.build(path, key).state_dict() for key in ((0, "a"), (0, "a"), (0, "b"))]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[leaf], same[leaf]) for leaf in one)
    assert all(torch.equal(networks[0][entry], networks[1][entry]) for entry in networks[0])
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert not torch.equal(networks[0]["head.weight"], networks[2]["head.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_have_the_stated_deviation(name: str) -> None:
    """He: √(2/fan-in) for hidden weights, √(1/fan-in) for the head, ones and zeros for vectors."""
    for leaf, weight in template(name).shared((0,)).items():
        if weight.ndim == 1:
            assert torch.equal(weight, torch.full_like(weight, 1.0 if leaf.endswith("norm.weight") else 0.0))
            continue
        gain = 1 if leaf == "head.weight" else 2
        standard_error = 1 / np.sqrt(2 * weight.numel())
        assert weight.std().item() * np.sqrt(weight[0].numel() / gain) == pytest.approx(1, abs=5 * standard_error)


def test_standalone_normalisation_starts_at_zero_and_one() -> None:
    """Running statistics are initialised although the network was built without memory."""
    made = template("conv-small")
    buffers: Mapping[str, Tensor] = dict(made.build(default_path(made.decisions), (0,)).named_buffers())
    assert len(buffers) == 3 * (1 + 2 * 4)
    for entry, buffer in buffers.items():
        assert torch.equal(buffer, torch.full_like(buffer, 1 if entry.endswith("running_var") else 0)), entry


def test_large_inputs_are_halved_by_the_stem() -> None:
    """From 16 px on the stem has stride 2, so a 20 px image reaches the pooling as 5 px, an 8 px one as 4 px."""
    for shape, expected in (((1, 20, 20), 5), ((1, 16, 16), 4), ((1, 15, 15), 8), ((1, 8, 8), 4)):
        made = template("conv-small", shape)
        network = made.build(default_path(made.decisions), (0,))
        sizes: list[tuple[int, ...]] = []
        network.get_submodule("stage2").register_forward_hook(lambda _module, _inputs, output, sizes=sizes: sizes.append(output.shape[2:]))
        network(inputs(shape))
        assert sizes == [(expected, expected)]


def test_leaves_go_out_and_in_by_name() -> None:
    """Exported leaves loaded into another network make it equal; leaves of another path are refused by name."""
    made = template("mlp-small")
    path = default_path(made.decisions)
    one, other = made.build(path, (0,)), made.build(path, (1,))
    load_leaves(other, export_leaves(one))
    assert torch.equal(one(inputs()), other(inputs()))
    with pytest.raises(ConfigurationError, match=r"hidden\.0\.linear\.weight has shape \(64, 400\) but the network wants \(16, 400\)"):
        load_leaves(made.build(path | {"width_1": "16"}, (0,)), export_leaves(one))


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("vgg", SHAPE, 10), ("mlp-small", (1, 0, 8), 10), ("conv-small", SHAPE, 0), ("conv-small", (5,), 2)]
)
def test_impossible_templates_are_named(name: str, shape: tuple[int, ...], classes: int) -> None:
    """An unknown template, empty inputs, no output or a table for a convolution are refused with the template's name."""
    with pytest.raises(ConfigurationError, match=name):
        build_template(name, shape, classes)


def test_networks_are_ordinary_modules() -> None:
    """A stand-alone network can be saved and loaded as any module, and evaluates one example at a time."""
    made = template("conv-small")
    path = default_path(made.decisions)
    network: nn.Module = made.build(path, (0,))
    network(inputs())
    copy = made.build(path, (1,))
    copy.load_state_dict(network.state_dict())
    assert torch.equal(copy.eval()(inputs()[:1]), network.eval()(inputs()[:1]))
