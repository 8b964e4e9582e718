"""Endpoints about what the simulator keeps (batches, files): calls that hold no conversation.

Each is a function from the exchange and its body to the value to tell, or the lines; what all have in common, keys and
faults and how a reply breaks off, is here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web

from waypost.chat import Json
from waypost.simulator.delivery import deliver, deliver_lines, held_back
from waypost.simulator.dialect import dump
from waypost.simulator.exchange import Endpoint, Exchange


@dataclass(frozen=True, slots=True)
class Lines:
    """A file: its lines, each with its end, and what it says it is."""

    lines: Sequence[bytes]
    content_type: str


Work: TypeAlias = Callable[[Exchange, bytes], Awaitable[Json | Lines]]


def call(work: Work, *, max_bytes: int | None = None) -> Endpoint:
    """An endpoint that does the work, or fails as asked. `max_bytes`: of the body, if more than of other requests."""

    async def endpoint(exchange: Exchange) -> web.StreamResponse:
        exchange.authenticate()
        body = await exchange.body(max_bytes=max_bytes) if exchange.request.method == "POST" else b""
        fault = exchange.plan_call()
        if (reply := await exchange.failed(fault)) is not None:
            return reply
        left = await held_back(fault)
        told = await work(exchange, body)
        if isinstance(told, Lines):
            return await deliver_lines(exchange, told.lines, told.content_type, left)
        return await deliver(exchange, dump(told), left)

    return endpoint
