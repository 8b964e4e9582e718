"""The small parts of the front doors, each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest

from waypost.chat import Event, Finish, PartDelta, PartEnd, PartStart, ResponseStart, Text, Usage, collect, is_token
from waypost.codecs.openai_chat import codec
from waypost.errors import (
    AllTargetsFailed,
    Attempt,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimeout,
    ServerBusy,
    WaypostError,
)
from waypost.gateway.gateway import Gateway
from waypost.gateway.served import ServedStream
from waypost.providers.answers import Batch, PassOn
from waypost.providers.asked import Asked
from waypost.server.doors.anthropic_messages import ANTHROPIC_MESSAGES
from waypost.server.doors.door import Door
from waypost.server.doors.errors import told_error
from waypost.server.doors.gemini import GEMINI
from waypost.server.doors.headers import MAX_WARNINGS_CHARACTERS, plain, warning_text
from waypost.server.doors.openai_chat import OPENAI_CHAT
from waypost.server.doors.openai_responses import OPENAI_RESPONSES
from waypost.server.doors.serve import DoorStream
from waypost.server.doors.table import door_at
from waypost.server.lifecycle import Lifecycle

VERSION = [(b"anthropic-version", b"2023-06-01")]


@pytest.mark.parametrize(
    ("path", "headers", "door"),
    [
        ("/v1/chat/completions", VERSION, OPENAI_CHAT),
        ("/v1/messages", [], ANTHROPIC_MESSAGES),
        ("/v1/messages/count_tokens", [], ANTHROPIC_MESSAGES),
        ("/v1/messagesx", [], OPENAI_CHAT),
        ("/v1/responses/resp_1", [], OPENAI_RESPONSES),
        ("/v1/models", [], OPENAI_CHAT),
        ("/v1/models", VERSION, ANTHROPIC_MESSAGES),
        ("/v1/models/a/b:generateContent", VERSION, GEMINI),
        ("/v1beta/anything", [], GEMINI),
        ("/v1/embeddings", [], OPENAI_CHAT),
        ("/api/ai/generate", VERSION, None),
        ("/v1", [], None),
        ("/", [], None),
    ],
)
def test_a_path_belongs_to_one_dialect(path: str, headers: list[Any], door: Door | None) -> None:
    assert door_at({"path": path, "headers": headers}) is door


@pytest.mark.parametrize(
    ("text", "told"),
    [("seed: no", "seed: no"), ("a\r\nset-cookie: x", "a  set-cookie: x"), ("Grüße\x7f", "Gr\\xfc\\xdfe"), ("", "")],
)
def test_a_header_is_one_line_of_ascii(text: str, told: str) -> None:
    assert plain(text, 100) == told


def test_warnings_are_each_told_once_and_bounded() -> None:
    assert warning_text(["a: x", "b: y", "a: x"]) == "a: x; b: y"
    assert warning_text([]) == ""
    many = warning_text(f"field_{number}: it has no place" for number in range(1000))
    assert len(many) < MAX_WARNINGS_CHARACTERS + 20
    shown = many.count("field_")
    assert many.endswith(f"; and {1000 - shown} more")
    assert 0 < shown < 1000
    assert len(warning_text(["x" * 10_000])) == 400


def test_notes_stay_when_a_stream_is_gathered() -> None:
    assert collect([ResponseStart("id-1", "m", notes=("a note",)), Finish("stop")]).notes == ("a note",)


def failed(*errors: Exception) -> AllTargetsFailed:
    return AllTargetsFailed([Attempt("p", "m", error, 1) for error in errors])


def test_what_all_attempts_have_in_common_is_told() -> None:
    busy, busier, limited = ProviderOverloaded("a"), ProviderOverloaded("b"), ProviderRateLimited("c")
    late = ProviderTimeout("d", phase="total", limit_s=1)
    assert told_error(failed(busy, busier), "r") is busier
    assert told_error(failed(late), "r") is late
    for mixed in (failed(busy, limited), failed(), failed(KeyError("x"))):
        assert told_error(mixed, "r") is mixed
    assert told_error(late, "r") is late
    assert "req_7" in str(told_error(KeyError("secret"), "req_7"))


class Playing(Gateway):
    """Gives its script as a stream: events, pauses in seconds, errors."""

    def __init__(self, *script: Event | float | WaypostError) -> None:
        super().__init__({}, {}, {})
        self._script = script

    @asynccontextmanager
    async def stream(self, asked: object) -> AsyncIterator[ServedStream]:
        yield ServedStream(Told(self._play()), "p", ("a note",))

    async def _play(self) -> AsyncIterator[Batch]:
        yield Batch(events=(ResponseStart("id-1", ""),))
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield Batch(events=(step,), token=is_token(step))


class Told:
    """What is known of a stream whose provider tells nothing."""

    usage = Usage()
    model = ""
    key_label: str | None = None
    notes: tuple[str, ...] = ()
    headers: Mapping[str, str] = MappingProxyType({})
    attempts = (Attempt("p", "asked-model", None, 1),)
    incomplete_usage: frozenset[str] = frozenset()

    def __init__(self, batches: AsyncIterator[Batch]) -> None:
        self._batches = batches

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self._batches

    def sent_events(self) -> tuple[Event, ...]:
        return ()

    def pass_on_by(self, send: PassOn) -> None:
        """It has no bytes of its own."""


async def sent_by(door: Door, gateway: Gateway, lifecycle: Lifecycle | None = None) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asked = Asked.of(codec.decode_request(b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}').request)
    stream = DoorStream(door, gateway, asked, lifecycle or Lifecycle(), keep_alive_s=0.03)
    await stream({"type": "http", "state": {}}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("before", "number"),
    [
        (
            b'data: {"type":"a","sequence_number":8}\n\ndata: {"sequence_number": 9,"delta":"x"}\n\n',
            b'"sequence_number":10',
        ),
        (b'data: {"delta":"\\"sequence_number\\":7"}\n\n', b'"sequence_number":0'),
    ],
    ids=["numbered", "only in a text"],
)
def test_an_error_after_a_providers_own_events_is_numbered_as_the_next(before: bytes, number: bytes) -> None:
    event = b'event: error\ndata: {"type":"error","sequence_number":0,"code":"x"}\n\n'
    assert number in OPENAI_RESPONSES.error_after(event, before)


SAID = (PartStart(0, Text("")), PartDelta(0, "hi"))


@pytest.mark.parametrize(
    ("door", "beat"),
    [
        (OPENAI_CHAT, b": \n\n"),
        (ANTHROPIC_MESSAGES, b'event: ping\ndata: {"type": "ping"}\n\n'),
        (OPENAI_RESPONSES, b": \n\n"),
        (GEMINI, b": \n\n"),
    ],
    ids=lambda value: value.codec.name if isinstance(value, Door) else "",
)
async def test_silence_is_broken_as_the_dialect_allows(door: Door, beat: bytes) -> None:
    sent = await sent_by(door, Playing(*SAID, 0.15, PartEnd(0), Finish("stop")))
    bodies = [message["body"] for message in sent[1:]]
    assert 2 <= bodies.count(beat) <= 6
    assert b"asked-model" in b"".join(bodies), "where the provider names no model, the one that was asked"
    headers = dict(sent[0]["headers"])
    assert (headers[b"x-waypost-model"], headers[b"x-waypost-warnings"]) == (b"asked-model", b"a note")
    assert [message["more_body"] for message in sent[1:]].count(False) == 1


ENDS = {
    OPENAI_CHAT: b"[DONE]",
    ANTHROPIC_MESSAGES: b"event: message_stop",
    OPENAI_RESPONSES: b"event: response.completed",
    GEMINI: b'"finishReason"',
}


@pytest.mark.parametrize("door", ENDS, ids=lambda door: door.codec.name)
@pytest.mark.parametrize("last", [(), (ServerBusy("stopping"),)], ids=["silent", "stopped"])
async def test_a_stream_without_finish_is_not_finished(door: Door, last: tuple[Any, ...]) -> None:
    """Also where the provider, perhaps a plugin's, just stops talking."""
    body = b"".join(message["body"] for message in (await sent_by(door, Playing(*SAID, *last)))[1:])
    assert b"hi" in body
    assert ENDS[door] not in body
    assert b"error" in body
    whole = await sent_by(door, Playing(*SAID, PartEnd(0), Finish("stop")))
    assert ENDS[door] in b"".join(message["body"] for message in whole[1:])
