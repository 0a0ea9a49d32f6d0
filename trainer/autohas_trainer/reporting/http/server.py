"""GET /progress, /metrics and /healthz of a running trainer.

A bounded number of server threads answers requests; the training thread never waits for a client. Responses are small, a connection
is closed after one response, and a slow client is disconnected.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client import CONTENT_TYPE_LATEST

from autohas_trainer.errors import ConfigurationError
from autohas_trainer.reporting.http.metrics import GpuMemory, build_registry, render
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.reporting.sinks.progress import DEFAULT_STALL_TIMEOUT_S, build_progress, health_of, shrink_and_encode

__all__ = ["TrainerServer"]

_MAX_CLIENTS: Final = 16
_CLIENT_TIMEOUT_S: Final = 5.0
_TEXT: Final = "text/plain; charset=utf-8"

Answer = tuple[HTTPStatus, str, bytes]


class TrainerServer:
    """Serves a `LiveState` from construction until `close`."""

    def __init__(  # noqa: PLR0913 - tests pass other clocks and hardware
        self,
        state: LiveState,
        port: int,
        *,
        stall_timeout_s: float = DEFAULT_STALL_TIMEOUT_S,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        gpu_memory: GpuMemory | None = None,
    ) -> None:
        """Listen on all addresses; port 0 takes a free port. `gpu_memory` is called at every scrape.

        Raises:
            ConfigurationError: the port is not available.
        """
        self._state = state
        self._stall_timeout_s = stall_timeout_s
        self._monotonic = monotonic
        registry = build_registry(state.snapshot, wall_clock, monotonic, gpu_memory)
        routes: dict[str, Callable[[], Answer]] = {
            "/progress": self._progress,
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, render(registry)),
            "/healthz": self._health,
        }
        try:
            self._server = _BoundedServer(port, routes)
        except OSError as error:
            message = f"port {port} cannot be served: {error.strerror or error}; free it, or set AUTOHAS_PORT to another (0: any)"
            raise ConfigurationError(message) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="autohas-server", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _progress(self) -> Answer:
        progress = build_progress(self._state.snapshot(), self._monotonic())
        if progress is None:
            return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"the search has not started: data is being loaded\n"
        return HTTPStatus.OK, "application/json", shrink_and_encode(progress)

    def _health(self) -> Answer:
        health = health_of(self._state.snapshot(), self._monotonic(), self._stall_timeout_s)
        status = HTTPStatus.OK if health.is_alive else HTTPStatus.SERVICE_UNAVAILABLE
        return status, _TEXT, health.text.encode()


class _BoundedServer(ThreadingHTTPServer):
    """Serves at most `_MAX_CLIENTS` connections at a time; further ones are closed at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * _MAX_CLIENTS

    def __init__(self, port: int, routes: dict[str, Callable[[], Answer]]) -> None:
        is_dual = socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if is_dual else socket.AF_INET
        self.routes = routes
        self._free = threading.BoundedSemaphore(_MAX_CLIENTS)
        super().__init__(("::" if is_dual else "0.0.0.0", port), _Handler)  # noqa: S104 - probes, scrapes and polls come from outside the pod

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Ignore errors of a connection, such as a client that disconnects."""


class _Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    server: _BoundedServer
    server_version = "autohas-trainer"
    sys_version = ""
    timeout = _CLIENT_TIMEOUT_S

    def do_GET(self) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            paths = ", ".join(self.server.routes)
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, f"served here: {paths}\n".encode())
            return
        try:
            answer = route()
        except Exception as error:  # noqa: BLE001 - the client gets the error, the search continues
            answer = (HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, f"{type(error).__name__}: {error}\n".encode())
        self._answer(*answer)

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Log no requests: probes come every few seconds."""
