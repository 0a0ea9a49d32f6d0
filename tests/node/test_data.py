"""Data that come from outside the cluster: an init container fetches them, or the trainer reads a bucket with keys from a Secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autohas_api.testing.rejections import a_search, with_change
from line import NAMESPACE, Line
from testcluster import network
from testcluster.s3 import S3Server
from testcluster.waiting import until

pytestmark = pytest.mark.node
FETCHED, BUCKET, WRONG_KEYS, BROKEN = "fetched", "bucket", "wrong-keys", "broken-fetch"
ROWS = [f"{index % 7}.5,{index % 11},{'small' if index % 7 < 4 else 'large'}" for index in range(400)]
CSV = "\n".join(["width,height,label", *ROWS]).encode()
WRONG = "guessed"
FETCH = "import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """A server of the host, which pods reach; `/table` is answered only after `release`, and any other path with 404."""

    server: ThreadingHTTPServer
    release: threading.Event = field(default_factory=threading.Event)

    def address(self, path: str) -> str:
        """What a pod calls the path."""
        return f"http://{network.HOST}:{self.server.server_port}/{path}"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """The handler of requests."""
        release = self.release

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/table":
                    self.send_error(404)
                    return
                release.wait(120)
                self.send_response(200)
                self.send_header("Content-Length", str(len(CSV)))
                self.end_headers()
                self.wfile.write(CSV)

            def log_message(self, *_: object) -> None:
                """Be silent."""

        return Handler


@pytest.fixture(scope="module", name="web")
def _web(line: Line) -> Iterator[WebServer]:
    """After `line`, which makes the bridge that it listens on."""
    web = WebServer(server=ThreadingHTTPServer((network.HOST, 0), BaseHTTPRequestHandler))
    web.server.RequestHandlerClass = web.handler()
    thread = threading.Thread(target=web.server.serve_forever)
    thread.start()
    yield web
    web.release.set()
    web.server.shutdown()
    thread.join()
    web.server.server_close()


@pytest.fixture(scope="module", name="store")
def _store(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with the table in a bucket, and two Secrets: the owner's keys, and the same with another secret key."""
    server = S3Server.start(tmp_path_factory.mktemp("s3"), network.HOST)
    server.put("tables", {"shapes/train.csv": CSV})
    for name, keys in ((BUCKET, server.environment()), (WRONG_KEYS, {**server.environment(), "AWS_SECRET_ACCESS_KEY": WRONG})):
        metadata = {"name": name, "namespace": NAMESPACE}
        line.cluster.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys})
    yield server
    server.stop()


def table_search(name: str, path: str, trainer: dict[str, Any]) -> dict[str, Any]:
    """A search of some seconds on the table."""
    document = with_change(a_search(name), "spec.task.data", {"name": "csv", "path": path, "arguments": {"target": "label"}})
    document = with_change(document, "spec.failurePolicy", {"backoffLimit": 0})
    return with_change(document, "spec.trainer", {"resources": {"limits": {"cpu": "1", "memory": "2Gi"}}, **trainer})


def fetching(url: str) -> dict[str, Any]:
    """Fields of a trainer whose init container, from the trainer's image, writes what `url` answers onto an emptyDir."""
    command = ["python", "-c", FETCH, url, "/data/train.csv"]
    return {
        "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}],
        "initContainers": [{"name": "fetch", "command": command, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
    }


@pytest.fixture(scope="module", name="reading")
def _reading(line: Line, web: WebServer, store: S3Server) -> Iterator[Line]:
    """All searches at once: three of them wait for a download, or end early."""
    line.apply(table_search(FETCHED, "/data/train.csv", fetching(web.address("table"))))
    line.apply(table_search(BROKEN, "/data/train.csv", fetching(web.address("absent"))))
    for name in (BUCKET, WRONG_KEYS):
        line.apply(table_search(name, "s3://tables/shapes/train.csv", {"envFrom": [{"secretRef": {"name": name}}]}))
    yield line
    line.clear()


def test_an_init_container_brings_the_data(reading: Line, web: WebServer) -> None:
    """While it waits for the server, TrainerReady names it; then the trainer reads what it wrote, and the search succeeds."""

    def is_fetching() -> bool:
        return reading.condition(FETCHED, "TrainerReady").get("reason") == "InitContainerRunning"

    until(is_fetching, what="the init container runs", deadline_s=60, context=lambda: str(reading.condition(FETCHED, "TrainerReady")))
    assert "init container fetch of pod " in reading.condition(FETCHED, "TrainerReady")["message"]
    web.release.set()
    search = reading.wait(FETCHED, "Finished")

    assert search["status"]["phase"] == "Succeeded", json.dumps(search["status"])
    (pod,) = reading.objects("pods", FETCHED)
    assert [status["state"]["terminated"]["exitCode"] for status in pod["status"]["initContainerStatuses"]] == [0]


def test_an_init_container_that_fails_is_named_at_the_end(reading: Line) -> None:
    """With its exit code and the last line of its traceback, in the condition and in an event."""
    search = reading.wait(BROKEN, "Finished")
    succeeded = reading.condition(BROKEN, "Succeeded")

    assert (search["status"]["phase"], succeeded["reason"]) == ("Failed", "BackoffLimitExceeded")
    assert succeeded["message"].startswith(
        "init container fetch ended with exit code 1: urllib.error.HTTPError: HTTP Error 404: Not Found; the log ends: "
    )
    event = until(lambda: reading.events(BROKEN).get("SearchFailed"), what="the event is posted", deadline_s=30)
    assert "init container fetch ended with exit code 1" in event


def test_a_bucket_is_read_with_keys_from_a_secret(reading: Line, store: S3Server) -> None:
    """The search on `s3://` has the result of the one whose init container fetched the same table."""
    search = reading.wait(BUCKET, "Finished")

    assert search["status"]["phase"] == "Succeeded", json.dumps(search["status"])
    assert "GET /tables/shapes/train.csv" in store.requests()
    assert search["status"]["result"]["digest"] == reading.wait(FETCHED, "Finished")["status"]["result"]["digest"]


def test_a_secret_with_a_wrong_key_fails_the_search_with_a_sentence(reading: Line) -> None:
    """DataError after one pod; the sentence names address, server and variable, and no key."""
    search = reading.wait(WRONG_KEYS, "Finished")
    succeeded = reading.condition(WRONG_KEYS, "Succeeded")

    assert (search["status"]["phase"], succeeded["reason"]) == ("Failed", "DataError")
    assert "s3://tables/shapes/train.csv cannot be read from http://10.244.0.1:" in succeeded["message"]
    assert "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY" in succeeded["message"]
    assert WRONG not in json.dumps(search)
    assert reading.exit_codes(WRONG_KEYS) == [65]
