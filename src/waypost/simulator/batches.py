"""How a batch goes on, whoever's it is: answered item by item, until all is done, or it is cancelled or has expired.

Not what a batch looks like (`anthropic_batches`, `openai_batches`), nor how an item is answered (`batch_items`). The
invariants: items are begun in their order, so many at a time; once a batch has ended nothing about it changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from waypost.chat import Json
from waypost.simulator.script import BatchRule

CONCURRENCY: Final = 16
MAX_KEPT: Final = 1_000
"""Batches of one kind that are over; the oldest go first."""
Ending = Literal["done", "cancelled", "expired", "failed"]


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch: where it goes, and its body."""

    custom_id: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. `body` is a JSON object."""

    status: int
    body: bytes
    request_id: str


Answering: TypeAlias = Callable[[Item], Awaitable[Answer]]


@dataclass(eq=False, slots=True)
class Batch:
    """One of them. Times are seconds since 1970. `details` is what its kind keeps beside; `answers` are by place."""

    id: str
    items: tuple[Item, ...]
    rule: BatchRule
    details: dict[str, Json] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    created_s: float = field(default_factory=time.time)
    began_s: float | None = None
    finalizing_s: float | None = None
    cancelled_s: float | None = None
    ended_s: float | None = None
    ending: Ending | None = None
    _polls: int = 0
    _polled: asyncio.Event = field(default_factory=asyncio.Event)
    _cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def poll(self) -> None:
        """It is being asked after; if all that it waited for has come, it ends before that is answered."""
        if self._is_due or self._cancelled.is_set():
            await self._over.wait()
        self._polls += 1
        if self.cancelled_s is not None:
            self._let_cancel()
        elif self._polls >= self.rule.takes_polls:
            self._polled.set()
            if self.rule.takes_polls > 1 and self._is_answered:
                self.finalizing_s = self.finalizing_s or time.time()

    def cancel(self) -> None:
        """No more is begun; what is not answered when it ends never will be."""
        if self.cancelled_s is None:
            self.cancelled_s = time.time()
            self._polls = 0
            self._let_cancel()

    def _let_cancel(self) -> None:
        if self._polls >= self.rule.cancel_polls:
            self._cancelled.set()

    @property
    def expires_s(self) -> float:
        """When it has expired, if it has not ended by then."""
        return self.created_s + self.rule.expires_s

    def end(self, ending: Ending) -> None:
        """It is over."""
        self.ending = ending
        self.ended_s = time.time()
        self._over.set()

    async def run(self, answering: Answering) -> Ending:
        """Answer the items, until the batch is over or has to be; gives how it is to end."""
        self.began_s = self.began_s or time.time()
        if not self.rule.takes_polls:
            self._polled.set()
        work = asyncio.ensure_future(self._work(answering))
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            left_s = max(0.0, self.expires_s - time.time())
            await asyncio.wait({work, cancelled}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return "done"
            return "cancelled" if cancelled.done() else "expired"
        finally:
            for task in (work, cancelled):
                task.cancel()
            await asyncio.gather(work, cancelled, return_exceptions=True)

    async def _work(self, answering: Answering) -> None:
        places = iter([place for place in range(self._answerable) if place not in self.answers])
        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONCURRENCY, self._answerable)):
                group.create_task(self._answer(places, answering))
        if not self._is_answered:
            # Those that are left wait for the end, which is not this one.
            await asyncio.Event().wait()
        await asyncio.sleep(max(0.0, self.created_s + self.rule.takes_s - time.time()))
        await self._polled.wait()

    async def _answer(self, places: Iterator[int], answering: Answering) -> None:
        for place in places:
            if self.cancelled_s is not None:
                return
            self.answers[place] = await answering(self.items[place])

    @property
    def _is_due(self) -> bool:
        is_time = time.time() >= self.created_s + self.rule.takes_s
        return is_time and self._polled.is_set() and self._is_answered

    @property
    def _is_answered(self) -> bool:
        return len(self.answers) == len(self.items)

    @property
    def _answerable(self) -> int:
        count = len(self.items)
        return count if self.rule.answers is None else min(count, self.rule.answers)


Ended: TypeAlias = Callable[[Batch], None]


class BatchStore:
    """The batches of one kind after another, by their ids, and the work on those that go on."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Batch]] = {}
        self._open: dict[Batch, tuple[Answering, Ended]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, kind: str) -> Mapping[str, Batch]:
        """Those of one kind, in the order they were made."""
        return self._kept.get(kind, {})

    def forget(self, kind: str, batch_id: str) -> None:
        """Delete a batch that has ended."""
        del self._kept[kind][batch_id]

    def start(self, kind: str, batch: Batch, answering: Answering, ended: Ended) -> None:
        """Keep a batch and work on it; `ended` is told before anyone sees that it has ended."""
        kept = self._kept.setdefault(kind, {})
        kept[batch.id] = batch
        over = [each.id for each in kept.values() if each.ended_s is not None]
        for batch_id in over[: max(0, len(kept) - MAX_KEPT)]:
            del kept[batch_id]
        self._open[batch] = answering, ended
        self._go_on(batch)

    def resume(self) -> None:
        """Go on with what `close` has left open."""
        for batch in self._open:
            self._go_on(batch)

    async def close(self) -> None:
        """Stop all work; what has been answered is kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _go_on(self, batch: Batch) -> None:
        task = asyncio.create_task(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: Batch) -> None:
        answering, ended = self._open[batch]
        ending = batch.ending or await batch.run(answering)
        batch.ending = ending
        ended(batch)
        batch.end(ending)
        del self._open[batch]
