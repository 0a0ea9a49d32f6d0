"""The pure pieces of the test cluster: cache, ports, processes, waiting, the image written by hand."""

import hashlib
import io
import json
import os
import re
import socket
import sys
import tarfile
import threading
import tomllib
from pathlib import Path
from typing import ClassVar

import pytest

from testcluster import cache, leftovers, loading, pause, ports
from testcluster.commands import CommandFailedError, run
from testcluster.containerd import PAUSE_IMAGE, Containerd
from testcluster.images import PROJECT, SHARED_CACHE, SOURCES, Layout, installed
from testcluster.processes import Identity, Processes
from testcluster.volumes import LocalVolume
from testcluster.waiting import until


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here touches the cache of this user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_key_is_content(tmp_path: Path) -> None:
    """A key follows content and names, not time stamps or byte code."""
    folder = tmp_path / "package"
    folder.mkdir()
    file = folder / "a.py"
    file.write_text("x = 1")
    first = cache.key("version", folder)
    os.utime(file, (0, 0))
    (folder / "a.pyc").write_text("whatever")
    assert cache.key("version", folder) == first
    file.write_text("x = 2")
    assert cache.key("version", folder) != first


def test_key_separates_its_parts() -> None:
    """Parts that join to the same text give different keys."""
    assert cache.key("ab", "c") != cache.key("a", "bc")


def test_key_refuses_what_is_absent(tmp_path: Path) -> None:
    """An input that is not there is an error, not an empty input."""
    with pytest.raises(FileNotFoundError, match="no-such"):
        cache.key(tmp_path / "no-such")


def test_images_are_built_again_for_what_they_install_alone() -> None:
    """An extra for laptops (export, docs, development) changes nothing; an extra that the trainer's image has does."""
    project, dockerfile = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"], (PROJECT / "Dockerfile").read_text()
    extras = project["optional-dependencies"]
    before = installed(project, dockerfile)
    of_laptops = {name: [*packages, "one-more"] for name, packages in extras.items() if name not in before}
    of_an_image = {"s3": [*extras["s3"], "one-more"]}

    assert {"operator", "trainer", "s3"} <= before.keys()
    assert {"dev", "export"} <= of_laptops.keys()
    assert installed({**project, "optional-dependencies": extras | of_laptops}, dockerfile) == before
    assert installed({**project, "optional-dependencies": extras | of_an_image}, dockerfile) != before


def test_artefact_is_built_once() -> None:
    """A second request for the same key finds what the first built."""
    builds = []

    def build(folder: Path) -> None:
        builds.append(folder)
        (folder / "it").write_text("whole")

    assert (cache.artefact("thing", "k", build) / "it").read_text() == "whole"
    assert (cache.artefact("thing", "k", build) / "it").read_text() == "whole"
    assert len(builds) == 1


def test_failed_build_leaves_nothing() -> None:
    """An artefact whose build broke off is built again from nothing."""

    def broken(folder: Path) -> None:
        (folder / "half").write_text("half")
        message = "interrupted"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="interrupted"):
        cache.artefact("thing", "k", broken)
    folder = cache.artefact("thing", "k", lambda folder: (folder / "it").touch())
    assert [path.name for path in folder.iterdir()] == ["it"]


def test_superseded_artefacts_go() -> None:
    """Of many generations only the youngest stay."""
    for age, key in enumerate("abcd"):
        folder = cache.artefact("thing", key, lambda folder: (folder / "it").touch())
        os.utime(folder, (age, age))  # older than the one that comes next, however coarse the file system's clock
    kept = sorted(path.name for path in (cache.root() / "artefacts" / "thing").iterdir())
    assert kept == ["c", "d"]


def test_one_builds_while_the_other_waits() -> None:
    """Two that want the same artefact at once build it once."""
    builds = []

    def build(folder: Path) -> None:
        builds.append(folder)
        (folder / "it").touch()

    threads = [threading.Thread(target=cache.artefact, args=("thing", "k", build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_ports_are_free_and_different() -> None:
    """Each port can be listened to, all of them together."""
    found = ports.free(5)
    listeners = [socket.create_server(("127.0.0.1", port)) for port in found]
    for listener in listeners:
        listener.close()
    assert len(set(found)) == 5


def test_command_error_shows_what_was_said() -> None:
    """A command that fails is reported with its code and its words."""
    with pytest.raises(CommandFailedError, match=r"ended with 3\nwhy"):
        run([sys.executable, "-c", "import sys; print('why'); sys.exit(3)"])


def test_wait_names_what_did_not_come() -> None:
    """A wait past its deadline says what it waited for, and shows the context."""
    with pytest.raises(TimeoutError, match=r"not within 0 s: the moon\nlog"):
        until(lambda: None, what="the moon", deadline_s=0, context=lambda: "log")


def test_processes_end_even_if_they_refuse(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed, and its record goes while its log stays."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    processes = Processes(directory=tmp_path)
    identity = processes.start("deaf", [sys.executable, "-c", code])
    until(lambda: processes.log("deaf").read_text(), what="it runs", deadline_s=10)
    processes.end(grace_s=0.2)
    assert not identity.is_alive()
    assert processes.names() == ()
    assert processes.log("deaf").read_text() == "deaf\n"


def test_identity_is_more_than_a_number() -> None:
    """A process id that was given out again is not the process that had it before."""
    mine = Identity.of(os.getpid())
    assert mine is not None
    assert mine.is_alive()
    assert not Identity(pid=mine.pid, started=mine.started - 1).is_alive()


def test_tree_with_mounts_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder under which something is mounted stays, for the mounted files are someone's."""
    monkeypatch.setattr(leftovers, "mounts_below", lambda folder: [folder / "volume"])
    with pytest.raises(RuntimeError, match="still mounted"):
        leftovers.remove_tree(tmp_path)
    assert tmp_path.exists()


def test_hand_written_image_is_consistent() -> None:
    """Every digest in the pause image is that of the blob it names, and the layer holds the program."""
    files = pause.archive(b"program")
    blobs = {name.removeprefix("blobs/sha256/"): data for name, data in files.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in blobs.items())
    entry = json.loads(files["index.json"])["manifests"][0]
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    layer = blobs[manifest["layers"][0]["digest"].removeprefix("sha256:")]
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        assert archive.getmember("pause").mode == 0o755


def test_layout_drops_what_no_image_uses(tmp_path: Path) -> None:
    """Blobs and nameless entries of images that were built again are deleted."""
    for name, data in pause.archive(b"program").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    layout = Layout(folder=tmp_path)
    stale = layout.blob("sha256:" + 64 * "0")
    stale.touch()
    index = json.loads((tmp_path / "index.json").read_text())
    index["manifests"].append({"digest": "sha256:" + 64 * "0"})
    (tmp_path / "index.json").write_text(json.dumps(index))
    layout.drop_unused()
    assert not stale.exists()
    assert list(layout.digests()) == ["autohas.test/pause:1"]
    assert all(layout.blob(digest).exists() for digest in layout.blobs("autohas.test/pause:1"))


def test_local_volume_is_reserved_for_its_claim(tmp_path: Path) -> None:
    """Volume and claim name each other, so that nothing else can bind them."""
    volume, claim = LocalVolume(name="data", host_path=tmp_path, node="n", namespace="team").objects()
    assert volume["spec"]["claimRef"] == {"namespace": "team", "name": "data"}
    assert claim["spec"]["volumeName"] == "data"
    assert volume["spec"]["accessModes"] == claim["spec"]["accessModes"]


def test_the_build_context_holds_what_the_dockerfile_copies() -> None:
    """Every COPY from the context names something that is copied into it."""
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    wanted = {word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]}

    assert "trainer/autohas" in wanted
    assert wanted <= set(SOURCES)


def test_every_stage_that_installs_takes_the_cache_of_this_machine() -> None:
    """An argument that a stage does not declare is ignored there, and 3 GB are downloaded again without a word."""
    stages = re.split(r"^FROM ", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE)
    installing = [stage for stage in stages if "uv pip install" in stage]

    assert len(installing) == 3
    for stage in installing:
        assert set(re.findall(r"^ARG (\w+)", stage, flags=re.MULTILINE)) >= set(SHARED_CACHE)
        assert "ARG UV_NO_CACHE=1\n" in stage


class Runtime(Containerd):
    """A container runtime that only knows the names of images, and their digests."""

    held: ClassVar[dict[str, str]] = {}

    def ctr(self, *arguments: str | Path, input: bytes | None = None, timeout_s: float = 900) -> str:  # noqa: A002 - as the other
        """List, remove."""
        if arguments[1] == "remove":
            del self.held[str(arguments[-1])]
        return "\n".join(["REF TYPE DIGEST", *(f"{name} type {digest}" for name, digest in self.held.items())])


def test_an_image_whose_name_went_on_is_forgotten(tmp_path: Path) -> None:
    """The runtime holds 6 GiB of old dependencies by digest until they are removed; named images, also a user's own, and the pause stay."""
    layout = Layout(folder=tmp_path / "layout")
    named = {PAUSE_IMAGE: "p", "trainer": "new", "mine": "own"}
    Runtime.held = {**named, "sha256:1": "p", "sha256:2": "old", "sha256:3": "new", "sha256:4": "own"}
    loading.load(Runtime(directory=tmp_path), layout)

    assert Runtime.held == {**named, "sha256:1": "p", "sha256:3": "new", "sha256:4": "own"}
