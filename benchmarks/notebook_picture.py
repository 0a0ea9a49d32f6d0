"""Takes the picture of a notebook for the guide: the cell of a search while it runs, and after it.

    python -m benchmarks.notebook_picture examples/01-quickstart.yaml

executes a real notebook and writes docs/images/notebook.png from the outputs of its cells. Needs Chromium (Debian: chromium).
"""

from __future__ import annotations

import argparse
import asyncio
import html
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import nbclient
import nbformat
from benchmarks.report_picture import ROOT, photograph

STYLE: Final = """
body { font: 14px system-ui, sans-serif; margin: 16px 24px; } pre { margin: 2px 0; white-space: pre-wrap; }
.cell { font: 13px monospace; background: #f5f5f5; border: 1px solid #ddd; padding: 8px 12px; margin: 14px 0 8px; white-space: pre; }
h4 { margin: 18px 0 4px; color: #666; font-weight: 600; } table { border-collapse: collapse; font-size: 13px; }
"""
HALF: Final = (40, 70)


class Watching(nbclient.NotebookClient):
    """Keeps the outputs of a cell as they were about halfway."""

    halfway: str = ""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        output = super().process_message(msg, cell, cell_index)
        shown = render(cell.outputs)
        done = [int(percent) for percent in re.findall(r"<b>Search</b></td>.*?(\d+) %", shown)]
        if not self.halfway and done and HALF[0] <= done[-1] <= HALF[1]:
            self.halfway = shown
        return output


def render(outputs: list[Any]) -> str:
    """The outputs as a notebook shows them."""
    parts = []
    for output in outputs:
        data = output.get("data", {})
        text = output.get("text", data.get("text/plain", ""))
        parts.append(data.get("text/html", f"<pre>{html.escape(text)}</pre>"))
    return "".join(parts)


def make_notebook(*sources: str) -> Any:
    """A notebook of code cells."""
    cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    cells = [{**cell, "source": source} for source in sources]
    return nbformat.from_dict({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells})  # type: ignore[no-untyped-call]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notebook_picture", description=__doc__.partition("\n")[0])
    parser.add_argument("search", type=Path)
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "images" / "notebook.png")
    arguments = parser.parse_args()
    run, show = f'import autohas\n\nresult = autohas.run("{arguments.search}")', "result"
    real = run.replace(f'"{arguments.search}"', f'"{arguments.search.absolute()}", out="out"')
    with tempfile.TemporaryDirectory() as folder:
        notebook = make_notebook(real, show)
        client = Watching(notebook, timeout=1800, resources={"metadata": {"path": folder}})
        asyncio.run(client.async_execute())
    page = (
        f"<style>{STYLE}</style><div class='cell'>{html.escape(run)}</div><h4>While it runs</h4>{client.halfway}"
        f"<h4>When it has ended</h4>{render(notebook.cells[0].outputs)}<div class='cell'>{show}</div>{render(notebook.cells[1].outputs)}"
    )
    photograph(f"<!doctype html><meta charset='utf-8'>{page}", arguments.image, width=1000, scale=1.0)


if __name__ == "__main__":
    main()
