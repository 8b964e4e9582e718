"""From events to a whole answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.chat import (
    Choice,
    Citation,
    CitationDelta,
    Collector,
    Event,
    Failed,
    Finish,
    GrammarError,
    LogprobsDelta,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Response,
    ResponseStart,
    ServerTool,
    Text,
    ToolCall,
    Unknown,
    Usage,
    UsageUpdate,
    collect,
)
from waypost.chat.collect import merge_opaque
from waypost.errors import IncompleteStream, ProviderOverloaded

START = ResponseStart("id-1", "model-1", created=17, provider_fields={"openai": {"system_fingerprint": "f"}})
STOP = Finish("stop", "end_turn")


def only_part(*events: Event) -> Part:
    (part,) = collect([START, *events, STOP]).choices[0].parts
    return part


def test_what_the_stream_says_of_itself_is_in_the_answer() -> None:
    response = collect([START, UsageUpdate(Usage(input_tokens=3)), Finish("length", "max_tokens", "END")])
    assert response == Response(
        id="id-1",
        model="model-1",
        choices=(Choice(0, (), "length", "max_tokens", "END"),),
        usage=Usage(input_tokens=3),
        created=17,
        provider_fields={"openai": {"system_fingerprint": "f"}},
    )


@pytest.mark.parametrize(
    ("begun", "grown"),
    [
        (Text("a"), Text("abc")),
        (Reasoning("a"), Reasoning("abc")),
        (Refusal("a"), Refusal("abc")),
        (ToolCall("1", "tool", "a"), ToolCall("1", "tool", "abc")),
        (ToolCall("1", "tool", "a", kind="custom"), ToolCall("1", "tool", "abc", kind="custom")),
    ],
)
def test_deltas_are_appended_to_what_the_start_held(begun: Part, grown: Part) -> None:
    assert only_part(PartStart(0, begun), PartDelta(0, "b"), PartDelta(0, ""), PartDelta(0, "c"), PartEnd(0)) == grown


def test_a_part_that_came_whole_is_kept_as_it_is() -> None:
    tool = ServerTool("anthropic", {"type": "server_tool_use"}, opaque={"anthropic": {"id": 1}})
    assert only_part(PartStart(0, tool), PartEnd(0)) == tool
    unknown = Unknown("openai", {"type": "new"})
    assert only_part(PartStart(0, unknown), PartEnd(0)) == unknown


def test_citations_are_appended_in_order() -> None:
    first, second = Citation("anthropic", {"n": 1}), Citation("anthropic", {"n": 2})
    begun = PartStart(0, Text("", citations=(first,)))
    assert only_part(begun, CitationDelta(0, second), PartDelta(0, "a"), PartEnd(0)) == Text("a", (first, second))


def test_what_the_end_says_is_merged_into_the_part_s_opaque() -> None:
    """Signatures come with PartEnd; other families' data, and other fields, stay."""
    begun = PartStart(0, Reasoning("", opaque={"anthropic": {"kind": "thinking"}, "openai": {"id": "r"}}))
    part = only_part(begun, PartEnd(0, opaque={"anthropic": {"signature": "s"}}))
    assert part == Reasoning("", opaque={"anthropic": {"kind": "thinking", "signature": "s"}, "openai": {"id": "r"}})


def test_parts_and_choices_come_in_the_order_of_their_indexes() -> None:
    """Whatever order they began or ended in, and with gaps between the indexes."""
    response = collect(
        [
            START,
            PartStart(5, Text(""), choice=1),
            PartStart(7, Text("")),
            PartStart(2, Text("")),
            PartDelta(7, "last"),
            PartDelta(2, "first"),
            PartDelta(5, "other", choice=1),
            PartEnd(7),
            PartEnd(2),
            PartEnd(5, choice=1),
            Finish("stop", choice=1),
            Finish("length"),
        ]
    )
    assert [(choice.index, choice.text, choice.reason) for choice in response.choices] == [
        (0, "firstlast", "length"),
        (1, "other", "stop"),
    ]
    assert response.text == "firstlast"


def test_log_probabilities_are_appended_list_by_list() -> None:
    response = collect(
        [
            START,
            LogprobsDelta({"content": [1], "refusal": None}),
            LogprobsDelta({"content": [2, 3]}),
            LogprobsDelta({"content": [4]}, choice=1),
            Finish("stop"),
            Finish("stop", choice=1),
        ]
    )
    assert response.choices[0].logprobs == {"content": [1, 2, 3], "refusal": None}
    assert response.choices[1].logprobs == {"content": [4]}


def test_lists_of_the_events_are_not_changed() -> None:
    """Events are values: another reader of the same stream must not find them longer than they came."""
    first = LogprobsDelta({"content": [1]})
    collect([START, first, LogprobsDelta({"content": [2]}), Finish("stop")])
    assert first == LogprobsDelta({"content": [1]})


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="nothing"),
        pytest.param([START], id="only a start"),
        pytest.param([START, PartStart(0, Text("")), PartDelta(0, "a")], id="inside a part"),
        pytest.param([START, PartStart(0, Text("")), PartEnd(0)], id="after a part"),
        pytest.param([START, PartStart(0, Text("")), PartEnd(0), Finish("stop", choice=1)], id="one choice of two"),
    ],
)
def test_a_stream_without_its_end_is_incomplete(events: list[Event]) -> None:
    with pytest.raises(IncompleteStream):
        collect(events)


def test_a_broken_stream_raises_its_own_error() -> None:
    error = ProviderOverloaded("overloaded")
    with pytest.raises(ProviderOverloaded) as raised:
        collect([START, Failed(error)])
    assert raised.value is error


def test_events_out_of_order_are_refused() -> None:
    with pytest.raises(GrammarError):
        collect([START, PartDelta(0, "a")])


def test_what_came_before_a_break_can_be_had() -> None:
    """A cut stream is billed by its usage, and recovered from by its text."""
    collector = Collector()
    for event in (START, UsageUpdate(Usage(input_tokens=3)), PartStart(0, Text("")), PartDelta(0, "half")):
        collector.add(event)
    with pytest.raises(ProviderOverloaded):
        collector.add(Failed(ProviderOverloaded("overloaded")))
    partial = collector.partial()
    assert (partial.id, partial.text, partial.choices[0].reason) == ("id-1", "half", "other")
    assert collector.usage == partial.usage == Usage(input_tokens=3)
    with pytest.raises(IncompleteStream):
        collector.response()


def test_of_nothing_there_is_an_empty_answer() -> None:
    assert Collector().partial() == Response(id="", model="", choices=(Choice(0, (), "other"),))


texts = st.lists(st.text(max_size=8), max_size=6)


@settings(max_examples=100, deadline=None)
@given(texts, texts, st.data())
def test_how_parts_interleave_makes_no_difference(first: list[str], second: list[str], data: st.DataObject) -> None:
    """Any merging of two parts' deltas gives the same answer as one after the other."""
    queues = [[PartDelta(0, text) for text in first], [PartDelta(1, text) for text in second]]
    merged: list[Event] = []
    while any(queues):
        which = data.draw(st.sampled_from([number for number, queue in enumerate(queues) if queue]))
        merged.append(queues[which].pop(0))
    begun: list[Event] = [START, PartStart(0, Text("")), PartStart(1, ToolCall("1", "tool", ""))]
    response = collect([*begun, *merged, PartEnd(1), PartEnd(0), STOP])
    assert response.choices[0].parts == (Text("".join(first)), ToolCall("1", "tool", "".join(second)))


families = st.sampled_from(["anthropic", "openai", "gemini"])
opaques = st.dictionaries(families, st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3), max_size=3)


@settings(max_examples=100, deadline=None)
@given(opaques, opaques, opaques)
def test_merging_opaque_data_is_associative_and_the_later_wins(first: Any, second: Any, third: Any) -> None:
    assert merge_opaque(merge_opaque(first, second), third) == merge_opaque(first, merge_opaque(second, third))
    assert merge_opaque(first, {}) == merge_opaque({}, first) == first
    merged = merge_opaque(first, second)
    for family, fields in second.items():
        assert fields.items() <= merged[family].items()
    for family, fields in first.items():
        for name, value in fields.items():
            assert merged[family][name] == second.get(family, {}).get(name, value)
