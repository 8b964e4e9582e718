"""Counting a prompt's tokens at Anthropic (`/v1/messages/count_tokens`), both ways; `count_codec` is what to use.

The request is a message's without what only generating needs. Source: Anthropic API, Count tokens in a Message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from waypost.chat import Request, Sampling
from waypost.codecs.anthropic_messages import request as requests
from waypost.codecs.anthropic_messages.errors import error_of, is_error
from waypost.codecs.anthropic_messages.wire import FAMILY
from waypost.codecs.codec import CountCodec, Encoded
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.reading import WireError, an_object, required
from waypost.errors import MalformedResponse

COUNTED: Final = frozenset({
    "cache_control",
    "compaction",
    "context_management",
    "mcp_servers",
    "messages",
    "model",
    "output_config",
    "speed",
    "system",
    "thinking",
    "tool_choice",
    "tools",
})  # fmt: skip
"""What the endpoint takes of a request."""


class AnthropicCount:
    """See `codecs.codec.CountCodec`."""

    name: str = "anthropic_count_tokens"
    family: str = FAMILY

    def decode_request(self, body: bytes) -> Request:
        """The prompt to count. Raises InvalidRequest, naming the field by its path."""
        request = requests.decode_request(body, {"max_tokens": 1}).request
        return replace(request, sampling=replace(request.sampling, max_tokens=None))

    def encode_request(self, request: Request) -> Encoded:
        """The body to send; settings of generation are no loss here, for they are not counted."""
        whole = requests.encode_request(replace(request, sampling=Sampling(), end_user_id=None), stream=False)
        body = {name: value for name, value in parse_reply(whole.body).items() if name in COUNTED}
        return Encoded(dump(body)[0], whole.losses)

    def decode_response(self, body: bytes) -> int:
        """The count. Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
        try:
            answer = an_object(parse_reply(body), "")
            if is_error(answer):
                raise error_of(answer)
            return required(answer, "input_tokens", int, "")
        except JsonError as error:
            raise MalformedResponse(f"The answer is not valid JSON: {error}.") from error
        except WireError as error:
            raise MalformedResponse(f"The answer is not a count of Anthropic's: {error}.") from error

    def encode_response(self, tokens: int) -> bytes:
        """The body of an answer."""
        return dump({"input_tokens": tokens})[0]


count_codec: Final[CountCodec] = AnthropicCount()
