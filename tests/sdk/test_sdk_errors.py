"""Every error class of both official clients is raised by what raises it in the world, and none is forgotten."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import anthropic
import httpx2
import openai
import pytest
from anthropic import AsyncAnthropic
from anthropic._error_classes import ERROR_CLASSES
from openai import AsyncOpenAI

from waypost.simulator import Simulator

OPENAI_STATUSES: Mapping[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    402: openai.APIStatusError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    408: openai.APIStatusError,
    409: openai.ConflictError,
    413: openai.APIStatusError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
    529: openai.InternalServerError,
}
ANTHROPIC_STATUSES: Mapping[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    402: anthropic.PaymentRequiredError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    408: anthropic.RequestTimeoutError,
    409: anthropic.ConflictError,
    412: anthropic.PreconditionFailedError,
    413: anthropic.RequestTooLargeError,
    418: anthropic.APIStatusError,
    422: anthropic.UnprocessableEntityError,
    429: anthropic.RateLimitError,
    431: anthropic.RequestHeaderFieldsTooLargeError,
    499: anthropic.ClientClosedRequestError,
    500: anthropic.InternalServerError,
    501: anthropic.HTTPNotImplementedError,
    502: anthropic.InternalServerError,
    503: anthropic.ServiceUnavailableError,
    504: anthropic.DeadlineExceededError,
    529: anthropic.OverloadedError,
}
CHAT: dict[str, Any] = {"model": "simulated", "messages": [{"role": "user", "content": "hello there"}]}
MESSAGE: dict[str, Any] = {**CHAT, "max_tokens": 100}
_Class = TypeVar("_Class")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def gpt(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


@pytest.fixture
async def claude(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=simulator.url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


def descendants(parent: type[_Class]) -> set[type[_Class]]:
    return {parent}.union(*(descendants(child) for child in parent.__subclasses__()))


def fault(**what: object) -> dict[str, str]:
    return {"x-waypost-simulate": json.dumps(what)}


@pytest.mark.parametrize("stream", [True, False])
async def test_each_status_raises_openais_class_with_the_body_and_the_id(
    gpt: AsyncOpenAI, simulator: Simulator, stream: bool
) -> None:
    for number, (status, expected) in enumerate(OPENAI_STATUSES.items(), 1):
        with pytest.raises(openai.APIStatusError) as caught:
            await gpt.chat.completions.create(**{**CHAT, "model": f"status-{status}"}, stream=stream)
        assert (type(caught.value), caught.value.status_code) == (expected, status)
        assert caught.value.type
        assert caught.value.body
        assert (caught.value.request_id or "").startswith("req_")
        assert simulator.requests[number - 1].status == status, "one request a status: no retry"


def test_no_status_class_of_openais_is_left_out() -> None:
    # OAuthError comes from the exchange of a workload's identity for a token, never from an answer.
    assert descendants(openai.APIStatusError) == {*OPENAI_STATUSES.values(), openai.OAuthError}


@pytest.mark.parametrize("stream", [True, False])
async def test_each_status_raises_anthropics_class_with_the_type_and_the_id(
    claude: AsyncAnthropic, stream: bool
) -> None:
    for status, expected in ANTHROPIC_STATUSES.items():
        with pytest.raises(anthropic.APIStatusError) as caught:
            await claude.messages.create(**{**MESSAGE, "model": f"status-{status}"}, stream=stream)
        assert (type(caught.value), caught.value.status_code) == (expected, status)
        assert caught.value.type
        assert caught.value.api_message
        assert (caught.value.request_id or "").startswith("req_")


async def test_each_of_anthropics_codes_raises_its_class(claude: AsyncAnthropic) -> None:
    for (status, code), expected in ERROR_CLASSES.items():
        what: dict[str, object] = {"status": status} if code is None else {"status": status, "code": code}
        with pytest.raises(anthropic.APIStatusError) as caught:
            await claude.messages.create(**MESSAGE, extra_headers=fault(**what))
        assert (type(caught.value), caught.value.error_code) == (expected, code)


def test_no_status_class_of_anthropics_is_left_out() -> None:
    assert descendants(anthropic.APIStatusError) == {*ANTHROPIC_STATUSES.values(), *ERROR_CLASSES.values()}


async def test_a_reset_and_a_closed_port_are_connection_errors(
    gpt: AsyncOpenAI, claude: AsyncAnthropic, simulator: Simulator
) -> None:
    with pytest.raises(openai.APIConnectionError):
        await gpt.chat.completions.create(**{**CHAT, "model": "reset"})
    with pytest.raises(anthropic.APIConnectionError):
        await claude.messages.create(**{**MESSAGE, "model": "reset"})
    await simulator.close()
    with pytest.raises(openai.APIConnectionError):
        await gpt.chat.completions.create(**CHAT)
    with pytest.raises(anthropic.APIConnectionError):
        await claude.messages.create(**MESSAGE)


async def test_silence_is_a_timeout_and_the_connection_is_given_up(
    gpt: AsyncOpenAI, claude: AsyncAnthropic, simulator: Simulator
) -> None:
    with pytest.raises(openai.APITimeoutError):
        await gpt.chat.completions.create(**{**CHAT, "model": "silence"}, timeout=0.5)
    with pytest.raises(anthropic.APITimeoutError):
        await claude.messages.create(**{**MESSAGE, "model": "silence"}, timeout=0.5)
    assert [(await simulator.request(number)).outcome for number in (1, 2)] == ["client_closed", "client_closed"]


async def test_a_page_in_place_of_the_answer_is_a_validation_error(simulator: Simulator) -> None:
    page = fault(status=200, body="html")
    async with AsyncOpenAI(
        base_url=simulator.openai_url, api_key="any", max_retries=0, _strict_response_validation=True
    ) as gpt:
        with pytest.raises(openai.APIResponseValidationError):
            await gpt.chat.completions.create(**CHAT, extra_headers=page)
    async with AsyncAnthropic(
        base_url=simulator.url, api_key="any", max_retries=0, _strict_response_validation=True
    ) as claude:
        with pytest.raises(anthropic.APIResponseValidationError):
            await claude.messages.create(**MESSAGE, extra_headers=page)


async def test_the_refused_key_and_a_wrong_request_are_refused_for_what_they_are(simulator: Simulator) -> None:
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="invalid", max_retries=0) as gpt:
        with pytest.raises(openai.AuthenticationError) as wrong_key:
            await gpt.chat.completions.create(**CHAT)
        assert wrong_key.value.code == "invalid_api_key"
    async with AsyncAnthropic(base_url=simulator.url, api_key="invalid", max_retries=0) as claude:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await claude.messages.create(**MESSAGE)
        assert refused.value.type == "authentication_error"
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=0) as gpt:
        with pytest.raises(openai.BadRequestError):
            await gpt.chat.completions.create(**{**CHAT, "messages": []})
        with pytest.raises(openai.NotFoundError):
            await gpt.fine_tuning.jobs.list()


async def test_the_clients_wait_as_long_as_they_are_told_and_try_again(simulator: Simulator) -> None:
    """With retries allowed, a scripted pair of failures is followed by the answer, after both waits."""
    wait = {"status": 429, "retry_after_s": 0.6, "retry_after_form": "milliseconds"}
    started = time.monotonic()
    simulator.use({"rules": [{"fault": wait, "times": 2}]})
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=2) as gpt:
        answer = await gpt.chat.completions.create(**CHAT)
    assert answer.choices[0].message.content == "You said: hello there"
    assert [one.status for one in simulator.requests] == [429, 429, 200]
    assert time.monotonic() - started >= 1.2


async def test_an_error_inside_a_stream_is_raised(gpt: AsyncOpenAI, claude: AsyncAnthropic) -> None:
    stream = await gpt.chat.completions.create(**{**CHAT, "model": "error-3"}, stream=True)
    chunks = 0
    with pytest.raises(openai.APIError) as caught:
        async for _ in stream:
            chunks += 1
    assert chunks == 3
    assert caught.value.type == "server_error"
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        async for _ in await claude.messages.create(**{**MESSAGE, "model": "error-3"}, stream=True):
            pass
    assert overloaded.value.type == "overloaded_error"


async def test_a_cut_stream_is_noticed_and_one_that_ends_early_is_not(gpt: AsyncOpenAI, claude: AsyncAnthropic) -> None:
    """The clients take a stream without its terminal event for a good one: why a gateway must not send such."""
    for model, noticed in (("cut-3", True), ("end-3", False)):
        failures = 0
        for stream in (
            await gpt.chat.completions.create(**{**CHAT, "model": model}, stream=True),
            await claude.messages.create(**{**MESSAGE, "model": model}, stream=True),
        ):
            try:
                async for _ in stream:
                    pass
            except (openai.APIConnectionError, anthropic.APIConnectionError, httpx2.TransportError):
                failures += 1
            finally:
                await stream.close()
        assert failures == (2 if noticed else 0), model


async def test_a_malformed_event_is_no_json_to_the_clients(gpt: AsyncOpenAI, claude: AsyncAnthropic) -> None:
    for stream in (
        await gpt.chat.completions.create(**{**CHAT, "model": "malformed-3"}, stream=True),
        await claude.messages.create(**{**MESSAGE, "model": "malformed-3"}, stream=True),
    ):
        with pytest.raises(json.JSONDecodeError):
            async for _ in stream:
                pass
        await stream.close()
