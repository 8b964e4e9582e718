"""gateway/seam.py: two streams become one answer, or none.

The law: for any text, any cut and any split of both streams, what the caller collects is the whole text, with no
character doubled or lost, and the finish is the second stream's; else RecoveryDiverged.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from waypost.chat import (
    Citation,
    CitationDelta,
    Collector,
    Event,
    Failed,
    Finish,
    FinishReason,
    LogprobsDelta,
    Message,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Request,
    Response,
    ResponseStart,
    Text,
    ToolCall,
    Usage,
    UsageUpdate,
)
from waypost.errors import ProviderOverloaded, RecoveryDiverged
from waypost.gateway.recovery import recoverable
from waypost.gateway.seam import BEGAN_AGAIN_CHARACTERS, TELLING_CHARACTERS, PrefillSeam, RestartSeam, Seam
from waypost.gateway.sent import Sent

REQUEST = Request("m", (Message("user", (Text("Tell me."),)),))
FIRST = ResponseStart("id-1", "model-1", 17, notes=("first",))
SECOND = ResponseStart("id-2", "model-2", 99, notes=("second",))

TEXTS = (
    st.text(max_size=40) | st.text(alphabet="ab \n", max_size=40) | st.text(alphabet="abcdefgh .\n\u3000", max_size=80)
)
TELLING_TEXTS = st.builds("{}{}{}".format, TEXTS, st.permutations("telling").map("".join), TEXTS)
"""With as many different characters as TELLING_CHARACTERS asks for, and any others."""
CUTS = st.lists(st.integers(0, 80), max_size=5)


def pieces(text: str, cuts: list[int]) -> list[str]:
    """The text, split at these places (empty pieces too)."""
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def first_stream(text: str, cuts: list[int]) -> list[Event]:
    return [FIRST, PartStart(0, Text("")), *(PartDelta(0, piece) for piece in pieces(text, cuts))]


def second_stream(text: str, cuts: list[int], reason: FinishReason = "stop", index: int = 3) -> list[Event]:
    begun, *rest = pieces(text, cuts)
    deltas = [PartDelta(index, piece) for piece in rest]
    return [SECOND, PartStart(index, Text(begun)), *deltas, PartEnd(index), Finish(reason, f"raw-{reason}")]


def sent_of(events: list[Event]) -> Sent:
    sent = recoverable(REQUEST, events)
    assert isinstance(sent, Sent)
    return sent


def joined(kind: type[Seam], first: list[Event], second: list[Event]) -> Response:
    """What the caller collects, in lawful order (the collector checks it). Raises what the seam raises."""
    collector = Collector()
    seam = kind(sent_of(first))
    for event in first:
        collector.add(event)
    for event in second:
        for forwarded in seam.feed(event):
            collector.add(forwarded)
    return collector.response()


def may_be_misread(continuation: str, shown: str) -> bool:
    """Does it begin with all that was shown, or end while it says the same, or say the same for long?"""
    same = next((at for at, (a, b) in enumerate(zip(continuation, shown, strict=False)) if a != b), None)
    return bool(continuation and shown) and (same is None or same >= BEGAN_AGAIN_CHARACTERS)


@given(TEXTS, st.integers(0, 80), CUTS, CUTS)
def test_a_new_start_that_says_the_same_gives_the_whole_text(
    whole: str, cut: int, first: list[int], second: list[int]
) -> None:
    response = joined(RestartSeam, first_stream(whole[:cut], first), second_stream(whole, second, "length"))
    assert response.text == whole
    assert (response.id, response.model, response.created, response.notes) == ("id-1", "model-1", 17, ("first",))
    assert (response.choices[0].reason, response.choices[0].raw_reason) == ("length", "raw-length")


@given(TEXTS, TEXTS, CUTS, CUTS)
@example("ab", "a", [], [])
@example("a ", "a", [], [])
def test_a_new_start_that_differs_or_ends_early_is_an_error_and_forwards_nothing(
    sent: str, other: str, first: list[int], second: list[int]
) -> None:
    assume(not other.startswith(sent))
    seam = RestartSeam(sent_of(first_stream(sent, first)))
    with pytest.raises(RecoveryDiverged):
        for event in second_stream(other, second):
            assert seam.feed(event) == ()


@given(TEXTS, st.integers(0, 80), CUTS, CUTS)
@example("one\n\ntwo", 4, [], [0])
@example("one\n\ntwo", 5, [], [1])
@example("one two", 4, [], [0, 1])
def test_a_target_that_goes_on_from_what_it_was_shown_gives_the_whole_text(
    whole: str, cut: int, first: list[int], second: list[int]
) -> None:
    """It was shown the text without the white space at its end, and so begins with that."""
    sent = whole[:cut]
    shown = sent.rstrip()
    continuation = whole[len(shown) :]
    assume(not may_be_misread(continuation, shown))
    response = joined(PrefillSeam, first_stream(sent, first), second_stream(continuation, second, "length"))
    assert response.text == whole
    assert response.choices[0].reason == "length"


@given(TEXTS, TEXTS, CUTS, CUTS)
def test_a_target_that_leaves_out_the_space_it_was_not_shown_loses_none(
    sent: str, rest: str, first: list[int], second: list[int]
) -> None:
    shown = sent.rstrip()
    assume(rest[:1].strip() and not may_be_misread(rest, shown))
    assert joined(PrefillSeam, first_stream(sent, first), second_stream(rest, second)).text == sent + rest


@given(TELLING_TEXTS, TEXTS, CUTS, CUTS)
@example("The quick ", "brown fox", [], list(range(40)))
def test_a_target_that_repeats_all_that_was_sent_gives_the_whole_text(
    sent: str, rest: str, first: list[int], second: list[int]
) -> None:
    response = joined(PrefillSeam, first_stream(sent, first), second_stream(sent + rest, second))
    assert response.text == sent + rest


@given(TEXTS, st.integers(0, 80), CUTS, CUTS, st.booleans())
def test_no_target_that_obeys_ever_gives_anything_but_the_whole_text_or_an_error(
    whole: str, cut: int, first: list[int], second: list[int], repeats: bool
) -> None:
    """Without any assumption on the text, but that no prose says itself twice over."""
    sent = whole[:cut]
    shown = sent.rstrip()
    continuation = whole if repeats else whole[len(shown) :]
    if not repeats:
        assume(not (continuation.startswith(shown) and len(set(shown)) >= TELLING_CHARACTERS))
    elif not shown:
        return
    try:
        response = joined(PrefillSeam, first_stream(sent, first), second_stream(continuation, second))
    except RecoveryDiverged:
        return
    assert response.text == whole


@given(TEXTS, CUTS)
def test_how_the_second_stream_is_split_changes_nothing(text: str, cuts: list[int]) -> None:
    """Errors too: the same verdict for one delta as for many."""
    first = first_stream("abcdefg ab ", [])

    def verdict(split: list[int]) -> str | None:
        try:
            return joined(PrefillSeam, first, second_stream(text, split)).text
        except RecoveryDiverged:
            return None

    assert verdict(cuts) == verdict([])


@pytest.mark.parametrize(
    ("sent", "continuation", "whole"),
    [
        ("Hello ", " world", "Hello world"),
        ("Hello ", "world", "Hello world"),
        ("Hello", " world", "Hello world"),
        ("Hello\n", "\n\nworld", "Hello\n\nworld"),
        ("Hello\n\n", "\nworld", "Hello\n\nworld"),
        ("Hello ", "\nworld", "Hello \nworld"),
        ("Hello ", "", "Hello "),
        ("Hello ", " ", "Hello "),
        ("Say hello ", "Say hello world", "Say hello world"),
        ("Say hello ", "Say helloworld", "Say hello world"),
        ("Say hello", "Say no more", "Say helloSay no more"),
        ("Say hello", "S", "Say helloS"),
    ],
)
def test_the_white_space_at_the_seam(sent: str, continuation: str, whole: str) -> None:
    assert joined(PrefillSeam, first_stream(sent, []), second_stream(continuation, list(range(30)))).text == whole


LONG = "It was the best of times, it was the worst of times, "


@pytest.mark.parametrize(
    ("sent", "continuation", "reason"),
    [
        ("==", "====", "stop"),
        ("ha", "haha", "stop"),
        (LONG, LONG[:40] + "or so they say", "stop"),
        (LONG, LONG[:20], "stop"),
        (LONG, LONG[:2], "length"),
    ],
    ids=["chance or not", "laughter", "began again", "stopped while repeating", "limit while repeating"],
)
def test_a_continuation_that_could_be_read_in_two_ways_is_an_error(
    sent: str, continuation: str, reason: FinishReason
) -> None:
    with pytest.raises(RecoveryDiverged) as raised:
        joined(PrefillSeam, first_stream(sent, []), second_stream(continuation, [1, 2], reason))
    assert "best of" not in str(raised.value)


def test_nothing_is_forwarded_until_it_is_known_whether_it_is_a_repetition() -> None:
    seam = PrefillSeam(sent_of(first_stream("Once upon ", [])))
    seen = [seam.feed(event) for event in (SECOND, PartStart(0, Text("")), PartDelta(0, "Once"), PartDelta(0, " up"))]
    assert seen == [()] * 4
    assert seam.feed(PartDelta(0, "on a")) == (PartDelta(0, "a"),)
    seam = PrefillSeam(sent_of(first_stream("Once upon ", [])))
    seam.feed(PartStart(0, Text("On")))
    assert seam.feed(PartDelta(0, "ly")) == (PartDelta(0, "Only"),)


@pytest.mark.parametrize("kind", [RestartSeam, PrefillSeam])
def test_thinking_of_the_second_stream_is_dropped_and_told(kind: type[Seam]) -> None:
    seam = kind(sent_of(first_stream("Yes", [])))
    thought: list[Event] = [
        SECOND,
        PartStart(0, Reasoning("H")),
        PartDelta(0, "m"),
        PartEnd(0, opaque={"a": {"s": "x"}}),
    ]
    assert [seam.feed(event) for event in thought] == [()] * 4
    assert seam.dropped_reasoning
    assert seam.notes == ("second",)
    told = [*seam.feed(PartStart(1, Text(""))), *seam.feed(PartDelta(1, "Yes" if kind is RestartSeam else "."))]
    told += [
        *seam.feed(PartDelta(1, "!")),
        *seam.feed(PartEnd(1, opaque={"a": {"id": "y"}})),
        *seam.feed(Finish("stop")),
    ]
    said = "".join(event.text for event in told if isinstance(event, PartDelta))
    assert said == ("!" if kind is RestartSeam else ".!")
    assert told[-2:] == [PartEnd(0), Finish("stop")]


def test_after_thinking_the_text_takes_the_next_place() -> None:
    first: list[Event] = [FIRST, PartStart(0, Reasoning("Hm")), PartEnd(0, opaque={"a": {"signature": "s"}})]
    response = joined(RestartSeam, first, second_stream("Yes", [1]))
    assert response.choices[0].parts == (Reasoning("Hm", {"a": {"signature": "s"}}), Text("Yes"))
    empty = joined(RestartSeam, first, [SECOND, Finish("stop")])
    assert empty.choices[0].parts == (Reasoning("Hm", {"a": {"signature": "s"}}),)


def test_a_text_that_was_ended_must_be_the_whole_of_the_second_answer() -> None:
    first = [*first_stream("Yes", []), PartEnd(0)]
    assert joined(RestartSeam, first, second_stream("Yes", [1])).text == "Yes"
    with pytest.raises(RecoveryDiverged, match="was whole"):
        joined(RestartSeam, first, second_stream("Yes, sir", [1]))


NOT_TEXT: list[Event] = [
    PartStart(1, ToolCall("c", "f", "")),
    PartStart(1, Refusal("")),
    PartStart(1, Text("")),
    CitationDelta(0, Citation("openai", {})),
    LogprobsDelta({}),
]


@pytest.mark.parametrize("event", NOT_TEXT, ids=lambda event: type(getattr(event, "part", event)).__name__)
def test_a_second_stream_that_holds_more_than_text_is_an_error(event: Event) -> None:
    seam = RestartSeam(sent_of(first_stream("Yes", [])))
    seam.feed(PartStart(0, Text("Yes")))
    with pytest.raises(RecoveryDiverged, match="something else"):
        seam.feed(event)


@pytest.mark.parametrize("event", [PartStart(0, Text(""), choice=1), PartStart(0, Text("", (Citation("openai", {}),)))])
def test_a_second_stream_of_another_choice_or_with_citations_is_an_error(event: Event) -> None:
    with pytest.raises(RecoveryDiverged, match="something else"):
        RestartSeam(sent_of(first_stream("Yes", []))).feed(event)


def test_usage_adds_up_over_the_attempts_and_is_marked() -> None:
    first = [*first_stream("Yes", []), UsageUpdate(Usage(input_tokens=10, output_tokens=1))]
    seam = RestartSeam(sent_of(first))
    seam.feed(SECOND)
    assert seam.feed(UsageUpdate(Usage(input_tokens=10))) == (UsageUpdate(Usage(input_tokens=20, output_tokens=1)),)
    assert seam.feed(UsageUpdate(Usage(output_tokens=5))) == (UsageUpdate(Usage(input_tokens=20, output_tokens=6)),)
    assert seam.total.incomplete == {"output_tokens"}
    assert seam.total.attempts == 2


def test_a_second_stream_that_breaks_too_can_be_gone_on_with() -> None:
    """What was forwarded belongs to the first stream, so that a third seam joins on to both."""
    whole = "The quick brown fox jumps over the lazy dog"
    first = first_stream(whole[:10], [4])
    seam = RestartSeam(sent_of(first))
    forwarded = [out for event in second_stream(whole[:20], [3, 15])[:-2] for out in seam.feed(event)]
    both = [*first, *forwarded]
    assert sent_of(both).text == whole[:20]
    assert joined(RestartSeam, both, second_stream(whole, [12])).text == whole
    assert joined(PrefillSeam, both, second_stream(whole[20:], [1])).text == whole


def test_a_break_is_passed_on_as_it_is() -> None:
    broken = Failed(ProviderOverloaded("busy"))
    assert RestartSeam(sent_of(first_stream("Yes", []))).feed(broken) == (broken,)
