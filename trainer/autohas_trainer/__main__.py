"""The container's entry point: `python -m autohas_trainer`. Signals first, heavy imports later."""

from __future__ import annotations

import faulthandler
import os
import sys

from autohas_api.base.text_encoding import use_utf8
from autohas_trainer.cli.signals import StopOnSignal


def main() -> int:
    """Install the signal handlers, then run."""
    stop = StopOnSignal(insist=False)
    stop.install()
    faulthandler.enable()
    use_utf8(always=True)
    from autohas_trainer.cli.container import run_container  # noqa: PLC0415 - a signal during this import must be handled

    return run_container(os.environ, stop)


if __name__ == "__main__":
    sys.exit(main())
