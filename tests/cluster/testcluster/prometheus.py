"""A real Prometheus as a process of this machine, for as long as a test asks it.

Knows nothing of what it scrapes: the configuration is the caller's. Served on loopback only, its data in the test's folder.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from testcluster import binaries, ports
from testcluster.commands import run
from testcluster.processes import Processes
from testcluster.waiting import until

NAME = "prometheus"
READY_S = 60.0


class QueryError(Exception):
    """Prometheus refused a query; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A running server."""

    directory: Path
    url: str

    @classmethod
    def start(cls, directory: Path, configuration: Mapping[str, Any], rules: Mapping[str, Any] | None = None) -> Self:
        """Start one that scrapes as `configuration` says and evaluates `rules` (the content of a rule file).

        Raises TimeoutError with the end of its log, CommandFailedError with promtool's words if the configuration is wrong.
        """
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "prometheus.json"  # JSON is YAML
        rule_file = directory / "rules.json"
        rule_file.write_text(json.dumps(rules or {"groups": []}))
        file.write_text(json.dumps({**configuration, "rule_files": [str(rule_file)]}))
        run([binaries.prometheus() / "promtool", "check", "config", file])
        (port,) = ports.free(1)
        server = cls(directory=directory, url=f"http://127.0.0.1:{port}")
        server._processes.start(
            NAME,
            [
                binaries.prometheus() / NAME,
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
        )
        try:
            until(server._is_ready, what="Prometheus is ready", deadline_s=READY_S, context=server._processes.explain)
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """End it; data and log stay."""
        self._processes.end(NAME)

    def query(self, expression: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query, at a time (seconds since the epoch) or now."""
        found: list[dict[str, Any]] = self._ask("query", {"query": expression, **({} if at_s is None else {"time": at_s})})["result"]
        return found

    def query_range(self, expression: str, *, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """The series of a range query."""
        parameters = {"query": expression, "start": start_s, "end": end_s, "step": step_s}
        found: list[dict[str, Any]] = self._ask("query_range", parameters)["result"]
        return found

    def parse(self, expression: str) -> dict[str, Any]:
        """The syntax tree of an expression."""
        tree: dict[str, Any] = self._ask("parse_query", {"query": expression})
        return tree

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped now, with labels and health."""
        found: list[dict[str, Any]] = self._ask("targets", {"state": "active"})["activeTargets"]
        return found

    def _ask(self, verb: str, parameters: Mapping[str, Any]) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{verb}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            with error:
                message = f"{parameters.get('query', verb)}: {error.read().decode(errors='replace')}"
            raise QueryError(message) from None

    def _is_ready(self) -> bool:
        if not self._processes.is_alive(NAME):
            message = f"Prometheus ended while it started\n{self._processes.explain(NAME)}"
            raise RuntimeError(message)
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def _processes(self) -> Processes:
        return Processes(directory=self.directory)
