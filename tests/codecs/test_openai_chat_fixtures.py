"""The codec on complete wire bodies: an answer and its stream say the same, and the SDK reads what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from waypost.chat import Event, Failed, Grammar, Text, Usage, collect
from waypost.codecs.openai_chat import codec, compatible_codec
from waypost.codecs.sse import SseDecoder

FOLDER = Path(__file__).parent.parent / "fixtures" / "openai_chat"
PAIRS = sorted(path.stem for path in FOLDER.glob("*.sse"))
REQUESTS = sorted(path.name for path in FOLDER.glob("*.request.json"))


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def decode_stream(body: bytes, *, choices: int = 1, size: int | None = None) -> list[Event]:
    """The events of a stream whose bytes come in pieces of `size`, each checked against the grammar."""
    sse, decoder, grammar = SseDecoder(), codec.stream_decoder(choices=choices), Grammar()
    events: list[Event] = []
    step = size or len(body) or 1
    for at in range(0, len(body), step):
        for event in sse.feed(body[at : at + step]):
            events += decoder.feed(event)
    events += decoder.finish()
    for canonical in events:
        grammar.check(canonical)
    assert grammar.complete or isinstance(events[-1], Failed)
    return events


def encode_stream(events: list[Event], *, include_usage: bool = True) -> bytes:
    encoder = codec.stream_encoder(include_usage=include_usage)
    return b"".join(encoder.encode(event) for event in events) + encoder.finish()


def chunks_of(stream: bytes) -> list[ChatCompletionChunk]:
    """Every chunk, as the SDK's own strict model reads it."""
    events = SseDecoder().feed(stream)
    assert events[-1].data == b"[DONE]"
    return [ChatCompletionChunk.model_validate_json(event.data) for event in events[:-1]]


def test_every_required_case_has_a_pair() -> None:
    """The cases that the format's laws must hold on are all there, each as a body and as a stream."""
    wanted = {"text", "tool_call", "parallel_tool_calls", "reasoning", "refusal", "n_choices", "length"}
    wanted |= {"content_filter", "logprobs", "usage_cached", "custom_tool", "citations"}
    assert wanted <= set(PAIRS)
    assert all((FOLDER / f"{name}.json").exists() for name in PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_collects_to_the_whole_answer(name: str) -> None:
    whole = codec.decode_response(read(f"{name}.json"))
    assert collect(decode_stream(read(f"{name}.sse"), choices=len(whole.choices))) == whole


@pytest.mark.parametrize("name", PAIRS)
def test_any_split_of_the_bytes_gives_the_same_events(name: str) -> None:
    """Split inside a character, a line end or a field: the events are those of the whole."""
    body = read(f"{name}.sse")
    whole = decode_stream(body)
    for size in (1, 2, 3, 7, 64, 1000):
        assert decode_stream(body, size=size) == whole
    crlf = body.replace(b"\n", b"\r\n")
    assert decode_stream(crlf, size=5) == whole


@pytest.mark.parametrize("name", PAIRS)
def test_a_whole_answer_round_trips(name: str) -> None:
    """Decoded, encoded and decoded again it is the same, without a loss, and valid for the SDK's strict model."""
    whole = codec.decode_response(read(f"{name}.json"))
    encoded = codec.encode_response(whole)
    assert encoded.losses == ()
    assert codec.decode_response(encoded.body) == whole
    ChatCompletion.model_validate_json(encoded.body)


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_round_trips(name: str) -> None:
    """Decoded, encoded and decoded again it collects to the same answer, and the SDK reads each chunk."""
    events = decode_stream(read(f"{name}.sse"))
    stream = encode_stream(events)
    assert collect(decode_stream(stream)) == collect(events)
    if name != "custom_tool":  # the SDK's model of a chunk knows functions only
        assert chunks_of(stream)[-1].usage is not None


@pytest.mark.parametrize("name", PAIRS)
def test_usage_is_told_only_where_it_was_asked_for(name: str) -> None:
    stream = encode_stream(decode_stream(read(f"{name}.sse")), include_usage=False)
    assert b'"usage"' not in stream


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_cut_before_its_end_fails_and_never_finishes(name: str) -> None:
    """Whatever event the bytes end after, without every finish_reason there is no Finish."""
    body = read(f"{name}.sse")
    whole = codec.decode_response(read(f"{name}.json"))
    events = body.split(b"\n\n")
    reasons = [at for at, event in enumerate(events) if b'"finish_reason":"' in event]
    for cut in range(len(events)):
        last = decode_stream(b"\n\n".join(events[:cut]) + b"\n\n", choices=len(whole.choices))[-1]
        assert isinstance(last, Failed) == (cut <= reasons[-1])


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_round_trips(name: str) -> None:
    """What is decoded from a caller's body reaches the provider whole: nothing is lost, nothing changed."""
    decoded = codec.decode_request(read(name))
    encoded = codec.encode_request(decoded.request, stream=decoded.stream)
    assert encoded.losses == ()
    assert codec.decode_request(encoded.body).request == decoded.request


@pytest.mark.parametrize("name", REQUESTS)
def test_an_official_request_is_written_as_it_was_read(name: str) -> None:
    """Not only the meaning but the JSON itself comes back, but for null members and a lone stop string."""
    sent = json.loads(read(name))
    decoded = codec.decode_request(read(name))
    written = json.loads(codec.encode_request(decoded.request, stream=decoded.stream).body)
    sent["stop"] = [sent["stop"]] if isinstance(sent.get("stop"), str) else sent.get("stop")
    for body in (sent, written):
        for message in body["messages"]:
            for member in ("refusal", "content"):
                if message.get(member) in (None, ""):
                    message.pop(member, None)
    assert {key: value for key, value in sent.items() if value is not None} == written


def test_the_compatible_codec_writes_what_other_servers_take() -> None:
    decoded = codec.decode_request(read("text.request.json"))
    written = json.loads(compatible_codec.encode_request(decoded.request, stream=False).body)
    assert written["max_tokens"] == 64
    assert "max_completion_tokens" not in written
    assert written["user"] == "user-81"
    assert [message["role"] for message in written["messages"]] == ["system", "user"]
    assert "stream" not in written
    assert "stream_options" not in written


def test_the_text_case_says_what_the_wire_says() -> None:
    """The values themselves, so that two equal mistakes cannot hide each other."""
    whole = codec.decode_response(read("text.json"))
    assert whole.text == "The capital of France is Paris. 🇫🇷 C\u2019est tout."
    assert whole.choices[0].parts == (Text(whole.text),)
    assert (whole.choices[0].reason, whole.choices[0].raw_reason) == ("stop", "stop")
    assert whole.provider_fields == {"openai": {"service_tier": "default", "system_fingerprint": "fp_3502f4eb73"}}
    assert whole.usage == Usage(
        input_tokens=14,
        input_cache_read_tokens=0,
        input_audio_tokens=0,
        output_tokens=12,
        output_reasoning_tokens=0,
        output_audio_tokens=0,
        service_tier="default",
    )
