"""Claims about analyses as jobs, with real worker processes and a provider that is played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.workers import Worker, all_jobs, ask, until, worker_settings, workers

from waypost.jobs import rows
from waypost.jobs.events import events_after
from waypost.jobs.job import Input, Job
from waypost.jobs.kept import whole_job
from waypost.ledger.books import now_ms
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.worker.analyze import PARTS_AT_ONCE

pytestmark = pytest.mark.process

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
CALM = '{"tone": "calm"}'
REVIEW = (Path(__file__).parents[1] / "fixtures" / "analysis" / "review.txt").read_text()
LONG = "\n\n".join(f"Paragraph {number}. {REVIEW}" for number in range(260))
"""Some chunks of the longest kind."""


def settings(simulator: Simulator, database: Database, **more: Any) -> dict[str, Any]:
    return {**worker_settings(simulator, database), "kinds": KINDS, **more}


def analyze(database: Database, text: str | Input, **request: Any) -> str:
    content = text if isinstance(text, Input) else Input(text.encode())
    told = {"kinds": ["tone"], "model": None, "allow_offline": False, **request}
    (job_id,) = ask(database, type="analyze", request=told, input=content)
    return job_id


def job_of(database: Database, job_id: str) -> Job:
    return next(job for job in all_jobs(database) if job.id == job_id)


def wait_for(database: Database, job_id: str, worker: Worker, within_s: float = 40) -> Job:
    until(lambda: job_of(database, job_id).has_ended, within_s, lambda: (job_of(database, job_id), worker.log))
    return job_of(database, job_id)


def in_the_middle(database: Database, job_id: str) -> bool:
    """Has a part been asked about, and is another one under way?"""
    with database.read() as connection:
        steps = whole_job(connection, None, job_id).steps
    ended = [step.ended_at_ms is not None for step in steps if ":" in step.name]
    return any(ended) and not all(ended)


def result(job: Job) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(job.result or "null")
    return told


def while_working(work: Callable[[], None]) -> asyncio.Future[None]:
    return asyncio.ensure_future(asyncio.to_thread(work))


async def test_a_long_text_is_asked_about_in_parts_and_progress_counts_them(tmp_path: Path, database: Database) -> None:
    async with Simulator({"rules": [{"reply": {"text": CALM}}]}) as simulator:
        worker = Worker(tmp_path, settings(simulator, database))

        def work() -> None:
            with workers(worker):
                job = wait_for(database, analyze(database, LONG), worker)
                assert job.state == "succeeded", (job, worker.log)
                told = result(job)
                assert told["results"]["tone"]["value"] == {"tone": "calm"}
                assert (told["partial"], told["degraded"]) == (False, False)
                steps = [part["step"] for part in told["parts"]]
                assert steps.count("chunk") > 2
                assert (steps[-1], job.progress_done, job.progress_total) == ("reduce", len(steps), len(steps))
                assert len(simulator.requests) == len(steps)
                assert job.cost_micro_usd == told["cost_micro_usd"] > 0
                assert job.usage is not None
                assert job.usage["output_tokens"] == told["usage"]["output_tokens"]

        await while_working(work)


async def test_a_worker_killed_in_the_middle_loses_nothing_and_ended_parts_are_not_asked_again(
    tmp_path: Path, database: Database
) -> None:
    script = {"pacing": {"first_token_s": 0.5}, "rules": [{"reply": {"text": CALM}}]}
    async with Simulator(script) as simulator:
        first = Worker(tmp_path, settings(simulator, database), name="first")
        second = Worker(tmp_path, settings(simulator, database), name="second")

        def work() -> None:
            with workers(first):
                job_id = analyze(database, LONG)
                until(lambda: in_the_middle(database, job_id), 30, lambda: first.log)
                first.kill()
            with workers(second):
                job = wait_for(database, job_id, second)
            assert job.state == "succeeded", (job, second.log)
            parts = len(result(job)["parts"])
            assert 0 < job.possibly_paid_twice <= PARTS_AT_ONCE
            assert len(simulator.requests) <= parts + job.possibly_paid_twice
            with database.read() as connection:
                names = [each.name for each in events_after(connection, job_id, 0)]
            assert (names[0], names[-1], names.count("succeeded")) == ("queued", "succeeded", 1)

        await while_working(work)


DOWN: Mapping[str, Any] = {"rules": [{"fault": {"status": 503}}]}


async def test_while_providers_are_down_the_offline_analyzer_stands_in_if_the_caller_allows_it(
    tmp_path: Path, database: Database
) -> None:
    async with Simulator(DOWN) as simulator:
        worker = Worker(tmp_path, settings(simulator, database))

        def work() -> None:
            with workers(worker):
                allowed = analyze(database, REVIEW, kinds=["analysis"], allow_offline=True)
                not_allowed = analyze(database, REVIEW, kinds=["analysis"])
                degraded = wait_for(database, allowed, worker)
                told = result(degraded)
                assert (degraded.state, told["degraded"], told["results"]["analysis"]["status"]) == (
                    "succeeded",
                    True,
                    "degraded",
                )
                assert told["results"]["analysis"]["value"]["language"] == "en"
                assert told["results"]["analysis"]["value"]["sentiment"]["label"] == "positive"
                failed = wait_for(database, not_allowed, worker)
                assert failed.state == "failed"
                assert failed.error is not None
                assert failed.error["code"] == "all_providers_failed", failed.error

        await while_working(work)


async def test_a_provider_that_fails_for_a_moment_is_asked_again(tmp_path: Path, database: Database) -> None:
    script = {"rules": [{"times": 1, "fault": {"status": 503}}, {"reply": {"text": CALM}}]}
    async with Simulator(script) as simulator:
        worker = Worker(tmp_path, settings(simulator, database))

        def work() -> None:
            with workers(worker):
                job = wait_for(database, analyze(database, REVIEW), worker)
                assert (job.state, len(simulator.requests)) == ("succeeded", 2)

        await while_working(work)


async def test_a_part_that_fails_makes_the_result_partial_and_says_which(tmp_path: Path, database: Database) -> None:
    down = {"match": {"contains": "Paragraph 150"}, "fault": {"status": 400}}
    async with Simulator({"rules": [down, {"reply": {"text": CALM}}]}) as simulator:
        worker = Worker(tmp_path, settings(simulator, database))

        def work() -> None:
            with workers(worker):
                job = wait_for(database, analyze(database, LONG), worker)
                told = result(job)
                assert (job.state, told["partial"], told["results"]["tone"]["status"]) == ("succeeded", True, "partial")
                assert sum(part["error"] is not None for part in told["parts"]) == 1

        await while_working(work)


async def test_a_retry_asks_only_about_what_is_missing(tmp_path: Path, database: Database) -> None:
    async with Simulator({"rules": [{"times": 1, "fault": {"status": 401}}, {"reply": {"text": CALM}}]}) as simulator:
        worker = Worker(tmp_path, settings(simulator, database))

        def work() -> None:
            with workers(worker):
                job_id = analyze(database, REVIEW)
                failed = wait_for(database, job_id, worker)
                assert failed.state == "failed"
                with database.write() as connection:
                    rows.retry(connection, "local", job_id, now_ms())
                job = wait_for(database, job_id, worker)
                assert (job.state, len(simulator.requests)) == ("succeeded", 2)

        await while_working(work)


async def test_a_document_is_read_in_a_step_and_one_that_cannot_be_fails_the_job(
    tmp_path: Path, database: Database
) -> None:
    async with Simulator({"rules": [{"reply": {"text": CALM}}]}) as simulator:
        worker = Worker(tmp_path, settings(simulator, database))

        def work() -> None:
            with workers(worker):
                page = b"<html><body><h1>Head</h1><script>no()</script><p>Said.</p></body></html>"
                good = wait_for(database, analyze(database, Input(page, "text/html", "page.html")), worker)
                assert good.state == "succeeded", (good, worker.log)
                assert result(good)["document"] == {
                    "name": "page.html",
                    "media_type": "text/html",
                    "pages": None,
                    "notes": result(good)["document"]["notes"],
                }
                bad = wait_for(database, analyze(database, Input(b"%PDF-1.7 cut", "application/pdf", "a.pdf")), worker)
                assert (bad.state, (bad.error or {})["code"]) == ("failed", "damaged_document")
                gone = wait_for(database, analyze(database, REVIEW, kinds=["gone"]), worker)
                assert (gone.state, (gone.error or {})["code"]) == ("failed", "unknown_kind")

        await while_working(work)


async def test_a_running_call_stops_soon_after_the_job_is_cancelled(tmp_path: Path, database: Database) -> None:
    async with Simulator({"rules": [{"fault": {"silence": True}}]}) as simulator:
        worker = Worker(tmp_path, settings(simulator, database))

        def work() -> None:
            with workers(worker):
                job_id = analyze(database, LONG)
                until(lambda: len(simulator.requests) >= 1, 20, lambda: worker.log)
                with database.write() as connection:
                    rows.cancel(connection, "local", job_id, now_ms())
                took_s = until(lambda: job_of(database, job_id).state == "cancelled", 10, lambda: worker.log)
                assert took_s < 2.5

        await while_working(work)
