"""Counts of tokens: POST /v1/messages/count_tokens (Anthropic) and /v1/responses/input_tokens (OpenAI)."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from waypost.chat import Request
from waypost.codecs.anthropic_messages.count import count_codec as anthropic
from waypost.codecs.openai_responses.count import count_codec as openai
from waypost.doors import responses
from waypost.providers.inquiry import Inquiry
from waypost.server.doors import anthropic_messages, openai_responses
from waypost.server.doors.inquiry import InquiryDoor, ask_count, count_written_by, members_of, read_inquiry


def read_messages(scope: Scope, body: bytes) -> Inquiry[Request]:
    """Everything stands in the body. Raises InvalidRequest."""
    return read_inquiry(anthropic, scope, body, anthropic_messages.FORWARDED)


def read_responses(scope: Scope, body: bytes) -> Inquiry[Request]:
    """Everything stands in the body. Raises InvalidRequest, and UnsupportedFeature if it needs what is not kept."""
    responses.refuse_unkept(members_of(body), stores=False)
    return read_inquiry(openai, scope, body, responses.FORWARDED)


COUNT_MESSAGES: Final = InquiryDoor(
    anthropic_messages.ANTHROPIC_MESSAGES, read_messages, ask_count, count_written_by(anthropic)
)
COUNT_RESPONSES: Final = InquiryDoor(
    openai_responses.OPENAI_RESPONSES, read_responses, ask_count, count_written_by(openai)
)
