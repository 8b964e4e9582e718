"""Meters over replies that are passed through: they agree with the codecs, and nothing that comes disturbs them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.codecs.damage import CODECS, bodies, streams

from waypost.chat import Usage
from waypost.codecs.codec import Codec
from waypost.codecs.form_fields import form_field
from waypost.codecs.metering import ConversationMeter, CountMeter, JsonMeter, Meter
from waypost.codecs.reply_usage import ANTHROPIC, CHAT, GEMINI, MEDIA, RESPONSES, UsageReader
from waypost.codecs.sse import encode_event
from waypost.errors import IncompleteStream, ProviderError, ProviderOverloaded

FIXTURES = Path(__file__).parent.parent / "fixtures"
READERS = {"openai_chat": CHAT, "openai_responses": RESPONSES, "anthropic_messages": ANTHROPIC, "gemini": GEMINI}
STREAMS = [(codec, case) for codec in CODECS.values() for case in streams(codec.name)]
BODIES = [(codec, case) for codec in CODECS.values() for case in bodies(codec.name)]


def fed(meter: Meter, data: bytes, cuts: list[int] | None = None) -> Meter:
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts or ()), len(data)]
    for start, end in pairwise(borders):
        meter.feed(data[start:end])
    meter.finish()
    return meter


def test_every_codec_has_a_reader_of_whole_replies() -> None:
    assert READERS.keys() == CODECS.keys()


@pytest.mark.parametrize(("codec", "case"), BODIES, ids=lambda value: getattr(value, "name", value))
def test_a_whole_reply_is_counted_as_its_codec_counts_it(codec: Codec, case: str) -> None:
    body = bodies(codec.name)[case]
    try:
        sight = codec.watch_response(body)
    except ProviderError:
        return
    meter = fed(JsonMeter(READERS[codec.name]), body, [7, 100, 333])
    assert (meter.usage, meter.model) == (sight.usage, sight.model)


@pytest.mark.parametrize(("codec", "case"), STREAMS, ids=lambda value: getattr(value, "name", value))
def test_a_stream_is_counted_as_its_watch_counts_it(codec: Codec, case: str) -> None:
    """And its error, if it tells one, is the same."""
    events, watch, error = streams(codec.name)[case], codec.stream_watch(), None
    try:
        for event in events:
            watch.see(event)
        watch.finish()
    except ProviderError as raised:
        error = type(raised)
    data = b"".join(encode_event(event.data, event=event.event) for event in events)
    meter = fed(ConversationMeter(codec, 1), data, [11, 200, 201])
    assert (meter.usage, meter.model) == (watch.usage, watch.model)
    assert (None if meter.error is None else type(meter.error)) == error


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_a_cut_stream_says_so_and_what_had_come_is_estimated(codec: Codec) -> None:
    file = next(file for file in sorted((FIXTURES / codec.name).glob("*.sse")) if file.stem in ("text", "simple"))
    whole = file.read_bytes()
    meter = fed(ConversationMeter(codec, 1), whole[: len(whole) * 3 // 5])
    assert isinstance(meter.error, IncompleteStream)
    assert meter.said_tokens() > 0
    assert not meter.ended
    assert fed(ConversationMeter(codec, 1), whole).ended


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_comes_a_meter_raises_nothing(codec: Codec, data: st.DataObject) -> None:
    noise = data.draw(st.binary(max_size=200) | st.text(alphabet='data: {}"[]\n,', max_size=200).map(str.encode))
    whole = data.draw(st.sampled_from(sorted(streams(codec.name))))
    events = b"".join(encode_event(event.data, event=event.event) for event in streams(codec.name)[whole])
    for meter in (ConversationMeter(codec, 1), CountMeter(CHAT), JsonMeter(READERS[codec.name])):
        fed(meter, events[: data.draw(st.integers(0, len(events)))] + noise + events)
        assert meter.said_tokens() >= 0


def test_an_error_within_a_stream_is_the_reply_s_own_failure() -> None:
    whole = (FIXTURES / "anthropic_messages" / "overloaded_midstream.error.sse").read_bytes()
    meter = fed(ConversationMeter(CODECS["anthropic_messages"], 1), whole)
    assert isinstance(meter.error, ProviderOverloaded)
    assert meter.usage.input_tokens is not None


def test_google_s_array_is_counted_by_its_last_element() -> None:
    chunks = [
        {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": n}, "modelVersion": "g"} for n in (1, 9)
    ]
    meter = fed(JsonMeter(GEMINI), json.dumps(chunks).encode(), [20, 50])
    assert (meter.usage.input_tokens, meter.usage.output_tokens, meter.model) == (5, 9, "g")


MEDIA_REPLIES: dict[str, tuple[dict[str, object], Usage]] = {
    "picture": (
        {"input_tokens": 50, "output_tokens": 4160, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}},
        Usage(50, output_tokens=4160),
    ),
    "transcript": (
        {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "input_token_details": {"audio_tokens": 14}},
        Usage(14, input_audio_tokens=14, output_tokens=45),
    ),
    "by the minute": ({"type": "duration", "seconds": 3}, Usage()),
}


@pytest.mark.parametrize("case", MEDIA_REPLIES)
@pytest.mark.parametrize("streamed", [False, True])
def test_pictures_and_transcripts_are_counted_where_they_have_tokens(case: str, streamed: bool) -> None:
    usage, counted = MEDIA_REPLIES[case]
    reply = json.dumps({"type": "transcript.text.done", "text": "a" * 300, "usage": usage}).encode()
    meter = fed(CountMeter(MEDIA), encode_event(reply)) if streamed else fed(JsonMeter(MEDIA), reply)
    assert meter.usage == counted


def test_completions_that_count_nothing_are_estimated_by_their_text() -> None:
    chunks = [encode_event(json.dumps({"model": "m", "choices": [{"text": "some words "}]}).encode())] * 50
    meter = fed(CountMeter(CHAT), b"".join(chunks) + b"data: [DONE]\n\n")
    assert (meter.usage, meter.model) == (Usage(), "m")
    assert 100 <= meter.said_tokens() <= 250


@pytest.mark.parametrize("reader", [CHAT, RESPONSES, ANTHROPIC, GEMINI, MEDIA])
@pytest.mark.parametrize(
    "value", [None, 7, "x", [], {"input_tokens": "many", "prompt_tokens": [], "promptTokenCount": {}}]
)
def test_counts_that_fit_no_format_are_none(reader: UsageReader, value: object) -> None:
    assert reader.usage_of({reader.usage: value}).input_tokens is None


FORM = (
    b'--b0\r\nContent-Disposition: form-data; name="file"; filename="model"\r\nContent-Type: audio/wav\r\n\r\n'
    b"RIFF\r\n--b\r\n\x00\xff\r\n"
    b'--b0\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o-transcribe\r\n--b0--\r\n'
)


@pytest.mark.parametrize(
    ("content_type", "body", "found"),
    [
        ('multipart/form-data; boundary="b0"', FORM, "gpt-4o-transcribe"),
        ("multipart/form-data; boundary=b0", FORM, "gpt-4o-transcribe"),
        ("multipart/form-data; boundary=other", FORM, None),
        ("multipart/form-data", FORM, None),
        ("application/json", FORM, None),
        ("multipart/form-data; boundary=b0", FORM[:-40], None),
    ],
)
def test_a_form_s_field_is_found_beside_its_files(content_type: str, body: bytes, found: str | None) -> None:
    assert form_field(content_type, body, "model") == found
