"""OpenAI's Chat Completions format, both ways, and what other servers make of it.

`codec` speaks to OpenAI itself and to every caller; `compatible_codec` speaks to servers that follow the format
in part (`dialect` says where). They differ only in `encode_request`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from waypost.chat import Request, Response
from waypost.codecs.codec import DecodedRequest, Encoded, ErrorReply, ResponseSight, StreamWatch
from waypost.codecs.openai_chat import errors
from waypost.codecs.openai_chat import request as requests
from waypost.codecs.openai_chat import response as responses
from waypost.codecs.openai_chat.dialect import COMPATIBLE, FAMILY, OFFICIAL, WIRE, Dialect
from waypost.codecs.openai_chat.stream import ChatStreamDecoder
from waypost.codecs.openai_chat.stream_out import ChatStreamEncoder
from waypost.codecs.openai_chat.watch import ChatWatch
from waypost.errors import ProviderError, WaypostError

__all__ = ["COMPATIBLE", "OFFICIAL", "Dialect", "OpenAIChatCodec", "codec", "compatible_codec"]


class OpenAIChatCodec:
    """See `codecs.codec.Codec`. `clock` gives Unix seconds, for the date of an answer and for a date in Retry-After."""

    name = WIRE
    family = FAMILY

    def __init__(self, dialect: Dialect = OFFICIAL, *, clock: Callable[[], float] = time.time) -> None:
        self.dialect = dialect
        self._clock = clock

    def decode_request(self, body: bytes) -> DecodedRequest:
        """The request in a caller's body. Raises InvalidRequest, naming the place."""
        return requests.decode_request(body)

    def encode_request(self, request: Request, *, stream: bool) -> Encoded:
        """The body for a provider."""
        return requests.encode_request(request, self.dialect, stream=stream)

    def decode_response(self, body: bytes) -> Response:
        """Raises MalformedResponse, or the typed error if the body is an error after all."""
        return responses.decode_response(body)

    def encode_response(self, response: Response) -> Encoded:
        """The body of a whole answer."""
        return responses.encode_response(response, self._clock)

    def stream_decoder(self, *, choices: int = 1) -> ChatStreamDecoder:
        """A decoder for one stream of that many choices."""
        return ChatStreamDecoder(choices)

    def stream_watch(self, *, choices: int = 1) -> StreamWatch:
        """A watch over one stream that is passed on as it is."""
        return ChatWatch(choices)

    def watch_response(self, body: bytes) -> ResponseSight:
        """What a whole answer that is passed on says. Raises as `decode_response` does."""
        return responses.watch_response(body)

    def stream_encoder(self, *, include_usage: bool = True) -> ChatStreamEncoder:
        """An encoder for one stream."""
        return ChatStreamEncoder(self._clock, include_usage=include_usage)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The typed error of a reply with status >= 400, whatever its body."""
        return errors.decode_error(status, headers, body, clock=self._clock)

    def encode_error(self, error: WaypostError) -> ErrorReply:
        """The error as OpenAI writes it."""
        return errors.encode_error(error)


codec: Final = OpenAIChatCodec()
compatible_codec: Final = OpenAIChatCodec(COMPATIBLE)
