"""`python -m benchmarks.reliability`: kills searches with SIGKILL at random moments and compares their results.

For each strategy one undisturbed search is run; then searches are started, killed at a uniformly random moment of the time that an
undisturbed one takes, and resumed, until the kills are used up. Every finished search must have the undisturbed digest, the same model file
and the same history, byte for byte. Exit code 1 when one does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance

from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.atomic_file import write_atomically

ALGORITHMS: dict[str, dict[str, Any]] = {
    "OneFactor": {"name": "AutoHAS"},
    "Lanes": {"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}},
    "OneStep": {"name": "AutoHAS", "autoHAS": {"strategy": "OneStep"}},
    "Paired": {"name": "AutoHAS", "autoHAS": {"strategy": "Paired"}},
    "Published": {"name": "AutoHAS", "autoHAS": {"strategy": "OneStep", "preset": "Published"}},
    "Argmax": {"name": "AutoHAS", "autoHAS": {"strategy": "OneStep", "result": "Argmax"}},
    "RandomSharing": {"name": "RandomSharing", "randomSharing": {"numSamples": 5}},
    "RandomSearch": {"name": "RandomSearch"},
    "SuccessiveHalving": {"name": "SuccessiveHalving"},
    "Hyperband": {"name": "Hyperband"},
    "TPE": {"name": "TPE", "tpe": {"startupTrials": 3}},
    "BOHB": {"name": "BOHB"},
    "RegularizedEvolution": {"name": "RegularizedEvolution", "regularizedEvolution": {"population": 3, "sample": 2}},
    "DefaultOnly": {"name": "DefaultOnly"},
}
"""`spec.algorithm` of each strategy."""
SEARCHES_UPDATE_RULE_ONLY = ("OneStep", "Paired", "Published", "Argmax", "RandomSharing")
TRAININGS = {"BOHB": "18", "RegularizedEvolution": "5"}
"""`spec.budget.trainings` where the search of the others is refused: BOHB needs 18 trials at one rung, evolution its first population."""
MAX_KILLS_PER_SEARCH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Digests of result, model and history of a finished search."""

    result: str
    model: str
    history: str

    @classmethod
    def of(cls, folder: Path) -> End:
        """Read the folder of a finished search."""
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.safetensors", "history.jsonl")}
        digest = json.loads((folder / "result.json").read_text(encoding="utf-8"))["digests"]["result"]
        return cls(result=digest, model=files["model.safetensors"], history=files["history.jsonl"])


def document(strategy: str, steps: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a search of some seconds with a checkpoint every second; `changes`: other fields by their path."""
    search = with_change(a_search("killed"), "spec.task.data.arguments", {"variant": "shifted"})
    search = with_change(search, "spec.task.model.template", "conv-small")
    search = with_change(search, "spec.algorithm", ALGORITHMS[strategy])
    hyperparameters = search["spec"]["searchSpace"]["hyperparameters"]
    search = with_change(search, "spec.searchSpace.hyperparameters", hyperparameters[: 1 if strategy in SEARCHES_UPDATE_RULE_ONLY else 2])
    search = with_change(search, "spec.checkpoint.periodSeconds", 1)
    search = with_change(search, "spec.training.steps", steps)
    if strategy in TRAININGS:
        search = with_change(search, "spec.budget.trainings", TRAININGS[strategy])
    for path, value in changes.items():
        search = with_change(search, path, value)
    return search


def start(file: Path, folder: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    """Start or resume a search in a process of its own."""
    command = [str(Path(sys.executable).with_name("autohas")), "run", str(file), "--out", str(folder), *(["--resume"] if resume else [])]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a search that must succeed."""
    _, errors = process.communicate(timeout=900)
    if process.returncode != 0:
        sys.exit(f"a search ended with {process.returncode}: {errors.decode()[-2000:]}")


def survive(file: Path, folder: Path, kills: int, seconds: float, rng: random.Random) -> tuple[End, list[float]]:
    """Run one search with `kills` kills at random moments; returns its end and the moments."""
    moments = []
    resume = False
    for _ in range(kills):
        process = start(file, folder, resume=resume)
        moment = rng.uniform(0, seconds)
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            moments.append(moment)
        if (folder / "result.json").exists():
            return End.of(folder), moments
        resume = folder.exists() and any(folder.iterdir())
    finish(start(file, folder, resume=resume))
    return End.of(folder), moments


def trial(strategy: str, steps: int, kills: int, rng: random.Random, changes: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """One undisturbed search, then searches with `kills` kills in all: a table row for each, and whether its end differs."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        file = root / "search.yaml"
        file.write_text(json.dumps(document(strategy, steps, changes)), encoding="utf-8")
        begun = time.monotonic()
        finish(start(file, root / "undisturbed", resume=False))
        seconds = time.monotonic() - begun
        expected = End.of(root / "undisturbed")
        yield f"| {strategy} | none, {seconds:.1f} s | {expected.result[:12]} |", False
        left, run = kills, 0
        while left > 0:
            end, moments = survive(file, root / f"killed-{run}", min(left, MAX_KILLS_PER_SEARCH), seconds, rng)
            left, run = left - len(moments), run + 1
            verdict = "equal" if end == expected else f"DIFFERENT: {end}"
            killed = f"{', '.join(f'{m:.1f}' for m in moments)} s" if moments else "ended before the kill"
            yield f"| {strategy} | {killed} | {verdict} |", end != expected


def main() -> int:
    """Kill, resume, compare, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=32, help="kills in all, divided by the strategies (default 32)")
    parser.add_argument("--steps", type=int, default=60, help="training.steps of the search (default 60)")
    parser.add_argument("--precision", choices=("Float32", "BFloat16"), default="Float32", help="task.recipe.precision (default Float32)")
    parser.add_argument("--strategy", choices=ALGORITHMS, action="append", help="only this one; may be repeated (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)  # noqa: S311 - moments of a test, no secrets
    lines = [
        "# kill -9 at random moments\n",
        f"{provenance()}; seed {arguments.seed}, training.steps {arguments.steps}, {arguments.precision}.",
        "Equal: result digest, model file and history are those of the undisturbed search, byte for byte.\n",
        "| strategy | killed after | end |\n|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    failed, strategies = 0, arguments.strategy or list(ALGORITHMS)
    kills, changes = max(1, arguments.kills // len(strategies)), {"spec.task.recipe.precision": arguments.precision}
    for strategy in strategies:
        for line, is_different in trial(strategy, arguments.steps, kills, rng, changes):
            lines.append(line)
            failed += is_different
            print(line, flush=True)
    lines.append(f"\n{kills * len(strategies)} kills, {failed} searches with another end.")
    print(lines[-1])
    if arguments.out:
        write_atomically(arguments.out, "\n".join([*lines, ""]).encode())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
