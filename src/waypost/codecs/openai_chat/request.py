"""Requests, both ways. What only this format knows goes through `provider_options["openai"]` unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from waypost.chat import Json, Message, Request
from waypost.codecs.codec import DecodedRequest, Encoded
from waypost.codecs.custom_tools import NOTE, functions_only
from waypost.codecs.jsonbytes import JsonError, dump, parse_request
from waypost.codecs.openai_chat import settings
from waypost.codecs.openai_chat.dialect import FAMILY, Dialect, Losses
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_chat.messages import LEGACY_HINT, decode_messages, encode_messages
from waypost.errors import InvalidRequest

TRANSFER_FIELDS: Final = frozenset({"model", "messages", "stream"})
"""What provider options may not replace."""

REPAIRED: Final = ("lone surrogates", "text that is not valid Unicode was sent as U+FFFD")


def decode_request(body: bytes) -> DecodedRequest:
    """The request in a caller's body. Raises InvalidRequest, naming the place."""
    try:
        value = parse_request(body)
    except JsonError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    fields = Fields(value)
    model = fields.text("model")
    if not model:
        refuse("model", "must not be empty")
    messages = fields.array_or_none("messages")
    if not messages:
        refuse("messages", "must be a list with at least one message")
    for name in ("functions", "function_call"):
        if fields.take(name) is not None:
            refuse(name, "is not supported", hint=LEGACY_HINT)
    stream = fields.flag_or_none("stream") or False
    options: dict[str, Json] = {}
    include_usage = _stream_options(fields, options)
    request = Request(
        model=model,
        messages=decode_messages(messages),
        tools=settings.decode_tools(fields),
        tool_choice=settings.decode_tool_choice(fields, options),
        sampling=settings.decode_sampling(fields),
        reasoning=settings.decode_reasoning(fields),
        response_format=settings.decode_response_format(fields, options),
        end_user_id=settings.end_user(fields, options),
        provider_options=_with_rest(options, fields),
    )
    return DecodedRequest(request, stream, include_usage)


def _stream_options(fields: Fields, options: dict[str, Json]) -> bool:
    """Was usage asked for? What else there is goes to `options`."""
    if fields.take("stream_options") is None:
        return False
    inner = fields.inner("stream_options")
    include_usage = inner.flag_or_none("include_usage") or False
    if rest := inner.rest():
        options["stream_options"] = rest
    return include_usage


def _with_rest(options: dict[str, Json], fields: Fields) -> dict[str, dict[str, Json]]:
    together = {**options, **fields.rest()}
    return {FAMILY: together} if together else {}


def _known_calls(messages: Sequence[Message], dialect: Dialect, losses: Losses) -> Sequence[Message]:
    """The conversation with calls of the kinds that the server knows."""
    known = messages if dialect.custom_tools else functions_only(messages)
    if any(kept is not given for kept, given in zip(known, messages, strict=True)):
        losses.add("ToolCall.kind", NOTE)
    return known


def encode_request(request: Request, dialect: Dialect, *, stream: bool) -> Encoded:
    """The body for a provider, and what it could not carry. A stream's usage is always asked for."""
    losses = Losses()
    options = settings.own_options(request, losses)
    stream_options = options.pop("stream_options", {})
    body: dict[str, Json] = {
        "model": request.model,
        "messages": encode_messages(_known_calls(request.messages, dialect, losses), dialect, losses),
        **settings.encode_tools(request, dialect, losses),
        **settings.encode_sampling(request.sampling, dialect, losses),
        **settings.encode_reasoning(request.reasoning, losses),
        **settings.encode_response_format(request.response_format),
    }
    if request.end_user_id is not None:
        body[dialect.end_user_field] = request.end_user_id
    body.update((name, value) for name, value in options.items() if name not in TRANSFER_FIELDS)
    if stream:
        body["stream"] = True
        body["stream_options"] = {**(stream_options or {}), "include_usage": True}
    wire, repaired = dump(body)
    if repaired:
        losses.add(*REPAIRED)
    return Encoded(wire, losses.listed())
