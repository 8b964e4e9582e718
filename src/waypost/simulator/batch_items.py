"""How the items of a batch are answered: each as an exchange of its own, by the endpoint it would have been sent to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from waypost.chat import Message, Request
from waypost.errors import RequestError
from waypost.simulator import conversation, embeddings, openai_endpoints, responses_endpoints
from waypost.simulator.anthropic_dialect import ANTHROPIC
from waypost.simulator.batched import BatchedRequest, Lost
from waypost.simulator.batches import Answer, Answering, Batch, Ended, Item
from waypost.simulator.dialect import Dialect, Refused, error_for
from waypost.simulator.exchange import FAULT_HEADER, Call, Endpoint, Exchange, json_in
from waypost.simulator.openai_dialect import OPENAI
from waypost.simulator.responses_dialect import RESPONSES
from waypost.simulator.script import BatchRule

ENDPOINTS: Final[Mapping[str, tuple[Dialect, Endpoint]]] = {
    "/v1/messages": (ANTHROPIC, conversation.chat),
    "/v1/chat/completions": (OPENAI, conversation.chat),
    "/v1/responses": (RESPONSES, responses_endpoints.respond),
    "/v1/embeddings": (OPENAI, embeddings.openai_embeddings),
    "/v1/moderations": (OPENAI, openai_endpoints.moderations),
}
"""Where an item may go."""
_NOT_THE_ITEMS: Final = ("content-", "transfer-encoding", "idempotency-key", "expect", FAULT_HEADER)
"""Beginnings of the names of headers that speak of the call that made the batch."""


def start(exchange: Exchange, batch: Batch, ended: Ended) -> None:
    """Work on a batch that the exchange has made."""
    exchange.house.batches.start(exchange.dialect.name, batch, _answering(exchange, batch.id), ended)


def rule_for(exchange: Exchange, items: tuple[Item, ...]) -> BatchRule:
    """What the script has for a batch of these."""
    return exchange.house.playbook.plan_batch(exchange.asked(_request_of(items[0]) if items else _NOTHING))


_NOTHING: Final = Request("", (Message("user", ()),))


def _request_of(item: Item) -> Request:
    """The conversation in an item; as far as it is one, for rules to look at."""
    dialect, _ = ENDPOINTS[item.path]
    try:
        return dialect.codec.decode_request(item.body).request
    except RequestError:
        content = json_in(item.body)
        model = content.get("model") if isinstance(content, Mapping) else None
        return Request(model if isinstance(model, str) else "", _NOTHING.messages)


def _answering(maker: Exchange, batch_id: str) -> Answering:
    headers = {
        name: value
        for name, value in maker.credentials.headers.items()
        if not any(name.startswith(start) for start in _NOT_THE_ITEMS)
    }
    house = maker.house

    async def answer(item: Item) -> Answer:
        request = BatchedRequest(batch_id, item.custom_id, item.path, item.body, headers)
        dialect, endpoint = ENDPOINTS[item.path]
        exchange = Exchange(request, Call(dialect, _whole(endpoint)), house)
        try:
            reply = await exchange.run()
        except Lost:
            reply = web.Response(status=500)
        return _answer(exchange, reply)

    return answer


def _whole(endpoint: Endpoint) -> Endpoint:
    """The endpoint, which refuses to stream."""

    async def endpoint_of_items(exchange: Exchange) -> web.StreamResponse:
        content = json_in(await exchange.body())
        if isinstance(content, Mapping) and content.get("stream"):
            message = "stream: streaming is not supported in batches."
            raise Refused(error_for(exchange.dialect, name="bad_request", message=message).at("stream"))
        return await endpoint(exchange)

    return endpoint_of_items


def _answer(exchange: Exchange, reply: web.StreamResponse) -> Answer:
    """What is no answer at all (half a body, a proxy's page) is the provider's own failure here."""
    request_id = exchange.line.head.request_id
    body = reply.body if isinstance(reply, web.Response) and isinstance(reply.body, bytes) else b""
    if isinstance(json_in(body), dict):
        return Answer(reply.status, body, request_id)
    error = error_for(exchange.dialect, status=reply.status if reply.status >= 400 else 500)
    return Answer(error.status, exchange.dialect.error_body(error, request_id), request_id)
