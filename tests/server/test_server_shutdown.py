"""SIGTERM against a real process: streams in flight end, new requests get 503, nothing waits for ever."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from waypost.codecs.sse import SseDecoder

PATH = "/api/ai/generate"
PROGRAM = """
import asyncio, sys
from dataclasses import dataclass
from waypost import AIResponse, AIServiceManager, AIServiceProvider
from waypost.app import stores_of
from waypost.gateway.gateway import Gateway
from waypost.server.callers import Callers
from waypost.server.run import run
from waypost.settings import Settings
from waypost.telemetry.observers import NOBODY

class Slow(AIServiceProvider):
    async def generate_response(self, prompt, **kwargs):
        await asyncio.sleep(float(prompt))
        return AIResponse("whole", provider="slow", model="m")

    async def stream_response(self, prompt, **kwargs):
        yield "first"
        try:
            await asyncio.sleep(float(prompt))
        finally:
            print("provider closed", flush=True)
        yield "last"

@dataclass
class Served:
    settings: Settings
    manager: AIServiceManager
    gateway = Gateway({}, {}, {})
    callers = Callers({})
    ledger = tracing = otlp = metrics = None
    observers = NOBODY

    def __post_init__(self):
        self.stores = stores_of(self.settings)

    async def close(self):
        print("application closed", flush=True)

grace_s = float(sys.argv[1])
provider = {"kind": "openai", "api_key": "k"}
settings = Settings.model_validate({"providers": {"slow": provider}, "server": {"shutdown_grace_s": grace_s}})
served = Served(settings, AIServiceManager())
served.manager.add_provider("slow", Slow())
run(served, port=0, on_started=lambda url: print(url, flush=True))
print("returned", flush=True)
"""


@contextmanager
def process(tmp_path: Path, grace_s: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(program), str(grace_s)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


def rest_of(running: subprocess.Popen[str]) -> tuple[list[str], str]:
    out, err = running.communicate(timeout=20)
    return out.splitlines(), err


class Caller(threading.Thread):
    """Asks for a stream and keeps what came."""

    def __init__(self, url: str, wait_s: float) -> None:
        super().__init__()
        self._url = url
        self._wait_s = wait_s
        self.begun = threading.Event()
        self.events: list[tuple[str, Any]] = []
        self.error: Exception | None = None

    def run(self) -> None:
        decoder = SseDecoder()
        body = {"prompt": str(self._wait_s), "stream": True}
        try:
            with httpx.stream("POST", self._url + PATH, json=body, timeout=20) as reply:
                for chunk in reply.iter_bytes():
                    self.events += [(event.event, json.loads(event.data)) for event in decoder.feed(chunk)]
                    self.begun.set()
        except httpx.HTTPError as error:
            self.error = error

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


def started(url: str, wait_s: float) -> Caller:
    caller = Caller(url, wait_s)
    caller.start()
    assert caller.begun.wait(10)
    return caller


def wait_for_refusal(url: str) -> httpx.Response:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        reply = httpx.post(url + PATH, json={"prompt": "0"})
        if reply.status_code != 200:
            return reply
    raise AssertionError("never refused")


def test_a_stream_in_flight_ends_while_new_requests_get_503(tmp_path: Path) -> None:
    with process(tmp_path, grace_s=20) as (running, url):
        caller = started(url, 1.5)
        running.send_signal(signal.SIGTERM)
        refused = wait_for_refusal(url)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_busy")
        assert "retry-after" in refused.headers
        assert httpx.get(url + "/health").status_code == 200
        assert httpx.get(url + "/ready").json()["status"] == "draining"
        caller.join(15)
        out, err = rest_of(running)
    assert caller.error is None
    assert caller.names() == ["start", "delta", "delta", "done"]
    assert running.returncode == 0
    assert out == ["provider closed", "application closed", "returned"]
    assert "Traceback" not in err


def test_an_idle_server_ends_at_once(tmp_path: Path) -> None:
    with process(tmp_path, grace_s=20) as (running, url), httpx.Client(base_url=url) as kept_alive:
        assert kept_alive.get("/health").status_code == 200
        signalled_at = time.monotonic()
        running.send_signal(signal.SIGTERM)
        out, _ = rest_of(running)
        assert time.monotonic() - signalled_at < 3
    assert out == ["application closed", "returned"]


def test_when_the_grace_time_is_over_streams_are_told_so(tmp_path: Path) -> None:
    with process(tmp_path, grace_s=0.3) as (running, url):
        caller = started(url, 60)
        running.send_signal(signal.SIGTERM)
        caller.join(10)
        out, err = rest_of(running)
    assert caller.error is None
    assert caller.names() == ["start", "delta", "error"]
    assert caller.events[-1][1]["error"]["code"] == "server_busy"
    assert out == ["provider closed", "application closed", "returned"]
    assert "Traceback" not in err


def test_a_second_signal_ends_the_grace_time(tmp_path: Path) -> None:
    with process(tmp_path, grace_s=60) as (running, url):
        caller = started(url, 60)
        running.send_signal(signal.SIGINT)
        wait_for_refusal(url)
        signalled_at = time.monotonic()
        running.send_signal(signal.SIGINT)
        out, _ = rest_of(running)
        assert time.monotonic() - signalled_at < 4
        caller.join(10)
    assert caller.names()[-1] == "error"
    assert out[-1] == "returned"
