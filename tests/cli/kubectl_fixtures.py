"""A kubectl that is a script, the search that it knows, and the command under test."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner, Result

from autohas.command import app
from autohas_api.testing.rejections import a_search, changed

UID: Final = "5ea4c400-0000-4000-8000-000000000001"
PLACE: Final = f"ml/fashion/{UID}/"
FAKE: Final = f"""#!{sys.executable}
import json, os, pathlib, subprocess, sys
home = pathlib.Path(os.environ["FAKE_KUBECTL"])
arguments = [a for a in sys.argv[1:] if not a.startswith(("--namespace=", "--context=", "--kubeconfig="))]
with (home / "log").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if arguments[0] == "apply":
    (home / "applied.json").write_text(sys.stdin.read())
elif arguments[0] == "exec":
    if (home / "exec-fails").exists():
        sys.exit((home / "exec-fails").read_text())
    code, place, *names = arguments[arguments.index("-c") + 1 :]
    sys.exit(subprocess.run([sys.executable, "-c", code, place.replace("/var/lib/autohas", str(home / "claim")), *names]).returncode)
elif arguments[0] == "get":
    answers = sorted(home.glob("answer-*"))
    text = answers[0].read_text()
    if len(answers) > 1:
        answers[0].unlink()
    if text.startswith("error:"):
        sys.exit(text.removeprefix("error:"))
    found = json.loads(text)
    is_one = not arguments[2].startswith("--")
    print(json.dumps(found[0] if is_one else {{"items": found}}))
"""


class Cluster:
    """The script's home: answers in order, the last one for ever."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._count = 0

    def answers(self, *answers: Any) -> None:
        """Each a search, a list of searches, or a text that kubectl fails with."""
        for answer in answers:
            self._count += 1
            text = f"error:{answer}" if isinstance(answer, str) else json.dumps(answer if isinstance(answer, list) else [answer])
            (self.home / f"answer-{self._count:03d}").write_text(text)

    @property
    def calls(self) -> list[list[str]]:
        """What kubectl was asked."""
        return [json.loads(line) for line in (self.home / "log").read_text().splitlines()]


def stored(phase: str = "", **status: Any) -> dict[str, Any]:
    document = changed(a_search("fashion"), "spec.checkpoint", {"storage": {"persistentVolumeClaim": {"claimName": "ck"}}})
    document["metadata"] |= {"namespace": "ml", "uid": UID}
    return document | ({"status": {"phase": phase, **status}} if phase else {})


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def flat(text: str) -> str:
    return " ".join(text.split())
