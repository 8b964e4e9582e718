"""Whole requests, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from waypost.chat import Json, Request
from waypost.codecs.anthropic_messages import settings
from waypost.codecs.anthropic_messages.blocks import Encoding
from waypost.codecs.anthropic_messages.conversation import decode_conversation, encode_conversation
from waypost.codecs.anthropic_messages.wire import FAMILY, Losses, keep_request_inputs
from waypost.codecs.codec import DecodedRequest, Encoded
from waypost.codecs.jsonbytes import JsonError, dump, parse_request
from waypost.codecs.reading import WireError, an_object, optional, required
from waypost.errors import InvalidRequest

NOTHING: Final[Mapping[str, Json]] = {}


def decode_request(body: bytes, defaults: Mapping[str, Json] = NOTHING) -> DecodedRequest:
    """Raises InvalidRequest, naming the field by its path. `defaults` are members for those that are absent."""
    try:
        tree = {**defaults, **an_object(parse_request(body), "")}
        keep_request_inputs(tree, body)
        return _decode(tree)
    except JsonError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.") from error
    except WireError as error:
        raise InvalidRequest(str(error), param=error.path or None) from error


def _decode(body: settings.Members) -> DecodedRequest:
    model = required(body, "model", str, "")
    if not model:
        raise WireError("model", "String should have at least 1 character")
    request = Request(
        model=model,
        messages=decode_conversation(body),
        tools=settings.decode_tools(body),
        tool_choice=settings.decode_tool_choice(body),
        sampling=settings.decode_sampling(body),
        reasoning=settings.decode_reasoning(body),
        response_format=settings.decode_response_format(body),
        end_user_id=settings.decode_end_user_id(body),
    )
    stream = optional(body, "stream", bool, "") or False
    return DecodedRequest(settings.with_options(request, body), stream=stream)


def encode_request(request: Request, *, stream: bool, default_max_tokens: int = settings.DEFAULT_MAX_TOKENS) -> Encoded:
    """The body to send. `default_max_tokens` is written where the request sets none: the format requires one."""
    losses = Losses()
    body: settings.Members = {
        "model": request.model,
        **settings.encode_sampling(request.sampling, request.reasoning, losses, default_max_tokens),
        **encode_conversation(request.messages, Encoding(losses, is_request=True)),
    }
    tools = settings.encode_tools(request.tools, losses)
    if tools:
        body["tools"] = tools
    body |= settings.encode_tool_choice(request.tool_choice, tools, losses)
    body |= settings.encode_wishes(request, losses)
    losses.foreign("provider_options", request.provider_options)
    for name, value in request.provider_options.get(FAMILY, {}).items():
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    if stream:
        body["stream"] = True
    data, repaired = dump(body)
    if repaired:
        losses.add("messages", "Halves of surrogate pairs, which are no text, were written as U+FFFD.")
    return Encoded(data, losses.found())
