"""The endpoints that answer a conversation, whole or streamed, or fail as asked: one for each way to name the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from aiohttp import web

from waypost.chat import Response
from waypost.codecs.codec import DecodedRequest, Loss
from waypost.errors import RequestError
from waypost.simulator.answers import answer, is_invented
from waypost.simulator.delivery import deliver
from waypost.simulator.details import with_details
from waypost.simulator.dialect import Context, Refused, dump, error_for
from waypost.simulator.events import duration_s, wire_events
from waypost.simulator.exchange import Exchange, json_in
from waypost.simulator.faults import Fault, RefusePrefill, ReplyLost, SlowFirstToken, StreamFault
from waypost.simulator.framing import JSON_ARRAY
from waypost.simulator.prefill import prefill_of
from waypost.simulator.script import Plan
from waypost.simulator.wire import StreamSender

PREFILL_REFUSED: Final = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)
TRAILING_SPACE: Final = "messages: final assistant content cannot end with trailing whitespace"


async def chat(exchange: Exchange) -> web.StreamResponse:
    """Everything stands in the body."""
    exchange.authenticate()
    body = await exchange.body()
    return await converse(exchange, decoded(exchange, body), body)


async def deployed_chat(exchange: Exchange) -> web.StreamResponse:
    """The model stands in the path, the rest in the body, which may leave the model out."""
    exchange.authenticate()
    body = await exchange.body()
    content = json_in(body)
    if isinstance(content, dict):
        body = dump({**content, "model": exchange.parts["model"]})
    return await converse(exchange, decoded(exchange, body), body)


async def azure_chat(exchange: Exchange) -> web.StreamResponse:
    """As `deployed_chat`, with the version of the API in the query, without which there is no such path."""
    if not exchange.request.query.get("api-version"):
        raise Refused(exchange.dialect.unknown_path(exchange.request.method, exchange.request.path))
    return await deployed_chat(exchange)


async def generate(exchange: Exchange) -> web.StreamResponse:
    """The model and whether to stream stand in the path, and how to stream in the query."""
    streamed = exchange.parts["method"] == "streamGenerateContent"
    if streamed and exchange.request.query.get("alt") != "sse":
        exchange.line.framing = JSON_ARRAY
    exchange.authenticate()
    body = await exchange.body()
    told = decoded(exchange, body)
    request = replace(told.request, model=exchange.parts["model"])
    return await converse(exchange, replace(told, request=request, stream=streamed), body)


def decoded(exchange: Exchange, body: bytes) -> DecodedRequest:
    """The request in the body. Raises Refused."""
    try:
        return exchange.dialect.codec.decode_request(body)
    except RequestError as error:
        raise exchange.refusal(error) from error


async def converse(
    exchange: Exchange, asked: DecodedRequest, body: bytes, keep: Callable[[Response, bytes], None] | None = None
) -> web.StreamResponse:
    """Answer, or fail as asked. `keep` is given the answer and its body before anything is sent. Raises Refused."""
    plan, fault = exchange.plan(asked.request, streamed=asked.stream)
    if (reply := await exchange.failed(fault)) is not None:
        return reply
    _check_prefill(exchange, asked, plan, fault)
    if isinstance(fault, SlowFirstToken):
        plan = replace(plan, pacing=replace(plan.pacing, first_token_s=fault.first_token_s))
    content = json_in(body)
    invented = is_invented(plan.reply)
    context = Context(asked.request, content if isinstance(content, Mapping) else {}, invented)
    try:
        response = answer(context, plan, exchange.dialect, exchange.ids, created=int(time.time()))
    except RequestError as error:
        raise exchange.refusal(error) from error
    if keep is not None:
        keep(response, exchange.dialect.codec.encode_response(response).body)
    if isinstance(fault, ReplyLost):
        return web.Response()
    left = fault if isinstance(fault, StreamFault) else None
    return await (
        _streamed(exchange, asked, response, plan, left) if asked.stream else _whole(exchange, response, plan, left)
    )


def _check_prefill(exchange: Exchange, asked: DecodedRequest, plan: Plan, fault: Fault | None) -> None:
    prefill = prefill_of(asked.request)
    if prefill is None:
        return
    manner = plan.reply.prefill or exchange.dialect.prefill
    told = None
    if manner == "refuse" or isinstance(fault, RefusePrefill):
        told = PREFILL_REFUSED
    elif exchange.dialect.prefill == "continue" and prefill != prefill.rstrip():
        # The provider that continues refuses this, which whoever resumes a broken answer has to know.
        told = TRAILING_SPACE
    if told is not None:
        raise Refused(error_for(exchange.dialect, name="bad_request", message=told))


async def _streamed(
    exchange: Exchange, asked: DecodedRequest, response: Response, plan: Plan, fault: StreamFault | None
) -> web.StreamResponse:
    encoder = exchange.dialect.codec.stream_encoder(include_usage=asked.include_usage)
    events = wire_events(response, encoder, plan.pacing, exchange.dialect)
    sender = StreamSender(exchange.line, plan.delivery, fault)
    reply = await exchange.line.open(exchange.line.framing.content_type)
    exchange.note(status=200)
    try:
        if await sender.send(reply, events):
            exchange.outcome = "fault"
    finally:
        exchange.note(events_sent=sender.sent, losses=_told(encoder.losses))
    return reply


async def _whole(exchange: Exchange, response: Response, plan: Plan, fault: StreamFault | None) -> web.StreamResponse:
    encoded = exchange.dialect.codec.encode_response(response)
    body = with_details(encoded.body, response, exchange.dialect.details)
    exchange.note(losses=_told(encoded.losses))
    await asyncio.sleep(duration_s(response, plan.pacing))
    return await deliver(exchange, body, fault)


def _told(losses: Sequence[Loss]) -> tuple[str, ...]:
    return tuple(f"{loss.what}: {loss.why}" for loss in losses)
