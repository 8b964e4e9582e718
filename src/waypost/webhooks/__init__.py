"""Signed messages to other servers: what became of a job, a batch or a budget.

A message is written to the database in the transaction of what it tells, and a courier sends it until it has arrived or
its tries are used up. The invariants: no message is lost to a process that dies, at least one copy arrives, all copies
have the same id; and no address is connected to that is neither public nor configured.

`waypost.webhooks.log` and `waypost.webhooks.courier` bring SQLAlchemy along: import them where they are used, and late.
"""

from waypost.webhooks.address import AddressRules
from waypost.webhooks.delivery import DeliveryOutcome, Limits, Sender
from waypost.webhooks.events import EventType, Message, WebhookEvent
from waypost.webhooks.secrets import WebhookSecrets
from waypost.webhooks.signing import SignatureRefused, verify

__all__ = [
    "AddressRules",
    "DeliveryOutcome",
    "EventType",
    "Limits",
    "Message",
    "Sender",
    "SignatureRefused",
    "WebhookEvent",
    "WebhookSecrets",
    "verify",
]
