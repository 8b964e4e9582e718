"""Sends budget warnings to the address in the settings: a JSON message by POST, tried a few times.

The address comes from the settings only and is in no log, for it may hold a secret. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from waypost.errors import ProviderError
from waypost.ledger.allowances.warnings import BudgetWarning
from waypost.transport import Deadlines, HttpClient

logger = logging.getLogger("waypost.budget")

WAITS_S: Final = (1.0, 5.0, 20.0)
"""Before each further try."""
DEADLINES: Final = Deadlines(connect_s=5.0, first_byte_s=10.0, total_s=15.0)


class Webhook:
    """One address."""

    def __init__(self, address: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._address = address
        self._client = HttpClient()
        self._sleep = sleep

    async def __call__(self, warning: BudgetWarning) -> None:
        """Send it. What fails to the end is logged."""
        body = json.dumps(warning.fields()).encode()
        trouble = await self._sent(body)
        for wait_s in WAITS_S:
            if trouble is None:
                return
            await self._sleep(wait_s)
            trouble = await self._sent(body)
        if trouble is not None:
            logger.error("the webhook was not told of a budget's warning: %s", trouble)

    async def close(self) -> None:
        """End its connections."""
        await self._client.close()

    async def _sent(self, body: bytes) -> str | None:
        """None: it has arrived. Else what kept it."""
        headers = {"content-type": "application/json", "user-agent": "waypost"}
        sending = self._client.send("POST", self._address, headers=headers, body=body, deadlines=DEADLINES)
        try:
            async with sending as reply:
                return None if 200 <= reply.status < 300 else f"status {reply.status}"
        except ProviderError as error:
            return error.code
