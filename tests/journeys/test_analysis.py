"""A user's path with analyses: `waypost serve` with its worker, over HTTP, and the worker is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from tests.analysis.test_offline import EXPECTED, check
from tests.jobs.workers import until
from tests.server.test_jobs_api import read_events
from tests.worker.test_analyze_job import CALM, KINDS, LONG

from waypost.simulator import Simulator
from waypost.webhooks import verify

ANALYZE, JOBS = "/api/ai/analyze", "/api/ai/jobs"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "analysis"
SECRET = "whsec_" + "A" * 43 + "="
TEXTS = ("review.txt", "article.txt", "support_mail.txt")


class Served:
    """`waypost serve` in a process of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        file = folder / "waypost.yaml"
        file.write_text(yaml.safe_dump(dict(settings)))
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("WAYPOST_", "OPENAI_"))
        }
        self.log = folder / "serve.log"
        command = [sys.executable, "-m", "waypost.cli.main", "serve", "--port", "0", "--config", str(file)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " on http" in line, self.said
        self.http = httpx.Client(base_url=line.split()[3], timeout=90)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    @property
    def worker(self) -> psutil.Process | None:
        """The process beside it that does jobs."""
        for child in psutil.Process(self.process.pid).children():
            if "waypost.worker.child" in " ".join(child.cmdline()):
                return child
        return None

    def kill_worker(self) -> int:
        """SIGKILL; gives the process id."""
        worker = self.worker
        assert worker is not None, self.said
        worker.send_signal(signal.SIGKILL)
        return worker.pid

    def ended(self, job_id: str, within_s: float = 110) -> dict[str, Any]:
        """The job, once it has ended, waited for by long polls."""
        until_s = time.monotonic() + within_s
        while True:
            told: dict[str, Any] = self.http.get(f"{JOBS}/{job_id}?wait=30").json()
            if told["ended_at"] is not None:
                return told
            assert time.monotonic() < until_s, (told, self.said)


@contextmanager
def serving(folder: Path, settings: Mapping[str, Any]) -> Iterator[Served]:
    served = Served(folder, settings)
    try:
        yield served
    finally:
        served.http.close()
        served.process.terminate()
        try:
            served.process.wait(30)
        except subprocess.TimeoutExpired:
            served.process.kill()
            served.process.wait()
        assert served.process.stdout is not None
        served.process.stdout.close()


@contextmanager
def receiving() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and the messages that came there and were signed rightly for the project `local`."""
    from waypost.webhooks.signing import derived_secret

    messages: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            verify(dict(self.headers), body, derived_secret(SECRET, "local"))
            messages.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook", messages
        finally:
            server.shutdown()
            thread.join(10)


def in_the_middle(steps: list[dict[str, Any]]) -> bool:
    """Has a part been asked about, and is another one under way?"""
    ended = [step["ended_at"] is not None for step in steps if ":" in step["name"]]
    return any(ended) and not all(ended)


async def in_a_thread(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)


async def test_an_analysis_is_watched_over_the_death_of_its_worker_and_told_of(tmp_path: Path) -> None:
    script = {"pacing": {"first_token_s": 1.0}, "rules": [{"reply": {"text": CALM}}]}
    async with Simulator(script) as simulator:
        with receiving() as (hook, messages):
            await in_a_thread(lambda: _path(tmp_path, simulator, hook, messages))


def _path(folder: Path, simulator: Simulator, hook: str, messages: list[dict[str, Any]]) -> None:
    settings = {
        "data_dir": str(folder / "data"),
        "providers": {"simulated": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": ["simulated/gpt-5-mini"]}},
        "kinds": KINDS,
        "webhooks": {"secret": SECRET, "allowed_hosts": [hook.split("/")[2]]},
    }
    with serving(folder, settings) as served:
        http = served.http
        asked = {"content": LONG, "kinds": ["tone"], "tags": {"team": "a"}, "webhook": hook, "idempotency_key": "one"}
        accepted = http.post(ANALYZE, json=asked)
        assert accepted.status_code == 202, accepted.text
        told = accepted.json()
        assert (told["message"], told["status"]) == ("Analysis started", "processing")

        watched: list[Any] = []

        def watch() -> None:
            with http.stream("GET", f"{told['url']}/events") as reply:
                watched.extend(read_events(reply))

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        until(lambda: in_the_middle(http.get(told["url"]).json()["steps"]), 60, lambda: served.said)
        killed = served.kill_worker()
        job = served.ended(told["job_id"])
        watching.join(30)
        assert job["state"] == "succeeded", (job, served.said)
        assert job["result"]["results"]["tone"]["value"] == {"tone": "calm"}
        assert served.worker is not None
        assert served.worker.pid != killed

        # What had ended was not asked again; what was under way may have been paid twice, and is shown.
        assert len(simulator.requests) <= len(job["result"]["parts"]) + job["possibly_paid_twice"]
        assert job["possibly_paid_twice"] > 0
        assert job["cost_usd"] > 0
        assert all(step["ended_at"] for step in job["steps"])

        # Its events were told without a gap, to the same connection, over all of it.
        assert [int(event[0]) for event in watched] == [*range(1, len(watched) + 1)]
        assert watched[-1][1] == "succeeded"
        assert http.get(f"{told['url']}/events", headers={"last-event-id": watched[-1][0]}).status_code == 204

        again = http.post(ANALYZE, json=asked)
        assert (again.status_code, again.json()["job_id"], again.json()["status"]) == (200, told["job_id"], "succeeded")
        assert [item["id"] for item in http.get(f"{JOBS}?tag=team=a").json()["items"]] == [told["job_id"]]
        until(lambda: bool(messages), 20, lambda: served.said)
        assert (messages[0]["type"], messages[0]["data"]["job_id"]) == ("job.succeeded", told["job_id"])
        assert http.delete(told["url"]).status_code == 204
        assert http.get(told["url"]).status_code == 404


@pytest.mark.journey
@pytest.mark.timeout(400)
async def test_the_built_in_model_analyzes_real_texts_as_a_person_would_over_a_kill(tmp_path: Path) -> None:
    await in_a_thread(lambda: _real_texts(tmp_path))


def _real_texts(folder: Path) -> None:
    data = Path(os.environ["XDG_DATA_HOME"]) / "waypost"
    with serving(folder, {"data_dir": str(data)}) as served:
        asked = {}
        for name in TEXTS:
            files = {"file": (name, (FIXTURES / name).read_bytes(), "text/plain")}
            reply = served.http.post(ANALYZE, files=files, data={"allow_offline": "true"})
            assert reply.status_code == 202, reply.text
            asked[name] = reply.json()["job_id"]
        running = [f"{JOBS}/{job_id}" for job_id in asked.values()]
        until(
            lambda: any(served.http.get(url).json()["state"] == "running" for url in running), 90, lambda: served.said
        )
        served.kill_worker()
        for name, job_id in asked.items():
            job = served.ended(job_id, 300)
            assert job["state"] == "succeeded", (job, served.said)
            analysis = job["result"]["results"]["analysis"]
            text = (FIXTURES / name).read_text(encoding="utf-8")
            check(analysis["value"], text.strip(), EXPECTED[name])
            assert job["result"]["provider"] == "local"
            assert job["cost_usd"] == 0
            # It is told of each field how it was computed, and no more is claimed of the small model than is its.
            assert {"sentiment", "language", "themes", "suggestions"} <= set(analysis["computed"])
