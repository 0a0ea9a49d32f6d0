"""A loaded model answers raw examples as the search tested it: the reported test scores, the user's units and class names."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import autohas
from autohas_api.testing.rejections import with_change
from autohas_trainer.data.images.digits import digits
from autohas_trainer.errors import ConfigurationError, DataError, Interrupted
from autohas_trainer.events import Outcome, StepRecord
from autohas_trainer.inference import TrainedModel
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.result_files import FilesSink, read_result
from data_fixtures import test_numbers
from engine_fixtures import MemorySink, Stop, search, small_search

DIGEST = "sha256:" + "0" * 64


def _search(document: dict[str, Any], folder: Path) -> Outcome:
    """Run a search that leaves result.json and history.jsonl in `folder`."""
    history = HistorySink(folder)
    with closing(history):
        return search(document, folder, FanOutSink(history, FilesSink(folder, search_digest=DIGEST)))


def searched(tmp_path: Path, data: dict[str, Any], metric: str = "accuracy", model: dict[str, Any] | None = None) -> tuple[Path, float]:
    """The folder of a small search and its test score."""
    document = with_change(with_change(small_search(), "spec.task.data", data), "spec.task.recipe.batchSize", 32)
    document = with_change(document, "spec.objective", {"metric": metric})
    if model is not None:
        document = with_change(document, "spec.task.model", model)
    out = tmp_path / "out"
    return out, _search(document, out).result.test_score


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Sums of two numbers, one of them in thousands and sometimes missing, with a word that adds to them."""
    rng = np.random.default_rng(seed)
    made = []
    for a, b, side in zip(rng.standard_normal(count), rng.standard_normal(count), rng.integers(3, size=count), strict=True):
        total = a + 2 * b + side
        size = "NA" if rng.random() < 0.1 else f"{1000 * a + 5e6:.3f}"
        made.append({"size": size, "b": f"{b:.6f}", "side": "lmr"[side], "price": f"{250 + 40 * total:.4f}", "is_dear": str(total > 1)})
    return made


def table_folder(folder: Path, unused: str) -> Path:
    """train.csv and test.csv; a word of the test file never occurs in training."""
    folder.mkdir()
    for name, seed, count in (("train", 1, 900), ("test", 2, 200)):
        made = rows(count, seed)
        made[0]["side"] = "x" if name == "test" else "l"
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [field for field in made[0] if field != unused], extrasaction="ignore", delimiter=";")
            file.write(" ; ".join(writer.fieldnames) + " \n")
            writer.writerows(made)
    return folder


NEW_WORD = r"1 of 200 rows have a word in column side that training never saw \('x'\): 0 in all"


@pytest.fixture(scope="module", name="houses")
def _houses(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path, float]:
    """A model of prices, its data folder and its test score."""
    folder = tmp_path_factory.mktemp("houses")
    data = table_folder(folder / "data", "is_dear")
    arguments = {"target": "price", "missing": "impute", "delimiter": ";"}
    out, score = searched(folder, {"name": "csv", "path": str(data), "arguments": arguments}, "rmse")
    return autohas.load(out), data, score


def typed_columns(count: int, seed: int) -> dict[str, list[Any]]:
    """The rows as numbers and words by column, None where a number is missing."""
    made = rows(count, seed)
    made[0]["side"] = "x"
    return {
        "side": [row["side"] for row in made],
        "b": [float(row["b"]) for row in made],
        "size": [None if row["size"] == "NA" else float(row["size"]) for row in made],
    }


def parquet_file(data: Path) -> Path:
    """The rows of test.csv as numbers and words, with a column that the model does not read and cannot."""
    path = data / "test.parquet"
    pq.write_table(pa.table(typed_columns(200, 2) | {"nested": [[1, 2]] * 200}), path)
    return path


def root_mean_square(answers: Any, truth: list[str]) -> float:
    return float(np.sqrt(np.mean(np.square(answers - np.array(truth, dtype=float)))))


@pytest.mark.parametrize(
    "form",
    [
        lambda data: data / "test.csv",
        lambda data: str(data / "test.csv"),
        parquet_file,
        lambda _: typed_columns(200, 2),
        lambda _: {name: np.array(values) for name, values in typed_columns(200, 2).items()},
        lambda _: pd.DataFrame(typed_columns(200, 2)),
        lambda _: pd.DataFrame(typed_columns(200, 2)).astype({"side": "category", "size": "Float64"}),
    ],
    ids=["path", "text", "parquet", "lists", "arrays", "frame", "nullable-frame"],
)
def test_every_form_of_a_table_reaches_the_test_score_in_the_targets_unit(
    form: Callable[[Path], Any], houses: tuple[TrainedModel, Path, float]
) -> None:
    """Words, missing numbers, blanks in the header and five millions of offset."""
    model, data, score = houses
    with pytest.warns(UserWarning, match=NEW_WORD):
        answers = model.predict(form(data))

    assert root_mean_square(answers, [row["price"] for row in rows(200, 2)]) == pytest.approx(score, rel=1e-6)
    assert score < 60  # the mean of the targets misses by 90


def test_classes_of_a_table_have_their_names_and_probabilities(tmp_path: Path) -> None:
    """Exactly the reported accuracy; the most probable class is the answer."""
    folder = table_folder(tmp_path / "data", "price")
    arguments = {"target": "is_dear", "missing": "impute", "delimiter": ";"}
    out, score = searched(tmp_path, {"name": "csv", "path": str(folder), "arguments": arguments})
    model = autohas.load(out)
    with pytest.warns(UserWarning, match=NEW_WORD):
        answers, probabilities_NK = model.predict(folder / "test.csv"), model.predict_proba(folder / "test.csv")
    truth = [row["is_dear"] for row in rows(200, 2)]

    assert float(np.mean([answer == true for answer, true in zip(answers, truth, strict=True)])) == score
    assert model.classes == ("False", "True")
    np.testing.assert_allclose(probabilities_NK.sum(axis=1), 1)
    assert [model.classes[index] for index in probabilities_NK.argmax(axis=1)] == answers


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"b": None}, "the table has no column 'b', which the training data had; its columns are side, size"),
        ({"b": ["0.1", "much"]}, "the table, row 1: 'much' in column b is no finite number"),
        ({"b": [0.1, float("inf")]}, "the table, row 1: 'inf' in column b is no finite number"),
        ({"b": [0.1]}, "the table: column 'b' has 1 values, column 'side' has 2"),
        ({"b": 3}, "the table: column 'b' is 3, it must be a list or an array of values"),
    ],
)
def test_a_wrong_column_is_refused_with_its_place(change: dict[str, Any], sentence: str, houses: tuple[TrainedModel, Path, float]) -> None:
    """Missing, no number, not finite, of another length, no column at all."""
    columns = {"side": ["l", "r"], "size": [1.0, 2.0], "b": [0.0, 0.0]} | change
    with pytest.raises(DataError) as error:
        houses[0].predict({name: values for name, values in columns.items() if values is not None})

    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("value", [7, [[1.0, 2.0]]])
def test_what_is_no_table_is_refused(value: Any, houses: tuple[TrainedModel, Path, float]) -> None:
    """A number, a list of rows."""
    with pytest.raises(
        DataError, match="a table must be the path of a CSV or Parquet file, a mapping from column to values, or a data frame"
    ):
        houses[0].predict(value)


def test_dates_of_a_data_frame_are_refused(houses: tuple[TrainedModel, Path, float]) -> None:
    """Training read text."""
    frame = pd.DataFrame({"side": ["l"], "b": pd.to_datetime(["2026-01-01"]), "size": [1.0]})
    with pytest.raises(DataError, match="column 'b' holds neither numbers nor text"):
        houses[0].predict(frame)


def test_no_rows_give_no_answers(houses: tuple[TrainedModel, Path, float]) -> None:
    """Columns without values."""
    assert houses[0].predict({"side": [], "size": [], "b": []}).shape == (0,)


def test_a_number_has_no_probabilities(houses: tuple[TrainedModel, Path, float]) -> None:
    """predict_proba is of classes."""
    with pytest.raises(ConfigurationError, match="this model predicts a number"):
        houses[0].predict_proba({"side": ["l"], "size": [1.0], "b": [1.0]})


def test_a_missing_value_is_refused_where_training_had_none(tmp_path: Path) -> None:
    """As the reader of the training file does; words that are numbers match however they are typed."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(1)
    lines = [f"{rng.standard_normal():.4f},{number % 3},{number % 3 == 2},{'ab'[number % 3 == 1]}" for number in range(900)]
    (folder / "train.csv").write_text("a,kind,flag,answer\n" + "\n".join(lines))
    arguments = {"target": "answer", "categorical": "kind"}
    out, _ = searched(tmp_path, {"name": "csv", "path": str(folder), "arguments": arguments})
    model = autohas.load(out)

    assert torch.equal(
        model.encode({"a": [0.5], "kind": [2.0], "flag": [True]}), model.encode({"a": ["0.5"], "kind": ["2"], "flag": ["True"]})
    )
    for missing in (None, float("nan"), pd.NA, "NA"):
        with pytest.raises(DataError, match=r"the table, row 0: column a has no value .*: the training data had a value in every row"):
            model.predict({"a": [missing], "kind": [1], "flag": [False]})


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path, float]:
    """A model of transparent images of two sizes, resized; its data folder and its test score."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for part, count in (("train", 420), ("test", 40)):
        for label, low in (("bright", 63), ("dark", 60)):
            for number in range(count):
                path = folder / "data" / part / label / f"{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                side = 5 + number % 2
                pixels = rng.integers(low, low + 110, size=(side, side, 4), dtype=np.uint8)
                Image.fromarray(pixels, mode="RGBA").save(path)
    arguments = {"size": "4", "background": "black"}
    out, score = searched(folder, {"name": "image-folder", "path": str(folder / "data"), "arguments": arguments})
    return autohas.load(out), folder / "data" / "test", score


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.load()
        return image


@pytest.mark.parametrize(
    "form",
    [lambda file: file, str, lambda file: file.read_bytes(), _opened, lambda file: np.asarray(_opened(file))],
    ids=["path", "text", "bytes", "pillow", "array"],
)
def test_every_form_of_an_image_reaches_the_test_score(form: Callable[[Path], Any], pictures: tuple[TrainedModel, Path, float]) -> None:
    """By their class folders' names."""
    model, folder, score = pictures
    files = sorted(folder.rglob("*.png"))
    answers = model.predict([form(file) for file in files])

    assert float(np.mean([answer == file.parent.name for answer, file in zip(answers, files, strict=True)])) == score
    assert 0.6 < score < 1


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([np.zeros((5, 5, 3))], r"image 0 is an array of float64 of shape \(5, 5, 3\); it must be uint8"),
        ([np.zeros((5, 5, 2), dtype=np.uint8)], r"image 0 is an array of uint8 of shape \(5, 5, 2\); it must be"),
        (np.zeros((5, 5, 3), dtype=np.uint8), r"an array of shape \(5, 5, 3\) is one image; give a list of images"),
        ([Image.new("I;16", (5, 5))], r"image 0 has more than 8 bits per channel \(mode I;16\)"),
        (["absent.png"], "absent.png is no file; correct the path"),
        (3, "images must be a list of paths, bytes, Pillow images or arrays, not a int"),
        ([b"x"], r"image 0 is no sound image \(its bytes are none of PNG, JPEG, WEBP, BMP, GIF, TIFF\)"),
    ],
)
def test_a_wrong_image_is_refused(images: Any, sentence: str, pictures: tuple[TrainedModel, Path, float]) -> None:
    """Of another type, shape or depth, one where a list must be, a file that is missing."""
    with pytest.raises(DataError, match=sentence):
        pictures[0].predict(images)


@pytest.mark.parametrize("name", ["images.parquet", "images.arrow"])
def test_a_column_of_images_is_answered_as_its_files(name: str, pictures: tuple[TrainedModel, Path, float], tmp_path: Path) -> None:
    """Row groups of three; the only column of bytes is that of the images, whatever the training data were."""
    model, folder, _ = pictures
    files = sorted(folder.rglob("*.png"))
    table = pa.table({"id": range(len(files)), "picture": [{"bytes": file.read_bytes(), "path": None} for file in files]})
    if name.endswith("parquet"):
        pq.write_table(table, tmp_path / name, row_group_size=3)
    else:
        with pa.OSFile(str(tmp_path / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)

    assert model.predict(tmp_path / name) == model.predict(files)
    pq.write_table(table.select(["id"]), tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"bare\.parquet has no column of encoded images; its columns are id"):
        model.predict(tmp_path / "bare.parquet")


def test_prediction_leaves_the_mode_of_the_model(pictures: tuple[TrainedModel, Path, float]) -> None:
    """A model in training answers as in evaluation, and stays in training."""
    model, folder, _ = pictures
    files = sorted(folder.rglob("*.png"))[:8]
    before = model.predict_proba(files)
    model.train()
    try:
        np.testing.assert_array_equal(model.predict_proba(files), before)
        assert model.network.training
    finally:
        model.eval()


def test_raw_pixels_of_idx_files_are_predicted(tmp_path: Path) -> None:
    """Bytes as the files hold them; classes are called by their numbers."""
    rng = np.random.default_rng(3)
    held: dict[str, Any] = {}
    for part, count in (("train", 900), ("t10k", 100)):
        labels = np.arange(count, dtype=np.uint8) % 3
        pixels = np.clip(rng.integers(0, 200, size=(count, 4, 4)) + 25 * labels[:, None, None], 0, 255).astype(np.uint8)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, count) + labels.tobytes())
        header = struct.pack(">BBBBIII", 0, 0, 8, 3, count, 4, 4)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
        held[part] = pixels, labels
    out, score = searched(tmp_path, {"name": "idx", "path": str(tmp_path)})
    model, (pixels, labels) = autohas.load(out), held["t10k"]
    answers = model.predict(pixels)

    assert float(np.mean([answer == str(label) for answer, label in zip(answers, labels, strict=True)])) == score
    assert 0.4 < score < 1
    assert model.predict([Image.fromarray(image) for image in pixels[:5]]) == answers[:5]
    with pytest.raises(DataError, match=r"image 0 has shape \(5, 4\), the training images have \(4, 4\)"):
        model.predict([np.zeros((5, 4), dtype=np.uint8)])
    with pytest.raises(DataError, match="image 0 has levels from 0 to 300, must be 0 to 255"):
        model.predict([np.full((4, 4), 300) * np.eye(4)])


def test_raw_digits_are_predicted(tmp_path: Path) -> None:
    """Levels 0 to 16 as scikit-learn gives them."""
    out, score = searched(tmp_path, {"name": "digits"})
    task = digits({})
    answers = autohas.load(out).predict(test_numbers(task)[:, 0] * 16)

    assert float(np.mean([answer == str(label) for answer, label in zip(answers, task.test_targets_N, strict=True)])) == score


def test_custom_data_say_what_is_known(tmp_path: Path) -> None:
    """The shape and type of inputs, the number of classes; no moments, since inputs are used as they are."""
    document = with_change(small_search(), "spec.task.data", {"entrypoint": "custom_code_fixtures:Data"})
    document = with_change(document, "spec.task.recipe.batchSize", 32)
    _search(document, tmp_path / "out")
    model = autohas.load(tmp_path / "out")

    assert model.predict(np.zeros((3, 8), dtype=np.float32)) == model.predict(torch.zeros(3, 8))
    with pytest.raises(DataError, match=r"inputs have shape \(3, 7\), they must be \(N, 8\), as custom_code_fixtures:Data gives them"):
        model.predict(np.zeros((3, 7)))
    with pytest.raises(DataError, match="inputs have a value that is not finite in row 1"):
        model.predict(np.array([[0.0] * 8, [np.nan] * 8]))
    assert json.loads((tmp_path / "out" / "preprocessing.json").read_text(encoding="utf-8")) == {
        "format": 1,
        "data": {"kind": "custom", "entrypoint": "custom_code_fixtures:Data"},
        "inputs": {"shape": [8], "type": "float32"},
        "target": {"kind": "classes", "classes": ["0", "1"]},
    }


def test_an_interrupted_search_writes_the_same_file_with_its_digest_in_the_result(tmp_path: Path) -> None:
    """Stopped and resumed, the file is that of an undisturbed search, and result.json names it."""
    for name, stops in (("whole", False), ("resumed", True)):
        folder = tmp_path / name
        if stops:
            stop = Stop()

            def interrupt(record: StepRecord, stop: Stop = stop) -> None:
                stop.is_requested = record.step >= 30

            sink = MemorySink(on_step=interrupt)
            with pytest.raises(Interrupted):
                search(small_search(), folder, sink, stop)
            assert not (folder / "preprocessing.json").exists()
        _search(small_search(), folder)
    whole, resumed = ((tmp_path / name / "preprocessing.json").read_bytes() for name in ("whole", "resumed"))
    found = read_result(tmp_path / "resumed")

    assert whole == resumed
    assert found is not None
    assert found.outcome.preprocessing_digest == f"sha256:{hashlib.sha256(resumed).hexdigest()}"
