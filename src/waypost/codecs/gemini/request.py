"""Requests, both ways. The model and whether to stream stand in the URL, so that neither is in the body."""

from __future__ import annotations

from waypost.chat import Request
from waypost.codecs.codec import DecodedRequest, Encoded
from waypost.codecs.gemini.conversation import decode_conversation, encode_conversation
from waypost.codecs.gemini.parts import Encoding
from waypost.codecs.gemini.settings import decode_settings, encode_settings
from waypost.codecs.gemini.wire import Losses, Members, camel_case
from waypost.codecs.jsonbytes import JsonError, dump, parse_request
from waypost.codecs.reading import WireError, an_object
from waypost.errors import InvalidRequest


def decode_request(body: bytes) -> DecodedRequest:
    """The model is "" and the request not streamed: who knows the URL fills both in. Raises InvalidRequest."""
    try:
        return DecodedRequest(read(camel_case(an_object(parse_request(body), ""))))
    except JsonError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.") from error
    except WireError as error:
        raise InvalidRequest(str(error), param=error.path or None) from error


def read(tree: Members) -> Request:
    """The request of a decoded body. Raises WireError."""
    return decode_settings(tree, Request("", decode_conversation(tree)))


def encode_request(request: Request) -> Encoded:
    """The body to send."""
    losses = Losses()
    contents = encode_conversation(request.messages, Encoding(losses, is_request=True))
    data, repaired = dump({**contents, **encode_settings(request, losses)})
    if repaired:
        losses.repaired("messages")
    return Encoded(data, losses.found())
