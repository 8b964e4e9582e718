"""Real processes with a collector: jobs as traces over processes, and what SIGTERM and SIGKILL leave of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.jobs.servers import Server, servers
from tests.jobs.workers import MODEL, Worker, all_jobs, ask, until, workers
from tests.telemetry.receiver import Receiver, Seen, receiving

from waypost.settings import Settings
from waypost.simulator import Match, Pacing, Reply, Rule, Script, Simulator, SlowFirstToken
from waypost.store.database import Database
from waypost.store.lazy import LazyDatabase

pytestmark = pytest.mark.process
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
PROMPT = "a prompt that nobody may read"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as each:
        yield each


def settings_for(simulator: Simulator, receiver: Receiver, **more: Any) -> dict[str, Any]:
    """For a server, or a worker beside it."""
    return {
        "server": {"shutdown_grace_s": 5},
        "providers": {"simulated": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": [f"simulated/{MODEL}"], "policy": {"max_attempts": 1, "recover": False}}},
        # The reports of metrics come with the end of a process only.
        "telemetry": {"otlp": {"endpoint": receiver.url, "sample_ratio": 1}},
        **more,
    }


def opened(folder: Path) -> Database:
    """The database of the processes whose data is in that folder."""
    return LazyDatabase(Settings.model_validate({"data_dir": folder})).open()


def below(receiver: Receiver, span: Seen) -> list[Seen]:
    """Spans whose parent it is."""
    return [each for each in receiver.spans if each.parent_id == span.span_id and each.trace_id == span.trace_id]


async def test_job_in_another_process(tmp_path: Path, receiver: Receiver) -> None:
    """A job that a worker does is a trace of its own, linked to the request; steps and calls are below it."""
    async with Simulator(Script(pacing=Pacing(token_interval_s=0.001))) as simulator:
        settings = settings_for(simulator, receiver, jobs={"worker": False})
        server, worker = Server(tmp_path, settings), Worker(tmp_path, settings)
        with servers(server), workers(worker):
            async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
                body = {"prompt": PROMPT, "background": True}
                reply = await client.post("/api/ai/generate", json=body, headers=CALLER)
                assert reply.status_code == 202, reply.text
                job_id = reply.json()["job_id"]
                whole = (await client.get(f"/api/ai/jobs/{job_id}", params={"wait": 20})).json()
                assert whole["state"] == "succeeded", (whole, worker.log)
                assert "traceparent" not in whole["request"]
            worker.stop()
            receiver.until(lambda it: it.named("job generate") and it.named("POST /api/ai/generate"))
            (seen,) = simulator.requests
    (request,), (job,) = receiver.named("POST /api/ai/generate"), receiver.named("job generate")
    assert (request.trace_id, request.parent_id) == (TRACE, PARENT)
    assert job.links == ((TRACE, request.span_id),)
    assert job.trace_id != TRACE
    assert (job.attributes["waypost.job.id"], job.attributes["waypost.job.outcome"]) == (job_id, "succeeded")
    (step,) = below(receiver, job)
    assert step.name == "step generate"
    (call,) = below(receiver, step)
    assert call.name == f"chat {MODEL}"
    assert call.attributes["gen_ai.usage.output_tokens"] == whole["usage"]["output_tokens"]
    assert seen.headers["traceparent"] == f"00-{job.trace_id}-{call.span_id}-01"
    assert PROMPT not in str(receiver.spans)
    assert sum(point.count for point in receiver.points("gen_ai.client.operation.duration")) == 1


async def test_worker_is_killed(tmp_path: Path, receiver: Receiver) -> None:
    """The worker that goes on with a dead one's job goes on with its trace: the same ids, what had ended not again."""
    slow = Rule(Match(contains="step 1"), Reply(text="fine"), fault=SlowFirstToken(30.0), times=1)
    async with Simulator(Script(rules=(slow,), pacing=Pacing(token_interval_s=0.001))) as simulator:
        settings = settings_for(simulator, receiver)
        first, second = (Worker(tmp_path, settings, name=name) for name in ("first", "second"))
        with workers(first):
            database = opened(tmp_path / "data")
            ask(database, type="steps", request={"prompt": PROMPT, "steps": 2})
            await asyncio.to_thread(until, lambda: len(simulator.requests) == 2, 20.0, lambda: first.log)
            receiver.until(lambda it: it.named("step steps"))
            first.kill()
        with workers(second):
            await asyncio.to_thread(until, lambda: all_jobs(database)[0].state == "succeeded", 30.0, lambda: second.log)
            second.stop()
        database.close()
        receiver.until(lambda it: it.named("job steps"))
    (job,) = receiver.named("job steps")
    steps = below(receiver, job)
    assert [step.attributes["waypost.step.name"] for step in steps] == ["0", "1"]
    assert len({step.resource["service.instance.id"] for step in steps}) == 2
    assert {seen.headers["traceparent"].split("-")[1] for seen in simulator.requests} == {job.trace_id}


async def test_flushed_at_the_end(tmp_path: Path, receiver: Receiver) -> None:
    """SIGTERM sends what waits, spans and metrics, before the process ends, also with several workers."""
    async with Simulator(Script(pacing=Pacing(token_interval_s=0.001))) as simulator:
        settings = settings_for(simulator, receiver, jobs={"worker": False})
        settings["server"] = {"shutdown_grace_s": 5, "workers": 2}
        server = Server(tmp_path, settings)
        with servers(server):
            async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
                for _ in range(10):
                    reply = await client.post("/api/ai/generate", json={"prompt": PROMPT})
                    assert reply.status_code == 200
            assert server.process is not None
            server.process.terminate()
            assert server.process.wait(15) == 0, server.log
    assert len(receiver.named("POST /api/ai/generate")) == len(receiver.named(f"chat {MODEL}")) == 10
    # Each worker's are series of their own, by its instance.
    assert {span.resource["service.name"] for span in receiver.spans} == {"waypost"}


async def test_end_with_a_silent_collector(tmp_path: Path, receiver: Receiver) -> None:
    """A collector that never answers holds the end of a server for some seconds at most; it says what is lost."""
    receiver.hangs.set()
    async with Simulator(Script(pacing=Pacing(token_interval_s=0.001))) as simulator:
        server = Server(tmp_path, settings_for(simulator, receiver, jobs={"worker": False}))
        with servers(server):
            async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
                await client.post("/api/ai/generate", json={"prompt": PROMPT})
                receiver.until(lambda it: it.requests)
                await client.post("/api/ai/generate", json={"prompt": PROMPT})
            assert server.process is not None
            began = time.monotonic()
            server.process.terminate()
            assert server.process.wait(20) == 0, server.log
            assert time.monotonic() - began < 10.0
            assert "the collector did not take all spans in time" in server.log
