"""The project's images, built from its own Dockerfile where no registry can be had.

The base is a Debian file system by mmdebstrap; buildah builds on it; skopeo writes uncompressed OCI layouts, whose
blobs have the digests that buildah already knows, so that after a change of source only the last layer is written.
Called by cluster.py; loading.py takes the layout into the container runtime. Needs root.
"""

import ast
import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcluster import cache, leftovers
from testcluster.commands import run, succeeds
from testcluster.steps import step

PROJECT = Path(__file__).parents[3]
TARGETS = ("operator", "trainer")
SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "crds/autohas_api",
    "operator/autohas_operator",
    "trainer/autohas",
    "trainer/autohas_trainer",
)
SUITE = "bookworm"
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# Handed to the build where this machine sets them, so that mirrors and proxies work. Build arguments stay in an image's history: these
# images never leave the machine.
PASSED_ON = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")
# For builds that see this machine's cache of uv.
SHARED_CACHE = {"UV_NO_CACHE": "0", "UV_CACHE_DIR": "/var/cache/uv", "UV_LINK_MODE": "copy"}
BUILD_LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A folder in OCI image layout that holds the project's images."""

    folder: Path

    def digests(self) -> dict[str, str]:
        """Full image name to the digest of its manifest."""
        return {name: entry["digest"] for name, entry in self._entries().items()}

    def archive(self, image: str, digests: Iterable[str]) -> dict[str, Path | bytes]:
        """What an archive of `image` holds, by file name; of its blobs only those named."""
        index = json.dumps({"schemaVersion": 2, "manifests": [self._entries()[image]]})
        blobs = [self.blob(digest) for digest in digests]
        files: dict[str, Path | bytes] = {str(blob.relative_to(self.folder)): blob for blob in blobs}
        return {"oci-layout": self.folder / "oci-layout", "index.json": index.encode(), **files}

    def blob(self, digest: str) -> Path:
        """The file of a digest, present or not."""
        return self.folder / "blobs" / digest.replace(":", "/")

    def blobs(self, image: str) -> list[str]:
        """Digests of all that an image is made of: manifest, configuration, layers."""
        digest = self.digests()[image]
        manifest = json.loads(self.blob(digest).read_text())
        return [digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]

    def drop_unused(self) -> None:
        """Delete the blobs of images that were built again since."""
        used = {self.blob(digest) for image in self.digests() for digest in self.blobs(image)}
        for blob in (self.folder / "blobs").glob("*/*"):
            if blob not in used:
                blob.unlink()
        entries = list(self._entries().values())
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))

    def _entries(self) -> dict[str, dict[str, Any]]:
        index = self.folder / "index.json"
        entries = json.loads(index.read_text())["manifests"] if index.exists() else []
        # skopeo takes the name off an image that it replaces, and leaves the entry.
        names = [entry.get("annotations", {}).get("org.opencontainers.image.ref.name") for entry in entries]
        return {name: entry for name, entry in zip(names, entries, strict=True) if name}


def full_name(target: str) -> str:
    """Name under which the runtime knows the image that a chart calls `autohas-TARGET:VERSION`."""
    return f"docker.io/library/autohas-{target}:{_project()['version']}"


def build(targets: tuple[str, ...] = TARGETS) -> Layout:
    """Build what changed since it was last built, and return the layout that holds these images.

    Raises CommandFailedError with the end of the build's output.
    """
    with cache.lock("images"), tempfile.TemporaryDirectory() as scratch:
        # A copy: others may edit the sources while the build reads them, and the key must be that of what is built.
        context = _copy_sources(Path(scratch, "context"))
        generation = _generation()
        layout = Layout(folder=generation / "layout")
        for target in targets:
            mark, key = generation / f"{target}.key", cache.key(target, context)
            if full_name(target) not in layout.digests() or not mark.exists() or mark.read_text() != key:
                mark.unlink(missing_ok=True)
                with step(f"build image autohas-{target}"):
                    _build(target, context, generation)
                mark.write_text(key)
        _tidy(generation, layout)
    return layout


def build_on_trainer(name: str, folder: Path) -> Layout:
    """Build the Dockerfile of `folder`, whose argument TRAINER names the image it begins with, on the trainer's; call the result `name`.

    Nothing is done if neither has changed. Of the layout that returns, only the image's own layers are new: the trainer's lie there once.
    Raises KeyError before the trainer is built, CommandFailedError with the end of the build's output.
    """
    with cache.lock("images"), tempfile.TemporaryDirectory() as scratch:
        context = Path(scratch, folder.name)
        shutil.copytree(folder, context, ignore=shutil.ignore_patterns("__pycache__"))
        generation = _generation()
        layout = Layout(folder=generation / "layout")
        mark, key = generation / f"{Path(name).name}.key", cache.key(layout.digests()[full_name("trainer")], context)
        if name not in layout.digests() or not mark.exists() or mark.read_text() != key:
            mark.unlink(missing_ok=True)
            with step(f"build image {name}"):
                storage, local = generation / "storage", f"localhost/{Path(name).name}"
                trainer = ["--build-arg", "TRAINER=localhost/autohas-trainer"]
                _buildah(storage, "bud", "--isolation", "chroot", "--layers", "--tag", local, *trainer, str(context))
                _export(storage, local, layout, name)
            mark.write_text(key)
        _tidy(generation, layout)
    return layout


def _tidy(generation: Path, layout: Layout) -> None:
    layout.drop_unused()
    leftovers.unmount_below(generation)  # buildah leaves its storage bound to itself


def _project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return table


def installed(project: Mapping[str, Any], dockerfile: str) -> dict[str, list[str]]:
    """Requirements that the images install, by extra, "" for the project's own; the Dockerfile names the extras."""
    extras = re.search(r"for image, extras in (.+)\]\"$", dockerfile, re.MULTILINE)
    if extras is None:
        message = "the Dockerfile has no line `for image, extras in (...)]` any more"
        raise ValueError(message)
    names = sorted({name for _, listed in ast.literal_eval(extras[1]) for name in listed})
    return {"": project["dependencies"]} | {name: project["optional-dependencies"][name] for name in names}


def _generation() -> Path:
    """Folder for all images with the present dependencies; others are deleted, for each takes many gigabytes."""
    dependencies = json.dumps(installed(_project(), (PROJECT / "Dockerfile").read_text()))
    key = cache.key(SUITE, BASE_PACKAGES, dependencies, PROJECT / "constraints.txt")
    shelf = cache.root() / "images"
    (shelf / key).mkdir(parents=True, exist_ok=True)
    for folder in shelf.iterdir():
        if folder.name != key:
            leftovers.unmount_below(folder)
            leftovers.remove_tree(folder)
    return shelf / key


def _copy_sources(context: Path) -> Path:
    for name in SOURCES:
        source, target = PROJECT / name, context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return context


def _build(target: str, context: Path, generation: Path) -> None:
    storage, local = generation / "storage", f"localhost/autohas-{target}"
    arguments = {"BASE": _base(storage), **{name: os.environ[name] for name in PASSED_ON if name in os.environ}}
    command = ["bud", "--isolation", "chroot", "--layers", "--network", "host", "--target", target, "--tag", local]
    authorities = Path(os.environ.get("SSL_CERT_FILE", AUTHORITIES))
    if authorities.exists():
        # Behind a proxy with an authority of its own, the host knows it and the base does not.
        arguments |= {"SSL_CERT_FILE": str(AUTHORITIES), "PIP_CERT": str(AUTHORITIES)}
        command += ["--volume", f"{authorities}:{AUTHORITIES}:ro"]
    downloads = _downloads()
    if downloads:
        # What `make setup` has downloaded, 3 GB, is not downloaded again.
        arguments |= SHARED_CACHE
        command += ["--volume", f"{downloads}:{SHARED_CACHE['UV_CACHE_DIR']}"]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    _buildah(storage, *command, str(context))
    _export(storage, local, Layout(folder=generation / "layout"), full_name(target))


def _downloads() -> Path | None:
    """The cache of the uv that set up this environment; None if there is none."""
    uv = Path(sys.executable).with_name("uv")
    folder = Path(run([uv, "cache", "dir"]).strip()) if uv.exists() else None
    return folder if folder and folder.is_dir() else None


def _export(storage: Path, local: str, layout: Layout, name: str) -> None:
    """Write an image of buildah's into the layout under its full name; layers that are there stay as they are."""
    run(
        [
            "skopeo",
            "--insecure-policy",  # which signatures to ask for: none, we made it
            "copy",
            "--quiet",
            "--dest-oci-accept-uncompressed-layers",
            f"containers-storage:[overlay@{storage}+{_scratch(storage)}]{local}",
            f"oci:{layout.folder}:{name}",
        ],
        timeout_s=BUILD_LIMIT_S,
    )


def _base(storage: Path) -> str:
    """Name of the base image in `storage`, made if it is not there."""
    name = "localhost/autohas-base"
    if not succeeds(["buildah", *_where(storage), "inspect", "--type", "image", name]):
        with step("build the base file system"), tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch, "base.tar")
            run(
                ["mmdebstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, archive],
                timeout_s=BUILD_LIMIT_S,
            )
            Path(scratch, "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
            _buildah(storage, "bud", "--isolation", "chroot", "--tag", name, scratch)
    return name


def _buildah(storage: Path, *arguments: str) -> None:
    run(["buildah", *_where(storage), *arguments], timeout_s=BUILD_LIMIT_S)


def _where(storage: Path) -> list[str]:
    return ["--root", str(storage), "--runroot", str(_scratch(storage)), "--storage-driver", "overlay"]


def _scratch(storage: Path) -> Path:
    return storage.with_name("storage-run")
