"""Own models and data for tests of the entrypoint contract: sound ones, and one for each way to break it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from autohas_trainer.templates import Dropout

not_callable = 3
_calls = itertools.count()


class Linear:
    """A linear model over the first 4 or 8 inputs, with or without a bias-like second leaf."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        self.num_inputs, self.num_outputs = int(np.prod(input_shape)), num_outputs

    def decisions(self) -> list[dict[str, Any]]:
        return [
            {"name": "inputs", "choices": ["4", "8"], "default": "8"},
            {"name": "shift", "choices": ["no", "yes"], "default": "no", "when": {"decision": "inputs", "values": ["8"]}},
        ]

    def shared(self) -> dict[str, torch.Tensor]:
        return {"weight": 0.1 * torch.randn(self.num_outputs, 8), "shift": torch.zeros(8)}

    def slices(self, path: dict[str, str]) -> dict[str, Any]:
        inputs = slice(0, int(path["inputs"]))
        found: dict[str, Any] = {"weight": (slice(None), inputs)}
        return found | ({"shift": inputs} if self._is_shifted(path) else {})

    def forward(self, inputs: torch.Tensor, path: dict[str, str], leaves: dict[str, torch.Tensor]) -> torch.Tensor:
        features = inputs.flatten(1)[:, : int(path["inputs"])]
        return (features + leaves["shift"] if self._is_shifted(path) else features) @ leaves["weight"].T

    def build(self, configuration: dict[str, str]) -> nn.Module:
        return _LinearNetwork(int(configuration["inputs"]), self.num_outputs, shifted=self._is_shifted(configuration))

    def _is_shifted(self, path: dict[str, str]) -> bool:
        return path["inputs"] == "8" and path["shift"] == "yes"


class _LinearNetwork(nn.Module):
    def __init__(self, num_inputs: int, num_outputs: int, *, shifted: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(num_outputs, num_inputs))
        self.shift = nn.Parameter(torch.zeros(num_inputs)) if shifted else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        features = inputs.flatten(1)[:, : self.weight.shape[1]]
        return (features if self.shift is None else features + self.shift) @ self.weight.T


class Scaled(Linear):
    """Has a third decision: by how much its outputs are scaled."""

    def decisions(self) -> list[dict[str, Any]]:
        return [*super().decisions(), {"name": "scale", "choices": ["1", "2"], "default": "1"}]

    def forward(self, inputs: Any, path: Any, leaves: Any) -> torch.Tensor:
        return float(path["scale"]) * super().forward(inputs, path, leaves)


class WrongShape(Linear):
    """One output too few."""

    def forward(self, inputs: Any, path: Any, leaves: Any) -> torch.Tensor:
        return super().forward(inputs, path, leaves)[:, :1]


class OwnWeights(Linear):
    """Computes without its leaves."""

    def forward(self, inputs: Any, path: Any, leaves: Any) -> torch.Tensor:
        return inputs.flatten(1)[:, : self.num_outputs]


class UnusedLeaf(Linear):
    """Lists a leaf that its forward does not use."""

    def slices(self, path: Any) -> dict[str, Any]:
        return super().slices(path) | {"shift": (slice(0, 8),)}


class OutsideShared(Linear):
    """Cuts more than there is."""

    def slices(self, path: Any) -> dict[str, Any]:
        return {"weight": (slice(None), slice(0, 9))}


class UnknownLeaf(Linear):
    """Cuts a leaf that is not shared."""

    def slices(self, path: Any) -> dict[str, Any]:
        return {"kernel": (slice(None),)}


class OtherParameters(Linear):
    """Builds a network with other names."""

    def build(self, configuration: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(self.num_inputs, self.num_outputs))


class OtherFunction(Linear):
    """Its two forms compute different things."""

    def forward(self, inputs: Any, path: Any, leaves: Any) -> torch.Tensor:
        return 2 * super().forward(inputs, path, leaves)


class OwnRandomness(Linear):
    """Draws from a generator that nobody seeds."""

    def shared(self) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(next(_calls))
        return super().shared() | {"weight": torch.randn(self.num_outputs, 8, generator=generator)}


class InactiveMatters(Linear):
    """An inactive decision changes the network."""

    def _is_shifted(self, path: dict[str, str]) -> bool:
        return path["shift"] == "yes"

    def slices(self, path: dict[str, str]) -> dict[str, Any]:
        return super().slices(path) | ({"shift": slice(0, int(path["inputs"]))} if self._is_shifted(path) else {})


class Raises(Linear):
    """Its forward raises."""

    def forward(self, inputs: Any, path: Any, leaves: Any) -> torch.Tensor:
        raise KeyError("weights")


class NoDefault(Linear):
    """Its default is none of the choices."""

    def decisions(self) -> list[dict[str, Any]]:
        return [{"name": "inputs", "choices": ["4", "8"], "default": "16"}]


class HalfModel:
    """Has decisions and nothing else."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None: ...

    def decisions(self) -> list[dict[str, Any]]:
        return []


class Plain(nn.Sequential):
    """A plain module with dropout and batch normalisation."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, width: str = "16") -> None:
        hidden = (nn.Linear(int(np.prod(input_shape)), int(width)), nn.BatchNorm1d(int(width)), nn.ReLU(), nn.Dropout(0.2))
        super().__init__(nn.Flatten(), *hidden, nn.Linear(int(width), num_outputs))


class Faulty(Plain):
    """A plain module whose forwards do first what a test asks for."""

    fault: Callable[[nn.Module, torch.Tensor], None] = staticmethod(lambda module, inputs: None)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        type(self).fault(self, inputs)
        return super().forward(inputs)


class FaultyLinear(Linear):
    """A model with decisions whose supernet forwards and builds do first what a test asks for."""

    fault: Callable[[dict[str, str], str], None] = staticmethod(lambda path, where: None)

    def forward(self, inputs: torch.Tensor, path: dict[str, str], leaves: dict[str, torch.Tensor]) -> torch.Tensor:
        type(self).fault(path, "forward")
        return super().forward(inputs, path, leaves)

    def build(self, configuration: dict[str, str]) -> nn.Module:
        type(self).fault(configuration, "build")
        return super().build(configuration)


class Constant(Plain):
    """Divides by a constant tensor that is no buffer, so that it stays on the CPU."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__(input_shape, num_outputs)
        self.scale = torch.full((num_outputs,), 2.0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) / self.scale


class _Scattered(torch.autograd.Function):
    """The identity, with a gradient for which torch has no deterministic algorithm (`put_`), on the CPU as on a GPU."""

    @staticmethod
    def forward(ctx: Any, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(gradient).put_(torch.arange(gradient.numel()), gradient)


class Scattering(Plain):
    """A plain module without a deterministic gradient."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return _Scattered.apply(super().forward(inputs))


class ScatteringLoss(Plain):
    """A plain module with a loss without a deterministic gradient."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, hyperparameters: dict[str, str]) -> torch.Tensor:
        return nn.functional.cross_entropy(_Scattered.apply(outputs), targets, reduction="none")


class Scalar(Plain):
    """A plain module with a parameter of no dimension."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__(input_shape, num_outputs)
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) * self.temperature


class Tied(nn.Module):
    """Two names for one tensor."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        self.one, self.other = (nn.Linear(64, 64, bias=False) for _ in range(2))
        self.other.weight = self.one.weight
        self.head = nn.Linear(64, num_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.other(self.one(inputs.flatten(1))))


def refuses(input_shape: tuple[int, ...], num_outputs: int) -> None:
    raise ValueError("only images of 3 px")


def gives_text(input_shape: tuple[int, ...], num_outputs: int) -> str:
    return "model"


class Data:
    """Two classes told apart by their first number; `defect` breaks something."""

    def __init__(self, defect: str = "", rows: str = "900", path: str = "") -> None:
        self.defect, self.rows, self.path = defect, int(rows), path

    def splits(self) -> dict[str, Any]:
        train, test = self._made(self.rows, 0), self._made(100, 1)
        if self.defect == "nan":
            test[0][7, 0] = np.nan
        if self.defect == "large":
            test = (test[0].astype(np.float64), test[1])
            test[0][7, 0] = 1e40
        if self.defect == "class":
            test[1][5] = 2
        if self.defect == "huge class":
            train[1][9] = 10**9
        broken: dict[str, Callable[[], dict[str, Any]]] = {
            "file": lambda: {"train": np.load("/no/such/file")},
            "exit": lambda: sys.exit(0),
            "keys": lambda: {"train": train, "validation": test},
            "float classes": lambda: {"train": (train[0], train[1].astype(float)), "test": test},
            "shapes": lambda: {"train": (train[0], train[1][:-1]), "test": test},
            "alike": lambda: {"train": train, "test": (test[0][:, :4], test[1])},
            "empty": lambda: {"train": train, "test": (test[0][:0], test[1][:0])},
            "random": lambda: {"train": self._made(self.rows, next(_calls) + 10), "test": test},
            "leak": lambda: {"train": train, "test": (train[0][:50], train[1][:50])},
            "groups": lambda: {"train": (*train, np.arange(self.rows) // 3), "test": test},
            "groups with none": lambda: {"train": (*train, ["a", None] * (self.rows // 2)), "test": test},
            "groups with nan": lambda: {"train": (*train, [1.0, 2.0, np.nan] * (self.rows // 3)), "test": test},
            "groups of two": lambda: {"train": (*train, np.zeros((self.rows, 2))), "test": test},
            "groups of two kinds": lambda: {"train": (*train, np.array(["a", 1] * (self.rows // 2), dtype=object)), "test": test},
            "moments": lambda: {"train": (train[0].astype(np.float64) * 9 + 1.7e9, train[1]), "test": test},
            "groups in two spellings": lambda: {"train": (*train, ["1", "2", "1.0"] * (self.rows // 3)), "test": test},
            "ragged": lambda: {"train": ([[1.0, 2.0], [1.0]], [0, 1]), "test": test},
            "images": lambda: {name: _images(*split) for name, split in (("train", train), ("test", test))},
            "tokens": lambda: {"train": _tokens(*train), "test": _tokens(*test)},
        }
        return broken.get(self.defect, lambda: {"train": train, "test": test})()

    def _made(self, rows: int, seed: int) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        inputs = rng.standard_normal((rows, 8)).astype(np.float32)
        return inputs, (inputs[:, 0] > 0).astype(np.int64)


def _tokens(inputs: Any, targets: Any) -> tuple[Any, Any]:
    return np.digitize(inputs, (-1, 0, 1)), targets


def _images(inputs: Any, targets: Any) -> tuple[Any, Any]:
    return (inputs[:, None, :, None] > 0).astype(np.uint8) * np.full(8, 255, dtype=np.uint8), targets


class Numbers(Data):
    """A regression: ten times the first number."""

    def splits(self) -> dict[str, Any]:
        found = super().splits()
        return {name: (inputs, 10 * inputs[:, 0]) for name, (inputs, _) in found.items()}


class Tokens(nn.Module):
    """Embeds tokens."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(4, 3), nn.Linear(3 * input_shape[0], num_outputs)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(tokens).flatten(1))


class Noisy(Data):
    """Its augmentation adds noise of a searched strength, or breaks the contract."""

    def augment(self, inputs: torch.Tensor, rng: np.random.Generator, hyperparameters: dict[str, str]) -> Any:
        if self.defect == "augment shape":
            return inputs[:, :2]
        if self.defect == "augment device":
            return inputs.to("meta")
        noise = rng.standard_normal(tuple(inputs.shape), dtype=np.float32)
        return inputs + float(hyperparameters.get("noise", "0")) * torch.from_numpy(noise)


class Focal(Plain):
    """A plain module with a loss of its own, and a hyperparameter of its network."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, width: str = "16", gamma: str = "1") -> None:
        super().__init__(input_shape, num_outputs, width)
        self.gamma_at_build = gamma

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, hyperparameters: dict[str, str]) -> torch.Tensor:
        losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return (1 - (-losses).exp()) ** float(hyperparameters.get("gamma", "0")) * losses


class MeanLoss(Plain):
    """Its loss gives one number instead of one per example."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, hyperparameters: dict[str, str]) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets)


class WithDropout(Plain):
    """Has the layer that obeys the recipe's dropout."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__(input_shape, num_outputs)
        self.insert(1, Dropout())
