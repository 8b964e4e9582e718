"""Gemini's streams without alt=sse: one JSON array, whose elements come as they are made."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from waypost.app import build
from waypost.codecs.sse import SseDecoder
from waypost.server.doors.json_array import JsonArraySend
from waypost.settings import Settings
from waypost.simulator import Simulator

ROUTES = pytest.mark.parametrize("route", ["to-gpt", "to-claude", "to-gem"])
ASKED: Any = {"contents": [{"role": "user", "parts": [{"text": "one two three"}]}]}


def text_of(chunks: list[Any]) -> str:
    parts = [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]
    return "".join(part.get("text", "") for part in parts)


@ROUTES
@pytest.mark.parametrize("query", ["", "?alt=json", "?key=any"])
async def test_the_array_has_the_chunks_that_the_events_have(
    wide_http: httpx.AsyncClient, route: str, query: str
) -> None:
    reply = await wide_http.post(f"/v1beta/models/{route}:streamGenerateContent{query}", json=ASKED)
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["x-waypost-provider"] == route.removeprefix("to-")
    chunks = reply.json()
    events = await wide_http.post(f"/v1beta/models/{route}:streamGenerateContent?alt=sse", json=ASKED)
    assert text_of(chunks) == "You said: one two three"
    assert len(chunks) == len(SseDecoder().feed(events.content)) > 2
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert reply.text.startswith("[{")
    assert reply.text.endswith("}]")
    assert reply.text.count(",\r\n") == len(chunks) - 1


@ROUTES
async def test_elements_come_when_they_are_made(wide_http: httpx.AsyncClient, wide: Any, route: str) -> None:
    wide.simulator.use({"rules": [{"fault": {"stall_after_events": 4}}]})
    seen = b""
    async with wide_http.stream("POST", f"/v1beta/models/{route}:streamGenerateContent", json=ASKED) as reply:
        async for piece in reply.aiter_bytes():
            seen += piece
            if b"You" in seen:
                break
    assert seen.startswith(b"[{")


@ROUTES
async def test_a_stream_that_breaks_ends_the_array_with_the_error(
    wide_http: httpx.AsyncClient, wide: Any, route: str
) -> None:
    wide.simulator.use({"rules": [{"fault": {"cut_after_events": 5}}]})
    reply = await wide_http.post(f"/v1beta/models/{route}:streamGenerateContent", json=ASKED)
    *chunks, last = reply.json()
    assert chunks
    assert all("finishReason" not in chunk["candidates"][0] for chunk in chunks)
    assert last["error"]["code"] == 502


@ROUTES
async def test_an_error_before_the_first_token_is_no_array(wide_http: httpx.AsyncClient, wide: Any, route: str) -> None:
    wide.simulator.use({"rules": [{"fault": {"status": 429}}]})
    reply = await wide_http.post(f"/v1beta/models/{route}:streamGenerateContent", json=ASKED)
    assert (reply.status_code, reply.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize("header", [{}, {"idempotency-key": "key-0123456789"}])
async def test_an_answer_that_is_kept_is_the_same_array_again(
    simulator: Simulator, live: Any, header: dict[str, str]
) -> None:
    settings = {
        "providers": {"claude": {"kind": "anthropic", "api_key": "k", "base_url": simulator.url}},
        "routes": {"default": {"targets": ["claude/c"], "cache": {"ttl_s": 60}}},
    }
    with live(build(Settings.model_validate(settings))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10, headers=header) as http:
            path = "/v1beta/models/default:streamGenerateContent"
            first, second = [await http.post(path, json=ASKED) for _ in range(2)]
            events = await http.post(f"{path}?alt=sse", json=ASKED, headers={"idempotency-key": "another-key-01"})
    assert first.json() == second.json()
    assert second.headers["content-type"].startswith("application/json")
    assert events.headers["content-type"].startswith("text/event-stream")
    assert len(simulator.requests) == 2


@pytest.mark.parametrize(
    ("bodies", "written"),
    [
        ([b"", b""], b"\n[]"),
        ([b'data: {"a": 1}\n\n', b""], b'[{"a": 1}]'),
        ([b'data: {"a": 1}\n\ndata: 2\n\n', b": \n\n", b"data: 3\n\n"], b'[{"a": 1},\r\n2\n,\r\n3]'),
        ([b"event: x\nid: 1\ndata: [1,\ndata: 2]\n\n", b""], b"[[1,\n2]]"),
    ],
)
async def test_events_become_elements_and_comments_white_space(bodies: list[bytes], written: bytes) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    array = JsonArraySend(send)
    head = [(b"content-type", b"text/event-stream"), (b"content-length", b"9"), (b"x-a", b"b")]
    await array({"type": "http.response.start", "status": 200, "headers": head})
    for number, body in enumerate(bodies, 1):
        await array({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})
    assert sent[0]["headers"] == [(b"content-type", b"application/json; charset=UTF-8"), (b"x-a", b"b")]
    assert b"".join(message["body"] for message in sent[1:]) == written
    json.loads(written)
