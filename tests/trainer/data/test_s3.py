"""`task.data.path` on S3, with a real server on loopback (see tests/cluster); the build of the server takes a minute and a half once."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data import load
from autohas_trainer.data.files.remote_cache import fetch
from autohas_trainer.errors import DataError, UnreachableError
from testcluster.s3 import STRANGER, STRANGERS_SECRET, S3Server

ROWS = "".join(f"{index}.5,{'xy'[index % 2]}\n" for index in range(40))
CSV = f"size,label\n{ROWS}".encode()


@pytest.fixture
def environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The owner's credentials, and an empty cache folder."""
    variables = s3_server.environment() | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def read(path: str, name: str = "csv", **arguments: str) -> tuple[int, int, str]:
    """Training examples of all splits, test examples, and the digest of the inputs."""
    arguments = ({"target": "label"} if name == "csv" else {}) | arguments
    splits = load(
        name,
        path,
        arguments,
        kind=TaskKind.CLASSIFICATION,
        reward=0.25,
        selection=0.25,
        stratify=True,
        seed=0,
        device=torch.device("cpu"),
    )
    return splits.num_train + splits.num_reward + splits.num_selection, splits.num_test, splits.identity.digests["train inputs"]


def idx(array: npt.NDArray[np.int64]) -> bytes:
    """A gzipped IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def png(shade: int) -> bytes:
    """An image of one colour."""
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, shade, 255 - shade)).save(content, "PNG")
    return content.getvalue()


def test_a_csv_file_is_read_as_a_local_one(s3_server: S3Server, environment: Mapping[str, str], tmp_path: Path) -> None:
    """The same digest, and a second reading asks for no content."""
    s3_server.put("tables", {"one/train.csv": CSV})
    (tmp_path / "train.csv").write_bytes(CSV)

    assert read("s3://tables/one/train.csv") == read(str(tmp_path / "train.csv"))
    before = len(s3_server.requests())
    read("s3://tables/one/train.csv")
    assert s3_server.requests()[before:] == ["HEAD /tables/one/train.csv"]


def test_a_folder_gives_train_and_test(s3_server: S3Server, environment: Mapping[str, str]) -> None:
    """Of a folder only these two are read, and a testFile next to a file is found."""
    s3_server.put("tables", {"two/train.csv": CSV, "two/test.csv": b"\n".join(CSV.splitlines()[:9]), "two/huge.bin": b"0"})

    assert read("s3://tables/two")[:2] == (40, 8)
    assert read("s3://tables/two/")[:2] == (40, 8)
    assert read("s3://tables/two/train.csv", testFile="test.csv")[:2] == (40, 8)
    assert "GET /tables/two/huge.bin" not in s3_server.requests()


def test_idx_and_images_are_read(s3_server: S3Server, environment: Mapping[str, str]) -> None:
    """Every source that reads files takes an address; names with blanks and accents are kept."""
    images, labels = np.arange(40 * 4).reshape(40, 2, 2) % 256, np.arange(40) % 2
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    s3_server.put("images", {f"digits/{name}": idx(part) for name, part in zip(names, (images, labels) * 2, strict=True)})
    s3_server.put("images", {f"zoo/{kind}/bild ä{index}.png": png(40 * index) for kind in ("cat", "dog") for index in range(6)})

    assert read("s3://images/digits", "idx")[:2] == (40, 40)
    assert read("s3://images/zoo", "image-folder")[:2] == (10, 2)


def test_changed_data_are_read_again(s3_server: S3Server, environment: Mapping[str, str]) -> None:
    """The ETag tells content of the same size apart."""
    s3_server.put("tables", {"three/train.csv": CSV})
    before = read("s3://tables/three/train.csv")
    s3_server.put("tables", {"three/train.csv": CSV.replace(b"1.5", b"9.5")})

    assert read("s3://tables/three/train.csv")[2] != before[2]


def test_an_error_in_a_file_has_its_address_and_line(s3_server: S3Server, environment: Mapping[str, str]) -> None:
    """The cache folder is nobody's business."""
    s3_server.put("tables", {"four/train.csv": CSV.replace(b"7.5", b"seven")})

    with pytest.raises(DataError, match=r"^s3://tables/four/train\.csv, line 9: 'seven' in column size is no number"):
        read("s3://tables/four/train.csv")


REFUSALS = {
    "bucket": ("s3://absent-bucket/train.csv", {}, r"cannot be read from http://127\.0\.0\.1:\d+: there is no such bucket; correct task"),
    "name": ("s3://b/train.csv", {}, "the name of the bucket is not valid"),
    "key": ("s3://tables/absent.csv", {}, "there is no such object, and no object below it; correct task.data.path"),
    "nothing": ("s3://", {}, "names no bucket; write s3://BUCKET/KEY"),
    "empty": ("s3://empty", {}, "is empty: the bucket has no object"),
    "access key": ("s3://tables/one", {"AWS_ACCESS_KEY_ID": "nobody"}, "the access key is not known there; correct AWS_ACCESS_KEY_ID"),
    "secret key": ("s3://tables/one", {"AWS_SECRET_ACCESS_KEY": "x"}, "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY"),
    "right": (
        "s3://tables/one/train.csv",
        {"AWS_ACCESS_KEY_ID": STRANGER, "AWS_SECRET_ACCESS_KEY": STRANGERS_SECRET},
        "the credentials give no right to it; they need s3:GetObject",
    ),
    "region": ("s3://tables/one", {"AWS_REGION": "eu-west-1"}, "the bucket lies in another region; set AWS_REGION"),
    "no credentials": ("s3://tables/one", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials: set AWS_ACCESS_KEY_ID"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_every_refusal_says_what_to_do(
    case: str, s3_server: S3Server, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the codes that the server sends, not by a mock."""
    url, changes, words = REFUSALS[case]
    s3_server.put("tables", {"one/train.csv": CSV})
    s3_server.put("empty", {})
    for name, value in changes.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(DataError, match=words) as caught:
        fetch(url)
    assert type(caught.value) is DataError


def test_an_endpoint_that_does_not_answer_may_answer_later(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, which the Job tries again."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("autohas_trainer.data.files.remote_store._RETRY", {"max_retries": 1})

    with pytest.raises(UnreachableError, match=r"s3://tables/one: http://127\.0\.0\.1:1 cannot be reached .*; check the endpoint"):
        fetch("s3://tables/one")


def test_a_shard_that_vanishes_is_named(s3_server: S3Server, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing and the reading."""
    s3_server.put("tables", {"five/a.bin": b"1", "five/b.bin": b"2"})
    from autohas_trainer.data.files import remote_cache  # noqa: PLC0415

    def make_room_and_lose_one(*_: object) -> None:
        s3_server.delete("tables", "five/b.bin")

    monkeypatch.setattr(remote_cache, "_make_room", make_room_and_lose_one)

    with pytest.raises(DataError, match=r"s3://tables/five \(b\.bin\) cannot be read from .*: there is no such object"):
        fetch("s3://tables/five")


KILLED = """
import os, signal, sys
from autohas_trainer.data.files import remote_cache
bring = remote_cache._bring
def bring_and_die(store, entry, target, part):
    if entry.name == "c.bin":
        part.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    bring(store, entry, target, part)
remote_cache._bring = bring_and_die
remote_cache._WORKERS = 1
remote_cache.fetch("s3://tables/six")
"""


def test_a_killed_download_continues(s3_server: S3Server, environment: Mapping[str, str]) -> None:
    """Kill -9 at the third of four objects: the next start asks for the content of two."""
    s3_server.put("tables", {f"six/{name}.bin": name.encode() * 1000 for name in "abcd"})
    killed = subprocess.run([sys.executable, "-c", KILLED], check=False)
    before = len(s3_server.requests())

    folder = fetch("s3://tables/six")

    assert killed.returncode == -9
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {f"{name}.bin": name.encode() * 1000 for name in "abcd"}
    assert sorted(line for line in s3_server.requests()[before:] if line.startswith("GET /tables/six/")) == [
        "GET /tables/six/c.bin",
        "GET /tables/six/d.bin",
    ]
