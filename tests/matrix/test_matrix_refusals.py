"""Requests that a provider finds wrong: told at once; another target is asked only where the route says so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.matrix.check import check_row
from tests.matrix.house import House, house_for
from tests.matrix.rows import Row, Target, came, parameters
from tests.simulated import Wire

from waypost.simulator.faults import NamedError, RefusePrefill

pytestmark = pytest.mark.asyncio(loop_scope="module")

WELL = Target()
PREFILLED = (("user", "Tell me about the river."), ("assistant", "Grüße:"))

TELL_POLICY: tuple[Wire, ...] = ("chat", "responses", "anthropic")
"""Google has no error for it: a prompt that it blocks gets an answer without candidates."""
PART = "Grüße: a river"


ROWS = (
    Row(
        "context length",
        Target((NamedError("context_length"),)),
        second=WELL,
        either=came("first context_length_exceeded", told="context_length_exceeded"),
    ),
    Row(
        "context length, another target has a larger window",
        Target((NamedError("context_length"),), wire="chat", model="gpt-4o"),
        second=Target(wire="gemini", model="gemini-2.5-flash"),
        either=came("first context_length_exceeded", "second answered"),
    ),
    Row(
        "context length, the other target has a smaller window",
        Target((NamedError("context_length"),), wire="gemini", model="gemini-2.5-flash"),
        second=Target(wire="chat", model="gpt-4o"),
        either=came("first context_length_exceeded", told="context_length_exceeded"),
    ),
    Row(
        "content policy",
        Target((NamedError("content_policy"),)),
        second=WELL,
        wires=TELL_POLICY,
        either=came("first content_policy_violation", told="content_policy_violation"),
    ),
    Row(
        "content policy, the route falls back",
        Target((NamedError("content_policy"),)),
        second=WELL,
        policy={"fall_back_on": ["content_policy"]},
        wires=TELL_POLICY,
        either=came("first content_policy_violation", "second answered"),
    ),
    Row(
        "Gemini blocks the prompt",
        Target(blocked="PROHIBITED_CONTENT", wire="gemini"),
        second=WELL,
        either=came("first answered", filtered=True, said=""),
    ),
    Row(
        "Gemini blocks the prompt, the route falls back on errors of policy",
        Target(blocked="SAFETY", wire="gemini"),
        second=WELL,
        policy={"fall_back_on": ["content_policy"]},
        either=came("first answered", filtered=True, said=""),
    ),
    Row(
        "Gemini ends the answer for SAFETY",
        Target(text=PART, filtered="SAFETY", wire="gemini"),
        second=WELL,
        either=came("first answered", filtered=True, said=PART),
    ),
    Row(
        "Gemini ends the answer for PROHIBITED_CONTENT before its first word",
        Target(text="", filtered="PROHIBITED_CONTENT", wire="gemini"),
        second=WELL,
        either=came("first answered", filtered=True, said=""),
    ),
    Row(
        "a bad request",
        Target((NamedError("bad_request"),)),
        second=WELL,
        either=came("first provider_bad_request", told="provider_bad_request"),
    ),
    Row(
        "a bad request, the route falls back",
        Target((NamedError("bad_request"),)),
        second=WELL,
        policy={"fall_back_on": ["bad_request"]},
        either=came("first provider_bad_request", "second answered"),
    ),
    Row(
        "a refused prefill",
        Target((RefusePrefill(),)),
        second=WELL,
        turns=PREFILLED,
        either=came("first provider_bad_request", told="provider_bad_request"),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with house_for(ROWS) as opened:
        yield opened


@pytest.mark.parametrize("row", parameters(ROWS))
async def test_refusals(house: House, row: Row) -> None:
    await check_row(house, row)
