"""Sends what is due, in the background of one event loop, until it is told to end. Several may work on one database.

Each takes a few messages at a time, of no host more than a few, and has them for a lease. The invariant: a process that
is killed loses no message; what it was sending comes again when its lease is over, with the same id.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from waypost.errors import ConfigurationError, DatabaseUnavailable
from waypost.webhooks import log
from waypost.webhooks.delivery import DeliveryOutcome
from waypost.webhooks.events import EventType
from waypost.webhooks.log import Delivery, Share
from waypost.webhooks.schedule import Following, following
from waypost.webhooks.secrets import WebhookSecrets
from waypost.webhooks.senders import Senders, senders_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.settings import Settings
    from waypost.store.database import Database

logger = logging.getLogger("waypost.webhooks")

ResultT = TypeVar("ResultT")
Work: TypeAlias = "Callable[[Connection, Database], ResultT]"
UNUSABLE_SECRET: Final = "secret_unusable"  # noqa: S105 - an error's code


class Transactions(Protocol):
    """Runs work on the database somewhere else than in the event loop. Both raise DatabaseUnavailable."""

    async def read(self, work: Work[ResultT]) -> ResultT:
        """In one snapshot."""

    async def write(self, work: Work[ResultT]) -> ResultT:
        """In one transaction, committed when this returns."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at once, and how often it looks whether another process has left something. Seconds."""

    most_at_once: int = 32
    per_host: int = 4
    per_project: int = 16
    look_s: float = 5.0
    away_s: float = 1.0
    """While the database is away."""
    end_s: float = 5.0
    """For what is under way when it is told to end."""
    lease_ms: int = log.LEASE_MS


class Courier:
    """`run` works until `close`. `event_types` None: of every kind. `clock_ms` gives Unix ms, `jitter` 0 to below 1."""

    def __init__(
        self,
        transactions: Transactions,
        senders: Senders,
        secrets: WebhookSecrets,
        *,
        pace: Pace = Pace(),
        event_types: Collection[EventType] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._transactions = transactions
        self._senders = senders
        self._secrets = secrets
        self._pace = pace
        self._event_types = event_types
        self._clock_ms = clock_ms
        self._jitter = jitter
        self._name = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._takes = 0
        self._held: dict[asyncio.Task[None], Delivery] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._woken = asyncio.Event()
        self._ending = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def wake(self) -> None:
        """Something was enqueued, and is committed: look at once."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due until `close` is called. Raises nothing but cancellation."""
        self._is_idle.clear()
        try:
            await self._work()
        finally:
            self._is_idle.set()

    async def close(self) -> None:
        """Take nothing more; what is under way may end, for a while, and is else left to others at once."""
        self._ending = True
        self._woken.set()
        # It may be taking something at this moment.
        await self._is_idle.wait()
        if self._held:
            await asyncio.wait(self._held, timeout=self._pace.end_s)
        left = dict(self._held)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            await self._try(partial(_released, list(left.values()), self._clock_ms()))
        await self._senders.close()

    async def _work(self) -> None:
        warned = False
        while not self._ending:
            self._woken.clear()
            try:
                warned = warned or await self._transactions.read(self._warn)
                wait_s = await self._take()
            except DatabaseUnavailable:
                wait_s = self._pace.away_s
            await self._rest(wait_s)

    async def _take(self) -> float:
        """Begin to send what is due, as much as there is room for; seconds to wait before the next look."""
        room = self._pace.most_at_once - len(self._held)
        if room <= 0:
            return self._pace.look_s
        now_ms, share = self._clock_ms(), self._share(room)
        soonest_ms, ids = await self._transactions.read(partial(_due, share, now_ms))
        if soonest_ms is None or soonest_ms > now_ms:
            return self._pace.look_s if soonest_ms is None else self._until(soonest_ms)
        if not ids:
            # Those that are due are of hosts or projects that are busy: the first to end wakes us.
            return self._pace.look_s
        self._takes += 1
        holder, lease_ms = f"{self._name}-{self._takes}", self._pace.lease_ms
        taken = await self._transactions.write(
            lambda connection, _: log.take(connection, ids, now_ms, holder=holder, lease_ms=lease_ms)
        )
        for delivery in taken:
            task = asyncio.create_task(self._deliver(delivery))
            self._held[task] = delivery
            task.add_done_callback(self._done)
        # There may be more of it, or others were faster.
        return 0

    async def _deliver(self, delivery: Delivery) -> None:
        turn = self._turns.setdefault(delivery.host, asyncio.Semaphore(self._pace.per_host))
        async with turn:
            outcome = await self._tried(delivery)
        now_ms = self._clock_ms()
        then = following(delivery.attempts, outcome.status, now_ms, self._jitter, retry_after_s=outcome.retry_after_s)
        _tell(delivery, outcome, then)
        noting = partial(_noted, delivery, outcome, then, now_ms)
        while not await self._try(noting):
            await self._pause()

    async def _tried(self, delivery: Delivery) -> DeliveryOutcome:
        url, sender = delivery.url, self._senders.given
        if url is None:
            if self._senders.configured is None:
                return DeliveryOutcome(error_code="not_configured")
            url, sender = self._senders.configured
        try:
            # What goes to the settings' address is signed by the installation, whichever project it is about.
            secrets = self._secrets.of(None if delivery.url is None else delivery.project_id)
        except ConfigurationError as error:
            logger.warning("no webhook can be signed: %s", error)
            return DeliveryOutcome(error_code=UNUSABLE_SECRET)
        return await sender.deliver(url, delivery.message, secrets)

    async def _try(self, work: Work[Any]) -> bool:
        try:
            await self._transactions.write(work)
        except DatabaseUnavailable:
            return False
        return True

    async def _pause(self) -> None:
        await asyncio.sleep(self._pace.away_s)

    async def _rest(self, wait_s: float) -> None:
        if wait_s <= 0 or self._ending:
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    def _until(self, at_ms: int) -> float:
        return min(self._pace.look_s, max(0.001, (at_ms - self._clock_ms()) / 1000))

    def _share(self, room: int) -> Share:
        held, pace = self._held.values(), self._pace
        hosts = Counter(delivery.host for delivery in held)
        projects = Counter(delivery.project_id or "" for delivery in held)
        return Share(
            room,
            pace.per_host,
            pace.per_project,
            [host for host, count in hosts.items() if count >= pace.per_host],
            [project for project, count in projects.items() if count >= pace.per_project],
            self._event_types,
        )

    def _done(self, task: asyncio.Task[None]) -> None:
        delivery = self._held.pop(task)
        if all(other.host != delivery.host for other in self._held.values()):
            self._turns.pop(delivery.host, None)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a webhook's message was not seen through, and comes again", exc_info=error)

    def _warn(self, _: Connection, database: Database) -> bool:
        if not database.is_sqlite and not self._secrets.is_configured:
            logger.warning(
                "webhooks are signed with a secret of this machine's own (%s): other machines on the same database have"
                " others. Set webhooks.secret.",
                self._secrets.kept_file,
            )
        return True


def courier_of(settings: Settings, transactions: Transactions) -> Courier:
    """One for all kinds of messages, by these settings: for a worker. Raises ConfigurationError."""
    secrets = WebhookSecrets(settings.webhooks, settings.data_dir)
    return Courier(transactions, senders_of(settings), secrets)


def _due(share: Share, now_ms: int, connection: Connection, _: Database) -> tuple[int | None, list[str]]:
    soonest_ms = log.soonest_ms(connection, share.event_types)
    is_due = soonest_ms is not None and soonest_ms <= now_ms
    return soonest_ms, log.pick(connection, now_ms, share) if is_due else []


def _noted(
    delivery: Delivery, outcome: DeliveryOutcome, then: Following, now_ms: int, connection: Connection, _: Database
) -> None:
    log.note(connection, delivery, outcome, then, now_ms=now_ms)


def _released(held: Collection[Delivery], now_ms: int, connection: Connection, _: Database) -> None:
    log.release(connection, held, now_ms)


_LEVELS: Final[Mapping[str, int]] = {"delivered": logging.DEBUG, "pending": logging.INFO}


def _tell(delivery: Delivery, outcome: DeliveryOutcome, then: Following) -> None:
    # Not the address, which may hold a secret.
    told = "%s to a webhook (%s) is %s after try %s: %s"
    level = _LEVELS.get(then.state, logging.WARNING)
    logger.log(level, told, delivery.event_type, delivery.id, then.state, delivery.attempts, outcome.error_code or "ok")
