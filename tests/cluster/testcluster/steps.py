"""What the cluster's code is doing, for a person who waits: one log line per step with its time."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("testcluster")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Log `what` and how many seconds it took; nothing is logged at the end if it raised."""
    logger.info("%s ...", what)
    start = time.monotonic()
    yield
    logger.info("%s: %.1f s", what, time.monotonic() - start)
