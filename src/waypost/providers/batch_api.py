"""Batch APIs of vendors: many requests in one file, answered within a day, for a lower price. Protocols and values.

Whoever uses one writes down what he is about to do before he does it; here nothing is kept. The invariant: a batch that
was made is found again by its marker, or it is said that it cannot be told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from waypost.codecs.codec import Codec
from waypost.errors import ProviderError
from waypost.providers.asked import Asked
from waypost.transport import Body, Reply

Outcome: TypeAlias = Literal["answered", "failed", "expired"]
"""expired: the provider did not come to it, so that it cost nothing and may be asked again."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch of the vendor's may hold at most, with some room left."""

    requests: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Framing:
    """What stands before, between and after the entries of the file."""

    before: bytes
    between: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Marker:
    """By what a batch is known before the vendor has named it. `suffix` is at the end of each of its custom ids."""

    id: str
    suffix: str
    requests: int
    sent_at_s: float
    """Unix seconds: it was not made before."""


class Entries(Protocol):
    """The whole file, framed."""

    size_bytes: int

    def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes, from the beginning."""


@dataclass(frozen=True, slots=True)
class VendorBatch:
    """A batch as the vendor tells it. `results`: where they are, once it is over; `error`: all of it was refused."""

    id: str
    is_over: bool
    told_state: str
    created_at_s: float | None = None
    requests: int | None = None
    results: Sequence[str] = ()
    marker: str | None = None
    error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """What came of one request. `answer` is the reply's body in the vendor's wire format."""

    custom_id: str
    outcome: Outcome
    answer: bytes | None = None
    error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call of a vendor's API. `key` is the label of the account's key that is to go with it; None: any."""

    method: str
    path: str
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = field(default=None, repr=False)


class Sender(Protocol):
    """A provider's HTTP, for its batch API."""

    @property
    def codec(self) -> Codec:
        """Its wire format."""

    async def send(self, call: ApiCall) -> Reply:
        """The reply, which the caller closes. Raises ProviderError for any that is no success."""

    def named(self, error: ProviderError) -> ProviderError:
        """The error with the provider's name, and without our secrets."""


class BatchApi(Protocol):
    """One vendor's, in one account. All raise ProviderError."""

    limits: BatchLimits
    framing: Framing

    def entry(self, custom_id: str, body: bytes) -> bytes:
        """A request as it stands in the file. Custom ids have at most 64 letters, digits, - and _."""

    async def create(self, marker: Marker, entries: Entries, key: str | None) -> VendorBatch:
        """Make a batch. What it raises without a status may have made one all the same."""

    async def made(self, marker: Marker, key: str | None) -> Sequence[VendorBatch]:
        """Batches that may be the marker's: they are if their `marker` says so; without one, their results tell."""

    async def look(self, vendor_id: str, key: str | None) -> VendorBatch:
        """How it stands."""

    def lines(self, batch: VendorBatch, key: str | None) -> AsyncGenerator[BatchLine]:
        """What came of its requests, in any order, as it comes. Requests without a line have expired."""

    async def cancel(self, vendor_id: str, key: str | None) -> None:
        """Ask for its end. One that has ended is no error."""


@runtime_checkable
class BatchingProvider(Protocol):
    """A provider that may have a batch API; `batches` None: it has none."""

    @property
    def batches(self) -> BatchApi | None:
        """The client."""

    @property
    def codec(self) -> Codec:
        """Its wire format, of requests and answers."""

    async def batch_key(self) -> str | None:
        """The label of the key whose turn it is. None: there are no several."""

    def batched(self, asked: Asked, model: str) -> tuple[bytes, tuple[str, ...]]:
        """The body of a whole answer's request, and what of it was not carried over."""


def batch_api_of(provider: object) -> BatchApi | None:
    """The provider's, if it has one."""
    return provider.batches if isinstance(provider, BatchingProvider) else None
