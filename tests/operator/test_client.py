"""The HTTP client against a small server that records what it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from autohas_operator.client import JOBS, PODS, SEARCHES, HttpClient, list_all
from autohas_operator.errors import ApiError, ConflictError, NotFoundError, UnreachableError
from autohas_operator.metrics import Metrics
from autohas_operator.token_bucket import TokenBucket

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.Response]]


def ask(handler: Handler, use: Callable[[HttpClient], Awaitable[T]], *, timeout_s: float = 5) -> T:
    """What `use` makes of a server that answers by `handler`."""

    async def scenario() -> T:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
        configuration.api_key["BearerToken"] = "bearer t0ken"
        writes = TokenBucket(rate_per_s=1000, burst=1000, clock=lambda: 0.0)
        client = HttpClient(configuration, timeout_s=timeout_s, writes=writes, metrics=Metrics())
        try:
            return await use(client)
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(scenario())


def test_a_long_list_comes_in_pages() -> None:
    """The next page is asked for with the server's token, selectors and all."""
    queries = []

    async def handler(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        is_last = "continue" in request.query
        metadata = {"resourceVersion": "7"} | ({} if is_last else {"continue": "t/k&n"})
        return web.json_response({"metadata": metadata, "items": [{"metadata": {"uid": str(len(queries))}}]})

    items = ask(handler, lambda client: list_all(client, PODS, "ml", labels="a=b"))

    assert [item["metadata"]["uid"] for item in items] == ["1", "2"]
    assert queries == [{"limit": "500", "labelSelector": "a=b"}, {"limit": "500", "labelSelector": "a=b", "continue": "t/k&n"}]


def test_a_job_is_deleted_with_its_pods_first_and_by_uid() -> None:
    """Foreground and a precondition, always; the token is sent."""
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(path=request.path, body=await request.json(), token=request.headers["Authorization"])
        return web.json_response({})

    ask(handler, lambda client: client.delete(JOBS, "ml", "j", uid="u"))

    assert seen["path"] == "/apis/batch/v1/namespaces/ml/jobs/j"
    assert (seen["body"]["propagationPolicy"], seen["body"]["preconditions"]) == ("Foreground", {"uid": "u"})
    assert seen["token"] == "bearer t0ken"  # noqa: S105 - a made-up one


def test_status_goes_to_its_subresource() -> None:
    """PUT of the whole object, version and all."""
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(method=request.method, path=request.path, body=await request.json())
        return web.json_response(seen["body"])

    document = {"metadata": {"namespace": "ml", "name": "fashion", "resourceVersion": "5"}, "status": {"phase": "Running"}}
    answer = ask(handler, lambda client: client.replace_status(SEARCHES, document))

    assert (seen["method"], seen["path"]) == ("PUT", "/apis/autohas.dev/v1alpha1/namespaces/ml/autohassearches/fashion/status")
    assert answer == document


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (409, ConflictError), (429, ApiError), (500, ApiError)])
def test_refusals_become_errors_with_the_servers_sentence(status: int, kind: type[ApiError]) -> None:
    """Status, sentence and Retry-After survive."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=json.dumps({"message": "too bad"}), headers={"Retry-After": "3"})

    with pytest.raises(kind, match="too bad") as caught:
        ask(handler, lambda client: client.get(SEARCHES, "ml", "x"))

    assert (caught.value.status, caught.value.retry_after_s) == (status, 3)


def test_a_server_that_does_not_answer_is_unreachable() -> None:
    """Within the timeout."""

    async def handler(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(UnreachableError, match=r"GET .*Timeout"):
        ask(handler, lambda client: client.get(SEARCHES, "ml", "x"), timeout_s=0.1)


def test_no_server_at_all_is_unreachable() -> None:
    """Connection refused is no crash."""

    async def use() -> None:
        client = HttpClient(
            Configuration(host="http://127.0.0.1:1"),
            timeout_s=1,
            writes=TokenBucket(rate_per_s=1, burst=1, clock=lambda: 0.0),
            metrics=Metrics(),
        )
        try:
            await client.get(SEARCHES, "ml", "x")
        finally:
            await client.close()

    with pytest.raises(UnreachableError):
        asyncio.run(use())
