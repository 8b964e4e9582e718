"""W3C trace context: what is gone on with, and what is as good as absent."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.telemetry.trace_context import LONGEST_STATE, TraceContext, new_span_id, new_trace_id, read_context

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("parent", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f" 00-{TRACE}-{SPAN}-01\t", True),
        # Flags that are not known yet say nothing.
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"00-{TRACE}-{SPAN}-ff", True),
        # A later version may say more, after what is known.
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_read(parent: str, is_sampled: bool) -> None:
    """What has the standard's form is the caller's span."""
    assert read_context([parent]) == TraceContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [""],
        [f"00-{TRACE}-{SPAN}"],
        [f"00-{TRACE}-{SPAN}-1"],
        [f"00-{TRACE}-{SPAN}-0g"],
        [f"00-{TRACE}-{SPAN}-01-more"],
        [f"00-{TRACE}-{SPAN}-01-"],
        [f"01-{TRACE}-{SPAN}-01more"],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"0-{TRACE}-{SPAN}-01"],
        [f"00-{TRACE.upper()}-{SPAN}-01"],
        [f"00-{TRACE[1:]}-{SPAN}-01"],
        [f"00-{TRACE}0-{SPAN}-01"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE}-{SPAN}-01\n"],
        [f"00_{TRACE}_{SPAN}_01"],
        [f"00-{TRACE}-{SPAN}-\u06601"],
        [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"],
    ],
)
def test_ignored(parents: list[str]) -> None:
    """What has not is as good as absent, and so is one that came twice."""
    assert read_context(parents, ["vendor=1"]) is None


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["congo=t61rcWkgMzE"], "congo=t61rcWkgMzE"),
        (
            ["rojo=00f067aa,congo=t61", " \t", "fw529a3039@dt=FfAA ; x"],
            "rojo=00f067aa,congo=t61,fw529a3039@dt=FfAA ; x",
        ),
        (["a=1 , b=2,,"], "a=1,b=2"),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a"], ""),
        (["a="], ""),
        (["a=b=c"], ""),
        (["a=\x7f"], ""),
        (["a=ü"], ""),
        ([",".join(f"k{number}=v" for number in range(33))], ""),
        ([",".join(f"k{number}=v" for number in range(32))], ",".join(f"k{number}=v" for number in range(32))),
        ([f"a={'v' * 255}"], f"a={'v' * 255}"),
        ([f"a={'v' * 257}"], ""),
        ([f"a={'v' * 250},b={'v' * 250},c={'v' * 250}"], ""),
    ],
)
def test_state(states: list[str], kept: str) -> None:
    """A tracestate is passed on as it is, or not at all; the parent counts in any case."""
    context = read_context([f"00-{TRACE}-{SPAN}-01"], states)
    assert context is not None
    assert context.state == kept


@given(st.lists(st.text(max_size=80), max_size=2), st.lists(st.text(max_size=80), max_size=3))
def test_nothing_breaks_it(parents: list[str], states: list[str]) -> None:
    """Whatever callers write, reading raises nothing and gives ids and a state that are safe in headers."""
    context = read_context(parents, states)
    if context is not None:
        assert set(context.trace_id + context.span_id) <= set(string.hexdigits)
        assert len(context.state) <= LONGEST_STATE


def test_own_ids_are_read_back() -> None:
    """What we write, we and others read."""
    context = TraceContext(new_trace_id(), new_span_id(), is_sampled=True)
    assert read_context([context.traceparent]) == context
    assert context.trace_id != new_trace_id()
