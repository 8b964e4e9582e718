"""Anthropic's Message Batches.

A batch has no field for a mark of ours: one that was made, and whose name was lost, is told by the custom ids in its
results. Until it is over there are only its time and its number of requests.
Source: docs.anthropic.com, Batch processing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from waypost.errors import ProviderServerError
from waypost.providers.batch_api import (
    ApiCall,
    BatchLimits,
    BatchLine,
    Entries,
    Framing,
    Marker,
    Outcome,
    Sender,
    VendorBatch,
)
from waypost.providers.batch_lines import cancel, lines_of, read, told

PATH: Final = "/v1/messages/batches"
PAGE: Final = 100
CLOCKS_APART_S: Final = 300.0
"""By how much the vendor's clock may be behind ours."""
MADE_WITHIN_S: Final = 3600.0
"""A call takes no longer than that to make a batch."""
OUTCOMES: Final[Mapping[str, Outcome]] = {
    "succeeded": "answered",
    "errored": "failed",
    "expired": "expired",
    "canceled": "expired",
}


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    created_at: datetime | None = None
    request_counts: dict[str, int] = {}


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False
    last_id: str | None = None


class _Problem(msgspec.Struct):
    type: str = ""


class _Envelope(msgspec.Struct):
    error: _Problem = msgspec.field(default_factory=_Problem)


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


class AnthropicBatches:
    """Implements BatchApi."""

    limits = BatchLimits(requests=100_000, size_bytes=250_000_000)
    framing = Framing(b'{"requests":[', b",", b"]}")

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def entry(self, custom_id: str, body: bytes) -> bytes:
        """See BatchApi."""
        return b'{"custom_id":"%s","params":%s}' % (custom_id.encode(), body)

    async def create(self, marker: Marker, entries: Entries, key: str | None) -> VendorBatch:  # noqa: ARG002 - it has no place
        """See BatchApi."""
        headers = {"content-type": "application/json", "content-length": str(entries.size_bytes)}
        made = await told(self._sender, ApiCall("POST", PATH, key, headers, entries.chunks()), _Batch)
        return _batch(made)

    async def made(self, marker: Marker, key: str | None) -> Sequence[VendorBatch]:
        """See BatchApi. Those of its time and size."""
        first_s, last_s = marker.sent_at_s - CLOCKS_APART_S, marker.sent_at_s + MADE_WITHIN_S + CLOCKS_APART_S
        found: list[VendorBatch] = []
        after = ""
        while True:
            page = await told(self._sender, ApiCall("GET", f"{PATH}?limit={PAGE}{after}", key), _Page)
            listed = [_batch(each) for each in page.data]
            within = [each for each in listed if first_s <= (each.created_at_s or first_s) <= last_s]
            found += [each for each in within if each.requests == marker.requests]
            # The newest come first.
            is_past = bool(listed) and (listed[-1].created_at_s or first_s) < first_s
            if not page.has_more or page.last_id is None or is_past:
                return found
            after = f"&after_id={page.last_id}"

    async def look(self, vendor_id: str, key: str | None) -> VendorBatch:
        """See BatchApi."""
        return _batch(await told(self._sender, ApiCall("GET", f"{PATH}/{vendor_id}", key), _Batch))

    async def lines(self, batch: VendorBatch, key: str | None) -> AsyncGenerator[BatchLine]:
        """See BatchApi."""
        reply = await self._sender.send(ApiCall("GET", f"{PATH}/{batch.id}/results", key))
        try:
            async for line in lines_of(reply):
                yield self._line(read(self._sender, line, _Line))
        finally:
            reply.close()

    async def cancel(self, vendor_id: str, key: str | None) -> None:
        """See BatchApi."""
        await cancel(self._sender, ApiCall("POST", f"{PATH}/{vendor_id}/cancel", key))

    def _line(self, line: _Line) -> BatchLine:
        result = line.result
        outcome = OUTCOMES.get(result.type, "failed")
        if outcome == "answered" and bytes(result.message):
            return BatchLine(line.custom_id, outcome, bytes(result.message))
        if outcome == "expired":
            return BatchLine(line.custom_id, outcome)
        if not bytes(result.error):
            error = self._sender.named(
                ProviderServerError(f"The provider gave a result without content ({result.type}).")
            )
            return BatchLine(line.custom_id, "failed", error=error)
        # In the envelope of an answer, of which only the status is missing: it tells those of little meaning apart.
        kind = read(self._sender, bytes(result.error), _Envelope).error.type
        status = 400 if kind == "invalid_request_error" else 500
        error = self._sender.named(self._sender.codec.decode_error(status, {}, bytes(result.error)))
        return BatchLine(line.custom_id, "failed", error=error)


def _batch(told_batch: _Batch) -> VendorBatch:
    created = told_batch.created_at
    return VendorBatch(
        told_batch.id,
        told_batch.processing_status == "ended",
        told_batch.processing_status,
        None if created is None else created.timestamp(),
        sum(told_batch.request_counts.values()),
    )
