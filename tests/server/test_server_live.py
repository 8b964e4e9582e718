"""The server on real sockets: callers who leave, stall or talk nonsense."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from waypost import __version__
from waypost.server.cycle import Cycle
from waypost.server.middleware import body_limit

PATH = "/api/ai/generate"
Live = Callable[[Any], AbstractContextManager[Any]]


def request(port: int, body: bytes, *headers: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        f"Host: localhost:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


def read_reply(connection: socket.socket) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply.status, json.loads(reply.read()), reply.headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_leaves_cancels_the_call(live: Live, serve: Any, scripted: Any, stream: bool) -> None:
    """Within a second, before the first token. No stream can be gone on with whose id nobody knows."""
    provider = scripted(60.0, "late")
    with live(serve(provider)) as running:
        connection = socket.create_connection(("127.0.0.1", running.port))
        connection.sendall(request(running.port, json.dumps({"prompt": "p", "stream": stream}).encode()))
        assert provider.running.wait(10)
        left_at = time.monotonic()
        connection.close()
        assert wait_until(lambda: provider.cancelled_at is not None, 5)
        assert provider.cancelled_at - left_at < 1
        assert wait_until(lambda: running.server.lifecycle.in_flight == 0, 1)


def test_a_caller_who_leaves_in_the_middle_cancels_the_stream(live: Live, serve: Any, scripted: Any) -> None:
    provider = scripted("first", 60.0, "late")
    with live(serve(provider, resume_grace_s=0)) as running, httpx.Client(base_url=running.url) as caller:
        with caller.stream("POST", PATH, json={"prompt": "p", "stream": True}) as reply:
            assert "start" in next(reply.iter_text())
            assert provider.running.wait(10)
            left_at = time.monotonic()
        assert wait_until(lambda: provider.cancelled_at is not None, 5)
        assert provider.cancelled_at - left_at < 1


def test_a_reader_who_stalls_stalls_the_provider(live: Live, serve: Any, scripted: Any) -> None:
    """Nothing piles up in memory: the provider is only read as fast as the caller reads."""
    pieces = 3000
    provider = scripted(*["x" * 100_000] * pieces)
    said = 0
    play = provider._play

    async def counted(prompt: str, arguments: dict[str, Any]) -> Any:
        nonlocal said
        async for piece in play(prompt, arguments):
            said += 1
            yield piece

    provider._play = counted
    with live(serve(provider)) as running:
        connection = socket.create_connection(("127.0.0.1", running.port))
        connection.sendall(request(running.port, b'{"prompt":"p","stream":true}'))
        assert wait_until(lambda: said > 1, 10)
        before = 0
        while said != before:
            before = said
            time.sleep(0.2)
        assert said < pieces / 2
        connection.close()
        assert wait_until(lambda: running.server.lifecycle.in_flight == 0, 2)


def test_a_body_over_the_limit_without_a_length_is_refused_while_it_comes(
    live: Live, serve: Any, scripted: Any
) -> None:
    def body() -> Any:
        yield b'{"prompt":"'
        for _ in range(10):
            yield b"x" * 500

    with live(serve(scripted(), max_body_bytes=2048)) as running:
        reply = httpx.post(running.url + PATH, content=body(), headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


def test_a_body_that_is_announced_too_long_is_never_asked_for(live: Live, serve: Any, scripted: Any) -> None:
    served = serve(scripted(), max_body_bytes=2048)
    with live(served) as running, socket.create_connection(("127.0.0.1", running.port)) as connection:
        head = request(running.port, b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 9999999999999999")
        connection.sendall(head)
        status, body, _ = read_reply(connection)
    assert (status, body["error"]["code"]) == (413, "body_too_large")


def test_a_body_that_stops_coming_is_given_up(
    live: Live, serve: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limit.BodyLimit.__init__, "__defaults__", (0.1, 60.0))
    with live(serve(scripted())) as running, socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(request(running.port, b'{"prompt":"p"}')[:-5])
        status, body, _ = read_reply(connection)
    assert (status, body["error"]["code"]) == (400, "invalid_request")
    assert "within 0.1 s" in body["error"]["message"]


NONSENSE = [
    b"BAD\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("sent", NONSENSE)
def test_what_is_not_http_gets_the_envelope(live: Live, serve: Any, sent: bytes) -> None:
    with live(serve()) as running, socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(sent)
        status, body, headers = read_reply(connection)
    assert 400 <= status < 500
    assert body["error"]["message"]
    assert body["error"]["request_id"] == headers["x-request-id"]


def test_without_a_host_nothing_is_answered(live: Live, serve: Any) -> None:
    with live(serve()) as running, socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        status, body, _ = read_reply(connection)
    assert (status, body["error"]["code"]) == (403, "origin_refused")


def test_one_connection_serves_many_requests(live: Live, serve: Any, scripted: Any) -> None:
    """Errors keep the connection alive."""
    with live(serve(scripted("ok"))) as running:
        connection = http.client.HTTPConnection("localhost", running.port)
        statuses = []
        local_ports = set()
        for body in ('{"prompt":"p"}', "{", '{"prompt":"p"}'):
            connection.request("POST", PATH, body, {"content-type": "application/json"})
            local_ports.add(connection.sock.getsockname()[1])
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
        connection.close()
    assert statuses == [200, 400, 200]
    assert len(local_ports) == 1


def test_the_server_closes_its_application_and_does_not_name_its_framework(live: Live, serve: Any) -> None:
    served = serve()
    with live(served) as running:
        reply = httpx.get(running.url + "/health")
        assert reply.json()["version"] == __version__
        assert "server" not in reply.headers
        running.server.drain()
        running.thread.join(10)
    assert served.closed == 1


def test_an_answered_request_is_let_go_of_without_the_collector(live: Live, serve: Any, scripted: Any) -> None:
    with live(serve(scripted(0.0, "a"))) as running:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert httpx.post(f"http://127.0.0.1:{running.port}{PATH}", json={"prompt": "p"}).status_code == 200
            assert wait_until(lambda: not any(isinstance(held, Cycle) for held in gc.get_objects()), 5)
        finally:
            gc.enable()
