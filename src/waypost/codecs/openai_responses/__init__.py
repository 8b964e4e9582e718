"""OpenAI's Responses format, both ways. `codec` speaks to OpenAI, to servers of the same format, and to every caller.

Nothing is stored here: a request that leans on what a server keeps decodes as any other, and `needs_storage` names the
field that does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from waypost.chat import Request, Response
from waypost.codecs.codec import DecodedRequest, Encoded, ErrorReply, ResponseSight, StreamWatch
from waypost.codecs.openai_chat.errors import decode_error, encode_error
from waypost.codecs.openai_responses import request as requests
from waypost.codecs.openai_responses import response as responses
from waypost.codecs.openai_responses.request import needs_storage
from waypost.codecs.openai_responses.stream import ResponsesStreamDecoder
from waypost.codecs.openai_responses.stream_out import ResponsesStreamEncoder
from waypost.codecs.openai_responses.wire import FAMILY, WIRE
from waypost.codecs.watch import DecoderWatch, sight_of
from waypost.errors import ProviderError, WaypostError

__all__ = ["OpenAIResponsesCodec", "codec", "needs_storage"]


class OpenAIResponsesCodec:
    """See `codecs.codec.Codec`. `clock` gives Unix seconds, for the date of an answer and for a date in Retry-After."""

    name = WIRE
    family = FAMILY

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def decode_request(self, body: bytes) -> DecodedRequest:
        """The request in a caller's body. Raises InvalidRequest, naming the place."""
        return requests.decode_request(body)

    def encode_request(self, request: Request, *, stream: bool) -> Encoded:
        """The body for a provider."""
        return requests.encode_request(request, stream=stream)

    def decode_response(self, body: bytes) -> Response:
        """Raises MalformedResponse, or the typed error if the body is an error or a failed response after all."""
        return responses.decode_response(body)

    def encode_response(self, response: Response) -> Encoded:
        """The body of a whole answer."""
        return responses.encode_response(response, self._clock)

    def stream_decoder(self, *, choices: int = 1) -> ResponsesStreamDecoder:  # noqa: ARG002 - there is always one
        """A decoder for one stream."""
        return ResponsesStreamDecoder()

    def stream_watch(self, *, choices: int = 1) -> StreamWatch:  # noqa: ARG002 - there is always one
        """A watch over one stream that is passed on as it is."""
        return DecoderWatch(ResponsesStreamDecoder())

    def watch_response(self, body: bytes) -> ResponseSight:
        """What a whole answer that is passed on says. Raises as `decode_response` does."""
        return sight_of(responses.decode_response(body))

    def stream_encoder(self, *, include_usage: bool = True) -> ResponsesStreamEncoder:  # noqa: ARG002
        """An encoder for one stream. Usage is always told: its place is the response that ends the stream."""
        return ResponsesStreamEncoder(self._clock)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The typed error of a reply with status >= 400, whatever its body."""
        return decode_error(status, headers, body, clock=self._clock)

    def encode_error(self, error: WaypostError) -> ErrorReply:
        """The error as OpenAI writes it."""
        return encode_error(error)


codec: Final = OpenAIResponsesCodec()
