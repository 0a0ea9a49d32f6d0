"""The trained network between the user's examples and the user's answers.

Shape letters: N examples, C channels or columns, K outputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from autohas_trainer.data import LARGEST_CHUNK
from autohas_trainer.entrypoints import attribute_errors_to
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.inference.encoding import Encoder, encoder_of

__all__ = ["TrainedModel"]


class Standardise(nn.Module):
    """Subtracts the mean of the train split and divides by its deviation, in the type of the training; NaN becomes the mean."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        """`inputs` is that section of preprocessing.json."""
        super().__init__()
        dtype = getattr(torch, inputs["computedIn"])
        ones = [1] * (len(inputs["shape"]) - 1)
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(inputs[name], dtype=dtype).reshape(1, -1, *ones))

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, ...) as encoded to float32 as the network takes them."""
        standardised = (inputs.to(self.mean.dtype) - self.mean) / self.deviation
        return torch.where(standardised.isnan(), torch.zeros_like(standardised), standardised).to(torch.float32)


class TrainedModel(nn.Module):
    """A trained network with the preparation of its inputs and outputs.

    `model.predict(examples)` takes raw examples and answers in class names or in the target's unit. `model(inputs)` takes what
    `model.encode(examples)` gives, (N, C, ...), and returns logits (N, K) of classes, or numbers (N,) in the target's unit: this is what
    `autohas export` writes. `model.network` is the bare network, between standardised inputs and raw outputs, for further training.

    Attributes:
        network: The network as it was trained.
        classes: Names of the classes in the order of the outputs; empty in a regression.
        configuration: Every decision of the network and its choice, and every hyperparameter of an own model.
        preprocessing: The content of preprocessing.json.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Mapping[str, Any],
        *,
        configuration: Mapping[str, str],
        is_own_training: bool = False,
        chunk: int = LARGEST_CHUNK,
    ) -> None:
        """Put the parts together.

        Args:
            network: The network as it was trained.
            preprocessing: The content of preprocessing.json.
            configuration: See the attribute.
            is_own_training: Whether own training built the network, which may give other outputs than what is predicted from.
            chunk: Examples per forward pass of `predict`, as in the test of the search.

        Raises:
            DataError: preprocessing.json does not describe what this version encodes.
        """
        super().__init__()
        self.preprocessing, self.configuration = dict(preprocessing), dict(configuration)
        target = preprocessing["target"]
        self.classes: tuple[str, ...] = tuple(target.get("classes", ()))
        self.network = network
        self._is_own_training, self._chunk = is_own_training, chunk
        self.standardise: nn.Module = Standardise(preprocessing["inputs"]) if "mean" in preprocessing["inputs"] else nn.Identity()
        self._kind = str(target["kind"])
        self._scale = None if self.classes else (float(target["mean"]), float(target["deviation"]))
        self._encoder: Encoder = encoder_of(preprocessing)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one encoded example, (C, ...)."""
        return tuple(self.preprocessing["inputs"]["shape"])

    @property
    def input_type(self) -> torch.dtype:
        """Type of encoded examples: float64 for the numbers of a table, else that of the network."""
        inputs = self.preprocessing["inputs"]
        dtype: torch.dtype = getattr(torch, inputs.get("computedIn", inputs["type"]))
        return dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Encoded inputs (N, C, ...) to logits (N, K), or to numbers (N,) in the target's unit.

        Raises:
            ConfigurationError: The module of own training gives something else.
        """
        outputs: Tensor = self._call_own(self.standardise(inputs)) if self._is_own_training else self.network(self.standardise(inputs))
        if self._scale is None:
            return outputs
        mean, deviation = self._scale
        return (outputs.squeeze(1) if self._kind == "number" else outputs).double() * deviation + mean

    def _call_own(self, inputs: Tensor) -> Tensor:
        """Call the module of own training, whose outputs are logits or numbers as a built-in network's, or are not predicted from."""
        who, hint = "the module of own training", "call model.network yourself, with what model.encode gives"
        with attribute_errors_to(who, f"calling it with inputs {tuple(inputs.shape)}"):
            outputs: object = self.network(inputs)
        is_number = self._kind == "number"
        if isinstance(outputs, Tensor) and is_number and outputs.ndim == 1:
            outputs = outputs.unsqueeze(1)
        last = len(self.classes) if self.classes else self.preprocessing["target"].get("shape", [1])[-1]
        if not isinstance(outputs, Tensor) or outputs.ndim < 2 or (len(outputs), outputs.shape[-1]) != (len(inputs), last):  # noqa: PLR2004 - (N, K)
            given = f"outputs of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
            message = f"{who} gives {given} for inputs {tuple(inputs.shape)}; predict needs a tensor ({len(inputs)}, ..., {last}): {hint}"
            raise ConfigurationError(message)
        return outputs

    def encode(self, examples: Any) -> Tensor:  # noqa: ANN401 - whatever the user has
        """Return raw examples as inputs (N, C, ...), read as the training data were.

        Args:
            examples: A table: the path of a CSV, Parquet or Arrow file, a mapping from column to values, or anything with
                `__dataframe__`. Images: paths, bytes of image files, Pillow images or uint8 arrays (H, W) or (H, W, C), as a list or one
                array, or the path of a Parquet or Arrow file with a column of encoded images. Texts: a list of strings, of which the last
                tokens are read. Own data: an array (N, ...).

        Raises:
            DataError: An example is not as in training; names column and row, or the image.
        """
        return self._encoder(examples)

    def predict(self, examples: Any) -> Any:  # noqa: ANN401 - two kinds of answers
        """Return the answer for each example.

        A class is a name, several labels are a list of the names that apply, tokens are a list with a name per position (for text: the
        token that follows it). Numbers are float64 (N,) or (N, ...), in the target's unit.

        Raises:
            DataError: As `encode`.
        """
        outputs = self._answer(examples)
        if not self.classes:
            return outputs.double().numpy()
        if self._kind == "labels":
            return [[name for name, logit in zip(self.classes, row, strict=True) if logit > 0] for row in outputs.tolist()]
        return _named(outputs.argmax(dim=-1).tolist(), self.classes)

    def predict_proba(self, examples: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401 - whatever the user has
        """Return the probability of each class, float64 (N, K) or (N, T, K), in the order of `classes`; of several labels, each by itself.

        Raises:
            ConfigurationError: The model predicts a number.
            DataError: As `encode`.
        """
        if not self.classes:
            message = "this model predicts a number, which has no probabilities; call predict"
            raise ConfigurationError(message)
        outputs = self._answer(examples).double()
        probabilities: npt.NDArray[np.float64] = (outputs.sigmoid() if self._kind == "labels" else outputs.softmax(dim=-1)).numpy()
        return probabilities

    def _answer(self, examples: Any) -> Tensor:  # noqa: ANN401 - whatever the user has
        """Return the outputs of all examples on the CPU, computed in evaluation mode."""
        inputs = self.encode(examples)
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                parts = [self(part).cpu() for part in self._chunks(inputs)]
        finally:
            for module, mode in modes.items():
                module.training = mode
        return torch.cat(parts) if parts else torch.empty((0, len(self.classes)) if self.classes else (0,))

    def _chunks(self, inputs: Tensor) -> Iterator[Tensor]:
        device = next((parameter.device for parameter in self.parameters()), inputs.device)
        number = -(-len(inputs) // self._chunk)
        bounds = [len(inputs) * chunk // number for chunk in range(number + 1)] if number else []
        for start, end in itertools.pairwise(bounds):
            yield inputs[start:end].to(device)


def _named(indices: list[Any], classes: tuple[str, ...]) -> list[Any]:
    """Return class names in place of their indices, at any depth."""
    return [_named(index, classes) if isinstance(index, list) else classes[index] for index in indices]
