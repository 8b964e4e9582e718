"""Faults before the first token: over real sockets, in every dialect, streamed and not.

Expectations are the failure policy's: what is tried again, what goes to the next target at once, and what is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.matrix.check import check_row
from tests.matrix.house import House, house_for
from tests.matrix.rows import Expected, Row, Target, came, parameters

from waypost.simulator import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    MalformedAfter,
    ResetBeforeHeaders,
    Silence,
    StatusFault,
)
from waypost.simulator.faults import SlowFirstToken

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITED = StatusFault(429)
WELL = Target()


ROWS = (
    Row(
        "429 once",
        Target((LIMITED, None)),
        either=came("first provider_rate_limited", "first answered"),
    ),
    Row(
        "429 always, another target is well",
        Target((LIMITED,)),
        second=WELL,
        either=came("first provider_rate_limited", "first provider_rate_limited", "second answered"),
    ),
    Row(
        "429 always, no other target",
        Target((LIMITED,)),
        either=came("first provider_rate_limited", "first provider_rate_limited", told="provider_rate_limited"),
    ),
    Row(
        "429 asks for 1 s in whole seconds",
        Target((StatusFault(429, retry_after_s=1), None)),
        either=came("first provider_rate_limited", "first answered", at_least_s=1.0, waits_s=(1.0,)),
    ),
    Row(
        "429 asks for 400 ms",
        Target((StatusFault(429, retry_after_s=0.4, retry_after_form="milliseconds"), None)),
        either=came("first provider_rate_limited", "first answered", at_least_s=0.4, waits_s=(0.4,)),
    ),
    Row(
        "429 asks until a date",
        Target((StatusFault(429, retry_after_s=1, retry_after_form="date"), None)),
        either=came("first provider_rate_limited", "first answered", at_least_s=1.0, waits_s=(1.0,)),
    ),
    Row(
        "429 asks for longer than the route waits",
        Target((StatusFault(429, retry_after_s=30),)),
        second=WELL,
        either=came("first provider_rate_limited", "second answered"),
    ),
    Row(
        "429 asks for longer than the deadline allows, no other target",
        Target((StatusFault(429, retry_after_s=5),)),
        policy={"total_s": 4},
        either=came("first provider_rate_limited", told="provider_rate_limited", retry_after="5"),
    ),
    Row(
        "503 asks for 1 s",
        Target((StatusFault(503, retry_after_s=1), None)),
        either=came("first provider_overloaded", "first answered", at_least_s=1.0, waits_s=(1.0,)),
    ),
    Row(
        "500 once",
        Target((StatusFault(500), None)),
        either=came("first provider_server_error", "first answered"),
    ),
    Row(
        "503 always, another target is well",
        Target((StatusFault(503),)),
        second=WELL,
        either=came("first provider_overloaded", "first provider_overloaded", "second answered"),
    ),
    Row(
        "503 always, no other target",
        Target((StatusFault(503),)),
        either=came("first provider_overloaded", "first provider_overloaded", told="provider_overloaded"),
    ),
    Row(
        "503 and 429, both always: the budget of attempts is the request's",
        Target((StatusFault(503),)),
        second=Target((LIMITED,)),
        policy={"max_attempts": 3},
        either=came(
            "first provider_overloaded",
            "first provider_overloaded",
            "second provider_rate_limited",
            told="all_providers_failed",
        ),
    ),
    Row(
        "a proxy's page with 502",
        Target((StatusFault(502, body="html"), None)),
        either=came("first provider_server_error", "first answered"),
    ),
    Row(
        "reset before the headers, once",
        Target((ResetBeforeHeaders(), None)),
        either=came("first provider_connection_lost", "first answered"),
    ),
    Row(
        "reset before the headers, always",
        Target((ResetBeforeHeaders(),)),
        second=WELL,
        either=came("first provider_connection_lost", "first provider_connection_lost", "second answered"),
    ),
    Row(
        "silence, another target is well",
        Target((Silence(),)),
        second=WELL,
        policy={"first_token_s": 0.5, "total_s": 2},
        # A stream's first token is waited for; a whole answer has the total deadline only.
        streamed=Expected(("first provider_timeout", "second answered"), at_least_s=0.5),
        whole=Expected(("first provider_timeout",), told="provider_timeout", at_least_s=2.0),
    ),
    Row(
        "silence, no other target",
        Target((Silence(),)),
        policy={"first_token_s": 0.2, "total_s": 1},
        either=came("first provider_timeout", told="provider_timeout", at_least_s=1.0),
    ),
    Row(
        "a slow first token, another target is well",
        Target((SlowFirstToken(1.5),)),
        second=WELL,
        policy={"first_token_s": 0.5},
        streamed=Expected(("first provider_timeout", "second answered"), at_least_s=0.5),
        whole=Expected(("first answered",), at_least_s=1.5),
    ),
    Row(
        "a slow first token, no other target",
        Target((SlowFirstToken(1.5),)),
        policy={"first_token_s": 0.5},
        either=came("first answered", at_least_s=1.5),
    ),
    Row(
        "a slow first token, and a second call is made beside the first",
        Target((SlowFirstToken(3.0),)),
        second=WELL,
        policy={"hedge_after_s": 0.3, "first_token_s": 10},
        either=Expected(("first hedge", "second answered"), at_least_s=0.3),
    ),
    Row(
        "a stream reset after its headers",
        Target((CutAfter(0),)),
        second=WELL,
        streamed=Expected(("first provider_connection_lost", "first provider_connection_lost", "second answered")),
    ),
    Row(
        "an empty stream",
        Target((EndAfter(0),)),
        second=WELL,
        streamed=Expected(("first provider_incomplete_stream", "second answered")),
    ),
    Row(
        "a stream that begins with a malformed event",
        Target((MalformedAfter(0),)),
        second=WELL,
        streamed=Expected(("first provider_malformed_response", "second answered")),
    ),
    Row(
        "a stream that begins with the provider's own error",
        Target((ErrorAfter(0, "server_error"), None)),
        streamed=Expected(("first provider_server_error", "first answered")),
    ),
    Row(
        "a wrong key, the next one is right",
        Target(keys=("wrong", "right")),
        either=came("first provider_authentication", "first answered"),
    ),
    Row(
        "a wrong key, another target is well",
        Target(keys=("wrong",)),
        second=WELL,
        either=came("first provider_authentication", "second answered"),
    ),
    Row(
        "a wrong key, no other target",
        Target(keys=("wrong",)),
        either=came("first provider_authentication", told="provider_authentication"),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with house_for(ROWS) as opened:
        yield opened


@pytest.mark.parametrize("row", parameters(ROWS))
async def test_before_the_answer(house: House, row: Row) -> None:
    await check_row(house, row)
