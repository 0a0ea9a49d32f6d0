"""A real S3 server (Versity's gateway over a folder) as a process of this machine, for as long as a test asks it.

Knows nothing of the product. Rights are the server's own: a user without a policy may read no bucket.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from obstore import delete, put
from obstore.store import S3Store

from testcluster import binaries, ports
from testcluster.commands import run
from testcluster.processes import Processes
from testcluster.waiting import until

NAME = "versitygw"
READY_S = 60.0
ACCESS_KEY, SECRET_KEY = "owner", "owner-secret"
STRANGER, STRANGERS_SECRET = "stranger", "stranger-secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running server with two users: the owner of all buckets, and a stranger without any right."""

    directory: Path
    endpoint: str

    @classmethod
    def start(cls, directory: Path, address: str = "127.0.0.1") -> Self:
        """Start one on a free port of `address`. Raises TimeoutError with the end of its log."""
        (port,) = ports.free(1, address)
        server = cls(directory=directory, endpoint=f"http://{address}:{port}")
        for name in ("buckets", "users"):
            (directory / name).mkdir(parents=True)
        keys = ["--access", ACCESS_KEY, "--secret", SECRET_KEY]
        flags = [*keys, "--port", f"{address}:{port}", "--iam-dir", str(directory / "users")]
        server._processes.start(NAME, [binaries.versitygw(), *flags, "posix", directory / "buckets"])
        try:
            until(server._is_ready, what="the S3 server is ready", deadline_s=READY_S, context=server._processes.explain)
            user = ["create-user", "--access", STRANGER, "--secret", STRANGERS_SECRET, "--role", "user"]
            run([binaries.versitygw(), "admin", *keys, "--endpoint-url", server.endpoint, *user])
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """End it; its data stay."""
        self._processes.end(NAME)

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Write objects; the bucket is made if it is absent."""
        (self.directory / "buckets" / bucket).mkdir(exist_ok=True)
        for key, content in objects.items():
            put(self._store(bucket), key, content)

    def delete(self, bucket: str, *keys: str) -> None:
        """Delete objects."""
        delete(self._store(bucket), keys)

    def environment(self, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> dict[str, str]:
        """The variables with which a client finds it."""
        return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key, "AWS_ENDPOINT_URL": self.endpoint}

    def requests(self) -> list[str]:
        """Method and path of every request so far, in their order."""
        lines = [line.split(" | ") for line in self._processes.log(NAME).read_text(errors="replace").splitlines()]
        return [f"{parts[5].strip()} {parts[6].strip()}" for parts in lines if len(parts) > 6]

    def _store(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )

    def _is_ready(self) -> bool:
        if not self._processes.is_alive(NAME):
            message = f"the S3 server ended while it started\n{self._processes.explain(NAME)}"
            raise RuntimeError(message)
        try:
            with urllib.request.urlopen(self.endpoint, timeout=2):
                return True
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return True
        except OSError:
            return False

    @property
    def _processes(self) -> Processes:
        return Processes(directory=self.directory)
