"""Counts of tokens through three doors: the provider's own where it counts, else an estimate that says so."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator

PROMPT = "How many roads must a man walk down, before you call him a man?"
DOORS: dict[str, tuple[str, Any, Any]] = {
    "anthropic": (
        "/v1/messages/count_tokens",
        lambda route: {"model": route, "messages": [{"role": "user", "content": PROMPT}]},
        lambda body: body["input_tokens"],
    ),
    "gemini": (
        "/v1beta/models/{route}:countTokens",
        lambda route: {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]},
        lambda body: body["totalTokens"],
    ),
    "responses": (
        "/v1/responses/input_tokens",
        lambda route: {"model": route, "input": PROMPT},
        lambda body: body["input_tokens"],
    ),
}


async def counted(http: httpx.AsyncClient, door: str, route: str) -> tuple[int, httpx.Response]:
    path, body, read = DOORS[door]
    reply = await http.post(path.format(route=route), json=body(route))
    assert reply.status_code == 200, reply.text
    return read(reply.json()), reply


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("route", ["to-claude", "to-gem"])
async def test_a_provider_that_counts_is_asked(wide_http: httpx.AsyncClient, wide: Any, door: str, route: str) -> None:
    tokens, reply = await counted(wide_http, door, route)
    assert 10 <= tokens <= 40
    assert reply.headers["x-waypost-provider"] == route.removeprefix("to-")
    assert "x-waypost-estimate" not in reply.headers
    [seen] = wide.simulator.requests
    assert seen.path.endswith(("/v1/messages/count_tokens", "/models/gemini-embedding-001:countTokens"))


@pytest.mark.parametrize("door", DOORS)
async def test_one_that_does_not_is_estimated_and_the_caller_is_told(
    wide_http: httpx.AsyncClient, wide: Any, door: str
) -> None:
    tokens, reply = await counted(wide_http, door, "to-own")
    assert 10 <= tokens <= 40
    assert reply.headers["x-waypost-estimate"] == "true"
    assert "own cannot count" in reply.headers["x-waypost-warnings"]
    assert reply.headers["x-waypost-attempts"] == "0"
    assert reply.headers["x-waypost-model"] == "bge-m3"
    assert not wide.simulator.requests, "nobody was asked"


@pytest.mark.parametrize("door", DOORS)
async def test_longer_prompts_have_more(wide_http: httpx.AsyncClient, door: str) -> None:
    path, body, read = DOORS[door]
    for route in ("to-claude", "to-gem", "to-own"):
        short = read((await wide_http.post(path.format(route=route), json=body(route))).json())
        longer = str(body(route)).replace(PROMPT, PROMPT * 3).replace("'", '"')
        reply = await wide_http.post(
            path.format(route=route), content=longer, headers={"content-type": "application/json"}
        )
        assert read(reply.json()) > short * 2


async def test_the_official_client_counts_with_tools(wide: Any) -> None:
    async with AsyncAnthropic(base_url=wide.url, api_key="any", max_retries=0, timeout=10) as client:
        plain = await client.messages.count_tokens(model="to-claude", messages=[{"role": "user", "content": PROMPT}])
        tooled = await client.messages.count_tokens(
            model="to-claude",
            system="Be brief.",
            messages=[{"role": "user", "content": PROMPT}],
            tools=[{"name": "roads", "description": "Counts roads.", "input_schema": {"type": "object"}}],
        )
        raw = await client.messages.with_raw_response.count_tokens(
            model="to-own", messages=[{"role": "user", "content": PROMPT}]
        )
    assert tooled.input_tokens > plain.input_tokens > 0
    assert raw.headers["x-waypost-estimate"] == "true"
    assert raw.headers["request-id"] == raw.headers["x-request-id"]


async def test_a_whole_request_of_google_s_names_the_provider_s_model(wide_http: httpx.AsyncClient, wide: Any) -> None:
    contents = [{"role": "user", "parts": [{"text": PROMPT}]}]
    asked = {"generateContentRequest": {"model": "models/to-gem", "contents": contents}}
    assert (await wide_http.post("/v1beta/models/to-gem:countTokens", json=asked)).status_code == 200
    [seen] = wide.simulator.requests
    assert seen.body == {"generateContentRequest": {"model": "models/gemini-embedding-001", "contents": contents}}


async def test_a_fault_is_an_error_and_never_estimated(wide_http: httpx.AsyncClient, wide: Any) -> None:
    """A provider that counts and is down gives no count: an estimate would hide that."""
    wide.simulator.use({"rules": [{"fault": {"status": 503}}]})
    path, body, _ = DOORS["anthropic"]
    reply = await wide_http.post(path, json=body("to-claude"))
    assert (reply.status_code, reply.json()["error"]["type"]) == (529, "overloaded_error")
    assert "x-waypost-estimate" not in reply.headers


async def test_the_next_target_counts_or_estimates_when_the_first_is_down(simulator: Simulator, live: Any) -> None:
    """As a conversation would go there; the breaker of a target that is only estimated hears nothing of it."""
    providers = {
        "claude": {"kind": "anthropic", "api_key": "k", "base_url": simulator.url},
        "gem": {"kind": "gemini", "api_key": "k", "base_url": f"{simulator.url}/v1beta"},
        "own": {"kind": "openai_compatible", "api_key": "k", "base_url": simulator.openai_url},
    }
    policy = {"max_retries": 0}
    routes = {
        "counted": {"targets": ["claude/status-503", "gem/g", "own/o"], "policy": policy},
        "estimated": {"targets": ["claude/status-503", "own/o", "gem/g"], "policy": policy},
    }
    application = build(Settings.model_validate({"providers": providers, "routes": routes}))
    with live(application) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            _, counted_reply = await counted(http, "anthropic", "counted")
            _, estimated_reply = await counted(http, "anthropic", "estimated")
    shown = ("x-waypost-provider", "x-waypost-attempts", "x-waypost-estimate")
    assert [counted_reply.headers.get(name) for name in shown] == ["gem", "2", None]
    assert [estimated_reply.headers.get(name) for name in shown] == ["own", "1", "true"]
    assert [seen.status for seen in simulator.requests] == [503, 200, 503]


async def test_a_prompt_that_goes_on_from_a_stored_answer_is_counted_whole(wide_http: httpx.AsyncClient) -> None:
    first = (await wide_http.post("/v1/responses", json={"model": "to-own", "input": "word " * 50})).json()
    counts = []
    for more in ({}, {"previous_response_id": first["id"]}):
        reply = await wide_http.post("/v1/responses/input_tokens", json={"model": "to-own", "input": "x", **more})
        counts.append(reply.json()["input_tokens"])
    assert counts[0] < 20
    assert counts[1] > 80
    asked = {"model": "to-own", "input": "x", "previous_response_id": "resp_1"}
    reply = await wide_http.post("/v1/responses/input_tokens", json=asked)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "previous_response_id")
    asked = {"model": "to-own", "input": "x", "conversation": "conv_1"}
    reply = await wide_http.post("/v1/responses/input_tokens", json=asked)
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "conversation")


@pytest.mark.parametrize("door", DOORS)
async def test_errors_are_in_the_door_s_dialect(http: httpx.AsyncClient, door: str) -> None:
    path, body, _ = DOORS[door]
    unknown = await http.post(path.format(route="to-cluade"), json=body("to-cluade"))
    assert unknown.status_code == 404
    assert "to-claude" in unknown.json()["error"]["message"]
    broken = await http.post(path.format(route="to-gpt"), content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 400
