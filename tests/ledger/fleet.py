"""Real servers that can be killed, frozen and started anew, and callers who note what they saw. For fault tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

START_S = 120.0
"""A busy machine may take a minute; what is claimed is not how soon a server is there."""
STOP_S = 60.0


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`waypost serve` in a process of its own, at one port over all its lives."""

    folder: Path
    settings: Mapping[str, Any]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All it has said so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "waypost.yaml"
        file.write_text(yaml.safe_dump({"data_dir": str(self.folder / "data"), **self.settings}))
        command = [sys.executable, "-m", "waypost.cli.main", "serve", "--config", str(file), "--port", str(self.port)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            self._until_healthy(self.process)
        except BaseException:
            # Nobody stops a server that has not started, and it would outlive the test.
            self.kill()
            raise

    def _until_healthy(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", timeout=1).status_code == 200:
                    return
            assert process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"not healthy within {START_S} s:\n{self.log}")

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for its orderly end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


@dataclass
class Seen:
    """What a caller saw of one request. `usage` is known only if it came to its end."""

    number: int
    finished: bool = False
    status: int | None = None
    usage: Mapping[str, int] | None = None


async def ask(client: httpx.AsyncClient, url: str, number: int, *, model: str, stream: bool) -> Seen:
    """One chat request whose id and prompt are its number."""
    seen = Seen(number)
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": f"request {number}"}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = {"x-request-id": f"r{number}"}
    await _until_listening(url)
    try:
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as reply:
            seen.status = reply.status_code
            if stream:
                async for event in _events(reply):
                    seen.usage = event.get("usage") or seen.usage
                    seen.finished = event == {}
            else:
                told = json.loads(await reply.aread())
                seen.usage = told.get("usage")
                seen.finished = reply.status_code == 200
    except (httpx.HTTPError, json.JSONDecodeError):
        pass
    return seen


async def _until_listening(url: str) -> None:
    """While nobody listens, a request cannot even be begun, and the crowd would be over before the server is back."""
    address = httpx.URL(url)
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def _events(reply: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The data of each event; {} is the end mark."""
    async for line in reply.aiter_lines():
        if line.startswith("data: "):
            yield {} if line == "data: [DONE]" else json.loads(line.removeprefix("data: "))


async def crowd(urls: Sequence[str], count: int, *, at_once: int, model: str, first: int = 0) -> list[Seen]:
    """So many requests, each second one streamed, over these servers in turn."""
    gate = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def one(number: int) -> Seen:
            async with gate:
                url = urls[number % len(urls)]
                return await ask(client, url, number, model=model, stream=number % 2 == 0)

        return await asyncio.gather(*(one(number) for number in range(first, first + count)))
