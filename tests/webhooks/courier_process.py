"""A courier in a process of its own, to be killed. Arguments: the database's URL, a secret, the lease in ms."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

from waypost.ledger.threads import DatabaseThreads
from waypost.settings import WebhookSettings
from waypost.store.database import Database
from waypost.webhooks import AddressRules, Sender, WebhookSecrets
from waypost.webhooks.courier import Courier, Pace
from waypost.webhooks.senders import Senders


async def work(url: str, secret: str, lease_ms: int) -> None:
    """Until it is killed."""
    database = Database(make_url(url))
    secrets = WebhookSecrets(WebhookSettings.model_validate({"secret": secret}), Path())
    pace = Pace(per_host=4, look_s=0.1, lease_ms=lease_ms)
    senders = Senders(Sender(AddressRules(["127.0.0.1"])))
    await Courier(DatabaseThreads(lambda: database), senders, secrets, pace=pace).run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
