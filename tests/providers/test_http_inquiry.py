"""providers/http_inquiry.py over real sockets: the address, the next key, and endpoints that are not there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from waypost.codecs import openai_embeddings
from waypost.codecs.anthropic_messages.count import count_codec as anthropic_count
from waypost.codecs.openai_responses.count import count_codec as openai_count
from waypost.errors import (
    MalformedResponse,
    ProviderAuthenticationError,
    ProviderModelNotFound,
    ProviderServerError,
    UnsupportedFeature,
)
from waypost.providers import anthropic, azure_openai, gemini, openai, openai_compatible
from waypost.providers.hosted import HostedOptions
from waypost.providers.http_provider import HttpProvider
from waypost.providers.inquiry import CountingProvider, EmbeddingProvider, Inquiry
from waypost.providers.raw import RawProvider

VECTORS = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}], "model": "e-1"}


@dataclass
class Upstream:
    """Gives its replies in turn, the last one for ever, and remembers what it was asked."""

    url: str = ""
    replies: list[tuple[int, Any]] = field(default_factory=lambda: [(200, VECTORS)])
    seen: list[tuple[str, str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        key = request.headers.get("authorization", "") + request.headers.get("x-api-key", "")
        self.seen.append((request.raw_path, key.removeprefix("Bearer "), await request.json()))
        status, body = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return web.json_response(body, status=status)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def inquiry(codec: Any, body: Any) -> Inquiry[Any]:
    wire = json.dumps(body).encode()
    return Inquiry(body["model"], codec.name, wire, lambda: codec.decode_request(wire), {"openai-beta": "x"})


EMBED = {"model": "route", "input": "a cat"}
COUNT = {"model": "route", "messages": [{"role": "user", "content": "hi"}]}


def options(upstream: Upstream, path: str = "/v1") -> HostedOptions:
    return HostedOptions(api_keys=("first-key", "second-key"), base_url=upstream.url + path)


@pytest.mark.parametrize(
    ("create", "able"),
    [
        (openai.create, (True, True)),
        (openai_compatible.create, (True, False)),
        (azure_openai.create, (True, False)),
        (gemini.create, (True, True)),
        (anthropic.create, (False, True)),
    ],
)
async def test_each_vendor_says_what_it_can(upstream: Upstream, create: Any, able: tuple[bool, bool]) -> None:
    made: HttpProvider = create("ours", options(upstream))
    await made.close()
    for protocol in (EmbeddingProvider, CountingProvider, RawProvider):
        assert isinstance(made, protocol)
    assert (made.embeds, made.counts_tokens, made.takes_raw) == (*able, True)


@pytest.mark.parametrize(
    ("api_version", "path"),
    [
        (None, "/openai/v1/embeddings"),
        ("2024-10-21", "/openai/deployments/d%2F1/embeddings?api-version=2024-10-21"),
    ],
)
async def test_azure_has_them_at_the_deployment(upstream: Upstream, api_version: str | None, path: str) -> None:
    made = azure_openai.create("ours", options(upstream, ""), api_version)
    answer = await made.embed(inquiry(openai_embeddings.codec, EMBED), "d/1")
    await made.close()
    assert answer.result.vectors == ((0.5, 0.25),)
    assert (upstream.seen[0][0], upstream.seen[0][2]["model"]) == (path, "d/1")


async def test_a_refused_key_rests_and_the_error_says_that_there_is_another(upstream: Upstream) -> None:
    upstream.replies = [(401, {"error": {"message": "no", "code": "invalid_api_key"}}), (200, VECTORS)]
    made = openai.create("ours", options(upstream))
    with pytest.raises(ProviderAuthenticationError) as caught:
        await made.embed(inquiry(openai_embeddings.codec, EMBED), "m")
    assert caught.value.another_key
    await made.embed(inquiry(openai_embeddings.codec, EMBED), "m")
    await made.embed(inquiry(openai_embeddings.codec, EMBED), "m")
    await made.close()
    assert [key for _, key, _ in upstream.seen] == ["first-key", "second-key", "second-key"]


async def test_an_error_does_not_repeat_a_key(upstream: Upstream) -> None:
    upstream.replies = [(401, {"error": {"message": "Incorrect key: first-key second-key", "code": "invalid_api_key"}})]
    made = openai.create("ours", options(upstream))
    with pytest.raises(ProviderAuthenticationError) as caught:
        await made.embed(inquiry(openai_embeddings.codec, EMBED), "m")
    await made.close()
    assert caught.value.provider == "ours"
    assert "first-key" not in str(caught.value)
    assert "second-key" not in str(caught.value)


async def counted(made: HttpProvider, codec: Any, body: Any) -> Any:
    try:
        return await made.count_tokens(inquiry(codec, body), "m")
    finally:
        await made.close()


@pytest.mark.parametrize(("status", "code"), [(404, "unknown_url"), (404, None), (405, None)])
async def test_a_server_of_openai_s_format_without_the_endpoint_cannot_count(
    upstream: Upstream, status: int, code: str | None
) -> None:
    upstream.replies = [(status, {"error": {"message": "Nothing here", "code": code}})]
    assert await counted(openai.create("ours", options(upstream)), openai_count, {"model": "m", "input": "x"}) is None
    assert upstream.seen[0][0] == "/v1/responses/input_tokens"


async def test_a_model_that_is_not_there_is_an_error_all_the_same(upstream: Upstream) -> None:
    upstream.replies = [(404, {"error": {"message": "no such model", "code": "model_not_found"}})]
    with pytest.raises(ProviderModelNotFound):
        await counted(openai.create("ours", options(upstream)), openai_count, {"model": "m", "input": "x"})
    missing = {"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}
    upstream.replies = [(404, missing)]
    with pytest.raises(ProviderModelNotFound):
        await counted(anthropic.create("ours", options(upstream, "")), anthropic_count, COUNT)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((500, {"error": {"message": "x"}}), ProviderServerError),
        ((302, {}), MalformedResponse),
        ((200, {"data": "none"}), MalformedResponse),
        ((200, {**VECTORS, "data": [{"index": 3, "embedding": [1.0]}]}), MalformedResponse),
    ],
)
async def test_what_is_no_answer_is_an_error(upstream: Upstream, reply: Any, error: type[Exception]) -> None:
    """Checked although the bytes would be passed on as they are."""
    upstream.replies = [reply]
    made = openai.create("ours", options(upstream))
    with pytest.raises(error):
        await made.embed(inquiry(openai_embeddings.codec, EMBED), "m")
    await made.close()


async def test_a_vendor_without_embeddings_says_so(upstream: Upstream) -> None:
    made = anthropic.create("ours", options(upstream))
    with pytest.raises(UnsupportedFeature):
        await made.embed(inquiry(openai_embeddings.codec, EMBED), "m")
    await made.close()
