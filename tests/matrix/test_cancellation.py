"""The caller leaves: the call to the provider ends within a second, streamed or not, before and within the answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.matrix.house import House, house_for
from tests.matrix.rows import Cell, Expected, Row, Target

from waypost.simulator import SeenRequest, Silence, StallAfter

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_S = 1.0
EVER = Expected(())
ROWS = (
    Row("left before the answer", Target((Silence(),)), second=Target(), streamed=EVER, whole=EVER),
    Row("left within the answer", Target((StallAfter(10),)), second=Target(), streamed=EVER, whole=EVER),
)
CELLS = [cell for row in ROWS for cell in row.cells()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with house_for(ROWS) as opened:
        yield opened


@pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
async def test_a_caller_who_leaves_ends_the_call_within_a_second(house: House, cell: Cell) -> None:
    waiting = asyncio.create_task(_ask(house, cell))
    number = (await _seen(house, cell)).number
    await asyncio.sleep(0.3)
    assert not waiting.done()
    waiting.cancel()
    left = time.monotonic()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(WITHIN_S + 5):
        seen = await house.simulator.request(number)
    took_s = time.monotonic() - left
    assert seen.outcome == "client_closed"
    assert took_s <= WITHIN_S
    assert [which for which, _ in house.calls(cell)] == ["first"], "nobody else is asked for someone who has left"
    assert (await house.log.record_of(cell.name))["outcome"] == "client_left"


async def _ask(house: House, cell: Cell) -> None:
    await house.client.post(
        cell.door.path(cell.name, stream=cell.stream),
        json=cell.door.body(cell.name, cell.row.turns, stream=cell.stream),
        headers={"x-request-id": cell.name},
    )


async def _seen(house: House, cell: Cell) -> SeenRequest:
    async with asyncio.timeout(10):
        while not (calls := house.calls(cell)):  # noqa: ASYNC110 - whose request it is, only the ledger knows
            await asyncio.sleep(0.01)
    return calls[0][1]
