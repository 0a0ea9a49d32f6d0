"""watchNamespaces: when a namespace or its Role is deleted, the operator still serves the other namespaces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_operator.client import SEARCHES
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.informer import Informer
from autohas_operator.cluster.resync import Resync, refill
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import ForbiddenError, OperatorError, UnreachableError, api_error
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Key
from autohas_operator.testing.builders import stored_search
from autohas_operator.testing.fake_cluster import FakeApi

SERVED = ("a", "b", "c")


class Roles(FakeApi):
    """Refuses lists in some namespaces, each with its status."""

    def __init__(self, **refused: int) -> None:
        super().__init__()
        self.refused = refused
        for namespace in SERVED:
            self.add(SEARCHES, namespace, with_change(stored_search(), "metadata", {"name": "s", "uid": namespace}))

    async def pages(self, resource: Any, namespace: Any, **selectors: Any) -> AsyncIterator[Any]:
        if namespace in self.refused:
            raise api_error(status=self.refused[namespace], message="no role", request=f"GET {resource.plural}")
        async for page in super().pages(resource, namespace, **selectors):
            yield page


def refill_cache(api: FakeApi) -> tuple[frozenset[str], list[Key], str]:
    cache, metrics = Cache(), Metrics()
    lost = asyncio.run(refill(api, Informer(cache, lambda _: None, metrics), SERVED))
    return lost, list(cache.all_keys()), metrics.render().decode()


@pytest.mark.parametrize("status", [403, 404])
def test_a_namespace_that_cannot_be_read_is_left_out(status: int) -> None:
    """The others are served, it is counted."""
    lost, keys, metrics = refill_cache(Roles(b=status))

    assert (set(lost), keys) == ({"b"}, [Key("a", "s"), Key("c", "s")])
    assert "autohas_namespaces_unreadable 1.0" in metrics


def test_without_any_namespace_the_operator_cannot_continue() -> None:
    """The operator ends with the error, because it can serve no namespace."""
    with pytest.raises(ForbiddenError, match="no role"):
        refill_cache(Roles(a=403, b=404, c=403))


def test_an_error_that_is_not_of_the_namespace_is_one_of_the_whole_list() -> None:
    """An error of the API server does not make a namespace unreadable."""
    with pytest.raises(OperatorError) as raised:
        refill_cache(Roles(b=500))
    assert not isinstance(raised.value, (ForbiddenError, UnreachableError))


def test_every_round_says_which_namespaces_are_lost() -> None:
    """A namespace disappears and comes back: so do its searches; those of the others stay throughout."""

    async def scenario() -> list[tuple[frozenset[str], int]]:
        api, cache = Roles(), Cache()
        queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
        rounds: list[tuple[frozenset[str], int]] = []
        resync = Resync(
            api,
            Informer(cache, queue.add, Metrics()),
            queue,
            namespaces=SERVED,
            period_s=600,
            rng=lambda: 0.5,
            monotonic=lambda: 0.0,
            lost=lambda lost: rounds.append((lost, len(cache.searches))),
        )
        for api.refused in ({}, {"b": 403}, {}):
            await resync.round()
        return rounds

    assert asyncio.run(scenario()) == [(frozenset(), 3), (frozenset({"b"}), 3), (frozenset(), 3)]
