"""The answer of `/api/ai/generate` as server-sent events: `start`, content, `done`; or `error` and no `done`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from starlette.types import Scope

from waypost.chat import PartStart, ResponseStart, UsageUpdate
from waypost.codecs.sse import encode_event
from waypost.doors.telling import Telling, Told
from waypost.gateway.call_record import note_answer
from waypost.server.envelope import envelope
from waypost.server.ids import safe_id
from waypost.server.jsonwire import json_bytes
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import KEEP_ALIVE_S, LiveReply, Wire
from waypost.server.middleware.request_id import request_id_of
from waypost.server.service import AIService, open_stream

Take: TypeAlias = Callable[[Sequence[Told]], Awaitable[None]]
"""Gets the next events, at least one; `done` comes last and alone or at the end."""


class Call:
    """One call of the AI service for a stream. `id` is the answer's: the given one, else the provider's once known."""

    def __init__(self, service: AIService, prompt: str, arguments: Mapping[str, Any], answer_id: str = "") -> None:
        self.id = answer_id
        self._service = service
        self._prompt = prompt
        self._arguments = arguments

    async def tell(self, take: Take) -> None:
        """Call the service and tell what comes. Raises what breaks the answer, before or after its first events."""
        async with open_stream(self._service, self._prompt, self._arguments) as stream:
            self.id = self.id or safe_id(stream.id)
            telling = Telling(stream, self.id)
            note_answer(stream.provider, stream.model, stream.attempts)
            held: list[Told] = []
            begun = False
            async for event in stream:
                held.extend(telling.tell(event))
                # `start` alone waits, because the provider may still fail without having said anything.
                if len(held) > 1 or begun or not isinstance(event, ResponseStart | PartStart | UsageUpdate):
                    if held:
                        begun = True
                        await take(held)
                    held = []
            await take((*held, telling.done()))


def encode_told(told: Told, event_id: str = "") -> bytes:
    """One event as bytes."""
    return encode_event(json_bytes(told.data), event=told.event, id=event_id)


def error_event(error: Exception, request_id: str) -> Told:
    """The event `error`."""
    return Told("error", envelope(error, request_id))


class EventStream(LiveReply):
    """A call told to its caller alone, who cancels it by leaving; each event has an id, `<answer id>.<number>`."""

    def __init__(self, call: Call, lifecycle: Lifecycle, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        super().__init__(lifecycle, keep_alive_s=keep_alive_s)
        self._call = call
        self._sequence = 0

    async def answer(self, wire: Wire) -> None:
        """Call the service and tell what comes."""

        async def take(told: Sequence[Told]) -> None:
            await wire.send(self._encode(told), last=told[-1].event == "done")

        await self._call.tell(take)

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """The event `error`."""
        return self._encode((error_event(error, request_id_of(scope)),))

    def _encode(self, told: Sequence[Told]) -> bytes:
        encoded = b""
        for each in told:
            encoded += encode_told(each, f"{self._call.id}.{self._sequence}")
            self._sequence += 1
        return encoded
