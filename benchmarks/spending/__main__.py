"""`python -m benchmarks.spending`: does a search spend its budget, and does its supernet survive?

Twenty searches of template mlp-small on each of two tables: four seeds times five learning rates from 0.01 to 0.3, by sgd, with a budget of
5.5 trainings. For each: whether the supernet diverged and after how many of its steps, the trainings spent, the winner and its scores.

    python -m benchmarks.spending --save after.json
    python -m benchmarks.spending --table before.json after.json

    python -m benchmarks.spending --cost cost.md

`--cost` measures the CPU time of searches compared with their budget, on three tasks and with five strategies.

`--save` measures the checkout that it runs in, so `before.json` comes from a checkout of the other commit; `--table` writes both next to
each other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from benchmarks.spending.cost import measure_costs
from benchmarks.spending.searching import BUDGET, RATES, SEEDS, search_once
from benchmarks.spending.tables import TABLES, Table

from autohas_trainer.atomic_file import write_atomically

_Row = Mapping[str, Any]


def main() -> None:
    """Run the searches, or compare two saved runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spending", description="Trainings spent of budget.trainings.")
    parser.add_argument("--save", type=Path, help="run the searches and write their rows to this file")
    parser.add_argument("--table", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="print two saved runs next to each other")
    parser.add_argument("--cost", type=Path, help="measure CPU time over the budget's and write the table to this file")
    parser.add_argument("--share", type=float, default=1.0, help="with --cost: part of the usual steps of a training (default 1)")
    arguments = parser.parse_args()
    if arguments.cost:
        lines: list[str] = []
        for line in measure_costs(arguments.share):
            print(line, flush=True)
            lines.append(line)
            write_atomically(arguments.cost, ("\n".join(lines) + "\n").encode())
        return
    if arguments.table:
        print("\n".join(_compare(*(json.loads(path.read_text(encoding="utf-8")) for path in arguments.table))))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = list(_run(TABLES, Path(folder)))
    if arguments.save:
        write_atomically(arguments.save, json.dumps({"provenance": provenance(), "rows": rows}, indent=1).encode())


def _run(tables: Iterable[Table], folder: Path) -> Iterable[_Row]:
    for table in tables:
        if table.missing is not None:
            print(f"{table.name} is left out: {table.missing}", flush=True)
            continue
        path = table.prepare(folder)
        for rate in RATES:
            for seed in SEEDS:
                row = {"task": table.name, "rate": rate, "seed": seed, **search_once(table, path, folder, rate=rate, seed=seed)}
                print(json.dumps(row), flush=True)
                yield row


def _compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    """A summary and then every search, both versions in one line."""
    yield f"Before: {before['provenance']}."
    yield f"After: {after['provenance']}."
    yield from (
        "",
        "| task | | supernets that diverged | trainings spent, mean (least) | winner is the default | default diverged |",
        "|---" * 6 + "|",
    )
    for task in dict.fromkeys(row["task"] for row in after["rows"]):
        for label, run in (("before", before), ("after", after)):
            yield _summary(task, label, [row for row in run["rows"] if row["task"] == task])
    heading = "| task | rate | seed | supernet before | after | spent before | after | winner before | after | test before | after |"
    yield from ("", f"Each search (budget {BUDGET}):", "", heading, "|---" * 11 + "|")
    old_rows = {(row["task"], row["rate"], row["seed"]): row for row in before["rows"]}
    for new in after["rows"]:
        old = old_rows[new["task"], new["rate"], new["seed"]]
        pairs = (_cells(old), _cells(new))
        shown = " | ".join(f"{one} | {other}" for one, other in zip(*pairs, strict=True))
        yield f"| {new['task']} | {new['rate']} | {new['seed']} | {shown} |"


def _summary(task: str, label: str, rows: list[_Row]) -> str:
    ended = [row for row in rows if row["failure"] is None]
    spent = [row["spent"] for row in ended]
    supernets = f"{sum(row['diverged_after'] is not None for row in rows)} of {len(rows)}"
    cost = f"{statistics.fmean(spent):.2f} ({min(spent):.2f})" if spent else "-"
    defaults = f"{sum(row['winner'] == 'default' for row in ended)} of {len(ended)}"
    return f"| {task} | {label} | {supernets} | {cost} | {defaults} | {len(rows) - len(ended)} |"


def _cells(row: _Row) -> tuple[str, str, str, str]:
    """(supernet, spent, winner, test score) of one search."""
    supernet = "whole" if row["diverged_after"] is None else f"diverged after {row['diverged_after']}"
    if row["failure"] is not None:
        return supernet, "-", row["failure"], "-"
    return supernet, f"{row['spent']:.2f}", row["winner"], f"{row['test']:.4g}"


if __name__ == "__main__":
    main()
