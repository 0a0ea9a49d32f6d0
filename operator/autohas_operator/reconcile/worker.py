"""Workers: take a key, let the reconciler make one pass, and react to errors. No error leaves a worker.

An unexpected error is a bug: the worker logs it with its traceback and retries the search with back-off; other searches continue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import NotFoundError, reaction_to
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Key

_log = structlog.get_logger(__name__)


class Pass(Protocol):
    """One pass over one search."""

    async def reconcile(self, key: Key) -> float | None:
        """See `autohas_operator.reconcile.reconciler.Reconciler`."""


async def work(queue: WorkQueue[Key], reconciler: Pass, metrics: Metrics, monotonic: Callable[[], float]) -> None:
    """Reconcile keys of the queue, forever."""
    while True:
        key = await queue.get()
        try:
            await attend(key, queue, reconciler, metrics, monotonic)
        finally:
            queue.done(key)


async def attend(key: Key, queue: WorkQueue[Key], reconciler: Pass, metrics: Metrics, monotonic: Callable[[], float]) -> None:
    """Make one pass over a key, then requeue it as its outcome asks."""
    began_s = monotonic()
    try:
        requeue_after_s = await reconciler.reconcile(key)
    except NotFoundError:
        queue.forget(key)  # the search was deleted meanwhile: its watch event follows
        metrics.observe_pass("gone", monotonic() - began_s)
    except Exception as error:  # noqa: BLE001 - the one boundary at which every error is mapped
        _react(key, error, queue, metrics)
        metrics.observe_pass("retry", monotonic() - began_s)
    else:
        queue.forget(key)
        if requeue_after_s is not None:
            queue.add_after(key, requeue_after_s)
        metrics.observe_pass("ok", monotonic() - began_s)


def _react(key: Key, error: Exception, queue: WorkQueue[Key], metrics: Metrics) -> None:
    reaction = reaction_to(error)
    metrics.count_error(type(error).__name__)
    delay_s = queue.add_rate_limited(key, at_least_s=reaction.delay_s or 0.0)
    fields = {"namespace": key.namespace, "search": key.name, "retry_in_s": round(delay_s, 1), "error": str(error)}
    if reaction.is_bug:
        _log.error("reconciliation failed with a bug", exc_info=error, **fields)
    elif not reaction.is_noise:
        _log.warning("reconciliation failed", **fields)
