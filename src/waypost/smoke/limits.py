"""What has to be refused is refused: a body that is too long, a key that is not one, a request over its key's limit."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from waypost.smoke.answers import GENERATE
from waypost.smoke.asked import Smoke
from waypost.smoke.client import Reply
from waypost.smoke.verdict import CheckFailed, CheckSkipped

MODELS: Final = "/v1/models"
PROJECTS: Final = "/api/admin/projects"
KEYS: Final = "/api/admin/keys"
PROJECT: Final = "smoke-test"
MOST_TRIED: Final = 10
"""A key with a higher limit is not used up for the sake of a check."""
SPARE: Final = 3
"""Requests over the limit until one is refused: several servers may each have had a share of it."""
KEY_LIVES: Final = timedelta(minutes=10)


async def check_body_limit(smoke: Smoke) -> str:
    """A body of a tebibyte is announced, and refused before it is sent."""
    reply = await smoke.server.announce_huge_body(GENERATE, smoke.wishes.key)
    if reply.status != 413:
        raise CheckFailed(f"A body of a tebibyte is answered with status {reply.status}: {reply.told()}")
    return reply.told() if reply.code else "refused with status 413 by what stands before the server"


async def check_wrong_key(smoke: Smoke) -> str:
    """A key that nobody made, and no key at all."""
    without = await smoke.server.get(MODELS)
    smoke.asks_for_keys = without.status in (401, 429)
    if not smoke.asks_for_keys:
        without.demand(200)
        raise CheckSkipped("the server asks for no key")
    wrong = await smoke.server.get(MODELS, f"wp_{secrets.token_hex(20)}")
    if wrong.status not in (401, 429):
        raise CheckFailed(f"A key that nobody made is answered with status {wrong.status}.")
    return f"refused with status {wrong.status}"


async def check_rate_limit(smoke: Smoke) -> str:
    """A key may ask as often as its limit says, and no more."""
    if smoke.asks_for_keys is False:
        raise CheckSkipped("the server asks for no key, so that nobody is limited")
    if smoke.wishes.admin_key:
        return await _with_a_key_of_its_own(smoke, smoke.wishes.admin_key)
    limit = smoke.requests_per_minute
    if limit is None:
        raise CheckSkipped("the key has no limit of requests, and there is no admin key to make one that has")
    if limit > MOST_TRIED:
        raise CheckSkipped(
            f"the limit is {limit:,} a minute, and there is no admin key to make a key with a smaller one"
        )
    return await _until_refused(smoke, smoke.wishes.key, limit)


async def _with_a_key_of_its_own(smoke: Smoke, admin_key: str) -> str:
    """Make a key with a limit of one request a minute, use it up, and revoke it."""
    server = smoke.server
    new = {
        "name": f"smoke-{secrets.token_hex(6)}",
        "project_id": await _project(smoke, admin_key),
        "requests_per_minute": 1,
        "expires_at": (datetime.now(UTC) + KEY_LIVES).isoformat(timespec="seconds"),
    }
    made = (await server.post(KEYS, new, admin_key)).demand(201).json()
    try:
        first = await _ask(smoke, str(made["key"]))
        first.demand(200)
        return await _until_refused(smoke, str(made["key"]), 1)
    finally:
        await server.delete(f"{KEYS}/{made['id']}", admin_key)


async def _project(smoke: Smoke, admin_key: str) -> str:
    """The id of the project that such keys belong to; it is made when it is first wanted."""
    page = (await smoke.server.get(f"{PROJECTS}?name={PROJECT}", admin_key)).demand(200).json()
    items: list[dict[str, Any]] = page["items"]
    for item in items:
        if item["name"] == PROJECT:
            return str(item["id"])
    made = (await smoke.server.post(PROJECTS, {"name": PROJECT}, admin_key)).demand(201).json()
    return str(made["id"])


async def _until_refused(smoke: Smoke, key: str | None, limit: int) -> str:
    for _ in range(limit + SPARE):
        reply = await _ask(smoke, key)
        if reply.status == 429:
            if "retry-after" not in reply.headers:
                raise CheckFailed("A request over the limit is refused without Retry-After.")
            return f"{limit} a minute, the next is refused for {reply.headers['retry-after']} s"
        reply.demand(200)
    raise CheckFailed(f"A key that may ask {limit} times a minute was answered {limit + SPARE} times more.")


async def _ask(smoke: Smoke, key: str | None) -> Reply:
    return await smoke.server.post(GENERATE, smoke.question(), key)
