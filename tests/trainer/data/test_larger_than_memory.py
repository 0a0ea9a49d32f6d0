"""A data set larger than the memory that a process may take is trained on, from files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE = 512
NUMBER = 400
"""Images: 300 MiB as bytes, 1.2 GiB as float32."""
SPARE = 264 << 20
"""Bytes that the process may take once everything is imported: files take 170 to 220 MiB of them, most of it batches of 24 MiB."""

SCRIPT = f"""
import resource, sys
import torch
from autohas_trainer.data import ImageReading, load

def splits(loading):
    return load("image-folder", sys.argv[1], {{"size": "{SIDE}"}}, reward=0.1, selection=0.1, stratify=True, seed=0,
                device=torch.device("cpu"), reading=ImageReading(loading=loading))

torch.set_num_threads(1)
import autohas_trainer.data.images.image_folder, PIL.JpegImagePlugin
torch.zeros(1).add_(1)
taken = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (taken + {SPARE}, resource.RLIM_INFINITY))
files = splits("Files")
total = sum(float(files.train_batch(step, 8, seed=0).inputs.mean()) for step in range(8))
print("read", files.num_train, sum(len(batch.targets_B) for batch in files.reward(8, 0)), total == total)
try:
    splits("Resident")
except MemoryError:
    print("does not fit")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process's memory is Linux's")
def test_files_larger_than_the_memory_limit_are_read(tmp_path: Path) -> None:
    """400 images of 512x512 px under a limit of 264 MiB: batches come from files; in memory they do not fit."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((SIDE, SIDE))
    for label, quality in (("a", 60), ("b", 50)):
        (tmp_path / label).mkdir()
        image.save(tmp_path / label / "0.jpg", quality=quality)
        content = (tmp_path / label / "0.jpg").read_bytes()
        for number in range(1, NUMBER // 2):
            (tmp_path / label / f"{number}.jpg").write_bytes(content)

    # One arena: glibc reserves 64 MiB of addresses, which the limit counts, for each thread that happens to allocate at the same time.
    variables = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False, env=variables)

    assert run.stdout.splitlines() == ["read 256 32 True", "does not fit"], run.stderr
