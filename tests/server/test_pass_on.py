"""Requests that belong to another worker, over a real private socket: what is handed on, what comes back, who may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from waypost.ledger.account import configured_account
from waypost.server.api import WaypostApi, create_app
from waypost.server.callers import Caller, Callers, caller_of, set_caller
from waypost.server.ids import new_request_id
from waypost.server.middleware.boundary import Boundary
from waypost.server.middleware.from_peer import FromPeer, is_from_peer
from waypost.server.middleware.pass_on import PassOn
from waypost.server.middleware.request_id import RequestId
from waypost.server.peers import Neighbourhood, Peers
from waypost.server.run import DrainingServer, http_config
from waypost.server.serving import Serving
from waypost.settings import KeySettings

TOKEN = "a-token-of-the-supervisor"
MARKED = {number: f"resp_{'0' * 32}w{number}" for number in (1, 2, 3)}
EVENTS = "/api/ai/responses/{}/events"


async def told(request: Request) -> Response:
    """What the second worker saw."""
    if request.query_params.get("missing"):
        return JSONResponse({"worker": 2}, 404)
    seen = {
        "worker": 2,
        "method": request.method,
        "path": request.url.path,
        "query": request.url.query,
        "headers": dict(request.headers),
        "body": (await request.body()).decode(),
        "caller": caller_of(request.scope).name,
        "from_peer": is_from_peer(request.scope),
    }
    return JSONResponse(seen, 207, headers={"x-own": "yes"})


async def broken(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.05)
        raise RuntimeError("out of order")

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def first(scope: Any, receive: Any, send: Any) -> None:
    """The first worker's own answer."""
    status = 404 if b"missing" in scope["query_string"] else 200
    await JSONResponse({"worker": 1}, status)(scope, receive, send)


def neighbourhood(own: int, folder: Path) -> Neighbourhood:
    return Neighbourhood(own, 3, folder, TOKEN)


@asynccontextmanager
async def second_worker(app: WaypostApi, place: Neighbourhood) -> AsyncIterator[None]:
    """Its private socket only. The third worker is never there."""
    for path, endpoint in (("/{path:path}/broken", broken), ("/{path:path}", told)):
        app.router.routes.insert(
            0 if endpoint is broken else 1, Route(path, endpoint, methods=["GET", "POST", "DELETE"])
        )
    config = http_config(app.for_peers(), lifespan="off")
    config.load()
    server = DrainingServer(config, app)
    listening = await asyncio.get_running_loop().create_unix_server(
        lambda: config.http_protocol_class(config=config, server_state=server.server_state, app_state={}),  # type: ignore[call-arg]
        sock=place.listen(),
    )
    try:
        yield
    finally:
        listening.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()


@pytest.fixture
async def first_worker(serve: Callable[..., Any], tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the first worker, where the key `ann` is known."""
    served = serve()
    served.callers = Callers({"ann": KeySettings.model_validate({"key": "a-key-of-ann-0123"})})
    app = create_app(Serving(served), Peers(neighbourhood(2, tmp_path)))
    peers = Peers(neighbourhood(1, tmp_path))
    chain = RequestId(Boundary(PassOn(first, peers)))

    async def with_caller(scope: Any, receive: Any, send: Any) -> None:
        scope["app"] = app
        name = dict(scope["headers"]).get(b"x-name", b"ann").decode()
        set_caller(scope, Caller(name, account=configured_account(name, is_admin=True, routes=None)))
        await chain(scope, receive, send)

    async with second_worker(app, neighbourhood(2, tmp_path)):
        transport = httpx.ASGITransport(app=with_caller)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            yield http
        await peers.close()


async def test_the_whole_request_is_handed_on_and_the_whole_reply_back(first_worker: httpx.AsyncClient) -> None:
    headers = {
        "last-event-id": "7",
        "authorization": "Bearer secret",
        "accept": "text/event-stream",
        "x-request-id": "me",
    }
    path = EVENTS.format(MARKED[2])
    reply = await first_worker.request("DELETE", f"{path}?a=1&b=%20", content=b'{"c": 1}', headers=headers)
    seen = reply.json()
    assert (reply.status_code, reply.headers["x-own"]) == (207, "yes")
    assert reply.headers.get_list("x-request-id") == ["me"]
    assert (seen["method"], seen["path"], seen["query"], seen["body"]) == ("DELETE", path, "a=1&b=%20", '{"c": 1}')
    assert (seen["caller"], seen["from_peer"]) == ("ann", True)
    assert (seen["headers"]["last-event-id"], seen["headers"]["x-request-id"]) == ("7", "me")
    assert seen["headers"]["accept"] == "text/event-stream"
    # A key goes no further than to where it was checked.
    assert "authorization" not in seen["headers"]


@pytest.mark.parametrize("stream_id", [MARKED[1], "resp_of_a_provider", f"resp_{'0' * 32}w9", f"resp_{'0' * 32}w0"])
async def test_what_is_nobody_s_is_answered_here(first_worker: httpx.AsyncClient, stream_id: str) -> None:
    assert (await first_worker.get(EVENTS.format(stream_id))).json() == {"worker": 1}


async def test_the_stream_of_a_worker_that_is_not_there_is_unknown(first_worker: httpx.AsyncClient) -> None:
    reply = await first_worker.get(EVENTS.format(MARKED[3]))
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_stream")


async def test_a_key_belongs_to_one_worker_by_project_and_path(first_worker: httpx.AsyncClient, tmp_path: Path) -> None:
    """Each of the three has some; a worker that is not there is told as 503, with the wait."""
    seen = {}
    for number in range(24):
        headers = {"idempotency-key": f"k{number}"}
        reply = await first_worker.post("/v1/other", json={}, headers=headers)
        owner = neighbourhood(1, tmp_path).owner_of("config:ann", "/v1/other", f"k{number}")
        if reply.status_code == 503:
            assert (owner, reply.headers["retry-after"]) == (3, "1")
        else:
            assert reply.json()["worker"] == owner
        seen[number] = owner
    assert set(seen.values()) == {1, 2, 3}
    others = {number: neighbourhood(2, tmp_path).owner_of("config:bob", "/v1/other", f"k{number}") for number in seen}
    assert others != seen


async def test_keys_of_requests_that_make_nothing_mean_nothing(first_worker: httpx.AsyncClient) -> None:
    for number in range(6):
        for method, path in (("GET", "/v1/models"), ("POST", "/api/admin/reload"), ("POST", "/providers/a/files")):
            reply = await first_worker.request(method, path, headers={"idempotency-key": f"k{number}"})
            assert reply.json() == {"worker": 1}


@pytest.mark.parametrize(("request_id", "worker"), [("mine", 1), (f"req_{'0' * 32}w2", 2), (f"req_{'0' * 32}w3", 1)])
async def test_a_story_is_looked_for_where_its_id_was_made_first(
    first_worker: httpx.AsyncClient, request_id: str, worker: int
) -> None:
    reply = await first_worker.get(f"/api/ai/requests/{request_id}/explain")
    assert reply.json()["worker"] == worker


async def test_a_story_is_looked_for_everywhere_before_it_is_unknown(first_worker: httpx.AsyncClient) -> None:
    reply = await first_worker.get("/api/ai/requests/mine/explain?missing_here=1")
    assert reply.json()["worker"] == 2
    reply = await first_worker.get("/api/ai/requests/mine/explain?missing=1")
    assert reply.status_code == 404


async def test_a_reply_that_breaks_off_there_breaks_off_here(first_worker: httpx.AsyncClient) -> None:
    with pytest.raises(Exception, match=r"(?i)payload|closed|disconnected"):
        await first_worker.get(f"/api/ai/responses/{MARKED[2]}/broken")


async def test_a_caller_whom_the_other_worker_does_not_know_is_refused(first_worker: httpx.AsyncClient) -> None:
    reply = await first_worker.get(EVENTS.format(MARKED[2]), headers={"x-name": "gone"})
    assert reply.status_code == 401


async def test_without_the_token_the_private_socket_takes_nothing(serve: Callable[..., Any]) -> None:
    sent: list[Any] = []

    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was let in")

    async def send(message: Any) -> None:
        sent.append(message)

    for shown in ([], [(b"x-waypost-peer", b"")], [(b"x-waypost-peer", b"another")]):
        headers = [(b"x-waypost-caller", b"local"), *shown]
        scope = {"type": "http", "path": "/", "method": "GET", "headers": headers, "state": {}}
        await FromPeer(never, Serving(serve()), TOKEN)(scope, None, send)  # type: ignore[arg-type]
        assert sent.pop(0)["status"] == 401
        assert json.loads(sent.pop(0)["body"])["error"]["code"] == "authentication_required"


async def test_a_public_socket_does_not_look_at_the_token(serve: Callable[..., Any], tmp_path: Path) -> None:
    """Even one that knows it is an ordinary caller there: without keys, of a page that may not call."""
    app = create_app(serve(), Peers(neighbourhood(2, tmp_path)))
    headers = {"x-waypost-peer": TOKEN, "x-waypost-caller": "local", "origin": "http://evil.example"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://testserver") as http:
        assert (await http.get("/api/admin/status", headers=headers)).status_code == 403


def test_ids_are_made_without_a_mark_here() -> None:
    """The tests of this file run in a process that is no worker."""
    assert "w" not in new_request_id()
