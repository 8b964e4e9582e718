"""The answer of `/api/ai/generate` as server-sent events: `start`, content, `done`; or `error` and no `done`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import Scope

from waypost.chat import PartStart, ResponseStart, UsageUpdate
from waypost.codecs.sse import encode_event
from waypost.gateway.call_record import note_answer
from waypost.server.envelope import envelope
from waypost.server.jsonwire import json_bytes
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import KEEP_ALIVE_S, LiveReply, Wire
from waypost.server.middleware.request_id import request_id_of
from waypost.server.service import AIService, open_stream
from waypost.server.telling import Telling, Told


class EventStream(LiveReply):
    """One call of the AI service, told event by event; each has an id, `<answer id>.<number>`."""

    def __init__(
        self,
        service: AIService,
        prompt: str,
        arguments: Mapping[str, Any],
        lifecycle: Lifecycle,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        super().__init__(lifecycle, keep_alive_s=keep_alive_s)
        self._service = service
        self._prompt = prompt
        self._arguments = arguments
        self._id = ""
        self._sequence = 0

    async def answer(self, wire: Wire) -> None:
        """Call the service and tell what comes."""
        async with open_stream(self._service, self._prompt, self._arguments) as stream:
            telling = Telling(stream)
            self._id = telling.id
            note_answer(stream.provider, stream.model, stream.attempts)
            held: list[Told] = []
            async for event in stream:
                held.extend(telling.tell(event))
                # `start` alone waits, because the provider may still fail without having said anything.
                if len(held) > 1 or wire.started or not isinstance(event, ResponseStart | PartStart | UsageUpdate):
                    await wire.send(self._encode(held))
                    held.clear()
            await wire.send(self._encode((*held, telling.done())), last=True)

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """The event `error`."""
        return self._encode((Told("error", envelope(error, request_id_of(scope))),))

    def _encode(self, told: Iterable[Told]) -> bytes:
        encoded = b""
        for each in told:
            encoded += encode_event(json_bytes(each.data), event=each.event, id=f"{self._id}.{self._sequence}")
            self._sequence += 1
        return encoded
