"""What a process keeps from one request to another, in one value. None, or a name missing: it is not kept.

Each store is described, and bounded, where it is defined. Stored responses and durable answers are in the database;
nothing else here is shared with other processes or written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from waypost.gateway.idempotency import IdempotencyStore
from waypost.gateway.response_cache import ResponseCache
from waypost.gateway.resume import ResumeBuffers
from waypost.gateway.signature_store import SignatureStore
from waypost.gateway.story import StoryBook
from waypost.ledger.durable_answers import DurableAnswers
from waypost.ledger.stored_responses import StoredResponses
from waypost.ledger.threads import DatabaseThreads


@dataclass(frozen=True, slots=True)
class RouteCache:
    """The kept answers of one route, and for how many seconds they are."""

    route: str
    ttl_s: float
    answers: ResponseCache


@dataclass(frozen=True, slots=True)
class Stores:
    """All of them."""

    idempotency: IdempotencyStore | None = None
    streams: ResumeBuffers | None = None
    signatures: SignatureStore | None = None
    caches: Mapping[str, RouteCache] = field(default_factory=dict)
    """By the names that lead to a route with a cache: its own and its aliases."""
    stories: StoryBook = field(default_factory=StoryBook)
    """What became of the last requests."""
    answers: DurableAnswers | None = None
    """By idempotency key, for all processes; `idempotency` is this one's memory of them."""
    responses: StoredResponses | None = None
    provider_storage: frozenset[str] = frozenset()
    """The names that lead to a route whose provider may store what is stored here."""
    threads: DatabaseThreads | None = None
    """Through which requests reach what is in the database."""

    def close(self) -> None:
        """Stop what goes on without a caller."""
        if self.streams is not None:
            self.streams.close()
        if self.answers is not None:
            self.answers.close()
        if self.threads is not None:
            self.threads.close()
