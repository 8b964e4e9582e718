"""Batches at the lower price, for tests: settings, items, and what the simulated provider and the ledger count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.request import Request, urlopen

from sqlalchemy import select

from waypost.jobs import batch_changes, batch_items, batches
from waypost.jobs.batch import Batch, BatchRequest, Item, NewBatch
from waypost.jobs.job import Input, Job
from waypost.ledger.books import now_ms
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.tables import attempts, requests, spend, unfinished_attempts

Wire = Literal["anthropic", "chat", "responses"]
MODELS: Final[dict[Wire, str]] = {"anthropic": "claude-haiku-4-5", "chat": "gpt-5-mini", "responses": "gpt-5-mini"}
HALF_PRICES: Final[dict[Wire, tuple[int, int]]] = {
    "anthropic": (500_000, 2_500_000),
    "chat": (125_000, 1_000_000),
    "responses": (125_000, 1_000_000),
}
"""Micro-dollars for a million tokens of input and of output: half of what the vendors' pages say."""


def settings_of(simulator: Simulator, database: Database, wire: Wire, **route: Any) -> dict[str, Any]:
    """One provider, behind the default route."""
    providers: dict[Wire, dict[str, Any]] = {
        "anthropic": {"kind": "anthropic", "base_url": simulator.anthropic_url},
        "chat": {"kind": "openai", "base_url": simulator.openai_url},
        "responses": {"kind": "openai", "wire": "responses", "base_url": simulator.openai_url},
    }
    target = f"simulated/{MODELS[wire]}"
    return {
        "server": {"log_level": "info", "shutdown_grace_s": 5},
        "database_url": database.url.render_as_string(hide_password=False),
        "providers": {"simulated": {**providers[wire], "api_key": "any"}},
        "routes": {"default": {"targets": [target], "provider_batches": True, **route}},
    }


def hand_in(
    database: Database,
    texts: Sequence[str],
    type_: str = "generate",
    whose: tuple[str, str] = ("local", "local"),
    **told: Any,
) -> Batch:
    """A closed batch at the lower price, for a project and a key."""
    request = BatchRequest(type_, {"lower_price": True, **told})
    with database.write() as connection:
        batch = batches.create(connection, database, NewBatch(*whose, request), now_ms()).batch
    items = [_item(index, text, type_) for index, text in enumerate(texts)]
    with database.write() as connection:
        batch_items.add(connection, database, batch, items, now_ms(), 7)
        return batch_changes.close(connection, None, batch.id, now_ms(), 7)


def _item(index: int, text: str, type_: str) -> Item:
    if type_ == "generate":
        return Item(index, request={"prompt": text, "max_tokens": 100}, name=f"n{index}")
    return Item(index, Input(text.encode()), name=f"n{index}")


def items_of(database: Database, batch: Batch) -> list[Job]:
    """Its items, in order."""
    with database.read() as connection:
        return batch_items.read_from(connection, batch.id, 0, 10_000)


def has_ended(database: Database, batch: Batch) -> bool:
    """Has nothing of it left to do?"""
    with database.read() as connection:
        return batches.find(connection, None, batch.id).has_ended


def counted_micro_usd(simulator: Simulator, wire: Wire) -> int:
    """What the provider's own counts come to at half the price, request by request."""
    rates = HALF_PRICES[wire]
    costs = [-(-(read * rates[0] + written * rates[1]) // 1_000_000) for read, written in _counts(simulator, wire)]
    return sum(costs)


def vendor_batches(simulator: Simulator, wire: Wire) -> list[dict[str, Any]]:
    """Batches that the provider has."""
    found: list[dict[str, Any]] = json.loads(_get(simulator, wire, _path(wire)))["data"]
    return found


def _path(wire: Wire) -> str:
    return "/v1/messages/batches" if wire == "anthropic" else "/batches"


def _counts(simulator: Simulator, wire: Wire) -> list[tuple[int, int]]:
    counts = []
    for batch in vendor_batches(simulator, wire):
        if wire == "anthropic":
            lines = _get(simulator, wire, f"/v1/messages/batches/{batch['id']}/results").splitlines()
            usages = [json.loads(line)["result"].get("message", {}).get("usage") for line in lines]
            counts += [(usage["input_tokens"], usage["output_tokens"]) for usage in usages if usage]
            continue
        if batch["output_file_id"] is None:
            continue
        lines = _get(simulator, wire, f"/files/{batch['output_file_id']}/content").splitlines()
        names = ("prompt_tokens", "completion_tokens") if wire == "chat" else ("input_tokens", "output_tokens")
        usages = [json.loads(line)["response"]["body"]["usage"] for line in lines]
        counts += [(usage[names[0]], usage[names[1]]) for usage in usages]
    return counts


def _get(simulator: Simulator, wire: Wire, path: str) -> bytes:
    base = simulator.anthropic_url if wire == "anthropic" else simulator.openai_url
    headers = {"x-api-key": "any", "anthropic-version": "2023-06-01", "authorization": "Bearer any"}
    with urlopen(Request(f"{base}{path}", headers=headers), timeout=10) as reply:  # noqa: S310 - our own server
        return bytes(reply.read())


@dataclass(frozen=True)
class Books:
    """What the ledger says of all calls."""

    outcomes: list[str]
    cost_micro_usd: int
    requests_micro_usd: int
    spent_micro_usd: int
    tiers: set[str | None]
    unfinished: int


def books(database: Database) -> Books:
    """All of it. Spend is the local project's, of months."""
    with database.read() as connection:
        rows = connection.execute(select(attempts).order_by(attempts.c.id)).all()
        whole = connection.execute(select(requests.c.cost_micro_usd)).scalars().all()
        months = connection.execute(select(spend).where(spend.c.subject.like("project:%"))).all()
        left = connection.execute(select(unfinished_attempts.c.attempt_id)).all()
    return Books(
        [row.outcome for row in rows],
        sum(row.cost_micro_usd or 0 for row in rows),
        sum(cost or 0 for cost in whole),
        sum(row.micro_usd for row in months if len(row.window) == len("2026-11")),
        {(row.usage or {}).get("service_tier") for row in rows if row.outcome == "answered"},
        len(left),
    )
