"""POST /v1beta/models/{model}:countTokens, :embedContent and :batchEmbedContents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.types import Scope

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request
from waypost.codecs.codec import EmbeddingCodec, Encoded
from waypost.codecs.gemini.count import count_codec
from waypost.codecs.gemini.embeddings import batch, one
from waypost.gateway.inquiries import Inquired
from waypost.providers.inquiry import Inquiry
from waypost.server.doors.gemini import GEMINI, called
from waypost.server.doors.inquiry import InquiryDoor, ask_count, ask_embeddings, count_written_by, members_of


def read_count(scope: Scope, body: bytes) -> Inquiry[Request]:
    """The body, for the model in the path. Raises InvalidRequest, UnknownPath."""
    model, _method = called(scope)
    members_of(body)
    return Inquiry(model, count_codec.name, body, lambda: replace(count_codec.decode_request(body), model=model))


def _embeddings(codec: EmbeddingCodec) -> InquiryDoor[EmbeddingRequest, EmbeddingResponse]:
    def read(scope: Scope, body: bytes) -> Inquiry[EmbeddingRequest]:
        model, _method = called(scope)
        members_of(body)
        return Inquiry(model, codec.name, body, lambda: replace(codec.decode_request(body), model=model))

    def write(_inquiry: Inquiry[EmbeddingRequest], inquired: Inquired[EmbeddingResponse]) -> Encoded:
        return codec.encode_response(inquired.answer.result)

    return InquiryDoor(GEMINI, read, ask_embeddings, write)


GEMINI_INQUIRIES: Final[Mapping[str, InquiryDoor[Any, Any]]] = {
    "countTokens": InquiryDoor(GEMINI, read_count, ask_count, count_written_by(count_codec)),
    "embedContent": _embeddings(one),
    "batchEmbedContents": _embeddings(batch),
}
"""By the method's name."""
