"""One simulator and one real server for many cells: each cell has providers, keys and a route of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from tests.matrix.doors import Heard
from tests.matrix.rows import Cell, Row, Which
from tests.server.conftest import running
from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Fault, Match, Pacing, Reply, Rule, Script, SeenRequest, Simulator
from waypost.simulator.credentials import key_hash
from waypost.simulator.faults import NamedError

POLICY: Mapping[str, Any] = {"backoff_first_s": 0.05, "backoff_limit_s": 0.2, "total_s": 30, "recover": False}
"""Scaled down; a row's own comes on top. Recovery has rows of its own."""
PACE = Pacing(token_interval_s=0.01)
"""Slow enough that what was sent has been read before a connection is reset."""
CLIENT_S = 30.0
RECORD_S = 5.0


@dataclass(frozen=True)
class Result:
    """What came of a cell: the caller's view, the providers' and the record's."""

    status: int
    headers: Mapping[str, str]
    heard: Heard
    took_s: float
    calls: tuple[tuple[Which, SeenRequest], ...]
    record: Mapping[str, Any]
    failures: tuple[tuple[str, str], ...]
    """Provider and code of each call that failed, as the log tells it."""
    story: Mapping[str, Any]
    """What `explain` says."""

    @property
    def waits_s(self) -> list[float]:
        """From each call's arrival to the next one's."""
        at = [datetime.fromisoformat(seen.time).timestamp() for _, seen in self.calls]
        return [after - before for before, after in zip(at, at[1:], strict=False)]


class House:
    """What the cells of one module run against."""

    def __init__(self, url: str, simulator: Simulator, client: httpx.AsyncClient, log: LogKeeper) -> None:
        self.url = url
        self.simulator = simulator
        self.client = client
        self.log = log

    async def run(self, cell: Cell) -> Result:
        """Ask once, and gather what everybody says about it."""
        began = time.monotonic()
        reply = await self.client.post(
            cell.door.path(cell.name, stream=cell.stream),
            json=cell.door.body(cell.name, cell.row.turns, stream=cell.stream),
            headers={"x-request-id": cell.name},
        )
        took_s = time.monotonic() - began
        record = await self.log.record_of(cell.name)
        story = await self.client.get(f"/api/ai/requests/{cell.name}/explain")
        return Result(
            reply.status_code,
            reply.headers,
            heard(cell, reply),
            took_s,
            tuple(self.calls(cell)),
            record,
            tuple((each["provider"], each["code"]) for each in self.log.failures_of(cell.name)),
            story.json(),
        )

    def calls(self, cell: Cell) -> list[tuple[Which, SeenRequest]]:
        """What the simulator was asked for this cell, in order."""
        whose = {key_hash(key): which for which in cell.targets for key in cell.keys(which)}
        return [(whose[seen.key_hash], seen) for seen in self.simulator.requests if seen.key_hash in whose]


def heard(cell: Cell, reply: httpx.Response) -> Heard:
    """What the door's client makes of the reply."""
    if reply.status_code >= 400:
        return Heard(told=cell.door.error_in(reply.json()))
    return cell.door.hear_stream(reply.content) if cell.stream else cell.door.hear_whole(reply.json())


@asynccontextmanager
async def house_for(rows: Iterable[Row]) -> AsyncIterator[House]:
    """A running house with everything the rows' cells need."""
    cells = [cell for row in rows for cell in row.cells()]
    async with Simulator(Script(rules=(_WRONG_KEYS, *_rules(cells)), pacing=PACE)) as simulator:
        served = build(Settings.model_validate(settings_of(cells, simulator)))
        with LogKeeper.listening() as log, running(served) as server:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=server.url, timeout=CLIENT_S, limits=limits) as client:
                yield House(server.url, simulator, client, log)


def settings_of(cells: Iterable[Cell], simulator: Simulator) -> dict[str, Any]:
    """Every cell's providers and route."""
    providers: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    for cell in cells:
        for which in cell.targets:
            deadlines = {"idle_s": cell.row.idle_s}
            vendor = _VENDORS[cell.wire(which)](simulator)
            providers[cell.provider(which)] = {**vendor, "api_keys": cell.keys(which), "deadlines": deadlines}
        targets = [f"{cell.provider(which)}/{target.model}" for which, target in cell.targets.items()]
        routes[cell.name] = {"targets": targets, "policy": {**POLICY, **cell.row.policy}}
    return {"providers": providers, "routes": routes}


_VENDORS = {
    "chat": lambda simulator: {"kind": "openai", "base_url": simulator.openai_url},
    "responses": lambda simulator: {"kind": "openai", "wire": "responses", "base_url": simulator.openai_url},
    "anthropic": lambda simulator: {"kind": "anthropic", "base_url": simulator.url},
    "gemini": lambda simulator: {"kind": "gemini", "base_url": f"{simulator.url}/v1beta"},
}

_WRONG_KEYS = Rule(match=Match(key="wrong.*"), fault=NamedError("authentication"))


def _rules(cells: Iterable[Cell]) -> list[Rule]:
    return [rule for cell in cells for which in cell.targets for rule in _rules_of(cell, which)]


def _rules_of(cell: Cell, which: Which) -> Iterable[Rule]:
    target = cell.targets[which]

    def rule(fault: Fault | None, times: int | None) -> Rule:
        reply = Reply(text=target.text, prefill=target.prefill)
        return Rule(Match(key=f"*.{cell.provider(which)}"), reply, fault=fault, times=times)

    return [*(rule(fault, 1) for fault in target.does[:-1]), rule(target.does[-1], None)]


class LogKeeper(logging.Handler):
    """Keeps the access log's lines and the warnings about failed calls, by request id."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[str, dict[str, Any]] = {}
        self._failures: dict[str, list[dict[str, Any]]] = {}

    @classmethod
    @contextmanager
    def listening(cls) -> Any:
        """One that hears both logs inside the block."""
        keeper = cls()
        loggers = [logging.getLogger(name) for name in ("waypost.access", "waypost.server")]
        levels = [each.level for each in loggers]
        for each in loggers:
            each.addHandler(keeper)
            each.setLevel(logging.INFO)
        try:
            yield keeper
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.removeHandler(keeper)
                each.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the server's thread."""
        message = record.getMessage()
        if record.name == "waypost.access":
            line = json.loads(message)
            self._records[line["request_id"]] = line
        elif message.startswith("attempt failed: "):
            line = json.loads(message.removeprefix("attempt failed: "))
            self._failures.setdefault(line["request_id"], []).append(line)

    async def record_of(self, request_id: str) -> dict[str, Any]:
        """The request's line, which is written just after the reply's last byte."""
        async with asyncio.timeout(RECORD_S):
            while request_id not in self._records:
                await asyncio.sleep(0.01)
        return self._records[request_id]

    def failures_of(self, request_id: str) -> list[dict[str, Any]]:
        """Its failed calls, in order."""
        return self._failures.get(request_id, [])
