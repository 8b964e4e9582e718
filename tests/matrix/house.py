"""One simulator and one real server for many cells: each cell has providers, keys and a route of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx
from tests.matrix.doors import Heard
from tests.matrix.log_keeper import LogKeeper
from tests.matrix.rows import Cell, Row, Which
from tests.simulated import provider, serving

from waypost.chat import FinishReason
from waypost.simulator import Fault, Match, Pacing, Reply, Rule, Script, SeenRequest, Simulator
from waypost.simulator.credentials import key_hash
from waypost.simulator.faults import NamedError

POLICY: Mapping[str, Any] = {"backoff_first_s": 0.05, "backoff_limit_s": 0.2, "total_s": 30, "recover": False}
"""Scaled down; a row's own comes on top. Recovery has rows of its own."""
PACE = Pacing(token_interval_s=0.01)
"""Slow enough that what was sent has been read before a connection is reset."""
CLIENT_S = 30.0


@dataclass(frozen=True)
class Result:
    """What came of a cell: the caller's view, the providers' and the record's."""

    status: int
    headers: Mapping[str, str]
    body: bytes
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
        return [after - before for before, after in pairwise(at)]


class House:
    """What the cells of one module run against."""

    def __init__(self, simulator: Simulator, client: httpx.AsyncClient, log: LogKeeper) -> None:
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
            reply.content,
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
        with LogKeeper.listening() as log, serving(settings_of(cells, simulator)) as url:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=url, timeout=CLIENT_S, limits=limits) as client:
                yield House(simulator, client, log)


def settings_of(cells: Iterable[Cell], simulator: Simulator) -> dict[str, Any]:
    """Every cell's providers and route."""
    providers: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    for cell in cells:
        for which in cell.targets:
            more = {"api_keys": cell.keys(which), "deadlines": {"idle_s": cell.row.idle_s}}
            providers[cell.provider(which)] = {**provider(cell.wire(which), simulator), **more}
        targets = [f"{cell.provider(which)}/{target.model}" for which, target in cell.targets.items()]
        routes[cell.name] = {"targets": targets, "policy": {**POLICY, **cell.row.policy}}
    return {"providers": providers, "routes": routes}


_WRONG_KEYS = Rule(match=Match(key="wrong.*"), fault=NamedError("authentication"))


def _rules(cells: Iterable[Cell]) -> list[Rule]:
    return [rule for cell in cells for which in cell.targets for rule in _rules_of(cell, which)]


def _rules_of(cell: Cell, which: Which) -> Iterable[Rule]:
    target = cell.targets[which]

    def rule(fault: Fault | None, times: int | None) -> Rule:
        reply = Reply(text=target.text, prefill=target.prefill, blocked=target.blocked)
        reason: FinishReason | None = "content_filter" if target.filtered else None
        return Rule(
            Match(key=f"*.{cell.provider(which)}"),
            reply,
            fault=fault,
            times=times,
            finish_reason=reason,
            raw_finish_reason=target.filtered,
        )

    return [*(rule(fault, 1) for fault in target.does[:-1]), rule(target.does[-1], None)]
