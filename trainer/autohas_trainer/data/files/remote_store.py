"""Stores behind `task.data.path`: s3:// and gs:// by obstore, hf:// by Hugging Face's file system for fsspec.

Only listing and reading; what is read is kept by `remote_cache`. S3 is tested with a real server. gs:// and hf:// go the same way from the
listing on, but their clients cannot be tried without a network: their tests stop at the door.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from autohas_api.base.install_hint import Extra, install_hint
from autohas_trainer.data.files.remote_errors import explain_store_errors, missing_credentials
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["Entry", "Listing", "Store", "open_store"]

_CONNECT: Final = timedelta(seconds=10)
_PATIENCE: Final = timedelta(seconds=30)
"""How long a request is repeated; after that the Job starts another pod, as often as its backoffLimit allows."""
_RETRY: Final = {"max_retries": 6, "retry_timeout": _PATIENCE}
_CHUNK: Final = 1 << 20
_PACKAGES: Final = {"s3": "obstore", "gs": "obstore", "hf": "huggingface_hub"}
_EXTRAS: Final[dict[str, Extra]] = {"s3": "s3", "gs": "gcs", "hf": "hf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object.

    Attributes:
        key: Its key in the store.
        name: Its path relative to the address, parts joined by `/`; its own name where the address is the object.
        size: Bytes.
        tag: The ETag, or what else changes with the content; empty: the store has none.
    """

    key: str
    name: str
    size: int
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What an address leads to: one object, or all objects below it."""

    entries: tuple[Entry, ...]
    is_folder: bool


class Store(Protocol):
    """A place of objects, opened for one address."""

    @property
    def place(self) -> str:
        """Where the store is: an endpoint, or the name of the service."""

    def list(self, beside: tuple[str, ...]) -> Listing:
        """List the address, and the objects `beside` it (next to it where it is one object).

        Raises:
            DataError: There is nothing, or it may not be read; says why.
        """

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of one object.

        Raises:
            DataError: It has vanished or changed since it was listed, or may not be read.
        """


def open_store(url: str) -> Store:
    """Return the store of an address.

    Raises:
        ConfigurationError: Its package is not installed; names the extra.
        DataError: The address names no bucket, or credentials are missing.
    """
    parts = urlsplit(url, allow_fragments=False)
    if not parts.netloc:
        message = f"task.data.path {url!r} names no bucket; write {parts.scheme}://BUCKET/KEY"
        raise DataError(message)
    package = _import(parts.scheme, url)
    key = url.partition("://")[2].partition("/")[2].strip("/")
    match parts.scheme:
        case "s3":
            return _ObjectStore(package, _s3(parts.netloc, url), url, key, _s3_endpoint() or "AWS")
        case "gs":
            store = importlib.import_module("obstore.store").GCSStore(parts.netloc, retry_config=_RETRY)
            return _ObjectStore(package, store, url, key, "Google Cloud Storage")
        case _:
            return FsspecStore(package.HfFileSystem(), url, "the Hugging Face Hub")


def _import(scheme: str, url: str) -> ModuleType:
    try:
        return importlib.import_module(_PACKAGES[scheme])
    except ModuleNotFoundError as error:
        extra = _EXTRAS[scheme]
        message = f"task.data.path {url!r}: {scheme}:// needs the package {error.name}, which is not installed: {install_hint(extra)}"
        raise ConfigurationError(message) from error


def _s3_endpoint() -> str:
    """The endpoint by AWS's variables; empty: Amazon's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _s3(bucket: str, url: str) -> Any:  # noqa: ANN401 - obstore's class, which may not be installed
    """Return S3's client. It reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and the rest by itself."""
    missing = missing_credentials(os.environ)
    if missing is not None:
        message = f"task.data.path {url!r}: {missing}"
        raise DataError(message)
    endpoint = _s3_endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    options: dict[str, Any] = {"region": region, **({"endpoint": endpoint} if endpoint else {})}
    client = {"connect_timeout": _CONNECT, "allow_http": endpoint.startswith("http://")}
    store = importlib.import_module("obstore.store").S3Store
    return store(bucket, client_options=client, retry_config=_RETRY, **options)


class _ObjectStore:
    """One bucket by obstore."""

    def __init__(self, obstore: Any, store: Any, url: str, key: str, place: str) -> None:  # noqa: ANN401 - modules and classes of an extra
        self._obstore = obstore
        self._store = store
        self._url = url
        self._key = key
        self.place = place

    def list(self, beside: tuple[str, ...]) -> Listing:
        """The object itself, else all below it. The listing distinguishes a missing object from a missing right: HEAD has no message."""
        head, failure = self._head(self._key) if self._key else (None, None)
        if head is not None:
            folder = self._key.rpartition("/")[0]
            others = [(name, self._head(f"{folder}/{name}" if folder else name)[0]) for name in beside]
            found = [(self._key.rpartition("/")[2], head), *((name, meta) for name, meta in others if meta is not None)]
            return Listing(entries=tuple(_entry(name, meta) for name, meta in found), is_folder=False)
        with explain_store_errors(self._url, self.place, doing="listing"):
            metas = [meta for chunk in self._obstore.list(self._store, self._key or None, chunk_size=1000) for meta in chunk]
        prefix = f"{self._key}/" if self._key else ""
        entries = [_entry(meta["path"].removeprefix(prefix), meta) for meta in metas if meta["size"] or not meta["path"].endswith("/")]
        if not entries:
            with explain_store_errors(self._url, self.place, doing="reading"):
                if failure is not None:
                    raise failure
            message = f"{self._url} is empty: the bucket has no object; upload the data, or correct task.data.path"
            raise DataError(message)
        return Listing(entries=tuple(sorted(entries, key=lambda entry: entry.name)), is_folder=True)

    def _head(self, key: str) -> tuple[Any | None, Exception | None]:
        try:
            return self._obstore.head(self._store, key), None
        except Exception as error:  # noqa: BLE001 - kept for the end: the listing has the words for it
            return None, error

    def read(self, entry: Entry) -> Iterator[bytes]:
        """The object in chunks, as long as it is the one that was listed."""
        with explain_store_errors(f"{self._url} ({entry.name})" if entry.name else self._url, self.place, doing="reading"):
            result = self._obstore.get(self._store, entry.key)
            if entry.tag and result.meta["e_tag"] not in (None, entry.tag):
                message = f"{self._url} ({entry.name}) has changed since it was listed; start again when nothing writes there"
                raise DataError(message)
            for chunk in result.stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)


def _entry(name: str, meta: Any) -> Entry:  # noqa: ANN401 - obstore's dictionary
    return Entry(key=meta["path"], name=name, size=int(meta["size"]), tag=meta["e_tag"] or str(meta["last_modified"]))


class FsspecStore:
    """Any file system of fsspec."""

    def __init__(self, file_system: Any, url: str, place: str) -> None:  # noqa: ANN401 - a class of an extra
        self._files = file_system
        self._url = url
        self.place = place

    def list(self, beside: tuple[str, ...]) -> Listing:
        """The file itself, else all files below it."""
        with explain_store_errors(self._url, self.place, doing="listing"):
            root = self._files._strip_protocol(self._url)  # noqa: SLF001 - fsspec's documented hook for file systems
            info = self._files.info(root)
            if info["type"] == "file":
                folder = root.rpartition("/")[0]
                others = [f"{folder}/{name}" for name in beside]
                infos = [info, *(self._files.info(path) for path in others if self._files.exists(path))]
                return Listing(entries=tuple(_entry_of_file(folder, info) for info in infos), is_folder=False)
            infos = list(self._files.find(root, detail=True).values())
        if not infos:
            message = f"{self._url} has no file; upload the data, or correct task.data.path"
            raise DataError(message)
        return Listing(entries=tuple(sorted((_entry_of_file(root, info) for info in infos), key=lambda entry: entry.name)), is_folder=True)

    def read(self, entry: Entry) -> Iterator[bytes]:
        """The file in chunks."""
        with (
            explain_store_errors(f"{self._url} ({entry.name})", self.place, doing="reading"),
            self._files.open(entry.key, mode="rb") as file,
        ):
            while chunk := file.read(_CHUNK):
                yield chunk


def _entry_of_file(folder: str, info: Any) -> Entry:  # noqa: ANN401 - fsspec's dictionary
    lfs = info.get("lfs")
    tag = (lfs or {}).get("sha256") or info.get("blob_id") or info.get("ETag") or ""
    return Entry(key=info["name"], name=info["name"].removeprefix(folder).lstrip("/"), size=int(info["size"]), tag=str(tag))
