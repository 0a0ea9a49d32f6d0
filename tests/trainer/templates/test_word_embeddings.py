"""Embeddings of words in template `mlp`: closed forms, both forms of the network, and a whole search from the table to a prediction."""

from __future__ import annotations

import hashlib
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import autohas
from autohas_api.templates.table import TEMPLATES
from autohas_api.testing.rejections import with_change
from autohas_trainer.data.preprocessing import WordBlock, word_blocks
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.result_files import FilesSink
from autohas_trainer.seeding import stream
from autohas_trainer.templates import ModuleTemplate, build_template, default_path, load_leaves, measure_macs, use_batch_statistics
from engine_fixtures import search, small_search

CITY, COLOUR, SHAPE = WordBlock(1, 40), WordBlock(42, 3), (46,)
"""A number, 40 words, a number, 3 words, a number."""


def family() -> ModuleTemplate:
    made = build_template("mlp", SHAPE, 2, words=(CITY, COLOUR))
    assert isinstance(made, ModuleTemplate)
    return made


def batch(number: int = 4) -> Tensor:
    rng = stream("words")
    inputs = rng.standard_normal((number, *SHAPE), dtype=np.float32)
    for block in (CITY, COLOUR):
        inputs[:, block.start : block.start + block.size] = np.eye(block.size, dtype=np.float32)[rng.integers(block.size, size=number)]
    return torch.from_numpy(inputs)


@pytest.mark.parametrize("numbers", ["plain", "periodic"])
def test_sizes_by_hand(numbers: str) -> None:
    """40 words have 13 numbers each, 1.6 * 40^0.56; the 3 words stay inputs, next to the three numbers."""
    made = family()
    path = default_path(made.decisions) | {"numbers": numbers, "depth": "1", "width": "64", "norm": "none"}
    network = made.build(path, (0,))
    first = 6 + 13 if numbers == "plain" else 6 * 8 + 13
    periodic = 0 if numbers == "plain" else 6 * 16 + 33 * 8

    assert dict(network.named_parameters())["words.columns.0.table"].shape == (40, 13)
    expected = 40 * 13 + periodic + first * 64 + 64 + 64 * 2 + 2
    assert sum(parameter.numel() for parameter in network.parameters()) == made.num_parameters(path) == expected
    assert measure_macs(network, batch(1)).macs == made.num_macs(path)
    assert made.num_macs(path) == 40 * 13 + (0 if numbers == "plain" else 6 * 32 * 8) + first * 64 + 64 * 2


@pytest.mark.parametrize("change", [{}, {"numbers": "plain"}, {"depth": "1", "width": "64"}])
def test_both_forms_compute_the_same(change: dict[str, str]) -> None:
    """The supernet's path and the stand-alone network with the same weights, with gradients of the words that occur alone."""
    made, inputs = family(), batch()
    path = default_path(made.decisions) | {"width": "128"} | change
    network = made.build(path, (0,))
    leaves = {name: parameter.detach().clone().requires_grad_() for name, parameter in network.named_parameters()}
    load_leaves(network, {name: leaf.detach() for name, leaf in leaves.items()})
    outputs, expected = made.forward(inputs, path, leaves), use_batch_statistics(network)(inputs)

    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    gradient = torch.autograd.grad(outputs.square().sum(), leaves["words.columns.0.table"])[0]
    occurs_W = inputs[:, 1:41].any(dim=0)
    assert torch.equal(gradient.any(dim=1), occurs_W)


def test_an_unknown_word_has_no_embedding_and_a_mixture_has_the_mixture() -> None:
    """Inputs of 0 give zeros; half of two words, as mixup gives, the mean of theirs."""
    network = family().build(default_path(family().decisions), (0,))
    table = dict(network.named_parameters())["words.columns.0.table"]
    embed = network.get_submodule("words.columns.0")
    inputs = torch.zeros(2, *SHAPE)
    inputs[1, 1] = inputs[1, 2] = 0.5

    embedded = embed(inputs)
    assert not embedded[0].any()
    torch.testing.assert_close(embedded[1], (table[0] + table[1]) / 2)


def test_a_table_of_embedded_words_only_has_no_numbers_to_transform() -> None:
    """Both choices of `numbers` are then a linear map of the embeddings."""
    made = build_template("mlp", (20,), 2, words=(WordBlock(0, 20),))
    assert isinstance(made, ModuleTemplate)
    for numbers in ("plain", "periodic"):
        path = default_path(made.decisions) | {"numbers": numbers}
        network = made.build(path, (0,))
        assert made.num_parameters(path) == sum(parameter.numel() for parameter in network.parameters())
        assert network.eval()(torch.eye(20)).shape == (20, 2)


def test_only_a_template_whose_row_says_so_gets_words() -> None:
    """`mlp` embeds the column of 20 words; `mlp-small` takes its inputs as they are."""
    small, embedding = (build_template(name, (20,), 2, words=(WordBlock(0, 20),)) for name in ("mlp-small", "mlp"))

    assert {name: row.embeds_words for name, row in TEMPLATES.items() if row.embeds_words} == {"mlp": True}
    assert "words.columns.0.table" in embedding.shared((0,))
    assert "words.columns.0.table" not in small.shared((0,))


def test_tables_of_numbers_keep_their_bits() -> None:
    """The first weights of the default network of six numbers, as they were before there were embeddings."""
    made = build_template("mlp", (6,), 3)
    content = hashlib.sha256()
    for name, parameter in made.build(default_path(made.decisions), (0,)).named_parameters():
        content.update(name.encode() + parameter.detach().numpy().tobytes())

    assert content.hexdigest().startswith("6e2a2d4fea204d48")


def test_a_search_embeds_words_and_predicts(tmp_path: Path) -> None:
    """The class is that of the word, of 24: only its embedding can tell. A new word is warned of, and answered."""
    rng = np.random.default_rng(0)
    words = [f"w{int(index)}" for index in rng.integers(24, size=900)]
    rows = "".join(f"{rng.normal():.3f},{word},{'even' if int(word[1:]) % 2 == 0 else 'odd'}\n" for word in words)
    (tmp_path / "t.csv").write_text(f"size,word,label\n{rows}")
    data = {"name": "csv", "path": str(tmp_path / "t.csv"), "arguments": {"target": "label"}}
    document = with_change(with_change(small_search(steps=40), "spec.task.data", data), "spec.task.model", {"template": "mlp"})
    document = with_change(document, "spec.task.recipe.batchSize", 32)
    rate = {"name": "learning_rate", "continuous": {"min": "0.003", "max": "0.03", "scale": "Log", "numBases": 3}}
    document = with_change(document, "spec.searchSpace", {"hyperparameters": [rate]})
    history = HistorySink(tmp_path / "out")
    with closing(history):
        files = FilesSink(tmp_path / "out", search_digest="sha256:" + "0" * 64)
        outcome = search(document, tmp_path / "out", FanOutSink(history, files))
    model = autohas.load(tmp_path / "out")

    assert outcome.result.test_score > 0.95
    assert word_blocks(model.preprocessing["data"]) == (WordBlock(1, 24),)
    assert "words.columns.0.table" in dict(model.network.named_parameters())
    assert model.predict({"size": [0.1, 0.2], "word": ["w4", "w7"]}) == ["even", "odd"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert model.predict({"size": [0.1], "word": ["new"]})[0] in {"even", "odd"}
    assert "training never saw ('new')" in str(caught[0].message)
