"""Requests, both ways. What only this format knows goes through `provider_options` unchanged."""

from __future__ import annotations

from typing import Final

from waypost.chat import Json, Request, ServerTool
from waypost.codecs.codec import DecodedRequest, Encoded
from waypost.codecs.jsonbytes import JsonError, dump, parse_request
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_chat.settings import end_user
from waypost.codecs.openai_responses import settings
from waypost.codecs.openai_responses.conversation import INPUT_ELSEWHERE, decode_conversation, encode_conversation
from waypost.codecs.openai_responses.wire import FAMILY, OWN, REPAIRED, WIRE, Losses
from waypost.errors import InvalidRequest

TRANSFER_FIELDS: Final = frozenset({"model", "input", "instructions", "stream"})
"""What provider options may not replace."""


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
    stream = fields.flag_or_none("stream") or False
    options: dict[str, Json] = {}
    request = Request(
        model=model,
        messages=decode_conversation(fields, input_elsewhere=any(value.get(name) for name in INPUT_ELSEWHERE)),
        tools=settings.decode_tools(fields),
        tool_choice=settings.decode_tool_choice(fields, options),
        sampling=settings.decode_sampling(fields),
        reasoning=settings.decode_reasoning(fields, options),
        response_format=settings.decode_text(fields, options),
        end_user_id=end_user(fields, options),
        provider_options=settings.split_options({**options, **fields.rest()}),
    )
    return DecodedRequest(request, stream)


def encode_request(request: Request, *, stream: bool) -> Encoded:
    """The body for a provider, and what it could not carry."""
    losses = Losses()
    body: dict[str, Json] = {
        "model": request.model,
        **encode_conversation(request.messages, losses),
        **settings.encode_tools(request, losses),
        **settings.encode_sampling(request.sampling, losses),
        **settings.encode_reasoning(request.reasoning, losses),
        **settings.encode_response_format(request.response_format),
    }
    if request.end_user_id is not None:
        body["safety_identifier"] = request.end_user_id
    for name, value in settings.joined_options(request, losses).items():
        if name == "stream_options" and not stream:
            continue  # refused where nothing is streamed
        if name in ("text", "reasoning") and isinstance(value, dict):
            body[name] = {**body.get(name, {}), **value}
        elif name not in TRANSFER_FIELDS:
            body[name] = value
    if stream:
        body["stream"] = True
    wire, repaired = dump(body)
    if repaired:
        losses.add(*REPAIRED)
    return Encoded(wire, losses.listed())


def needs_storage(request: Request) -> str | None:
    """The field by which the request leans on what a server keeps between calls, None if it does not.

    `store` is no such field: it is a wish, and an answer is whole without it.
    """
    options = {**request.provider_options.get(FAMILY, {}), **request.provider_options.get(OWN, {})}
    for name in ("previous_response_id", "conversation", "background"):
        if options.get(name):
            return name
    parts = (part for message in request.messages for part in message.parts)
    references = (part for part in parts if isinstance(part, ServerTool) and part.wire == WIRE)
    return "item_reference" if any(part.data.get("type") == "item_reference" for part in references) else None
