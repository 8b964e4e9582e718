"""Google's official client against the simulator: what it parses is what was meant, streamed and not."""

from __future__ import annotations

from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from waypost.simulator import Simulator

# The client makes a class from aiohttp's session, of which that one warns.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")


class Weather(BaseModel):
    city: str
    degrees: int


@pytest.fixture
async def simulator() -> Any:
    async with Simulator() as running:
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Any:
    options = types.HttpOptions(base_url=simulator.gemini_url, timeout=10_000)
    return genai.Client(api_key="any", http_options=options).aio


async def test_an_answer_whole_and_streamed_is_the_same(client: Any) -> None:
    whole = await client.models.generate_content(model="gemini-2.5-flash", contents="Grüße")
    assert whole.text == "You said: Grüße"
    assert whole.model_version == "gemini-2.5-flash"
    assert whole.candidates[0].finish_reason == types.FinishReason.STOP
    stream = await client.models.generate_content_stream(model="gemini-2.5-flash", contents="Grüße")
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert all(chunk.usage_metadata.prompt_token_count > 0 for chunk in chunks)
    assert chunks[-1].usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count > 0


async def test_functions_are_called_and_signed_after_thoughts(client: Any) -> None:
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=Weather.model_json_schema())
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        thinking_config=types.ThinkingConfig(thinking_budget=100, include_thoughts=True),
    )
    answer = await client.models.generate_content(model="g", contents="get_weather", config=config)
    thought, call = answer.candidates[0].content.parts
    assert thought.thought
    assert Weather.model_validate(call.function_call.args).city
    assert call.thought_signature


async def test_thoughts_are_counted_and_shown_only_if_wanted(client: Any) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(thinking_budget=100))
    answer = await client.models.generate_content(model="g", contents="think", config=config)
    assert [part.thought for part in answer.candidates[0].content.parts] == [None]
    assert answer.usage_metadata.thoughts_token_count > 0


async def test_an_answer_fits_the_wanted_schema(client: Any) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Weather)
    answer = await client.models.generate_content(model="g", contents="Paris", config=config)
    assert answer.parsed.city == "Paris"


async def test_tokens_are_counted_and_models_listed(client: Any) -> None:
    assert (await client.models.count_tokens(model="g", contents="one two three")).total_tokens > 3
    assert [model.name async for model in await client.models.list()] == [
        "models/simulated-small",
        "models/simulated-large",
    ]
    assert (await client.models.get(model="simulated-small")).input_token_limit > 0


async def test_embeddings_are_equal_for_equal_texts(client: Any) -> None:
    config = types.EmbedContentConfig(output_dimensionality=16)
    made = await client.models.embed_content(model="gemini-embedding-001", contents=["a", "a", "b"], config=config)
    one, same, other = (embedding.values for embedding in made.embeddings)
    assert len(one) == 16
    assert one == same != other


@pytest.mark.parametrize(
    ("model", "code", "status"),
    [
        ("status-429", 429, "RESOURCE_EXHAUSTED"),
        ("status-503", 503, "UNAVAILABLE"),
        ("wrong-key", 400, "INVALID_ARGUMENT"),
        ("context-length", 400, "INVALID_ARGUMENT"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_the_clients_own(client: Any, model: str, code: int, status: str, stream: bool) -> None:
    with pytest.raises(errors.APIError) as raised:
        if stream:
            async for _ in await client.models.generate_content_stream(model=model, contents="hi"):
                pass
        else:
            await client.models.generate_content(model=model, contents="hi")
    assert (raised.value.code, raised.value.status) == (code, status)
