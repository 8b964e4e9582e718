"""providers/google_token.py: when a token is fetched, who waits for it, and what failures look like."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path

import pytest

from waypost.errors import ConfigurationError, ProviderAuthenticationError, ProviderServerError, ProviderUnreachable
from waypost.providers.google_token import GoogleToken, Token, _from_file, google_credentials


class Clock:
    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Tokens of an hour, numbered; `failure` is raised instead while it is set, `gate` holds a fetch back."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.fetched = 0
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> Token:
        self.fetched += 1
        assert self.gate.wait(10)
        if self.failure:
            raise self.failure
        return Token(f"token-{self.fetched}", self.clock.now + 3600)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock: Clock) -> Source:
    return Source(clock)


async def sent(token: GoogleToken) -> str:
    headers = await token.headers("POST", "https://x.example", b"")
    return headers["authorization"]


async def settled() -> None:
    """Let renewals that run beside come to their end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


async def test_requests_that_come_together_wait_for_one_fetch(clock: Clock, source: Source) -> None:
    token = GoogleToken(source, clock)
    assert await asyncio.gather(*[sent(token) for _ in range(5)]) == ["Bearer token-1"] * 5
    assert source.fetched == 1


async def test_a_token_is_renewed_beside_before_it_ends_and_nobody_waits(clock: Clock, source: Source) -> None:
    token = GoogleToken(source, clock)
    await sent(token)
    clock.now += 3600 - 299
    source.gate.clear()
    assert await sent(token) == "Bearer token-1"
    source.gate.set()
    await settled()
    assert await sent(token) == "Bearer token-2"
    assert source.fetched == 2


async def test_a_token_that_has_ended_is_waited_for(clock: Clock, source: Source) -> None:
    token = GoogleToken(source, clock)
    await sent(token)
    clock.now += 3600
    assert await sent(token) == "Bearer token-2"


async def test_a_renewal_that_fails_ahead_of_time_harms_nobody_and_is_tried_again_after_a_pause(
    clock: Clock, source: Source
) -> None:
    token = GoogleToken(source, clock)
    await sent(token)
    clock.now += 3400
    source.failure = ProviderUnreachable("away")
    for _ in range(3):
        assert await sent(token) == "Bearer token-1"
        await settled()
    assert source.fetched == 2
    clock.now += 10
    source.failure = None
    await sent(token)
    await settled()
    assert await sent(token) == "Bearer token-3"


async def test_a_caller_that_leaves_does_not_end_the_fetch_of_the_others(clock: Clock, source: Source) -> None:
    token = GoogleToken(source, clock)
    source.gate.clear()
    leaving, staying = asyncio.create_task(sent(token)), asyncio.create_task(sent(token))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    source.gate.set()
    assert await staying == "Bearer token-1"
    assert source.fetched == 1


async def test_a_first_fetch_that_fails_is_told_and_the_next_request_tries_again(clock: Clock, source: Source) -> None:
    token = GoogleToken(source, clock)
    source.failure = ProviderUnreachable("away")
    with pytest.raises(ProviderUnreachable):
        await sent(token)
    source.failure = None
    assert await sent(token) == "Bearer token-2"


async def test_a_token_that_is_refused_is_replaced_unless_it_is_brand_new(clock: Clock, source: Source) -> None:
    token, refused = GoogleToken(source, clock), ProviderAuthenticationError("no")
    assert not token.report(refused)
    await sent(token)
    assert not token.report(refused)
    clock.now += 30
    assert not token.report(None)
    assert not token.report(ProviderServerError("broken"))
    assert await sent(token) == "Bearer token-1"
    assert token.report(refused)
    assert await sent(token) == "Bearer token-2"


def test_a_token_is_in_no_text_form() -> None:
    assert "SECRET" not in repr(Token("SECRET", 1.0))


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(
        ConfigurationError, match=r"google-auth, which is not installed. Run: pip install 'waypost\[ver"
    ):
        google_credentials(None)


def test_a_users_credentials_are_read_too() -> None:
    account = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
    assert _from_file(account).refresh_token == "r"


@pytest.mark.parametrize(
    "content",
    [None, "no json SECRET", "{}", json.dumps({"type": "service_account", "private_key": "SECRET"}), '{"type": "x"}'],
)
def test_credentials_that_cannot_be_used_are_told_without_their_content(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "credentials.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ProviderAuthenticationError, match="Google gives no token for these credentials") as caught:
        google_credentials(file)()
    assert "SECRET" not in str(caught.value)
