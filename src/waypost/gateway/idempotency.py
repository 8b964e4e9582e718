"""The same idempotency key gives the same answer: what the first request was answered, kept in this process's memory.

Where there is a database, `ledger.durable_answers` keeps the same for all processes, and this is what stands before it.

A second request with the key and the same body joins the first while it runs, and replays it afterwards. The
invariant: within `ttl_s` a key that is still known leads to no second call that may be billed. So an answer that was
dropped, or was too large to keep, leaves its key behind, and whoever asks again is told so instead of being charged.

Not remembered are errors that another try may mend (`RETRIABLE`, and all of 500 and more), unless a provider had begun
to answer. By itself this is not a lock between several processes, and nothing here is written to disk.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Final

from waypost.errors import AnswerNotKept, IdempotencyConflict, InvalidRequest, ServerBusy, WaypostError
from waypost.gateway.kept_answers import Answer, Chunk, Entry, Shelf
from waypost.ledger.durable_answers import Ending, Headers, KeptAnswer

KEY_HEADER: Final = "idempotency-key"
REPLAYED: Final = (b"idempotent-replayed", b"true")
_KEY: Final = re.compile(r"[ -~]{1,255}")
_SHARE_OF_ONE_ANSWER: Final = 8


def checked_key(value: str) -> str:
    """The header's value. Raises InvalidRequest if it is not 1 to 255 printable ASCII characters."""
    if not _KEY.fullmatch(value):
        raise InvalidRequest(
            "The header Idempotency-Key is not 1 to 255 printable ASCII characters.",
            hint="Take a new UUID for each request.",
            param="Idempotency-Key",
        )
    return value


def body_digest(body: bytes, query: bytes = b"") -> bytes:
    """What tells one request of a path from another: its body as sent, and the query string if that has a meaning."""
    return hashlib.sha256(len(query).to_bytes(8, "big") + query + body).digest()


class Fresh:
    """The key is new: the caller does the work and records here what it sends.

    Use it in a `with` block. If that ends before `finish`, there was no answer: the key is free again or, if a provider
    had begun to answer, is kept without one.
    """

    def __init__(self, shelf: Shelf, entry: Entry) -> None:
        self._shelf = shelf
        self._entry = entry
        self._answer: Answer | None = None

    def __enter__(self) -> Fresh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(whole=False)

    @property
    def ending(self) -> Ending:
        """What became of it. Only after `finish`, or after the block."""
        fate, answer = self._entry.fate, self._answer
        if fate is None:
            raise RuntimeError("the answer has not ended")
        if fate != "kept" or answer is None or answer.status is None:
            return Ending(fate)
        body = b"".join(chunk.data for chunk in answer.chunks)
        return Ending(fate, KeptAnswer(answer.status, answer.headers, body))

    def fill(self, kept: KeptAnswer) -> Replay:
        """The first request was answered before, elsewhere, with this: for whoever asks here too."""
        self.start(kept.status, kept.headers)
        self.append(kept.body)
        self.finish()
        return replay_of(kept)

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """The head of the reply. A status under 300 says that a provider has answered."""
        self._shelf.record_head(self._entry, status, tuple(headers))

    def append(self, data: bytes) -> None:
        """The next bytes of the body."""
        self._shelf.record(self._entry, data)

    def finish(self) -> None:
        """The reply has ended as replies do; so has a stream that broke, with its error event."""
        self._end(whole=True)

    def _end(self, *, whole: bool) -> None:
        if self._answer is None:
            # Held on to: what is kept may be dropped at once, for want of room.
            self._answer = self._entry.answer
            self._shelf.end(self._entry, whole=whole)

    def release(self) -> None:
        """Nothing is recorded, and the key is free: what answers it knows by itself who has asked before."""
        self._end(whole=False)

    def refuse(self, error: WaypostError) -> None:
        """It is not begun, and whoever waits for its answer is told why."""
        self._entry.refusal = error
        self._end(whole=False)

    def note_billed(self) -> None:
        """A provider has begun to answer: whatever comes of it, another call would be a second charge."""
        self._entry.billed = True

    def leave(self) -> None:
        """The first caller has gone away. The work goes on for as long as somebody who joined reads it."""
        self._entry.first_is_gone = True
        self._entry.bell.ring()

    async def deserted(self) -> None:
        """Returns when the first caller has left and nobody else reads: the work should be cancelled then."""
        while self._entry.readers or not self._entry.first_is_gone:
            await self._entry.bell.wait()


class Pending:
    """The key's first request still runs: its head, then its chunks so far and those to come, once.

    Use it in a `with` block: while it is open the work goes on even if the first caller leaves.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        # Its own hold: what is kept may be dropped right after the end, before this reader has come so far.
        self._answer = entry.answer
        self._open = True
        entry.readers += 1

    def __enter__(self) -> Pending:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Read no further."""
        if self._open:
            self._open = False
            self._entry.readers -= 1
            self._entry.bell.ring()

    async def head(self) -> tuple[int, Headers]:
        """Status and headers, as soon as they are known. Raises as `chunks` does."""
        while (status := self._answer.status) is None:
            await self._next_change()
        return status, (*self._answer.headers, REPLAYED)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises AnswerNotKept if it grows too large to keep, ServerBusy if the work ends without it."""
        number = 0
        while True:
            while number < len(self._answer.chunks):
                yield self._answer.chunks[number].data
                number += 1
            if self._answer.whole:
                return
            await self._next_change()

    async def _next_change(self) -> None:
        entry = self._entry
        if entry.too_large or (entry.billed and entry.ended_s is not None):
            raise _not_kept()
        if entry.ended_s is not None:
            raise entry.refusal or ServerBusy(
                "The first request with this Idempotency-Key ended without an answer.", hint="Send the request again."
            )
        await entry.bell.wait()


class Replay:
    """The key's first request was answered, with this. Dropping it from the store does no harm to a replay."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held; it is used as a Pending is."""

    @property
    def recorded(self) -> tuple[Chunk, ...]:
        """The chunks with the times at which they came."""
        return tuple(self._answer.chunks)

    async def head(self) -> tuple[int, Headers]:
        """Status and headers."""
        return self._answer.status or 0, (*self._answer.headers, REPLAYED)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, in the pieces in which it first came."""
        for chunk in self._answer.chunks:
            yield chunk.data


def replay_of(kept: KeptAnswer) -> Replay:
    """The first request was answered with this, which is not in this memory."""
    return Replay(Answer(kept.status, kept.headers, [Chunk(kept.body, 0.0)], whole=True))


class IdempotencyStore:
    """Answers of the last `ttl_s` seconds by tenant, path and key, in at most `max_bytes`. `clock` is in seconds.

    One answer may have `max_answer_bytes` (an eighth of all, if not given). When all is full, those that ended first
    lose their answers and keep their keys; the oldest bare keys go when they fill a quarter of the memory.
    """

    def __init__(
        self,
        ttl_s: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_answer_bytes: int | None = None,
    ) -> None:
        self._shelf = Shelf(ttl_s, max_bytes, max_answer_bytes or max_bytes // _SHARE_OF_ONE_ANSWER, clock)

    def __len__(self) -> int:
        return len(self._shelf)

    @property
    def size_bytes(self) -> int:
        """What all entries weigh, roughly."""
        return self._shelf.size_bytes

    def begin(self, tenant: str, path: str, key: str, digest: bytes) -> Fresh | Pending | Replay:
        """What to do with a request: do it and record it, or tell what the first one is answered.

        `digest` is of `body_digest`. Raises InvalidRequest for a key out of bounds, IdempotencyConflict if the key came
        with another body, and AnswerNotKept if the first answer is gone or was too large.
        """
        slot = (tenant, path, checked_key(key))
        entry = self._shelf.get(slot)
        if entry is None:
            return Fresh(self._shelf, self._shelf.add(slot, digest))
        if entry.digest != digest:
            raise IdempotencyConflict("This Idempotency-Key came before, with another body.", param="Idempotency-Key")
        if entry.answer.whole:
            return Replay(entry.answer)
        if entry.too_large or entry.ended_s is not None:
            raise _not_kept()
        return Pending(entry)


def _not_kept() -> AnswerNotKept:
    return AnswerNotKept(
        "The answer to the first request with this Idempotency-Key was not kept.", param="Idempotency-Key"
    )
