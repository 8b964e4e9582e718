"""A provider that fails for two seconds, is well for two, and so on: no caller notices, and it is not hammered.

All requests share the two targets, and so the breaker of the first. In its first bad phase it fails often enough to be
left alone for ten seconds, the phases within them good and bad; the probe after that falls into a good phase.

A minute of it is scaled to the quarter: the 15 seconds hold one turn of the breaker (failing, left alone, a probe,
well again), of which a minute holds several. The waits themselves are those of a real server.
WAYPOST_TEST_FLAPPING_S=60 makes it the whole minute.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise

import httpx
import pytest
import pytest_asyncio
from tests.matrix.doors import DOORS, Door, Heard
from tests.matrix.rows import TEXT
from tests.simulated import provider, serving

from waypost.simulator import Match, Reply, Rule, Script, SeenRequest, Simulator, StatusFault
from waypost.simulator.script import Window

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHASE_S = 2.0
LASTS_S = float(os.environ.get("WAYPOST_TEST_FLAPPING_S", "15"))
LEFT_ALONE_S = 10.0
PACE_S = 0.25
SCRIPT = Script(
    rules=(
        Rule(Match(model="flapping"), fault=StatusFault(503), window=Window(on_s=PHASE_S, off_s=PHASE_S)),
        Rule(reply=Reply(text=TEXT)),
    )
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SCRIPT) as opened:
        yield opened


async def test_nobody_notices_a_flapping_provider_and_it_is_left_alone(simulator: Simulator) -> None:
    with serving(_settings(simulator)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            simulator.use(SCRIPT)
            began = time.time()
            callers = [_caller(client, door, stream=stream) for door in DOORS for stream in (True, False)]
            heard = [each for answers in await asyncio.gather(*callers) for each in answers]
    assert len(heard) > 100
    assert [each for each in heard if (each.text, each.finished, each.told) != (TEXT, True, "")] == []
    flapping = [_at_s(seen) - began for seen in simulator.requests if seen.model == "flapping"]
    _check_pauses(flapping)


def _check_pauses(at_s: list[float]) -> None:
    """When the flapping target was asked, in seconds: until it was left alone, then one probe, then again."""
    pauses = [(after - before, place) for place, (before, after) in enumerate(pairwise(at_s), 1)]
    left_alone = [(pause_s, place) for pause_s, place in pauses if pause_s >= LEFT_ALONE_S - 0.5]
    assert left_alone, "it was never left alone"
    assert max(pause_s for pause_s, _ in left_alone) <= LEFT_ALONE_S + 2
    assert len(left_alone) >= LASTS_S // (LEFT_ALONE_S + 3 * PHASE_S)
    place = left_alone[0][1]
    assert at_s[place - 1] < PHASE_S, "it was asked after its first failures"
    # At least five failures open it; calls that are under way then, and one retry each, come on top.
    assert 5 <= place <= 5 + 2 * 2 * len(DOORS)
    assert len(at_s) - place > 2, "once the probe has succeeded it is asked again"


async def _caller(client: httpx.AsyncClient, door: Door, *, stream: bool) -> list[Heard]:
    heard = []
    until = time.monotonic() + LASTS_S
    while time.monotonic() < until:
        body = door.body("default", [("user", "Tell me about the river.")], stream=stream)
        reply = await client.post(door.path("default", stream=stream), json=body)
        if reply.status_code == 200:
            heard.append(door.hear_stream(reply.content) if stream else door.hear_whole(reply.json()))
        else:
            heard.append(Heard(told=door.error_in(reply.json())))
        await asyncio.sleep(PACE_S)
    return heard


def _settings(simulator: Simulator) -> dict[str, object]:
    policy = {"backoff_first_s": 0.05, "backoff_limit_s": 0.1, "total_s": 20}
    return {
        "providers": {
            "first": {**provider("chat", simulator), "api_key": "any"},
            "second": {**provider("anthropic", simulator), "api_key": "any"},
        },
        "routes": {"default": {"targets": ["first/flapping", "second/well"], "policy": policy}},
    }


def _at_s(seen: SeenRequest) -> float:
    return datetime.fromisoformat(seen.time).timestamp()
