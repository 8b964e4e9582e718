"""POST /v1/embeddings."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from starlette.types import Scope

from waypost.chat import EmbeddingRequest, EmbeddingResponse
from waypost.codecs.codec import Encoded
from waypost.codecs.openai_embeddings import codec
from waypost.gateway.inquiries import Inquired
from waypost.providers.inquiry import Inquiry
from waypost.server.doors.inquiry import InquiryDoor, ask_embeddings, read_inquiry
from waypost.server.doors.openai_chat import FORWARDED, OPENAI_CHAT


def read(scope: Scope, body: bytes) -> Inquiry[EmbeddingRequest]:
    """Everything stands in the body. Raises InvalidRequest."""
    return read_inquiry(codec, scope, body, FORWARDED)


def write(inquiry: Inquiry[EmbeddingRequest], inquired: Inquired[EmbeddingResponse]) -> Encoded:
    """The vectors in the encoding that the caller asked for, with the model that gave them."""
    response = replace(inquired.answer.result, model=inquired.model)
    return codec.encode_response(response, encoding=inquiry.question.encoding)


OPENAI_EMBEDDINGS: Final = InquiryDoor(OPENAI_CHAT, read, ask_embeddings, write)
