"""Who calls: the keys of this server's callers, in memory, and the guard against guessing them.

Keys come from the settings and from the database. One is looked up by its SHA-256, so that neither memory nor the time
a look-up takes says anything about a key. Where there is no key anywhere, everybody who reaches the server, which then
is on loopback only, is one caller who may do everything.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from starlette.types import Scope

from waypost.errors import (
    AuthenticationRequired,
    ConfigurationError,
    DatabaseUnavailable,
    NotAllowed,
    TooManyFailedKeys,
)
from waypost.ledger.account import LOCAL as LOCAL_ACCOUNT
from waypost.ledger.account import Account, configured_account
from waypost.server.middleware.headers import header_value
from waypost.settings import KeySettings

if TYPE_CHECKING:
    from waypost.server.key_watch import KeyWatch

LOCAL: Final = LOCAL_ACCOUNT.key_name
"""The name of the one caller of a server without keys."""
HEADERS: Final = (b"authorization", b"x-api-key", b"x-goog-api-key")
"""Where the SDKs of OpenAI, Anthropic and Google put a key."""
MADE_HERE: Final = (b"wp_", b"wpa_")
"""How keys of the database begin."""
MOST_FAILURES: Final = 20
FAILURES_WINDOW_S: Final = 60.0
MOST_ADDRESSES: Final = 10_000
_CALLER: Final = "caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. `name` is the tenant in every store: a key's name in the settings, its id in the database.

    `valid_until_ms` None: as long as the key is known.
    """

    name: str = LOCAL
    account: Account = LOCAL_ACCOUNT
    valid_until_ms: int | None = None

    @property
    def is_admin(self) -> bool:
        """May the key administer?"""
        return self.account.is_admin

    def may_ask(self, model: str) -> bool:
        """May the key ask for this route or model?"""
        return self.account.allows(model or "default")

    def demand(self, model: str) -> None:
        """Raises NotAllowed if the key may not ask for this route or model."""
        if not self.may_ask(model):
            only_admin = self.account.key.routes == ()
            raise NotAllowed(
                f'The key "{self.account.key_name}" may not ask for "{model or "default"}".',
                hint="It is for administration only: ask with another key, or give it routes."
                if only_admin
                else "Ask for a model that it may use, or have the key's routes extended.",
            )

    def demand_admin(self) -> None:
        """Raises NotAllowed if the key may not administer."""
        if not self.is_admin:
            raise NotAllowed(
                f'The key "{self.account.key_name}" may not administer this server.', hint="Use an admin key."
            )


ANYBODY: Final = Caller()


class UnknownKey(AuthenticationRequired):
    """One that may have been made in this very moment: the database knows."""


class Callers:
    """The keys of one server: those of the settings, and those that `watch` knows of.

    `may_open`: without any key everybody may call, which only a server on loopback allows. `clock` is in seconds.
    """

    def __init__(
        self,
        keys: Mapping[str, KeySettings],
        watch: KeyWatch | None = None,
        *,
        may_open: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        accounts = {
            name: configured_account(name, is_admin=each.admin, routes=each.routes) for name, each in keys.items()
        }
        self._configured = {each.digest(): Caller(name, accounts[name]) for name, each in keys.items()}
        self._by_name = {caller.name: caller for caller in self._configured.values()}
        self.watch = watch
        """Where the database's keys come from, if there is a database."""
        self._may_open = may_open
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def are_read(self) -> bool:
        """Is it known who may call?"""
        return self.watch is None or self.watch.is_read

    @property
    def can_be_known(self) -> bool:
        """Is anybody known who may call?"""
        return self.are_read or bool(self._configured)

    @property
    def state(self) -> dict[str, str]:
        """How far it is known who may call: `status`, and in `detail` what that means."""
        if self.watch is None:
            return {"status": "ready", "detail": ""}
        return {"status": self.watch.status, "detail": self.watch.detail}

    @property
    def open_to_all(self) -> bool:
        """Is it known that there are no keys?"""
        return not self._configured and self._may_open and (self.watch is None or not self.watch.known.any_made)

    def any_made(self) -> bool:
        """Is there any key, in the settings or, for which it may block, in the database? Raises ConfigurationError."""
        return bool(self._configured) or self.any_in_database()

    def any_in_database(self) -> bool:
        """Has the database any key? Reads it, and blocks. Raises ConfigurationError if it does not answer."""
        if self.watch is None:
            return False
        self.watch.look()
        if not self.watch.is_read:
            raise ConfigurationError(
                "The settings have no keys, and the database does not answer: nobody could call.",
                hint="See to the database, or put a key into the settings.",
            )
        return self.watch.known.any_made

    def start(self) -> None:
        """Begin to read the database's keys, and to watch them. Does not block."""
        if self.watch is not None:
            self.watch.start()

    async def stop(self) -> None:
        """End that."""
        if self.watch is not None:
            await self.watch.stop()

    async def until_read(self) -> None:
        """Wait until it is known who may call, or that it cannot be known now."""
        if self.watch is not None:
            await self.watch.until_read()

    async def look_again(self) -> bool:
        """Ask the database for a key that is not known. True: there is something new."""
        return self.watch is not None and await self.watch.look_again()

    def identify(self, scope: Scope) -> Caller:
        """The caller, by the key that the request shows.

        Raises AuthenticationRequired; TooManyFailedKeys when one address has shown too many wrong keys;
        DatabaseUnavailable if it cannot be known yet whether the key is good.
        """
        if self.open_to_all:
            return ANYBODY
        key = key_in(scope)
        caller = self._find(key) if key else None
        if caller is not None and _is_good(caller):
            return caller
        if not self.are_read and (key or not self._configured):
            raise DatabaseUnavailable("Keys cannot be looked up now: the database does not answer.")
        if not key:
            raise AuthenticationRequired(
                "This server asks for a key.",
                hint="Send it as authorization: Bearer …, x-api-key or x-goog-api-key.",
            )
        self._count_failure(scope)
        kind = UnknownKey if self.watch is not None and key.startswith(MADE_HERE) else AuthenticationRequired
        raise kind("The key is not one of this server's.", hint="Check the key; it may have expired or been revoked.")

    def named(self, name: str) -> Caller | None:
        """The caller whom another worker of this server has identified; None if there is none of that name now."""
        if self.open_to_all:
            return ANYBODY if name == LOCAL else None
        caller = self._by_name.get(name)
        if caller is None and self.watch is not None:
            caller = self.watch.known.by_name.get(name)
        return caller

    def _find(self, key: bytes) -> Caller | None:
        digest = sha256(key).digest()
        caller = self._configured.get(digest)
        return caller if caller is not None or self.watch is None else self.watch.known.by_digest.get(digest)

    def _count_failure(self, scope: Scope) -> None:
        address = str((scope.get("client") or ("",))[0])
        count, since = self._failures.pop(address, (0, self._clock()))
        if self._clock() - since >= FAILURES_WINDOW_S:
            count, since = 0, self._clock()
        self._failures[address] = (count + 1, since)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        if count >= MOST_FAILURES:
            wait_s = max(1.0, since + FAILURES_WINDOW_S - self._clock())
            raise TooManyFailedKeys(
                f"More than {MOST_FAILURES} wrong keys came from this address within {FAILURES_WINDOW_S:.0f} s.",
                hint=f"Check the key, and try again in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )


def _is_good(caller: Caller) -> bool:
    return caller.valid_until_ms is None or caller.valid_until_ms > time.time() * 1000


def key_in(scope: Scope) -> bytes:
    """The key that a request shows, empty if there is none: the first of HEADERS, else Google's query parameter."""
    for name in HEADERS:
        value = (header_value(scope, name) or "").encode("latin-1")
        if name == b"authorization":
            scheme, _, value = value.partition(b" ")
            value = value if scheme.lower() == b"bearer" else b""
        if value := value.strip():
            return value
    return _queried(scope["query_string"]) if scope["path"].startswith(("/v1beta/", "/v1/models/")) else b""


def _queried(query: bytes) -> bytes:
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return next((value for name, _, value in pairs if name == b"key"), b"")


def caller_of(scope: Scope) -> Caller:
    """Whose request this is, once `Authenticate` has seen it."""
    caller: Caller = scope.get("state", {}).get(_CALLER, ANYBODY)
    return caller


def set_caller(scope: Scope, caller: Caller) -> None:
    """For `Authenticate`."""
    scope.setdefault("state", {})[_CALLER] = caller
