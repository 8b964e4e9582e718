"""The order of events: every cell of the tables, and a second grammar written another way."""

from __future__ import annotations

import itertools
import re
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.chat import (
    Citation,
    CitationDelta,
    Event,
    Failed,
    Finish,
    Grammar,
    GrammarError,
    InlineData,
    LogprobsDelta,
    Media,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseStart,
    ServerTool,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
    UsageUpdate,
)
from waypost.chat.grammar import PART, STREAM, PartStage, Stage
from waypost.errors import ProviderOverloaded

CITATION = Citation("anthropic", {})
START = ResponseStart("id", "model")
FAILED = Failed(ProviderOverloaded("overloaded"))

# One event of each kind, all of part 0 and choice 0.
EVENTS: dict[type, Event] = {
    ResponseStart: START,
    PartStart: PartStart(0, Text("")),
    PartDelta: PartDelta(0, "a"),
    CitationDelta: CitationDelta(0, CITATION),
    LogprobsDelta: LogprobsDelta({}),
    PartEnd: PartEnd(0),
    UsageUpdate: UsageUpdate(Usage()),
    Finish: Finish("stop"),
    Failed: FAILED,
}

# How to bring a stream to each state. With an open part the part events are lawful too.
REACH: dict[tuple[Stage, PartStage], list[Event]] = {
    (Stage.WAITING, PartStage.ABSENT): [],
    (Stage.OPEN, PartStage.ABSENT): [START],
    (Stage.OPEN, PartStage.OPEN): [START, EVENTS[PartStart]],
    (Stage.OPEN, PartStage.CLOSED): [START, EVENTS[PartStart], EVENTS[PartEnd]],
    (Stage.FINISHING, PartStage.ABSENT): [START, Finish("stop", choice=1)],
    (Stage.FINISHING, PartStage.CLOSED): [START, EVENTS[PartStart], EVENTS[PartEnd], Finish("stop", choice=1)],
    (Stage.BROKEN, PartStage.ABSENT): [FAILED],
    (Stage.BROKEN, PartStage.OPEN): [START, EVENTS[PartStart], FAILED],
}

# What may follow, written out by hand: the tables in the code are held against it.
LAWFUL: dict[tuple[Stage, PartStage], set[type]] = {
    (Stage.WAITING, PartStage.ABSENT): {ResponseStart, Failed},
    (Stage.OPEN, PartStage.ABSENT): {PartStart, LogprobsDelta, UsageUpdate, Finish, Failed},
    (Stage.OPEN, PartStage.OPEN): {PartDelta, CitationDelta, PartEnd, LogprobsDelta, UsageUpdate, Failed},
    (Stage.OPEN, PartStage.CLOSED): {LogprobsDelta, UsageUpdate, Finish, Failed},
    (Stage.FINISHING, PartStage.ABSENT): {Finish},
    (Stage.FINISHING, PartStage.CLOSED): {Finish},
    (Stage.BROKEN, PartStage.ABSENT): set(),
    (Stage.BROKEN, PartStage.OPEN): set(),
}


def walk(*events: Event) -> Grammar:
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    return grammar


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", REACH, ids=lambda state: f"{state[0].name}-{state[1].name}")
def test_every_event_in_every_state(state: tuple[Stage, PartStage], kind: type) -> None:
    """It passes if and only if it is lawful there, and a refusal leaves the state as it was."""
    grammar = walk(*REACH[state])
    assert grammar.stage is state[0]
    if kind in LAWFUL[state]:
        grammar.check(EVENTS[kind])
        assert grammar.stage is STREAM[state[0]][kind]
    else:
        with pytest.raises(GrammarError, match=rf"{kind.__name__}|finishes"):
            grammar.check(EVENTS[kind])
        assert grammar.stage is state[0]


def test_the_tables_know_every_event_and_every_state() -> None:
    """A new kind of event or state must be given its place before it can be used."""
    kinds = set(get_args(Event))
    assert set(EVENTS) == kinds
    assert set().union(*STREAM.values()) == kinds
    assert set(STREAM) == set(Stage)
    assert set(PART) == set(PartStage)
    assert {stage for stage, _ in REACH} == set(Stage)
    assert {stage for _, stage in REACH} == set(PartStage)


PARTS: dict[type[Part], Part] = {
    Text: Text(""),
    Reasoning: Reasoning(""),
    Refusal: Refusal(""),
    ToolCall: ToolCall("1", "tool", ""),
    ToolResult: ToolResult("1", ()),
    ServerTool: ServerTool("anthropic", {}),
    Media: Media("image", InlineData(b"", "image/png")),
    Unknown: Unknown("openai", {}),
}


@pytest.mark.parametrize("kind", get_args(Part), ids=lambda kind: kind.__name__)
def test_only_text_like_parts_grow_and_only_text_takes_citations(kind: type[Part]) -> None:
    begun: list[Event] = [START, PartStart(0, PARTS[kind])]
    if kind in (Text, Reasoning, Refusal, ToolCall):
        walk(*begun, PartDelta(0, "a"), PartEnd(0))
    else:
        with pytest.raises(GrammarError, match=f"a {kind.__name__} part takes no PartDelta"):
            walk(*begun, PartDelta(0, "a"))
        walk(*begun, PartEnd(0))
    if kind is Text:
        walk(*begun, CitationDelta(0, CITATION))
    else:
        with pytest.raises(GrammarError, match="only a Text part takes citations"):
            walk(*begun, CitationDelta(0, CITATION))


def test_parts_may_interleave_and_choices_have_parts_of_their_own() -> None:
    grammar = walk(
        START,
        PartStart(0, Text("")),
        PartStart(1, ToolCall("1", "tool", "")),
        PartStart(0, Text(""), choice=1),
        PartDelta(1, "{}"),
        PartDelta(0, "a"),
        PartDelta(0, "b", choice=1),
        PartEnd(1),
        PartEnd(0),
        PartEnd(0, choice=1),
        Finish("tool_calls"),
        Finish("stop", choice=1),
    )
    assert grammar.complete


@pytest.mark.parametrize(
    ("events", "complete"),
    [
        ([], False),
        ([START], False),
        ([START, PartStart(0, Text("")), PartEnd(0)], False),
        ([START, Finish("stop")], True),
        ([START, Finish("stop", choice=1)], True),
        ([START, PartStart(0, Text("")), PartEnd(0), Finish("stop", choice=1)], False),
        ([START, PartStart(0, Text("")), PartEnd(0), Finish("stop", choice=1), Finish("stop")], True),
        ([START, FAILED], False),
    ],
)
def test_complete_means_that_every_choice_that_began_is_finished(events: list[Event], *, complete: bool) -> None:
    assert walk(*events).complete is complete


def test_a_choice_cannot_finish_over_an_open_part_or_twice() -> None:
    with pytest.raises(GrammarError, match="choice 0 finishes while part \\(0, 3\\) is open"):
        walk(START, PartStart(3, Text("")), Finish("stop"))
    with pytest.raises(GrammarError, match="choice 0 finishes twice"):
        walk(START, Finish("stop"), Finish("stop"))


# The second grammar: one letter an event, regular expressions, no states.

LETTERS: dict[type, str] = {
    ResponseStart: "R",
    PartStart: "s",
    PartDelta: "d",
    CitationDelta: "c",
    PartEnd: "e",
    LogprobsDelta: "l",
    UsageUpdate: "u",
    Finish: "F",
    Failed: "X",
}
STREAM_SHAPE = re.compile(r"(R([sdcelu]*(F+)?|[sdcelu]*X)?|X)?")
PART_SHAPE = re.compile(r"(s[dc]*e?)?")


def lawful(events: list[Event]) -> bool:
    """Does the list, as a whole, have the shape that the module's text describes? Parts are Text parts only."""
    if not STREAM_SHAPE.fullmatch("".join(LETTERS[type(event)] for event in events)):
        return False
    finishes = [event.choice for event in events if isinstance(event, Finish)]
    if len(finishes) != len(set(finishes)):
        return False
    for choice, index in itertools.product(range(2), range(2)):
        own = "".join(
            LETTERS[type(event)]
            for event in events
            if isinstance(event, PartStart | PartDelta | CitationDelta | PartEnd)
            and (event.choice, event.index) == (choice, index)
        )
        if not PART_SHAPE.fullmatch(own) or (own and choice in finishes and not own.endswith("e")):
            return False
    return True


indexes = st.integers(0, 1)
part_events = st.one_of(
    st.builds(PartStart, indexes, st.just(Text("")), indexes),
    st.builds(PartDelta, indexes, st.just("a"), indexes),
    st.builds(CitationDelta, indexes, st.just(CITATION), indexes),
    st.builds(PartEnd, indexes, indexes),
)
other_events = st.one_of(
    st.sampled_from([START, EVENTS[UsageUpdate], FAILED]),
    st.builds(LogprobsDelta, st.just({}), indexes),
    st.builds(Finish, st.just("stop"), choice=indexes),
)
# Mostly a start, then mostly parts: lists that are random throughout end at their first event.
event_lists = st.builds(
    lambda head, body, tail: [*head, *body, *tail],
    st.sampled_from([[START], [START], [START], []]),
    st.lists(part_events, max_size=6),
    st.lists(st.one_of(other_events, part_events), max_size=4),
)


def first_refusal(events: list[Event]) -> int:
    grammar = Grammar()
    for position, event in enumerate(events):
        try:
            grammar.check(event)
        except GrammarError:
            return position
    return len(events)


@settings(max_examples=500, deadline=None)
@given(event_lists)
def test_it_accepts_exactly_what_the_second_grammar_accepts(events: list[Event]) -> None:
    """And refuses the first event that cannot be: every list up to it has the lawful shape, with it none has."""
    refused_at = first_refusal(events)
    assert lawful(events[:refused_at])
    assert refused_at == len(events) or not lawful(events[: refused_at + 1])


def test_both_grammars_agree_on_every_short_list() -> None:
    """All 9^4 lists of four events of one part, so that nothing hangs on what hypothesis happens to draw."""
    accepted = 0
    for events in itertools.product(EVENTS.values(), repeat=4):
        assert (first_refusal(list(events)) == 4) is lawful(list(events))
        accepted += lawful(list(events))
    assert accepted > 20
