"""A search on images that are read and augmented per batch: killed and resumed with other workers, it ends bit for bit the same."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from autohas_api.testing.rejections import with_change
from autohas_trainer.events import Outcome, StepRecord
from engine_fixtures import Killed, MemorySink, search, small_search


def test_a_killed_search_ends_the_same_with_other_workers(tmp_path: Path) -> None:
    """All stages with crops, flips and CutMix: undisturbed without workers, or killed after 100 and 200 steps and resumed with one."""
    rng = np.random.default_rng(1)
    for label, low in (("bright", 120), ("dark", 0)):
        for number in range(210):
            file = tmp_path / "data" / label / f"{number:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(low, low + 136, size=(6, 7), dtype=np.uint8)).save(file)
    document = small_search(steps=18)
    document = with_change(document, "spec.task.recipe.batchSize", 16)
    document = with_change(document, "spec.task.splits", {"reward": "0.2", "selection": "0.1"})
    data = {
        "name": "image-folder",
        "path": str(tmp_path / "data"),
        "arguments": {"grayscale": "true", "size": "4"},
        "augmentation": {"randomResizedCrop": {"minScale": "0.5"}, "horizontalFlip": "0.5", "cutMix": "1"},
    }
    document = with_change(document, "spec.task.data", data)
    expected = search(document, tmp_path / "a", MemorySink())

    outcome: Outcome | None = None
    steps = 0
    for workers, limit in ((0, 100), (0, 200), (1, None)):
        sink = MemorySink()

        def kill(record: StepRecord, limit: int | None = limit) -> None:
            nonlocal steps
            steps += 1
            if limit is not None and steps == limit:
                raise Killed

        sink.on_step = kill
        with suppress(Killed):
            outcome = search(with_change(document, "spec.task.data.workers", workers), tmp_path / "b", sink)

    assert outcome is not None
    assert outcome.result.digest == expected.result.digest
    assert expected.result.test_score > 0.9
