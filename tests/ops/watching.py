"""A real Prometheus, a real Alertmanager, and who they tell, for tests: all on loopback, ended by the test."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from aiohttp import web
from tests.ledger.fleet import free_port
from tests.ops.scaled import scaled_alertmanager, scaled_prometheus, scaled_rules

START_S: Final = 60.0


def program(name: str) -> str:
    """Debian puts a word before the names. The test fails where it is not installed: tools/setup-ops does that."""
    found = shutil.which(name) or shutil.which(f"prometheus-{name}")
    assert found, f"{name} is not here; tools/setup-ops installs it"
    return found


@dataclass
class Receiver:
    """Who is told: each alert of each message, as it came."""

    token: str
    alerts: list[dict[str, Any]] = field(default_factory=list)
    strangers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def names(self, status: str = "firing") -> set[str]:
        """Of the alerts that were told so far."""
        return {each["labels"]["alertname"] for each in self.alerts if each["status"] == status}

    async def until(self, is_so: Callable[[], bool], within_s: float, told: Callable[[], object]) -> None:
        """Wait for messages until it is so."""
        try:
            async with asyncio.timeout(within_s):
                while not is_so():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError as error:
            raise AssertionError(f"not within {within_s} s; told were {self.names()}; {told()}") from error

    async def until_told(self, *names: str, within_s: float, told: Callable[[], object] = lambda: "") -> None:
        """Wait until all of these alerts were told."""
        await self.until(lambda: set(names) <= self.names(), within_s, lambda: f"wanted {names}; {told()}")

    async def take(self, request: web.Request) -> web.Response:
        """One message."""
        if request.headers.get("authorization") != f"Bearer {self.token}":
            self.strangers += 1
            return web.Response(status=401)
        self.alerts += (await request.json())["alerts"]
        self.changed.set()
        return web.Response()


@asynccontextmanager
async def receiving(token: str) -> AsyncIterator[tuple[Receiver, str]]:
    """The receiver, and its address, for the block."""
    receiver = Receiver(token)
    application = web.Application()
    application.router.add_post("/alerts", receiver.take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/alerts"
    finally:
        await runner.cleanup()


@contextmanager
def running(command: Sequence[str], log: Path, ready: str) -> Iterator[None]:
    """The program, from when the address `ready` answers 200 until the end of the block."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=log.parent)
    try:
        _until_ready(process, ready, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@dataclass
class Watch:
    """Prometheus, and the questions it is asked."""

    url: str

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression, now."""
        reply = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30)
        assert reply.status_code == 200, (expression, reply.text)
        result = reply.json()["data"]["result"]
        return result if isinstance(result, list) else []

    def states(self) -> Mapping[str, object]:
        """What became of each rule and target: for whoever wonders why a test failed."""
        rules = httpx.get(f"{self.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        targets = httpx.get(f"{self.url}/api/v1/targets", timeout=30).json()["data"]["activeTargets"]
        alerts = [rule for group in rules for rule in group["rules"] if rule["type"] == "alerting"]
        return {
            "alerts": {each["name"]: each["state"] for each in alerts},
            "errors": {each["name"]: each.get("lastError") for group in rules for each in group["rules"]},
            "targets": {each["scrapeUrl"]: (each["health"], each["lastError"]) for each in targets},
        }


@contextmanager
def watching(
    folder: Path, targets: Mapping[str, list[dict[str, Any]]], hook: str, metrics_token: str, hook_token: str
) -> Iterator[Watch]:
    """Prometheus and Alertmanager with the shipped rules and settings, made quicker (see tests/ops/scaled.py)."""
    folder.mkdir()
    for name, text in (("metrics-token", metrics_token), ("hook-token", hook_token)):
        (folder / name).write_text(text)
    (folder / "rules").mkdir()
    for name, rules in scaled_rules().items():
        (folder / "rules" / name).write_text(yaml.safe_dump(rules))
    alertmanager, prometheus = free_port(), free_port()
    alerts = scaled_alertmanager(hook, folder / "hook-token")
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(alerts))
    scrapes = scaled_prometheus(targets, f"127.0.0.1:{alertmanager}", folder / "metrics-token")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(scrapes))
    first = [
        program("alertmanager"),
        "--config.file=alertmanager.yml",
        "--storage.path=alertmanager",
        f"--web.listen-address=127.0.0.1:{alertmanager}",
        "--cluster.listen-address=",
    ]
    second = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=series",
        f"--web.listen-address=127.0.0.1:{prometheus}",
    ]
    url = f"http://127.0.0.1:{prometheus}"
    with (
        running(first, folder / "alertmanager.log", f"http://127.0.0.1:{alertmanager}/-/ready"),
        running(second, folder / "prometheus.log", f"{url}/-/ready"),
    ):
        yield Watch(url)
