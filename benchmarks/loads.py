"""The load: the fake provider at one end, wrk at the other, both on the core that the gateway does not have."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fixtures import TEXT, TOKENS, write_replies
from benchmarks.peers import KEY
from benchmarks.processes import LOAD_CORE, BenchmarkError, Running, free_port, pinned, prefer, started, undisturbed

HERE = Path(__file__).resolve().parent
PATH = "/v1/chat/completions"
PROMPT = "Explain what an AI gateway does, and list five benefits of using one in production."
PATIENCE = "60s"
"""wrk's limit for one request; a stream of one event every two seconds takes longer, and is cut on purpose."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for, over and over."""

    model: str
    stream: bool = False

    @property
    def body(self) -> str:
        """The request's body, in OpenAI's format."""
        messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": PROMPT}]
        request: dict[str, Any] = {"model": self.model, "messages": messages, "max_tokens": 256, "temperature": 0.2}
        if self.stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(request)


JSON = Load("mock-model")
STREAM = Load("mock-model", stream=True)
PACED = Load("mock-paced-20", stream=True)
SLOW = Load("mock-paced-2000", stream=True)
TRANSLATED_JSON = Load("claude-mock")
TRANSLATED_STREAM = Load("claude-mock", stream=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the callers saw."""

    requests: int
    failed: int
    timeouts: int
    duration_s: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.duration_s

    def checked(self) -> Outcome:
        """Itself. Raises BenchmarkError if requests failed: a figure of failures is none."""
        if self.requests == 0 or self.failed + self.timeouts > 1 + self.requests / 1000:
            raise BenchmarkError(f"{self.failed} of {self.requests} requests failed, {self.timeouts} were not answered")
        return self


def require_tools() -> None:
    """Raises BenchmarkError, with what to install, if a tool is missing."""
    packages = {"wrk": "wrk", "taskset": "util-linux", "gcc": "gcc"}
    missing = [package for tool, package in packages.items() if shutil.which(tool) is None]
    if missing:
        raise BenchmarkError(f"missing here: apt-get install {' '.join(missing)}")
    if (os.cpu_count() or 1) < 2:
        raise BenchmarkError("two cores are needed: one for the gateway, one for the load")


@contextlib.contextmanager
def fake_provider(folder: Path) -> Iterator[Running]:
    """The fake provider, built and started; it ends with the block."""
    write_replies(folder / "replies")
    port = free_port()
    command = pinned(LOAD_CORE, [_built("mock", folder), str(port), str(folder / "replies")])
    with started(
        command, port=port, health="/stats", log=folder / "mock.log", environment=os.environ, within_s=10
    ) as provider:
        yield provider


def _built(name: str, folder: Path) -> str:
    binary = folder / name
    command = ["gcc", "-O2", "-o", str(binary), str(HERE / f"{name}.c"), "-lm"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise BenchmarkError(f"{name}.c does not build: {built.stderr}")
    return str(binary)


def provider_counts(provider: Running) -> dict[str, int]:
    """How many requests, events and open streams the fake provider has counted."""
    with urllib.request.urlopen(f"{provider.url}/stats", timeout=30) as reply:
        counts: dict[str, int] = json.load(reply)
    return counts


@contextlib.contextmanager
def wrk(server: Running, load: Load, *, connections: int, duration_s: float) -> Iterator[subprocess.Popen[str]]:
    """A wrk at work against `server`; it is ended with the block if it has not ended by itself."""
    # wrk takes whole seconds only.
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(duration_s))}s", "--timeout", PATIENCE]
    command += ["-s", str(HERE / "request.lua"), server.url + PATH]
    with _loading(command, {"BENCH_BODY": load.body, "BENCH_KEY": KEY}) as process:
        yield process


def steady(server: Running, folder: Path, load: Load, *, rate: float, duration_s: float, connections: int) -> Outcome:
    """A load of `rate` requests a second at random moments, each timed from when it was due; JSON only."""
    body = folder / "body.json"
    body.write_text(load.body)
    port = server.url.rpartition(":")[2]
    command = [_built("steady", folder), port, str(body), KEY, str(rate), str(duration_s), str(connections)]
    # It waits before its first request: time enough to be put before others.
    with _loading(command, {}) as process, undisturbed(process.pid):
        return outcome(process)


@contextlib.contextmanager
def _loading(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        pinned(LOAD_CORE, command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    ) as process:
        prefer(process.pid)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def outcome(process: subprocess.Popen[str]) -> Outcome:
    """What the load says once it is done."""
    printed = process.communicate()[0]
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchmarkError(f"the load failed: {printed.strip()[-300:]}")
    return Outcome(**json.loads(lines[-1]))


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a gateway did with single requests, before any is timed."""

    checks_key: bool
    keeps_record: bool


def look_at(server: Running) -> Conduct:
    """Ask once for each load and once with a wrong key. Raises BenchmarkError if an answer is not whole."""
    for load in (JSON, TRANSLATED_JSON, STREAM, TRANSLATED_STREAM):
        status, text = _ask(server, load, KEY)
        whole = _whole_stream(text) if load.stream else TEXT in text
        if status != 200 or not whole:
            raise BenchmarkError(f"{load} was answered with {status}: {text[:300]}")
    refused, _ = _ask(server, JSON, "sk-wrong-key-of-nobody")
    return Conduct(checks_key=400 <= refused < 500, keeps_record=PATH in server.log.read_text(errors="replace"))


def _whole_stream(text: str) -> bool:
    return TOKENS[-1] in text and text.rstrip().endswith("data: [DONE]")


def _ask(server: Running, load: Load, key: str) -> tuple[int, str]:
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(server.url + PATH, load.body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
