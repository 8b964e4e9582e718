"""What a reply's headers tell: the dialect's own id, the provider's limits where they are the caller's own, waits."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

OPENAI_LIMIT, ANTHROPIC_LIMIT = "x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining"
CHAT: Any = {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 50}
CALLS: dict[str, tuple[str, Any]] = {
    "chat": ("/v1/chat/completions", lambda route, stream: {**CHAT, "model": route, "stream": stream}),
    "messages": ("/v1/messages", lambda route, stream: {**CHAT, "model": route, "stream": stream}),
    "responses": ("/v1/responses", lambda route, stream: {"model": route, "input": "one two", "stream": stream}),
}
SAME = {("chat", "to-gpt"): OPENAI_LIMIT, ("messages", "to-claude"): ANTHROPIC_LIMIT}


async def called(http: httpx.AsyncClient, call: str, route: str, *, stream: bool) -> httpx.Response:
    path, body = CALLS[call]
    reply = await http.post(path, json=body(route, stream))
    assert reply.status_code == 200, reply.text
    return reply


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("route", ["to-gpt", "to-claude"])
async def test_limits_are_told_to_callers_who_know_such_headers(
    wide_http: httpx.AsyncClient, call: str, route: str, stream: bool
) -> None:
    """A provider's limits in its own words; in another dialect they would mean something else, or nothing."""
    reply = await called(wide_http, call, route, stream=stream)
    told = {name for name in reply.headers if "ratelimit" in name}
    same = SAME.get((call, route))
    assert (same in told) if same else not told


@pytest.mark.parametrize(
    ("path", "body", "limit"),
    [
        ("/v1/embeddings", {"model": "to-gpt", "input": "x"}, OPENAI_LIMIT),
        ("/v1/embeddings", {"model": "to-gem", "input": "x"}, None),
        ("/v1/messages/count_tokens", {"model": "to-claude", **CHAT}, ANTHROPIC_LIMIT),
    ],
)
async def test_of_embeddings_and_counts_too(
    wide_http: httpx.AsyncClient, path: str, body: Any, limit: str | None
) -> None:
    body = {name: value for name, value in body.items() if name != "max_tokens"}
    reply = await wide_http.post(path, json=body)
    assert reply.status_code == 200, reply.text
    told = {name for name in reply.headers if "ratelimit" in name}
    assert (limit in told) if limit else not told


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("call", CALLS)
async def test_the_id_is_where_the_dialect_s_clients_look(
    wide_http: httpx.AsyncClient, call: str, stream: bool
) -> None:
    reply = await called(wide_http, call, "to-gpt", stream=stream)
    assert reply.headers["x-request-id"].startswith("req_")
    own = reply.headers.get("request-id")
    assert own == (reply.headers["x-request-id"] if call == "messages" else None)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("route", ["to-gpt", "to-claude"])
async def test_a_wait_that_a_provider_asks_for_is_told(
    wide_http: httpx.AsyncClient, wide: Any, call: str, route: str
) -> None:
    wide.simulator.use({"rules": [{"fault": {"status": 429, "retry_after_s": 17}}]})
    path, body = CALLS[call]
    reply = await wide_http.post(path, json=body(route, False))
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "17")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "to-gem", "input": "x"}),
        ("/v1/messages/count_tokens", {"model": "to-claude", "messages": CHAT["messages"]}),
        ("/v1beta/models/to-gpt:embedContent", {"content": {"parts": [{"text": "x"}]}}),
    ],
)
async def test_of_embeddings_and_counts_as_well(wide_http: httpx.AsyncClient, wide: Any, path: str, body: Any) -> None:
    wide.simulator.use({"rules": [{"fault": {"status": 429, "retry_after_s": 17}}]})
    reply = await wide_http.post(path, json=body)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "17")
