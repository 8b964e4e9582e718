"""Whatever goes wrong reaches each client as its own library's exception, and a broken answer never looks whole."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from waypost.server.doors import serve

ROUTES = pytest.mark.parametrize("route", ["to-gpt", "to-claude"])
MESSAGES: Any = [{"role": "user", "content": "one two three four"}]
# Our own key being refused (401, 403) is nothing that the caller's client could mend: it is told as a 502.
OPENAI_ERRORS: dict[str, tuple[int, type[openai.APIStatusError], str]] = {
    "bad_request": (400, openai.BadRequestError, "provider_bad_request"),
    "context_length": (400, openai.BadRequestError, "context_length_exceeded"),
    "content_policy": (400, openai.BadRequestError, "content_policy_violation"),
    "authentication": (502, openai.InternalServerError, "provider_authentication"),
    "permission": (502, openai.InternalServerError, "provider_permission"),
    "not_found": (404, openai.NotFoundError, "model_not_found"),
    "too_large": (413, openai.APIStatusError, "provider_request_too_large"),
    "quota": (429, openai.RateLimitError, "insufficient_quota"),
    "rate_limit": (429, openai.RateLimitError, "rate_limit_exceeded"),
    "server_error": (502, openai.InternalServerError, "provider_server_error"),
    "overloaded": (503, openai.InternalServerError, "provider_overloaded"),
}
ANTHROPIC_ERRORS: dict[str, tuple[int, type[anthropic.APIStatusError], str]] = {
    "bad_request": (400, anthropic.BadRequestError, "invalid_request_error"),
    "context_length": (400, anthropic.BadRequestError, "invalid_request_error"),
    "content_policy": (400, anthropic.BadRequestError, "invalid_request_error"),
    "authentication": (502, anthropic.InternalServerError, "api_error"),
    "permission": (502, anthropic.InternalServerError, "api_error"),
    "not_found": (404, anthropic.NotFoundError, "not_found_error"),
    "too_large": (413, anthropic.RequestTooLargeError, "request_too_large"),
    "quota": (402, anthropic.PaymentRequiredError, "billing_error"),
    "rate_limit": (429, anthropic.RateLimitError, "rate_limit_error"),
    "server_error": (502, anthropic.InternalServerError, "api_error"),
    "overloaded": (529, anthropic.OverloadedError, "overloaded_error"),
}
STATUSES = {
    **{name: status for name, (status, _, _) in OPENAI_ERRORS.items()},
    "authentication": 401,
    "permission": 403,
    "server_error": 500,
}
"""What the simulated provider sends."""


def fails(house: Any, name: str, **more: Any) -> None:
    house.simulator.use({"rules": [{"fault": {"status": STATUSES[name], "error": name, **more}}]})


@ROUTES
@pytest.mark.parametrize("stream", [False, True])
async def test_every_error_of_a_provider_is_the_right_exception(
    gpt: AsyncOpenAI, claude: AsyncAnthropic, house: Any, route: str, stream: bool
) -> None:
    for name in OPENAI_ERRORS:
        fails(house, name)
        status, kind, code = OPENAI_ERRORS[name]
        with pytest.raises(kind) as caught:
            await gpt.chat.completions.create(model=route, messages=MESSAGES, max_tokens=9, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (status, code), name
        assert (caught.value.request_id or "").startswith("req_")
        status, other_kind, word = ANTHROPIC_ERRORS[name]
        with pytest.raises(other_kind) as told:
            await claude.messages.create(model=route, messages=MESSAGES, max_tokens=9, stream=stream)
        body: Any = told.value.body
        assert (told.value.status_code, body["error"]["type"]) == (status, word), name
        assert body["request_id"] == told.value.request_id == told.value.response.headers["x-request-id"]


@ROUTES
async def test_a_wait_that_is_known_is_told(gpt: AsyncOpenAI, claude: AsyncAnthropic, house: Any, route: str) -> None:
    fails(house, "rate_limit", retry_after_s=30)
    with pytest.raises(openai.RateLimitError) as caught:
        await gpt.chat.completions.create(model=route, messages=MESSAGES, max_tokens=9)
    assert caught.value.response.headers["retry-after"] == "30"
    assert caught.value.response.headers["x-waypost-attempts"] == "1"
    with pytest.raises(anthropic.RateLimitError) as told:
        await claude.messages.create(model=route, messages=MESSAGES, max_tokens=9)
    assert told.value.response.headers["retry-after"] == "30"


async def test_the_second_target_answers_when_the_first_is_ill(gpt: AsyncOpenAI, claude: AsyncAnthropic) -> None:
    whole = await gpt.chat.completions.with_raw_response.create(model="to-both", messages=MESSAGES, max_tokens=50)
    assert whole.parse().model == "claude-simulated"
    assert (whole.headers["x-waypost-attempts"], whole.headers["x-waypost-provider"]) == ("2", "claude")
    async with claude.messages.stream(model="to-both", messages=MESSAGES, max_tokens=50) as stream:
        final = await stream.get_final_message()
        assert stream.response.headers["x-waypost-attempts"] == "2"
    assert (final.model, final.stop_reason) == ("claude-simulated", "end_turn")


@ROUTES
@pytest.mark.parametrize(
    "fault",
    [
        {"cut_after_events": 5, "inside": "event"},
        {"end_after_events": 5},
        {"error_after_events": 5},
        {"malformed_after_events": 5},
    ],
    ids=lambda fault: next(iter(fault)),
)
async def test_a_stream_that_breaks_is_an_error_and_never_finished(
    gpt: AsyncOpenAI, claude: AsyncAnthropic, house: Any, http: httpx.AsyncClient, route: str, fault: Any
) -> None:
    house.simulator.use({"rules": [{"fault": fault}]})
    text = ""
    with pytest.raises(openai.APIError):
        async for chunk in await gpt.chat.completions.create(
            model=route, messages=MESSAGES, max_tokens=50, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
            assert chunk.choices[0].finish_reason is None
    assert text
    assert "You said: one two three four".startswith(text)
    kinds = []
    with pytest.raises(anthropic.APIError):
        async for event in await claude.messages.create(model=route, messages=MESSAGES, max_tokens=50, stream=True):
            kinds.append(event.type)
    assert "content_block_delta" in kinds
    assert not {"message_delta", "message_stop"} & set(kinds)
    asked = {"model": route, "messages": MESSAGES, "max_tokens": 50, "stream": True}
    raw = await http.post("/v1/chat/completions", json=asked)
    assert b"[DONE]" not in raw.content
    assert raw.content.rstrip().split(b"\n\n")[-1].startswith(b'data: {"error":')
    raw = await http.post("/v1/messages", json=asked, headers={"anthropic-version": "2023-06-01"})
    assert b"event: message_stop" not in raw.content
    assert raw.content.rstrip().split(b"\n\n")[-1].startswith(b"event: error\n")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
@ROUTES
async def test_a_caller_who_leaves_ends_the_call_within_a_second(
    http: httpx.AsyncClient, house: Any, path: str, stream: bool, route: str
) -> None:
    house.simulator.use({"rules": [{"fault": {"stall_after_events": 3}}]})
    asked = {"model": route, "messages": MESSAGES, "max_tokens": 50, "stream": stream}
    calling = asyncio.create_task(http.post(path, json=asked))
    async with asyncio.timeout(5):
        await house.simulator.request(1, ended=False)
        await asyncio.sleep(0.1)
        left_at = time.monotonic()
        calling.cancel()
        seen = await house.simulator.request(1)
    assert time.monotonic() - left_at < 1
    assert seen.outcome in ("client_closed", "fault")
    await asyncio.gather(calling, return_exceptions=True)


OPENAI_FORM = {"message", "type", "param", "code"}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("POST", "{door}", b"{", JSON, 400),
        ("POST", "{door}", b'{"model": 7}', JSON, 400),
        ("POST", "{door}", b'{"model": "x", "messages": [], "max_tokens": 5}', {"content-type": "text/plain"}, 415),
        ("POST", "{door}", b"x" * 200_000, JSON, 413),
        ("GET", "{door}", None, {}, 405),
        ("POST", "{door}/nothing", b"{}", JSON, 404),
        ("GET", "/v1/models/nothing-of-that-name", None, {}, 404),
        ("POST", "{door}", b"{}", {**JSON, "origin": "https://evil.example"}, 403),
    ],
)
async def test_refusals_before_any_provider_are_in_the_callers_dialect(
    http: httpx.AsyncClient, method: str, path: str, content: bytes | None, headers: dict[str, str], status: int
) -> None:
    reply = await http.request(method, path.format(door="/v1/chat/completions"), content=content, headers=headers)
    assert reply.status_code == status
    assert set(reply.json()["error"]) == OPENAI_FORM
    assert reply.headers["x-request-id"]
    headers = {**headers, "anthropic-version": "2023-06-01"}
    reply = await http.request(method, path.format(door="/v1/messages"), content=content, headers=headers)
    assert reply.status_code == status
    assert reply.json()["type"] == "error"
    assert set(reply.json()["error"]) == {"type", "message"}
    assert reply.json()["request_id"] == reply.headers["request-id"] == reply.headers["x-request-id"]
    if status == 405:
        assert reply.headers["allow"] == "POST"


async def test_a_server_that_stops_says_so_in_the_dialect(http: httpx.AsyncClient, house: Any) -> None:
    # As if a stream were in flight: with none, a draining server is gone within a tenth of a second.
    house.server.lifecycle.in_flight += 1
    house.server.lifecycle.draining = True
    reply = await http.post("/v1/messages", json={})
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "overloaded_error")
    assert (reply.headers["retry-after"], reply.headers["connection"]) == ("5", "close")
    reply = await http.post("/v1/chat/completions", json={})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "server_busy")
    house.server.lifecycle.in_flight -= 1


async def test_waypost_s_own_paths_keep_their_form(http: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/v1", "/v2/chat/completions"):
        assert set((await http.get(path)).json()["error"]) == {"code", "message", "hint", "request_id"}


async def test_an_unknown_model_names_the_nearest(gpt: AsyncOpenAI, claude: AsyncAnthropic) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean to-gpt") as caught:
        await gpt.chat.completions.create(model="to-gtp", messages=MESSAGES)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(anthropic.NotFoundError, match="Did you mean to-claude"):
        await claude.messages.create(model="to-cluade", messages=MESSAGES, max_tokens=9)


async def test_a_fault_of_our_own_tells_nothing_of_itself(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(serve, "reply_headers", broken)
    for stream in (False, True):
        asked = {"model": "to-gpt", "messages": MESSAGES, "max_tokens": 5, "stream": stream}
        reply = await http.post("/v1/messages", json=asked)
        assert (reply.status_code, reply.json()["error"]["type"]) == (500, "api_error")
        assert "secret" not in reply.text
        assert reply.headers["x-request-id"] in json.loads(reply.text)["error"]["message"]
