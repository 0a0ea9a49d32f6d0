"""Standard output, standard error and names of files as text, whatever the locale says.

Python writes ASCII where the locale is C and its UTF-8 mode is off, and an umlaut in a choice, a class or a file's name would end a
command in the middle.
"""

from __future__ import annotations

import codecs
import io
import os
import sys

__all__ = ["as_file_name", "replace_unprintable", "use_utf8"]


def use_utf8(*, always: bool = False) -> None:
    """Let standard output and error take any text.

    A stream of ASCII becomes UTF-8; bytes of file names that are no text come out as they are. A terminal with another encoding keeps it,
    and what it cannot show is escaped, unless `always`: logs that a machine reads are UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        name = codecs.lookup(stream.encoding).name
        if always or name in ("ascii", "utf-8"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
        else:
            stream.reconfigure(errors="backslashreplace")


def as_file_name(text: str) -> str:
    """A path from a document, which is UTF-8, as Python must be given it where names of files are ASCII to it."""
    if codecs.lookup(sys.getfilesystemencoding()).name != "ascii":
        return text
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def replace_unprintable(text: str) -> str:
    """Text with names of files in it, as it can be written: bytes that Python kept as surrogates are letters again, or marked."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
