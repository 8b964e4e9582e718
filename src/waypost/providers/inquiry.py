"""Inquiries: what callers ask beside conversations and get whole and at once. Embeddings, and counts of tokens.

As for conversations, a provider of the caller's wire format gets the caller's own bytes and gives its own back.
Providers need not answer any: what one can do it says itself, see `EmbeddingProvider` and `CountingProvider`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request, Usage
from waypost.codecs.renaming import renamed

QuestionT = TypeVar("QuestionT")
ResultT = TypeVar("ResultT")


class Inquiry(Generic[QuestionT]):
    """One inquiry. `model` is the name that the caller gave; `headers` those that providers of `wire` may see."""

    __slots__ = ("_decode", "_question", "body", "headers", "model", "wire")

    thinks = False
    """Nothing is reasoned about."""

    def __init__(
        self,
        model: str,
        wire: str,
        body: bytes,
        decode: Callable[[], QuestionT],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.wire = wire
        self.body = body
        self.headers = headers or {}
        self._decode = decode
        self._question: QuestionT | None = None

    @property
    def question(self) -> QuestionT:
        """The canonical form. Raises InvalidRequest, naming what is wrong in the body."""
        if self._question is None:
            self._question = self._decode()
        return self._question

    @property
    def size_bytes(self) -> int:
        """How much there is to read."""
        return len(self.body)

    def body_for(self, model: str) -> bytes:
        """The body for a provider of this format, asked for its `model`."""
        return renamed(self.wire, self.body, model)


@dataclass(frozen=True, slots=True)
class InquiryAnswer(Generic[ResultT]):
    """The result. `body` is the provider's own reply where it is in the caller's wire format, else None.

    `headers` are those of the reply that a caller may see; `notes`, what of the inquiry was not carried over.
    """

    result: ResultT
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    estimated: bool = False
    size_bytes: int = 0
    """How long the provider's reply was."""


@runtime_checkable
class EmbeddingProvider(Protocol):
    """A provider that may have embeddings; `embeds` says whether it does."""

    embeds: bool

    async def embed(self, inquiry: Inquiry[EmbeddingRequest], model: str = "") -> InquiryAnswer[EmbeddingResponse]:
        """One vector for each input, by its `model` ("" is the default one). Raises ProviderError."""


@runtime_checkable
class CountingProvider(Protocol):
    """A provider that may count a prompt's tokens; `counts_tokens` says whether it does."""

    counts_tokens: bool

    async def count_tokens(self, inquiry: Inquiry[Request], model: str = "") -> InquiryAnswer[int] | None:
        """The count, None if there turned out to be no such endpoint. Raises ProviderError."""
