"""Images from a layout into the container runtime, only the blobs that it lacks.

An archive for `ctr images import` may leave out what the content store holds: after a change of source that is all
but a megabyte. What was imported is then linked to the store's own file, so that no byte lies on the disk twice.
"""

import contextlib
import io
import os
import subprocess
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path

from testcluster.commands import CommandFailedError, last_lines
from testcluster.containerd import NAMESPACE, PAUSE_IMAGE, Containerd
from testcluster.images import Layout
from testcluster.steps import logger, step

BIG_BYTES = 1 << 30
BY_DIGEST = "sha256:"
"""Names that the runtime itself gives."""


def load(containerd: Containerd, layout: Layout) -> list[str]:
    """Import every image that the runtime does not hold as it is in `layout`; returns their names.

    Raises CommandFailedError with containerd's words.
    """
    held = images(containerd)
    changed = [image for image, digest in layout.digests().items() if held.get(image) != digest]
    for image in changed:
        with step(f"load {image}"):
            _load(containerd, layout, image)
    named = {digest for name, digest in images(containerd).items() if not name.startswith(BY_DIGEST)}
    forget_all_but(containerd, named)
    return changed


def forget_all_but(containerd: Containerd, digests: Collection[str]) -> None:
    """Remove every image but the pause and those whose manifest's digest is given.

    An image stays when its name has gone on to another: the kubelet's side of the runtime also holds each by its digest.
    """
    held = images(containerd)
    kept = {*digests, held.get(PAUSE_IMAGE)}
    for name, digest in held.items():
        if digest not in kept:
            with contextlib.suppress(CommandFailedError):
                containerd.ctr("images", "remove", "--sync", name)


def images(containerd: Containerd) -> dict[str, str]:
    """Name to manifest digest of all images that the runtime holds."""
    lines = containerd.ctr("images", "list").splitlines()[1:]
    return {words[0]: words[2] for words in map(str.split, lines)}


def import_archive(containerd: Containerd, files: Mapping[str, Path | bytes]) -> None:
    """Import an OCI archive made of `files` (name in the archive to file or content) without writing it to the disk."""
    log = containerd.processes.log("import")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["ctr", "--address", str(containerd.socket), "--namespace", NAMESPACE, "images", "import", "-"]
    with log.open("wb") as output:
        importer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
        # If it ends early, its log says why; the broken pipe does not.
        with contextlib.suppress(BrokenPipeError), importer, tarfile.open(fileobj=importer.stdin, mode="w|") as archive:
            for name, content in files.items():
                if isinstance(content, Path):
                    archive.add(content, name)
                else:
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    if importer.returncode != 0:
        message = f"ctr images import ended with {importer.returncode}, log {log}\n{last_lines(log.read_text())}"
        raise CommandFailedError(message)


def _load(containerd: Containerd, layout: Layout, image: str) -> None:
    needed = layout.blobs(image)
    missing = [digest for digest in needed if not _stored(containerd, digest).exists()]
    if sum(layout.blob(digest).stat().st_size for digest in missing) > BIG_BYTES:
        # New dependencies: what was made with the old ones goes first, for both do not fit on every disk.
        forget_all_but(containerd, layout.digests().values())
    try:
        import_archive(containerd, layout.archive(image, missing))
    except CommandFailedError as error:
        # The store may have dropped a blob between our look and the import.
        logger.warning("loading the whole image, for the part that was missing did not do: %s", error)
        import_archive(containerd, layout.archive(image, needed))
    for digest in needed:
        _share(_stored(containerd, digest), layout.blob(digest))


def _stored(containerd: Containerd, digest: str) -> Path:
    return containerd.root / "io.containerd.content.v1.content" / "blobs" / digest.replace(":", "/")


def _share(stored: Path, blob: Path) -> None:
    if stored.exists() and not stored.samefile(blob):
        link = blob.with_suffix(".link")
        link.unlink(missing_ok=True)
        try:
            os.link(stored, link)
        except OSError:
            return  # another file system: the copy stays
        link.rename(blob)
