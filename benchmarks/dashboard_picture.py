"""Takes the picture of `autohas dashboard` for the documents: pages of two searches below each other.

    python -m benchmarks.dashboard_picture autohas-out/quickstart autohas-out/lanes

serves the folders of both searches and writes docs/images/optuna-dashboard.png. Needs Chromium (Debian: chromium) and the extra dashboard.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.browser import Browser
from benchmarks.report_picture import MAX_BYTES, ROOT
from PIL import Image

WIDTH: Final = 1400
PAGES: Final = (
    ("compare-studies?ids=0,{second}", ("plot-history",), 560),
    ("studies/1/smartSelection", ("plot-parallel-coordinate",), 700),
    ("studies/1/analytics", ("plot-slice", "graph-contour"), 1040),
)
"""Page, the plots to wait for, and its height in CSS pixels."""
DRAWN: Final = "(document.getElementById('{0}')?.data ?? []).length > 0 && document.querySelector('#{0} svg') !== null"
SETTLED: Final = "new Promise(done => setTimeout(() => requestAnimationFrame(done), 1500))"
"""Plots glide to their places and say at no time that they have arrived."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_picture", description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs=2, help="folders of two searches")
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "images" / "optuna-dashboard.png")
    arguments = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("needs Chromium: apt-get install -y chromium")
    command = [sys.executable, "-m", "autohas", "dashboard", *arguments.folders, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as server, tempfile.TemporaryDirectory() as folder:
        url = (server.stdout.readline() if server.stdout is not None else "").strip()
        try:
            parts = [take(url, *page, Path(folder, f"{number}.png")) for number, page in enumerate(PAGES)]
        finally:
            server.terminate()
        whole = Image.new("RGB", (WIDTH, sum(part.height for part in parts)))
        for part, top in zip(parts, (sum(p.height for p in parts[:i]) for i in range(len(parts))), strict=True):
            whole.paste(part, (0, top))
    whole.quantize(128).save(arguments.image, optimize=True)
    if (size := arguments.image.stat().st_size) > MAX_BYTES:
        sys.exit(f"{arguments.image} has {size:,} bytes and must have at most {MAX_BYTES:,}")


def take(url: str, page: str, plots: tuple[str, ...], height: int, image: Path) -> Image.Image:
    """One page when its plots are drawn."""
    with Browser(width=WIDTH, height=height) as browser:
        browser.visit(url)
        second = browser.wait("document.body.innerText.match(/(\\d+)\\. [^:]*\\n[^]*?1\\. [^:]*: first rung/)?.[1]")
        browser.visit(url + page.format(second=second))
        for plot in plots:
            browser.wait(DRAWN.format(plot))
        browser.evaluate(SETTLED)
        browser.photograph(image)
    with Image.open(image) as taken:
        return taken.convert("RGB")


if __name__ == "__main__":
    main()
