"""`python -m benchmarks.faults`: random faults on the node test cluster, none of which may change a result.

A few searches run undisturbed first. Then the other searches run, several at once, under faults drawn from a seed: trainer killed,
operator killed, pod deleted, Job deleted, suspended and resumed, API server unavailable. Only faults that hit something count. At no
time may a search have two live pods, Jobs or trainers; in the end every search must have the undisturbed result, model file and
history. The exit code is 1 otherwise. Needs what `make test` needs for its node level.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.drawing import Pot, draw
from benchmarks.faults.reporting import conditions, report
from benchmarks.faults.searching import SPECS, Field, Life
from benchmarks.faults.striking import Striker
from benchmarks.faults.watching import Server, View
from benchmarks.provenance import provenance

from line import NAMESPACE, Line
from testcluster import chart, cluster, levels
from testcluster.cluster import Cluster
from testcluster.commands import CommandFailedError
from testcluster.processes import this_process


def prepare(running: Cluster, claim: Path) -> Line:
    """Install the operator, and create a namespace with the restricted profile and the claim."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    running.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    chart.install(running, restart=False)
    running.local_volume("checkpoints", claim, namespace=NAMESPACE)
    return Line(cluster=running, claim=claim)


def at_once(parallel: int, work: Callable[[], None]) -> None:
    """Run `work` in `parallel` daemon threads, which end with this program, and wait for them."""
    threads = [threading.Thread(target=work, daemon=True) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_undisturbed(field: Field, parallel: int) -> list[Life]:
    """Run one search per spec without faults."""
    lives: list[Life] = []
    numbers = iter(range(len(SPECS)))

    def work() -> None:
        lives.extend(field.live(f"undisturbed-{number}", number, []) for number in numbers)

    at_once(parallel, work)
    lives.sort(key=lambda life: life.number)
    if len(lives) < len(SPECS):
        sys.exit("an undisturbed search did not end")
    for life in lives:
        print(f"{life.name}: {life.phase} after {life.seconds:.0f} s, {life.digest}", flush=True)
        life.compare(life)
        if life.problems or life.phase != "Succeeded" or life.end is None:
            sys.exit(f"{life.name} ended {life.phase} without a fault: {'; '.join(life.problems)}")
    return lives


def run_disturbed(field: Field, expected: list[Life], pot: Pot, seed: int, parallel: int) -> list[Life]:
    """Run searches under faults until all faults are used."""
    lives: list[Life] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if time.monotonic() > field.last_s:
                    pot.close()
                dealt = pot.next_search()
            if dealt is None:
                return
            number, count = dealt
            life = Life(name=f"search-{number}", number=number)
            try:
                life = field.live(life.name, number, draw(seed, number, count))
                life.compare(expected[number % len(SPECS)])
            except (TimeoutError, CommandFailedError, OSError) as error:
                life.problems.append(f"lost: {error}")
            with lock:
                pot.give_back(count - len(life.strikes))
                lives.append(life)
            verdict = "; ".join(life.problems) or "as undisturbed"
            print(
                f"{life.name}: {life.phase} after {life.seconds:.0f} s, {len(life.strikes)} faults, attempt {life.attempt}: {verdict}",
                flush=True,
            )

    at_once(parallel, work)
    return sorted(lives, key=lambda life: life.number)


def measure(running: Cluster, claim: Path, options: argparse.Namespace) -> tuple[str, bool]:
    """Run all searches; returns the table, and whether every search ended as undisturbed."""
    if running.node is None:
        sys.exit("this cluster has no node of its own: the faults need its processes")
    line = prepare(running, claim)
    view = View(Server.of(running.kubeconfig))
    striker = Striker(line, running.node.control_plane, view)
    field = Field(
        line=line,
        striker=striker,
        view=view,
        steps=options.steps,
        deadline_s=options.deadline,
        last_s=time.monotonic() + 60 * options.minutes,
    )
    where, begun = provenance(), time.monotonic()
    expected = run_undisturbed(replace(field, deadline_s=600), parallel=2)
    lives = run_disturbed(field, expected, Pot(options.searches, options.faults), options.seed, options.parallel)
    minutes = (time.monotonic() - begun) / 60
    command = f"python -m benchmarks.faults --searches {options.searches} --faults {options.faults} --seed {options.seed}"
    where += f",\nload average at the end {os.getloadavg()[0]:.1f}"
    heading = conditions(where, command, options.parallel, options.steps)
    violations = view.checker.violations
    is_well = not violations and not any(life.problems for life in lives) and sum(len(life.strikes) for life in lives) == options.faults
    return report(heading, expected, lives, violations, minutes), is_well


def main() -> int:
    """Run, compare and print; with --out also write the table to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=20, help="searches under faults (default 20)")
    parser.add_argument("--faults", type=int, default=200, help="faults that hit something (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the kinds, ways and times of the faults (default 0)")
    parser.add_argument("--parallel", type=int, default=8, help="searches at once (default 8)")
    parser.add_argument("--steps", type=int, default=60, help="training.steps of a search: its length (default 60, some 15 CPU seconds)")
    parser.add_argument("--deadline", type=float, default=1200, help="seconds after which a search is lost (default 1200)")
    parser.add_argument("--minutes", type=float, default=120, help="minutes after which no more faults begin (default 120)")
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args()
    if (reason := levels.why_no_node()) is not None:
        sys.exit(f"no node cluster here: {reason}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended on request"))
    with tempfile.TemporaryDirectory() as claim:
        running = cluster.start(this_process())
        try:
            text, is_well = measure(running, Path(claim), options)
        finally:
            cluster.stop()
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
