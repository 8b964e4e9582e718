"""Counting a prompt's tokens at OpenAI (`/v1/responses/input_tokens`), both ways; `count_codec` is what to use.

The request is a response's without what only generating needs. Source: openai-python, InputTokenCountParams.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from waypost.chat import Request, Sampling
from waypost.codecs.codec import CountCodec, Encoded
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.openai_chat.errors import error_in_body
from waypost.codecs.openai_chat.fields import Fields
from waypost.codecs.openai_responses import request as requests
from waypost.codecs.openai_responses.wire import FAMILY
from waypost.errors import InvalidRequest, MalformedResponse

COUNTED: Final = frozenset({
    "conversation",
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "personality",
    "previous_response_id",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "truncation",
})  # fmt: skip
"""What the endpoint takes of a request."""


class ResponsesCount:
    """See `codecs.codec.CountCodec`."""

    name = "openai_input_tokens"
    family = FAMILY

    def decode_request(self, body: bytes) -> Request:
        """The prompt to count. Raises InvalidRequest, naming the place; a model is wanted, unlike at OpenAI's."""
        return requests.decode_request(body).request

    def encode_request(self, request: Request) -> Encoded:
        """The body to send; settings of generation are no loss here, for they are not counted."""
        whole = requests.encode_request(replace(request, sampling=Sampling(), end_user_id=None), stream=False)
        body = {name: value for name, value in parse_reply(whole.body).items() if name in COUNTED}
        return Encoded(dump(body)[0], whole.losses)

    def decode_response(self, body: bytes) -> int:
        """The count. Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
        try:
            value = parse_reply(body)
            if isinstance(value, dict) and (told := error_in_body(value)) is not None:
                raise told
            tokens = Fields(value).integer_or_none("input_tokens")
        except JsonError as error:
            raise MalformedResponse(f"The answer is not valid JSON: {error}.") from error
        except InvalidRequest as error:
            raise MalformedResponse(f"The answer is not a count of OpenAI's: {error.message}") from error
        if tokens is None:
            raise MalformedResponse("The answer is not a count of OpenAI's: it has no input_tokens.")
        return tokens

    def encode_response(self, tokens: int) -> bytes:
        """The body of an answer."""
        return dump({"object": "response.input_tokens", "input_tokens": tokens})[0]


count_codec: Final[CountCodec] = ResponsesCount()
