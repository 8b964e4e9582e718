"""The endpoints beside conversations: lists of models and counts of tokens."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from waypost.chat import Json
from waypost.simulator.conversation import decoded
from waypost.simulator.dialect import Refused, dump
from waypost.simulator.exchange import Exchange, json_in
from waypost.simulator.tokens import count_request


async def models(exchange: Exchange) -> web.StreamResponse:
    """The list of models."""
    exchange.authenticate()
    return exchange.json(exchange.dialect.model_list(exchange.known_models()))


async def model(exchange: Exchange) -> web.StreamResponse:
    """One model."""
    exchange.authenticate()
    name = exchange.parts["model"]
    if name not in exchange.known_models():
        raise Refused(exchange.dialect.unknown_model(name))
    return exchange.json(exchange.dialect.model(name))


async def count_tokens(exchange: Exchange) -> web.StreamResponse:
    """The tokens a conversation would have as input, as Anthropic tells it."""
    exchange.authenticate()
    content = json_in(await exchange.body())
    # The codec's request has a largest number of tokens; a count has none.
    body = {"max_tokens": 1, **content} if isinstance(content, dict) else content
    count, failed = await _counted(exchange, body)
    return failed or exchange.json({"input_tokens": count})


async def count_contents(exchange: Exchange) -> web.StreamResponse:
    """The tokens of `contents`, or of a whole `generateContentRequest`, as Google tells it."""
    exchange.authenticate()
    content = json_in(await exchange.body())
    if isinstance(content, dict):
        inner = content.get("generateContentRequest") or content.get("generate_content_request") or content
        content = (
            {name: value for name, value in inner.items() if name != "model"} if isinstance(inner, dict) else inner
        )
    count, failed = await _counted(exchange, content, model=exchange.parts["model"])
    details = [{"modality": "TEXT", "tokenCount": count}]
    return failed or exchange.json({"totalTokens": count, "promptTokensDetails": details})


async def _counted(
    exchange: Exchange, body: Json, *, model: str | None = None
) -> tuple[int, web.StreamResponse | None]:
    request = decoded(exchange, dump(body)).request
    if model is not None:
        request = replace(request, model=model)
    _, fault = exchange.plan(request)
    return count_request(request), await exchange.failed(fault)
