"""The official OpenAI client against the simulator: the Responses API, embeddings, moderations, files, and Azure."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import (
    APIError,
    AsyncAzureOpenAI,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitError,
)
from pydantic import BaseModel

from waypost.simulator import Simulator


class Weather(BaseModel):
    city: str
    degrees: int


TOOL = Weather.model_json_schema()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


async def test_a_response_whole_and_streamed_is_the_same(client: AsyncOpenAI) -> None:
    whole = await client.responses.create(model="simulated", input="Grüße", instructions="Be brief.")
    assert whole.output_text == "You said: Grüße"
    assert (whole.status, whole.instructions, whole.service_tier) == ("completed", "Be brief.", "default")
    assert whole.id.startswith("resp_")
    assert whole.output[0].id is not None
    assert whole.output[0].id.startswith("msg_")
    assert whole._request_id is not None
    async with client.responses.stream(model="simulated", input="Grüße") as stream:
        kinds = [event.type async for event in stream]
        last = await stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert "response.output_text.delta" in kinds
    assert last.output_text == whole.output_text
    assert last.usage is not None
    assert last.usage.output_tokens > 0


async def test_the_responses_tools_of_both_kinds_are_called(client: AsyncOpenAI) -> None:
    called = await client.responses.create(
        model="simulated",
        input="get_weather and run_code",
        tools=[
            {"type": "function", "name": "get_weather", "parameters": TOOL, "strict": True},
            {"type": "custom", "name": "run_code"},
        ],
    )
    function, custom = called.output
    assert function.type == "function_call"
    assert Weather.model_validate_json(function.arguments).city
    assert function.call_id.startswith("call_")
    assert custom.type == "custom_tool_call"
    assert custom.input == "get_weather and run_code"


async def test_a_response_fits_the_wanted_schema(client: AsyncOpenAI) -> None:
    parsed = await client.responses.parse(model="simulated", input="Paris", text_format=Weather)
    assert parsed.output_parsed is not None
    assert parsed.output_parsed.city == "Paris"


async def test_a_response_is_kept_gone_on_from_and_deleted(client: AsyncOpenAI) -> None:
    first = await client.responses.create(
        model="simulated",
        input="get_weather",
        tools=[{"type": "function", "name": "get_weather", "parameters": TOOL, "strict": True}],
        instructions="Be brief.",
    )
    assert (await client.responses.retrieve(first.id)).output == first.output
    call = first.output[0]
    assert call.type == "function_call"
    second = await client.responses.create(
        model="simulated",
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}],
    )
    assert second.output_text == "The tools answered: rain."
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.output_tokens
    await client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        await client.responses.retrieve(first.id)
    unkept = await client.responses.create(model="simulated", input="hi", store=False)
    with pytest.raises(BadRequestError) as raised:
        await client.responses.create(model="simulated", input="hi", previous_response_id=unkept.id)
    assert raised.value.code == "previous_response_not_found"


async def test_thoughts_come_back_encrypted_or_by_the_id_of_an_answer_that_is_kept(client: AsyncOpenAI) -> None:
    """As OpenAI says it to those who asked for neither."""
    for stored in (True, False):
        asked: dict[str, Any] = {"model": "simulated", "reasoning": {"effort": "low"}, "store": stored}
        first = await client.responses.create(input="hi", **asked)
        thought = first.output[0].to_dict()
        assert thought["type"] == "reasoning"
        again: Any = [thought, {"role": "user", "content": "so?"}]
        if stored:
            assert (await client.responses.create(input=again, **asked)).output_text == "You said: so?"
        else:
            with pytest.raises(NotFoundError, match="Items are not persisted"):
                await client.responses.create(input=again, **asked)
        sealed: Any = [{**thought, "encrypted_content": "gAAAAA"}, again[1]]
        assert (await client.responses.create(input=sealed, **asked)).output_text == "You said: so?"


async def test_reasoning_is_an_item_whose_summary_and_encrypted_words_are_told_if_wanted(client: AsyncOpenAI) -> None:
    plain = await client.responses.create(model="simulated", input="think", reasoning={"effort": "low"})
    assert plain.output[0].type == "reasoning"
    assert (plain.output[0].summary, plain.output[0].encrypted_content) == ([], None)
    assert plain.usage is not None
    assert plain.usage.output_tokens_details.reasoning_tokens > 0
    async with client.responses.stream(
        model="simulated",
        input="think",
        reasoning={"effort": "low", "summary": "auto"},
        include=["reasoning.encrypted_content"],
    ) as stream:
        shown = await stream.get_final_response()
    assert shown.output[0].type == "reasoning"
    assert "tokens" in shown.output[0].summary[0].text
    assert (shown.output[0].encrypted_content or "").startswith("gAAAA")


async def test_an_error_inside_a_response_is_the_last_event_and_is_numbered_like_the_others(
    client: AsyncOpenAI,
) -> None:
    """The client raises nothing here: it hands on the event."""
    events = [event async for event in await client.responses.create(model="error-3", input="hi", stream=True)]
    assert [event.sequence_number for event in events] == [0, 1, 2, 3]
    assert events[-1].type == "error"
    assert "overloaded" in events[-1].message


@pytest.mark.parametrize(
    ("model", "error_class", "code"),
    [
        ("context-length", BadRequestError, "context_length_exceeded"),
        ("content-policy", BadRequestError, "content_policy_violation"),
        ("wrong-key", AuthenticationError, "invalid_api_key"),
        ("rate-limit", RateLimitError, "rate_limit_exceeded"),
    ],
)
async def test_a_model_named_as_an_error_gives_that_error(
    client: AsyncOpenAI, model: str, error_class: type[APIError], code: str
) -> None:
    with pytest.raises(error_class) as raised:
        await client.responses.create(model=model, input="hi")
    assert raised.value.code == code


async def test_equal_texts_have_equal_unit_vectors_and_like_ones_near_vectors(client: AsyncOpenAI) -> None:
    made = await client.embeddings.create(
        model="text-embedding-3-small", input=["a red car", "a red car", "a red bus", "deep sea fish"]
    )
    one, same, like, other = (item.embedding for item in made.data)
    assert len(one) == 1536
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-4)
    assert one == same
    assert _likeness(one, like) > 0.3 > _likeness(one, other)
    assert made.usage.prompt_tokens > 0
    short = await client.embeddings.create(model="m", input="a red car", dimensions=8, encoding_format="float")
    assert len(short.data[0].embedding) == 8
    assert math.isclose(math.hypot(*short.data[0].embedding), 1, rel_tol=1e-4)
    with pytest.raises(RateLimitError):
        await client.embeddings.create(model="status-429", input="x")
    with pytest.raises(BadRequestError):
        await client.embeddings.create(model="m", input="")
    with pytest.raises(BadRequestError):
        await client.embeddings.create(model="m", input="x", extra_body={"encoding_format": ["float"]})


def _likeness(one: list[float], other: list[float]) -> float:
    return sum(first * second for first, second in zip(one, other, strict=True))


async def test_a_moderation_flags_the_category_that_is_named(client: AsyncOpenAI) -> None:
    judged = await client.moderations.create(input=["a walk", "some violence"])
    assert [result.flagged for result in judged.results] == [False, True]
    assert judged.results[1].categories.violence
    assert judged.results[1].category_scores.violence > 0.9


async def test_an_uploaded_files_size_and_name_are_told(client: AsyncOpenAI, simulator: Simulator) -> None:
    content = bytes(range(256)) * 300
    made = await client.files.create(file=("räder.bin", content), purpose="vision")
    assert (made.bytes, made.filename, made.purpose) == (len(content), "räder.bin", "vision")
    assert simulator.requests[0].headers["content-type"].startswith("multipart/form-data")


async def test_azures_client_names_the_deployment_in_the_path_and_gets_the_filters_verdicts(
    simulator: Simulator,
) -> None:
    async with AsyncAzureOpenAI(
        azure_endpoint=simulator.url, api_key="any", api_version="2024-10-21", max_retries=0
    ) as azure:
        answer = await azure.chat.completions.create(model="mine", messages=[{"role": "user", "content": "hi"}])
        assert (answer.model, answer.choices[0].message.content) == ("mine", "You said: hi")
        assert (answer.choices[0].model_extra or {})["content_filter_results"]["hate"] == {
            "filtered": False,
            "severity": "safe",
        }
        chunks = [
            chunk
            async for chunk in await azure.chat.completions.create(
                model="mine", messages=[{"role": "user", "content": "hi"}], stream=True
            )
        ]
        assert chunks[0].choices == []
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "You said: hi"
        with pytest.raises(BadRequestError) as raised:
            await azure.chat.completions.create(model="content-policy", messages=[{"role": "user", "content": "hi"}])
        assert raised.value.code == "content_filter"
        made = await azure.embeddings.create(model="mine", input="x", dimensions=4)
        assert len(made.data[0].embedding) == 4
    async with AsyncAzureOpenAI(
        azure_endpoint=simulator.url, api_key="invalid", api_version="2024-10-21", max_retries=0
    ) as azure:
        with pytest.raises(AuthenticationError):
            await azure.chat.completions.create(model="mine", messages=[{"role": "user", "content": "hi"}])


async def test_azures_paths_without_a_version_take_the_format_as_it_is(simulator: Simulator) -> None:
    async with AsyncOpenAI(
        base_url=f"{simulator.url}/openai/v1", api_key="any", default_headers={"api-key": "any"}, max_retries=0
    ) as azure:
        answer = await azure.chat.completions.create(model="mine", messages=[{"role": "user", "content": "hi"}])
        assert answer.choices[0].message.content == "You said: hi"
        assert (await azure.responses.create(model="mine", input="hi")).output_text == "You said: hi"
