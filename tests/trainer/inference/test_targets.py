"""Answers for every kind of target, and texts as examples: closed forms of networks without training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autohas_trainer.errors import DataError
from autohas_trainer.inference import TrainedModel
from autohas_trainer.inference.image_input import ImageEncoder

CUSTOM: dict[str, Any] = {"data": {"kind": "custom", "entrypoint": "own:Data"}, "inputs": {"shape": [3], "type": "float32"}}


def a_model(target: dict[str, Any], network: nn.Module | None = None, **record: Any) -> TrainedModel:
    return TrainedModel(network or nn.Identity(), {**CUSTOM, **record, "target": target}, configuration={}).eval()


def test_several_labels_are_the_names_whose_probability_is_above_a_half() -> None:
    """Each label by itself."""
    model = a_model({"kind": "labels", "classes": ["a", "b", "c"]})
    inputs = np.array([[1.0, -1.0, 2.0], [-1.0, -1.0, -1.0]])

    assert model.predict(inputs) == [["a", "c"], []]
    np.testing.assert_allclose(model.predict_proba(inputs), 1 / (1 + np.exp(-inputs)))


def test_soft_labels_answer_with_the_largest_share() -> None:
    """And give the shares as probabilities."""
    model = a_model({"kind": "shares", "classes": ["a", "b", "c"]})

    assert model.predict(np.log([[0.2, 0.5, 0.3]])) == ["b"]
    np.testing.assert_allclose(model.predict_proba(np.log([[0.2, 0.5, 0.3]])), [[0.2, 0.5, 0.3]], rtol=1e-6)


def test_several_numbers_are_in_their_unit() -> None:
    """Mean 10, deviation 2."""
    model = a_model({"kind": "numbers", "mean": 10.0, "deviation": 2.0, "shape": [3]})

    np.testing.assert_allclose(model.predict(np.array([[0.0, 1.0, -1.0]])), [[10.0, 12.0, 8.0]])


class _Next(nn.Module):
    """The next letter of the alphabet, of four."""

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return nn.functional.one_hot((tokens_BT + 1) % 4, 4).float()


TEXT: dict[str, Any] = {
    "data": {"kind": "text", "tokenizer": "Characters", "characters": "abcd"},
    "inputs": {"shape": [3], "type": "int64"},
}


def test_a_text_is_continued_at_every_position() -> None:
    """The last three characters are read."""
    model = a_model({"kind": "tokens", "classes": list("abcd")}, _Next(), **TEXT)

    assert model.predict(["abc", "aabcd"]) == [["b", "c", "d"], ["c", "d", "a"]]
    assert model.predict("abc") == [["b", "c", "d"]]
    assert model.predict_proba(["abc"]).shape == (1, 3, 4)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["abc", "ab"], "text 1 has 2 tokens, the network reads 3; give a longer text"),
        (["abz"], "text 0: the character 'z' at position 2 never occurs in training"),
        ([3], "text 0 is a int, it must be a string"),
    ],
)
def test_a_wrong_text_is_refused(texts: list[Any], sentence: str) -> None:
    """Too short, a new character, no text."""
    model = a_model({"kind": "tokens", "classes": list("abcd")}, _Next(), **TEXT)
    with pytest.raises(DataError) as error:
        model.predict(texts)

    assert str(error.value) == sentence


def test_bytes_are_tokens_and_tokens_beyond_the_vocabulary_are_refused() -> None:
    """UTF-8; an array of tokens of an own tokenizer."""
    text = a_model({"kind": "tokens", "classes": list(map(str, range(256)))}, **{**TEXT, "data": {"kind": "text", "tokenizer": "Bytes"}})
    tokens = a_model({"kind": "tokens", "classes": list("abcd")}, _Next(), **{**TEXT, "data": {"kind": "tokens", "vocabulary": 4}})

    assert torch.equal(text.encode(["aé"]), torch.tensor([[97, 195, 169]]))
    assert tokens.predict(np.array([[0, 1, 2]])) == [["b", "c", "d"]]
    with pytest.raises(DataError, match="inputs have tokens from 0 to 4, the vocabulary has 0 to 3"):
        tokens.encode(np.array([[0, 1, 4]]))


def test_an_image_is_cropped_where_training_cropped() -> None:
    """A white centre between black sides: stretched it would show them."""
    data = {"kind": "images", "height": 4, "width": 4, "mode": "L", "background": [0, 0, 0], "resize": "bilinear", "divideBy": 255}
    pixels = np.zeros((4, 12), dtype=np.uint8)
    pixels[:, 4:8] = 255

    assert bool((ImageEncoder({**data, "fit": "crop"})([pixels]) == 1).all())
    assert bool((ImageEncoder(data)([pixels])[..., 0] == 0).all())
