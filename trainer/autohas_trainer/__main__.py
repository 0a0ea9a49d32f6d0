"""The container's entry point: `python -m autohas_trainer`. Signals first, everything heavy later."""

from __future__ import annotations

import faulthandler
import os
import sys

from autohas_api.base.text_encoding import use_utf8
from autohas_trainer.cli.signals import StopOnSignal


def main() -> int:
    """Take over the signals, then run."""
    stop = StopOnSignal(insist=False)
    stop.install()
    faulthandler.enable()
    use_utf8(always=True)
    from autohas_trainer.cli.container import run_container  # noqa: PLC0415 - a signal during this import must already be heard

    return run_container(os.environ, stop)


if __name__ == "__main__":
    sys.exit(main())
