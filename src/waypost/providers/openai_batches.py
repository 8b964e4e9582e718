"""OpenAI's Batch API: a file goes up, a batch is made of it, and files come down. A batch has a mark of ours.

A file that was uploaded and not used costs nothing, and is gone after a while. Source: platform.openai.com, Batch API.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from waypost.errors import ProviderBadRequest, ProviderError, ProviderRateLimited, ProviderServerError
from waypost.providers.batch_api import (
    ApiCall,
    BatchLimits,
    BatchLine,
    Entries,
    Framing,
    Marker,
    Sender,
    VendorBatch,
)
from waypost.providers.batch_lines import cancel, lines_of, read, told

MARK: Final = "waypost_batch"
"""The name of our mark in a batch's metadata."""
PAGE: Final = 100
CLOCKS_APART_S: Final = 300.0
OVER: Final = frozenset({"completed", "expired", "cancelled", "failed"})
NOT_REACHED: Final = frozenset({"batch_expired", "batch_cancelled"})
QUEUE_IS_FULL: Final = "token_limit_exceeded"
"""The error of a batch that would be one too many at the moment."""
_BOUNDARY: Final = "waypost-batch-file"


class _Id(msgspec.Struct):
    id: str


class _Problem(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Problems(msgspec.Struct):
    data: list[_Problem] | None = None


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    metadata: dict[str, Any] | None = None
    request_counts: dict[str, int] | None = None
    errors: _Problems | None = None


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False
    last_id: str | None = None


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Problem | None = None


class OpenAIBatches:
    """Implements BatchApi. `endpoint` is the path of the requests, such as /v1/chat/completions."""

    limits = BatchLimits(requests=50_000, size_bytes=190_000_000)
    framing = Framing(b"", b"\n", b"\n")

    def __init__(self, sender: Sender, endpoint: str) -> None:
        self._sender = sender
        self._endpoint = endpoint

    def entry(self, custom_id: str, body: bytes) -> bytes:
        """See BatchApi."""
        place = (custom_id.encode(), self._endpoint.encode(), body)
        return b'{"custom_id":"%s","method":"POST","url":"%s","body":%s}' % place

    async def create(self, marker: Marker, entries: Entries, key: str | None) -> VendorBatch:
        """See BatchApi."""
        try:
            file = await self._upload(marker, entries, key)
        except ProviderError as error:
            # Whatever became of the file, there is no batch.
            error.status = error.status or 0
            raise
        body = {
            "input_file_id": file,
            "endpoint": self._endpoint,
            "completion_window": "24h",
            "metadata": {MARK: marker.id},
        }
        headers = {"content-type": "application/json"}
        call = ApiCall("POST", "/batches", key, headers, msgspec.json.encode(body))
        return self._batch(await told(self._sender, call, _Batch))

    async def _upload(self, marker: Marker, entries: Entries, key: str | None) -> str:
        head = (
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="{marker.id}.jsonl"\r\n'
            "content-type: application/jsonl\r\n\r\n"
        ).encode()
        tail = f"\r\n--{_BOUNDARY}--\r\n".encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield head
            async for chunk in entries.chunks():
                yield chunk
            yield tail

        size_bytes = len(head) + entries.size_bytes + len(tail)
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        headers = {"content-type": kind, "content-length": str(size_bytes)}
        return (await told(self._sender, ApiCall("POST", "/files", key, headers, pieces()), _Id)).id

    async def made(self, marker: Marker, key: str | None) -> Sequence[VendorBatch]:
        """See BatchApi. The one with the mark, if it is there."""
        first_s = marker.sent_at_s - CLOCKS_APART_S
        after = ""
        while True:
            page = await told(self._sender, ApiCall("GET", f"/batches?limit={PAGE}{after}", key), _Page)
            found = [batch for each in page.data if (batch := self._batch(each)).marker == marker.id]
            # The newest come first.
            is_past = bool(page.data) and (page.data[-1].created_at or first_s) < first_s
            if found or not page.has_more or page.last_id is None or is_past:
                return found
            after = f"&after={page.last_id}"

    async def look(self, vendor_id: str, key: str | None) -> VendorBatch:
        """See BatchApi."""
        return self._batch(await told(self._sender, ApiCall("GET", f"/batches/{vendor_id}", key), _Batch))

    async def lines(self, batch: VendorBatch, key: str | None) -> AsyncGenerator[BatchLine]:
        """See BatchApi."""
        for file in batch.results:
            reply = await self._sender.send(ApiCall("GET", f"/files/{file}/content", key))
            try:
                async for line in lines_of(reply):
                    yield self._line(read(self._sender, line, _Line))
            finally:
                reply.close()

    async def cancel(self, vendor_id: str, key: str | None) -> None:
        """See BatchApi."""
        await cancel(self._sender, ApiCall("POST", f"/batches/{vendor_id}/cancel", key))

    def _line(self, line: _Line) -> BatchLine:
        response, problem = line.response, line.error
        if response is not None and response.status_code < 300:
            return BatchLine(line.custom_id, "answered", bytes(response.body))
        if problem is not None and problem.code in NOT_REACHED:
            return BatchLine(line.custom_id, "expired")
        if response is not None:
            error = self._sender.codec.decode_error(response.status_code, {}, bytes(response.body))
        else:
            error = ProviderServerError((problem and problem.message) or "The provider gave neither answer nor error.")
        return BatchLine(line.custom_id, "failed", error=self._sender.named(error))

    def _batch(self, told_batch: _Batch) -> VendorBatch:
        files = (told_batch.output_file_id, told_batch.error_file_id)
        error = self._refusal(told_batch) if told_batch.status == "failed" else None
        mark = (told_batch.metadata or {}).get(MARK)
        return VendorBatch(
            told_batch.id,
            told_batch.status in OVER,
            told_batch.status,
            told_batch.created_at,
            (told_batch.request_counts or {}).get("total"),
            tuple(file for file in files if file),
            mark if isinstance(mark, str) else None,
            error,
        )

    def _refusal(self, told_batch: _Batch) -> ProviderError:
        problems = (told_batch.errors.data if told_batch.errors is not None else None) or [_Problem()]
        message = problems[0].message or "The provider refused the batch and does not say why."
        kind = ProviderRateLimited if problems[0].code == QUEUE_IS_FULL else ProviderBadRequest
        return self._sender.named(kind(message, status=400, provider_code=problems[0].code))
