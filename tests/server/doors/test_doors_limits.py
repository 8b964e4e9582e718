"""Budgets and limits as callers meet them: real servers, keys in a database, and every dialect's own words."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic
from anthropic import RateLimitError as AnthropicRateLimitError
from openai import AsyncOpenAI, RateLimitError
from tests.ledger.administered import key as new_key
from tests.ledger.administered import project as new_project
from tests.server.conftest import running

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator
from waypost.store.database import Database

ONCE = {"max_retries": 0, "recover": False}
ANSWER_TOKENS = 10
CALL_USD = 0.001
"""What an answer of so many tokens costs, at most and really: prompts are free."""
SCRIPT = {
    "rules": [{"reply": {"text": "one two three four five six seven eight nine ten"}}],
    "pacing": {"first_token_s": 0.0, "token_interval_s": 0.001},
}
CHAT: Any = {"messages": [{"role": "user", "content": "one two"}], "max_tokens": ANSWER_TOKENS}
CALLS: Mapping[str, tuple[str, Any]] = {
    "chat": ("/v1/chat/completions", lambda route, stream: {**CHAT, "model": route, "stream": stream}),
    "messages": ("/v1/messages", lambda route, stream: {**CHAT, "model": route, "stream": stream}),
    "responses": (
        "/v1/responses",
        lambda route, stream: {
            "model": route,
            "input": "one two",
            "max_output_tokens": ANSWER_TOKENS,
            "stream": stream,
        },
    ),
}
GEMINI: Any = {"contents": [{"parts": [{"text": "one two"}]}], "generationConfig": {"maxOutputTokens": ANSWER_TOKENS}}


@dataclass
class Shop:
    """A server whose keys are in a database, and the simulator behind it."""

    url: str
    database: Database
    simulator: Simulator

    def client(self, key: str, **options: Any) -> httpx.AsyncClient:
        """One who shows this key."""
        headers = {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, **options)


def settings_of(simulator: Simulator, database: Database) -> Settings:
    price = {"input": 0, "output": CALL_USD * 1_000_000 / ANSWER_TOKENS}
    return Settings.model_validate(
        {
            "database_url": database.url.render_as_string(hide_password=False),
            "providers": {
                "gpt": {"kind": "openai", "api_key": "key-of-gpt", "base_url": simulator.openai_url},
                "claude": {"kind": "anthropic", "api_key": "key-of-claude", "base_url": simulator.url},
                "own": {"kind": "openai_compatible", "api_key": "key-of-own", "base_url": simulator.openai_url},
            },
            "routes": {
                "default": {"targets": ["gpt/gpt-simulated"], "policy": ONCE},
                "to-gpt": {"targets": ["gpt/gpt-simulated"], "policy": ONCE},
                "to-claude": {"targets": ["claude/claude-simulated"], "policy": ONCE},
                "unpriced": {"targets": ["own/nobody-knows"], "policy": ONCE},
                "kept": {"targets": ["gpt/gpt-simulated"], "policy": ONCE, "cache": {"ttl_s": 60}},
            },
            "prices": {"gpt/gpt-simulated": price, "claude/claude-simulated": price},
        }
    )


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SCRIPT) as simulator:
        yield simulator


@pytest.fixture
def shop(simulator: Simulator, database: Database, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("WAYPOST_DATA_DIR", str(tmp_path / "data"))
    settings = settings_of(simulator, database).model_copy(update={"data_dir": tmp_path / "data"})
    # From the first key on a server asks for one.
    new_key(database, None, "operator")
    with running(build(settings)) as server:  # type: ignore[arg-type]
        yield Shop(server.url, database, simulator)


def key(shop: Shop, **limits: Any) -> str:
    """A key with these limits, and how it is shown."""
    return new_key(shop.database, new_project(shop.database), **limits).text


def limit_headers(reply: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if "ratelimit" in name}


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(?:(\d+)m)?(\d+)s", duration)
    assert found is not None, duration
    return int(found[1] or 0) * 60 + int(found[2])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ["to-gpt", "to-claude"])
async def test_a_key_s_limits_are_told_in_its_caller_s_words_and_no_provider_s(
    shop: Shop, route: str, stream: bool
) -> None:
    """Also where the provider speaks the caller's dialect and tells its own limits."""
    async with shop.client(key(shop, requests_per_minute=100, tokens_per_minute=100_000)) as http:
        for number, (call, (path, body)) in enumerate(CALLS.items(), start=1):
            reply = await http.post(path, json=body(route, stream))
            assert reply.status_code == 200, reply.text
            told = limit_headers(reply)
            if call == "messages":
                assert told["anthropic-ratelimit-requests-limit"] == "100"
                assert told["anthropic-ratelimit-requests-remaining"] == str(100 - number)
                resets_at = datetime.fromisoformat(told["anthropic-ratelimit-requests-reset"])
                assert resets_at.tzinfo == UTC
                assert resets_at.second == 0
                assert told["anthropic-ratelimit-tokens-limit"] == "100000"
                assert len(told) == 6
            else:
                assert told["x-ratelimit-limit-requests"] == "100"
                assert told["x-ratelimit-remaining-requests"] == str(100 - number)
                assert 0 <= seconds(told["x-ratelimit-reset-requests"]) <= 60
                assert 0 < int(told["x-ratelimit-remaining-tokens"]) < 100_000
                assert len(told) == 6


async def test_google_s_dialect_has_no_such_headers(shop: Shop) -> None:
    async with shop.client(key(shop, requests_per_minute=1)) as http:
        reply = await http.post("/v1beta/models/to-gpt:generateContent", json=GEMINI)
        assert (reply.status_code, limit_headers(reply)) == (200, {})
        reply = await http.post("/v1beta/models/to-gpt:generateContent", json=GEMINI)
        assert (reply.status_code, limit_headers(reply)) == (429, {})
        error = reply.json()["error"]
        assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
        details = {each["@type"].rpartition(".")[2]: each for each in error["details"]}
        assert details["ErrorInfo"]["reason"] == "RATE_LIMIT_EXCEEDED"
        assert 0 <= float(details["RetryInfo"]["retryDelay"].removesuffix("s")) <= 60
        assert 1 <= int(reply.headers["retry-after"]) <= 60


async def test_who_has_no_limits_is_told_the_provider_s(shop: Shop) -> None:
    async with shop.client(key(shop, daily_budget_usd=1000)) as http:
        reply = await http.post(CALLS["chat"][0], json=CALLS["chat"][1]("to-gpt", False))
        assert "x-ratelimit-limit-requests" in reply.headers
        assert reply.headers["x-ratelimit-limit-requests"] != "100"


@pytest.mark.parametrize("call", CALLS)
async def test_one_request_too_many_is_refused_in_its_dialect(shop: Shop, call: str) -> None:
    path, body = CALLS[call]
    async with shop.client(key(shop, requests_per_minute=1)) as http:
        assert (await http.post(path, json=body("to-gpt", False))).status_code == 200
        for stream in (False, True):
            reply = await http.post(path, json=body("to-gpt", stream))
            assert reply.status_code == 429
            error = reply.json()["error"]
            assert 'limit of 1 requests per minute of the key "web" is reached' in error["message"]
            assert 1 <= int(reply.headers["retry-after"]) <= 60
            told = limit_headers(reply)
            if call == "messages":
                assert error["type"] == "rate_limit_error"
                assert told["anthropic-ratelimit-requests-remaining"] == "0"
            else:
                assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
                assert told["x-ratelimit-remaining-requests"] == "0"
        assert len(shop.simulator.requests) == 1


@pytest.mark.parametrize("call", CALLS)
async def test_a_budget_that_is_spent_is_refused_in_its_dialect(shop: Shop, call: str) -> None:
    path, body = CALLS[call]
    async with shop.client(key(shop, monthly_budget_usd=2 * CALL_USD)) as http:
        for stream in (False, True):
            reply = await http.post(path, json=body("to-gpt", stream))
            assert reply.status_code == 200, reply.text
            await reply.aread()
        reply = await http.post(path, json=body("to-gpt", False))
        assert reply.status_code == 429
        error = reply.json()["error"]
        assert 'The monthly budget of the key "web" is 0.002 USD: 0.002 are spent' in error["message"]
        kinds = {"messages": "rate_limit_error"}
        assert error["type"] == kinds.get(call, "insufficient_quota")
        assert error.get("code", "insufficient_quota") == "insufficient_quota"
        assert reply.headers["x-should-retry"] == "false"
        now = datetime.now(UTC)
        next_month = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        assert abs(int(reply.headers["retry-after"]) - math.ceil((next_month - now).total_seconds())) <= 2


async def test_sdks_know_what_refused_them_and_do_not_try_again_in_vain(shop: Shop) -> None:
    shown = key(shop, daily_budget_usd=CALL_USD)
    async with AsyncOpenAI(base_url=f"{shop.url}/v1", api_key=shown, max_retries=2) as gpt:
        await gpt.chat.completions.create(model="to-gpt", messages=CHAT["messages"], max_tokens=ANSWER_TOKENS)
        with pytest.raises(RateLimitError) as refused:
            await gpt.chat.completions.create(model="to-gpt", messages=CHAT["messages"], max_tokens=ANSWER_TOKENS)
        assert refused.value.code == "insufficient_quota"
    async with AsyncAnthropic(base_url=shop.url, api_key=shown, max_retries=2) as claude:
        with pytest.raises(AnthropicRateLimitError):
            await claude.messages.create(model="to-claude", messages=CHAT["messages"], max_tokens=ANSWER_TOKENS)
    assert len(shop.simulator.requests) == 1


async def test_a_call_without_a_price_is_refused_where_money_counts(shop: Shop) -> None:
    async with shop.client(key(shop, daily_budget_usd=1)) as http:
        for call, (path, body) in CALLS.items():
            reply = await http.post(path, json=body("unpriced", False))
            assert reply.status_code == 403
            error = reply.json()["error"]
            assert error.get("code", "price_unknown") == "price_unknown", call
            assert "whose price is known" in error["message"]
    assert not shop.simulator.requests


async def test_end_users_have_budgets_of_their_own(shop: Shop) -> None:
    path, body = CALLS["chat"]
    async with shop.client(key(shop, user_daily_budget_usd=CALL_USD)) as http:

        async def status(**who: str) -> int:
            return (await http.post(path, json={**body("to-gpt", False), **who})).status_code

        assert [await status(user="ann"), await status(user="ann")] == [200, 429]
        assert [await status(safety_identifier="bob"), await status(safety_identifier="bob")] == [200, 429]
        assert [await status(), await status()] == [200, 200]


async def test_waypost_s_own_form_tells_the_limit_as_data(shop: Shop) -> None:
    async with shop.client(key(shop, daily_budget_usd=CALL_USD)) as http:
        body = {"prompt": "one two", "model": "to-gpt", "max_tokens": ANSWER_TOKENS}
        assert (await http.post("/api/ai/generate", json=body)).status_code == 200
        reply = await http.post("/api/ai/generate", json=body)
        assert reply.status_code == 429
        error = reply.json()["error"]
        assert error["code"] == "budget_exceeded"
        told = error["details"]["limit"]
        assert told.pop("resets_at").endswith("T00:00:00Z")
        assert told == {
            "whose": "key",
            "name": "web",
            "what": "daily_budget",
            "limit_micro_usd": 1000,
            "used_micro_usd": 1000,
            "reserved_micro_usd": 0,
        }
        assert "retry-after" in reply.headers


async def test_kept_answers_and_errors_tell_the_limits_as_they_are_now(shop: Shop) -> None:
    """A kept answer costs no request, and tells nothing of when it was made."""
    path, body = CALLS["chat"]
    async with shop.client(key(shop, requests_per_minute=50)) as http:

        async def left(**more: Any) -> tuple[int, str]:
            reply = await http.post(path, **{"json": body("kept", False), **more})
            assert len(reply.headers.get_list("x-ratelimit-remaining-requests")) == 1
            return reply.status_code, reply.headers["x-ratelimit-remaining-requests"]

        assert await left() == (200, "49")
        assert await left(json=body("to-gpt", False)) == (200, "48")
        assert await left() == (200, "48"), "a hit"
        once = {"idempotency-key": "once"}
        assert await left(json=body("to-gpt", False), headers=once) == (200, "47")
        assert await left(json=body("to-gpt", False)) == (200, "46")
        assert await left(json=body("to-gpt", False), headers=once) == (200, "46"), "a replay"
        broken = {"content": b"{", "json": None, "headers": {"content-type": "application/json"}}
        assert await left(**broken) == (400, "46")


async def test_raw_calls_are_admitted_too_and_tell_no_provider_s_limits(shop: Shop) -> None:
    async with shop.client(key(shop, requests_per_minute=1)) as http:
        body = CALLS["chat"][1]("gpt-simulated", False)
        reply = await http.post("/providers/gpt/chat/completions", json=body)
        assert (reply.status_code, limit_headers(reply)) == (200, {})
        reply = await http.post("/providers/gpt/chat/completions", json=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_a_slot_is_free_again_when_a_caller_leaves_or_the_call_fails(shop: Shop) -> None:
    shop.simulator.use({**SCRIPT, "pacing": {"first_token_s": 0.0, "token_interval_s": 0.5}})
    path, body = CALLS["chat"]
    async with shop.client(key(shop, concurrent_requests=1)) as http:
        async with http.stream("POST", path, json=body("to-gpt", True)) as under_way:
            assert under_way.status_code == 200
            refused = await http.post(path, json=body("to-gpt", False))
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "1 requests at once" in refused.json()["error"]["message"]
        shop.simulator.use({"rules": [{"fault": {"status": 500}}]})
        for _ in range(3):
            assert await until_admitted(http, path, body("to-gpt", False)) == 502


async def until_admitted(http: httpx.AsyncClient, path: str, body: Any) -> int:
    """The status of the first of these calls that is let in; a server needs a moment to see that a caller has left."""
    for _ in range(100):
        status = (await http.post(path, json=body)).status_code
        if status != 429:
            return status
        await asyncio.sleep(0.02)
    raise AssertionError("it is not let in")


async def test_five_hundred_at_once_are_paid_for_a_hundred(shop: Shop) -> None:
    """Of the four hundred others none reaches the provider. Who is refused for what others hold asks again."""
    path, body = CALLS["chat"]
    paid = 0
    shown, many = (
        key(shop, daily_budget_usd=100 * CALL_USD),
        httpx.Limits(max_connections=500, max_keepalive_connections=0),
    )
    async with shop.client(shown, limits=many) as http:

        async def call(number: int) -> None:
            nonlocal paid
            while True:
                reply = await http.post(path, json=body("to-gpt", number % 2 == 0))
                if reply.status_code == 200:
                    paid += 1
                    return
                assert reply.status_code == 429
                if reply.headers.get("x-should-retry") == "false":
                    return
                await asyncio.sleep(0.2)

        await asyncio.gather(*(call(number) for number in range(500)))
    assert paid == 100
    assert len(shop.simulator.requests) == 100
