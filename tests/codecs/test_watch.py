"""What is passed on unread is judged as what is decoded: one law for every wire format, on fixtures and on damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.codecs.damage import CODECS, bodies, damaged_bodies, damaged_streams, streams

from waypost.chat import Event, Failed, Response, ResponseStart, Usage, UsageUpdate, is_token
from waypost.codecs.codec import Codec, ResponseSight, Sight
from waypost.codecs.openai_chat import wire
from waypost.codecs.openai_chat.frame import frame_of
from waypost.codecs.sse import SseEvent
from waypost.errors import IncompleteStream, MalformedResponse, ProviderError, ProviderOverloaded

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
by_format = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
STREAMS = [(codec, case) for codec in CODECS.values() for case in streams(codec.name)]
BODIES = [(codec, case) for codec in CODECS.values() for case in bodies(codec.name)]


@dataclass(slots=True)
class Verdict:
    """What became of a stream. `token_at` is the number of the first event with content."""

    token_at: int | None = None
    failed_at: int | None = None
    error: tuple[type, str] | None = None
    usage: Usage = field(default_factory=Usage)
    head: tuple[str, str] = ("", "")


def decoded(codec: Codec, events: list[SseEvent], choices: int = 1) -> Verdict:
    decoder, verdict = codec.stream_decoder(choices=choices), Verdict()

    def note(number: int, canonical: Event) -> None:
        if is_token(canonical) and verdict.token_at is None:
            verdict.token_at = number
        if isinstance(canonical, UsageUpdate):
            verdict.usage = verdict.usage.merge(canonical.usage)
        if isinstance(canonical, ResponseStart):
            verdict.head = (canonical.id, canonical.model)
        if isinstance(canonical, Failed):
            verdict.failed_at, verdict.error = number, (type(canonical.error), canonical.error.message)

    for number, event in enumerate(events):
        for canonical in decoder.feed(event):
            note(number, canonical)
    for canonical in decoder.finish():
        note(len(events), canonical)
    return verdict


def watched(codec: Codec, events: list[SseEvent], choices: int = 1) -> Verdict:
    watch, verdict = codec.stream_watch(choices=choices), Verdict()
    number = 0
    try:
        for number, event in enumerate(events):
            if watch.see(event) & Sight.TOKEN and verdict.token_at is None:
                verdict.token_at = number
        number = len(events)
        watch.finish()
    except ProviderError as error:
        verdict.failed_at, verdict.error = number, (type(error), error.message)
    verdict.usage, verdict.head = watch.usage, (watch.id, watch.model)
    return verdict


def assert_agree(codec: Codec, events: list[SseEvent], choices: int = 1) -> None:
    seen, known = watched(codec, events, choices), decoded(codec, events, choices)
    if seen.token_at != known.token_at:
        # A nameless piece of a call, and sound, are content that the decoder holds back.
        assert seen.token_at is not None
        assert known.token_at is None or seen.token_at < known.token_at
        told = events[seen.token_at].data
        assert codec.name == "openai_chat"
        assert b"tool_calls" in told or b"audio" in told
        seen.token_at = known.token_at
    assert seen == known


@pytest.mark.parametrize(("codec", "case"), STREAMS, ids=lambda value: getattr(value, "name", value))
def test_a_watch_agrees_with_the_decoder_on_every_beginning_of_a_stream(codec: Codec, case: str) -> None:
    """Cut after any event: both say that it is complete, or both say which error it is, with the same counts."""
    events = streams(codec.name)[case]
    for end in range(len(events) + 1):
        assert_agree(codec, events[:end])


@by_format
@EXAMPLES
@given(data=st.data())
def test_a_watch_agrees_with_the_decoder_on_a_damaged_stream(codec: Codec, data: st.DataObject) -> None:
    assert_agree(codec, data.draw(damaged_streams(codec.name)), data.draw(st.integers(1, 2)))


@pytest.mark.parametrize(("codec", "case"), STREAMS, ids=lambda value: getattr(value, "name", value))
def test_finished_is_said_once_and_not_before_a_cut_would_be_harmless(codec: Codec, case: str) -> None:
    """A stream that ends right after the event said FINISHED is whole; one that ends before it is incomplete."""
    events = streams(codec.name)[case]
    if decoded(codec, events).error:
        return
    watch = codec.stream_watch()
    finished = [number for number, event in enumerate(events) if watch.see(event) & Sight.FINISHED]
    assert len(finished) == 1
    assert watched(codec, events[: finished[0] + 1]).error is None
    shorter = watched(codec, events[: finished[0]]).error
    assert shorter is not None
    assert shorter[0] is IncompleteStream


@pytest.mark.parametrize(("codec", "case"), BODIES, ids=lambda value: getattr(value, "name", value))
def test_a_whole_reply_is_judged_as_it_decodes(codec: Codec, case: str) -> None:
    assert_bodies_agree(codec, bodies(codec.name)[case])


@by_format
@EXAMPLES
@given(data=st.data())
def test_a_damaged_reply_is_judged_as_it_decodes(codec: Codec, data: st.DataObject) -> None:
    assert_bodies_agree(codec, data.draw(damaged_bodies(codec.name)))


def assert_bodies_agree(codec: Codec, body: bytes) -> None:
    assert told(lambda: codec.watch_response(body)) == told(lambda: sight(codec.decode_response(body)))


def sight(response: Response) -> ResponseSight:
    return ResponseSight(response.id, response.model, response.usage, response.choices[0].reason)


def told(read: Callable[[], ResponseSight]) -> ResponseSight | tuple[type, str]:
    try:
        return read()
    except ProviderError as error:
        return type(error), error.message


def chunk(**members: object) -> SseEvent:
    choices = members.pop("choices", [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}])
    return SseEvent(msgspec.json.encode({"id": "c", "model": "m", "choices": choices, **members}))


def choice(index: int = 0, finish_reason: str | None = None, **delta: object) -> dict[str, object]:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


def test_a_chat_stream_event_by_event() -> None:
    """The role alone is no content, the end is told with the reason, and counts alone may be left out."""
    watch = CODECS["openai_chat"].stream_watch()
    assert watch.see(chunk(choices=[choice(role="assistant", content="")])) is Sight.NOTHING
    assert watch.see(chunk()) is Sight.TOKEN
    assert watch.see(chunk(choices=[choice(content="")])) is Sight.NOTHING
    assert watch.see(chunk(choices=[choice(reasoning_content="So")])) is Sight.TOKEN
    assert watch.see(chunk(choices=[choice(0, "stop")])) is Sight.FINISHED
    counts = chunk(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})
    assert watch.see(counts) is Sight.USAGE_ONLY
    assert watch.see(SseEvent(b"[DONE]")) is Sight.NOTHING
    watch.finish()
    assert (watch.usage.input_tokens, watch.usage.output_tokens) == (3, 2)
    assert (watch.id, watch.model) == ("c", "m")


def test_content_and_the_end_in_one_chunk_are_both_seen() -> None:
    watch = CODECS["openai_chat"].stream_watch()
    assert watch.see(chunk(choices=[choice(0, "length", content="Hi")])) is Sight.TOKEN | Sight.FINISHED


def test_all_wanted_choices_must_finish() -> None:
    watch = CODECS["openai_chat"].stream_watch(choices=2)
    assert watch.see(chunk(choices=[choice(0, "stop", content="a")])) is Sight.TOKEN
    with pytest.raises(IncompleteStream, match="1 of 2"):
        watch.finish()
    assert watch.see(chunk(choices=[choice(1, "stop")])) is Sight.NOTHING, "after a failure nothing follows"


def test_an_error_within_a_stream_is_raised_as_what_it_is() -> None:
    watch = CODECS["openai_chat"].stream_watch()
    watch.see(chunk())
    with pytest.raises(ProviderOverloaded):
        watch.see(SseEvent(b'{"error": {"message": "Overloaded", "code": 503}}'))


ERRORS = [
    SseEvent(b'{"object": "error", "message": "Overloaded", "code": 503}'),
    SseEvent(b'{"message": "Overloaded"}', "error"),
    SseEvent(b'{"choices": [{"index": 0, "delta": {"content": "a"}, "error": {"message": "Overloaded"}}]}'),
    SseEvent(b'{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "error"}]}'),
    SseEvent(b'{"choices": [{"index": 0, "delta": {"content": "a"}}], "error": "Overloaded"}'),
]


@pytest.mark.parametrize("event", ERRORS)
def test_every_form_of_an_error_within_a_stream_is_seen(event: SseEvent) -> None:
    watch = CODECS["openai_chat"].stream_watch()
    watch.see(chunk())
    with pytest.raises(ProviderError):
        watch.see(event)
    assert_agree(CODECS["openai_chat"], [chunk(), event])


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"choices": 3}', b'{"choices": [{"delta": {"content": 5}}]}'])
def test_what_is_no_chunk_is_malformed(data: bytes) -> None:
    watch = CODECS["openai_chat"].stream_watch()
    watch.see(chunk())
    with pytest.raises(MalformedResponse):
        watch.see(SseEvent(data))


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (wire.PlainChunk, wire.Completion),
        (wire.PlainChoice, wire.WireChoice),
        (wire.PlainDelta, wire.WireMessage),
    ],
)
def test_a_plain_chunk_knows_every_member_of_a_chunk(narrow: type[msgspec.Struct], wide: type[msgspec.Struct]) -> None:
    """One that it did not know would be skipped, and with it an end, counts or an error."""
    assert narrow.__struct_fields__ == wide.__struct_fields__


TEMPLATES = [
    b'{"id":"c","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}',
    b'{"id": "c", "choices": [{"index": 0, "delta": {"content": "%s"}, "logprobs": null}], "usage": null}',
    b'{"id":"c","choices":[{"index":0,"delta":{"content":"%s"}}],"obfuscation":"Qx7"}',
    b'{"id":"c","choices":[{"delta":{"content":"%s","content":"two"}}],"model":"Hi"}',
    b'{"id":"c","x":"Hi","choices":[{"delta":{"content":"%s"}},{"delta":{"content":"Hi"}}],"obfuscation":"","y":1}',
]
HOLES = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from([
    "Hi",
    "",
    '"',
    "\\",
    "\\n",
    "\x01",
    "é",
    '"},"finish_reason":"stop","x":{"y":"',
    '"}}],"error":{"code":503},"x":[{"y":{"z":"',
    '"}}],"obfuscation":"',
    '"}}],"obfuscation":"Qx7"}',
    "[" * 140,
    '"},"x":' + "[" * 140 + "]" * 140 + ',"y":{"z":"',
])  # fmt: skip


@EXAMPLES
@given(st.sampled_from(TEMPLATES), st.lists(HOLES, min_size=2, max_size=6), st.sampled_from(["", "error"]))
def test_bytes_that_chunks_have_alike_hide_nothing_of_what_differs(
    template: bytes, holes: list[str], name: str
) -> None:
    """Whatever is put in the place of the text, also what ends the string and goes on with an error, is seen."""
    chunks = [SseEvent(template.replace(b"%s", hole.encode())) for hole in ["Hi", "Ho", *holes]]
    assert_agree(CODECS["openai_chat"], [*chunks, SseEvent(chunks[0].data, name)])
    chunks = [SseEvent(event.data.replace(b"Qx7", bytes([65 + at]) * at)) for at, event in enumerate(chunks)]
    assert_agree(CODECS["openai_chat"], chunks)


@pytest.mark.parametrize("template", TEMPLATES[:3])
def test_the_frame_of_a_chunk_fits_the_next(template: bytes) -> None:
    """So that it is compared rather than read; padding may have another length."""
    frame = frame_of(template.replace(b"%s", b"Hi"), "Hi")
    assert frame is not None
    following = template.replace(b"%s", " there, Zoë: [{".encode())
    assert frame.fits(following)
    assert frame.fits(following.replace(b"Qx7", b"longerPadding"))
    assert not frame.fits(template.replace(b"%s", b""))
