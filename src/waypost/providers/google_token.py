"""Google Cloud's access tokens: fetched by google-auth in a thread, and renewed before they run out.

google-auth decides where credentials come from (a service account, a user, the machine, a federation). Invariant: at
most one renewal is on its way; and while a token is still good, no request waits for the next one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, Final, TypeAlias

from waypost.errors import ConfigurationError, ProviderAuthenticationError, ProviderError, ProviderUnreachable

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_RENEW_BEFORE_S: Final = 300.0
_RENEW_PAUSE_S: Final = 10.0
"""How long after a renewal ahead of time the next is tried, if that one failed."""
_FETCH_TIMEOUT_S: Final = 20.0
_MIN_AGE_S: Final = 30.0
"""A token that is refused so soon after it was made will not be better for being made again."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and when it ends, in seconds of the Unix epoch."""

    text: str = field(repr=False)
    ends: float


FetchToken: TypeAlias = Callable[[], Token]
"""Fetches a new token; blocks. Raises ProviderError."""


class GoogleToken:
    """Implements `Authorization`. `fetch` runs in a thread; `clock` gives seconds of the Unix epoch."""

    def __init__(self, fetch: FetchToken, clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock
        self._token: Token | None = None
        self._fetched = 0.0
        self._tried = 0.0
        self._renewal: asyncio.Task[Token] | None = None

    async def headers(self, _method: str, _url: str, _body: bytes) -> Mapping[str, str]:
        """The token of now. Raises ProviderError if there is none to be had."""
        token, now = self._token, self._clock()
        if token is None or token.ends <= now:
            # Shielded: who waits for it may leave, the others still want it.
            token = await asyncio.shield(self._renewing())
        elif token.ends - now < _RENEW_BEFORE_S and now - self._tried >= _RENEW_PAUSE_S:
            self._renewing()
        return {"authorization": f"Bearer {token.text}"}

    def report(self, error: ProviderError | None) -> bool:
        """A token that is refused is not used again; True if a new one may help."""
        if not isinstance(error, ProviderAuthenticationError) or self._token is None:
            return False
        if self._clock() - self._fetched < _MIN_AGE_S:
            return False
        self._token = None
        return True

    def _renewing(self) -> asyncio.Task[Token]:
        if self._renewal is None or self._renewal.done():
            self._tried = self._clock()
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(_seen)
        return self._renewal

    async def _renew(self) -> Token:
        self._token = await asyncio.to_thread(self._fetch)
        self._fetched = self._clock()
        return self._token


def _seen(task: asyncio.Task[Token]) -> None:
    """A renewal ahead of time that fails harms nobody: the next request tries again."""
    if not task.cancelled():
        task.exception()


def google_credentials(file: Path | None, *, proxy: str | None = None, ca_file: Path | None = None) -> FetchToken:
    """Tokens from a credentials file, or from what the machine offers. Nothing is read before the first is wanted.

    Raises ConfigurationError if google-auth is not installed.
    """
    try:
        import google.auth  # noqa: F401 - asked for at the start, not at the first request
    except ImportError as error:
        raise ConfigurationError(
            "Vertex AI needs the package google-auth, which is not installed.",
            hint="Run: pip install 'waypost[vertex]'",
        ) from error
    return _Fetch(file, proxy, ca_file)


class _Fetch:
    """Loads the credentials once, and refreshes them at each call."""

    def __init__(self, file: Path | None, proxy: str | None, ca_file: Path | None) -> None:
        self._file = file
        self._proxy = proxy
        self._ca_file = ca_file
        self._credentials: Any = None

    def __call__(self) -> Token:
        from google.auth import exceptions

        from waypost.providers.google_http import UrllibRequest

        try:
            request = UrllibRequest(_FETCH_TIMEOUT_S, proxy=self._proxy, ca_file=self._ca_file)
            if self._credentials is None:
                self._credentials = self._load(request)
            self._credentials.refresh(request)
        except exceptions.TransportError as error:
            raise ProviderUnreachable("Google's token server cannot be reached.") from error
        except (exceptions.GoogleAuthError, OSError, ValueError, AttributeError) as error:
            # Without the text: it may repeat what the file holds or the token server was told.
            raise ProviderAuthenticationError(
                f"Google gives no token for these credentials ({type(error).__name__}).",
                hint="Check the provider's credentials_file, or run: gcloud auth application-default login",
            ) from None
        # Its times are UTC without saying so.
        ends: float = self._credentials.expiry.replace(tzinfo=UTC).timestamp()
        return Token(self._credentials.token, ends)

    def _load(self, request: Any) -> Any:
        import google.auth

        if self._file is not None:
            return _from_file(json.loads(self._file.read_text(encoding="utf-8")))
        credentials, _project = google.auth.default(scopes=[SCOPE], request=request)
        return credentials


def _from_file(account: dict[str, Any]) -> Any:
    """Only the two kinds that hold a secret of their own. Raises ValueError for others.

    A federation's file may name any program or address to ask; the machine's own credentials may be such a one.
    """
    match account.get("type"):
        case "service_account":
            from google.oauth2 import service_account

            make: Any = service_account.Credentials.from_service_account_info
        case "authorized_user":
            from google.oauth2 import credentials

            make = credentials.Credentials.from_authorized_user_info
        case _:
            raise ValueError("neither a service account nor a user")
    return make(account, scopes=[SCOPE])
