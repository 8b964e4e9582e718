"""How fast the jobs of all workers together call a provider: this process's side of the shared buckets.

A job waits for its turn before it asks the gateway, where no deadline runs yet; its first request then leaves at once,
and every further one, such as a retry, waits in front of those who have not begun. Those who wait together are granted
together, so that many calls a second are not as many transactions. The invariant: a request of a job leaves only when
it was taken from the bucket of its provider and key, and none while a provider's Retry-After lasts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from waypost.jobs import pace_rows
from waypost.jobs.pace_line import Line
from waypost.jobs.pace_rows import PaceLimit
from waypost.store.database import Database, DatabaseError

logger = logging.getLogger("waypost.jobs")
LOOK_S: Final = 1.0
"""How often it is looked up who may not be called now, while there are calls."""
PAUSE_S: Final = 2.0
"""How long a provider is left alone that refuses a call and does not say for how long."""
BYTES_A_TOKEN: Final = 3
"""Of a request's body; rather too few than too many."""


@dataclass(frozen=True, slots=True)
class Paced:
    """A provider's limit for each of its keys, by the labels of those ("": it has none)."""

    limit: PaceLimit = field(default_factory=PaceLimit)
    keys: tuple[str, ...] = ("",)


class Pace:
    """One a process. `database` opens the database; providers that are not in `paced` have no limit."""

    def __init__(self, database: Callable[[], Database], paced: Mapping[str, Paced]) -> None:
        self._database = database
        self._paced = paced
        self._lines: dict[str, Line] = {}
        self._paused_until_s: dict[str, float] = {}
        self._looked_s = -LOOK_S
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, provider: str | None, tokens: int = 0) -> Turn:
        """Wait until the provider may be called with a request of about so many tokens.

        None: whom the call will ask is not known; then it waits where it asks.
        """
        if provider is None:
            return Turn(self)
        key = self.best_key(provider) or self._of(provider).keys[0]
        await self.enter(provider, key, tokens)
        return Turn(self, provider, key, tokens)

    async def enter(self, provider: str, key: str, tokens: int, *, urgent: bool = False) -> None:
        """The same for one of its keys."""
        name = f"{provider}{key}"
        await self._unpaused(name)
        limit = self._of(provider).limit
        if limit != PaceLimit():
            await self._line(name, limit).wait(tokens, urgent=urgent)

    def best_key(self, provider: str) -> str | None:
        """The label of the key for which the fewest wait; None: they are all the same."""
        keys = self._of(provider).keys
        if len(keys) == 1:
            return None
        return min(keys, key=lambda key: (self._paused_s(f"{provider}{key}"), self._waiting(f"{provider}{key}")))

    def counts_tokens(self, provider: str) -> bool:
        """Has the provider a limit of tokens?"""
        return self._of(provider).limit.tokens is not None

    def limited(self, provider: str, key: str, retry_after_s: float | None) -> None:
        """A provider said that it was too much: no worker calls it with this key before that time."""
        wait_s = min(PAUSE_S if retry_after_s is None else retry_after_s, pace_rows.LONGEST_PAUSE_MS / 1000)
        name = f"{provider}{key}"
        self._paused_until_s[name] = max(self._paused_until_s.get(name, 0.0), time.monotonic() + wait_s)
        task = asyncio.get_running_loop().create_task(self._tell(name, wait_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def used(self, provider: str, key: str, taken: int, used: int) -> None:
        """A call used so many tokens, where `taken` were taken for it. Less is not given back: providers count so."""
        limit = self._of(provider).limit
        if limit.tokens is not None:
            self._line(f"{provider}{key}", limit).owe(max(0, used - taken))

    async def close(self) -> None:
        """Nobody waits any more, and what is under way is told."""
        for line in self._lines.values():
            line.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _of(self, provider: str) -> Paced:
        return self._paced.get(provider, NO_LIMIT)

    def _line(self, name: str, limit: PaceLimit) -> Line:
        if name not in self._lines:
            self._lines[name] = Line(name, limit, self._database)
        return self._lines[name]

    def _waiting(self, name: str) -> int:
        return self._lines[name].waiting if name in self._lines else 0

    def _paused_s(self, name: str) -> float:
        return max(0.0, self._paused_until_s.get(name, 0.0) - time.monotonic())

    async def _unpaused(self, name: str) -> None:
        """What other workers were told is looked up now and then."""
        if time.monotonic() - self._looked_s >= LOOK_S:
            self._looked_s = time.monotonic()
            await self._look()
        # While one waits, the pause may have been made longer.
        while wait_s := self._paused_s(name):  # noqa: ASYNC110 - a time that has to pass is no event
            await asyncio.sleep(wait_s)

    async def _look(self) -> None:
        try:
            told = await asyncio.to_thread(self._read_pauses)
        except DatabaseError:
            logger.warning("the database does not say which providers are paused", exc_info=True)
            return
        for name, left_ms in told.items():
            until_s = time.monotonic() + left_ms / 1000
            self._paused_until_s[name] = max(self._paused_until_s.get(name, 0.0), until_s)

    def _read_pauses(self) -> dict[str, int]:
        database = self._database()
        with database.read() as connection:
            return pace_rows.pauses(connection, database)

    async def _tell(self, name: str, wait_s: float) -> None:
        try:
            await asyncio.to_thread(self._write_pause, name, round(wait_s * 1000))
        except DatabaseError:
            logger.warning("other workers are not told that %s is paused", name, exc_info=True)

    def _write_pause(self, name: str, for_ms: int) -> None:
        database = self._database()
        with database.write() as connection:
            pace_rows.pause(connection, database, name, for_ms)


NO_LIMIT: Final = Paced()


class Turn:
    """Implements `providers.gate.Gate`: what one job may send. Its first request was waited for already."""

    def __init__(self, pace: Pace, provider: str | None = None, key: str = "", tokens: int = 0) -> None:
        self._pace = pace
        self._ticket = None if provider is None else (provider, key)
        self._last = self._ticket
        self._taken = tokens

    def preferred_key(self, provider: str) -> str | None:
        """See `Gate`."""
        if self._ticket is not None and self._ticket[0] == provider:
            return self._ticket[1]
        return self._pace.best_key(provider)

    async def enter(self, provider: str, key: str, size_bytes: int) -> None:
        """See `Gate`."""
        if self._ticket == (provider, key):
            self._ticket = None
            return
        tokens = size_bytes // BYTES_A_TOKEN
        await self._pace.enter(provider, key, tokens, urgent=True)
        self._last, self._taken = (provider, key), tokens

    def limited(self, provider: str, key: str, retry_after_s: float | None) -> None:
        """See `Gate`."""
        self._pace.limited(provider, key, retry_after_s)

    def used(self, tokens: int) -> None:
        """The call that ended well used so many tokens in all."""
        if self._last is not None:
            self._pace.used(*self._last, self._taken, tokens)
