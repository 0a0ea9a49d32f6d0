"""A search next to other ways to spend its budget: methods, runs, statistics, sentences, page."""

from typing import Final

RECORD_FILE: Final = "compare.json"
"""File of a comparison in its folder; it is there before the first run begins."""
