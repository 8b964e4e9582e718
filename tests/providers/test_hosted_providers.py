"""The hosted providers against the simulator, over real sockets: answers, every fault, and what is cleaned up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from waypost import AIServiceManager, AllTargetsFailed, AnthropicProvider, OpenAICompatibleProvider, OpenAIProvider
from waypost.chat import Collector, ToolCall
from waypost.errors import (
    ContextLengthExceeded,
    IncompleteStream,
    InvalidRequest,
    MalformedResponse,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderError,
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)
from waypost.manager.provider import ModelProvider
from waypost.simulator import Simulator
from waypost.transport import Deadlines

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, StartRawServer


KINDS = ("anthropic", "openai", "openai_compatible")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


def provider(kind: str, simulator: Simulator, key: str = "test-key-123", **options: Any) -> ModelProvider:
    match kind:
        case "anthropic":
            return AnthropicProvider(key, base_url=simulator.url, **options)
        case "openai":
            return OpenAIProvider(key, base_url=f"{simulator.url}/v1", **options)
        case _:
            return OpenAICompatibleProvider(f"{simulator.url}/v1", key, default_model="any", **options)


async def ask(made: ModelProvider, *, streamed: bool, prompt: str = "hello there", **kwargs: Any) -> str:
    try:
        if streamed:
            return "".join([piece async for piece in made.stream_response(prompt, **kwargs)])
        return (await made.generate_response(prompt, **kwargs)).content
    finally:
        await made.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_whole_and_streamed_answers_are_the_same(kind: str, simulator: Simulator) -> None:
    whole = await ask(provider(kind, simulator), streamed=False)
    assert "hello there" in whole
    assert await ask(provider(kind, simulator), streamed=True) == whole


@pytest.mark.parametrize("kind", KINDS)
async def test_usage_model_and_reason_come_with_the_answer(kind: str, simulator: Simulator) -> None:
    made = provider(kind, simulator)
    response = await made.generate_response("hello there", max_tokens=3)
    await made.close()
    assert response.metadata["finish_reason"] == "length"
    assert response.usage is not None
    assert response.usage["input_tokens"] > 0
    assert response.usage["output_tokens"] == 3
    assert response.usage["total_tokens"] == response.usage["input_tokens"] + 3
    assert response.model


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_call_arrives_whole_by_both_ways(kind: str, simulator: Simulator) -> None:
    tool = {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    arguments: dict[str, Any] = {"tools": [tool], "tool_choice": "required"}
    made = provider(kind, simulator)
    response = await made.generate_response("what is it like outside?", **arguments)
    (call,) = response.metadata["tool_calls"]
    assert call["name"] == "weather"
    collector = Collector()
    async with made.stream_events("what is it like outside?", **arguments) as events:
        async for event in events:
            collector.add(event)
    await made.close()
    (part,) = [part for part in collector.response().choices[0].parts if isinstance(part, ToolCall)]
    assert (part.name, part.arguments) == (call["name"], call["arguments"])


FAULTS = [
    ("status-401", ProviderAuthenticationError),
    ("status-404", ProviderModelNotFound),
    ("status-429", ProviderRateLimited),
    ("status-500", ProviderServerError),
    ("status-503", ProviderOverloaded),
    ("status-529", ProviderOverloaded),
    ("html-502", ProviderServerError),
    ("reset", ProviderConnectionLost),
]
STREAM_FAULTS = [
    ("cut-4", (ProviderConnectionLost,)),
    ("end-4", (IncompleteStream,)),
    ("malformed-4", (MalformedResponse,)),
    ("error-4", (ProviderOverloaded, ProviderServerError)),
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("model", "error"), FAULTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_each_fault_before_the_answer_is_its_error(
    kind: str, model: str, error: type[ProviderError], streamed: bool, simulator: Simulator
) -> None:
    with pytest.raises(error) as caught:
        await ask(provider(kind, simulator), streamed=streamed, model=model)
    assert caught.value.provider == kind


@pytest.mark.parametrize(("model", "errors"), STREAM_FAULTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_broken_stream_gives_what_came_and_then_its_error(
    kind: str, model: str, errors: tuple[type[ProviderError], ...], simulator: Simulator
) -> None:
    made, got = provider(kind, simulator), []
    with pytest.raises(errors):
        async for piece in made.stream_response("one two three four five six", model=model):
            got.append(piece)
    await made.close()
    assert got
    assert "six" not in "".join(got)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_stalls_ends_at_the_idle_deadline(kind: str, simulator: Simulator) -> None:
    made = provider(kind, simulator, deadlines=Deadlines(idle_s=0.3))
    with pytest.raises(ProviderTimeout) as caught:
        await ask(made, streamed=True, model="stall-2")
    assert (caught.value.phase, caught.value.limit_s) == ("idle", 0.3)


@pytest.mark.parametrize("kind", KINDS)
async def test_leaving_a_stream_early_closes_the_connection(kind: str, simulator: Simulator) -> None:
    made = provider(kind, simulator)
    async with made.stream_events("hello there", model="stall-3") as events:
        await anext(aiter(events))
    async with asyncio.timeout(1):
        assert (await simulator.request(1)).outcome == "client_closed"
    await made.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_one_connection_serves_many_streams(kind: str, simulator: Simulator) -> None:
    """A stream read to its end gives its connection back, also if nobody reads past Finish."""
    made = provider(kind, simulator)
    for _ in range(3):
        assert "".join([piece async for piece in made.stream_response("hello there")])
    await made.close()
    assert len({seen.client_address for seen in simulator.requests}) == 1


async def test_a_refused_key_is_not_repeated_in_the_error(simulator: Simulator) -> None:
    for kind in KINDS:
        with pytest.raises(ProviderAuthenticationError) as caught:
            await ask(provider(kind, simulator, key="invalid"), streamed=False)
        assert "invalid" not in str(caught.value).lower().replace("invalid x-api-key", "").replace("invalid api", "")


async def test_nobody_listening_says_where(unused_tcp_port: int) -> None:
    made = OpenAIProvider("test-key-123", base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    with pytest.raises(ProviderUnreachable, match=f"127.0.0.1:{unused_tcp_port}"):
        await ask(made, streamed=False)


async def test_the_manager_falls_back_over_real_sockets(simulator: Simulator) -> None:
    async with AIServiceManager() as manager:
        manager.add_provider("anthropic", provider("anthropic", simulator), is_primary=True)
        manager.add_provider("openai", provider("openai", simulator))
        broken = provider("openai_compatible", simulator, headers={"x-waypost-simulate": '{"status": 503}'})
        manager.add_provider("broken", broken, is_primary=True)
        response = await manager.generate_response("hello there")
        assert (response.provider, [attempt.provider for attempt in response.attempts]) == (
            "anthropic",
            ["broken", "anthropic"],
        )
        assert isinstance(response.attempts[0].error, ProviderOverloaded)
        assert "".join([piece async for piece in manager.stream_response("hello there")]) == response.content


async def test_all_failing_over_real_sockets(simulator: Simulator) -> None:
    fault = {"x-waypost-simulate": '{"status": 529}'}
    async with AIServiceManager() as manager:
        for kind in KINDS:
            manager.add_provider(kind, provider(kind, simulator, headers=fault))
        with pytest.raises(AllTargetsFailed, match="^All AI providers failed") as caught:
            await manager.generate_response("hello")
    assert set(caught.value.errors) == set(KINDS)


async def test_a_prompt_that_is_too_long_is_told_and_not_sent_elsewhere(simulator: Simulator) -> None:
    fault = {"x-waypost-simulate": '{"status": 400, "error": "context_length"}'}
    async with AIServiceManager() as manager:
        manager.add_provider("anthropic", provider("anthropic", simulator, headers=fault))
        manager.add_provider("openai", provider("openai", simulator))
        with pytest.raises(ContextLengthExceeded):
            await manager.generate_response("hello")
    assert len(simulator.requests) == 1


async def test_an_empty_prompt_reaches_no_provider(simulator: Simulator) -> None:
    with pytest.raises(InvalidRequest):
        await ask(provider("anthropic", simulator), streamed=False, prompt=" ")
    assert not simulator.requests


async def test_headers_of_ours_and_ids_of_theirs_are_cleaned_too(raw_server: StartRawServer) -> None:
    """Some servers repeat whatever they were sent."""
    from tests.transport.raw_server import http_reply

    body = b'{"type":"error","error":{"type":"api_error","message":"got hdr-supersecret-1 and test-key-123"}}'

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_reply(body, status="500 Oops", headers="request-id: test-key-123\r\n"))

    server = await raw_server(script)
    made = AnthropicProvider("test-key-123", base_url=server.url, headers={"x-team": "hdr-supersecret-1"})
    with pytest.raises(ProviderServerError) as caught:
        await ask(made, streamed=False)
    assert caught.value.message == "got [key] and [key]"
    assert caught.value.request_id == "[key]"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_redirect_is_not_followed_and_not_taken_for_an_answer(
    raw_server: StartRawServer, streamed: bool
) -> None:
    from tests.transport.raw_server import http_reply

    body = b'{"id":"x","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"no"}}]}'
    headers = "location: https://user:pass@elsewhere.example/v1?key=1\r\ncontent-type: application/json\r\n"

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_reply(body, status="308 Moved", headers=headers))

    server = await raw_server(script)
    with pytest.raises(MalformedResponse) as caught:
        await ask(OpenAIProvider("test-key-123", base_url=server.url), streamed=streamed)
    assert "redirect (status 308) to https://elsewhere.example." in str(caught.value)
    assert "Set base_url" in str(caught.value)


async def test_an_error_after_earlier_attempts_carries_them_all(simulator: Simulator) -> None:
    async with AIServiceManager() as manager:
        busy = provider("openai", simulator, headers={"x-waypost-simulate": '{"status": 503}'})
        cut = provider("anthropic", simulator, headers={"x-waypost-simulate": '{"cut_after_events": 5}'})
        bad = provider("anthropic", simulator, headers={"x-waypost-simulate": '{"status": 400}'})
        manager.add_provider("busy", busy)
        manager.add_provider("cut", cut)
        with pytest.raises(ProviderConnectionLost) as broken:
            async for _piece in manager.stream_response("one two three four five"):
                pass
        manager.add_provider("cut", bad)
        with pytest.raises(ProviderBadRequest) as refused:
            await manager.generate_response("hello")
        await cut.close()
    assert [attempt.provider for attempt in broken.value.attempts] == ["busy", "cut"]
    assert [attempt.provider for attempt in refused.value.attempts] == ["busy", "cut"]
    assert refused.value.attempts[-1].error is refused.value
