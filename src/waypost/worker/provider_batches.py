"""Sees to the batches at providers, in the background of a worker; one of all workers does, as long as it lives.

The invariant: should two do it for a moment, nothing is sent or counted twice by that: each step is a row's change that
only one of them makes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from waypost.jobs import batched_calls
from waypost.jobs import provider_batches as rows
from waypost.jobs.lease import alive_executors
from waypost.ledger.books import now_ms
from waypost.ledger.upkeep import HELD_MS, claim, finish, go_on, state_of
from waypost.store.troubles import trouble
from waypost.worker.batch_place import BatchPlace
from waypost.worker.batch_sending import BatchSending
from waypost.worker.batch_watching import BatchWatching

logger = logging.getLogger("waypost.jobs")
TASK: Final = "provider_batches"
LOOK_S: Final = 1.0
IDLE_LOOK_S: Final = 5.0
"""While there is nothing to do."""
AT_ONCE: Final = 8
RENEWED_MS: Final = HELD_MS // 4
END_S: Final = 5.0


class ProviderBatches:
    """One worker's. `run` works until `close`."""

    def __init__(self, place: BatchPlace) -> None:
        self._place = place
        self._sending = BatchSending(place)
        self._watching = BatchWatching(place, self._sending)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By our id of the batch at the provider, or of the batch whose calls are gathered."""
        self._woken = asyncio.Event()
        self._is_closing = False
        self._held_ms: int | None = None

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    async def run(self) -> None:
        """Until `close`."""
        while not self._is_closing:
            is_busy = True
            try:
                is_busy = await self._turn()
            except SQLAlchemyError as error:
                logger.error("providers' batches are not looked at: %s", trouble(error, self._place.lazy.url))  # noqa: TRY400 - in words
            except Exception:
                logger.exception("providers' batches are not looked at by a mistake of the code's")
            self._woken.clear()
            woken = asyncio.ensure_future(self._woken.wait())
            await asyncio.wait({woken}, timeout=LOOK_S if is_busy else IDLE_LOOK_S)
            woken.cancel()

    async def close(self) -> None:
        """Begin nothing more; what is being sent has a moment to come to its end."""
        self._is_closing = True
        self._woken.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=END_S)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._held_ms is not None:
            held = self._place.executor_id
            await asyncio.to_thread(lambda: finish(self._place.lazy.open(), TASK, held, now_ms(), {}))

    async def _turn(self) -> bool:
        """Begin what is to be done. True: something is going on."""
        if not await self._place.database.read(_is_anything_there):
            return False
        if not await self._place.database.insist(self._is_elected):
            return True
        due = await self._place.database.read(lambda connection: rows.due(connection, now_ms(), AT_ONCE * 2))
        for batch in due:
            if batch.id not in self._tasks and batch.batch_id not in self._tasks and len(self._tasks) < AT_ONCE:
                self._begin(batch.id, self._watching.see_to(batch))
        group = await self._sending.next_group(set(self._tasks)) if len(self._tasks) < AT_ONCE else None
        if group is not None:
            self._begin(group.batch_id, self._sending.gather(group))
        return True

    def _is_elected(self) -> bool:
        """In a thread. From one that is dead the office is taken at once."""
        database, own, at_ms = self._place.lazy.open(), self._place.executor_id, now_ms()
        if self._held_ms is not None:
            if at_ms - self._held_ms < RENEWED_MS:
                return True
            self._held_ms = at_ms if go_on(database, TASK, own, at_ms) else None
            return self._held_ms is not None
        holder = state_of(database, TASK).holder
        with database.read() as connection:
            alive = {each.id for each in alive_executors(connection)}
        if holder is not None and holder not in alive:
            finish(database, TASK, holder, at_ms, {})
        if claim(database, TASK, own, at_ms):
            self._held_ms = at_ms
        return self._held_ms is not None

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._done(name, work))
        self._tasks[name] = task

    async def _done(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("the batch %s is not seen to by a mistake of the code's", name)
        finally:
            self._tasks.pop(name, None)


def _is_anything_there(connection: Connection) -> bool:
    return batched_calls.is_anything_ready(connection) or rows.is_any_live(connection)
