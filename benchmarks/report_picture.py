"""Takes the picture of a report for the README: a screenshot from the heading to the end of a section.

    python -m benchmarks.report_picture autohas-out/demo

writes docs/images/report.png from the folder of a finished search, after writing its report.html again. Needs Chromium
(Debian: chromium). `--width 390 --image /tmp/narrow.png` shows the page as a phone does.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image, ImageChops

ROOT: Final = Path(__file__).parents[1]
TALLEST: Final = 12_000
MARGIN: Final = 40
MAX_BYTES: Final = 400_000
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def photograph(page: str, image: Path, *, width: int, scale: float) -> None:
    """One screenshot of the whole page, without the empty rest below it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "page.html")
        source.write_text(page, encoding="utf-8")
        profile, size = f"--user-data-dir={folder}/profile", f"--window-size={width},{TALLEST}"
        target = f"--screenshot={folder}/page.png"
        subprocess.run(["chromium", *FLAGS, profile, size, f"--force-device-scale-factor={scale}", target, source.as_uri()], check=True)
        with Image.open(f"{folder}/page.png") as taken:
            whole = taken.convert("RGB")
    empty = Image.new("RGB", whole.size, whole.getpixel((0, whole.height - 1)))
    box = ImageChops.difference(whole, empty).getbbox()
    if box is None:
        sys.exit("the page is empty")
    whole.crop((0, 0, whole.width, min(whole.height, box[3] + round(MARGIN * scale)))).quantize(256).save(image, optimize=True)


def until_section(page: str, sections: int) -> str:
    """The page up to the end of its section number `sections`; 0: the whole page."""
    if not sections:
        return page
    rest = f"h2:nth-of-type({sections + 1})"
    return page.replace("</style>", f"{rest}, {rest} ~ * {{ display: none; }}\n</style>", 1)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_picture", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of a finished search")
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "images" / "report.png")
    parser.add_argument("--width", type=int, default=980, help="of the window, in CSS pixels")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels of the picture for each of them")
    parser.add_argument("--sections", type=int, default=2, help="how many to show, in the order of the page; 0: all")
    arguments = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("needs Chromium: apt-get install -y chromium")
    subprocess.run([sys.executable, "-m", "autohas", "report", arguments.folder], check=True)
    page = until_section((arguments.folder / "report.html").read_text(encoding="utf-8"), arguments.sections)
    photograph(page, arguments.image, width=arguments.width, scale=arguments.scale)
    if (size := arguments.image.stat().st_size) > MAX_BYTES:
        sys.exit(f"{arguments.image} has {size:,} bytes and must have at most {MAX_BYTES:,}: show fewer sections or lower --scale")


if __name__ == "__main__":
    main()
