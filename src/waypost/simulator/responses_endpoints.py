"""OpenAI's Responses API: answers are kept unless the caller says `store: false`; to be fetched and gone on from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from aiohttp import web

from waypost.chat import Json, Message, Request, Response
from waypost.simulator.conversation import converse, decoded
from waypost.simulator.dialect import Refused, WireError
from waypost.simulator.exchange import Exchange, json_in
from waypost.simulator.responses_dialect import ID_LENGTH
from waypost.simulator.stored import Stored
from waypost.simulator.tokens import count_request, count_tokens

_REQUEST: Final = "invalid_request_error"


async def respond(exchange: Exchange) -> web.StreamResponse:
    """`POST /v1/responses`."""
    exchange.authenticate()
    body = await exchange.body()
    asked = decoded(exchange, body)
    content = json_in(body)
    content = content if isinstance(content, Mapping) else {}
    _refuse_unknown_thoughts(exchange, content)
    request = _continued(exchange, asked.request, content.get("previous_response_id"))

    def keep(response: Response, encoded: bytes) -> None:
        if content.get("store") is not False:
            said = Message("assistant", response.choices[0].parts)
            spoken = request.messages[1:] if content.get("instructions") else request.messages
            exchange.stored.keep(response.id, Stored(encoded, (*spoken, said)))

    return await converse(exchange, replace(asked, request=request), body, keep)


def _refuse_unknown_thoughts(exchange: Exchange, content: Mapping[str, Json]) -> None:
    """Reasoning that is not encrypted must be stored here. Raises Refused."""
    items = content.get("input")
    for item in items if isinstance(items, list) else ():
        is_thought = isinstance(item, Mapping) and item.get("type") == "reasoning" and not item.get("encrypted_content")
        if is_thought and not exchange.stored.knows_item(str(item.get("id"))):
            message = (
                f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. "
                "Try again with `store` set to true, or remove this item from your input."
            )
            raise Refused(WireError(404, _REQUEST, message, param="input"))


def _continued(exchange: Exchange, request: Request, previous: Json) -> Request:
    """The request with the conversation it goes on from; its own instructions stay first. Raises Refused."""
    if previous is None:
        return request
    stored = exchange.stored.find(str(previous))
    if stored is None:
        message = f"Previous response with id '{previous}' not found."
        code = "previous_response_not_found"
        raise Refused(WireError(400, _REQUEST, message, code=code, param="previous_response_id"))
    at = 1 if request.messages and request.messages[0].role == "system" else 0
    return replace(request, messages=(*request.messages[:at], *stored.messages, *request.messages[at:]))


async def compact(exchange: Exchange) -> web.StreamResponse:
    """`POST /v1/responses/compact`: what users said, and an item that stands for all the rest."""
    exchange.authenticate()
    body = await exchange.body()
    request = decoded(exchange, body).request
    _, fault = exchange.plan(request)
    if (reply := await exchange.failed(fault)) is not None:
        return reply
    said = [message.text for message in request.messages if message.role == "user"]
    kept: list[Json] = [
        {
            "id": exchange.ids.hexadecimal("msg_", ID_LENGTH, number),
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": text}],
        }
        for number, text in enumerate(said)
    ]
    sealed = exchange.ids.make("gAAAAA", 58)
    item = {"id": exchange.ids.hexadecimal("cmp_", ID_LENGTH), "type": "compaction", "encrypted_content": sealed}
    read, written = count_request(request), count_tokens(sealed)
    return exchange.json({
        "id": exchange.dialect.response_id(exchange.ids),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [*kept, item],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
    })  # fmt: skip


async def fetch(exchange: Exchange) -> web.StreamResponse:
    """`GET /v1/responses/{id}`."""
    exchange.authenticate()
    stored = exchange.stored.find(exchange.parts["id"])
    if stored is None:
        raise _not_found(exchange)
    return exchange.whole(stored.body)


async def delete(exchange: Exchange) -> web.StreamResponse:
    """`DELETE /v1/responses/{id}`."""
    exchange.authenticate()
    response_id = exchange.parts["id"]
    if not exchange.stored.forget(response_id):
        raise _not_found(exchange)
    return exchange.json({"id": response_id, "object": "response", "deleted": True})


def _not_found(exchange: Exchange) -> Refused:
    return Refused(WireError(404, _REQUEST, f"Response with id '{exchange.parts['id']}' not found."))
