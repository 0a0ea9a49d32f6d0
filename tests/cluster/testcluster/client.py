"""kubectl and helm against one cluster, as callables that return what the tool printed.

Used by the cluster's own code and handed to tests; knows nothing of how the cluster runs.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcluster.commands import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """An executable bound to a kubeconfig: `kubectl("get", "pods")`."""

    executable: Path
    kubeconfig: Path

    def __call__(self, *arguments: str | Path, input: str | None = None, timeout_s: float = 300) -> str:  # noqa: A002
        """Standard output; raises CommandFailedError with what the tool said."""
        environment = {"KUBECONFIG": str(self.kubeconfig)}
        return run([self.executable, *arguments], input=input, env=environment, timeout_s=timeout_s)

    def json(self, *arguments: str | Path) -> Any:
        """What `kubectl ... -o json` printed, decoded."""
        return json.loads(self(*arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or update these objects (`kubectl apply`)."""
        self("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
