"""One request, from its head to its end: who asks, what is planned for it, how it ended; all of it in the ledger.

Not what is answered: that is the endpoint's (`conversation`, `endpoints`), which gets the exchange to work with.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

from waypost.chat import Json, Request
from waypost.errors import ConfigurationError, WaypostError
from waypost.simulator.batched import BatchedLine, BatchedRequest
from waypost.simulator.batches import BatchStore
from waypost.simulator.credentials import Credentials, key_hash
from waypost.simulator.dialect import MODELS, Dialect, Head, Ids, Refused, dump, error_for
from waypost.simulator.faults import (
    Fault,
    NamedError,
    ReplyLost,
    ResetBeforeHeaders,
    Silence,
    StatusFault,
    WrongType,
    fault_of_model,
    kind_of,
)
from waypost.simulator.files import FileStore
from waypost.simulator.ledger import MAX_KEPT_BODY_BYTES, Ledger, Outcome
from waypost.simulator.limiter import Limiter
from waypost.simulator.loading import fault_from
from waypost.simulator.script import Asked, Plan, Playbook
from waypost.simulator.stored import ResponseStore
from waypost.simulator.tokens import count_request
from waypost.simulator.wire import Line, SocketLine, fault_reply

FAULT_HEADER: Final = "x-waypost-simulate"


@dataclass(frozen=True, slots=True)
class Call:
    """Where a request goes. `parts` are the variable parts of its path."""

    dialect: Dialect
    endpoint: Endpoint
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class House:
    """What all exchanges of one simulator share."""

    playbook: Playbook
    ledger: Ledger
    closing: asyncio.Event
    stored: ResponseStore
    limiter: Limiter
    batches: BatchStore
    files: FileStore


class Exchange:
    """One request in one dialect, and the reply to it. One out of a batch is answered as any other."""

    def __init__(self, request: web.Request | BatchedRequest, call: Call, house: House) -> None:
        self.request = request
        self.dialect = call.dialect
        self.parts = call.parts
        self.outcome: Outcome = "completed"
        self.house = house
        self.stored = house.stored
        self._endpoint = call.endpoint
        self._is_lost = False
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.credentials = Credentials(headers, request.query)
        self.number = house.ledger.open(request.method, request.path, headers, _client_address(request))
        self.ids = Ids(house.playbook.script.seed, self.number)
        head = Head(call.dialect.request_id(self.ids), self.number)
        self.line: Line
        if isinstance(request, BatchedRequest):
            self.line = BatchedLine(call.dialect, head, house.closing)
            self.note(batch_id=request.batch_id, custom_id=request.custom_id)
        else:
            self.line = SocketLine(request, call.dialect, head, house.closing)
        self.note(dialect=call.dialect.name, key_hash=key_hash(call.dialect.key(self.credentials)))

    async def run(self) -> web.StreamResponse:
        """Serve the request and close its entry in the ledger, however it ends."""
        try:
            reply = await self._endpoint(self)
            return await self._lose() if self._is_lost else reply
        except Refused as refused:
            self.outcome = "refused"
            self.note(status=refused.error.status)
            return self.line.refuse(refused.error)
        except (asyncio.CancelledError, ConnectionError):
            self.outcome = "stopped" if self._is_batched else "client_closed"
            raise
        finally:
            stopped = self.house.closing.is_set() and self.outcome in ("client_closed", "fault")
            self.house.ledger.close(self.number, "stopped" if stopped else self.outcome)

    def authenticate(self) -> None:
        """Raises Refused."""
        self.dialect.authenticate(self.credentials)

    async def body(self, *, max_bytes: int | None = None) -> bytes:
        """The request's body, in the ledger too if it is short JSON. Raises Refused.

        `max_bytes`: the largest there may be, if not the one of all requests.
        """
        request = self.request
        if max_bytes is not None and isinstance(request, web.Request):
            if (request.content_length or 0) > max_bytes:
                raise Refused(error_for(self.dialect, name="too_large"))
            request = request.clone(client_max_size=max_bytes)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise Refused(error_for(self.dialect, name="too_large")) from error
        self.note(body_sha256=hashlib.sha256(body).hexdigest())
        if len(body) <= MAX_KEPT_BODY_BYTES:
            self.note(body=json_in(body))
        return body

    def plan(self, request: Request, *, streamed: bool = False) -> tuple[Plan, Fault | None]:
        """What the script has for the request, and the fault: the header's, else the rule's, else the model's.

        Raises Refused for a fault that is none, and for a model that is not known.
        """
        self.note(model=request.model, streamed=streamed)
        asked_fault = self._asked_fault() or self._over_limit(request)
        plan = self.house.playbook.plan(self.asked(request, streamed=streamed))
        fault = asked_fault or plan.fault or fault_of_model(request.model)
        self._take(plan, fault)
        if fault is None:
            self._check_model(request.model)
        return plan, fault

    def plan_call(self) -> Fault | None:
        """The fault for a call about batches or files: the header's, else the one of a rule that names the path.

        Raises Refused for a fault that is none.
        """
        asked_fault = self._asked_fault()
        plan = self.house.playbook.plan(self.asked(None))
        fault = asked_fault or plan.fault
        self._take(plan, fault)
        return fault

    def asked(self, request: Request | None, *, streamed: bool = False) -> Asked:
        """What the script's rules look at."""
        return Asked(
            request,
            self.dialect.name,
            streamed=streamed,
            path=self.request.path,
            key=self.dialect.key(self.credentials),
            headers=self.credentials.headers,
            method=self.request.method,
            batched=self._is_batched,
        )

    def _take(self, plan: Plan, fault: Fault | None) -> None:
        self.note(rule=plan.number, fault=kind_of(fault) if fault else None)
        if isinstance(fault, WrongType):
            self.outcome = "fault"
            self.line.content_type = fault.content_type
        self._is_lost = isinstance(fault, ReplyLost)

    async def failed(self, fault: Fault | None) -> web.StreamResponse | None:
        """The faults that leave no answer; None: there is to be one."""
        match fault:
            case StatusFault() | NamedError():
                self.outcome = "fault"
                reply = fault_reply(self.line, fault)
                self.note(status=reply.status, retry_after_s=fault.retry_after_s)
                return reply
            case ResetBeforeHeaders():
                self.outcome = "fault"
                await self.line.reset()
            case Silence():
                self.outcome = "fault"
                await self.line.hold()
            case _:
                return None
        return web.Response()

    def known_models(self) -> tuple[str, ...]:
        """The models there are."""
        return self.house.playbook.script.models or MODELS

    def json(self, value: Json) -> web.Response:
        """A good reply."""
        return self.whole(dump(value))

    def whole(self, body: bytes) -> web.Response:
        """A good reply that is written already."""
        self.note(status=200)
        return self.line.reply(200, body)

    def refusal(self, error: WaypostError) -> Refused:
        """The error as the provider's own for a bad request."""
        told = error_for(self.dialect, name="bad_request", message=str(error))
        return Refused(replace(told, param=getattr(error, "param", None)))

    def note(self, **known: object) -> None:
        """Add to the ledger's entry."""
        self.house.ledger.note(self.number, **known)

    async def _lose(self) -> web.StreamResponse:
        """All was done as asked, and nobody is told."""
        self.outcome = "fault"
        self.note(status=None)
        await self.line.reset()
        return web.Response()

    @property
    def _is_batched(self) -> bool:
        return isinstance(self.request, BatchedRequest)

    def _asked_fault(self) -> Fault | None:
        header = self.credentials.headers.get(FAULT_HEADER)
        if header is None:
            return None
        try:
            return fault_from(json_in(header), source=f"header {FAULT_HEADER}")
        except ConfigurationError as error:
            raise self.refusal(error) from error

    def _over_limit(self, request: Request) -> Fault | None:
        """What is over the limit of a key is refused before the script has a say."""
        limits = self.house.playbook.script.limits
        # Batches have limits of their own, and do not use up those of single requests.
        if limits is None or self._is_batched:
            return None
        tokens = count_request(request) + (request.sampling.max_tokens or 0)
        own = key_hash(self.dialect.key(self.credentials))
        wait_s = self.house.limiter.wait_s(own, tokens, limits)
        return None if wait_s is None else NamedError("rate_limit", retry_after_s=max(1, math.ceil(wait_s)))

    def _check_model(self, model: str) -> None:
        known = self.house.playbook.script.models
        if known and model not in known:
            raise Refused(self.dialect.unknown_model(model))


Endpoint: TypeAlias = Callable[[Exchange], Awaitable[web.StreamResponse]]


async def unknown_path(exchange: Exchange) -> web.StreamResponse:
    """No endpoint."""
    raise Refused(exchange.dialect.unknown_path(exchange.request.method, exchange.request.path))


async def wrong_method(exchange: Exchange) -> web.StreamResponse:
    """An endpoint, under another method."""
    message = f"Method {exchange.request.method} is not allowed here."
    raise Refused(error_for(exchange.dialect, status=405, name="bad_request", message=message))


def json_in(data: bytes | str) -> Json:
    """The JSON value; None if it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _client_address(request: web.Request | BatchedRequest) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return f"{peer[0]}:{peer[1]}" if peer else ""
