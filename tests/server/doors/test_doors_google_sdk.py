"""Google's official client, pointed here: what it calls is there, from providers of its own dialect and of others."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

# The client makes a class from aiohttp's session, of which that one warns.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
ROUTES = pytest.mark.parametrize("route", ["to-gem", "to-gpt", "to-claude"])


def client_of(house: Any, version: str = "v1beta") -> Any:
    options = types.HttpOptions(base_url=house.url, api_version=version, timeout=10_000)
    return genai.Client(api_key="any", http_options=options).aio


@ROUTES
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_an_answer_whole_and_streamed_is_the_same(wide: Any, route: str, version: str) -> None:
    client = client_of(wide, version)
    whole = await client.models.generate_content(model=route, contents="one two three")
    assert whole.text == "You said: one two three"
    stream = await client.models.generate_content_stream(model=route, contents="one two three")
    assert "".join([chunk.text or "" async for chunk in stream]) == whole.text


@ROUTES
async def test_a_function_is_called(wide: Any, route: str) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=parameters)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    answer = await client_of(wide).models.generate_content(model=route, contents="get_weather", config=config)
    [call] = answer.function_calls
    assert (call.name, call.args) == ("get_weather", {"city": "get_weather"})


@pytest.mark.parametrize("route", ["to-gem", "to-gpt", "to-own"])
async def test_embeddings_of_several_texts(wide: Any, route: str) -> None:
    config = types.EmbedContentConfig(output_dimensionality=32)
    answer = await client_of(wide).models.embed_content(model=route, contents=["a cat", "a dog"], config=config)
    first, second = [item.values for item in answer.embeddings]
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.parametrize("route", ["to-gem", "to-claude", "to-own"])
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_counts(wide: Any, route: str, version: str) -> None:
    client = client_of(wide, version)
    short = await client.models.count_tokens(model=route, contents="one two three")
    longer = await client.models.count_tokens(model=route, contents="one two three " * 10)
    assert longer.total_tokens > short.total_tokens > 0


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_models_are_listed_and_looked_up(wide: Any, version: str) -> None:
    client = client_of(wide, version)
    names = [model.name async for model in await client.models.list()]
    assert {"models/to-gem", "models/to-all"} <= set(names)
    one = await client.models.get(model="to-gem")
    assert (one.name, "generateContent" in one.supported_actions) == ("models/to-gem", True)


async def test_errors_are_its_own_exceptions(house: Any) -> None:
    client = client_of(house)
    with pytest.raises(errors.ClientError) as caught:
        await client.models.generate_content(model="to-gtp", contents="x")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    assert "to-gpt" in str(caught.value)
    house.simulator.use({"rules": [{"fault": {"status": 503}}]})
    with pytest.raises(errors.ServerError):
        await client.models.embed_content(model="to-gpt", contents="x")


async def test_an_image_reaches_a_provider_of_its_dialect_as_it_was_sent(wide: Any) -> None:
    part = types.Part.from_bytes(data=b"12345", mime_type="image/png")
    await client_of(wide).models.generate_content(model="to-gem", contents=[part, "look"])
    parts = [part for content in wide.simulator.requests[-1].body["contents"] for part in content["parts"]]
    assert parts[0]["inlineData"]["data"] == base64.b64encode(b"12345").decode()
    assert "mime_type" in parts[0]["inlineData"], "the client's own spelling of mimeType"
