"""When a rule applies (times, windows, keys, paths), what is made of prefill, and what the reply's headers tell."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, get_args

import aiohttp
import pytest
from tests.simulator.dialects import DIALECTS, NAMES, body_of, events_of, is_whole, path_of

from waypost.chat import Message, Request, Text
from waypost.simulator import Simulator, key_hash, script_from
from waypost.simulator.faults import ANY_MODEL, ErrorName, fault_of_model
from waypost.simulator.script import Asked, Playbook

REQUEST = Request("m", (Message("user", (Text("hi"),)),))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def ask(
    session: aiohttp.ClientSession,
    simulator: Simulator,
    dialect: str,
    turns: Any = "hi",
    *,
    model: str = "simulated",
    headers: Mapping[str, str] | None = None,
    stream: bool = False,
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with session.post(
        simulator.url + path_of(dialect, model, stream=stream),
        json=body_of(dialect, turns, model=model, stream=stream),
        headers=headers or DIALECTS[dialect].headers,
    ) as reply:
        return reply, await reply.read()


async def text(session: aiohttp.ClientSession, simulator: Simulator, dialect: str, turns: Any) -> str:
    _, data = await ask(session, simulator, dialect, turns)
    return DIALECTS[dialect].codec.decode_response(data).text


def test_a_window_is_open_once_and_one_that_flaps_again_and_again() -> None:
    rules = [
        {"window": {"after_s": 10, "on_s": 5}, "reply": "once"},
        {"window": {"on_s": 1, "off_s": 2}, "reply": "flapping"},
        {"reply": "otherwise"},
    ]
    times_s = iter((100.0, 100, 100.9, 101, 102.9, 103, 109.9, 110, 114.9, 115))
    playbook = Playbook(script_from({"rules": rules}), clock=lambda: next(times_s))
    seen = [playbook.plan(Asked(REQUEST, "openai")).reply.text for _ in range(9)]
    assert seen == [
        "flapping",
        "flapping",
        "otherwise",
        "otherwise",
        "flapping",
        "flapping",
        "once",
        "once",
        "flapping",
    ]


def test_a_rule_for_every_so_many_counts_only_what_it_matches() -> None:
    rules = [{"match": {"streamed": True}, "every": 3, "reply": "third"}, {"reply": "otherwise"}]
    playbook = Playbook(script_from({"rules": rules}))
    seen = []
    for _ in range(7):
        assert playbook.plan(Asked(REQUEST, "openai")).reply.text == "otherwise"
        seen.append(playbook.plan(Asked(REQUEST, "openai", streamed=True)).reply.text)
    assert [place for place, text in enumerate(seen, 1) if text == "third"] == [3, 6]


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_rule_is_for_a_key_and_the_ledger_tells_keys_apart_without_having_them(
    session: aiohttp.ClientSession, dialect: str
) -> None:
    rules = [{"match": {"key": "worn-*"}, "fault": {"status": 429}}]
    async with Simulator({"rules": rules}) as simulator:
        statuses = []
        for key in ("worn-1", "fresh"):
            headers = {name: value.replace("any", key) for name, value in DIALECTS[dialect].headers.items()}
            statuses.append((await ask(session, simulator, dialect, headers=headers))[0].status)
        assert statuses == [429, 200]
        assert [seen.key_hash for seen in simulator.requests] == [key_hash("worn-1"), key_hash("fresh")]
        assert "worn-1" not in str(simulator.requests)


async def test_a_rule_is_for_a_path_and_holds_for_embeddings_too(session: aiohttp.ClientSession) -> None:
    rules = [{"match": {"path": "*/embeddings", "contains": "bad"}, "fault": {"named_error": "overloaded"}}]
    async with Simulator({"rules": rules}) as simulator:
        statuses = []
        for words in ("bad", "good"):
            async with session.post(
                f"{simulator.openai_url}/embeddings",
                json={"model": "m", "input": words},
                headers=DIALECTS["openai"].headers,
            ) as reply:
                statuses.append(reply.status)
        assert statuses == [503, 200]
        assert [seen.rule for seen in simulator.requests] == [1, None]


PREFILLS = [
    ("continue", "One two", " three."),
    ("repeat", "One two", "One two three."),
    ("ignore", "One two", "One two three."),
    ("continue", "Other", "One two three."),
    ("repeat", "Other. ", "Other. One two three."),
    ("ignore", "Other", "One two three."),
]


@pytest.mark.parametrize("dialect", ["openai", "gemini"])
@pytest.mark.parametrize(("manner", "given", "answer"), PREFILLS)
async def test_what_is_said_after_the_assistants_own_words(
    session: aiohttp.ClientSession, dialect: str, manner: str, given: str, answer: str
) -> None:
    async with Simulator({"rules": [{"reply": {"text": "One two three.", "prefill": manner}}]}) as simulator:
        assert await text(session, simulator, dialect, [("user", "count"), ("assistant", given)]) == answer
        assert await text(session, simulator, dialect, "count") == "One two three."


@pytest.mark.parametrize("dialect", NAMES)
async def test_each_dialect_has_its_own_way_with_prefill_and_any_can_be_made_to_refuse(
    session: aiohttp.ClientSession, dialect: str
) -> None:
    turns = [("user", "count"), ("assistant", "One")]
    async with Simulator({"rules": [{"reply": "One two"}]}) as simulator:
        assert await text(session, simulator, dialect, turns) == (" two" if dialect == "anthropic" else "One two")
    async with Simulator({"rules": [{"reply": {"text": "One two", "prefill": "refuse"}}]}) as simulator:
        assert (await ask(session, simulator, dialect, turns))[0].status == 400
        assert (await ask(session, simulator, dialect))[0].status == 200
        assert (await ask(session, simulator, dialect, turns, model="refused-prefill"))[0].status == 400


async def test_an_invented_answer_goes_on_from_prefill_too(session: aiohttp.ClientSession) -> None:
    async with Simulator() as simulator:
        turns = [("user", "go on with this"), ("assistant", "You said: go")]
        assert await text(session, simulator, "anthropic", turns) == " on with this"


async def test_what_is_left_of_the_limits_is_told_as_each_vendor_tells_it(session: aiohttp.ClientSession) -> None:
    async with Simulator() as simulator:
        good, _ = await ask(session, simulator, "openai")
        refused, _ = await ask(session, simulator, "openai", model="status-429-90")
        assert int(good.headers["x-ratelimit-remaining-requests"]) == 9_999
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert (refused.headers["x-ratelimit-reset-requests"], refused.headers["retry-after"]) == ("1m30s", "90")
        refused, _ = await ask(session, simulator, "anthropic", model="status-429-90")
        assert refused.headers["anthropic-ratelimit-input-tokens-remaining"] == "0"
        assert refused.headers["anthropic-ratelimit-input-tokens-reset"].endswith("Z")
        refused, _ = await ask(session, simulator, "gemini", model="status-429-90")
        assert not [name for name in refused.headers if "ratelimit" in name.lower()]


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_slow_first_token_comes_after_the_head(session: aiohttp.ClientSession, dialect: str) -> None:
    """Waits are lower bounds: a slow machine makes them longer, never shorter."""
    async with Simulator() as simulator:
        began = time.monotonic()
        async with session.post(
            simulator.url + path_of(dialect, "slow-3", stream=True),
            json=body_of(dialect, "hello", model="slow-3", stream=True),
            headers=DIALECTS[dialect].headers,
        ) as reply:
            head_s = time.monotonic() - began
            data = await reply.read()
        assert time.monotonic() - began >= 0.3 > head_s
        assert DIALECTS[dialect].terminal in data


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_wrong_type_a_huge_event_and_events_sent_together_leave_the_answer_whole(
    session: aiohttp.ClientSession, dialect: str
) -> None:
    rules = [
        {"match": {"contains": "type"}, "fault": {"content_type": "text/plain"}},
        {"match": {"contains": "huge"}, "fault": {"huge_after_events": 2, "size_bytes": 300_000}},
    ]
    async with Simulator({"rules": rules, "delivery": {"events_per_write": 4}}) as simulator:
        for stream in (True, False):
            reply, data = await ask(session, simulator, dialect, "type", stream=stream)
            assert reply.headers["content-type"] == "text/plain"
            assert not stream or DIALECTS[dialect].terminal in data
            _, data = await ask(session, simulator, dialect, "huge", stream=stream)
            assert len(data) >= 300_000
            assert not stream or sum(len(event) > 290_000 for event in events_of(data)) == 1
            assert not stream or all(map(is_whole, events_of(data)))


@pytest.mark.parametrize("dialect", NAMES)
async def test_every_error_has_a_model_name(session: aiohttp.ClientSession, dialect: str) -> None:
    async with Simulator() as simulator:
        for name in get_args(ErrorName):
            reply, data = await ask(session, simulator, dialect, model=name.replace("_", "-"))
            assert reply.status >= 400
            decoded = DIALECTS[dialect].codec.decode_error(reply.status, dict(reply.headers), data)
            assert decoded.status == reply.status


def test_the_model_names_that_are_told_of_ask_for_faults_and_near_ones_do_not() -> None:
    assert all(fault_of_model(name) for name in ANY_MODEL.split(", "))
    for name in ("status-200", "status-429-event", "cut", "end-3-event", "slow", "gpt-4", "status-4290", "stall-1-2"):
        assert fault_of_model(name) is None
