"""preprocessing.json is enough to predict: the guide's own code, run on raw test data, reaches the reported test scores."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import runpy
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autohas_api.testing.rejections import with_change
from autohas_trainer.data.images.digits import digits
from autohas_trainer.errors import Interrupted
from autohas_trainer.events import Outcome, StepRecord
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.result_files import FilesSink, read_result
from data_fixtures import test_numbers
from engine_fixtures import MemorySink, Stop, search, small_search

DIGEST = "sha256:" + "0" * 64
GUIDE = (Path(__file__).parents[3] / "docs" / "guide.md").read_text(encoding="utf-8")
(SNIPPET,) = (block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "preprocessing.json" in block)


def guide(out: Path) -> dict[str, Any]:
    """The names that the guide's code defines, for the search in `out`."""
    script = out / "predicting.py"
    script.write_text(SNIPPET.replace("autohas-out/houses", str(out)), encoding="utf-8")
    return runpy.run_path(str(script))


def _search(document: dict[str, Any], folder: Path) -> Outcome:
    """Run a search that leaves result.json and history.jsonl in `folder`."""
    history = HistorySink(folder)
    with closing(history):
        return search(document, folder, FanOutSink(history, FilesSink(folder, search_digest=DIGEST)))


def searched(tmp_path: Path, data: dict[str, Any], metric: str = "accuracy") -> tuple[Path, float]:
    """The folder of a small search and its test score."""
    document = with_change(with_change(small_search(), "spec.task.data", data), "spec.task.recipe.batchSize", 32)
    document = with_change(document, "spec.objective", {"metric": metric})
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


@pytest.mark.parametrize(("metric", "target", "other"), [("accuracy", "is_dear", "price"), ("rmse", "price", "is_dear")])
def test_raw_rows_of_a_table_are_predicted(metric: str, target: str, other: str, tmp_path: Path) -> None:
    """Words, missing numbers, blanks in the header and five millions of offset; a regression answers in the target's own unit."""
    folder = table_folder(tmp_path / "data", other)
    data = {"name": "csv", "path": str(folder), "arguments": {"target": target, "missing": "impute", "delimiter": ";"}}
    out, score = searched(tmp_path, data, metric)
    used = guide(out)
    answers = used["predict"](used["table"](folder / "test.csv"))
    truth = [row[target] for row in rows(200, 2)]

    if metric == "accuracy":
        assert float(np.mean([answer == true for answer, true in zip(answers, truth, strict=True)])) == score
    else:
        assert float(np.sqrt(np.mean(np.square(answers - np.array(truth, dtype=float))))) == pytest.approx(score, rel=1e-6)
        assert score < 60  # the mean of the targets misses by 90


def test_raw_image_files_are_predicted(tmp_path: Path) -> None:
    """Transparent, of two sizes, resized: by their class folders' names."""
    rng = np.random.default_rng(1)
    for part, count in (("train", 420), ("test", 40)):
        for label, low in (("bright", 63), ("dark", 60)):
            for number in range(count):
                path = tmp_path / "data" / part / label / f"{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                side = 5 + number % 2
                pixels = rng.integers(low, low + 110, size=(side, side, 4), dtype=np.uint8)
                Image.fromarray(pixels, mode="RGBA").save(path)
    arguments = {"size": "4", "background": "black"}
    out, score = searched(tmp_path, {"name": "image-folder", "path": str(tmp_path / "data"), "arguments": arguments})
    used = guide(out)
    files = sorted((tmp_path / "data" / "test").rglob("*.png"))
    answers = used["predict"](used["images"](files))

    assert float(np.mean([answer == file.parent.name for answer, file in zip(answers, files, strict=True)])) == score
    assert 0.6 < score < 1


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
    used, (pixels, labels) = guide(out), held["t10k"]
    answers = used["predict"](pixels[:, None] / np.float32(used["data"]["divideBy"]))

    assert float(np.mean([answer == str(label) for answer, label in zip(answers, labels, strict=True)])) == score
    assert 0.4 < score < 1


def test_raw_digits_are_predicted(tmp_path: Path) -> None:
    """Levels 0 to 16 as scikit-learn gives them."""
    out, score = searched(tmp_path, {"name": "digits"})
    used, task = guide(out), digits({})
    levels = (test_numbers(task) * 16).astype(int)
    answers = used["predict"](levels / np.float32(used["data"]["divideBy"]))

    assert float(np.mean([answer == str(label) for answer, label in zip(answers, task.test_targets_N, strict=True)])) == score


def test_custom_data_say_what_is_known(tmp_path: Path) -> None:
    """The shape and type of inputs, the number of classes; no moments, since inputs are used as they are."""
    document = with_change(small_search(), "spec.task.data", {"entrypoint": "custom_code_fixtures:Data"})
    document = with_change(document, "spec.task.recipe.batchSize", 32)
    search(document, tmp_path / "out", MemorySink())

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
