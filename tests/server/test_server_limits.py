"""What one caller can take: the size and time of a head and a body, and the time others wait meanwhile."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from waypost.server import protocol
from waypost.server.middleware import body_limit
from waypost.server.models import MOST_MESSAGES, MOST_STOPS, MOST_TOOLS

PATH = "/api/ai/generate"
JSON = {"content-type": "application/json"}
Live = Callable[[Any], AbstractContextManager[Any]]
Client = Callable[..., TestClient]


def head(*lines: str) -> bytes:
    return "\r\n".join((f"POST {PATH} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines)).encode()


def read_error(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply.status, json.loads(reply.read())["error"]


def send_what_is_taken(connection: socket.socket, data: bytes) -> None:
    """The server may close before all of it has come."""
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return


def connect(running: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=10)


HEADS: list[tuple[str, bytes, int, str]] = [
    ("path", b"GET /" + b"x" * 20_000, 414, "over the limit of 16384 bytes"),
    ("huge path", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "16384"),
    ("header", head("X: " + "x" * 70_000, "", ""), 431, "over the limit of 65536 bytes"),
    ("headers", head(*[f"X-{number}: {'x' * 100}" for number in range(800)], "", ""), 431, "65536"),
]


@pytest.mark.parametrize(("sent", "status", "told"), [row[1:] for row in HEADS], ids=[row[0] for row in HEADS])
def test_a_large_head_is_refused_by_its_limit(live: Live, serve: Any, sent: bytes, status: int, told: str) -> None:
    with live(serve()) as running, connect(running) as connection:
        send_what_is_taken(connection, sent)
        answered, error = read_error(connection)
    assert (answered, error["code"]) == (status, "invalid_request")
    assert told in error["message"]


def test_a_header_without_end_is_refused_while_it_comes(live: Live, serve: Any) -> None:
    with live(serve()) as running, connect(running) as connection:
        connection.sendall(head("X: "))
        sent = 0
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 60_000_000:
                connection.sendall(b"x" * 100_000)
                sent += 100_000
    assert sent < 20_000_000


def test_a_head_at_the_limit_is_taken(live: Live, serve: Any) -> None:
    with live(serve()) as running:
        reply = httpx.get(running.url + "/health?" + "x" * 16_000, headers={"x": "x" * 60_000})
    assert reply.status_code == 200


def test_a_large_body_does_not_count_as_a_head(live: Live, serve: Any, scripted: Any) -> None:
    body = b'{"prompt":"' + b"x" * 300_000 + b'"}'
    with live(serve(scripted("ok"))) as running, connect(running) as connection:
        for _ in range(2):
            connection.sendall(head(f"Content-Length: {len(body)}", "", "") + body)
            reply = http.client.HTTPResponse(connection)
            reply.begin()
            reply.read()
            assert reply.status == 200


SLOW: list[tuple[str, bytes]] = [("silent", b""), ("empty line", b"\r\n"), ("half", b"GET /health HTTP/1.1\r\nHost: l")]


@pytest.mark.parametrize("sent", [row[1] for row in SLOW], ids=[row[0] for row in SLOW])
def test_a_head_that_does_not_come_ends_the_connection(
    live: Live, serve: Any, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 408 if one had begun; browsers open connections that they may never use, and want no answer there."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    with live(serve()) as running, connect(running) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        answer = connection.recv(100_000)
        assert 0.1 < time.monotonic() - started < 5
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") == sent.startswith(b"GET")
        assert not connection.recv(1000)


def test_a_head_that_comes_byte_by_byte_has_no_longer(live: Live, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    with live(serve()) as running, connect(running) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        connection.settimeout(0.05)
        started, answer = time.monotonic(), b""
        while not answer and time.monotonic() - started < 5:
            try:
                answer = connection.recv(1000)
            except TimeoutError:
                connection.sendall(b"x")
    assert b" 408 " in answer


def test_an_answer_may_take_longer_than_a_head(
    live: Live, serve: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the next request has begun to come."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    body = b'{"prompt":"p"}'
    with live(serve(scripted(0.5, "ok"))) as running, connect(running) as connection:
        connection.sendall(head(f"Content-Length: {len(body)}", "", "") + body + b"GET /he")
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        assert (reply.status, json.loads(reply.read())["content"]) == (200, "ok")


def test_a_body_that_trickles_ends_in_time_and_so_does_its_connection(
    live: Live, serve: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limit.BodyLimit.__init__, "__defaults__", (30.0, 0.3))
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    with live(serve(scripted())) as running, connect(running) as connection:
        connection.sendall(head("Content-Length: 100000", "", ""))
        connection.settimeout(0.05)
        started, answer = time.monotonic(), b""
        while time.monotonic() - started < 10:
            try:
                received = connection.recv(10_000)
            except TimeoutError:
                send_what_is_taken(connection, b" ")
                continue
            except ConnectionResetError:
                break
            if not received:
                break
            answer += received
        assert time.monotonic() - started < 5
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"not complete within 0.3 s" in answer


def test_a_caller_who_leaves_within_the_body_is_one_line(
    live: Live, serve: Any, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with live(serve(scripted())) as running:
        connection = connect(running)
        connection.sendall(head("Content-Length: 100", "", "{"))
        while running.server.lifecycle.in_flight == 0:
            time.sleep(0.005)
        connection.close()
        while running.server.lifecycle.in_flight:
            time.sleep(0.005)
        deadline = time.monotonic() + 5
        while not (lines := logged(caplog)) and time.monotonic() < deadline:
            time.sleep(0.005)
    assert [(line["status"], line["outcome"]) for line in lines] == [(499, "client_left")]
    assert [record for record in caplog.records if record.name == "waypost.server"] == []


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "waypost.access"]


def repeated(before: bytes, unit: bytes, after: bytes, size_bytes: int) -> bytes:
    return before + b",".join([unit] * (size_bytes // (len(unit) + 1))) + after


MESSAGE = b'{"role":"user","content":"' + b"some words, " * 40 + b'"}'
HEAVY: list[tuple[str, bytes, int]] = [
    ("empty lists", repeated(b'{"prompt":"x","tools":[', b"[]", b"]}", 19_000_000), 400),
    ("empty messages", repeated(b'{"messages":[', b"{}", b"]}", 19_000_000), 400),
    ("unknown keys", b'{"prompt":"x",' + b",".join(b'"k%d":1' % number for number in range(1_200_000)) + b"}", 400),
    ("fewer unknown keys", b'{"prompt":"x",' + b",".join(b'"k%d":1' % number for number in range(200_000)) + b"}", 400),
    ("a long key", b'{"prompt":"x","' + b"max_tokens" * 1_900_000 + b'":1}', 400),
    ("a long model", b'{"prompt":"x","model":"' + b"m" * 19_000_000 + b'"}', 400),
    ("a conversation", repeated(b'{"messages":[', MESSAGE, b"]}", 19_000_000), 200),
    ("a long text", b'{"prompt":"' + b'\\"a\\", \\u00e9\\n' * 1_100_000 + b'"}', 200),
]


def test_nobody_waits_for_another_ones_body(live: Live, serve: Any, scripted: Any) -> None:
    """A body of any kind within the size limit holds up a probe for less than a second."""
    with live(serve(scripted("ok"))) as running:
        for name, body, status in HEAVY:
            done, waits_s = threading.Event(), [0.0]
            prober = threading.Thread(target=probe, args=(running.url, done, waits_s))
            prober.start()
            reply = httpx.post(running.url + PATH, content=body, headers=JSON, timeout=30)
            done.set()
            prober.join()
            assert (name, reply.status_code) == (name, status)
            assert max(waits_s) < 1, name


def probe(url: str, done: threading.Event, waits_s: list[float]) -> None:
    with httpx.Client(base_url=url, timeout=30) as client:
        while not done.is_set():
            started = time.monotonic()
            client.get("/health")
            waits_s.append(time.monotonic() - started)
            time.sleep(0.01)


LISTS: list[tuple[str, Any, str]] = [
    ("messages", [{}] * (MOST_MESSAGES + 1), f"messages must be a list of at most {MOST_MESSAGES} entries."),
    ("tools", [{}] * (MOST_TOOLS + 1), f"tools must be a list of at most {MOST_TOOLS} entries."),
    ("stop", ["x"] * (MOST_STOPS + 1), f"stop must be a list of at most {MOST_STOPS} entries."),
    ("model", "m" * 501, "model must be at most 500 characters long."),
]


@pytest.mark.parametrize(("field", "value", "told"), LISTS, ids=[row[0] for row in LISTS])
def test_a_limit_is_named(client: Client, scripted: Any, field: str, value: Any, told: str) -> None:
    error = client(scripted()).post(PATH, json={"prompt": "x", field: value}).json()["error"]
    assert (error["param"], error["message"]) == (field, told)


def test_the_first_wrong_entry_of_a_list_is_enough(client: Client, scripted: Any) -> None:
    reply = client(scripted()).post(PATH, json={"messages": [{}, 1, 2], "tools": [[], []], "nope": 1})
    found = reply.json()["error"]["details"]["findings"]
    assert [each["param"] for each in found] == ["messages[1]", "tools[0]", "nope"]


def test_no_more_than_twenty_unknown_fields_are_told(client: Client, scripted: Any) -> None:
    error = client(scripted()).post(PATH, json={f"k{number}": 1 for number in range(1000)}).json()["error"]
    assert error["message"] == 'There is no field "k0".'
    assert [each["param"] for each in error["details"]["findings"]] == [f"k{number}" for number in range(20)]
