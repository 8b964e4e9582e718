"""/providers/{name}/…: a provider's other endpoints (files, audio, images, moderations, batches), passed through.

Any method and content type go up as they come, with the provider's own credentials in place of the caller's; the
reply comes back as it is, and what it says of its cost is read on the way. Errors of ours have Waypost's own form here.
The invariant: a reply that breaks off never ends as if it were whole.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from waypost.codecs.metering import Meter
from waypost.errors import InvalidRequest, NotAllowed, OriginRefused, WaypostError
from waypost.gateway.raw_call import RawCalls, RawQuestion, note_end, read_question
from waypost.ledger.billing import was_served
from waypost.ledger.books import Ending, Line
from waypost.providers.raw import RawCall, RawProvider, passed_down, passed_up
from waypost.server.application import lifecycle_in, served_in
from waypost.server.body import off_loop_if_large, read_whole
from waypost.server.callers import Caller, caller_of
from waypost.server.disconnect import CallerGone, connection_of, while_connected
from waypost.server.doors.headers import PROVIDER
from waypost.server.doors.serve import raw_headers
from waypost.server.middleware.headers import header_value, header_values
from waypost.server.middleware.json_only import PASSED_THROUGH, says_json
from waypost.transport import Body

RAW: Final = "x-waypost-raw"
"""A header of our own: a page of another site cannot send it unasked, as it can a form or a file."""
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Not TRACE, whose reply repeats the request's headers and with them the provider's key."""
REFUSED: Final = 400
"""From this status on the provider has served nothing."""
GUARDS: Final[Mapping[str, str]] = {
    # What a provider stores may be anybody's page: shown in a browser, it is nobody's here.
    "content-security-policy": "sandbox",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def _demand_all_of(provider: str, caller: Caller) -> None:
    if not caller.may_ask(f"{provider}/"):
        raise NotAllowed(
            f'The key "{caller.account.key_name}" may not use the provider "{provider}" as it is.',
            hint=f'That takes "{provider}/*" among its routes.',
        )


class RawDoor:
    """The ASGI application for all of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one call through. Raises what went wrong before the reply's first bytes, or within it."""
        served = served_in(scope)
        if served.callers.open_to_all:
            demand_intent(scope)
        name, path = named(scope)
        # Which model is asked for is not read here: the key must be good for all of the provider's.
        _demand_all_of(name, caller_of(scope))
        raw = served.gateway.raw
        provider, place = raw.provider(name), raw.place(name, scope["method"], path)
        try:
            # Of what is charged by tokens the request is read before it is sent; everything else goes up as it comes.
            is_read = place is not None and place.endpoint.kind != "free"
            body = await (read_whole(receive) if is_read else _body(scope, receive))
            query = scope["query_string"].decode("latin-1")
            call = RawCall(scope["method"], f"/{path}", query, passed_up(_joined(scope)), body)
            size_bytes = len(body) if isinstance(body, bytes) else _declared_bytes(scope)
            question = await off_loop_if_large(size_bytes, lambda: read_question(place, call, size_bytes))
            line = await raw.write_down(name, question)
            passage = _Passage(raw, provider, name, call, question, line)
            await while_connected(passage.run(send), receive, lifecycle_in(scope), connection_of(scope))
        except (CallerGone, ClientDisconnect):
            return


def _declared_bytes(scope: Scope) -> int:
    size = header_value(scope, b"content-length") or ""
    return int(size) if size.isdecimal() else 0


async def _body(scope: Scope, receive: Receive) -> Body | None:
    """The caller's body as it comes; whole under a server where only `receive` tells that the caller has left."""
    if header_value(scope, b"content-length") in (None, "0") and header_value(scope, b"transfer-encoding") is None:
        return None
    return await read_whole(receive) if connection_of(scope) is None else _pieces(receive)


async def _pieces(receive: Receive) -> AsyncGenerator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more = message.get("more_body", False)


@dataclass(slots=True)
class _Passage:
    """One call under way, and its line in the books: closed once, before the caller can see the reply's end."""

    raw: RawCalls
    provider: RawProvider
    name: str
    call: RawCall
    question: RawQuestion
    line: Line | None
    meter: Meter | None = None
    is_over: bool = False

    async def run(self, send: Send) -> None:
        """Do it. Raises what went wrong before the reply's first bytes, or within it."""
        try:
            await self._pass(send)
        except WaypostError as error:
            self._close(Ending("failed", self.question.costs and was_served(error), error.code))
            raise
        finally:
            self._close(Ending("caller_left", self.question.costs))

    async def _pass(self, send: Send) -> None:
        started = time.monotonic()
        async with self.provider.raw(self.call) as reply:
            if reply.status < REFUSED:
                self.meter = self.question.meter(reply.headers.get("content-type", ""))
                if self.line is not None:
                    self.line.source = self.meter
            self.raw.note_answer(self.name, self.question, self.meter, round((time.monotonic() - started) * 1000))
            headers = {**passed_down(reply.headers), **GUARDS, PROVIDER: quote(self.name)}
            await send({"type": "http.response.start", "status": reply.status, "headers": raw_headers(headers)})
            async for piece in reply.chunks():
                if self.meter is not None:
                    self.meter.feed(piece)
                if reply.has_come or (self.meter is not None and self.meter.ended):
                    self._end(reply.status)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            self._end(reply.status)
        await send({"type": "http.response.body", "body": b""})

    def _end(self, status: int) -> None:
        """The provider has finished."""
        if self.is_over:
            return
        error = None
        if self.meter is not None:
            self.meter.finish()
            error = self.meter.error
            note_end(self.meter)
        failed = status >= REFUSED or error is not None
        served = self.question.costs and status < REFUSED
        self._close(Ending("failed" if failed else "answered", served, None if error is None else error.code))

    def _close(self, ending: Ending) -> None:
        self.is_over = True
        if self.line is not None:
            self.line.close(ending)


def named(scope: Scope) -> tuple[str, str]:
    """The provider's name, and what follows it as the caller wrote it. Raises InvalidRequest."""
    whole = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    name, _, path = whole.removeprefix(PASSED_THROUGH).partition("/")
    name = unquote(name)
    # Whoever checked the name by the decoded path must have seen the same one.
    if not whole.startswith(PASSED_THROUGH) or not scope["path"].startswith(f"{PASSED_THROUGH}{name}/"):
        raise InvalidRequest(
            "The path does not name a provider.",
            hint=f"Write {PASSED_THROUGH}NAME/…, nothing of it encoded.",
            param="path",
        )
    return name, path


def demand_intent(scope: Scope) -> None:
    """Without keys, whoever can send a request may spend: raises OriginRefused for one that any page could send."""
    types = header_values(scope, b"content-type")
    if header_value(scope, RAW.encode()) == "1" or (len(types) == 1 and says_json(types[0])):
        return
    raise OriginRefused(
        "Any web page could have made a browser send this request.",
        hint=f"Send the header {RAW}: 1, or the content type application/json.",
        param=RAW,
    )


def _joined(scope: Scope) -> dict[str, str]:
    """The caller's headers, those that were sent several times as one list."""
    headers: dict[str, str] = {}
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
