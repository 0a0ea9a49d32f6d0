"""A headless Chromium that is driven over its own protocol (CDP): opens a page, waits until something on it is true, takes its picture.

    with Browser() as browser:
        browser.visit("http://127.0.0.1:8080/")
        browser.wait("document.querySelector('h1')")

Needs Chromium (Debian: chromium).
"""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import websocket
from benchmarks.report_picture import FLAGS

TIMEOUT_S: Final = 60.0
LISTENING: Final = "DevTools listening on "
ALSO: Final = ("--mute-audio", "--disable-dev-shm-usage", "--remote-debugging-port=0")
WAITING: Final = """new Promise(resolve => {
  const look = () => { const value = (() => (%s))(); if (value) { watch.disconnect(); resolve(value); } };
  const watch = new MutationObserver(look);
  watch.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  look();
})"""


class BrowserError(Exception):
    """The browser did not do it; the text has what it said."""


class Browser:
    """One page. A wait is an observer in the page itself: nothing is polled."""

    def __init__(self, *, width: int = 1280, height: int = 900) -> None:
        """Start the browser with a window of this size in CSS pixels."""
        self._profile = tempfile.TemporaryDirectory()
        command = ["chromium", *FLAGS, *ALSO, f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
        log: Iterable[str] = self._process.stderr or ()
        address = next((line.partition(LISTENING)[2].strip() for line in log if LISTENING in line), None)
        if address is None:
            raise BrowserError(f"chromium ended with exit code {self._process.wait()} before it listened")
        self._socket = websocket.create_connection(address, timeout=TIMEOUT_S, suppress_origin=True)
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self) -> Self:
        """The browser itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.communicate()
        self._profile.cleanup()

    def visit(self, url: str) -> None:
        """Load a page, to its load event."""
        number = next(self._numbers)
        self._send(number, "Page.navigate", {"url": url})
        is_loaded = has_answer = False
        while not (is_loaded and has_answer):
            message = self._receive()
            is_loaded |= message.get("method") == "Page.loadEventFired"
            has_answer |= message.get("id") == number

    def wait(self, condition: str) -> Any:
        """The value of a JavaScript expression as soon as it is true."""
        return self.evaluate(WAITING % condition)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        try:
            answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        except websocket.WebSocketTimeoutException as error:
            raise BrowserError(f"not within {TIMEOUT_S:g} s: {expression}") from error
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"].get("exception", answer["exceptionDetails"])))
        return answer["result"].get("value")

    def photograph(self, image: Path) -> None:
        """Write a picture of the window."""
        image.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._send(number, method, parameters)
        while (message := self._receive()).get("id") != number:
            pass
        if "error" in message:
            raise BrowserError(f"{method}: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    def _send(self, number: int, method: str, parameters: dict[str, Any]) -> None:
        session = {"sessionId": self._session} if self._session is not None else {}
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters, **session}))

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        return message
