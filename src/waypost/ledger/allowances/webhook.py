"""Tells the address in the settings of budgets' warnings, by signed messages.

One is queued in the transaction of its claim, and sent by a courier of this process or any other. While the database is
away there is no queue: then it is sent from memory, and tried a few times. The address comes from the settings only and
is in no log, for it may hold a secret.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from waypost.errors import ConfigurationError
from waypost.ledger.allowances.warnings import BudgetWarning
from waypost.webhooks import EventType, Message, Sender, WebhookEvent, WebhookSecrets, log
from waypost.webhooks.courier import Courier, Transactions
from waypost.webhooks.senders import Senders

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger("waypost.budget")

WAITS_S: Final = (1.0, 5.0, 20.0)
"""Before each further try without a queue."""


KINDS: Final[tuple[EventType, ...]] = ("budget.warning",)


class WarningWebhook:
    """The address of `senders.configured`. `start` begins to send what is queued; `close` ends that and the senders."""

    def __init__(
        self,
        senders: Senders,
        secrets: WebhookSecrets,
        transactions: Transactions,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._address, self._sender = _configured(senders)
        self._secrets = secrets
        # Others are the workers' business, which have more time for receivers that are slow.
        self._courier = Courier(transactions, senders, secrets, event_types=KINDS)
        self._sleep = sleep
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Send what is queued, also what another process left."""
        if self._running is None:
            self._running = asyncio.create_task(self._courier.run())

    def queue(self, connection: Connection, warning: BudgetWarning) -> None:
        """Have it sent, if the transaction is committed."""
        event, allowance = event_of(warning, _now_ms()), warning.allowance
        log.enqueue(
            connection,
            event,
            url=None,
            now_ms=event.at_ms,
            project_id=allowance.project_id,
            about=allowance.subject,
        )

    def queued(self) -> None:
        """The transaction is committed."""
        self._courier.wake()

    async def __call__(self, warning: BudgetWarning) -> None:
        """Send it from memory. What fails to the end is logged."""
        event = event_of(warning, _now_ms())
        message = Message(log.new_message_id(event.at_ms), event.body())
        trouble = await self._sent(message)
        for wait_s in WAITS_S:
            if trouble is None:
                return
            await self._sleep(wait_s)
            trouble = await self._sent(message)
        if trouble is not None:
            logger.error("the webhook was not told of a budget's warning: %s", trouble)

    async def close(self) -> None:
        """End its connections. What is queued stays so."""
        await self._courier.close()
        if self._running is not None:
            await self._running

    async def _sent(self, message: Message) -> str | None:
        """None: it has arrived. Else what kept it."""
        try:
            secrets = self._secrets.of(None)
        except ConfigurationError as error:
            return str(error)
        return (await self._sender.deliver(self._address, message, secrets)).error_code


def event_of(warning: BudgetWarning, at_ms: int) -> WebhookEvent:
    """The event that tells it; `text` is what chat services show."""
    data = warning.fields()
    return WebhookEvent("budget.warning", data, at_ms, text=data["text"])


def _configured(senders: Senders) -> tuple[str, Sender]:
    if senders.configured is None:
        raise ConfigurationError("ledger.warning_webhook is not set.")
    return senders.configured


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
