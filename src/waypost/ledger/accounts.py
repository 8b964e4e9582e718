"""Accounts by the id of their key, for work that goes on when its caller has long gone. Blocks: threads only.

They are read anew whenever projects or keys have changed, so that a key that was revoked is good for nothing from the
next look on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from waypost.errors import NotAllowed
from waypost.ledger.account import LOCAL, Account, configured_account
from waypost.ledger.books import now_ms
from waypost.ledger.key_reading import NOTHING, Credential, read_keys
from waypost.ledger.keys import revision
from waypost.settings import KeySettings
from waypost.store.database import Database


class AccountBook:
    """Those of the settings, and those of the database."""

    def __init__(self, keys: Mapping[str, KeySettings]) -> None:
        configured = (configured_account(name, is_admin=each.admin, routes=each.routes) for name, each in keys.items())
        self._configured = {account.key_id: account for account in (LOCAL, *configured)}
        self._made: Mapping[str, Credential] = {}
        self._reading = NOTHING
        self._revision: int | None = None
        self._turn = threading.Lock()

    def find(self, database: Database, key_id: str) -> Account:
        """The key's account, as it is now. Raises NotAllowed if the key is good no more, and DatabaseError."""
        account = self._configured.get(key_id)
        if account is not None:
            return account
        with self._turn:
            self._read(database)
            found = self._made.get(key_id)
        if found is None or (found.valid_until_ms is not None and found.valid_until_ms <= now_ms()):
            raise NotAllowed(
                "The key that asked for this job is no longer good.", hint="Ask again with a key that is good."
            )
        return found.account

    def _read(self, database: Database) -> None:
        with database.read() as connection:
            number = revision(connection)
            if number != self._revision:
                self._reading = read_keys(connection, now_ms(), self._reading)
                # A key that is being rotated is there twice: what holds longer counts.
                by_end = sorted(self._reading.credentials.values(), key=_end)
                self._made = {each.account.key_id: each for each in by_end}
                self._revision = number


def _end(credential: Credential) -> float:
    return float("inf") if credential.valid_until_ms is None else credential.valid_until_ms
