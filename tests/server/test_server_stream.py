"""POST /api/ai/generate as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from waypost import AIResponse
from waypost.chat import (
    CitationDelta,
    Event,
    Failed,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseStart,
    Text,
    ToolCall,
    Usage,
    UsageUpdate,
)
from waypost.chat.parts import Citation
from waypost.codecs.sse import SseDecoder
from waypost.errors import IncompleteStream, ProviderConnectionLost, ProviderServerError
from waypost.server.api import create_app
from waypost.server.lifecycle import Lifecycle
from waypost.server.service import get_ai_service
from waypost.server.stream import Call, EventStream

PATH = "/api/ai/generate"
Client = Callable[..., TestClient]
START = ResponseStart("answer-1", "m1")


def events_of(body: bytes) -> list[tuple[str, str, Any]]:
    """(id, event, data) of each."""
    return [(event.id, event.event, json.loads(event.data)) for event in SseDecoder().feed(body)]


def told(client: Client, eventful: Any, *events: Event) -> list[tuple[str, Any]]:
    reply = client(eventful(*events)).post(PATH, json={"prompt": "p", "stream": True})
    return [(name, data) for _, name, data in events_of(reply.content)]


def test_a_stream_from_start_to_done(client: Client, scripted: Any) -> None:
    reply = client(scripted("Once", " upon")).post(PATH, json={"prompt": "p", "model": "m1", "stream": True})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-accel-buffering"] == "no"
    events = events_of(reply.content)
    assert [name for _, name, _ in events] == ["start", "delta", "delta", "done"]
    start = events[0][2]
    assert start == {"id": start["id"], "provider": "first", "model": "m1"}
    assert [number for number, _, _ in events] == [f"{start['id']}.{count}" for count in range(4)]
    assert [data["text"] for _, name, data in events if name == "delta"] == ["Once", " upon"]
    done = events[-1][2]
    assert "content" not in done
    assert (done["id"], done["provider"], done["finish_reason"]) == (start["id"], "first", "stop")
    assert [attempt["provider"] for attempt in done["attempts"]] == ["first"]


def test_every_kind_of_part_has_its_event(client: Client, eventful: Any) -> None:
    """Tool calls come whole; other choices, citations and empty starts are not told."""
    events = told(
        client,
        eventful,
        START,
        PartStart(0, Reasoning("")),
        PartDelta(0, "Hm"),
        PartEnd(0),
        PartStart(1, Text("He")),
        PartDelta(1, "llo"),
        CitationDelta(1, Citation("anthropic", {})),
        PartStart(2, ToolCall("c1", "weather", "")),
        PartDelta(2, '{"city":'),
        PartDelta(2, '"Oslo"}'),
        PartEnd(2),
        PartEnd(1),
        PartStart(3, Refusal("No")),
        PartEnd(3),
        PartStart(0, Text("other"), choice=1),
        PartEnd(0, choice=1),
        UsageUpdate(Usage(input_tokens=5)),
        UsageUpdate(Usage(output_tokens=7)),
        Finish("tool_calls"),
        Finish("stop", choice=1),
    )
    call = {"call_id": "c1", "name": "weather", "arguments": '{"city":"Oslo"}'}
    assert events[:-1] == [
        ("start", {"id": events[0][1]["id"], "provider": "first", "model": "m1"}),
        ("reasoning", {"text": "Hm"}),
        ("delta", {"text": "He"}),
        ("delta", {"text": "llo"}),
        ("tool_call", call),
        ("refusal", {"text": "No"}),
    ]
    name, done = events[-1]
    assert (name, done["finish_reason"], done["tool_calls"]) == ("done", "tool_calls", [call])
    assert done["usage"] == {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}


def test_an_answer_without_content_is_still_told(client: Client, eventful: Any) -> None:
    events = told(client, eventful, START, Finish("length"))
    assert [name for name, _ in events] == ["start", "done"]
    assert events[1][1]["usage"] is None


BROKEN: list[tuple[tuple[Event, ...], str]] = [
    ((Failed(ProviderConnectionLost("Gone.")),), "provider_connection_lost"),
    ((), IncompleteStream.code),
]


@pytest.mark.parametrize(("end", "code"), BROKEN)
def test_a_stream_that_breaks_ends_with_error_and_never_done(
    client: Client, eventful: Any, end: tuple[Event, ...], code: str
) -> None:
    reply = client(eventful(START, PartStart(0, Text("")), PartDelta(0, "a"), *end)).post(
        PATH, json={"prompt": "p", "stream": True}, headers={"x-request-id": "mine"}
    )
    events = events_of(reply.content)
    assert [name for _, name, _ in events] == ["start", "delta", "error"]
    assert events[-1][0] == f"{events[0][2]['id']}.2"
    error = events[-1][2]["error"]
    assert (error["code"], error["request_id"]) == (code, "mine")


def test_a_foreign_exception_in_the_middle_is_not_told(client: Client, scripted: Any) -> None:
    reply = client(scripted("a", RuntimeError("the secret"))).post(PATH, json={"prompt": "p", "stream": True})
    assert [name for _, name, _ in events_of(reply.content)] == ["start", "delta", "error"]
    assert events_of(reply.content)[-1][2]["error"]["code"] == "internal_error"
    assert b"secret" not in reply.content


def test_before_the_first_token_the_next_provider_is_asked(client: Client, scripted: Any) -> None:
    failing = scripted(ProviderServerError("It broke."))
    reply = client(failing, scripted("fine")).post(PATH, json={"prompt": "p", "stream": True})
    events = events_of(reply.content)
    assert events[0][2]["provider"] == "second"
    assert [attempt["provider"] for attempt in events[-1][2]["attempts"]] == ["first", "second"]


class Whole:
    """A double with the one method that every service has."""

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        return AIResponse(content="hi", metadata={}, provider="p", model="m", usage={"input_tokens": 1})


class Texts(Whole):
    """A double that streams text from an async generator."""

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        yield "a"
        yield "b"


class LateTexts(Whole):
    """A double whose coroutine gives the iterator."""

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        return Texts().stream_response(prompt)


class FailingTexts(Whole):
    """A double that fails before it says anything."""

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        for piece in [None, "never"]:
            if piece is None:
                raise ProviderServerError("It broke.")
            yield piece


def with_double(serve: Any, double: object) -> TestClient:
    app = create_app(serve())
    app.dependency_overrides[get_ai_service] = lambda: double
    return TestClient(app)


@pytest.mark.parametrize(("double", "texts"), [(Whole(), ["hi"]), (Texts(), ["a", "b"]), (LateTexts(), ["a", "b"])])
def test_a_double_streams_with_what_it_has(serve: Any, double: object, texts: list[str]) -> None:
    reply = with_double(serve, double).post(PATH, json={"prompt": "p", "stream": True})
    events = events_of(reply.content)
    assert [name for _, name, _ in events] == ["start", *["delta"] * len(texts), "done"]
    assert [data["text"] for _, name, data in events if name == "delta"] == texts


def test_a_double_with_whole_answers_keeps_their_details(serve: Any) -> None:
    reply = with_double(serve, Whole()).post(PATH, json={"prompt": "p", "stream": True})
    done = events_of(reply.content)[-1][2]
    assert (done["provider"], done["model"], done["usage"]) == ("p", "m", {"input_tokens": 1})


def test_a_double_that_fails_first_is_an_ordinary_error(serve: Any) -> None:
    reply = with_double(serve, FailingTexts()).post(PATH, json={"prompt": "p", "stream": True})
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "provider_server_error")


async def run_stream(service: Any, **options: Any) -> list[dict[str, Any]]:
    """The ASGI messages of one stream whose caller stays."""
    sent: list[dict[str, Any]] = []
    never = asyncio.Event()

    async def receive() -> Any:
        await never.wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await EventStream(Call(service, "p", {}), Lifecycle(), **options)({"type": "http", "state": {}}, receive, send)
    return sent


async def test_silence_is_broken_by_comments(scripted: Any, serve: Any) -> None:
    """Only after the first event: before it the status is not decided yet."""
    manager = serve(scripted(0.15, "a", 0.2, "b")).manager
    sent = await run_stream(manager, keep_alive_s=0.03)
    bodies = [message["body"] for message in sent[1:]]
    assert bodies[0].startswith(b"id: ")
    first_delta = next(index for index, body in enumerate(bodies) if b'"text":"a"' in body)
    second_delta = next(index for index, body in enumerate(bodies) if b'"text":"b"' in body)
    between = bodies[first_delta + 1 : second_delta]
    assert 2 <= len(between) <= 8
    assert set(between) == {b": \n\n"}


async def test_the_end_is_marked_once(scripted: Any, serve: Any) -> None:
    sent = await run_stream(serve(scripted("a", "b")).manager)
    assert sent[0]["type"] == "http.response.start"
    assert [message["more_body"] for message in sent[1:]].count(False) == 1
    assert sent[-1]["more_body"] is False
