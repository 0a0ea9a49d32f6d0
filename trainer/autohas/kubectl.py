"""Runs kubectl as a subprocess: users who apply searches have it and are logged in, so no Kubernetes client is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from autohas_api.base.names import GROUP, PLURAL

__all__ = ["Kubectl", "KubectlError"]

_RESOURCE = f"{PLURAL}.{GROUP}"
_LOG_LINE: Final = re.compile(r"[IWEF]\d{4} \d\d:\d\d:")
_REQUEST_TIMEOUT = "--request-timeout=30s"


class KubectlError(Exception):
    """kubectl is not installed or failed; the text is a sentence for the user."""

    def __init__(self, message: str, *, is_not_found: bool = False) -> None:
        """`is_not_found`: the object does not exist."""
        super().__init__(message)
        self.is_not_found = is_not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """One cluster and namespace; kubectl chooses what is empty."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""
    all_namespaces: bool = False

    def search(self, name: str) -> dict[str, Any]:
        """Return a search.

        Raises:
            KubectlError: the search does not exist, or the cluster does not answer.
        """
        result: dict[str, Any] = json.loads(self.run("get", _RESOURCE, name, "--output=json", _REQUEST_TIMEOUT))
        return result

    def searches(self) -> list[dict[str, Any]]:
        """Return the searches of the namespace, or of all namespaces."""
        everywhere = ["--all-namespaces"] if self.all_namespaces else []
        result: list[dict[str, Any]] = json.loads(self.run("get", _RESOURCE, *everywhere, "--output=json", _REQUEST_TIMEOUT))["items"]
        return result

    def run(self, *arguments: str, input_text: str | None = None) -> str:
        """Run kubectl and return its standard output.

        Raises:
            KubectlError: kubectl is not installed, or its exit code is not 0.
        """
        command = self.command(*arguments)
        process = subprocess.run(  # noqa: S603 - no shell, our arguments
            command, input=input_text, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        if process.returncode != 0:
            message = _extract_message(process.stderr) or f"kubectl ended with exit code {process.returncode}"
            raise KubectlError(_explain(message), is_not_found="(NotFound)" in message)
        return process.stdout

    def command(self, *arguments: str) -> list[str]:
        """Return the command line, for callers that stream its output."""
        executable = shutil.which("kubectl")
        if executable is None:
            raise KubectlError("kubectl is not on PATH: install it (https://kubernetes.io/docs/tasks/tools) and log in to the cluster")
        chosen = {"--kubeconfig": self.kubeconfig, "--context": self.context, "--namespace": self.namespace}
        return [executable, *(f"{flag}={value}" for flag, value in chosen.items() if value), *arguments]

    def describe(self, name: str) -> str:
        """Return `search NAME in namespace NS`, for sentences."""
        return f"search {name} in namespace {self.namespace}" if self.namespace else f"search {name} in the current namespace"

    def command_text(self, arguments: Sequence[str]) -> str:
        """Return a kubectl command line for the user to paste."""
        return " ".join(["kubectl", *([f"-n {self.namespace}"] if self.namespace else []), *arguments])


def _extract_message(stderr: str) -> str:
    """Return the message of kubectl: its log lines only where it printed nothing else."""
    lines = stderr.splitlines()
    return " ".join(" ".join(line for line in lines if not _LOG_LINE.match(line)).split()) or " ".join(stderr.split())


def _explain(message: str) -> str:
    if "the server doesn't have a resource type" in message or "no matches for kind" in message:
        return "this cluster has no AutoHASSearch resources: install the chart first (helm install autohas ...)"
    return message.removeprefix("error: ").removeprefix("Error from server (NotFound): ").removeprefix("Error from server: ")
