"""Embeddings through OpenAI's and Google's doors, from every provider that has them, under the routes' policies."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator

TEXTS = ["a cat", "another cat"]
ROUTES = pytest.mark.parametrize(
    ("route", "provider", "model"),
    [
        ("to-gpt", "gpt", "text-embedding-3-small"),
        ("to-own", "own", "bge-m3"),
        ("to-gem", "gem", "gemini-embedding-001"),
    ],
)


def is_unit(vector: list[float]) -> bool:
    return math.isclose(sum(value * value for value in vector), 1.0, rel_tol=1e-4)


def floats(text: str) -> list[float]:
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


@pytest.fixture
async def client(wide: Any) -> Any:
    async with AsyncOpenAI(base_url=f"{wide.url}/v1", api_key="any", max_retries=0, timeout=10) as made:
        yield made


@ROUTES
async def test_the_official_client_gets_a_vector_for_each_text(
    client: AsyncOpenAI, wide: Any, route: str, provider: str, model: str
) -> None:
    """The client asks for base64 unless told otherwise: a provider that has only numbers is no difference to it."""
    raw = await client.embeddings.with_raw_response.create(model=route, input=TEXTS, dimensions=64)
    answer = raw.parse()
    assert [item.index for item in answer.data] == [0, 1]
    assert all(len(item.embedding) == 64 and is_unit(item.embedding) for item in answer.data)
    assert answer.model == model
    assert (raw.headers["x-waypost-provider"], raw.headers["x-waypost-model"]) == (provider, model)
    assert raw.headers["x-waypost-attempts"] == "1"
    seen = wide.simulator.requests[-1]
    assert seen.model == model or f"models/{model}:" in seen.path


@ROUTES
async def test_numbers_and_base64_are_the_same_vector(
    wide_http: httpx.AsyncClient, route: str, provider: str, model: str
) -> None:
    asked: dict[str, Any] = {"model": route, "input": "a cat"}
    [numbers] = (await wide_http.post("/v1/embeddings", json=asked)).json()["data"]
    [text] = (await wide_http.post("/v1/embeddings", json={**asked, "encoding_format": "base64"})).json()["data"]
    assert floats(text["embedding"]) == pytest.approx(numbers["embedding"], abs=1e-6)


@pytest.mark.parametrize(("route", "provider"), [("to-gem", "gem"), ("to-gpt", "gpt"), ("to-own", "own")])
@pytest.mark.parametrize("prefix", ["/v1beta/models/", "/v1/models/"])
@pytest.mark.parametrize("colon", [":", "%3A"])
async def test_google_s_methods(
    wide_http: httpx.AsyncClient, route: str, provider: str, prefix: str, colon: str
) -> None:
    content = {"parts": [{"text": "a cat"}]}
    one = await wide_http.post(
        f"{prefix}{route}{colon}embedContent", json={"content": content, "outputDimensionality": 8}
    )
    assert one.status_code == 200, one.text
    assert len(one.json()["embedding"]["values"]) == 8
    assert one.headers["x-waypost-provider"] == provider
    requests = [{"model": f"models/{route}", "content": content, "outputDimensionality": 8}] * 2
    many = await wide_http.post(f"{prefix}{route}{colon}batchEmbedContents", json={"requests": requests})
    assert many.status_code == 200, many.text
    first, second = many.json()["embeddings"]
    assert first["values"] == second["values"] == pytest.approx(one.json()["embedding"]["values"], abs=1e-6)


async def test_google_is_told_its_own_name_of_the_model_wherever_the_body_repeats_it(
    wide_http: httpx.AsyncClient, wide: Any
) -> None:
    content = {"parts": [{"text": "a cat"}]}
    item = {"model": "models/to-gem", "content": content, "taskType": "CLUSTERING"}
    await wide_http.post("/v1beta/models/to-gem:batchEmbedContents", json={"requests": [item, item]})
    seen = wide.simulator.requests[-1]
    assert seen.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert seen.body == {"requests": [{**item, "model": "models/gemini-embedding-001"}] * 2}


async def test_a_caller_s_own_members_reach_a_provider_of_its_dialect(wide_http: httpx.AsyncClient, wide: Any) -> None:
    """Servers of OpenAI's format have more of them than OpenAI."""
    asked = {"model": "to-own", "input": "a cat", "truncate_prompt_tokens": 9, "input_type": "query"}
    await wide_http.post("/v1/embeddings", json=asked, headers={"authorization": "Bearer callers-own"})
    seen = wide.simulator.requests[-1]
    assert seen.body == {**asked, "model": "bge-m3"}
    told = await wide_http.post("/v1/embeddings", json={**asked, "model": "to-gem"})
    assert told.status_code == 200
    assert "openai" in told.headers["x-waypost-warnings"], "where another answers, the caller hears what it cannot take"


async def test_retries_and_fallback_hold_as_for_conversations(wide_http: httpx.AsyncClient, wide: Any) -> None:
    """The target that has no embeddings is not asked; the one that fails is left for the next."""
    reply = await wide_http.post("/v1/embeddings", json={"model": "to-all", "input": "a cat"})
    assert (reply.status_code, reply.headers["x-waypost-provider"]) == (200, "gem")
    assert reply.headers["x-waypost-attempts"] == "2"
    assert [seen.status for seen in wide.simulator.requests] == [503, 200]


async def test_the_next_key_is_used_at_once(simulator: Simulator, live: Any) -> None:
    keys = ["wrong-key-of-gpt", "right-key-of-gpt"]
    settings = {
        "providers": {"gpt": {"kind": "openai", "api_keys": keys, "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": ["gpt/e"], "policy": {"max_retries": 0}}},
    }
    simulator.use({"rules": [{"match": {"key": keys[0]}, "fault": {"status": 401}}]})
    with live(build(Settings.model_validate(settings))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            reply = await http.post("/v1/embeddings", json={"model": "default", "input": "x"})
    assert (reply.status_code, reply.headers["x-waypost-attempts"]) == (200, "2")
    assert [seen.status for seen in simulator.requests] == [401, 200]


@pytest.mark.parametrize("name", ["to-claude", "claude/claude-simulated", "claude-opus-4-5"])
async def test_a_provider_without_embeddings_is_a_clear_error(client: AsyncOpenAI, name: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="embeddings") as caught:
        await client.embeddings.create(model=name, input="a cat")
    assert caught.value.param == "model"


async def test_google_s_form_of_that_error(wide_http: httpx.AsyncClient) -> None:
    reply = await wide_http.post("/v1beta/models/to-claude:embedContent", json={"content": {"parts": [{"text": "x"}]}})
    assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert reply.json()["error"]["code"] == reply.status_code == 422


async def test_an_unknown_model_is_a_404_with_the_nearest_name(gpt: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="to-gpt"):
        await gpt.embeddings.create(model="to-gtp", input="a cat")


async def test_a_bare_name_goes_to_the_one_provider_that_may_serve_it(client: AsyncOpenAI) -> None:
    raw = await client.embeddings.with_raw_response.create(model="nobody-else-knows-this", input="a cat")
    assert raw.headers["x-waypost-provider"] == "own"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x"}, "model"),
        ({"model": "", "input": "x"}, "model"),
        ({"model": 7, "input": "x"}, "model"),
        ({"model": "to-gem"}, "input"),
        ({"model": "to-gpt", "input": ""}, "input"),
        ({"model": "to-gpt", "input": "x", "dimensions": 10**9}, "dimensions"),
    ],
)
async def test_what_is_wrong_is_named(wide_http: httpx.AsyncClient, body: Any, param: str) -> None:
    reply = await wide_http.post("/v1/embeddings", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, openai.RateLimitError), (503, openai.InternalServerError), (401, openai.InternalServerError)],
)
async def test_a_provider_s_error_is_the_right_exception(
    client: AsyncOpenAI, wide: Any, status: int, kind: type[Exception]
) -> None:
    wide.simulator.use({"rules": [{"fault": {"status": status}}]})
    for route in ("to-gpt", "to-gem"):
        with pytest.raises(kind):
            await client.embeddings.create(model=route, input="a cat")


async def test_a_key_that_may_not_ask_for_the_model_gets_neither_vectors_nor_counts(
    simulator: Simulator, live: Any
) -> None:
    key = "narrow-0123456789abcdef"
    settings = {
        "providers": {"gpt": {"kind": "openai", "api_key": "k", "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": ["gpt/e"]}, "other": {"targets": ["gpt/f"]}},
        "keys": {"narrow": {"key": key, "routes": ["default"]}},
    }
    calls: tuple[tuple[str, Any], ...] = (
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "x"}]}),
    )
    with live(build(Settings.model_validate(settings))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10, headers={"x-api-key": key}) as http:
            for path, body in calls:
                assert (await http.post(path, json={**body, "model": "other"})).status_code == 403
                assert (await http.post(path, json={**body, "model": "default"})).status_code == 200
            assert (await http.post("/v1beta/models/other:embedContent", json={})).status_code == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "to-all", "input": "a cat"}),
        ("/v1/messages/count_tokens", {"model": "to-gem", "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/messages/count_tokens", {"model": "to-own", "messages": [{"role": "user", "content": "x"}]}),
    ],
)
async def test_their_story_is_told_as_a_conversation_s(wide_http: httpx.AsyncClient, path: str, body: Any) -> None:
    reply = await wide_http.post(path, json=body)
    told = await wide_http.get(f"/api/ai/requests/{reply.headers['x-request-id']}/explain")
    assert told.status_code == 200, told.text
    assert reply.headers["x-waypost-provider"] in told.text or reply.headers["x-waypost-attempts"] == "0"
    assert body["model"] in told.text
