"""A body that is written already, or the part of it that a fault leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from waypost.simulator.dialect import error_for
from waypost.simulator.events import WireEvent
from waypost.simulator.exchange import Exchange
from waypost.simulator.faults import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    Fault,
    HugeAfter,
    MalformedAfter,
    SlowFirstToken,
    StallAfter,
    StreamFault,
)
from waypost.simulator.framing import JsonLines
from waypost.simulator.script import Delivery
from waypost.simulator.wire import StreamSender, padded


async def deliver(exchange: Exchange, body: bytes, fault: StreamFault | None) -> web.StreamResponse:
    """The JSON body; half of it and what comes then, if a fault says so."""
    if fault is None:
        return exchange.whole(body)
    exchange.outcome = "fault"
    half = body[: len(body) // 2]
    match fault:
        case ErrorAfter():
            error = error_for(exchange.dialect, name=fault.error, message=fault.message)
            exchange.note(status=error.status)
            return exchange.line.refuse(error)
        case MalformedAfter():
            return exchange.whole(half)
        case HugeAfter():
            return exchange.whole(padded(body, fault.size_bytes))
        case CutAfter():
            end = exchange.line.reset
        case EndAfter():
            end = exchange.line.hang_up
        case StallAfter():
            end = exchange.line.hold
    exchange.note(status=200)
    return await exchange.line.break_off(half, end, content_type=exchange.dialect.json_type, size_bytes=len(body))


async def deliver_lines(
    exchange: Exchange, lines: Sequence[bytes], content_type: str, fault: StreamFault | None
) -> web.StreamResponse:
    """Lines, each with its end; a fault counts them as it counts the events of a stream."""
    if fault is None:
        exchange.note(status=200, events_sent=len(lines))
        return exchange.line.reply(200, b"".join(lines), content_type=content_type)
    exchange.line.framing = JsonLines(content_type)
    sender = StreamSender(exchange.line, Delivery(), fault)
    reply = await exchange.line.open(content_type)
    exchange.note(status=200)
    try:
        if await sender.send(reply, (WireEvent(0.0, line) for line in lines)):
            exchange.outcome = "fault"
    finally:
        exchange.note(events_sent=sender.sent)
    return reply


async def held_back(fault: Fault | None) -> StreamFault | None:
    """What is left of a fault that may be a late answer, once that time has passed."""
    if isinstance(fault, SlowFirstToken):
        await asyncio.sleep(fault.first_token_s)
    return fault if isinstance(fault, StreamFault) else None
