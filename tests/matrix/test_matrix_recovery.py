"""Streams that break in the middle and are gone on with: the caller gets the whole text once, or a typed error.

Whoever takes over, the stream stays one answer: one id, one model, one order of events.
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

EVENTS = 12
RECOVER = {"recover": True}
SAME = Target()
OTHER = Target(text="Rivers are wet, and this one is no exception to that.")
CONTINUES = Target(wire="anthropic", model="claude-sonnet-4-5")
"""The one that is known to go on from its own words."""


def recovered(*calls: str, at_least_s: float = 0.0, last_asked_with: str = "") -> Expected:
    """The whole text. The headers are sent before the stream breaks: they count one call."""
    return Expected(calls, at_least_s=at_least_s, header_attempts=1, last_asked_with=last_asked_with)


def told(code: str, *calls: str) -> Expected:
    """A part of the text and a typed error."""
    return Expected(calls, told=code, began=True, header_attempts=1)


ROWS = (
    Row(
        "cut, another target begins again with the same words",
        Target((CutAfter(EVENTS),)),
        second=SAME,
        policy=RECOVER,
        streamed=recovered("first provider_connection_lost", "second answered"),
    ),
    Row(
        "cut inside an event, another target begins again",
        Target((CutAfter(EVENTS, "event"),)),
        second=SAME,
        policy=RECOVER,
        streamed=recovered("first provider_connection_lost", "second answered"),
    ),
    Row(
        "stalled, another target begins again",
        Target((StallAfter(EVENTS),)),
        second=SAME,
        policy=RECOVER,
        idle_s=1.0,
        streamed=recovered("first provider_timeout", "second answered", at_least_s=1.0),
    ),
    Row(
        "malformed, another target begins again",
        Target((MalformedAfter(EVENTS),)),
        second=SAME,
        policy=RECOVER,
        streamed=recovered("first provider_malformed_response", "second answered"),
    ),
    Row(
        "no terminal event, another target begins again",
        Target((EndAfter(EVENTS),)),
        second=SAME,
        policy=RECOVER,
        streamed=recovered("first provider_incomplete_stream", "second answered"),
    ),
    Row(
        "the provider's own error, another target begins again",
        Target((ErrorAfter(EVENTS, "server_error"),)),
        second=SAME,
        policy=RECOVER,
        streamed=recovered("first provider_server_error", "second answered"),
    ),
    Row(
        "cut once, the only target begins again",
        Target((CutAfter(EVENTS), None)),
        policy=RECOVER,
        streamed=recovered("first provider_connection_lost", "first answered"),
    ),
    Row(
        "cut twice, by both targets, and the budget allows a third call",
        Target((CutAfter(EVENTS), None)),
        second=Target((CutAfter(EVENTS + 6), None)),
        policy={**RECOVER, "max_attempts": 3},
        streamed=recovered("first provider_connection_lost", "second provider_connection_lost", "first answered"),
    ),
    Row(
        "cut, another target continues the text",
        Target((CutAfter(EVENTS),)),
        second=CONTINUES,
        policy=RECOVER,
        streamed=recovered("first provider_connection_lost", "second answered", last_asked_with="assistant"),
    ),
    Row(
        "cut, another target repeats the text and continues it",
        Target((CutAfter(EVENTS),)),
        second=Target(wire="anthropic", model="claude-sonnet-4-5", prefill="repeat"),
        policy=RECOVER,
        streamed=recovered("first provider_connection_lost", "second answered", last_asked_with="assistant"),
    ),
    Row(
        "cut, another target refuses to continue",
        Target((CutAfter(EVENTS),)),
        second=Target(wire="anthropic", model="claude-sonnet-4-5", prefill="refuse"),
        policy={**RECOVER, "max_attempts": 2},
        streamed=told("provider_connection_lost", "first provider_connection_lost", "second provider_bad_request"),
    ),
    Row(
        "cut once, another target refuses to continue, and the first begins again",
        Target((CutAfter(EVENTS), None)),
        second=Target(wire="anthropic", model="claude-sonnet-4-5", prefill="refuse"),
        policy=RECOVER,
        streamed=recovered("first provider_connection_lost", "second provider_bad_request", "first answered"),
    ),
    Row(
        "cut, another target says something else",
        Target((CutAfter(EVENTS),)),
        second=OTHER,
        policy={**RECOVER, "max_attempts": 2},
        streamed=told("recovery_diverged", "first provider_connection_lost", "second recovery_diverged"),
    ),
    Row(
        "cut, another target says less",
        Target((CutAfter(EVENTS),)),
        second=Target(text="Grüße"),
        policy={**RECOVER, "max_attempts": 2},
        streamed=told("recovery_diverged", "first provider_connection_lost", "second recovery_diverged"),
    ),
    Row(
        "cut, and no call is left",
        Target((CutAfter(EVENTS),)),
        second=SAME,
        policy={**RECOVER, "max_attempts": 1},
        streamed=told("provider_connection_lost", "first provider_connection_lost"),
    ),
    Row(
        "cut, and more was sent than is kept",
        Target((CutAfter(EVENTS),)),
        second=SAME,
        policy={**RECOVER, "recover_buffer_bytes": 10},
        streamed=told("provider_connection_lost", "first provider_connection_lost"),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with house_for(ROWS) as opened:
        yield opened


@pytest.mark.parametrize("row", parameters(ROWS))
async def test_recovery(house: House, row: Row) -> None:
    await check_row(house, row)
