"""Faults after the first token: what was sent stays, and what follows is a typed error or nothing but the whole text.

Recovery is off here (it has rows of its own), so a stream that breaks is told so, and never looks finished. An answer
that is not streamed has shown nothing of itself yet: there another call may mend it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.matrix.check import check_row
from tests.matrix.house import House, house_for
from tests.matrix.rows import Expected, Row, Target, parameters

from waypost.simulator import CutAfter, EndAfter, ErrorAfter, MalformedAfter, StallAfter

pytestmark = pytest.mark.asyncio(loop_scope="module")

WELL = Target()
EVENTS = 10
"""So many events of any dialect hold some of the text, and not all of it."""


def broken(code: str, *, at_least_s: float = 0.0) -> Expected:
    """A stream whose first target broke it; the second is not asked."""
    return Expected((f"first {code}",), told=code, began=True, at_least_s=at_least_s)


ROWS = (
    Row(
        "a cut stream",
        Target((CutAfter(EVENTS),)),
        second=WELL,
        streamed=broken("provider_connection_lost"),
        whole=Expected(("first provider_connection_lost", "first provider_connection_lost", "second answered")),
    ),
    Row(
        "a stream cut inside an event",
        Target((CutAfter(EVENTS, "event"),)),
        second=WELL,
        streamed=broken("provider_connection_lost"),
    ),
    Row(
        "a stream cut inside a character",
        Target((CutAfter(EVENTS, "character"),)),
        second=WELL,
        streamed=broken("provider_connection_lost"),
    ),
    Row(
        "cut once",
        Target((CutAfter(EVENTS), None)),
        whole=Expected(("first provider_connection_lost", "first answered")),
        streamed=broken("provider_connection_lost"),
    ),
    Row(
        "a stalled stream",
        Target((StallAfter(EVENTS),)),
        second=WELL,
        idle_s=1.0,
        streamed=broken("provider_timeout", at_least_s=1.0),
        whole=Expected(("first provider_timeout", "second answered"), at_least_s=1.0),
    ),
    Row(
        "a stalled stream, and the deadline passes",
        Target((StallAfter(EVENTS),)),
        second=WELL,
        policy={"total_s": 1.5},
        streamed=broken("provider_timeout", at_least_s=1.5),
        whole=Expected(("first provider_timeout",), told="provider_timeout", at_least_s=1.5),
    ),
    Row(
        "a malformed event",
        Target((MalformedAfter(EVENTS),)),
        second=WELL,
        streamed=broken("provider_malformed_response"),
        whole=Expected(("first provider_malformed_response", "second answered")),
    ),
    Row(
        "no terminal event",
        Target((EndAfter(EVENTS),)),
        second=WELL,
        streamed=broken("provider_incomplete_stream"),
        whole=Expected(("first provider_connection_lost", "first provider_connection_lost", "second answered")),
    ),
    Row(
        "the provider's own error in the stream",
        Target((ErrorAfter(EVENTS, "server_error"),)),
        second=WELL,
        streamed=broken("provider_server_error"),
        whole=Expected(("first provider_server_error", "first provider_server_error", "second answered")),
    ),
    Row(
        "the provider's own limit in the stream",
        Target((ErrorAfter(EVENTS, "rate_limit"),)),
        second=WELL,
        streamed=broken("provider_rate_limited"),
        whole=Expected(("first provider_rate_limited", "first provider_rate_limited", "second answered")),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with house_for(ROWS) as opened:
        yield opened


@pytest.mark.parametrize("row", parameters(ROWS))
async def test_within_the_answer(house: House, row: Row) -> None:
    await check_row(house, row)
