"""Claims about what goes by providers' batches, and under whose account: budgets, revoked keys, analyses, refusals."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.ledger.administered import ACTOR
from tests.ledger.administered import key as new_key
from tests.ledger.administered import project as new_project
from tests.worker.batched import books, counted_micro_usd, hand_in, items_of, settings_of, vendor_batches
from tests.worker.bench import bench

from waypost.errors import UnsupportedFeature
from waypost.jobs.batch import Batch
from waypost.ledger.audit import changing
from waypost.ledger.deferred import DEFERRED
from waypost.ledger.key_changes import revoke_key
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.tables import grants, spend

pytestmark = pytest.mark.timeout(60)
TEN = {"rules": [{"reply": {"text": "one two three four five six seven eight nine ten"}}]}
FREE_INPUT = {"prices": {"simulated/gpt-5-mini": {"input": 0, "output": 100}}}
"""$100 for a million tokens of output: in a batch 50 micro-dollars for one."""
KINDS = {
    "tone": {
        "prompt": "Of what tone is {content}?",
        "json_schema": {
            "type": "object",
            "properties": {"tone": {"type": "string"}},
            "required": ["tone"],
            "additionalProperties": False,
        },
    }
}


def spent(database: Database) -> list[int]:
    """The month's, of the key and of its project."""
    with database.read() as connection:
        rows = connection.execute(select(spend)).all()
    return [row.micro_usd for row in rows if len(row.window) == len("2026-11")]


def held_back(database: Database) -> list[int]:
    """Of the same, for calls that providers have."""
    with database.read() as connection:
        rows = connection.execute(select(grants).where(grants.c.holder == DEFERRED)).all()
    return [row.amount for row in rows if len(row.window) == len("2026-11")]


def ended(database: Database, batch: Batch) -> list[tuple[str, str | None]]:
    return [(job.state, (job.error or {}).get("code")) for job in items_of(database, batch)]


async def test_a_budget_is_held_back_at_the_beginning_and_free_again_at_the_end(
    database: Database, tmp_path: Path
) -> None:
    """Of 100 tokens each item may cost 5,000 micro-dollars, and of 13 costs 650; 16,000 are enough for three."""
    made = new_key(database, new_project(database), monthly_budget_usd=0.016).key
    whose = (str(made.project_id), made.id)
    async with Simulator(TEN) as simulator:
        settings = {**settings_of(simulator, database, "chat"), **FREE_INPUT}
        async with bench(settings, tmp_path) as worker:
            batch = hand_in(database, [f"item {number}" for number in range(5)], whose=whose)
            await worker.work()
            assert (spent(database), held_back(database)) == ([], [15_000, 15_000])
            refused = [("failed", "budget_exceeded")] * 2
            assert ended(database, batch) == [("waiting", None)] * 3 + refused
            await worker.until_over(batch)
            assert ended(database, batch) == [("succeeded", None)] * 3 + refused
            assert (spent(database), held_back(database)) == ([3 * 650] * 2, [0, 0])
        # Another worker, which knows nothing but what is in the database.
        async with bench(settings, tmp_path / "other", name="other") as other:
            again = hand_in(database, ["item 5", "item 6"], whose=whose)
            await other.until_over(again)
        assert ended(database, again) == [("succeeded", None)] * 2
    assert spent(database) == [5 * 650] * 2


async def test_a_key_that_was_revoked_meanwhile_is_good_for_nothing(database: Database, tmp_path: Path) -> None:
    made = new_key(database, new_project(database), monthly_budget_usd=1).key
    async with Simulator(TEN) as simulator:
        async with bench({**settings_of(simulator, database, "chat"), **FREE_INPUT}, tmp_path) as worker:
            batch = hand_in(database, ["item 0", "item 1"], whose=(str(made.project_id), made.id))
            await worker.work()
            with changing(database, ACTOR) as change:
                revoke_key(change, made.id)
            await worker.until_over(batch)
        assert ended(database, batch) == [("failed", "not_allowed")] * 2
        assert simulator.requests == ()
    assert (books(database).outcomes, spent(database), held_back(database)) == (["failed"] * 2, [], [0, 0])


async def test_calls_whose_provider_is_gone_from_the_settings_fail(database: Database, tmp_path: Path) -> None:
    async with Simulator(TEN) as simulator:
        settings = settings_of(simulator, database, "chat")
        async with bench(settings, tmp_path) as worker:
            batch = hand_in(database, ["item 0", "item 1"])
            await worker.work()
        settings["providers"] = {"another": settings["providers"]["simulated"]}
        settings["routes"] = {"default": {"targets": ["another"]}}
        async with bench(settings, tmp_path) as worker:
            await worker.until_over(batch)
        assert ended(database, batch) == [("failed", "unsupported_feature")] * 2
    assert books(database).unfinished == 0


async def test_an_analysis_goes_by_the_batch_and_its_repair_at_once(database: Database, tmp_path: Path) -> None:
    bad = {"match": {"batched": True, "contains": "rough"}, "reply": {"text": "no JSON at all"}}
    async with Simulator({"rules": [bad, {"reply": {"text": '{"tone": "calm"}'}}]}) as simulator:
        async with bench({**settings_of(simulator, database, "anthropic"), "kinds": KINDS}, tmp_path) as worker:
            batch = hand_in(database, ["A calm text.", "A rough text."], "analyze", kinds=["tone"])
            await worker.until_over(batch)
        done = items_of(database, batch)
        values = [json.loads(job.result or "")["results"]["tone"]["value"] for job in done]
        assert values == [{"tone": "calm"}] * 2
        asked = [request for request in simulator.requests if request.path == "/v1/messages"]
        assert [bool(request.batch_id) for request in asked] == [True, True, False]
        in_batch = await asyncio.to_thread(counted_micro_usd, simulator, "anthropic")
        assert sum(job.cost_micro_usd or 0 for job in done) > in_batch
        assert done[0].cost_micro_usd is not None
        assert books(database).tiers == {"batch", "standard"}


async def test_a_long_text_is_asked_about_at_once(database: Database, tmp_path: Path) -> None:
    """In parts, which would each take a day."""
    long = "\n\n".join(f"Paragraph {number}. The staff was kind, and the coffee cold." for number in range(12_000))
    async with Simulator({"rules": [{"reply": {"text": '{"tone": "calm"}'}}]}) as simulator:
        async with bench({**settings_of(simulator, database, "anthropic"), "kinds": KINDS}, tmp_path) as worker:
            batch = hand_in(database, [long], "analyze", kinds=["tone"])
            await worker.until_over(batch)
        assert ended(database, batch) == [("succeeded", None)]
        assert await asyncio.to_thread(vendor_batches, simulator, "anthropic") == []


@pytest.mark.parametrize(
    ("routes", "model", "why"),
    [
        ({"default": {"targets": ["claude"]}}, None, "no route that allows"),
        ({"default": {"targets": ["claude"], "provider_batches": True}}, "claude/claude-haiku-4-5", "no route that"),
        ({"default": {"targets": ["gemini"], "provider_batches": True}}, None, "no target whose provider has"),
    ],
)
async def test_a_route_without_batches_is_refused(
    tmp_path: Path, routes: dict[str, Any], model: str | None, why: str
) -> None:
    providers = {name: {"kind": kind, "api_key": "any"} for name, kind in (("claude", "anthropic"), ("gemini",) * 2)}
    async with bench({"providers": providers, "routes": routes}, tmp_path) as worker:
        with pytest.raises(UnsupportedFeature, match=why):
            worker.application.gateway.batch_target(model)


async def test_the_first_target_with_batches_is_asked_whatever_the_name(tmp_path: Path) -> None:
    providers = {name: {"kind": kind, "api_key": "any"} for name, kind in (("claude", "anthropic"), ("gemini",) * 2)}
    routes = {"cheap": {"targets": ["gemini", "claude/claude-haiku-4-5"], "provider_batches": True}}
    settings = {"providers": providers, "routes": routes, "aliases": {"thrifty": "cheap"}}
    async with bench(settings, tmp_path) as worker:
        for name in ("cheap", "thrifty"):
            target = worker.application.gateway.batch_target(name)
            assert (target.provider, target.kind, target.model) == ("claude", "anthropic", "claude-haiku-4-5")
