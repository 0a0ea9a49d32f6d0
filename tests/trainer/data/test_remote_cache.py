"""The cache folder of remote data: what is kept, what a kill leaves, what makes room. The store is fsspec's in memory."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from autohas_trainer.data.files import remote_cache
from autohas_trainer.data.files.remote_cache import fetch
from autohas_trainer.data.files.remote_errors import explain_store_errors, missing_credentials
from autohas_trainer.data.files.remote_store import Entry, FsspecStore, Listing, Store, open_store
from autohas_trainer.errors import ConfigurationError, DataError, UnreachableError


class CountingStore(FsspecStore):
    """Notes what is read, and breaks off where a test asks for it."""

    def __init__(self, file_system: Any, url: str, reads: list[str], broken: set[str]) -> None:
        super().__init__(file_system, url, "memory")
        self._reads, self._broken = reads, broken

    def read(self, entry: Any) -> Iterator[bytes]:
        self._reads.append(entry.name)
        for chunk in super().read(entry):
            yield chunk[: len(chunk) // 2]
            if entry.name in self._broken:
                raise KeyboardInterrupt
            yield chunk[len(chunk) // 2 :]


class Bucket:
    """A store in memory, and what was read of it."""

    def __init__(self) -> None:
        self.files = fsspec.filesystem("memory", skip_instance_cache=True)
        self.files.store.clear()
        self.reads: list[str] = []
        self.broken: set[str] = set()

    def put(self, **content: str) -> None:
        for name, text in content.items():
            self.files.pipe_file(f"/b/{name.replace('__', '/')}", text.encode())

    def open(self, url: str) -> Store:
        return CountingStore(self.files, url.replace("hf://", "memory://"), self.reads, self.broken)

    def read_since(self) -> list[str]:
        """Names that were read since the last call, sorted: eight threads read."""
        reads, self.reads[:] = sorted(self.reads), []
        return reads


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """An empty bucket b, and an empty cache folder."""
    bucket = Bucket()
    monkeypatch.setattr(remote_cache, "open_store", bucket.open)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return bucket


def release() -> None:
    """As if the processes that hold copies had ended."""
    for descriptor in remote_cache._in_use:
        os.close(descriptor)
    remote_cache._in_use.clear()


def test_a_folder_is_copied_once(bucket: Bucket) -> None:
    """The copy has the names and the content of the store; a second call reads nothing."""
    bucket.put(train__a="1", train__b__c="22")

    folder = fetch("hf://b/train")

    assert {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()} == {"a": "1", "b/c": "22"}
    assert folder.name == "train"
    assert bucket.read_since() == ["a", "b/c"]
    assert fetch("hf://b/train") == folder
    assert bucket.read_since() == []


def test_one_object_keeps_its_name_and_brings_its_neighbour(bucket: Bucket) -> None:
    """A test file next to the training file lies next to its copy; one that is absent is left to the reader's error."""
    bucket.put(train="1", test="2", other="3")

    path = fetch("hf://b/train", beside=("test", "absent"))

    assert (path.name, path.read_text(), path.with_name("test").read_text()) == ("train", "1", "2")
    assert sorted(file.name for file in path.parent.iterdir()) == ["test", "train"]


def test_only_what_a_source_needs_is_read(bucket: Bucket) -> None:
    """Other objects of the folder cost nothing."""
    bucket.put(d__train="1", d__huge="2")

    folder = fetch("hf://b/d", wants=lambda name: name == "train")

    assert [file.name for file in folder.iterdir()] == ["train"]


def test_changed_content_has_another_copy(bucket: Bucket) -> None:
    """A process that still reads the old copy keeps it."""
    bucket.put(train="1")
    old = fetch("hf://b/train")
    bucket.put(train="23")

    new = fetch("hf://b/train")

    assert (old.read_text(), new.read_text()) == ("1", "23")


def test_a_kill_in_the_middle_leaves_whole_files_only(bucket: Bucket) -> None:
    """The next start reads what is missing and nothing else."""
    bucket.put(d__a="1" * 100, d__b="2" * 100)
    bucket.broken.add("b")
    with pytest.raises(KeyboardInterrupt):
        fetch("hf://b/d")
    assert "b" in bucket.read_since()
    left = [path for path in remote_cache.cache_folder().rglob("*") if path.is_file() and path.name in {"a", "b"}]
    assert {(path.name, path.stat().st_size) for path in left} <= {("a", 100)}

    bucket.broken.clear()
    folder = fetch("hf://b/d")

    assert "b" in bucket.read_since()
    assert {file.name: file.stat().st_size for file in folder.iterdir()} == {"a": 100, "b": 100}


def test_a_file_that_was_cut_is_read_again(bucket: Bucket) -> None:
    """A copy counts by its size."""
    bucket.put(train="123")
    fetch("hf://b/train").write_text("1")

    assert fetch("hf://b/train").read_text() == "123"


def disk(monkeypatch: pytest.MonkeyPatch, cache: Path, size: int) -> None:
    """Pretend a disk of `size` bytes above the reserve, on which only the cache lies."""

    def usage(_: Path) -> SimpleNamespace:
        used = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
        return SimpleNamespace(free=remote_cache._RESERVE + size - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)


def test_unused_copies_make_room_oldest_first(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that a process holds stays, and so does a younger one where the oldest suffices."""
    bucket.put(old="1" * 40, used="2" * 40, young="3" * 40, new="4" * 40)
    disk(monkeypatch, remote_cache.cache_folder(), 160 - 40)
    old, used, young = (fetch(f"hf://b/{name}") for name in ("old", "used", "young"))
    for index, path in enumerate((used, old, young)):
        os.utime(path.parent, (index, index))
    release()
    holder = (remote_cache.cache_folder() / f"{used.parent.name}.use").open("a")
    fcntl.flock(holder, fcntl.LOCK_SH)

    new = fetch("hf://b/new")

    assert new.read_text() == "4" * 40
    assert [path.exists() for path in (old, used, young)] == [False, True, True]
    holder.close()


def test_data_without_room_is_refused_before_a_byte_is_read(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has both sizes and the folder."""
    bucket.put(train="1" * 100)
    disk(monkeypatch, remote_cache.cache_folder(), 99)

    with pytest.raises(DataError, match=r"hf://b/train needs 0\.00 GiB in the cache folder .*/autohas/data, where 0\.25 GiB are free"):
        fetch("hf://b/train")
    assert bucket.read_since() == []


def list_names(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A store of objects with one byte each, which may be called as no file can be."""
    entries = tuple(Entry(key=name, name=name, size=1, tag="") for name in names)
    store = SimpleNamespace(place="x", list=lambda _: Listing(entries=entries, is_folder=True), read=lambda _: iter([b"1"]))
    monkeypatch.setattr(remote_cache, "open_store", lambda _: store)


@pytest.mark.parametrize("name", ["a/../../evil", "a//b", "./a"])
def test_a_name_that_leads_out_of_the_cache_is_refused(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An object may be called anything; a file may not."""
    list_names(monkeypatch, name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(DataError, match="which cannot be the name of a file; rename it"):
        fetch("hf://b/d")
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_is_a_folder_too_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys a and a/b are two objects of S3 and cannot be two files."""
    list_names(monkeypatch, "a", "a/b")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(DataError, match="is an object, and so is a part of its name"):
        fetch("hf://b/d")


def test_an_absent_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has the command that installs it."""
    monkeypatch.setattr(
        "autohas_trainer.data.files.remote_store._PACKAGES", {"s3": "absent_client", "gs": "absent_client", "hf": "absent_client"}
    )

    for url, extra in (("s3://b/k", "s3"), ("gs://b/k", "gcs"), ("hf://datasets/o/n", "hf")):
        words = rf"'{url}': {url[:2]}:// needs the package absent_client, which is not installed: .*\[{extra}\]"
        with pytest.raises(ConfigurationError, match=words):
            open_store(url)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "a"}, "AWS_SECRET_ACCESS_KEY is not set, although AWS_ACCESS_KEY_ID is"),
        ({"AWS_SECRET_ACCESS_KEY": "a"}, "AWS_ACCESS_KEY_ID is not set, although AWS_SECRET_ACCESS_KEY is"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, None),
        ({"AWS_SKIP_SIGNATURE": "true"}, None),
    ],
)
def test_missing_credentials_are_named_before_any_request(environment: Mapping[str, str], words: str | None) -> None:
    """Without them the client would ask a metadata service that most pods cannot reach."""
    sentence = missing_credentials(environment)

    assert (sentence is None) if words is None else (sentence is not None and words in sentence)


class NotFoundError(Exception):
    """Called as the error of obstore."""


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError("<Error><Code>ExpiredToken</Code></Error>"), DataError, "the session token is not valid any more"),
        (OSError("<Error><Code>PermanentRedirect</Code></Error>"), DataError, "another region; set AWS_REGION"),
        (OSError("<Error><Code>RequestTimeTooSkewed</Code></Error>"), DataError, "clock differs"),
        (OSError("<Error><Code>SlowDown</Code></Error>"), DataError, "asks for fewer requests"),
        (NotFoundError("x"), DataError, "there is no such object, and no object below it"),
        (OSError("client error: Connect, dns error"), UnreachableError, r"P cannot be reached \(dns error\); check the endpoint"),
        (OSError("<Error><Code>InternalError</Code></Error>"), UnreachableError, "listing it from P failed .*InternalError"),
    ],
)
def test_refusals_that_a_small_server_does_not_give_are_explained(error: Exception, kind: type[DataError], words: str) -> None:
    """A refusal is final; a store that does not answer may later."""
    with pytest.raises(DataError, match=words) as caught, explain_store_errors("s3://b/k", "P", doing="listing"):
        raise error
    assert type(caught.value) is kind
