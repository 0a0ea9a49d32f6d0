"""Custom models: one with decisions that share weights, and a plain module whose hyperparameters alone are searched.

    task.model: {entrypoint: "custom_model.model:WaveNets"}
    task.model: {entrypoint: "custom_model.model:PlainNet"}

Both are called with the shape of one input, the number of outputs, and the search's arguments as keywords.

Choices that share what follows them should give features of one scale: with mean and max pooling as choices before this head the shared
weights diverged at a rate of 0.3; normalise after such a choice, or give each its own leaf.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDEST, LONGEST = 32, 9
ACTIVATIONS = {"relu": torch.relu, "silu": functional.silu}
Path = Mapping[str, str]


class WaveNets:
    """One or two convolutions with a choice of width, kernel and activation; small networks are corners of the largest."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        """Keep what no decision changes."""
        self.channels = input_shape[0]
        self.num_outputs = num_outputs

    def decisions(self) -> list[dict[str, object]]:
        """Return the decisions; the search lists the same under searchSpace.architecture.decisions."""
        return [
            {"name": "depth", "choices": ["1", "2"], "default": "1"},
            {"name": "width", "choices": ["8", "16", "32"], "default": "16"},
            {"name": "kernel", "choices": ["3", "5", "9"], "default": "5"},
            {"name": "kernel_2", "choices": ["3", "5"], "default": "3", "when": {"decision": "depth", "values": ["2"]}},
            {"name": "activation", "choices": ["relu", "silu"], "default": "relu"},
        ]

    def shared(self) -> dict[str, Tensor]:
        """Return full-size weights; torch's global generator is seeded before every call."""
        convolutions = {"conv1": self.channels, "conv2": WIDEST}
        weights: dict[str, Tensor] = {}
        for name, inputs in convolutions.items():
            weights[f"{name}.weight"] = nn.init.kaiming_normal_(torch.empty(WIDEST, inputs, LONGEST))
            weights[f"{name}_norm.weight"], weights[f"{name}_norm.bias"] = torch.ones(WIDEST), torch.zeros(WIDEST)
        weights["head.weight"] = nn.init.kaiming_normal_(torch.empty(self.num_outputs, WIDEST), nonlinearity="linear")
        weights["head.bias"] = torch.zeros(self.num_outputs)
        return weights

    def slices(self, path: Path) -> dict[str, tuple[slice, ...]]:
        """Return the leading channels and the middle of the kernels; only the leaves that the path uses."""
        width = slice(0, int(path["width"]))
        found: dict[str, tuple[slice, ...]] = {"head.weight": (slice(None), width), "head.bias": (slice(None),)}
        for name, kernel, inputs in self._convolutions(path):
            margin = (LONGEST - kernel) // 2
            found[f"{name}.weight"] = (width, slice(0, inputs), slice(margin, margin + kernel))
            found[f"{name}_norm.weight"] = found[f"{name}_norm.bias"] = (width,)
        return found

    def forward(self, inputs: Tensor, path: Path, leaves: Mapping[str, Tensor]) -> Tensor:
        """Return outputs (B, K) with the given leaves, normalised by the batch's own statistics."""
        features, activation = inputs, ACTIVATIONS[path["activation"]]
        for name, kernel, _ in self._convolutions(path):
            features = functional.conv1d(features, leaves[f"{name}.weight"], padding=kernel // 2)
            scale, shift = leaves[f"{name}_norm.weight"], leaves[f"{name}_norm.bias"]
            features = activation(functional.batch_norm(features, None, None, scale, shift, training=True))
        return functional.linear(features.mean(dim=2), leaves["head.weight"], leaves["head.bias"])

    def build(self, configuration: Path) -> nn.Module:
        """Return the stand-alone network; its parameters are named as the leaves."""
        return _Network(self._convolutions(configuration), int(configuration["width"]), self.num_outputs, configuration["activation"])

    def _convolutions(self, path: Path) -> list[tuple[str, int, int]]:
        """Return name, kernel and input channels of each convolution."""
        convolutions = [("conv1", int(path["kernel"]), self.channels)]
        if path["depth"] == "2":
            convolutions.append(("conv2", int(path["kernel_2"]), int(path["width"])))
        return convolutions


class _Network(nn.Module):
    """An ordinary network with ordinary batch normalisation."""

    def __init__(self, convolutions: list[tuple[str, int, int]], width: int, num_outputs: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.names = [name for name, _, _ in convolutions]
        for name, kernel, inputs in convolutions:
            self.add_module(name, nn.Conv1d(inputs, width, kernel, padding=kernel // 2, bias=False))
            self.add_module(f"{name}_norm", nn.BatchNorm1d(width))
        self.head = nn.Linear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        features = inputs
        for name in self.names:
            features = self.activation(self.get_submodule(f"{name}_norm")(self.get_submodule(name)(features)))
        return self.head(features.mean(dim=2))


class PlainNet(nn.Sequential):
    """A plain module: it has no decisions, so learning rate, weight decay and other hyperparameters are searched, in lanes."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, width: str = "32") -> None:
        """Build it as usual; arguments of the search arrive as strings."""
        channels, length = input_shape
        super().__init__(
            nn.Flatten(), nn.Linear(channels * length, int(width)), nn.ReLU(), nn.Dropout(0.1), nn.Linear(int(width), num_outputs)
        )
