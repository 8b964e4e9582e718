"""Claims about batches at providers when something goes wrong: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.worker.batched import (
    Wire,
    books,
    counted_micro_usd,
    hand_in,
    items_of,
    settings_of,
    vendor_batches,
)
from tests.worker.bench import bench

from waypost.jobs import batch_changes
from waypost.ledger.books import now_ms
from waypost.simulator import Simulator
from waypost.store.database import Database

pytestmark = pytest.mark.timeout(60)
BOTH = pytest.mark.parametrize("wire", ["anthropic", "chat"])
MAKING: dict[str, str] = {"anthropic": "/v1/messages/batches", "chat": "/v1/batches"}
RESULTS: dict[str, str] = {"anthropic": "/v1/messages/batches/*/results", "chat": "/v1/files/*/content"}
TEXTS = ["item 0", "item 1", "item 2"]


def script(*rules: dict[str, Any], batches: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"batches": batches or [], "rules": [*rules, {"reply": {"echo": True}}]}


def once(path: str, method: str, **fault: Any) -> dict[str, Any]:
    return {"match": {"path": path, "method": method}, "times": 1, "fault": fault}


async def told(function: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


async def is_exact(simulator: Simulator, database: Database, wire: Wire, made: int) -> None:
    """Every item is in the ledger at what the provider counted, and the provider has made so many batches."""
    cost, found = await told(counted_micro_usd, simulator, wire), books(database)
    assert (found.cost_micro_usd, found.requests_micro_usd, found.spent_micro_usd) == (cost, cost, cost)
    assert found.unfinished == 0
    assert len(await told(vendor_batches, simulator, wire)) == made


@BOTH
async def test_a_batch_that_was_made_and_not_told_is_found_and_not_made_again(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    async with Simulator(script(once(MAKING[wire], "POST", reply_lost=True))) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path) as worker:
            batch = hand_in(database, TEXTS)
            await worker.work()
            await worker.send()
            (sent,) = await worker.at_providers(batch)
            assert (sent.state, sent.vendor_id) == ("unsure", None)
            await worker.until_over(batch)
            (done,) = await worker.at_providers(batch)
        assert (done.state, done.requests) == ("over", 3)
        assert [json.loads(job.result or "")["content"] for job in items_of(database, batch)] == TEXTS
        await is_exact(simulator, database, wire, 1)


@BOTH
async def test_a_batch_that_was_not_made_is_made_once_that_is_known(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    async with Simulator(script(once(MAKING[wire], "POST", reset_before_headers=True))) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path) as worker:
            batch = hand_in(database, TEXTS)
            await worker.until_over(batch)
        assert [job.state for job in items_of(database, batch)] == ["succeeded"] * 3
        await is_exact(simulator, database, wire, 1)


async def test_somebody_elses_batch_of_the_same_size_and_time_is_not_taken_for_ours(
    database: Database, tmp_path: Path
) -> None:
    """Anthropic's have no mark: their results tell, so that ours is not made before the other is over."""
    from tests.simulator.batches import messages

    slowly = script(once(MAKING["anthropic"], "POST", reset_before_headers=True), batches=[{"takes_polls": 3}])
    async with Simulator(slowly) as simulator:
        async with bench(settings_of(simulator, database, "anthropic"), tmp_path, surely_made_s=0.0) as worker:
            batch = hand_in(database, TEXTS)
            await worker.work()
            await worker.send()
            await told(_make, simulator, {"requests": messages("a", "b", "c")})
            await worker.look()
            (sent,) = await worker.at_providers(batch)
            assert (sent.state, sent.trouble) == (
                "unsure",
                "The provider has a batch that may be this one; its results will tell.",
            )
            (other,) = await told(vendor_batches, simulator, "anthropic")
            for _ in range(3):
                await told(_ask, simulator, f"/v1/messages/batches/{other['id']}")
            await worker.until_over(batch)
        assert [json.loads(job.result or "")["content"] for job in items_of(database, batch)] == TEXTS
        assert len(await told(vendor_batches, simulator, "anthropic")) == 2
        assert books(database).outcomes == ["answered"] * 3


@BOTH
async def test_where_it_cannot_be_told_items_fail_as_possibly_paid_and_a_retry_does_them(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    away = {"match": {"path": MAKING[wire], "method": "GET"}, "times": 1, "fault": {"status": 500}}
    async with Simulator(script(once(MAKING[wire], "POST", reset_before_headers=True), away)) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path, give_up_s=-1.0) as worker:
            batch = hand_in(database, TEXTS)
            await worker.until_over(batch)
            failed = items_of(database, batch)
            assert [(job.state, job.possibly_paid_twice) for job in failed] == [("failed", 1)] * 3
            assert "cannot be told" in (failed[0].error or {})["message"]
            lost = books(database)
            assert (lost.outcomes, lost.unfinished) == (["unknown"] * 3, 0)
            assert lost.cost_micro_usd == lost.requests_micro_usd == lost.spent_micro_usd > 0
            assert batch_changes.retry(database, None, batch.id, now_ms(), 7) == 3
            await worker.until_over(batch)
        assert [job.state for job in items_of(database, batch)] == ["succeeded"] * 3
        assert len(await told(vendor_batches, simulator, wire)) == 1


@BOTH
async def test_an_items_own_error_is_in_its_place_and_what_passes_is_asked_again(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    async with Simulator(
        script(
            {"match": {"contains": "item 1"}, "fault": {"named_error": "bad_request"}},
            {"match": {"contains": "item 2"}, "times": 1, "fault": {"named_error": "overloaded"}},
        )
    ) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path) as worker:
            batch = hand_in(database, TEXTS)
            await worker.until_over(batch)
        done = items_of(database, batch)
        assert [job.state for job in done] == ["succeeded", "failed", "succeeded"]
        assert (done[1].error or {})["code"] == "provider_bad_request"
        assert done[1].cost_micro_usd == 0
        assert sorted(books(database).outcomes) == ["answered", "answered", "failed", "failed"]
        await is_exact(simulator, database, wire, 2)


@BOTH
async def test_what_expired_is_put_into_another_batch_three_times_at_most(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    rules = [{"answers": 1, "expires_s": 0.3, "times": 1}, {"answers": 0, "expires_s": 0.3}]
    async with Simulator(script(batches=rules)) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path) as worker:
            batch = hand_in(database, TEXTS)
            await worker.until_over(batch)
            sent = await worker.at_providers(batch)
        assert [each.requests for each in sent] == [3, 2, 2]
        assert [job.state for job in items_of(database, batch)] == ["succeeded", "failed", "failed"]
        await is_exact(simulator, database, wire, 3)


@BOTH
async def test_results_that_break_off_are_read_again_and_count_once(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    cut = once(RESULTS[wire], "GET", cut_after_events=2, inside="event")
    async with Simulator(script(cut)) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path) as worker:
            batch = hand_in(database, TEXTS)
            await worker.until_over(batch)
        assert [job.state for job in items_of(database, batch)] == ["succeeded"] * 3
        await is_exact(simulator, database, wire, 1)


@BOTH
async def test_a_cancelled_batch_is_cancelled_at_the_provider_and_pays_for_what_was_done(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    async with Simulator(script(batches=[{"answers": 1}])) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path) as worker:
            batch = hand_in(database, TEXTS)
            await worker.work()
            await worker.send()
            answered = simulator.requests
            while not any(request.batch_id for request in answered):
                await asyncio.sleep(0.01)
                answered = simulator.requests
            ended = batch_changes.cancel(database, None, batch.id, now_ms(), 7)
            assert ended.state == "cancelled"
            with pytest.raises(Exception, match="not ended its part"):
                batch_changes.remove(database, None, batch.id)
            await worker.until_let_go(batch)
        jobs = items_of(database, batch)
        assert [job.state for job in jobs] == ["cancelled"] * 3
        assert sum(job.cost_micro_usd or 0 for job in jobs) == await told(counted_micro_usd, simulator, wire)
        await is_exact(simulator, database, wire, 1)
        batch_changes.remove(database, None, batch.id)


@BOTH
async def test_a_provider_that_wants_no_more_now_is_asked_later(database: Database, tmp_path: Path, wire: Wire) -> None:
    full = once(MAKING[wire], "POST", status=429)
    async with Simulator(script(full)) as simulator:
        async with bench(settings_of(simulator, database, wire), tmp_path) as worker:
            batch = hand_in(database, TEXTS)
            await worker.until_over(batch)
            sent = await worker.at_providers(batch)
        assert [each.state for each in sent] == ["refused", "over"]
        assert [job.state for job in items_of(database, batch)] == ["succeeded"] * 3
        await is_exact(simulator, database, wire, 1)


@BOTH
async def test_two_who_read_the_same_results_count_them_once(database: Database, tmp_path: Path, wire: Wire) -> None:
    """As when one worker stood still, and goes on beside the one that has taken over."""
    async with Simulator(script()) as simulator:
        settings = settings_of(simulator, database, wire)
        async with bench(settings, tmp_path, "first") as first, bench(settings, tmp_path, "second") as second:
            batch = hand_in(database, TEXTS)
            await first.work()
            await first.send()
            async with asyncio.timeout(20):
                while (await first.at_providers(batch))[0].state != "over":
                    await asyncio.gather(first.look(), second.look())
            await first.until_over(batch)
        assert [job.state for job in items_of(database, batch)] == ["succeeded"] * 3
        await is_exact(simulator, database, wire, 1)


@BOTH
async def test_who_was_given_up_while_it_sent_adds_nothing_when_it_goes_on(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    """The provider takes its time to answer the first one; what it has made is gone on with, by whoever knows of it."""
    slow = once(MAKING[wire], "POST", first_token_s=1)
    async with Simulator(script(slow)) as simulator:
        settings = settings_of(simulator, database, wire)
        async with bench(settings, tmp_path, "first") as first, bench(settings, tmp_path, "second") as second:
            batch = hand_in(database, TEXTS)
            await first.work()
            sending = asyncio.ensure_future(first.send())
            async with asyncio.timeout(20):
                while not any(each.state == "sending" for each in await second.at_providers(batch)):
                    pass
                while (await second.at_providers(batch))[0].state == "sending":
                    await second.look()
            await sending
            await second.until_over(batch)
        done = items_of(database, batch)
        assert [job.state for job in done] == ["succeeded"] * 3
        assert [job.possibly_paid_twice for job in done] == [0] * 3
        await is_exact(simulator, database, wire, 1)


@BOTH
async def test_what_was_sent_twice_all_the_same_is_cancelled_and_told(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    """Who stood still while it sent goes on after another one was sent in its place."""
    slow = once(MAKING[wire], "POST", first_token_s=1)
    async with Simulator(script(slow, batches=[{"takes_s": 2}])) as simulator:
        settings = settings_of(simulator, database, wire)
        async with bench(settings, tmp_path, "first") as first, bench(settings, tmp_path, "second") as second:
            batch = hand_in(database, TEXTS)
            await first.work()
            sending = asyncio.ensure_future(first.send())
            async with asyncio.timeout(20):
                while not any(each.state == "sending" for each in await second.at_providers(batch)):
                    pass
                (sent,) = await second.at_providers(batch)
                # As if it had been looked for, and not been there.
                assert await second.place.change(sent, state="filling", executor_id="second")
                await second.look()
                await sending
            await second.until_over(batch)
        done = items_of(database, batch)
        assert [job.state for job in done] == ["succeeded"] * 3
        assert [job.possibly_paid_twice for job in done] == [1] * 3
        found = await told(vendor_batches, simulator, wire)
        assert len(found) == 2
        assert [_was_cancelled(each) for each in found].count(True) == 1


def _was_cancelled(batch: dict[str, Any]) -> bool:
    return bool(batch.get("cancel_initiated_at") or batch.get("cancelling_at"))


def _make(simulator: Simulator, body: dict[str, Any]) -> None:
    _ask(simulator, "/v1/messages/batches", json.dumps(body).encode())


def _ask(simulator: Simulator, path: str, body: bytes | None = None) -> None:
    from urllib.request import Request, urlopen

    headers = {"x-api-key": "any", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    with urlopen(Request(f"{simulator.anthropic_url}{path}", body, headers), timeout=10) as reply:  # noqa: S310 - ours
        reply.read()
