"""The answer to one request of /v1/responses, as it goes out: under an id of ours, and stored before its end is told.

Wraps `send`, so that it is the same for bytes that pass, for what is translated, and for kept answers. The invariant: a
response that says `store: true` at its end is in the database; where that is away, the answer comes and says otherwise.
A stream that breaks, or whose caller leaves, is not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from starlette.types import Message, Send

from waypost.codecs.openai_responses.retelling import Ending, Retelling, stored_form, told_form
from waypost.doors.keeping import Keeping
from waypost.doors.off_loop import off_loop_if_large
from waypost.server.doors.headers import WARNINGS, warning_text

NOT_STORED: Final = "store: the database does not answer, so that the response is not stored"


class KeepingSend:
    """`send` for one reply."""

    def __init__(self, send: Send, keeping: Keeping) -> None:
        self._send = send
        self._keeping = keeping
        self._retelling: Retelling | None = None
        self._start: Message | None = None
        """The head of a whole answer, which waits for its body."""
        self._body: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        """Send it: as it is where it is no answer."""
        if message["type"] == "http.response.start" and message["status"] == 200:
            await self._begin(message)
        elif self._retelling is not None:
            await self._retell(self._retelling, message)
        elif self._start is not None:
            self._body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._end_whole(self._start, b"".join(self._body))
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream"):
            self._retelling = Retelling(self._keeping.identity)
            headers = [header for header in message["headers"] if header[0] != b"content-length"]
            await self._send({**message, "headers": _warned(headers, self._keeping.warnings)})
        else:
            self._start = message

    async def _retell(self, retelling: Retelling, message: Message) -> None:
        told = []
        for piece in retelling.feed(message.get("body", b"")):
            if isinstance(piece, Ending):
                stored = await self._keeping.keep(piece.response)
                piece = retelling.ended(piece, store=stored)
            told.append(piece)
        await self._send({**message, "body": b"".join(told)})

    async def _end_whole(self, start: Message, body: bytes) -> None:
        identity = self._keeping.identity
        response = await off_loop_if_large(len(body), lambda: stored_form(body, identity))
        stored = await self._keeping.keep(response)
        told = await off_loop_if_large(len(body), lambda: told_form(response, identity, store=stored))
        warnings = self._keeping.warnings
        if identity.store and not stored:
            warnings = (*warnings, NOT_STORED)
        headers = [header for header in start["headers"] if header[0] != b"content-length"]
        headers.append((b"content-length", b"%d" % len(told)))
        await self._send({**start, "headers": _warned(headers, warnings)})
        await self._send({"type": "http.response.body", "body": told})


def _warned(headers: Iterable[tuple[bytes, bytes]], warnings: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """The headers with these warnings after those that they hold."""
    if not warnings:
        return list(headers)
    name = WARNINGS.encode()
    before = [value for header, value in headers if header == name]
    others = [(header, value) for header, value in headers if header != name]
    return [*others, (name, b"; ".join([*before, warning_text(warnings).encode()]))]
