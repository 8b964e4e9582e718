"""A whole answer and its stream are the same answer; tokens are counted, never lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from waypost.chat import (
    Choice,
    Message,
    Part,
    PartDelta,
    Reasoning,
    Request,
    Response,
    Text,
    ToolCall,
    Usage,
    collect,
)
from waypost.simulator import Pacing
from waypost.simulator.events import duration_s, paced_events
from waypost.simulator.limits import shortened, stopped
from waypost.simulator.tokens import count_request, count_tokens, split_tokens

PARTS = st.one_of(
    st.builds(Text, st.text()),
    st.builds(lambda text: Reasoning(text, opaque={"anthropic": {"signature": "abc"}}), st.text()),
    st.builds(lambda text: ToolCall("call_1", "look", text), st.text()),
)


@given(st.lists(st.lists(PARTS, max_size=3), min_size=1, max_size=2), st.integers(1, 5))
def test_collecting_the_events_gives_the_answer(choices: list[list[Text]], tokens_per_chunk: int) -> None:
    response = Response(
        id="r",
        model="m",
        created=1,
        choices=tuple(Choice(index, tuple(parts), "stop") for index, parts in enumerate(choices)),
        usage=Usage(input_tokens=3, output_tokens=4),
    )
    assert collect(event for _, event in paced_events(response, Pacing(0, 0, tokens_per_chunk))) == response


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text
    assert (count_tokens(text) == 0) == (text == "")


def test_a_chunk_holds_as_many_tokens_as_asked_and_waits_for_each() -> None:
    response = Response("r", "m", (Choice(0, (Text("aaaabbbbccccdddd"),), "stop"),))
    pacing = Pacing(first_token_s=2, token_interval_s=0.5, tokens_per_chunk=3)
    deltas = [(wait, event.text) for wait, event in paced_events(response, pacing) if isinstance(event, PartDelta)]
    assert deltas == [(1.5, "aaaabbbbcccc"), (0.5, "dddd")]
    assert duration_s(response, pacing) == 4.0


def test_input_is_counted_over_every_message() -> None:
    one = Request("m", (Message("user", (Text("hello there"),)),))
    two = Request("m", (Message("system", (Text("be brief"),)), *one.messages))
    assert 0 < count_request(one) < count_request(two)


def test_the_earliest_stop_sequence_ends_the_answer() -> None:
    parts: list[Part] = [Text("one two three"), Text("four")]
    assert stopped(parts, ("three", "two")) == ([Text("one ")], "two")
    assert stopped(parts, ("five",)) == (parts, None)


def test_the_largest_number_of_tokens_cuts_text_and_arguments() -> None:
    parts: list[Part] = [Text("aaaabbbb"), ToolCall("", "look", '{"where": "out"}')]
    assert shortened(parts, None) == (parts, False)
    assert shortened(parts, 100) == (parts, False)
    assert shortened(parts, 1) == ([Text("aaaa")], True)
    kept, cut = shortened(parts, 3)
    assert cut
    assert kept == [Text("aaaabbbb"), ToolCall("", "look", '{"wh')]
