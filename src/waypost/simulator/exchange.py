"""One request, from its head to its end: checked as the real provider would, planned, answered, put in the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import msgspec
from aiohttp import web

from waypost.chat import Json, Response
from waypost.codecs.codec import DecodedRequest, Loss
from waypost.errors import ConfigurationError, RequestError, WaypostError
from waypost.simulator.answers import answer
from waypost.simulator.dialect import MODELS, Dialect, Ids, Refused, WireError, dump, error_for
from waypost.simulator.events import duration_s, wire_events
from waypost.simulator.faults import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    Fault,
    MalformedAfter,
    ResetBeforeHeaders,
    Silence,
    StallAfter,
    StatusFault,
    StreamFault,
    fault_of_model,
    kind_of,
)
from waypost.simulator.ledger import MAX_KEPT_BODY_BYTES, Ledger, Outcome
from waypost.simulator.loading import fault_from
from waypost.simulator.script import Plan, Playbook
from waypost.simulator.tokens import count_request
from waypost.simulator.wire import EVENT_STREAM_TYPE, JSON_TYPE, Line, StreamSender, error_reply, status_reply

FAULT_HEADER = "x-waypost-simulate"


class Exchange:
    """Answers one request in one dialect."""

    def __init__(
        self, request: web.Request, dialect: Dialect, playbook: Playbook, ledger: Ledger, closing: asyncio.Event
    ) -> None:
        self._request = request
        self._dialect = dialect
        self._playbook = playbook
        self._ledger = ledger
        self._closing = closing
        self._headers = {name.lower(): value for name, value in request.headers.items()}
        self._number = ledger.open(request.method, request.path, self._headers, _client_address(request))
        self._ids = Ids(playbook.script.seed, self._number)
        self._request_id = self._ids.make("req_01", 22)
        self._line = Line(request, {dialect.request_id_header: self._request_id}, closing)
        self._outcome: Outcome = "completed"
        self._note(dialect=dialect.name)

    async def run(self, endpoint: Endpoint) -> web.StreamResponse:
        """Serve the request by the endpoint and close its entry in the ledger, however it ends."""
        try:
            return await endpoint(self)
        except Refused as refused:
            self._outcome = "refused"
            self._note(status=refused.error.status)
            return error_reply(self._line, self._dialect, refused.error, self._request_id)
        except (asyncio.CancelledError, ConnectionError):
            self._outcome = "client_closed"
            raise
        finally:
            stopped = self._closing.is_set() and self._outcome in ("client_closed", "fault")
            self._ledger.close(self._number, "stopped" if stopped else self._outcome)

    async def chat(self) -> web.StreamResponse:
        """Answer a conversation, whole or streamed, or fail as asked."""
        self._dialect.authenticate(self._headers)
        decoded = self._decoded(await self._body())
        self._note(model=decoded.request.model, streamed=decoded.stream)
        fault = self._asked_fault()
        plan = self._playbook.plan(decoded.request, self._dialect.name, streamed=decoded.stream, headers=self._headers)
        fault = fault or plan.fault or fault_of_model(decoded.request.model)
        self._note(rule=plan.number, fault=kind_of(fault) if fault else None)
        if fault is None:
            self._check_model(decoded.request.model)
        return await self._failed(fault) or await self._answered(decoded, plan, fault)

    async def models(self) -> web.StreamResponse:
        """The list of models."""
        self._dialect.authenticate(self._headers)
        return self._json(dump(self._dialect.model_list(self._known_models())))

    async def model(self) -> web.StreamResponse:
        """One model."""
        self._dialect.authenticate(self._headers)
        name = self._request.path.removeprefix("/v1/models/")
        if name not in self._known_models():
            raise Refused(self._dialect.unknown_model(name))
        return self._json(dump(self._dialect.model(name)))

    async def count_tokens(self) -> web.StreamResponse:
        """The tokens a conversation would have as input."""
        self._dialect.authenticate(self._headers)
        body = await self._body()
        content = _json_in(body)
        if isinstance(content, dict):
            # The codec's request has a largest number of tokens; a count has none.
            body = dump({"max_tokens": 1, **content})
        request = self._decoded(body).request
        self._note(model=request.model)
        return self._json(dump({"input_tokens": count_request(request)}))

    async def unknown_path(self) -> web.StreamResponse:
        """No endpoint."""
        raise Refused(self._dialect.unknown_path(self._request.method, self._request.path))

    async def wrong_method(self) -> web.StreamResponse:
        """An endpoint, under another method."""
        raise Refused(WireError(405, "invalid_request_error", f"Method {self._request.method} is not allowed here."))

    async def _body(self) -> bytes:
        try:
            body = await self._request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise Refused(error_for(self._dialect, name="too_large")) from error
        if len(body) <= MAX_KEPT_BODY_BYTES:
            self._note(body=_json_in(body))
        return body

    def _decoded(self, body: bytes) -> DecodedRequest:
        try:
            return self._dialect.codec.decode_request(body)
        except RequestError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: WaypostError) -> Refused:
        told = error_for(self._dialect, name="bad_request", message=str(error))
        return Refused(replace(told, param=getattr(error, "param", None)))

    def _asked_fault(self) -> Fault | None:
        header = self._headers.get(FAULT_HEADER)
        if header is None:
            return None
        try:
            return fault_from(_json_in(header), source=f"header {FAULT_HEADER}")
        except ConfigurationError as error:
            raise self._refusal(error) from error

    def _known_models(self) -> tuple[str, ...]:
        return self._playbook.script.models or MODELS

    def _check_model(self, model: str) -> None:
        known = self._playbook.script.models
        if known and model not in known:
            raise Refused(self._dialect.unknown_model(model))

    async def _failed(self, fault: Fault | None) -> web.StreamResponse | None:
        """The faults that leave no answer; None: there is to be one."""
        match fault:
            case StatusFault():
                self._note(status=fault.status)
                self._outcome = "fault"
                return status_reply(self._line, self._dialect, fault, self._request_id)
            case ResetBeforeHeaders():
                self._outcome = "fault"
                await self._line.reset()
            case Silence():
                self._outcome = "fault"
                await self._line.hold()
            case _:
                return None
        return web.Response()

    async def _answered(self, decoded: DecodedRequest, plan: Plan, fault: Fault | None) -> web.StreamResponse:
        try:
            response = answer(decoded.request, plan, self._dialect, self._ids, created=int(time.time()))
        except RequestError as error:
            raise self._refusal(error) from error
        left = fault if isinstance(fault, StreamFault) else None
        if decoded.stream:
            return await self._streamed(decoded, response, plan, left)
        return await self._whole(response, plan, left)

    async def _streamed(
        self, decoded: DecodedRequest, response: Response, plan: Plan, fault: StreamFault | None
    ) -> web.StreamResponse:
        encoder = self._dialect.codec.stream_encoder(include_usage=decoded.include_usage)
        first_usage = self._dialect.first_usage(response.usage)
        events = wire_events(response, encoder, plan.pacing, first_usage=first_usage, ping=self._dialect.ping)
        sender = StreamSender(self._line, self._dialect, plan.delivery, fault, self._request_id)
        reply = await self._line.open(EVENT_STREAM_TYPE, extra={"cache-control": "no-cache"})
        self._note(status=200)
        try:
            if await sender.send(reply, events):
                self._outcome = "fault"
        finally:
            self._note(events_sent=sender.sent, losses=_told(encoder.losses))
        return reply

    async def _whole(self, response: Response, plan: Plan, fault: StreamFault | None) -> web.StreamResponse:
        encoded = self._dialect.codec.encode_response(response)
        self._note(losses=_told(encoded.losses))
        await asyncio.sleep(duration_s(response, plan.pacing))
        if fault is None:
            return self._json(encoded.body)
        self._outcome = "fault"
        half = encoded.body[: len(encoded.body) // 2]
        match fault:
            case ErrorAfter():
                error = error_for(self._dialect, name=fault.error, message=fault.message)
                self._note(status=error.status)
                return error_reply(self._line, self._dialect, error, self._request_id)
            case MalformedAfter():
                return self._json(half)
            case CutAfter():
                end = self._line.reset
            case EndAfter():
                end = self._line.hang_up
            case StallAfter():
                end = self._line.hold
        reply = await self._line.open(JSON_TYPE, size_bytes=len(encoded.body))
        self._note(status=200)
        await reply.write(half)
        await end()
        return reply

    def _json(self, body: bytes) -> web.Response:
        self._note(status=200)
        return self._line.reply(200, body)

    def _note(self, **known: object) -> None:
        self._ledger.note(self._number, **known)


Endpoint: TypeAlias = Callable[[Exchange], Awaitable[web.StreamResponse]]


def _told(losses: Sequence[Loss]) -> tuple[str, ...]:
    return tuple(f"{loss.what}: {loss.why}" for loss in losses)


def _json_in(data: bytes | str) -> Json:
    """The JSON value; None if it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _client_address(request: web.Request) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return f"{peer[0]}:{peer[1]}" if peer else ""
