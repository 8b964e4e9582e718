"""Requests with an Idempotency-Key: the first one's answer is recorded, and told to whoever sends the key again.

The invariant is the stores' (see `gateway.idempotency` for this process, `ledger.durable_answers` for all of them): a
key leads to no second call that may be billed. So a key that cannot be looked up, since the database is away, is
refused. A request without the header, and one that generates nothing, passes untouched. Errors here are told in the
caller's dialect, as everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, cast

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.chat import Failed
from waypost.codecs.sse import encode_event
from waypost.errors import AnswerNotKept, ProviderError, WaypostError
from waypost.gateway.call_record import note_failure, note_kept_answer, on_answer
from waypost.gateway.idempotency import (
    KEY_HEADER,
    Fresh,
    IdempotencyStore,
    Pending,
    Replay,
    body_digest,
    replay_of,
)
from waypost.ledger.durable_answers import Claim, DurableAnswers, Headers, KeptAnswer
from waypost.server.application import ServedApplication
from waypost.server.body import off_loop_if_large, read_whole
from waypost.server.callers import caller_of
from waypost.server.disconnect import CONNECTION, CallerGone, connection_of, while_connected
from waypost.server.doors.headers import COST, request_id_header
from waypost.server.doors.table import door_at
from waypost.server.durable_reply import DURABLE
from waypost.server.envelope import envelope
from waypost.server.jsonwire import json_bytes
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import ENDS
from waypost.server.middleware.access_log import NO_REPLY
from waypost.server.middleware.boundary import Boundary
from waypost.server.middleware.headers import header_value
from waypost.server.middleware.request_id import request_id_of

GENERATE: Final = "/api/ai/generate"
"""Besides the front doors, whatever their POST is for, what answers cost."""
OF_ONE_REQUEST: Final = frozenset({b"request-id", COST.encode()})
"""Headers that say which request this is, and what it cost: a replay has an id of its own, and costs nothing."""


class Idempotent:
    """The same key and body: the same answer, once paid. Another body: 422 `idempotency_key_reused`."""

    def __init__(self, app: ASGIApp, served: ServedApplication) -> None:
        self.app = app
        # Within the recording: errors that no other try would mend belong to the answer.
        self._recorded = Boundary(app)
        self._served = served

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Take one connection of any type. Raises what is wrong with the key."""
        key = idempotency_key(scope)
        store = None if key is None else self._served.stores.idempotency
        if key is None or store is None:
            return self.app(scope, receive, send)
        return self._once(store, key, scope, receive, send)

    async def _once(self, store: IdempotencyStore, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_whole(receive)
        except ClientDisconnect:
            return
        digest = await off_loop_if_large(len(body), lambda: body_digest(body, scope["query_string"]))
        asked = _Asked(scope, key, digest, self._served.stores.answers)
        found = await asked.begin(store)
        with found:
            if isinstance(found, Fresh):
                await self._first(asked, found, body, receive, send)
            else:
                await _tell_again(found, scope, receive, send)

    async def _first(self, asked: _Asked, fresh: Fresh, body: bytes, receive: Receive, send: Send) -> None:
        """In this process it is the first request with its key; it may have been answered by another."""
        try:
            claim = await asked.claim()
        except WaypostError as error:
            fresh.refuse(error)
            raise
        if isinstance(claim, KeptAnswer):
            await _tell_again(fresh.fill(claim), asked.scope, receive, send)
            return
        recording = _Recording(fresh, claim, body, receive, send)
        on_answer(recording.note_billed)
        try:
            with fresh:
                await self._recorded(recording.scope(asked.scope), recording.receive, recording.send)
        finally:
            await asyncio.shield(recording.settle())


class _Asked:
    """One request with a key. `answers` None: this process's memory is all there is."""

    def __init__(self, scope: Scope, key: str, digest: bytes, answers: DurableAnswers | None) -> None:
        self.scope = scope
        self.answers = answers
        self._project_id = caller_of(scope).account.project_id
        self._key = key
        self._digest = digest

    async def begin(self, store: IdempotencyStore) -> Fresh | Pending | Replay:
        """What this process's memory says; what is not there any more may be in the database."""
        path = self.scope["path"]
        try:
            return store.begin(self._project_id, path, self._key, self._digest)
        except AnswerNotKept:
            if self.answers is None:
                raise
            kept = await self.answers.find(self._project_id, path, self._key, self._digest)
            if kept is None:
                raise
            return replay_of(kept)

    async def claim(self) -> Claim | KeptAnswer | None:
        """Raises what is wrong with the key, and DatabaseUnavailable."""
        if self.answers is None:
            return None
        return await self.answers.claim(self._project_id, self.scope["path"], self._key, self._digest)


def idempotency_key(scope: Scope) -> str | None:
    """The key of a request that may generate; None: it has none, or is none."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    key = header_value(scope, KEY_HEADER.encode())
    return key if key is not None and (scope["path"] == GENERATE or door_at(scope)) else None


class _Recording:
    """The first request as the application sees it: its caller stays while others wait for the answer too."""

    def __init__(self, fresh: Fresh, claim: Claim | None, body: bytes, receive: Receive, send: Send) -> None:
        self._fresh = fresh
        self._claim = claim
        self._request: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive
        self._send = send
        self._is_on = True

    def scope(self, scope: Scope) -> Scope:
        """The connection itself would say at once that the caller has gone."""
        extensions = {name: value for name, value in (scope.get("extensions") or {}).items() if name != CONNECTION}
        return {**scope, "extensions": extensions}

    def note_billed(self) -> None:
        """Somebody has begun to answer."""
        self._fresh.note_billed()
        if self._claim is not None:
            self._claim.note_billed()

    async def receive(self) -> Message:
        """The body, then that the caller has left and nobody else waits."""
        if self._request is not None:
            first, self._request = self._request, None
            return first
        gone = await self._receive()
        self._fresh.leave()
        await self._fresh.deserted()
        return gone

    async def send(self, message: Message) -> None:
        """Record it and send it. The end waits until it is written down: whoever has seen it gets the same again."""
        if message["type"] == "http.response.start":
            # That status is for the log: nobody was there to get an answer.
            self._is_on = message["status"] != NO_REPLY and not message.get(DURABLE)
            if message.get(DURABLE):
                self._fresh.release()
                await self.settle()
            if self._is_on:
                self._fresh.start(message["status"], message.get("headers", ()))
        elif self._is_on:
            self._fresh.append(message.get("body", b""))
            if message.get(ENDS) or not message.get("more_body", False):
                self._is_on = False
                self._fresh.finish()
                await self.settle()
        await self._send(message)

    async def settle(self) -> None:
        """Write down what became of it, where others can see it."""
        if self._claim is not None:
            await self._claim.settle(self._fresh.ending)


async def _tell_again(found: Pending | Replay, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        # A lifecycle that does not end: at a shutdown the first request says how its answer ends.
        await while_connected(_tell(found, scope, send), receive, Lifecycle(), connection_of(scope))
    except CallerGone:
        return


async def _tell(found: Pending | Replay, scope: Scope, send: Send) -> None:
    """Raises what keeps the answer away before its first bytes, and later where its form has no place for an error."""
    status, headers = await found.head()
    note_kept_answer(headers)
    await send({"type": "http.response.start", "status": status, "headers": _own(headers, scope)})
    try:
        async for chunk in found.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except WaypostError as error:
        if not dict(headers).get(b"content-type", b"").startswith(b"text/event-stream"):
            raise
        note_failure(error)
        await send({"type": "http.response.body", "body": _error_event(error, scope), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _own(headers: Headers, scope: Scope) -> list[tuple[bytes, bytes]]:
    """The recorded headers, with this request's id where its dialect looks for it."""
    kept = [(name, value) for name, value in headers if name.lower() not in OF_ONE_REQUEST]
    door = door_at(scope)
    own = request_id_header(door, request_id_of(scope)) if door else {}
    return [*kept, *((name.encode(), value.encode()) for name, value in own.items())]


def _error_event(error: WaypostError, scope: Scope) -> bytes:
    """As the caller's dialect ends a stream that broke."""
    door = door_at(scope)
    if door is None:
        return encode_event(json_bytes(envelope(error, request_id_of(scope))), event="error")
    return door.codec.stream_encoder(include_usage=False).encode(Failed(cast("ProviderError", error)))
