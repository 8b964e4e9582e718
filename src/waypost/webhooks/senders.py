"""The two kinds of address there are, each with a client of its own, so that they never share a connection."""

from __future__ import annotations

from dataclasses import dataclass

from waypost.settings import Settings
from waypost.webhooks.address import AddressRules
from waypost.webhooks.delivery import Sender


@dataclass(frozen=True, slots=True)
class Senders:
    """Who sends: to addresses that callers gave, and to the one in the settings, if there is one."""

    given: Sender
    configured: tuple[str, Sender] | None = None

    async def close(self) -> None:
        """End their connections in this event loop."""
        await self.given.close()
        if self.configured is not None:
            await self.configured[1].close()


def senders_of(settings: Settings) -> Senders:
    """Those of these settings. Raises ConfigurationError."""
    webhooks, address = settings.webhooks, settings.ledger.warning_webhook
    given = Sender(AddressRules(webhooks.allowed_hosts), ca_file=webhooks.ca_file)
    if address is None:
        return Senders(given)
    return Senders(given, (address, Sender(AddressRules.trusting(), ca_file=webhooks.ca_file)))
